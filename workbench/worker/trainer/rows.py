"""The frozen rows as the trainer has them in tokens, and the checks that they train what a chat will ask for.

A row is only worth a step when its prompt is what the engine renders, the loss begins right behind that prompt, and the
token that ends an answer is in the loss. The checks look at the trainer's own tokens, after everything it did to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import RefusedError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHECKED_ROWS = 2000
_TAIL = 4
_TURNS = ("prompt", "completion", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One sequence of a row: ids as the model sees them, ``start`` of the completion, and which ids are learnt from.

    ``learnt`` are the ids in the loss after truncation; ``whole`` is False when the end of the row was cut off.
    ``tools`` are those that the prompt offers.
    """

    prompt: list[dict[str, str]]
    completion: list[dict[str, str]]
    ids: list[int]
    start: int
    learnt: list[int]
    whole: bool
    tools: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What became of the rows: how many are trained on, cut at the end, and dropped with nothing in the loss."""

    kept: int
    truncated: int
    empty: int


def read_rows(path: Path) -> Dataset | None:
    """The rows of a JSON Lines file; None for an empty file.

    Turns are kept as JSON, each with its own keys. As columns of Arrow they would get those of all others: a call of
    one tool would be learnt with the arguments of every other tool, all null.
    """
    from datasets import Dataset, Features, Json, List, Value

    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    # The library takes the columns of the first row for all: tools that only later rows have would be lost.
    names = dict.fromkeys(name for row in rows for name in row)
    types = {name: Value("bool") if name == "label" else Value("string") for name in names}
    types |= {name: List(Json()) for name in names if name in _TURNS}
    whole = [{name: row.get(name) for name in names} for row in rows]
    return Dataset.from_list(whole, features=Features(types)) if rows else None


def has_other_speakers(rows: Dataset) -> bool:
    """True when a completion holds turns that are not the assistant's, which must stay out of the loss."""
    if "completion" not in rows.column_names:
        return False
    return any(turn["role"] != "assistant" for turns in rows["completion"] for turn in turns)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that end an answer: the tokenizer's, and those of the model's generation config."""
    # A model that gives a score generates nothing and has no such config.
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return {i for i in [tokenizer.eos_token_id, *listed] if i is not None}


def learns_to_end(learnt: Sequence[int], stops: set[int], tokenizer: PreTrainedTokenizerBase) -> bool:
    """True when the stop token stands where what is learnt ends; templates write a line break behind it.

    More text behind it would be another turn's, which then has no end.
    """
    last = next((i for i in reversed(range(len(learnt))) if learnt[i] in stops), None)
    return last is not None and not tokenizer.decode(learnt[last + 1 :], skip_special_tokens=True).strip()


def check_rows(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    stops: set[int],
    *,
    max_length: int,
    answers: bool = True,
    most: int = CHECKED_ROWS,
    names: Sequence[str] = (),
) -> None:
    """Raise ``RefusedError`` when a row would teach something else than the chat asks for.

    Without ``answers`` the rows are scored, not learnt to be given, and only their prompts are compared. ``names`` are
    what the rows are called (default: by their number in the file).

    All rows are looked at up to ``most``, then as many evenly spaced ones: templates err on all rows alike.
    """
    if not stops:
        raise RefusedError("the model has no stop token", hint="set eos_token in its tokenizer_config.json")
    step = max(1, len(dataset) // most)
    for position in range(0, len(dataset), step):
        name, where = f"row {position + 1}", f"train.jsonl:{position + 1}"
        if names:
            name = where = names[position]
        for row in token_rows(dataset[position], stops, max_length=max_length):
            _check_prompt(row, tokenizer, name, where)
            # One that fills the window may have been cut: its end says nothing, and the others have the same template.
            if answers and row.whole and len(row.ids) < max_length:
                _check_stop(row, tokenizer, stops, name, where)


def short_prompts(dataset: Dataset | None, tokenizer: PreTrainedTokenizerBase, *, room: int) -> Dataset | None:
    """The prompts of at most ``room`` tokens."""
    if dataset is None:
        return None
    return dataset.filter(lambda row: len(_asked(row["prompt"], _tools(row), tokenizer)) <= room)


def check_prompts(trainer: Any, tokenizer: PreTrainedTokenizerBase, before: int) -> RowCounts:
    """What became of prompts; raises ``RefusedError`` when answers to them are drawn otherwise than in a chat."""
    dataset = trainer.train_dataset
    if not stop_ids(trainer.model, tokenizer) <= set(trainer.eos_token_ids):
        raise RefusedError("drawn answers do not end at the model's own stop tokens")
    step = max(1, len(dataset) // CHECKED_ROWS)
    for position in range(0, len(dataset), step):
        row = dataset[position]
        if trainer._tokenize_prompts([row["prompt"]])[0][0] != _asked(row["prompt"], None, tokenizer):
            raise RefusedError(
                f"row {position + 1}: the prompt is rendered differently in training than in a chat",
                where=f"train.jsonl:{position + 1}",
            )
    return RowCounts(len(dataset), 0, before - len(dataset))


def check_texts(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, texts: int) -> RowCounts:
    """What became of raw texts; raises ``RefusedError`` when their ends are not learnt.

    Cut at ``max_length`` a text has no end, so that only packed ones, which lose nothing, can be counted.
    """
    if tokenizer.eos_token_id is None:
        raise RefusedError("the model has no stop token", hint="set eos_token in its tokenizer_config.json")
    if "seq_lengths" not in dataset.column_names and len(dataset) == texts:
        return RowCounts(texts, sum(row["input_ids"][-1] != tokenizer.eos_token_id for row in dataset), 0)
    ends = sum(row["input_ids"].count(tokenizer.eos_token_id) for row in dataset)
    if ends < texts:
        raise RefusedError(f"{texts - ends} of {texts} texts have no stop token at their end in what is trained")
    return RowCounts(len(dataset), 0, 0)


def count_rows(before: int, dataset: Dataset, stops: set[int], *, max_length: int) -> RowCounts:
    """What the trainer made of ``before`` rows."""
    cut = sum(any(not t.whole for t in token_rows(row, stops, max_length=max_length)) for row in dataset)
    return RowCounts(len(dataset), cut, before - len(dataset))


def token_rows(row: dict[str, Any], stops: set[int], *, max_length: int) -> Iterator[TokenRow]:
    """The sequences of one tokenised row: one of SFT and KTO, chosen and rejected of DPO."""
    if "input_ids" in row:
        yield _labelled(row, stops, max_length)
        return
    if "chosen_labels" in row:
        yield from (_paired(row, name) for name in ("chosen", "rejected"))
        return
    if "prompt_ids" not in row:
        yield from (_scored(row, name) for name in ("chosen", "rejected"))
        return
    for name in ("chosen", "rejected", "completion"):
        if (ids := row.get(f"{name}_ids")) is not None:
            yield _split(row, name, ids, max_length)


def _labelled(row: dict[str, Any], stops: set[int], max_length: int) -> TokenRow:
    labels: Sequence[int] = row["labels"]
    start = next((i for i, label in enumerate(labels) if label != -100), len(labels))
    learnt = [label for label in labels if label != -100]
    # The trainer has cut the row already. One that fills the window may just have fitted: then its end is there.
    whole = len(labels) < max_length or any(token in stops for token in learnt[-_TAIL:])
    return TokenRow(row["prompt"], row["completion"], row["input_ids"], start, learnt, whole, _tools(row))


def _split(row: dict[str, Any], name: str, completion_ids: list[int], max_length: int) -> TokenRow:
    prompt_ids: list[int] = row["prompt_ids"]
    room = max(0, max_length - len(prompt_ids))
    ids = (prompt_ids + completion_ids)[:max_length]
    whole = len(completion_ids) <= room
    return TokenRow(row["prompt"], row[name], ids, len(prompt_ids), completion_ids[:room], whole, _tools(row))


def _paired(row: dict[str, Any], name: str) -> TokenRow:
    ids, start = row[f"{name}_input_ids"], len(row["prompt_input_ids"])
    turns = (row["prompt_turns"], row[f"{name}_turns"])
    return TokenRow(*turns, ids, start, ids[start:], row[f"{name}_whole"], _tools(row))


def _scored(row: dict[str, Any], name: str) -> TokenRow:
    # The trainer keeps whole rows only, and does not say where the answer begins: that is looked at below.
    return TokenRow(row["prompt"], row[name], row[f"{name}_ids"], -1, [], True, _tools(row))


def _tools(row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The row's tools as TRL hands them to the template: it takes their JSON too."""
    tools = row.get("tools")
    return json.loads(tools) if isinstance(tools, str) else tools


def _asked(prompt: list[Any], tools: list[Any] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A prompt alone, as the engine renders it."""
    made = tokenizer.apply_chat_template(prompt, tools=tools, add_generation_prompt=True, return_dict=True)
    return list(made["input_ids"])


def _check_prompt(row: TokenRow, tokenizer: PreTrainedTokenizerBase, name: str, where: str) -> None:
    asked = _asked(row.prompt, row.tools, tokenizer)
    if row.start in (len(asked), -1) and row.ids[: len(asked)] == asked:
        return
    raise RefusedError(
        f"{name}: the chat template renders the prompt differently in training than in a chat",
        hint="the template must give a prompt alone (add_generation_prompt) as it gives it before its answer",
        where=where,
    )


def _check_stop(row: TokenRow, tokenizer: PreTrainedTokenizerBase, stops: set[int], name: str, where: str) -> None:
    if learns_to_end(row.learnt, stops, tokenizer):
        return
    stop_names = ", ".join(repr(tokenizer.convert_ids_to_tokens(i)) for i in sorted(stops))
    raise RefusedError(
        f"{name}: the stop token {stop_names} is not in the loss where the answer ends: "
        "the model would never learn to end one",
        hint="the chat template must write it after each assistant turn, inside {% generation %} where it has that",
        where=where,
    )

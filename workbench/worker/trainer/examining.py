"""What a run did to single rows, and to what it was not trained on: measured on the model before and after.

For every held-out row, and for some of the training rows, the loss of its answer (for pairs the margin too); the loss
on general text; and greedy answers to canary prompts. The tokens are those of the trainer's own door, so that a row's
loss is the loss that training saw. Draws no random number and leaves the model as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workbench import methods
from workbench.domain.examples import Kind
from workbench.domain.methods import Task
from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.jobs.run_directory import RunDirectory
from workbench.worker.generating import greedy, prompt_ids
from workbench.worker.tokens import TokenSequence, prepared, sequences_of
from workbench.worker.trainer.held_out import IGNORED, summed_log_probs
from workbench.worker.trainer.rehearsal import same_random_numbers
from workbench.worker.trainer.rows import stop_ids

if TYPE_CHECKING:
    from workbench.worker.trainer.building import Built

MOST_HELD_OUT = 2000
MOST_TRAINED = 500
CANARY_TOKENS = 64

Figures = dict[str, Any]
"""``rows``: for each line a loss, its tokens and, of a pair, a margin; ``general``: loss, tokens; ``canaries``."""


@dataclass(frozen=True, slots=True)
class Line:
    """One frozen row: of which file, at which place, from which example."""

    split: str
    number: int
    example: int | None
    row: dict[str, Any]


class Examiner:
    """Measures a run's model on single rows, general text and canaries. ``check`` may raise to end it early."""

    def __init__(self, built: Built, spec: RunSpec, directory: RunDirectory, *, check: Callable[[], None]) -> None:
        self._trainer = built.trainer
        self._tokenizer = built.tokenizer
        self._spec = spec
        self._directory = directory
        self._check = check
        self._is_scoring = methods.get(spec.method).task is Task.SCORE

    @property
    def must_begin_early(self) -> bool:
        """True when the start cannot be had back afterwards by switching the adapter off."""
        config = getattr(self._model, "peft_config", {}).get("default")
        return config is None or bool(self._spec.adapter_path) or _changes_base(config)

    def prepare(self) -> None:
        """Make all tokens now, which takes all processes of a run; what follows is for one of them.

        What this model's template does not take is so refused before the first step, and not after the last.
        """
        _ = self._tokens, self._prompts

    def measure_start(self) -> None:
        """Measure the start now when it must be now; once for all starts of a run."""
        if self.must_begin_early and not self._directory.start_figures.is_file():
            self._directory.write_json(self._directory.start_figures, self._figures())

    def measure_end(self) -> Figures:
        """Measure what was trained, and the start where that is still to be had; gives the summary that was written."""
        tuned = self._figures()
        if self._directory.start_figures.is_file():
            base = json.loads(self._directory.start_figures.read_text(encoding="utf-8"))
        else:
            with self._model.disable_adapter():
                base = self._figures()
        self._directory.write_rows(_row_figures(self._lines, base["rows"], tuned["rows"]))
        summary = self._retention(base, tuned) | self._counts
        self._directory.write_json(self._directory.retention_file, summary)
        self._directory.start_figures.unlink(missing_ok=True)
        return summary

    @property
    def _model(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.model)

    @property
    def _counts(self) -> dict[str, int]:
        counts = {split: sum(line.split == split for line in self._lines) for split in ("held_out", "train")}
        return {"held_out_rows": counts["held_out"], "train_rows": counts["train"]}

    def _retention(self, base: Figures, tuned: Figures) -> Figures:
        answers = zip(self._canaries, base["canaries"], tuned["canaries"], strict=True)
        summary: Figures = {
            "canaries": [{"prompt": turns[-1]["content"], "base": was, "tuned": now} for turns, was, now in answers]
        }
        if base["general"] and tuned["general"]:
            (before, tokens), (after, _) = base["general"], tuned["general"]
            rows = len(self._general)
            summary["general"] = {"rows": rows, "tokens": tokens, "base_loss": before, "loss": after}
        return summary

    # --- what is looked at -------------------------------------------------------------------------------------

    @cached_property
    def _lines(self) -> list[Line]:
        if methods.get(self._spec.method).kinds[0] is Kind.PROMPT:
            return []
        directory, spec = self._directory, self._spec
        return [
            *_some(directory.eval_file, "held_out", spec.eval_example_ids, MOST_HELD_OUT),
            *_some(directory.train_file, "train", spec.example_ids, MOST_TRAINED),
        ]

    @cached_property
    def _general(self) -> list[dict[str, Any]]:
        return [] if self._is_scoring else _read(self._directory.general_file)

    @cached_property
    def _canaries(self) -> list[list[dict[str, Any]]]:
        return [] if self._is_scoring else [row["prompt"] for row in _read(self._directory.canary_file)]

    @cached_property
    def _prompts(self) -> list[list[int]]:
        return [prompt_ids(self._tokenizer, turns) for turns in self._canaries]

    @cached_property
    def _tokens(self) -> tuple[list[list[TokenSequence]], list[list[TokenSequence]]]:
        """For each line, and for each general row, the sequences of its answers, cut to the window."""
        rows = [line.row for line in self._lines]
        parts = [_as_demonstrations(row) for row in (*rows, *self._general)]
        made = iter(self._sequences([one for several in parts for one in several]))
        of_each = [[next(made) for _ in several] for several in parts]
        return of_each[: len(rows)], of_each[len(rows) :]

    def _sequences(self, demonstrations: Sequence[dict[str, Any]]) -> Iterator[TokenSequence]:
        talks = [row for row in demonstrations if "text" not in row]
        made: Iterator[TokenSequence] = iter(())
        if talks:
            ready = prepared("sft", talks, self._spec.base_path, self._tokenizer)
            if len(ready) != len(talks):
                raise RefusedError(f"{len(talks) - len(ready)} of {len(talks)} rows have no tokens to measure")
            made = iter([sequences_of(row)[0] for row in ready])
        for row in demonstrations:
            yield self._cut(self._text(row["text"]) if "text" in row else next(made))

    def _text(self, text: str) -> TokenSequence:
        ids = list(self._tokenizer(text)["input_ids"])
        ids += [self._tokenizer.eos_token_id] if self._tokenizer.eos_token_id is not None else []
        return TokenSequence("text", ids, [True] * len(ids), 0)

    def _cut(self, sequence: TokenSequence) -> TokenSequence:
        window = int(self._spec.knobs["max_length"])
        return TokenSequence(sequence.part, sequence.ids[:window], sequence.learnt[:window], sequence.start)

    # --- measuring ---------------------------------------------------------------------------------------------

    def _figures(self) -> Figures:
        """The model as it is now."""
        model = self._trainer.model
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad(), same_random_numbers(), self._autocast():
                rows, general = self._tokens
                measured = self._scores(rows) if self._is_scoring else self._losses(rows)
                return {
                    "rows": measured,
                    "general": _total(self._log_probs([one for several in general for one in several])),
                    "canaries": self._answers(),
                }
        finally:
            model.train(was_training)

    def _autocast(self) -> AbstractContextManager[Any]:
        return self._trainer.accelerator.autocast() if self._trainer.args.bf16 else nullcontext()

    def _losses(self, rows: Sequence[Sequence[TokenSequence]]) -> list[Figures]:
        measured = iter(self._log_probs([sequence for row in rows for sequence in row]))
        return [_loss([next(measured) for _ in row]) for row in rows]

    def _scores(self, rows: Sequence[Sequence[TokenSequence]]) -> list[Figures]:
        """A reward model's margin between the two answers of a pair, and the loss that it learns by."""
        scores = iter(self._rewards([sequence for row in rows for sequence in row]))
        measured = []
        for row in rows:
            better, worse = (next(scores) for _ in row)
            margin = better - worse
            loss = max(-margin, 0.0) + math.log1p(math.exp(-abs(margin)))
            measured.append({"loss": loss, "tokens": len(row[0].ids), "margin": margin})
        return measured

    def _log_probs(self, sequences: Sequence[TokenSequence]) -> list[tuple[float, int]]:
        """For each sequence its log-probability and its tokens, as ``summed_log_probs`` gives them."""
        found: dict[int, tuple[float, int]] = {}
        for numbers, inputs, labels in self._batches(sequences):
            sums, counts = summed_log_probs(self._trainer.model, inputs, labels)
            found |= dict(zip(numbers, zip(sums, counts, strict=True), strict=True))
        return [found[number] for number in range(len(sequences))]

    def _rewards(self, sequences: Sequence[TokenSequence]) -> list[float]:
        found: dict[int, float] = {}
        for numbers, inputs, _ in self._batches(sequences):
            logits = self._trainer.model(**inputs, use_cache=False).logits[:, 0]
            found |= dict(zip(numbers, logits.double().tolist(), strict=True))
        return [found[number] for number in range(len(sequences))]

    def _batches(
        self, sequences: Sequence[TokenSequence]
    ) -> Iterator[tuple[list[int], dict[str, torch.Tensor], torch.Tensor]]:
        """Batches of rows of like length: their numbers, inputs and labels ``(rows, length)``, padded at the end."""
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i].ids))
        size = int(self._spec.knobs["per_device_train_batch_size"])
        device = self._trainer.args.device
        filler = self._tokenizer.pad_token_id or 0
        for start in range(0, len(order), size):
            self._check()
            numbers = order[start : start + size]
            width = max(2, *(len(sequences[i].ids) for i in numbers))
            ids = torch.full((len(numbers), width), filler)
            labels = torch.full((len(numbers), width), IGNORED)
            mask = torch.zeros((len(numbers), width), dtype=torch.long)
            for at, i in enumerate(numbers):
                row = torch.tensor(sequences[i].ids)
                ids[at, : len(row)], mask[at, : len(row)] = row, 1
                labels[at, : len(row)] = row.masked_fill(~torch.tensor(sequences[i].learnt), IGNORED)
            yield numbers, {"input_ids": ids.to(device), "attention_mask": mask.to(device)}, labels.to(device)

    def _answers(self) -> list[str]:
        if not self._canaries:
            return []
        self._check()
        ends = stop_ids(self._model, self._tokenizer)
        filler = self._tokenizer.pad_token_id or 0
        told = greedy(self._model, self._prompts, ends=ends, filler=filler, max_new_tokens=CANARY_TOKENS)
        return [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in told]


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def _some(path: Path, split: str, examples: Sequence[int], most: int) -> list[Line]:
    """The lines of a file, or as many evenly spaced ones as ``most``."""
    rows = _read(path)
    chosen = range(len(rows)) if len(rows) <= most else [i * len(rows) // most for i in range(most)]
    ids = list(examples) if len(examples) == len(rows) else [None] * len(rows)
    return [Line(split, i, ids[i], rows[i]) for i in chosen]


def _as_demonstrations(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row as answers to learn: a pair's better one and its worse one, a judged one, a text as it is."""
    if "text" in row:
        return [{"text": row["text"]}]
    names = ("completion",) if "completion" in row else ("chosen", "rejected")
    rest = {"tools": row["tools"]} if row.get("tools") else {}
    return [{"prompt": row["prompt"], "completion": row[name], **rest} for name in names]


def _loss(measured: Sequence[tuple[float, int]]) -> Figures:
    """Of the better (or only) answer the loss per token; of a pair how much likelier it is than the worse one."""
    total, tokens = measured[0]
    figures: Figures = {"loss": -total / tokens if tokens else None, "tokens": tokens}
    return figures if len(measured) == 1 else figures | {"margin": total - measured[1][0]}


def _total(measured: Sequence[tuple[float, int]]) -> tuple[float, int] | None:
    tokens = sum(count for _, count in measured)
    return (-math.fsum(total for total, _ in measured) / tokens, tokens) if tokens else None


def _row_figures(lines: Sequence[Line], base: Sequence[Figures], tuned: Sequence[Figures]) -> Iterator[Figures]:
    for line, before, after in zip(lines, base, tuned, strict=True):
        figures: Figures = {"split": line.split, "row": line.number + 1, "example": line.example}
        if "label" in line.row:
            figures["label"] = bool(line.row["label"])
        yield figures | {"tokens": after["tokens"], "base": _told(before), "tuned": _told(after)}


def _told(figures: Figures) -> Figures:
    return {name: value for name, value in figures.items() if name != "tokens"}


def _changes_base(config: Any) -> bool:
    return getattr(config, "init_lora_weights", None) == "pissa"

"""The token view against the real trainer: the same ids, the same cut, the same loss; and counts in the child."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run
from workbench.domain.chats import Turn
from workbench.domain.checks import CheckedRow
from workbench.domain.examples import Content, Example, Kind, Source, SourceKind
from workbench.domain.training import training_rows
from workbench.errors import RefusedError
from workbench.flows.bench import Bench
from workbench.jobs.children import converse
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
METHODS = {"sft": Kind.DEMONSTRATION, "dpo": Kind.PREFERENCE, "kto": Kind.JUDGEMENT}


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def said(role: str, text: str) -> tuple[Turn, ...]:
    return (Turn(role, text),)


def rows_of(kind: Kind) -> list[CheckedRow]:
    texts = ["Tea.", "Two words and then some more of them, up to the end.", "Grün 茶 🍵", "wrapped " * 12]
    rows = []
    for number, text in enumerate(texts, start=1):
        rejected = said("assistant", f"Not {text}") if kind is Kind.PREFERENCE else ()
        label = bool(number % 2) if kind is Kind.JUDGEMENT else None
        prompt = said("system", "Be kind.") + said("user", f"Question {number}?")
        rows.append(CheckedRow(number, "teas", Content(kind, prompt, said("assistant", text), rejected, label)))
    return rows


def trained(
    folder: Path, base: Path, method: str, rows: list[CheckedRow], max_length: int
) -> list[tuple[list[int], list[int]]]:
    """What the real trainer hands to the loss: for each sequence its ids, and the ids that are learnt."""
    from workbench import methods
    from workbench.worker.trainer import building

    made = make_run(folder / "made", base, method=method, max_steps=1)
    spec = made.spec()
    spec = replace(spec, knobs=dict(spec.knobs) | {"max_length": max_length}, train_rows=len(rows))
    examples = [Example(r.id, r.dataset, r.content, Source(SourceKind.IMPORT)) for r in rows]
    lines = [json.dumps(row.row) for row in training_rows(examples, METHODS[method])]
    directory = RunDirectory.create(folder / "run", spec, lines, [])
    trainer = building.build(methods.get(method), spec, directory, []).trainer
    return [found for row in trainer.train_dataset for found in _losses(trainer.data_collator([row, row]))]


def _losses(batch: Any) -> Iterator[tuple[list[int], list[int]]]:
    labels = batch.get("labels")
    if labels is None:
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    # The row twice: SFT and KTO give two sequences that are the same, DPO both chosen ones and then both rejected.
    half = len(batch["input_ids"]) // 2
    for position in range(0, len(batch["input_ids"]), half if half > 1 else 2):
        mask = batch["attention_mask"][position].bool()
        ids, learnt = batch["input_ids"][position][mask].tolist(), labels[position][mask].tolist()
        yield ids, [label for label in learnt if label != -100]


@pytest.mark.parametrize("method", METHODS)
def test_the_view_is_what_the_real_trainer_learns_from(tmp_path: Path, tiny_llama: Path, method: str) -> None:
    from workbench.worker.tokens import ModelTokens

    rows = rows_of(METHODS[method])
    tokens = ModelTokens(str(tiny_llama), max_length=10**6)
    sequences = [s for found in tokens.sequences(rows, METHODS[method]) for s in found]
    window = sorted(len(s.ids) for s in sequences)[-2] - 1  # cuts at least two
    window = max(window, max(s.start for s in sequences) + 2)
    expected = trained(tmp_path, tiny_llama, method, rows, window)
    told = [
        (s.ids[:window], [i for i, learnt in zip(s.ids[:window], s.learnt, strict=False) if learnt]) for s in sequences
    ]
    assert sorted(told) == sorted(expected)
    assert any(len(s.ids) > window for s in sequences)


def test_rows_that_the_trainer_would_leave_out_are_counted_so(tiny_llama: Path) -> None:
    from workbench.worker.tokens import ModelTokens

    rows = rows_of(Kind.DEMONSTRATION)
    counts = list(ModelTokens(str(tiny_llama), max_length=10**6).counts(rows))
    assert [c.example_id for c in counts] == [1, 2, 3, 4]
    assert all(c.kept == c.total == c.prompt + c.learnt for c in counts)
    narrow = list(ModelTokens(str(tiny_llama), max_length=counts[0].prompt).counts(rows))
    assert narrow[0].learnt == 0 and narrow[0].kept == counts[0].prompt


def test_the_pieces_are_the_text_also_where_letters_span_tokens(tiny_llama: Path) -> None:
    from workbench.worker.tokens import ModelTokens, view

    row = rows_of(Kind.DEMONSTRATION)[2]
    tokens = ModelTokens(str(tiny_llama), max_length=100_000)
    (sequence,) = view(row, tokens)["sequences"]
    text = "".join(token["text"] for token in sequence["tokens"])
    assert "Grün 茶 🍵" in text and "Be kind." in text
    learnt = "".join(token["text"] for token in sequence["tokens"] if token["in_loss"])
    assert learnt == "Grün 茶 🍵<|im_end|>\n" and sequence["stop_token_in_loss"]
    assert [t["in_loss"] for t in sequence["tokens"]].index(True) == sequence["prompt_tokens"]


def test_a_text_is_learnt_whole_and_a_prompt_not_at_all(tiny_llama: Path) -> None:
    from workbench.worker.tokens import ModelTokens, view

    tokens = ModelTokens(str(tiny_llama), max_length=100_000)
    text = Content(Kind.TEXT, (), said("text", "Green tea."))
    (sequence,) = view(CheckedRow(1, "d", text), tokens)["sequences"]
    assert all(token["in_loss"] for token in sequence["tokens"]) and sequence["stop_token_in_loss"]
    prompt = Content(Kind.PROMPT, said("user", "Which?"), ())
    (sequence,) = view(CheckedRow(1, "d", prompt), tokens)["sequences"]
    assert not any(token["in_loss"] for token in sequence["tokens"])
    assert "".join(t["text"] for t in sequence["tokens"]).endswith("<|im_start|>assistant\n")


def test_what_is_cut_is_marked_and_the_stop_token_missed(tiny_llama: Path) -> None:
    from workbench.worker.tokens import ModelTokens, view

    row = rows_of(Kind.DEMONSTRATION)[3]
    whole = view(row, ModelTokens(str(tiny_llama), max_length=100_000))["sequences"][0]
    window = len(whole["tokens"]) - 5
    (sequence,) = view(row, ModelTokens(str(tiny_llama), max_length=window))["sequences"]
    assert sequence["truncated"] and not sequence["stop_token_in_loss"]
    assert [token["cut"] for token in sequence["tokens"]] == [False] * window + [True] * 5


def test_the_child_counts_for_the_check(tiny_llama: Path) -> None:
    rows = rows_of(Kind.PREFERENCE)
    lines = [json.dumps({"row": row.as_dict()}) for row in rows]
    answers = converse(
        "workbench.worker.checks", ("length_tokens", "--model", str(tiny_llama), "--max-length", "8"), lines
    )
    found = [json.loads(line)["finding"] for line in answers]
    assert {f["example_id"] for f in found} == {1, 2, 3, 4}
    assert all(f["severity"] == "error" and "fills the window of 8" in f["reason"] for f in found)


def test_a_base_without_a_template_is_refused_in_plain_words(tmp_path: Path, tiny_llama: Path) -> None:
    import shutil

    from workbench.worker.tokens import ModelTokens

    bare = tmp_path / "bare"
    shutil.copytree(tiny_llama, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(RefusedError, match="no chat template"):
        ModelTokens(str(bare), max_length=100)


def test_the_view_of_a_stored_pair_has_both_answers(bench: Bench) -> None:
    from workbench.domain.examples import Status
    from workbench.flows import tokens

    content = rows_of(Kind.PREFERENCE)[0].content
    example, _ = bench.store.examples.add(
        "teas", content, source=Source(SourceKind.IMPORT), status=Status.ACCEPTED, rater="rater"
    )
    view = tokens.view(bench, example.id, max_length=64)
    assert [sequence.part for sequence in view.sequences] == ["chosen", "rejected"]
    assert view.as_dict()["stop_token_in_loss"] is True and view.model == "pip"
    assert "[Tea." in view.text()


def test_answers_of_weight_0_are_in_no_loss_of_the_view(tiny_llama: Path) -> None:
    from workbench.worker.tokens import ModelTokens, view

    talk = (
        *(Turn("assistant", "One."), Turn("user", "More?"), Turn("assistant", "Two.", '{"weight":0}')),
        *(Turn("user", "And?"), Turn("assistant", "Three.")),
    )
    row = CheckedRow(1, "teas", Content(Kind.DEMONSTRATION, said("user", "Count."), talk))
    tokens = ModelTokens(str(tiny_llama), max_length=200)
    learnt = [
        "".join(token["text"] for token in sequence["tokens"] if token["in_loss"])
        for sequence in view(row, tokens)["sequences"]
    ]
    assert learnt == ["One.<|im_end|>\n", "Three.<|im_end|>\n"]
    assert [count.example_id for count in tokens.counts([row, replace(row, id=2)])] == [1, 1, 2, 2]


def test_a_template_that_does_not_teach_an_answer_to_end_is_told_with_the_counts(bench: Bench, tmp_path: Path) -> None:
    import tiny_llama as tiny
    from workbench.domain.examples import Status
    from workbench.domain.models import ModelKind
    from workbench.flows import row_lengths, train

    base = tiny.make(tmp_path / "base", template=tiny.WITHOUT_LAST_STOP)
    bench.store.models.add("endless", ModelKind.BASE, str(base))
    for row in rows_of(Kind.DEMONSTRATION):
        bench.store.examples.add(
            "teas", row.content, source=Source(SourceKind.IMPORT), status=Status.ACCEPTED, rater="r"
        )
    plan = train.plan(bench, method="sft", dataset="teas", model="endless", overrides={"eval_share": "0"})
    found = row_lengths.count(bench, plan.train_rows, method="sft", model="endless")
    assert len(found.longest) == 4
    assert found.refused.startswith("example 1: the stop token '<|im_end|>' is not in the loss where the answer ends")
    assert "chat template must write it" in found.hint
    sound = row_lengths.count(bench, plan.train_rows, method="sft", model="pip")
    assert sound.refused == ""

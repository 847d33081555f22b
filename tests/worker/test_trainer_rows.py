"""What the trainer's rows teach: completions only, the stop token in, the same prompt as in a chat."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_llama as tiny
from tiny_llama import make_run
from workbench.domain.runs import RunState
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, train: Train) -> Callable[[RunDirectory], Any]:
    """Run a directory and give back the trainer with its tokenised rows."""
    from workbench.worker.trainer import training

    seen: list[Any] = []
    save = training._save
    monkeypatch.setattr(training, "_save", lambda built, *rest: (seen.append(built), save(built, *rest)))

    def run(directory: RunDirectory) -> Any:
        assert train(directory) == 0, directory.status()
        return seen[-1]

    return run


def with_rows(directory: RunDirectory, rows: list[dict[str, object]]) -> RunDirectory:
    """The same run over other training rows."""
    spec = replace(directory.spec(), train_rows=len(rows))
    held_out = directory.eval_file.read_text().splitlines()
    return RunDirectory.create(directory.root.with_name("other"), spec, map(json.dumps, rows), held_out)


def test_only_the_completion_and_its_stop_token_are_learnt(
    tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    result = built(make_run(tmp_path / "run", tiny_llama, max_steps=1))
    for row in result.trainer.train_dataset:
        learnt = [label for label in row["labels"] if label != -100]
        assert result.tokenizer.decode(learnt) == row["completion"][0]["content"] + "<|im_end|>\n"


def test_in_a_completion_of_several_turns_only_the_assistant_s_are_learnt(
    tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    talk = [
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "More?"},
        {"role": "assistant", "content": "Two."},
    ]
    rows: list[dict[str, object]] = [
        {"prompt": [{"role": "user", "content": f"{n}?"}], "completion": talk} for n in range(8)
    ]
    result = built(with_rows(make_run(tmp_path / "run", tiny_llama, max_steps=1), rows))
    for row in result.trainer.train_dataset:
        learnt = [label for label in row["labels"] if label != -100]
        assert result.tokenizer.decode(learnt) == "One.<|im_end|>\nTwo.<|im_end|>\n"


@pytest.mark.parametrize("method", ["orpo", "simpo"])
def test_pairs_learn_their_answers_and_stop_token_and_nothing_else(
    method: str, tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    result = built(make_run(tmp_path / "run", tiny_llama, method, max_steps=1))
    for row in result.trainer.train_dataset:
        for name in ("chosen", "rejected"):
            learnt = [label for label in row[f"{name}_labels"] if label != -100]
            assert result.tokenizer.decode(learnt) == row[f"{name}_turns"][0]["content"] + "<|im_end|>\n"


def test_texts_are_packed_whole_each_with_its_end_and_a_model_without_a_template_will_do(
    tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, "cpt", max_steps=1, max_length=40)
    result = built(directory)
    texts = [json.loads(line)["text"] for line in directory.train_file.read_text().splitlines()]
    packed = [token for row in result.trainer.train_dataset for token in row["input_ids"]]
    assert result.tokenizer.decode(packed) == "".join(f"{text}<|im_end|>" for text in texts)
    assert {len(row["input_ids"]) for row in result.trainer.train_dataset.select(range(5))} == {40}
    bare = tiny.make(tmp_path / "base")
    (bare / "chat_template.jinja").unlink()
    assert built(make_run(tmp_path / "bare", bare, "cpt", max_steps=1)).counts.kept


def test_an_argument_that_is_no_knob_reaches_the_trainer(
    tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=1, arguments="optim=adafactor adam_beta2=0.9")
    args = built(directory).trainer.args
    assert (args.optim.value, args.adam_beta2) == ("adafactor", 0.9)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_rows_are_trained_with_their_tools_also_when_the_first_has_none(
    method: str, tmp_path: Path, built: Callable[[RunDirectory], Any]
) -> None:
    base = tiny.make(tmp_path / "base", template=tiny.WITH_TOOLS)
    offered = json.dumps([{"type": "function", "function": {"name": "weather"}}])
    rows = [row | ({"tools": offered} if number % 2 else {}) for number, row in enumerate(tiny.rows(method, 8))]
    result = built(with_rows(make_run(tmp_path / "run", base, method, max_steps=1), rows))
    for row in result.trainer.train_dataset:
        ids = row["input_ids"] if method == "sft" else row["prompt_ids"]
        assert result.tokenizer.decode(ids).startswith(
            "<|im_start|>tools\nweather" if row["tools"] else "<|im_start|>user"
        )
    assert sum(row["tools"] is not None for row in result.trainer.train_dataset) == 4


def test_a_call_is_learnt_with_its_own_arguments_whatever_the_calls_of_other_rows(
    tmp_path: Path, built: Callable[[RunDirectory], Any]
) -> None:
    base = tiny.make(tmp_path / "base", template=tiny.WITH_CALLS)
    given: list[dict[str, object]] = [{"city": "Bonn"}, {"days": 3}, {"days": "three", "where": {"x": [1, None]}}, {}]
    rows: list[dict[str, object]] = []
    for number in range(8):
        call = {"type": "function", "function": {"name": "weather", "arguments": given[number % 4]}}
        said = [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": "weather", "content": "mild"},
            {"role": "assistant", "content": f"It is {number}."},
        ]
        rows.append({"prompt": [{"role": "user", "content": f"{number}?"}], "completion": said})
    result = built(with_rows(make_run(tmp_path / "run", base, max_steps=1), rows))
    learnt = {
        result.tokenizer.decode([label for label in row["labels"] if label != -100])
        for row in result.trainer.train_dataset
    }
    assert learnt == {f"{json.dumps(given[number % 4])}<|im_end|>\nIt is {number}.<|im_end|>\n" for number in range(8)}


@pytest.mark.parametrize("method", ["sft", "dpo", "simpo"])
@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (tiny.WITHOUT_STOP, "the stop token '<|im_end|>' is not in the loss"),
        (tiny.WITH_A_THOUGHT, "renders the prompt"),
    ],
    ids=["no stop token", "another prompt"],
)
def test_a_template_that_would_teach_something_else_is_refused(
    template: str, reason: str, method: str, tmp_path: Path, train: Train
) -> None:
    base = tiny.make(tmp_path / "base", template=template)
    directory = make_run(tmp_path / "run", base, method)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and status.state is RunState.FAILED
    assert reason in status.error and "template" in status.hint
    assert not list(directory.checkpoints.iterdir())


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_completion_whose_last_turn_lacks_the_stop_token_is_refused(
    method: str, tmp_path: Path, train: Train
) -> None:
    base = tiny.make(tmp_path / "base", template=tiny.WITHOUT_LAST_STOP)
    talk = [
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "More?"},
        {"role": "assistant", "content": "A"},
    ]
    answers = {
        "sft": {"completion": talk},
        "dpo": {"chosen": talk, "rejected": [*talk[:2], {"role": "assistant", "content": "B"}]},
    }[method]
    rows: list[dict[str, object]] = [{"prompt": [{"role": "user", "content": f"{n}?"}], **answers} for n in range(8)]
    directory = with_rows(make_run(tmp_path / "run", base, method, max_steps=1), rows)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "the stop token '<|im_end|>' is not in the loss" in status.error


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path, train: Train) -> None:
    base = tiny.make(tmp_path / "base", template=None)  # type: ignore[arg-type]
    directory = make_run(tmp_path / "run", base)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "no chat template" in status.error


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_rows_that_are_cut_or_have_nothing_in_the_loss_are_counted_and_told(
    method: str, tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    rows = tiny.rows(method, 12)
    answer = "completion" if method != "dpo" else "chosen"
    rows[3] = rows[3] | {answer: [{"role": "assistant", "content": "la " * 200}]}
    rows[4] = rows[4] | {"prompt": [{"role": "user", "content": "so " * 200}]}
    directory = with_rows(make_run(tmp_path / "run", tiny_llama, method, max_steps=1, max_length=90), rows)
    counts = built(directory).counts
    assert (counts.kept, counts.truncated, counts.empty) == (11, 1, 1)
    notes = " ".join(e["text"] for e in directory.events()[0] if e["event"] == "note")
    assert "longer than max_length = 90 and cut at the end: 1 of" in notes
    assert "no answer within max_length = 90, so left out: 1 of" in notes


def test_a_window_too_short_for_any_answer_is_refused(tmp_path: Path, tiny_llama: Path, train: Train) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_length=8)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "max_length = 8" in status.error


@pytest.mark.parametrize("method", ["simpo", "orpo"])
def test_held_out_figures_of_pairs_without_a_reference_match_plain_transformers(
    method: str, tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    directory = make_run(tmp_path / "run", tiny_llama, method, max_steps=6, learning_rate=5e-3, beta=0.7)
    result = built(directory)
    told = [e for e in directory.events()[0] if e["event"] == "eval"][-1]
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), directory.adapter).eval()
    rows = [json.loads(line) for line in directory.eval_file.read_text().splitlines()]
    good = [log_prob(tuned, result.tokenizer, row, "chosen") for row in rows]
    bad = [log_prob(tuned, result.tokenizer, row, "rejected") for row in rows]
    margins = [0.7 * (g[0] / g[1] - b[0] / b[1]) for g, b in zip(good, bad, strict=True)]
    assert told["loss"] == pytest.approx(-math.fsum(g[0] for g in good) / sum(g[1] for g in good), rel=1e-5)
    assert told["margin"] == pytest.approx(math.fsum(margins) / len(margins), rel=1e-4)
    assert told["accuracy"] == sum(m > 0 for m in margins) / len(margins)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_held_out_figures_do_not_depend_on_the_batch_and_match_plain_transformers(
    method: str, tmp_path: Path, tiny_llama: Path, built: Callable[[RunDirectory], Any]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from workbench.worker.trainer.held_out import HeldOut

    directory = make_run(tmp_path / "run", tiny_llama, method, max_steps=10, learning_rate=5e-3)
    result = built(directory)
    measured = [
        HeldOut(result.trainer, batch_size=size, beta=0.3, check=lambda: None).measure() for size in (1, 2, 3, 8)
    ]
    for other in measured[1:]:
        assert other == pytest.approx(measured[0], rel=1e-5, abs=1e-6)
    told = [e for e in directory.events()[0] if e["event"] == "eval"][-1]
    assert told["loss"] == pytest.approx(measured[0]["loss"], rel=1e-5)

    base = AutoModelForCausalLM.from_pretrained(tiny_llama).eval()
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), directory.adapter).eval()
    rows = [json.loads(line) for line in directory.eval_file.read_text().splitlines()]
    liked = [row for row in rows if row.get("label", True)]
    parts = [log_prob(tuned, result.tokenizer, row, "chosen" if method == "dpo" else "completion") for row in liked]
    tokens = sum(count for _, count in parts)
    assert measured[0]["tokens"] == tokens
    assert measured[0]["loss"] == pytest.approx(-math.fsum(total for total, _ in parts) / tokens, rel=1e-5)
    if method == "dpo":
        margins = [
            0.3
            * (gain(tuned, base, result.tokenizer, r, "chosen") - gain(tuned, base, result.tokenizer, r, "rejected"))
            for r in rows
        ]
        assert measured[0]["margin"] == pytest.approx(math.fsum(margins) / len(margins), rel=1e-4)
        assert measured[0]["accuracy"] == sum(m > 0 for m in margins) / len(margins)
    if method == "kto":
        gains = [(0.3 * gain(tuned, base, result.tokenizer, r, "completion"), r["label"]) for r in rows]
        up, down = [g for g, label in gains if label], [g for g, label in gains if not label]
        assert measured[0]["margin"] == pytest.approx(sum(up) / len(up) - sum(down) / len(down), rel=1e-4)
        assert measured[0]["accuracy"] == sum((g > 0) == label for g, label in gains) / len(gains)


def log_prob(model: Any, tokenizer: Any, row: dict[str, Any], name: str) -> tuple[float, int]:
    """One row alone, without padding: the completion's summed log-probability from plain logits, and its tokens."""
    import torch

    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row["prompt"] + row[name], return_dict=True)["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([whole])).logits[0].double()
    chances = torch.log_softmax(logits[:-1], dim=-1)
    places = range(len(prompt), len(whole))
    return sum(float(chances[i - 1, whole[i]]) for i in places), len(places)


def gain(tuned: Any, base: Any, tokenizer: Any, row: dict[str, Any], name: str) -> float:
    return log_prob(tuned, tokenizer, row, name)[0] - log_prob(base, tokenizer, row, name)[0]


def test_rows_that_the_template_has_no_words_for_are_called_so(tmp_path: Path, train: Train) -> None:
    refusing = "{% if messages[1:] | selectattr('role', 'equalto', 'tool') | list %}{{ raise_exception('no tools') }}"
    base = tiny.make(tmp_path / "base", template=refusing + "{% endif %}" + tiny.TEMPLATE)
    said = [
        {"role": "assistant", "content": "One."},
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "Two."},
    ]
    rows: list[dict[str, object]] = [{"prompt": [{"role": "user", "content": "?"}], "completion": said}] * 8
    directory = with_rows(make_run(tmp_path / "run", base, max_steps=1), rows)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and status.error == "the model's chat template cannot say a row: no tools"
    assert "tokens EXAMPLE" in status.hint

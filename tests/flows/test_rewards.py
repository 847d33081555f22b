"""What a run is rewarded by is looked at before the launch: nothing is run, and what would not work is told by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from samples import IMPORTED, user
from workbench import methods
from workbench.domain.examples import Content, Kind, Status
from workbench.domain.models import ModelKind
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError, WorkbenchError
from workbench.flows import registry, train
from workbench.flows.bench import Bench
from workbench.flows.rewards import Reward, reward_of
from workbench.flows.start import start_of

RLOO = methods.get("rloo")


def asked(bench: Bench, reward: str, **given: str) -> Reward:
    return reward_of(bench, RLOO, RLOO.values("tiny", {"reward": reward, **given}))


def file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return str(path)


def test_a_file_is_read_and_not_run(bench: Bench, tmp_path: Path) -> None:
    text = "raise SystemExit\ndef reward(completions, *, answer, **rest):\n    return [1.0]\n"
    found = asked(bench, file(tmp_path, text))
    assert (found.name, found.source, len(found.sha256)) == ("reward", text, 64)
    assert asked(bench, file(tmp_path, "def other(completions, **rest): ...") + ":other").name == "other"


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("def reward(completions, **rest)\n", "is no Python", 1),
        ("\ndef score(completions, **rest): ...\n", "has no function reward", None),
        ("\ndef reward(completions): ...\n", r"does not take \*\*rest", 2),
        ("def reward(completions, weight, **rest): ...\n", "needs weight", 1),
        ("def reward(completions, *, weight, **rest): ...\n", "needs weight", 1),
        ("def reward(completions, /, **rest): ...\n", "by place only", 1),
        ("async def reward(completions, **rest): ...\n", "async", 1),
    ],
)
def test_a_file_that_could_not_be_called_is_told_by_its_line(
    text: str, reason: str, line: int | None, bench: Bench, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        asked(bench, file(tmp_path, text))
    assert line is None or caught.value.where.endswith(f"mine.py:{line}")


@pytest.mark.parametrize(
    ("reward", "error"),
    [("", UsageError), ("nowhere.py", NotFoundError), ("nobody", NotFoundError), ("pip", RefusedError)],
)
def test_what_cannot_reward_is_refused(reward: str, error: type[WorkbenchError], bench: Bench) -> None:
    with pytest.raises(error) as caught:
        asked(bench, reward)
    assert caught.value.hint


def test_a_reward_model_is_named_and_neither_answers_nor_is_gone_on_from(bench: Bench, tmp_path: Path) -> None:
    base = bench.store.models.default()
    bench.store.models.add("judge", ModelKind.REWARD, str(tmp_path), base=base.name)
    assert asked(bench, "judge") == Reward("judge", str(tmp_path), base.path)
    assert "judge" not in {model.name for model in bench.store.models.speakers()}
    with pytest.raises(RefusedError, match="scores answers"):
        registry.place(bench, "judge")
    with pytest.raises(RefusedError, match="reward model"):
        start_of(bench, "judge")


def test_answers_of_a_step_that_make_no_whole_groups_are_refused_with_numbers_that_do(bench: Bench) -> None:
    with pytest.raises(UsageError, match="draws 16 answers") as caught:
        asked(bench, "judge", num_generations="5")
    assert "per_device_train_batch_size=15" in caught.value.hint


def test_other_methods_need_no_reward(bench: Bench) -> None:
    sft = methods.get("sft")
    assert reward_of(bench, sft, sft.values("tiny", {})) == Reward()


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_prompts_and_a_reward_make_a_run(method: str, bench: Bench, tmp_path: Path) -> None:
    for number in range(12):
        asked_alone = Content(Kind.PROMPT, user(f"question {number}"), ())
        bench.store.examples.add("asked", asked_alone, source=IMPORTED, rater="rater", status=Status.ACCEPTED)
    reward = file(tmp_path, "def reward(completions, **rest):\n    return [1.0]\n")
    plan = train.plan(bench, method=method, dataset="asked", overrides={"reward": reward})
    assert plan.spec.reward == "reward" and plan.spec.train_rows + plan.spec.eval_rows == 12
    assert plan.train_rows[0].row["prompt"] == [{"role": "user", "content": "question 0"}]
    for name, value in {"replay_dataset": "asked", "replay_share": "0.2"}.items():
        with pytest.raises(UsageError, match=f"{method} has no {name}: it learns from its own answers") as caught:
            train.plan(bench, method=method, dataset="asked", overrides={"reward": reward, name: value})
        assert "beta" in caught.value.hint

"""Who can teach a run is looked at before the launch, from the files of the two models alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from samples import IMPORTED, demo
from workbench.domain.examples import Status
from workbench.domain.models import ModelKind
from workbench.errors import NotFoundError, RefusedError, UsageError, WorkbenchError
from workbench.flows import preflight, train
from workbench.flows.bench import Bench
from workbench.flows.train import RunPlan


@pytest.fixture
def data(bench: Bench) -> Bench:
    for number in range(20):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    return bench


def planned(bench: Bench, teacher: str, **given: str) -> RunPlan:
    overrides = {"teacher": teacher, "include_demonstrations": "true", **given}
    return train.plan(bench, method="distillation", dataset="answers", overrides=overrides)


def other(bench: Bench, folder: Path, name: str = "other") -> Path:
    """A copy of the default model, to be changed, and registered under another name."""
    path = folder / name
    shutil.copytree(bench.store.models.default().path, path)
    bench.store.models.add(name, ModelKind.BASE, str(path))
    return path


def test_a_model_with_the_same_tokens_teaches(data: Bench, tmp_path: Path) -> None:
    path = other(data, tmp_path)
    plan = planned(data, "other")
    assert (plan.spec.teacher, plan.spec.teacher_path, plan.spec.teacher_base_path) == ("other", str(path), "")
    assert "teacher=other" in plan.command and not any("template" in finding for finding in plan.findings)
    (path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert any("other has another chat template" in finding for finding in planned(data, "other").findings)


def test_an_adapter_teaches_its_own_base(data: Bench, tmp_path: Path) -> None:
    base = data.store.models.default()
    data.store.models.add("tuned", ModelKind.ADAPTER, str(tmp_path), base=base.name)
    spec = planned(data, "tuned").spec
    assert (spec.teacher_path, spec.teacher_base_path) == (str(tmp_path), base.path)


@pytest.mark.parametrize(
    ("teacher", "error", "reason"),
    [
        ("", UsageError, "needs a teacher"),
        ("nobody", NotFoundError, "no model 'nobody'"),
        ("pip", RefusedError, "would be its own teacher"),
        ("judge", RefusedError, "gives scores, not answers"),
        ("far", RefusedError, "far is on a server"),
    ],
)
def test_what_cannot_teach_is_refused_with_what_to_do(
    teacher: str, error: type[WorkbenchError], reason: str, data: Bench, tmp_path: Path
) -> None:
    data.store.models.add("judge", ModelKind.REWARD, str(tmp_path), base="pip")
    data.store.models.add("far", ModelKind.ENDPOINT, "http://127.0.0.1:9/v1#m")
    with pytest.raises(error, match=reason) as caught:
        planned(data, teacher)
    assert caught.value.hint


def test_a_learnt_prompt_and_a_model_that_is_gone_cannot_teach(data: Bench, tmp_path: Path) -> None:
    base = data.store.models.default().name
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8}))
    data.store.models.add("prompted", ModelKind.ADAPTER, str(tmp_path), base=base)
    with pytest.raises(RefusedError, match="prompted is a learnt prompt, which changes no weights") as caught:
        planned(data, "prompted")
    assert "train sft on them" in caught.value.hint
    shutil.rmtree(other(data, tmp_path, "gone"))
    with pytest.raises(NotFoundError, match=r"gone is not in .* any more"):
        planned(data, "gone")


def test_a_teacher_that_ends_where_the_learner_goes_on_is_told(data: Bench, tmp_path: Path) -> None:
    path = other(data, tmp_path)
    words = json.loads((path / "tokenizer.json").read_text())["added_tokens"]
    told = json.loads((path / "config.json").read_text())["eos_token_id"]
    ends = told if isinstance(told, list) else [told]
    more = next(word for word in words if word["id"] not in ends)
    assert not any("ends answers with" in finding for finding in planned(data, "other").findings)
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [*ends, more["id"]]}))
    (finding,) = [one for one in planned(data, "other").findings if "ends answers with" in one]
    assert finding.startswith(f"other ends answers with {more['content']} too, behind which pip goes on")


def test_a_teacher_with_other_tokens_or_another_head_is_refused(data: Bench, tmp_path: Path) -> None:
    words = other(data, tmp_path, "foreign") / "tokenizer.json"
    told = json.loads(words.read_text())
    first, second = list(told["model"]["vocab"])[300:302]
    told["model"]["vocab"] |= {first: told["model"]["vocab"][second], second: told["model"]["vocab"][first]}
    words.write_text(json.dumps(told))
    with pytest.raises(RefusedError, match="foreign and pip have different tokens") as caught:
        planned(data, "foreign")
    assert "train sft on them" in caught.value.hint

    config = other(data, tmp_path, "padded") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 4096}))
    with pytest.raises(RefusedError, match="the head of padded has 4,096 entries, that of pip"):
        planned(data, "padded")


def test_the_teacher_is_counted_in_the_memory(data: Bench, tmp_path: Path) -> None:
    other(data, tmp_path)
    spoken = preflight.look(data, planned(data, "other"), count=False).memory
    alone = preflight.look(data, train.plan(data, method="sft", dataset="answers"), count=False).memory
    assert spoken is not None and alone is not None
    assert spoken.weights == pytest.approx(2 * alone.weights, rel=0.01)


def test_a_knob_that_would_replay_is_refused_with_the_reason(data: Bench, tmp_path: Path) -> None:
    other(data, tmp_path)
    with pytest.raises(UsageError, match="distillation has no replay_dataset: the teacher has the say"):
        planned(data, "other", replay_dataset="answers")

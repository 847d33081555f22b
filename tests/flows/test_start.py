"""What a run starts from decides which settings it can have; the rest is refused before anything is queued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench import methods
from workbench.domain.models import ModelKind
from workbench.errors import NotFoundError, RefusedError, UsageError
from workbench.flows.bench import Bench
from workbench.flows.start import Start, knobs_from, start_of

SFT = methods.get("sft")


def adapter(bench: Bench, folder: Path, **config: object) -> Start:
    """An adapter on the default model that was saved with this config."""
    (folder / "adapter_config.json").write_text(json.dumps(config))
    bench.store.models.add("tuned", ModelKind.ADAPTER, str(folder), base=bench.store.models.default().name)
    return start_of(bench, "tuned")


def test_a_run_from_a_base_has_the_settings_of_its_preset(bench: Bench) -> None:
    assert knobs_from(start_of(bench, ""), SFT, "tiny", {}) == SFT.values("tiny", {})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"adapter": "ia3"}, "tuned is a dora adapter"),
        ({"lora_r": "8"}, "made with lora_r=4"),
        ({"adapter": "full", "quantization": "4bit"}, "cannot learn themselves"),
    ],
)
def test_an_adapter_keeps_what_it_was_made_with(
    given: dict[str, str], reason: str, bench: Bench, tmp_path: Path
) -> None:
    start = adapter(bench, tmp_path, peft_type="LORA", use_dora=True, r=4, lora_alpha=8)
    with pytest.raises(RefusedError, match=reason) as caught:
        knobs_from(start, SFT, "tiny", given)
    assert caught.value.hint


def test_an_adapter_can_be_merged_into_weights_that_learn_or_held_over_a_quantised_base(
    bench: Bench, tmp_path: Path
) -> None:
    start = adapter(bench, tmp_path, peft_type="LORA", r=4)
    assert knobs_from(start, SFT, "tiny", {"adapter": "full"})["adapter"] == "full"
    knobs = knobs_from(start, SFT, "tiny", {"adapter": "qlora"})
    assert (knobs["quantization"], knobs["lora_r"]) == ("4bit", 4)


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "VERA"])
def test_an_adapter_that_cannot_learn_on_is_refused(kind: str, bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        knobs_from(adapter(bench, tmp_path, peft_type=kind), SFT, "tiny", {})


def test_an_adapter_whose_folder_is_gone_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.store.models.add("gone", ModelKind.ADAPTER, str(tmp_path), base=bench.store.models.default().name)
    with pytest.raises(NotFoundError, match="gone has no adapter_config"):
        knobs_from(start_of(bench, "gone"), SFT, "tiny", {})


@pytest.mark.parametrize(
    ("pattern", "reason"), [("layers.9.", "no weight of"), ("layers.(", "is no regular expression")]
)
def test_a_pattern_that_finds_no_weight_is_refused_before_the_launch(pattern: str, reason: str, bench: Bench) -> None:
    with pytest.raises(UsageError, match=reason):
        knobs_from(start_of(bench, ""), SFT, "tiny", {"adapter": "named", "unfreeze": pattern})
    knobs = knobs_from(start_of(bench, ""), SFT, "tiny", {"adapter": "named", "unfreeze": r"layers\.3\.mlp"})
    assert knobs["adapter"] == "named"

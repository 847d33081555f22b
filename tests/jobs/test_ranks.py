"""The command of a run, and the configuration of several processes as accelerate itself reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_llama import make_run
from workbench.errors import UsageError
from workbench.jobs import ranks
from workbench.jobs.run_directory import RunDirectory


def run(folder: Path, **knobs: object) -> RunDirectory:
    return make_run(folder / "run", folder, **knobs)


def test_one_process_is_the_trainer_itself_and_needs_no_configuration(tmp_path: Path) -> None:
    directory = run(tmp_path)
    assert ranks.command(directory)[-2:] == ["workbench.worker.trainer", str(directory.root)]
    assert not (directory.root / ranks.CONFIG).exists()
    assert ranks.environment(directory) == {}


def test_several_are_started_by_accelerate_from_the_run_directory_alone(tmp_path: Path) -> None:
    directory = run(tmp_path, processes=4)
    words = ranks.command(directory)
    assert words[words.index("-m") + 1] == "accelerate.commands.launch"
    assert words[words.index("--config_file") + 1] == str(directory.root / "accelerate.yaml")
    assert "SIGHUP" not in ranks.environment(directory)["TORCHELASTIC_SIGNALS_TO_HANDLE"]


def test_a_run_goes_on_with_the_number_it_was_last_given(tmp_path: Path) -> None:
    directory = run(tmp_path, processes=4)
    directory.adjust({"processes": 1})
    assert ranks.processes_of(directory) == 1
    assert "accelerate.commands.launch" not in ranks.command(directory)


def test_without_deepspeed_its_strategies_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs DeepSpeed") as refused:
        ranks.command(run(tmp_path, processes=2, strategy="zero2"))
    assert "workbench[deepspeed]" in refused.value.hint


@pytest.mark.ml
@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "zero1", "zero2", "zero3"])
def test_accelerate_takes_every_configuration_as_it_was_meant(strategy: str, tmp_path: Path) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    directory = run(tmp_path, processes=4, strategy=strategy, gradient_checkpointing=True)
    knobs = directory.spec().knobs
    file = tmp_path / "config.yaml"
    file.write_text(ranks.text_of(ranks.configuration(strategy, knobs, processes=4)))
    args = launch_command_parser().parse_args(["--config_file", str(file), "script.py"])
    read, _, _ = _validate_launch_command(args)
    assert (read.num_processes, read.num_machines) == (4, 1)
    assert (read.multi_gpu, read.use_fsdp, read.use_deepspeed) == (
        strategy == "ddp",
        strategy == "fsdp",
        strategy.startswith("zero"),
    )
    if strategy == "fsdp":
        assert (read.fsdp_version, read.fsdp_activation_checkpointing) == (2, False)
    if strategy.startswith("zero"):
        assert read.zero_stage == int(strategy[-1])

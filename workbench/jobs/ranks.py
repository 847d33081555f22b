"""From a run directory to the command that trains it: one process, or several under ``accelerate launch``.

Owns accelerate's configuration, which is written into the run directory, so that the same command runs by hand, on
another machine or under a scheduler. Knows nothing of what is trained; the trainer finds out by itself that it is one
of several.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.domain.placement import PROCESSES, STRATEGY
from workbench.errors import RefusedError, RunError, UsageError
from workbench.jobs.processes import module_argv
from workbench.jobs.run_directory import RunDirectory

CONFIG = "accelerate.yaml"
PORT = 29500
TRAINER = "workbench.worker.trainer"
_LAUNCHER = "accelerate.commands.launch"
# A terminal that hangs up is none of a run's business: the launcher would otherwise end its processes.
SEVERAL = {"TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGQUIT"}


def processes_of(directory: RunDirectory) -> int:
    """How many processes the run was told to train with; 1 where that cannot be read."""
    try:
        return int(str(_knobs(directory).get(PROCESSES, 1)))
    except (RunError, ValueError):
        return 1


def command(directory: RunDirectory) -> list[str]:
    """The command that trains the run on this machine; the configuration of several processes is written anew.

    Raises ``RunError`` when the run cannot be read, ``UsageError`` when a package that it needs is missing, and
    ``OSError`` when the configuration cannot be written.
    """
    if (processes := processes_of(directory)) == 1:
        return module_argv(TRAINER, str(directory.root))
    config = write_config(directory, processes=processes)
    return module_argv(_LAUNCHER, "--config_file", str(config), "--module", TRAINER, str(directory.root))


def command_on(rank: int, *, root: str, machines: int, processes: int, address: str, port: int = PORT) -> list[str]:
    """The command for one of several machines, whose first is at ``address``; ``root`` is the run directory there."""
    place = {
        "--config_file": f"{root}/{CONFIG}",
        "--num_machines": str(machines),
        "--num_processes": str(processes),
        "--machine_rank": str(rank),
        "--main_process_ip": address,
        "--main_process_port": str(port),
    }
    words = [word for pair in place.items() for word in pair]
    return module_argv(_LAUNCHER, *words, "--module", TRAINER, root)


def log_of(directory: RunDirectory, machine: int) -> Path:
    """What the processes of one of several machines print; the first one's is the run's own log."""
    return directory.root / f"log-{machine}.txt" if machine else directory.log_file


def environment(directory: RunDirectory) -> dict[str, str]:
    """What the environment of several processes needs beside that of one."""
    if (processes := processes_of(directory)) == 1:
        return {}
    threads = max(1, (os.cpu_count() or 1) // processes)
    return SEVERAL | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


def write_config(directory: RunDirectory, *, processes: int, machines: int = 1, here: bool = True) -> Path:
    """Write accelerate's configuration of the run into its directory; gives back the file.

    ``here`` is False for machines that have packages of their own. Raises ``UsageError`` when one is missing here.
    """
    knobs = _knobs(directory)
    strategy = str(knobs.get(STRATEGY, "ddp"))
    if here and (said := missing(strategy)):
        hint = "pip install 'workbench[deepspeed]', or strategy=fsdp, which needs nothing more"
        raise UsageError(said, hint=hint)
    path = directory.root / CONFIG
    values = configuration(strategy, knobs, processes=processes, machines=machines)
    path.write_text(text_of(values), encoding="utf-8")
    return path


def text_of(values: Mapping[str, Any]) -> str:
    """A configuration as its file has it."""
    return f"# Written by the workbench for accelerate launch; JSON is YAML too.\n{json.dumps(values, indent=2)}\n"


def configuration(strategy: str, knobs: Mapping[str, object], *, processes: int, machines: int = 1) -> dict[str, Any]:
    """Accelerate's configuration: what the processes share, and where they are.

    The machine's kind is always called MULTI_GPU: accelerate then starts the processes itself, on machines without a
    GPU too, where they exchange through gloo. Its own way there needs MPI.
    """
    place: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "num_machines": machines,
        "num_processes": processes,
        "machine_rank": 0,
        # 0 takes a free port, which several machines could not agree on.
        "main_process_port": 0 if machines == 1 else PORT,
        "rdzv_backend": "static",
        "same_network": True,
        "mixed_precision": "no",
        "use_cpu": False,
    }
    if strategy == "fsdp":
        return place | {"distributed_type": "FSDP", "fsdp_config": _fsdp()}
    if strategy.startswith("zero"):
        return place | {"distributed_type": "DEEPSPEED", "deepspeed_config": _zero(int(strategy[-1]), knobs)}
    return place


def _fsdp() -> dict[str, Any]:
    return {
        "fsdp_version": 2,
        "fsdp_reshard_after_forward": True,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_cpu_ram_efficient_loading": False,
        "fsdp_offload_params": False,
        # The trainer's own gathers every layer once more. FSDP's wraps the layers under names of its own, by which PEFT
        # finds no weight of the adapter and saves none; transformers refuses both at once.
        "fsdp_activation_checkpointing": False,
    }


def _zero(stage: int, knobs: Mapping[str, object]) -> dict[str, Any]:
    return {
        "zero_stage": stage,
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": knobs.get("max_grad_norm", 1.0),
        "offload_optimizer_device": "none",
        "offload_param_device": "none",
        "zero3_init_flag": False,
        "zero3_save_16bit_model": stage == 3,
        "deepspeed_multinode_launcher": "standard",
    }


def missing(strategy: str) -> str:
    """What this strategy needs and this machine has not, as a sentence; "" when nothing is missing."""
    if not strategy.startswith("zero") or find_spec("deepspeed") is not None:
        return ""
    return f"strategy={strategy} needs DeepSpeed, which is not installed"


def shared_in(checkpoint: Path) -> tuple[str, int]:
    """How a checkpoint was shared out: ``zero`` and between how many processes, ``fsdp`` (any number but one can go on
    from it), or "" for one that is whole.
    """
    if parts := len(list(checkpoint.glob("global_step*/*zero_pp_rank_*_optim_states.pt"))):
        return "zero", parts
    return ("fsdp", 0) if (checkpoint / "pytorch_model_fsdp.bin").is_file() else ("", 0)


def refuse_other_number(checkpoint: Path, processes: int) -> None:
    """Raise ``RefusedError`` when so many processes cannot go on from a checkpoint."""
    sharing, parts = shared_in(checkpoint)
    if sharing == "zero" and processes != parts:
        said = f"{checkpoint.name} was saved by {parts} processes with ZeRO: no other number can go on from it"
        raise RefusedError(said, hint=f"workbench runs resume RUN --processes {parts}")
    if sharing == "fsdp" and processes == 1:
        said = f"{checkpoint.name} was saved by processes that share the model (fsdp): one alone cannot go on from it"
        raise RefusedError(said, hint="workbench runs resume RUN --processes 2, or more")


def _knobs(directory: RunDirectory) -> dict[str, Any]:
    return {**directory.spec().knobs, **directory.adjusted()}

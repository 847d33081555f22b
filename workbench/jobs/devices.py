"""The device that a run will train on, seen without torch: how much memory is free there, and who else uses it.

Knows nothing of models. GPUs are asked through NVIDIA's management library; without a driver there are none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_CGROUP = Path("/sys/fs/cgroup")
_BF16_SINCE = 8  # the major compute capability of the first GPUs that calculate with bf16


@dataclass(frozen=True, slots=True)
class DeviceUser:
    """A process that has memory on a GPU; ``used`` is None where the driver does not tell."""

    pid: int
    name: str
    used: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """Where a run trains: ``kind`` is cuda or cpu; memory in bytes; ``users`` are the GPU's processes."""

    kind: str
    name: str
    total: int
    free: int
    has_bf16: bool = False
    users: tuple[DeviceUser, ...] = ()


def training_device() -> Device:
    """The first GPU that a trainer would see, else main memory."""
    return _first_gpu() or _main_memory()


def _main_memory() -> Device:
    import psutil  # 15 ms

    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    limit = _number(_CGROUP / "memory.max")
    if limit is not None and limit < total:
        # What a container may have; psutil tells what the whole machine has.
        total, free = limit, max(0, min(free, limit - (_number(_CGROUP / "memory.current") or 0)))
    return Device("cpu", "main memory", total, free)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or "max"
        return None


def _first_gpu() -> Device | None:
    if _torch_is_for_cpu() or os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return None
    try:
        import pynvml  # 10 ms

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    try:
        return _described(pynvml, _visible(pynvml))
    except pynvml.NVMLError:
        return None
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _torch_is_for_cpu() -> bool:
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True


def _visible(nvml: Any) -> Any:
    """The handle of the first device in ``CUDA_VISIBLE_DEVICES``, by number or by its unique name."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return nvml.nvmlDeviceGetHandleByIndex(int(wanted)) if wanted.isdigit() else nvml.nvmlDeviceGetHandleByUUID(wanted)


def _described(nvml: Any, handle: Any) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, _ = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    name = nvml.nvmlDeviceGetName(handle)
    text = name.decode() if isinstance(name, bytes) else str(name)
    return Device("cuda", text, memory.total, memory.free, major >= _BF16_SINCE, tuple(_users(nvml, handle)))


def _users(nvml: Any, handle: Any) -> Iterator[DeviceUser]:
    import psutil  # 15 ms

    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return
    for process in processes:
        name = "?"
        with suppress(psutil.Error):
            name = psutil.Process(process.pid).name()
        yield DeviceUser(process.pid, name, process.usedGpuMemory)

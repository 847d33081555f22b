"""The device that a run will train on, seen without torch: how much memory is free there, and who else uses it.

Knows nothing of models. GPUs are asked through NVIDIA's management library; without a driver there are none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from workbench.domain.queues import DeviceUser, Gpu, Wish, startable

VISIBLE = "CUDA_VISIBLE_DEVICES"
_CGROUP = Path("/sys/fs/cgroup")
_BF16_SINCE = 8  # the major compute capability of the first GPUs that calculate with bf16


@dataclass(frozen=True, slots=True)
class Device:
    """Where a run trains: ``kind`` is cuda or cpu; memory in bytes; ``users`` are the GPU's processes."""

    kind: str
    name: str
    total: int
    free: int
    has_bf16: bool = False
    users: tuple[DeviceUser, ...] = ()


def training_device(wanted: Wish | None = None) -> Device:
    """The GPU that a run would get now (the freest, or the first of those it names), else main memory."""
    chosen = next(startable([("", wanted or Wish())], gpus(), ()), ("", ()))[1]
    return _as_device(chosen[0]) if chosen else _main_memory()


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that a trainer started here would see, in its order; none without a driver, or with torch for CPUs."""
    wanted = os.environ.get(VISIBLE)
    if _torch_is_for_cpu() or wanted in {"", "-1"}:
        return ()
    try:
        import pynvml  # 10 ms

        pynvml.nvmlInit()
    except ImportError:
        return ()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_answering(pynvml, visible(pynvml)))
    except pynvml.NVMLError:
        return ()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def visible(nvml: Any) -> list[Any]:
    """NVML's handles of the devices in ``CUDA_VISIBLE_DEVICES`` (numbers or unique names), or of all without it.

    One that does not answer is left out; of a list, CUDA sees only what stands before a wrong name.
    """
    wanted, found = os.environ.get(VISIBLE), []
    names = map(str, range(nvml.nvmlDeviceGetCount())) if wanted is None else map(str.strip, wanted.split(","))
    for name in names:
        ask = nvml.nvmlDeviceGetHandleByIndex if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID
        try:
            found.append(ask(int(name) if name.isdigit() else name))
        except nvml.NVMLError as error:
            if error.value in {nvml.NVML_ERROR_INVALID_ARGUMENT, nvml.NVML_ERROR_NOT_FOUND}:
                break
    return found


def _answering(nvml: Any, handles: Iterable[Any]) -> Iterator[Gpu]:
    """The GPUs behind the handles, without those that do not answer now."""
    for handle in handles:
        with suppress(nvml.NVMLError):
            yield _described(nvml, handle)


def _as_device(gpu: Gpu) -> Device:
    return Device("cuda", gpu.name, gpu.total, gpu.free, gpu.has_bf16, gpu.users)


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


def _torch_is_for_cpu() -> bool:
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True


def _described(nvml: Any, handle: Any) -> Gpu:
    total, free = _memory(nvml, handle)
    major = 0
    with suppress(nvml.NVMLError):  # a part of a card may not tell
        major, _ = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        nvml.nvmlDeviceGetIndex(handle),
        _text(nvml.nvmlDeviceGetUUID(handle)),
        _text(nvml.nvmlDeviceGetName(handle)),
        total,
        free,
        major >= _BF16_SINCE,
        tuple(_users(nvml, handle)),
    )


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        shared = _main_memory()  # a GPU without memory of its own
        return shared.total, shared.free
    return memory.total, memory.free


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


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

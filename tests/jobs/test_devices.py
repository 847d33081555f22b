"""The GPUs as the driver tells them, with a driver of ours."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from workbench.jobs import devices


class Fallen(Exception):
    """What the library raises for a GPU that does not answer."""


def driver(*, silent: int) -> SimpleNamespace:
    """Three GPUs by their numbers, of which one does not answer."""

    def memory(handle: int) -> SimpleNamespace:
        if handle == silent:
            raise Fallen
        return SimpleNamespace(total=140, free=100)

    return SimpleNamespace(
        NVMLError=Fallen,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetCudaComputeCapability=lambda handle: (9, 0),
        nvmlDeviceGetIndex=lambda handle: handle,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetName=lambda handle: "H200",
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [],
    )


def test_a_gpu_that_does_not_answer_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setattr(devices, "_torch_is_for_cpu", lambda: False)
    monkeypatch.setitem(sys.modules, "pynvml", driver(silent=1))  # type: ignore[arg-type]
    assert [gpu.uuid for gpu in devices.gpus()] == ["GPU-0", "GPU-2"]

"""The GPUs as the driver tells them, with a driver of ours; some of these compile one that the real pynvml loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workbench.jobs import devices


class Fallen(Exception):
    """What the library raises for a GPU that does not answer."""

    value = 15


def driver(*, silent: int) -> SimpleNamespace:
    """Three GPUs by their numbers, of which one does not answer."""

    def memory(handle: int) -> SimpleNamespace:
        if handle == silent:
            raise Fallen
        return SimpleNamespace(total=140, free=100)

    return SimpleNamespace(
        NVMLError=Fallen,
        NVML_ERROR_NOT_SUPPORTED=3,
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


LOOK = """
import dataclasses, json
from workbench.jobs import devices
from workbench.worker.trainer.reporting import DeviceFigures
devices._torch_is_for_cpu = lambda: False
gpus = [dataclasses.asdict(gpu) for gpu in devices.gpus()]
print(json.dumps([gpus, DeviceFigures().read(), devices.training_device().kind]))
"""
NO_PERMISSION, NOT_SUPPORTED, LOST = 4, 3, 15
FIGURES = {"gpu_memory_bytes", "gpu_memory_total_bytes", "gpu_percent", "gpu_celsius", "gpu_watts"}

Look = Callable[..., tuple[list[dict[str, Any]], dict[str, float], str]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("fake_nvml.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


@pytest.fixture
def look(library: Path, tmp_path: Path) -> Look:
    """What a process of its own sees with that driver: its GPUs, the figures of a run, and where a run would train."""

    def looked(*told: str, visible: str | None = None) -> tuple[list[dict[str, Any]], dict[str, float], str]:
        (tmp_path / "told").write_text("".join(f"{line}\n" for line in told))
        own = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": str(tmp_path / "told")}
        environment = {name: value for name, value in os.environ.items() if name != devices.VISIBLE} | own
        if visible is not None:
            environment[devices.VISIBLE] = visible
        done = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=True)
        gpus, figures, kind = json.loads(done.stdout)
        return gpus, {name: value for name, value in figures.items() if name.startswith("gpu")}, kind

    return looked


def test_the_real_library_tells_cards_and_who_is_on_them(look: Look) -> None:
    gpus, figures, kind = look(f"users 0 {os.getpid()} 4096", "users 0 4194000 -1")
    assert [(gpu["uuid"], gpu["name"], gpu["total"]) for gpu in gpus] == [
        ("GPU-aaaa", "NVIDIA Made Up", 80 << 30),
        ("GPU-bbbb", "NVIDIA Made Up", 80 << 30),
    ]
    known, unknown = gpus[0]["users"]
    assert (known["pid"], known["used"]) == (os.getpid(), 4 << 30) and known["name"] != "?"
    assert unknown == {"pid": 4194000, "name": "?", "used": None}
    assert figures.keys() == FIGURES and kind == "cuda"


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        ("nvmlDeviceGetUtilizationRates", {"gpu_percent"}),  # parts of a card (MIG)
        ("nvmlDeviceGetTemperature", {"gpu_celsius"}),
        ("nvmlDeviceGetMemoryInfo", {"gpu_memory_bytes", "gpu_memory_total_bytes"}),
    ],
)
def test_what_a_card_does_not_tell_hides_nothing_else(look: Look, function: str, missing: set[str]) -> None:
    gpus, figures, _ = look(f"{function} -1 {NOT_SUPPORTED}")
    assert len(gpus) == 2
    assert FIGURES - figures.keys() == missing


def test_a_card_without_memory_of_its_own_has_the_machines(look: Look) -> None:
    gpus, _, kind = look(f"nvmlDeviceGetMemoryInfo -1 {NOT_SUPPORTED}")
    assert kind == "cuda" and all(gpu["total"] > gpu["free"] > 0 for gpu in gpus)


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUUID"])
def test_a_card_that_is_lost_hides_no_other(look: Look, function: str) -> None:
    gpus, _, kind = look(f"{function} 0 {LOST}")
    assert [gpu["uuid"] for gpu in gpus] == ["GPU-bbbb"] and kind == "cuda"


def test_cards_are_told_where_their_users_may_not_be(look: Look) -> None:
    gpus, _, _ = look("users 0 1 10", f"nvmlDeviceGetComputeRunningProcesses_v3 0 {NO_PERMISSION}")
    assert [gpu["users"] for gpu in gpus] == [[], []]


def test_without_permission_for_the_driver_there_are_no_cards(look: Look) -> None:
    assert look(f"nvmlInitWithFlags -1 {NO_PERMISSION}") == ([], {}, "cpu")


@pytest.mark.parametrize(("visible", "seen"), [("1,7,0", ["GPU-bbbb"]), ("GPU-bbbb", ["GPU-bbbb"]), ("9", [])])
def test_of_named_cards_those_before_a_wrong_name_are_seen(look: Look, visible: str, seen: list[str]) -> None:
    assert [gpu["uuid"] for gpu in look(visible=visible)[0]] == seen

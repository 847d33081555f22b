"""The wheel holds all that the program needs: built here, installed elsewhere, the demo runs from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.ml, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_themes_and_sample_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "workbench/share/sample_data/model/model.safetensors" in names
    assert any(n.startswith("workbench/share/themes/") and n.endswith(".toml") for n in names)
    assert not any(n.startswith("tests/") for n in names)


def test_the_demo_runs_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import workbench; print(workbench.__file__)"]
    used = subprocess.run(where, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    assert used.startswith(str(site))
    demo = [sys.executable, "-m", "workbench", "demo", "--fast", "--json", "--dir", str(tmp_path / "demo")]
    done = subprocess.run(
        demo, capture_output=True, text=True, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert summary["captured"] >= 5
    assert len(summary["runs"]) >= 2
    assert all(Path(name).is_file() for name in summary["exported"])

"""The shape of the code, where a static linter cannot keep it: sizes, docstrings, what an import really loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "workbench"
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "transformers", "datasets", "pandas", "numpy", "trl", "peft")
ALLOWED_AT_THE_TOP = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt"),
    *("workbench", "tests", "themes", "sample_data"),
}


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_no_file_passes_600_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


def test_the_app_class_stays_under_300_lines() -> None:
    tree = ast.parse((PACKAGE / "tui" / "app.py").read_text(encoding="utf-8"))
    sizes = {n.name: (n.end_lineno or 0) - n.lineno + 1 for n in tree.body if isinstance(n, ast.ClassDef)}
    assert sizes["WorkbenchApp"] < 300


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_module_says_what_it_owns(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring and len(docstring) > 20


def test_the_top_level_holds_nothing_else() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in tracked}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED_AT_THE_TOP


def _loaded_after(statement: str, home: Path) -> set[str]:
    """Which heavy modules a clean interpreter has loaded after ``statement``."""
    code = f"import sys\n{statement}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "WORKBENCH_WORKSPACE": str(home / "workspace")},
    )
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import workbench.cli.main as m; m.build_parser()",
        "import workbench.tui.app, workbench.tui.launch",
        "from workbench import paths; from workbench.flows.bench import Bench; Bench.open(paths.workspace()).close()",
        "import workbench.flows.train, workbench.flows.compare, workbench.flows.chat, workbench.flows.exchange",
        "import workbench.jobs.runner, workbench.jobs.engine",
        "from workbench.methods import find; find()",
    ],
)
def test_the_bench_never_loads_the_ml_libraries(statement: str, tmp_path: Path) -> None:
    assert _loaded_after(statement, tmp_path) == set()


def test_the_worker_does_load_torch(tmp_path: Path) -> None:
    assert "torch" in _loaded_after("import workbench.worker.doctor as d; d.report()", tmp_path)


def test_importing_the_package_imports_nothing(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import workbench; print(*sorted(set(sys.modules) - before))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    new = {name for name in answer.stdout.split() if not name.startswith("_")}
    assert new <= {"workbench"}

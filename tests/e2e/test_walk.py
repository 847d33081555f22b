"""The whole loop by keys alone, in tmux, at the smallest and at a usual size: as a person would walk it.

Chat three turns, edit one answer, regenerate and pick one, keep one, thumb one down; import sample data; train SFT,
then DPO; watch; compare five prompts blind; export; import the export into a fresh workspace: the same rows.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import FakeEngine

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tmux import Tmux

from workbench.domain.examples import Kind, SourceKind
from workbench.domain.queries import parse_query
from workbench.domain.runs import RunState
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped

pytestmark = [
    pytest.mark.ml,
    pytest.mark.tmux,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
QUESTIONS = ["who are you?", "How long do potatoes take?", "Do you sell pans?"]
ROWS = 24


def _until(ready: Callable[[], bool], what: str, tmux: Tmux, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come; the screen was:\n{tmux.screen()}")
        time.sleep(0.1)


def _samples(folder: Path) -> dict[str, Path]:
    """The first rows of the sample sets, so that a walk takes seconds."""
    found = {}
    for name in ("tickets", "polite"):
        found[name] = folder / f"{name}.jsonl"
        with (shipped("sample_data") / f"{name}.jsonl").open(encoding="utf-8") as file:
            found[name].write_text("".join(itertools.islice(file, ROWS)), encoding="utf-8")
    return found


def _start(tmux: Tmux, workspace: Workspace) -> None:
    tmux.start(sys.executable, "-m", "workbench", "--workspace", str(workspace.root))
    tmux.wait_for("[(C)HAT]")
    tmux.wait_for("engine")  # the store is open when the status line knows the engine


def _chat(tmux: Tmux, bench: Bench) -> None:
    def answers() -> int:
        chats = bench.store.chats.list()
        return sum(m.role == "assistant" for m in bench.store.chats.tree(chats[0].id).messages.values()) if chats else 0

    for number, question in enumerate(QUESTIONS, start=1):
        tmux.text(question)

        tmux.keys("Enter")  # what is sent before the screen knows that the answer is over waits, and is sent then

        def answered(number: int = number) -> bool:
            return answers() == number

        _until(answered, f"answer {number}", tmux)
    _gesture(tmux, bench, SourceKind.CHAT_EDIT, "Escape", "e", then="We sell pans.")
    before = answers()
    tmux.keys("C-r")
    _until(lambda: answers() == before + 1, "another answer", tmux)
    tmux.wait_for("3/3")  # it is stored before it is shown as one that can be picked
    _gesture(tmux, bench, SourceKind.CHAT_PICK, "p")
    _gesture(tmux, bench, SourceKind.CHAT_THUMB, "-")
    tmux.keys("g", "j")
    _gesture(tmux, bench, SourceKind.CHAT_KEEP, "s")


def _gesture(tmux: Tmux, bench: Bench, source: SourceKind, *keys: str, then: str = "") -> None:
    def count() -> int:
        return bench.store.examples.count(parse_query(f"source:{source.value}"))

    before = count()
    for key in keys:
        tmux.keys(key)
        time.sleep(0.4)  # Escape and the next key must not become one Alt chord
    if then:
        tmux.wait_for("^s")
        tmux.keys("C-End", "C-u")
        tmux.text(then)
        tmux.keys("C-s")
    _until(lambda: count() > before, source.value, tmux)


def _import(tmux: Tmux, path: Path, *, dataset: str = "", status: str = "") -> None:
    tmux.keys("F3")
    tmux.wait_for("[C(U)RATE]")
    tmux.keys("i")
    tmux.wait_for("shows the rows")
    tmux.text(str(path))
    tmux.keys("Tab", "Tab", "Tab", "End", "C-u")
    tmux.text(dataset)
    if status:
        tmux.keys("Tab")
        tmux.press_until("Right", f"‹ {status} ›")
    tmux.wait_for("row 1: ")
    tmux.keys("C-s")
    tmux.wait_for("duplicates ")
    tmux.keys("Enter")
    tmux.wait_for(lambda shown: "─ Import ─" not in shown)


def _train(tmux: Tmux, bench: Bench, method: str) -> None:
    before = len(bench.store.runs.list())
    tmux.keys("F5")
    tmux.wait_for("[(T)RAIN]")
    tmux.keys("n")
    tmux.wait_for("method    ‹")
    tmux.wait_for("learning_rate")
    tmux.press_until("Right", f"‹ {method} ›")
    tmux.wait_for(lambda shown: f"--method {method}" in " ".join(shown.split()) or "✗" in shown)
    tmux.keys("C-s")
    _until(lambda: len(bench.store.runs.list()) > before, f"the {method} run", tmux)
    tmux.wait_for("running", seconds=120)

    def over() -> bool:
        return bench.store.runs.list()[0].state.is_over

    _until(over, f"the end of the {method} run", tmux, seconds=240)
    run = bench.store.runs.list()[0]
    assert (run.method, run.state) == (method, RunState.FINISHED), run
    assert run.eval_loss is not None
    tmux.wait_for("held-out loss")


def _compare(tmux: Tmux, bench: Bench, names: set[str]) -> None:
    tmux.keys("F6")
    tmux.wait_for("[(A)RENA]")
    tmux.keys("n")
    tmux.wait_for("Ask models the same")
    tmux.keys("Tab", "Tab", "Tab", "Tab", "End", "C-u")  # over the other model, a third, and the prompts
    tmux.text("5")
    tmux.keys("C-s")
    _until(lambda: len(bench.store.comparisons.list(limit=10)) == 5, "five pairs", tmux)
    for vote in itertools.cycle(["h", "l", "t", "0", "l"]):
        waiting = bench.store.comparisons.waiting(bench.rater)
        if waiting == 0:
            break
        shown = tmux.wait_for(lambda text: "blind" in text and "Left" in text)
        assert not any(name in shown for name in names), shown
        tmux.keys(vote)
        _until(lambda waiting=waiting: bench.store.comparisons.waiting(bench.rater) < waiting, "the vote", tmux)
        time.sleep(0.3)
        tmux.keys("Enter")


def _export(tmux: Tmux, target: Path) -> None:
    tmux.keys("F3")
    tmux.wait_for("[C(U)RATE]")
    tmux.keys("X")
    tmux.wait_for("as trl in jsonl")
    tmux.keys("End", "C-u")
    tmux.text(str(target))
    tmux.wait_for(target.name)
    tmux.keys("C-s")
    tmux.wait_for("Enter closes")
    tmux.keys("Enter")
    assert target.is_file()


def _hashes(bench: Bench) -> list[str]:
    found = bench.store.examples.list(parse_query("status:accepted"), limit=10_000)
    return sorted(e.content.hash() for e in found)


# The wide one is for `-m slow`: a walk takes minutes.
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), pytest.param(160, 45, marks=pytest.mark.slow)])
def test_the_whole_loop_by_keys_alone(columns: int, rows: int, tmp_path: Path) -> None:
    samples = _samples(tmp_path)
    workspace, fresh = Workspace(tmp_path / "first"), Workspace(tmp_path / "second")
    target = tmp_path / "out.jsonl"
    bench = Bench.open(workspace, engine=FakeEngine())
    (tmp_path / "t").mkdir()
    with Tmux(tmp_path / "t", columns=columns, rows=rows, env={}) as tmux:
        _start(tmux, workspace)
        tmux.wait_for(lambda shown: columns - 2 <= max(map(len, shown.splitlines())) <= columns)
        _chat(tmux, bench)
        for path in samples.values():
            _import(tmux, path, dataset="chats", status="accepted")
        _train(tmux, bench, "sft")
        _train(tmux, bench, "dpo")
        _compare(tmux, bench, {"pip", *(run.name for run in bench.store.runs.list())})
        _export(tmux, target)
        tmux.keys("C-q")
    second = Bench.open(fresh, engine=FakeEngine())
    with Tmux(tmp_path / "t", columns=columns, rows=rows, env={}) as tmux:
        _start(tmux, fresh)
        _import(tmux, target, dataset="chats", status="accepted")
        tmux.keys("C-q")
    kinds = {e.content.kind for e in bench.store.examples.list(parse_query("status:accepted"), limit=10_000)}
    assert kinds == {Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.JUDGEMENT}
    assert len(_hashes(bench)) >= 2 * ROWS + 4
    assert _hashes(second) == _hashes(bench)
    bench.close()
    second.close()

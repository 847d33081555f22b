"""Talking to a child in lines: what it says comes back, and its end is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.errors import WorkbenchError
from workbench.jobs.children import converse


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that children find: it echoes in capitals, and fails or falls asleep when told so."""
    (tmp_path / "echo_child.py").write_text(
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    if 'fail' in line: print('first', file=sys.stderr); sys.exit('the reason')\n"
        "    if 'leave' in line: sys.exit(0)\n"
        "    if 'sleep' in line: time.sleep(600)\n"
        "    print(line.strip().upper(), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "echo_child"


def test_lines_go_in_and_answers_come_back(module: str) -> None:
    assert list(converse(module, (), ["a", "tee grün 茶"])) == ["A", "TEE GRÜN 茶"]


def test_more_than_the_pipes_hold_goes_through(module: str) -> None:
    lines = ["x" * 1000] * 2000
    assert sum(1 for _ in converse(module, (), lines)) == 2000


def test_a_child_that_fails_says_why(module: str) -> None:
    with pytest.raises(WorkbenchError, match="echo_child failed: the reason") as failed:
        list(converse(module, (), ["a", "fail"]))
    assert failed.value.hint == "first"


def test_a_child_that_ends_before_it_has_heard_everything_is_no_failure(module: str) -> None:
    assert list(converse(module, (), ["a", "leave", *["x" * 1000] * 5000])) == ["A"]


def test_what_the_lines_raise_is_raised(module: str) -> None:
    def lines() -> Iterator[str]:
        yield "a"
        raise ValueError("no more rows")

    with pytest.raises(ValueError, match="no more rows"):
        list(converse(module, (), lines()))


def test_leaving_early_ends_the_child(module: str) -> None:
    answers = converse(module, (), ["a", "sleep", "b"])
    assert next(answers) == "A"
    answers.close()  # type: ignore[attr-defined]


def test_cancelling_ends_a_child_that_says_nothing(module: str) -> None:
    cancelled = threading.Event()
    answers = converse(module, (), ["a", "sleep"], cancelled=cancelled)
    assert next(answers) == "A"
    cancelled.set()
    with pytest.raises(WorkbenchError, match="echo_child failed"):
        next(answers)

"""How two runs differ: in what they were told, in their rows by hash, in what came out, and in what they ran on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.domain.runs import Run
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import RunFacts, file_hash, read_facts


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs, with its value in either run."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class RunDiff:
    """The differences of two runs by subject; what is the same is left out, but for the numbers.

    ``shared_rows`` counts the training rows that both have, as text.
    """

    a: str
    b: str
    same_rows: bool
    shared_rows: int
    settings: tuple[Difference, ...]
    data: tuple[Difference, ...]
    versions: tuple[Difference, ...]
    numbers: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def diff(a: Run, b: Run) -> RunDiff:
    """The differences of two runs, from their folders; raises ``RunError`` when one of those is gone."""
    one, other = (read_facts(RunDirectory(Path(run.directory))) for run in (a, b))
    files = [
        {name: file_hash(facts.directory.root / name) for name in ("train.jsonl", "eval.jsonl")}
        for facts in (one, other)
    ]
    return RunDiff(
        a.name,
        b.name,
        files[0] == files[1],
        (_rows(one) & _rows(other)).total(),
        _different(_settings(one), _settings(other)),
        _different(_data(one) | files[0], _data(other) | files[1]),
        _different(_versions(one), _versions(other)),
        _different(_numbers(one), _numbers(other), keep=True),
    )


@dataclass(frozen=True, slots=True)
class EqualLosses:
    """Whether two runs had the same training loss at every step: bit for bit, over ``steps`` steps that both have."""

    is_equal: bool
    steps: int
    largest: float


def equal_losses(a: Run, b: Run) -> EqualLosses:
    """Compare the training losses of two runs step by step, as their events say them."""
    one, other = (dict(read_facts(RunDirectory(Path(run.directory))).curves.get("loss", ())) for run in (a, b))
    both = sorted({*one} & {*other})
    differences = [abs(one[step] - other[step]) for step in both]
    is_equal = bool(both) and all(one[step] == other[step] for step in both)
    return EqualLosses(is_equal, len(both), max(differences, default=0.0))


def equal_said(found: EqualLosses) -> str:
    """The comparison as a sentence."""
    if not found.steps:
        return "no step has a loss in both"
    if found.is_equal:
        return f"the losses of {found.steps} steps are equal bit for bit"
    return f"the losses of {found.steps} steps differ by at most {found.largest:.3g}"


def lines(found: RunDiff) -> list[str]:
    """The differences for a person, a line each."""
    rows = "the same rows" if found.same_rows else f"different rows ({found.shared_rows} training rows in both)"
    shown = [f"{found.a} and {found.b} have {rows}"]
    for title, several in (
        ("settings", found.settings),
        ("data", found.data),
        ("versions", found.versions),
        ("numbers", found.numbers),
    ):
        shown += (
            [f"{title}:", *(f"  {one.name}: {_short(one.a)} → {_short(one.b)}" for one in several)] if several else []
        )
    return shown


def _different(a: Mapping[str, Any], b: Mapping[str, Any], *, keep: bool = False) -> tuple[Difference, ...]:
    names = dict.fromkeys([*a, *b])
    return tuple(Difference(name, a.get(name), b.get(name)) for name in names if keep or a.get(name) != b.get(name))


def _settings(facts: RunFacts) -> dict[str, Any]:
    spec = facts.spec
    names = ("method", "base", "adapter", "preset", "seed", "reward", "teacher", "general")
    told = {name: getattr(spec, name) for name in names}
    # A knob is called adapter too: what kind of it learns.
    told = {{"adapter": "went on from"}.get(name, name): value for name, value in told.items()}
    told |= {name: facts.origin.get(name, "") for name in ("base_sha256", "adapter_sha256", "teacher_sha256")}
    return told | dict(spec.knobs)


def _data(facts: RunFacts) -> dict[str, Any]:
    spec = facts.spec
    return {"dataset": spec.dataset, "train_rows": spec.train_rows, "eval_rows": spec.eval_rows}


def _versions(facts: RunFacts) -> dict[str, Any]:
    git = facts.origin.get("git", {})
    told = {"workbench": facts.origin.get("workbench", ""), **facts.spec.versions}
    return told | {"git commit": git.get("commit", ""), "machine": facts.origin.get("machine", {}).get("name", "")}


def _numbers(facts: RunFacts) -> dict[str, Any]:
    found: dict[str, Any] = {"state": facts.status.state.value, "steps": facts.status.step}
    if loss := facts.curves.get("loss"):
        found["last training loss"] = loss[-1][1]
    for name, (before, after) in facts.figures.items():
        found |= {f"held-out {name} before": before, f"held-out {name} after": after}
    found["general text, change of loss"] = facts.retention.change
    return found


def _rows(facts: RunFacts) -> Counter[bytes]:
    with facts.directory.train_file.open("rb") as file:
        return Counter(hashlib.sha256(line).digest() for line in file)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "-" if value in (None, "") else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text

"""The gate before training: rows that must not be trained on, and what models are measured on.

Runs the checks that read rows alone on the very rows of a run: a few rows here, many in a child process, and what it
found of many is kept in the workspace under the hash of rows, of what they are held against, and of the checks, so that
turning a knob checks nothing again. Writes nothing to the store; what the large checks found the last time is told from
there.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import checks
from workbench.domain import counting
from workbench.domain.checks import (
    Finding,
    HeldOutRow,
    RowCheck,
    SetCheck,
    Severity,
    Surroundings,
    checked_row,
    finding_from_dict,
)
from workbench.domain.examples import Example, Split, Status
from workbench.domain.queries import Filter, Query
from workbench.errors import RefusedError, RunError, WorkbenchError
from workbench.flows import kept
from workbench.flows.run_scores import IMPORTED
from workbench.jobs.children import converse
from workbench.jobs.run_directory import RunDirectory

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_PAGE = 500
_FEW = 400
_LISTED = 5
_LIBRARIES = ("phonenumbers", "detect-secrets", "python-stdnum", "rapidfuzz")

OnProgress = Callable[[str, int, int], None]
"""Called with what is done, the rows it has seen, and the rows there are."""


@dataclass(slots=True)
class _Found:
    """What one check found: which examples with an error, how many with more than a word, and the first of each."""

    errors: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    first_error: Finding | None = None
    first: Finding | None = None

    def add(self, finding: Finding) -> None:
        if finding.severity is Severity.INFO:
            return
        if finding.severity is Severity.ERROR:
            self.first_error = self.first_error or finding
            _once(self.errors, finding.example_id)
        self.first = self.first or finding
        _once(self.told, finding.example_id)

    def as_dict(self) -> dict[str, Any]:
        both = {"first_error": self.first_error, "first": self.first}
        shown = {name: found.as_dict() if found else None for name, found in both.items()}
        return {"errors": self.errors, "told": self.told, **shown}


def _once(ids: list[int], example_id: int | None) -> None:
    """Findings about one example come one after another."""
    if example_id is not None and ids[-1:] != [example_id]:
        ids.append(example_id)


def gate(
    bench: Bench,
    train: Sequence[Example],
    held_out: Sequence[Example],
    *,
    evaluation: bool = False,
    allow: Collection[str] = (),
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> list[str]:
    """What is worth knowing before training on ``train``, a sentence for each check that found something.

    Raises ``RefusedError`` while error-level findings are left that ``allow`` does not name. ``evaluation`` says that
    ``held_out`` is an evaluation set of its own. Of more than a few hundred rows it takes a minute for every hundred
    thousand the first time, and is kept; setting ``cancelled`` ends it with a ``WorkbenchError``.
    """
    for name in allow:
        checks.get(name)
    looking = _Looking(bench, train, held_out, evaluation, on_progress or _silent, cancelled or threading.Event())
    found = looking.found()
    errors = {name: one for name, one in found.items() if one.errors and name not in allow}
    if errors:
        raise _refusal(errors, train)
    in_child = [check.name for check in checks.set_checks() if check.in_child]
    earlier = bench.store.findings.counts([example.id for example in train], in_child)
    return [*_sentences(found), *(f"{name}: {counted(n)}, when last checked" for name, n in earlier.items())]


def _silent(doing: str, seen: int, total: int) -> None:
    """Nobody listens."""


def references(bench: Bench) -> Iterator[HeldOutRow]:
    """Every row that models are measured on: test splits, the evaluation sets of runs, and validation splits.

    The strict ones come first; an example of an evaluation set that is also in a split can come twice.
    """
    yield from _examined(bench)
    yield from _in_split(bench, Split.VALIDATION, strict=False)


def _examined(bench: Bench) -> Iterator[HeldOutRow]:
    """The rows of test splits and evaluation sets."""
    yield from _in_split(bench, Split.TEST, strict=True)
    for dataset in sorted(_evaluation_sets(bench)):
        for example in stream(bench, Query((Filter("status", Status.ACCEPTED.value),)), dataset):
            yield HeldOutRow(checked_row(example), strict=True)


def stream(bench: Bench, query: Query, dataset: str) -> Iterator[Example]:
    """Every whole example that the query finds, a page at a time; ``dataset`` empty means all."""
    ids = bench.store.examples.ids(query, dataset=dataset or None)
    for start in range(0, len(ids), _PAGE):
        yield from bench.store.examples.many(ids[start : start + _PAGE])


def counted(count: int) -> str:
    """``1 row``, ``2,000 rows``."""
    return counting.counted(count, "rows")


def _in_split(bench: Bench, split: Split, *, strict: bool) -> Iterator[HeldOutRow]:
    query = Query((Filter("split", split.value), Filter("status", Status.REJECTED.value, negated=True)))
    return (HeldOutRow(checked_row(example), strict=strict) for example in stream(bench, query, ""))


def _evaluation_sets(bench: Bench) -> set[str]:
    """Datasets that a run was measured on without being trained on them."""
    found: set[str] = set()
    for run in bench.store.runs.list():
        with suppress(RunError):
            directory = RunDirectory(Path(run.directory))
            if IMPORTED in directory.read_json(directory.origin_file):
                continue  # its numbers are of another workspace's examples
            told = directory.spec()
            for row in bench.store.examples.page(told.eval_example_ids[:1]):
                if row is not None:
                    found |= {bench.store.examples.get(row.id).dataset} - {told.dataset}
    return found


@dataclass(slots=True)
class _Looking:
    """One look at the rows of a run."""

    bench: Bench
    train: Sequence[Example]
    held_out: Sequence[Example]
    evaluation: bool
    on_progress: OnProgress
    cancelled: threading.Event
    _own_examined: dict[int, str] = field(default_factory=dict)

    def found(self) -> dict[str, _Found]:
        """What each check found, by name."""
        key, references = self._key()
        if len(self.train) + references <= _FEW:
            found = self._tally(self._here())
        else:
            place = kept.place(self.bench, "gate", key)
            told = kept.read(place)
            found = _from_json(told) if told is not None else self._tally(self._in_child())
            if told is None:
                kept.keep(place, {name: one.as_dict() for name, one in found.items()})
        self._add_examined(found)
        return found

    def _key(self) -> tuple[str, int]:
        """The hash of everything that is looked at, and how many rows are held out."""
        digest, count = hashlib.sha256(_versions().encode()), 0
        for one in self._held():
            digest.update(f"{one.row.id} {one.row.dataset} {one.row.split} {one.strict} ".encode())
            digest.update(one.row.content.hash().encode())
            count += 1
        for prompt in self.bench.store.comparisons.prompts():
            digest.update(f"{prompt.comparison_id} {prompt.prompt} {prompt.voted}".encode("utf-8", "surrogatepass"))
        for number, example in enumerate(self.train):
            self._tell("reading", number)
            digest.update(f"{example.id} {example.dataset} {example.split} {example.source.comparison_id} ".encode())
            digest.update(example.content.hash().encode())
        return digest.hexdigest()[:32], count

    def _tell(self, doing: str, seen: int) -> None:
        if self.cancelled.is_set():
            raise WorkbenchError("the check of the rows was stopped")
        if seen % _PAGE == 0:
            self.on_progress(doing, seen, len(self.train))

    def _held(self) -> Iterator[HeldOutRow]:
        """What the rows are held against, as often as it is asked for; what matters most comes first."""
        trained, measured = {e.id for e in self.train}, {e.id for e in self.held_out}
        own = [HeldOutRow(checked_row(e), strict=self.evaluation or e.split is Split.TEST) for e in self.held_out]
        if self.evaluation:
            yield from own
        for one in _examined(self.bench):
            if one.row.id in trained:
                self._own_examined[one.row.id] = one.row.dataset
            elif one.row.id not in measured:
                yield one
        if not self.evaluation:
            yield from own
        for one in _in_split(self.bench, Split.VALIDATION, strict=False):
            if one.row.id not in measured:
                yield one

    def _add_examined(self, found: dict[str, _Found]) -> None:
        """Rows that a run was measured on are not trained on; that they are is told by their numbers alone."""
        for example_id, dataset in self._own_examined.items():
            reason = f"stands in {dataset}, an evaluation set that runs were measured on"
            finding = Finding(Severity.ERROR, reason, example_id=example_id, check="leakage")
            found.setdefault("leakage", _Found()).add(finding)

    def _tally(self, findings: Iterable[Finding]) -> dict[str, _Found]:
        found: dict[str, _Found] = {}
        for finding in findings:
            found.setdefault(finding.check, _Found()).add(finding)
        return found

    def _here(self) -> Iterator[Finding]:
        rows = [checked_row(example) for example in self.train]
        for check in _checks():
            if isinstance(check, RowCheck):
                for example in self.train:
                    yield from checks.look(example.content, [check], example_id=example.id)
                continue
            around = Surroundings(self._held(), self.bench.store.comparisons.prompts())
            for seen in check.look(rows, around):
                if isinstance(seen, Finding):
                    yield replace(seen, check=check.name)

    def _in_child(self) -> Iterator[Finding]:
        titles = {check.name: check.title for check in _checks()}
        for line in converse("workbench.worker.checks", tuple(titles), self._lines(), cancelled=self.cancelled):
            answer = json.loads(line)
            if "finding" in answer:
                yield finding_from_dict(answer["finding"])
            elif "seen" in answer:
                self.on_progress(titles[answer["check"]], answer["seen"], len(self.train))

    def _lines(self) -> Iterator[str]:
        for one in self._held():
            yield json.dumps({"held_out": one.row.as_dict(), "strict": one.strict})
        for prompt in self.bench.store.comparisons.prompts():
            turns = [turn.as_dict() for turn in prompt.prompt]
            told = {"comparison_id": prompt.comparison_id, "prompt": turns, "voted": prompt.voted}
            yield json.dumps({"compared": told})
        for example in self.train:
            yield json.dumps({"row": checked_row(example).as_dict()})


def _checks() -> list[RowCheck | SetCheck]:
    """The checks that the gate runs: those that read rows alone."""
    return [check for check in checks.find().values() if isinstance(check, RowCheck) or not check.in_child]


@cache
def _versions() -> str:
    """What the checks are: their own text, and the libraries that they ask."""
    digest = hashlib.sha256()
    for file in sorted(Path(checks.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    for library in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            digest.update(f"{library} {metadata.version(library)}".encode())
    return digest.hexdigest()


def _from_json(told: Any) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for name, one in told.items():
        firsts = {key: finding_from_dict(one[key]) if one[key] else None for key in ("first_error", "first")}
        found[name] = _Found(one["errors"], one["told"], **firsts)
    return found


def _refusal(errors: dict[str, _Found], train: Sequence[Example]) -> RefusedError:
    ids = sorted({example_id for found in errors.values() for example_id in found.errors})
    firsts = {name: found.first_error for name, found in errors.items() if found.first_error is not None}
    told = "; ".join(f"{name}: example {f.example_id} {_clause(f)}" for name, f in firsts.items())
    # Some rows may be replayed from another dataset.
    bad = set(ids)
    datasets = sorted({example.dataset for example in train if example.id in bad})
    where = f"--dataset {datasets[0]} " if len(datasets) == 1 else ""
    names = " ".join(f"--only {name}" for name in firsts)
    allow = " ".join(f"--allow {name}" for name in firsts)
    some = " ".join(map(str, ids[:_LISTED])) + (" …" if len(ids) > _LISTED else "")
    return RefusedError(
        f"{len(ids):,} of {counted(len(train))} must not be trained on ({told})",
        hint=(
            f"mend or reject them: workbench check {where}{names} --fix; or: workbench examples reject "
            f"{some}; if it is meant so: {allow}"
        ),
        where=str(ids[0]) if ids else "",
        allow=tuple(firsts),
        examples=ids,
    )


def _clause(finding: Finding) -> str:
    return f"({finding.place}): {finding.reason}" if finding.place else finding.reason


def _sentences(found: dict[str, _Found]) -> Iterator[str]:
    for name, one in found.items():
        if one.first is None:
            continue
        if not one.told:
            yield f"{name}: {one.first.reason}"
        else:
            ids = len(set(one.told))
            yield f"{name}: {counted(ids)}, such as example {one.first.example_id} {_clause(one.first)}"

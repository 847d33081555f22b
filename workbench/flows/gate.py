"""The gate before training: rows that must not be trained on, and what models are measured on.

Runs the checks that need no child process on the very rows of a run. Writes nothing; what the large checks found the
last time is told from the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import checks
from workbench.domain.checks import (
    CheckedRow,
    Finding,
    HeldOutRow,
    Severity,
    Surroundings,
    checked_row,
)
from workbench.domain.examples import Example, Split, Status
from workbench.domain.queries import Filter, Query
from workbench.errors import RefusedError, RunError
from workbench.jobs.run_directory import RunDirectory

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_PAGE = 500


def gate(
    bench: Bench,
    train: Sequence[Example],
    held_out: Sequence[Example],
    *,
    evaluation: bool = False,
    allow: Collection[str] = (),
) -> list[str]:
    """What is worth knowing before training on ``train``, a sentence for each check that found something.

    Raises ``RefusedError`` while error-level findings are left that ``allow`` does not name. ``evaluation`` says that
    ``held_out`` is an evaluation set of its own. Writes nothing and starts no process: what the large checks found the
    last time is told from the store.
    """
    for name in allow:
        checks.get(name)
    findings = list(_gate_findings(bench, train, held_out, evaluation=evaluation))
    errors = [f for f in findings if f.severity is Severity.ERROR and f.check not in allow]
    if errors:
        raise _refusal(errors, train)
    in_child = [check.name for check in checks.set_checks() if check.in_child]
    earlier = bench.store.findings.counts([example.id for example in train], in_child)
    return [*_sentences(findings), *(f"{name}: {counted(n)}, when last checked" for name, n in earlier.items())]


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
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _in_split(bench: Bench, split: Split, *, strict: bool) -> Iterator[HeldOutRow]:
    query = Query((Filter("split", split.value), Filter("status", Status.REJECTED.value, negated=True)))
    return (HeldOutRow(checked_row(example), strict=strict) for example in stream(bench, query, ""))


def _evaluation_sets(bench: Bench) -> set[str]:
    """Datasets that a run was measured on without being trained on them."""
    found: set[str] = set()
    for run in bench.store.runs.list():
        with suppress(RunError):
            told = RunDirectory(Path(run.directory)).spec()
            for row in bench.store.examples.page(told.eval_example_ids[:1]):
                if row is not None:
                    found |= {bench.store.examples.get(row.id).dataset} - {told.dataset}
    return found


def _gate_findings(
    bench: Bench, train: Sequence[Example], held_out: Sequence[Example], *, evaluation: bool
) -> Iterator[Finding]:
    for example in train:
        yield from checks.look(example.content, checks.row_checks(), example_id=example.id)
    trained, measured = {e.id for e in train}, {e.id for e in held_out}
    examined: dict[int, str] = {}

    def held() -> Iterator[HeldOutRow]:
        own = (HeldOutRow(checked_row(e), strict=evaluation or e.split is Split.TEST) for e in held_out)
        if evaluation:
            yield from own
        for one in _examined(bench):
            if one.row.id in trained:
                examined[one.row.id] = one.row.dataset
            elif one.row.id not in measured:
                yield one
        yield from own
        yield from (one for one in _in_split(bench, Split.VALIDATION, strict=False) if one.row.id not in measured)

    around = Surroundings(held(), bench.store.comparisons.prompts())
    rows: list[CheckedRow] = [checked_row(example) for example in train]
    for check in checks.set_checks():
        if not check.in_child:
            for found in check.look(rows, around):
                if isinstance(found, Finding):
                    yield replace(found, check=check.name)
    for example_id, dataset in examined.items():
        reason = f"stands in {dataset}, an evaluation set that runs were measured on"
        yield Finding(Severity.ERROR, reason, example_id=example_id, check="leakage")


def _refusal(errors: Sequence[Finding], train: Sequence[Example]) -> RefusedError:
    ids = sorted({f.example_id for f in errors if f.example_id is not None})
    first: dict[str, Finding] = {}
    for finding in errors:
        first.setdefault(finding.check, finding)
    told = "; ".join(f"{name}: example {f.example_id} {_clause(f)}" for name, f in first.items())
    dataset, names = train[0].dataset, " ".join(f"--only {name}" for name in first)
    allow = " ".join(f"--allow {name}" for name in first)
    some = " ".join(map(str, ids[:5])) + (" …" if len(ids) > 5 else "")
    return RefusedError(
        f"{len(ids):,} of {counted(len(train))} must not be trained on ({told})",
        hint=(
            f"mend or reject them: workbench check --dataset {dataset} {names} --fix; or: workbench examples reject "
            f"{some}; if it is meant so: {allow}"
        ),
        where=str(ids[0]) if ids else "",
    )


def _clause(finding: Finding) -> str:
    return f"({finding.place}): {finding.reason}" if finding.place else finding.reason


def _sentences(findings: Sequence[Finding]) -> Iterator[str]:
    by_check: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.severity is not Severity.INFO:
            by_check.setdefault(finding.check, []).append(finding)
    for name, found in by_check.items():
        ids = {f.example_id for f in found if f.example_id is not None}
        if not ids:
            yield f"{name}: {found[0].reason}"
        else:
            yield f"{name}: {counted(len(ids))}, such as example {found[0].example_id} {_clause(found[0])}"

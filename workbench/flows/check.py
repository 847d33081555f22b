"""Checking examples as a person does it: look, read what was found, mend it, or take a redaction back.

Owns which rows are looked at, how they are mended, and what is kept of it. What a check looks for is its own business
(``workbench.checks``); the large ones run in a child process. What stops a training is in ``gate.py`` beside this.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench import checks
from workbench.domain.checks import (
    Check,
    Counts,
    Finding,
    FixKind,
    Language,
    RowCheck,
    SetCheck,
    Severity,
    Surroundings,
    checked_row,
    finding_from_dict,
)
from workbench.domain.datasets import refuse_locked
from workbench.domain.decisions import Action, Undone
from workbench.domain.examples import Content, Example, Split, Status
from workbench.domain.queries import Filter, Query
from workbench.errors import DataError, RefusedError, WorkbenchError
from workbench.flows.gate import counted, references, stream
from workbench.flows.tokens import model_arguments
from workbench.flows.unseen import asked
from workbench.jobs.children import converse
from workbench.store.bulk import in_pieces
from workbench.store.findings import Redaction
from workbench.store.rows import chunks

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_PAGE = 500
_AT_ONCE = 200
_MENDED_AT_ONCE = 50  # to begin with: a text that is written anew takes half a millisecond
_KEPT_IN_MEMORY = 5000
_AT_A_KEY = 50

OnProgress = Callable[[str, int, int], None]
"""Called with the check's title, the rows it has seen, and the rows there are."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found and is left. ``skipped`` are checks that could not run, with the reason.

    ``mended`` and ``rejected`` count the examples that were fixed; one undo takes all of it back.
    """

    rows: int
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()
    mended: int = 0
    rejected: int = 0

    @property
    def counts(self) -> Counts:
        """The findings that are left, by severity and check."""
        counts = Counts()
        for finding in self.findings:
            counts.add(finding)
        return counts

    @property
    def errors(self) -> int:
        """How many error-level findings are left."""
        return self.counts.by_severity[Severity.ERROR]

    def as_dict(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        counts = self.counts
        return {
            "rows": self.rows,
            "findings": [_shown(finding) for finding in self.findings],
            "counts": dict(counts.by_severity),
            "by_check": counts.by_check,
            "fixed": {"mended": self.mended, "rejected": self.rejected},
            "skipped": list(self.skipped),
        }

    def sentence(self) -> str:
        """The report for a person."""
        found = [f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in self.counts.by_severity.items() if n]
        said = [f"{counted(self.rows)}: {', '.join(found) or 'nothing found'}"]
        said += [f"mended {self.mended:,}"] if self.mended else []
        said += [f"rejected {self.rejected:,}"] if self.rejected else []
        return "; ".join(said)


@dataclass(frozen=True, slots=True)
class Unredacted:
    """Redactions that were taken back: one sentence for a status line, and the decision group that one undo takes."""

    said: str
    group: int


def run(
    bench: Bench,
    query: str = "",
    *,
    dataset: str = "",
    model: str = "",
    only: Sequence[str] = (),
    fix: bool = False,
    max_length: int = 0,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Report:
    """Look at the examples that ``query`` finds (rejected ones only when it asks for a status), and keep what is found.

    What the same checks found in these examples before is replaced. ``only`` names the checks to run; those that count
    tokens run when a ``model`` is given. With ``fix`` whatever can be mended is: tokens are removed, personal data
    redacted, and what cannot be mended is rejected, all in one gesture. Setting ``cancelled`` ends it while it looks,
    with a ``WorkbenchError``; nothing is kept then. Raises ``UsageError`` for a check that there is
    not, ``NotFoundError`` for a dataset or model.
    """
    chosen = [checks.get(name) for name in only] or list(checks.find().values())
    able = [check for check in chosen if model or not (isinstance(check, SetCheck) and check.needs_model)]
    looking = _Looking(bench, _Rows(bench, query, dataset), on_progress, cancelled)
    looking.look(able, _surroundings(bench), _token_arguments(bench, model, max_length))
    fixed = _Fixing(bench, looking).fix(able) if fix else _Fixed()
    looking.keep(able)
    left = tuple(f for f in looking.findings if f.example_id not in fixed.rejected)
    skipped = tuple(f"{check.name}: needs --model" for check in chosen if check not in able)
    return Report(len(looking.ids), left, skipped, len(fixed.mended), len(fixed.rejected))


def summary(
    bench: Bench,
    *,
    dataset: str = "",
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> tuple[str, int]:
    """``run`` on a dataset, with only what a status line says of it: the sentence, and how many checks did not run."""
    report = run(bench, dataset=dataset, on_progress=on_progress, cancelled=cancelled)
    return report.sentence(), len(report.skipped)


def look_at(content: Content) -> list[Finding]:
    """What the cheap checks find in one content: microseconds, for rows on their way in."""
    return checks.look(content, checks.row_checks(cheap=True))


def of(bench: Bench, example_id: int) -> list[Finding]:
    """What the last checks found in an example, the worst first."""
    return bench.store.findings.of(example_id)


def look_again(bench: Bench, ids: Sequence[int]) -> None:
    """Put what the checks of single rows find in these examples now in the place of what they found before.

    For rows whose text was just changed, inside the same ``write()``; examples that are gone are passed over.
    """
    row_checks = checks.row_checks()
    for example in bench.store.examples.many(ids):
        found = checks.look(example.content, row_checks, example_id=example.id)
        bench.store.findings.replace([example.id], [c.name for c in row_checks], found)


def look_again_after(bench: Bench, undone: Undone | None) -> Undone | None:
    """``undone`` itself; whatever its gesture did to the texts of few examples, they are looked at again."""
    if undone is not None and len(undone.example_ids) <= _AT_A_KEY:
        look_again(bench, undone.example_ids)
    return undone


def fix_said(finding: Finding) -> str:
    """What mending a finding would do, as an order; empty when nothing mends it."""
    fix = checks.get(finding.check).fix
    return fix.said if finding.fixable and fix is not None else ""


def fix(bench: Bench, example_id: int, *, only: str = "") -> Report:
    """Mend what is found in one example; ``only`` names the check whose findings are mended.

    Checks of single rows look now; of the others counts what they found when they last ran. Raises ``RefusedError``
    in the locked test split, and when nothing that was found can be mended.
    """
    example = bench.store.examples.get(example_id)
    if example.split is Split.TEST:
        refuse_locked(example_id, ["content"])
    looking = _Looking(bench, _Rows(bench, "", "", ids=[example_id]), None)
    able: list[Check] = list(checks.row_checks())
    names = {check.name for check in able}
    looking.look(able, Surroundings(), ())
    looking.keep(able)
    looking.findings += [found for found in of(bench, example_id) if found.check not in names]
    wanted = [check for check in checks.find().values() if only in {"", check.name}]
    if not any(found.fixable and only in {"", found.check} for found in looking.findings):
        raise RefusedError(f"nothing that was found in example {example_id} can be mended here", hint="e edits it")
    fixed = _Fixing(bench, looking).fix(wanted)
    if fixed.mended:
        look_again(bench, [example_id])
    left = () if fixed.rejected else tuple(of(bench, example_id))
    return Report(1, left, (), len(fixed.mended), len(fixed.rejected))


def by_check(bench: Bench, dataset: str = "") -> dict[str, int]:
    """In how many examples each check found anything when it last ran, the most frequent first."""
    return bench.store.findings.by_check(bench.store.datasets.id_of(dataset) if dataset else None)


def unredact(bench: Bench, ids: Sequence[int]) -> Unredacted:
    """Bring back what was redacted in these examples, all or none; possible until they are exported.

    Raises ``RefusedError`` when there is nothing to bring back, or when an example was edited since.
    """
    with bench.store.write():
        group = 0
        for example_id in ids:
            example = bench.store.examples.get(example_id)
            before = _original(bench, example)
            group = bench.store.examples.change(
                [example_id], Action.EDIT, rater=bench.rater, content=before, group=group or None
            )
            bench.store.findings.drop_originals(example_id)
        look_again(bench, ids)
    which = f"example {ids[0]}" if len(ids) == 1 else f"{len(ids):,} examples"
    return Unredacted(f"brought back what was redacted in {which}", group)


# Looking


class _Rows:
    """The rows to look at, as often as they are asked for; few enough are kept in memory."""

    def __init__(self, bench: Bench, query: str, dataset: str, ids: Sequence[int] = ()) -> None:
        self._bench = bench
        self._query = _not_rejected(asked(bench, query))
        self._dataset = bench.store.datasets.get(dataset).name if dataset else ""
        self._kept: list[Example] | None = [bench.store.examples.get(i) for i in ids] if ids else None
        self.total = len(ids) or bench.store.examples.count(self._query, self._dataset or None)

    def __iter__(self) -> Iterator[Example]:
        if self._kept is None and self.total <= _KEPT_IN_MEMORY:
            self._kept = list(stream(self._bench, self._query, self._dataset))
        return iter(self._kept) if self._kept is not None else stream(self._bench, self._query, self._dataset)


@dataclass(slots=True)
class _Looking:
    """One walk of the checks over the rows, and what they found."""

    bench: Bench
    rows: _Rows
    on_progress: OnProgress | None
    cancelled: threading.Event | None = None
    ids: array[int] = field(default_factory=lambda: array("q"))
    texts: array[int] = field(default_factory=lambda: array("Q"))  # 64 bits of the hash of each text, beside ``ids``
    mended_texts: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    languages: dict[int, str] = field(default_factory=dict)

    def look(self, chosen: Sequence[Check], around: Surroundings, token_arguments: Sequence[str]) -> None:
        """Run the row checks in one pass, then each set check in one of its own."""
        row_checks = [check for check in chosen if isinstance(check, RowCheck)]
        for example in self._told(self.rows, "Rows"):
            self.ids.append(example.id)
            self.texts.append(_mark_of(example))
            self.findings += checks.look(example.content, row_checks, example_id=example.id)
        for check in chosen:
            if isinstance(check, SetCheck) and len(self.ids):
                for seen in self._seen(check, around, token_arguments):
                    if isinstance(seen, Language):
                        self.languages[seen.example_id] = seen.code
                    else:
                        self.findings.append(replace(seen, check=check.name))

    def keep(self, chosen: Sequence[Check]) -> None:
        """Put the findings into the store, in short transactions, so that others can write meanwhile.

        A row that somebody edited or took away since it was looked at keeps what it has: this was another text.
        """
        by_example: dict[int, list[Finding]] = {}
        for finding in self.findings:
            if finding.example_id is not None:
                by_example.setdefault(finding.example_id, []).append(finding)
        names = [check.name for check in chosen]
        languages = self.languages

        def write(_: object, places: Sequence[int]) -> None:
            part = slice(places[0], places[-1] + 1)
            now = self.bench.store.examples.digests(self.ids[part])
            looked_at = zip(self.ids[part], self.texts[part], strict=True)
            chunk = [i for i, text in looked_at if i in now and _mark(now[i][0]) == self.mended_texts.get(i, text)]
            self.bench.store.findings.replace(chunk, names, (f for i in chunk for f in by_example.get(i, ())))
            self.bench.store.findings.set_languages({i: languages[i] for i in chunk if i in languages})

        in_pieces(self.bench.store, range(len(self.ids)), write, first=_AT_ONCE)

    def _seen(
        self, check: SetCheck, around: Surroundings, token_arguments: Sequence[str]
    ) -> Iterator[Finding | Language]:
        rows = (checked_row(example) for example in self._told(self.rows, check.title))
        if not check.in_child:
            yield from check.look(rows, around)
            return
        arguments = (check.name, *(token_arguments if check.needs_model else ()))
        for line in converse(
            "workbench.worker.checks",
            arguments,
            (json.dumps({"row": row.as_dict()}) for row in rows),
            cancelled=self.cancelled,
        ):
            answer = json.loads(line)
            if "finding" in answer:
                yield finding_from_dict(answer["finding"])
            elif "language" in answer:
                yield Language(**answer["language"])

    def _told(self, rows: Iterable[Example], title: str) -> Iterator[Example]:
        for number, example in enumerate(rows):
            if self.cancelled is not None and self.cancelled.is_set():
                raise WorkbenchError("the checks were stopped: what they found before stays")
            if self.on_progress is not None and number % _PAGE == 0:
                self.on_progress(title, number, self.rows.total)
            yield example


def _mark_of(example: Example) -> int:
    """Tells the text from another one of the same row."""
    return int(example.content.hash()[:16], 16)


def _mark(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def _not_rejected(query: Query) -> Query:
    if any(found.field == "status" for found in query.filters):
        return query
    return replace(query, filters=(*query.filters, Filter("status", Status.REJECTED.value, negated=True)))


def _surroundings(bench: Bench) -> Surroundings:
    return Surroundings(references(bench), bench.store.comparisons.prompts())


def _token_arguments(bench: Bench, model: str, max_length: int) -> tuple[str, ...]:
    if not model:
        return ()
    return model_arguments(bench, model, max_length=max_length)


# Mending


@dataclass(slots=True)
class _Fixed:
    mended: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)


class _Fixing:
    """One gesture that mends what was found: edits and redactions first thought out, then rejections."""

    def __init__(self, bench: Bench, looking: _Looking) -> None:
        self._bench = bench
        self._looking = looking
        self._group: int | None = None

    def fix(self, chosen: Sequence[Check]) -> _Fixed:
        """Mend the fixable findings; what stays valid is edited, everything else rejected."""
        by_name = {check.name: check for check in chosen if check.fix is not None}
        wanted: dict[int, list[Check]] = {}
        for finding in self._looking.findings:
            if finding.fixable and finding.example_id is not None and finding.check in by_name:
                wanted.setdefault(finding.example_id, []).append(by_name[finding.check])
        fixed, plans = _Fixed(), list[_Plan]()

        def plan(ids: Sequence[int]) -> None:
            plans[:] = [_planned(one, wanted) for one in self._bench.store.examples.many(ids)]

        def write(_: object, ids: Sequence[int]) -> None:
            now = self._bench.store.examples.digests(ids)
            for planned in plans:
                if (found := now.get(planned.example_id)) is not None:
                    digest, split = found
                    if _mark(digest) != planned.mark:  # somebody was faster
                        planned = _planned(self._bench.store.examples.get(planned.example_id), wanted)
                    self._carry_out(planned, split, fixed)

        in_pieces(self._bench.store, sorted(wanted), write, first=_MENDED_AT_ONCE, before=plan)
        self._look_again(fixed.mended, chosen)
        return fixed

    def _carry_out(self, planned: _Plan, split: Split, fixed: _Fixed) -> None:
        if split is Split.TEST:  # locked: its findings stay to be read
            return
        if planned.after is None:
            self._change(planned.example_id, Action.REJECT, status=Status.REJECTED)
            fixed.rejected.add(planned.example_id)
        elif planned.after != planned.before:
            self._change(planned.example_id, Action.EDIT, content=planned.after)
            self._bench.store.findings.keep_originals(planned.originals)
            fixed.mended.add(planned.example_id)

    def _change(self, example_id: int, action: Action, **given: Any) -> None:
        self._group = self._bench.store.examples.change(
            [example_id], action, rater=self._bench.rater, group=self._group, **given
        )

    def _look_again(self, mended: set[int], chosen: Sequence[Check]) -> None:
        """What single rows had before they were mended is out of date; what sets found of them stays."""
        row_checks = [check for check in chosen if isinstance(check, RowCheck)]
        names = {check.name for check in row_checks}
        left = [f for f in self._looking.findings if f.example_id not in mended or f.check not in names]
        for ids in chunks(sorted(mended), _PAGE):
            for example in self._bench.store.examples.many(ids):
                self._looking.mended_texts[example.id] = _mark_of(example)
                left += checks.look(example.content, row_checks, example_id=example.id)
        self._looking.findings = left


@dataclass(frozen=True, slots=True)
class _Plan:
    """What mending makes of an example; ``after`` is None when only a rejection helps. ``mark`` tells the text."""

    example_id: int
    mark: int
    before: Content
    after: Content | None
    originals: tuple[Redaction, ...] = ()


def _planned(example: Example, wanted: Mapping[int, Sequence[Check]]) -> _Plan:
    fixes = {check.name: check.fix for check in wanted[example.id] if check.fix is not None}
    # redactions last: what they keep of the text is then all that must come back
    in_order = sorted(fixes.values(), key=lambda fix: fix.kind is FixKind.REDACT)
    content, originals = example.content, dict[str, str]()
    for fix in in_order:
        if fix.edit is not None:
            edited = fix.edit(content)
            originals |= _differences(content, edited) if fix.kind is FixKind.REDACT else {}
            content = edited
    if any(fix.kind is FixKind.REJECT for fix in fixes.values()) or not _is_valid(content):
        return _Plan(example.id, _mark_of(example), example.content, None)
    kept = tuple(Redaction(example.id, part, before) for part, before in originals.items())
    return _Plan(example.id, _mark_of(example), example.content, content, kept)


def _is_valid(content: Content) -> bool:
    try:
        content.check()
    except DataError:
        return False
    return True


_PARTS = ("prompt", "chosen", "rejected")


def _differences(before: Content, after: Content) -> dict[str, str]:
    """The texts of ``before`` that are others in ``after``, by their part."""
    found: dict[str, str] = {}
    for part in _PARTS:
        for number, (was, now) in enumerate(zip(getattr(before, part), getattr(after, part), strict=True)):
            found |= {f"{part}:{number}": was.content} if was.content != now.content else {}
            found |= {f"{part}:{number}:extra": was.extra} if was.extra != now.extra else {}
    return found


def _original(bench: Bench, example: Example) -> Content:
    kept = bench.store.findings.originals(example.id)
    if not kept:
        raise RefusedError(
            f"nothing of example {example.id} can be brought back",
            hint="it was never redacted, or was exported since: an export makes redactions final",
        )
    before, fix = example.content, checks.get("personal_data").fix
    assert fix is not None and fix.edit is not None
    for one in kept:
        before = _with_text(before, one.part, one.before)
    if fix.edit(before) != example.content:
        raise RefusedError(
            f"example {example.id} was edited after it was redacted", hint="undo the edit first: examples undo"
        )
    return before


def _with_text(content: Content, place: str, text: str) -> Content:
    part, number, *extra = place.split(":")
    turns = list(getattr(content, part))
    if int(number) < len(turns):
        turns[int(number)] = replace(turns[int(number)], **{"extra" if extra else "content": text})
    changed: dict[str, Any] = {part: tuple(turns)}
    return replace(content, **changed)


# Telling


def _shown(finding: Finding) -> dict[str, Any]:
    row = asdict(finding)
    row["example"] = row.pop("example_id")
    return row | {"severity": finding.severity.value, "fix": fix_said(finding) or None}

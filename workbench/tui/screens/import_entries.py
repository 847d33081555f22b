"""What an import shows: the guess and the first rows before, the report after. Values in, content out; no widget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from textual.content import Content

from workbench.domain.chats import Turn
from workbench.domain.counting import counted
from workbench.domain.examples import Content as Example
from workbench.errors import WorkbenchError
from workbench.flows.exchange import BadLines, ImportReport, LineError, Preview
from workbench.tui.safety import cell

SHOWN_ERRORS = 200
_LINES_PER_TURN = 2

Part = tuple[str, str]


def preview_content(seen: Preview, width: int) -> Content:
    """The guess, the bad lines so far, and three rows; each turn at most two lines of ``width`` cells."""
    return Content.assemble(*chain.from_iterable(_preview(seen, max(20, width))))


def _preview(seen: Preview, width: int) -> Iterator[Sequence[Part]]:
    yield [(_guess(seen), "bold"), ("\n", "")]
    if seen.error:
        yield [(cell(seen.error, 4 * width), "bold $text-error"), ("\n", "")]
        if not seen.rows and seen.columns:
            yield [("choose another format above, or which column is the prompt, the completion, …\n", "")]
    if seen.mapping:
        named = ", ".join(f"{ours} is {theirs!r}" for ours, theirs in seen.mapping.items())
        yield [(cell(f"columns: {named}", 2 * width) + "\n", "")]
    elif seen.columns:
        yield [(cell(f"columns: {', '.join(seen.columns)}", 2 * width) + "\n", "$text-muted")]
    if seen.bad:
        yield [(f"bad lines so far: {len(seen.bad):,} of {seen.looked_at:,}\n", "bold $text-error")]
        yield list(_errors(seen.bad[:5], width))
    for reason, count in (seen.left_out or {}).items():
        yield [(cell(f"left out: {counted(count, reason)}", width) + "\n", "$text-muted")]
    for number, row in enumerate(seen.rows, start=1):
        yield list(_row(number, row, width))


def _guess(seen: Preview) -> str:
    what = f"{seen.format} in {seen.container}" if seen.format else f"no format yet, in {seen.container}"
    rows = (
        ""
        if seen.about is None
        else f", {counted(seen.about, 'rows')}"
        if seen.is_whole
        else f", about {counted(seen.about, 'rows')}"
    )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in seen.kinds.items())
    others = [name for name in seen.formats if name != seen.format][:4]
    also = f"; it could be {', '.join(others)} too" if others else ""
    return cell(
        f"{what}{rows}" + (f": {kinds} in the first {counted(seen.looked_at, 'lines')}" if kinds else "") + also
    )


def _row(number: int, row: Example, width: int) -> Iterator[Part]:
    label = "" if row.label is None else ", judged good" if row.label else ", judged bad"
    tools = ", with tools" if row.tools else ""
    yield f"row {number}: {row.kind.value}{label}{tools}\n", "bold $accent"
    for part, style, turns in (
        ("prompt", "", row.prompt),
        ("answer" if not row.rejected else "chosen", "$text-success", row.chosen),
        ("rejected", "$text-error", row.rejected),
    ):
        for turn in turns:
            yield _turn(part, turn, width), style


def _turn(part: str, turn: Turn, width: int) -> str:
    return cell(f"  {part} {turn.role}: {turn.shown}", _LINES_PER_TURN * width - 2) + "\n"


def _errors(errors: Sequence[LineError], width: int) -> Iterator[Part]:
    for error in errors:
        yield cell(f"  line {error.line:,}: {error.reason}", 2 * width) + "\n", "$text-error"


def report_content(reports: Sequence[ImportReport], command: str, width: int) -> Content:
    """What an import did: imported, there already, refused with place and reason, found by the checks."""
    parts = chain.from_iterable(_report(report, max(20, width)) for report in reports)
    return Content.assemble(*parts, ("\nThe same: ", "$text-muted"), (cell(command), ""))


def _report(report: ImportReport, width: int) -> Iterator[Part]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.kinds.items() if count)
    yield f"imported    {counted(report.imported, 'rows')} into {cell(report.dataset)}", "bold $text-success"
    yield f"  ({cell(report.format)} in {cell(report.container)}: {kinds})\n", ""
    yield f"duplicates  {report.duplicates:,} were there already, and add nothing\n", ""
    if report.skipped:
        kept = f", kept in {cell(report.skipped_file)}" if report.skipped_file else ""
        yield f"refused     {counted(report.skipped, 'lines')}{kept}\n", "bold $text-error"
        yield from _errors(report.errors[:SHOWN_ERRORS], width)
        if (rest := report.skipped - len(report.errors[:SHOWN_ERRORS])) > 0:
            yield f"  … and {rest:,} more\n", "$text-error"
    else:
        yield "refused     nothing\n", ""
    yield from _checks(report.flagged)
    for note in report.notes:
        if not note.startswith("checks flagged"):
            yield cell(f"note        {note}", 4 * width) + "\n", "$text-muted"


def _checks(flagged: Mapping[str, int]) -> Iterator[Part]:
    if not flagged:
        yield "checks      found nothing in single rows\n", ""
        return
    found = ", ".join(f"{cell(name)} {count:,}" for name, count in flagged.items())
    yield f"checks      {found} rows; the filter check:NAME shows them\n", "bold $text-warning"


def refusal_content(error: BaseException, width: int) -> Content:
    """Why nothing was imported: every bad line that was kept, or the one thing that is wrong."""
    if isinstance(error, BadLines):
        head = (f"nothing was imported: {error.bad:,} bad lines\n", "bold $text-error")
        rest = error.bad - len(error.errors[:SHOWN_ERRORS])
        more = [(f"  … and {rest:,} more\n", "$text-error")] if rest > 0 else []
        told = ("\nCtrl+T imports the good lines and writes the bad ones beside the file.", "")
        return Content.assemble(head, *_errors(error.errors[:SHOWN_ERRORS], max(20, width)), *more, told)
    if not isinstance(error, WorkbenchError):
        return Content.assemble((f"nothing was imported: unexpected {type(error).__name__}", "bold $text-error"))
    where = f"{error.where}: " if error.where else ""
    hint = f"\n{cell(error.hint)}" if error.hint else ""
    return Content.assemble((cell(f"{where}{error.message}"), "bold $text-error"), (hint, ""))

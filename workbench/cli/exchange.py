"""The import and export commands: files in any format and container, in and out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parsing import add
from workbench.cli.session import Session, existing_file
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.flows.exchange import BadLines, ImportReport, Progress, Source

_SHOWN_CHARACTERS = 300
_SHOWN_ERRORS = 6


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``import`` and ``export``."""
    one = add(commands, common, "import", import_files, "bring examples in from files")
    one.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="JSONL, JSON, CSV, TSV, Parquet, text (also .gz and .zst), a folder of a saved dataset, of Kiln's or of "
        "LLaMA-Factory's files, hf:OWNER/NAME on the hub, or - for standard input",
    )
    one.add_argument("--dataset", default="", metavar="D", help="where they go (default: the file's name)")
    one.add_argument("--format", default="", metavar="NAME", help="the format (default: detected by shape)")
    one.add_argument("--as", dest="container", default="", metavar="CONTAINER", help="jsonl, json, csv, tsv, text, …")
    one.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="A=B",
        help="the format's column A is the file's column B; A= means that it has none, whatever they are called",
    )
    one.add_argument("--encoding", default="", metavar="NAME", help="of a text, such as cp1252 (default: UTF-8)")
    one.add_argument("--split", default="", metavar="S", help="one split of a saved or hub dataset (default: all)")
    one.add_argument("--entry", default="", metavar="NAME", help="one entry of a dataset_info.json (default: all)")
    one.add_argument(
        "--text-by", choices=["paragraph", "line", "file"], default="paragraph", help="what of a text file is one row"
    )
    one.add_argument("--dry-run", action="store_true", help="show the guess and three rows, write nothing")
    one.add_argument("--skip-bad", action="store_true", help="import the good lines, write the bad ones out beside")
    one.add_argument("--status", choices=["pending", "accepted"], default="pending")

    one = add(commands, common, "export", export, "write examples to a file, for any trainer")
    one.add_argument(
        "query", nargs="*", metavar="QUERY", help="which examples (default: status:accepted), test rows only by split:"
    )
    one.add_argument(
        "--to",
        required=True,
        metavar="FILE",
        help=".jsonl .json .csv .tsv .parquet, the first four also with .gz or .zst; a name without an ending is a "
        "folder for `datasets`; - for standard output",
    )
    one.add_argument("--format", default="trl", metavar="NAME")
    one.add_argument("--as", dest="container", default="", metavar="CONTAINER", help="instead of what the name says")
    one.add_argument("--dataset", default="", metavar="D")
    one.add_argument("--provenance", action="store_true", help="with id, source, status, split, tags, note, rater")
    one.add_argument("--flatten", action="store_true", help="leave out what the format cannot hold, and say how often")
    one.add_argument("--no-card", action="store_true", help="without the card that says what is in the file")


def import_files(session: Session, args: argparse.Namespace) -> None:
    """Import each file; the first bad line ends it with nothing imported from that file, unless ``--skip-bad``."""
    from workbench.domain.examples import Status
    from workbench.flows import exchange

    how: dict[str, Any] = {
        "dataset": args.dataset,
        "format": args.format,
        "status": Status(args.status),
        "skip_bad": args.skip_bad,
        "dry_run": args.dry_run,
        "mapping": _mapping(args.map),
        "options": exchange.Options(args.container, args.split, args.text_by, args.encoding),
        "on_progress": lambda progress: session.out.progress(_line(progress)),
    }
    for name in args.files:
        try:
            reports = exchange.import_any(session.bench, _source(name), entry=args.entry, **how)
        except exchange.BadLines as error:
            _say_others(session, error)
            raise
        finally:
            session.out.end_progress()
        for report in reports:
            text = f"{_guess(report)}\n{report.sentence()}" if report.dry_run else report.sentence()
            session.out.data(report.as_dict(), text)


def _say_others(session: Session, error: BadLines) -> None:
    """The bad lines after the first, which the error itself names; with ``--json`` the error has them all."""
    session.out.end_progress()
    if session.out.as_json:
        return
    for bad in error.errors[1:_SHOWN_ERRORS]:
        session.out.say(f"{bad.file}:{bad.line}: {bad.reason}")


def _source(name: str) -> Source:
    from workbench.flows import exchange

    if name == "-":
        return sys.stdin
    source = exchange.as_source(name)
    return source if isinstance(source, str) or source.is_dir() else existing_file(name)


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours.strip():
            raise UsageError(f"--map {pair!r} is not A=B", hint="for example --map prompt=question")
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _line(progress: Progress) -> str:
    share = "" if progress.share is None else f" · {progress.share:.0%}"
    bad = f" · {progress.bad:,} bad" if progress.bad else ""
    return f"{progress.phase} · {progress.rows:,} rows{share}{bad}"


def _guess(report: ImportReport) -> str:
    """What the file was taken for, and its first rows as they would be stored."""
    lines = [f"{report.file}: {report.format or 'no format'} in {report.container}"]
    lines += [f"  {ours} is the column {theirs!r}" for ours, theirs in report.mapping.items()]
    for number, row in enumerate(report.samples, start=1):
        lines.append(f"  row {number}: {row['kind']}")
        for part in ("prompt", "chosen", "rejected"):
            for turn in row.get(part, ()):
                text = " ".join(str(turn["content"] or turn.get("tool_calls", "")).split())
                shown = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
                lines.append(f"    {part:8} {turn['role']}: {shown}")
        if "label" in row:
            lines.append(f"    label    {str(row['label']).lower()}")
    return "\n".join(lines)


def export(session: Session, args: argparse.Namespace) -> None:
    """Write what the query finds; standard output gets the rows themselves."""
    from workbench.flows import exchange

    query = " ".join(args.query)
    how: dict[str, Any] = {name: getattr(args, name) for name in ("dataset", "format", "provenance", "flatten")}
    if args.to == "-":
        container = args.container or "jsonl"
        for line in exchange.export_lines(session.bench, query, container=container, say=session.out.say, **how):
            sys.stdout.write(line)
        if kept := exchange.held_back(session.bench, query, dataset=args.dataset, provenance=args.provenance):
            session.out.say(exchange.held_back_said(kept))
        return
    to = Path(args.to).expanduser()
    how |= {"container": args.container, "card": not args.no_card}
    report = exchange.export_file(
        session.bench, query, to, replace=lambda path: session.confirm(f"{path} exists; replace it?"), **how
    )
    session.out.data(report.as_dict(), report.sentence())

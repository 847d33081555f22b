"""Large files are read by a child process: the same comes in, the same is refused, and nothing is left of a failure."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from workbench.domain.checks import Finding
from workbench.domain.examples import Example
from workbench.domain.queries import Query
from workbench.errors import DataError, NotFoundError, UsageError, WorkbenchError
from workbench.flows import exchange, import_child, imports
from workbench.flows.bench import Bench
from workbench.flows.exchange import ImportReport, Options, Progress
from workbench.store.imports import CancelledImport

ROWS = 1500


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every file counts as large; the rows that each message of the child brought are kept."""
    arrived: list[int] = []
    read = import_child.read

    def listening(*args: object, **how: object) -> Iterator[import_child.News]:
        for news in read(*args, **how):  # type: ignore[arg-type]
            if isinstance(news, import_child.Arrived):
                arrived.append(news.rows)
            yield news

    monkeypatch.setattr(imports, "LARGE_BYTES", 0)
    monkeypatch.setattr(import_child, "read", listening)
    yield arrived
    assert arrived, "no child has read anything"


def pair(number: int) -> dict[str, object]:
    said = {"prompt": f"Question {number}?", "chosen": f"Yes, {number}.", "rejected": f"No, not {number}."}
    return said | ({"chosen": "a\x07b <|im_end|>"} if number % 100 == 7 else {}) | {"colour": "red"}


def lines(count: int = ROWS) -> list[str]:
    return [json.dumps(pair(number)) for number in range(count)]


def written(folder: Path, rows: list[str], name: str = "pairs.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def known(bench: Bench, dataset: str) -> tuple[list[Example], list[list[Finding]]]:
    """All that is stored of a dataset, but for ids and times."""
    ids = bench.store.examples.ids(Query(), dataset=dataset)
    nowhere = {"id": 0, "dataset": "", "created_utc": "", "updated_utc": ""}
    examples = [replace(example, **nowhere) for example in bench.store.examples.many(ids)]
    return examples, [[replace(found, example_id=None) for found in bench.store.findings.of(i)] for i in ids]


def told(report: ImportReport) -> dict[str, object]:
    return report.as_dict() | {"dataset": "", "import_id": 0}


def both(bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch, **how: object) -> tuple[ImportReport, ImportReport]:
    """The file read here, into ``here``, and by a child, into ``there``."""
    here = exchange.import_file(bench, path, dataset="here", **how)  # type: ignore[arg-type]
    monkeypatch.setattr(imports, "LARGE_BYTES", 0)
    return here, exchange.import_file(bench, path, dataset="there", **how)  # type: ignore[arg-type]


def test_a_child_reads_what_would_be_read_here(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = lines()
    rows[3:3] = ['{"prompt": "half a pair \\ud83d", "chosen": "ü", "rejected": "n", "tags": ["x"], "note": "seen"}', ""]
    rows[700] = rows[5]
    here, there = both(bench, written(tmp_path, rows), monkeypatch)
    assert (there.imported, there.duplicates) == (ROWS, 1)
    assert told(here) == told(there) and there.flagged["template_tokens"] == 16
    examples, findings = known(bench, "here")
    assert len(examples) == ROWS and (examples, findings) == known(bench, "there")


def test_a_bad_line_is_refused_with_the_same_words_and_leaves_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [*lines(), '{"prompt": ', *lines(3)])
    said = []
    for size in (10**9, 0):
        monkeypatch.setattr(imports, "LARGE_BYTES", size)
        with pytest.raises(exchange.BadLines) as refused:
            exchange.import_file(bench, path)
        said.append(refused.value.as_dict())
    assert said[0] == said[1] and said[0]["where"] == f"{path}:{ROWS + 1}"
    assert_untouched(bench)


def assert_untouched(bench: Bench) -> None:
    rows = bench.store.read().execute("SELECT count(*) FROM examples").fetchone()[0]
    assert rows == 0 and bench.store.datasets.list() == [] and bench.store.imports.list() == []


def test_bad_lines_are_kept_beside_the_file(bench: Bench, tmp_path: Path, large: list[int]) -> None:
    path = written(tmp_path, ["not JSON", *lines(), '{"prompt": "alone", "chosen": "x", "rejected": "x"}'])
    report = exchange.import_file(bench, path, skip_bad=True)
    assert (report.imported, report.skipped) == (ROWS, 2)
    assert Path(report.skipped_file).read_text().splitlines()[0] == "not JSON"
    assert len(large) > 4, "rows arrive while more are read"


def test_a_dry_run_writes_nothing(bench: Bench, tmp_path: Path, large: list[int]) -> None:
    report = exchange.import_file(bench, written(tmp_path, [*lines(), *lines(5)]), dry_run=True)
    assert (report.imported, report.duplicates, report.dry_run) == (ROWS, 5, True)
    assert_untouched(bench)


def test_packed_arrays_and_mapped_columns_come_through_a_child_too(
    bench: Bench, tmp_path: Path, large: list[int]
) -> None:
    path = tmp_path / "rows.json.gz"
    rows = [{"ask": f"Question {n}?", "say": f"Answer {n}."} for n in range(300)]
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    report = exchange.import_file(bench, path, mapping={"prompt": "ask", "completion": "say"})
    assert (report.imported, report.format, report.container) == (300, "trl", "json")
    with pytest.raises(UsageError, match="no column 'nope'"):
        exchange.import_file(bench, path, mapping={"prompt": "ask", "completion": "nope"})


def test_what_cannot_be_read_is_told_as_it_is_told_here(bench: Bench, tmp_path: Path, large: list[int]) -> None:
    large.append(0)
    for name, content, error in (("a.jsonl", b"\xff\xfe\0", DataError), ("a.odd", b"x,y", DataError)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error):
            exchange.import_file(bench, tmp_path / name)
    with pytest.raises(NotFoundError, match="does not exist"):
        exchange.import_file(bench, tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="no container"):
        exchange.import_file(bench, written(tmp_path, lines(2)), options=Options(container="odd"))
    assert_untouched(bench)


def test_cancelling_ends_the_child_and_leaves_nothing(bench: Bench, tmp_path: Path, large: list[int]) -> None:
    cancelled = threading.Event()

    def cancel(progress: Progress) -> None:
        if progress.rows >= 1200:
            cancelled.set()

    with pytest.raises(CancelledImport):
        exchange.import_file(bench, written(tmp_path, lines(4000)), on_progress=cancel, cancelled=cancelled)
    assert_untouched(bench)
    assert not psutil.Process().children()


def test_a_child_that_is_killed_leaves_nothing(bench: Bench, tmp_path: Path, large: list[int]) -> None:
    def kill(progress: Progress) -> None:
        if progress.rows >= 1200:
            for child in psutil.Process().children():
                os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(WorkbenchError, match="import_child failed"):
        exchange.import_file(bench, written(tmp_path, lines(40_000)), on_progress=kill)
    assert_untouched(bench)

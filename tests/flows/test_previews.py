"""What is shown before anything is written: the guess, three rows, the bad lines so far, and how much there is."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from workbench.domain.queries import parse_query
from workbench.errors import DataError, UsageError
from workbench.flows import exchange
from workbench.flows.bench import Bench
from workbench.store.imports import CancelledImport


def put(path: Path, text: str) -> Path:
    """A file with this text."""
    path.write_text(text)
    return path


def line(number: int) -> str:
    """One good row."""
    return json.dumps({"prompt": f"question {number:04}", "completion": "an answer"}) + "\n"


def test_bad_lines_among_the_first_are_named_with_their_reasons(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", line(1) + "{ broken\n" + '{"prompt": "q", "completion": ""}\n' + line(2))
    seen = exchange.preview(bench, file)
    assert [bad.line for bad in seen.bad] == [2, 3]
    assert "not JSON" in seen.bad[0].reason and seen.bad[1].reason
    assert (seen.error, len(seen.rows), seen.looked_at) == ("", 2, 4)


def test_a_small_file_is_counted_and_a_long_one_is_estimated(bench: Bench, tmp_path: Path) -> None:
    small = exchange.preview(bench, put(tmp_path / "small.jsonl", line(1) * 50))
    assert (small.about, small.is_whole) == (50, True)
    long = exchange.preview(bench, put(tmp_path / "long.jsonl", "".join(map(line, range(4000)))))
    assert (long.about, long.is_whole) == (4000, False)


def test_a_described_folder_is_shown_by_its_first_entry_or_the_one_asked_for(bench: Bench, tmp_path: Path) -> None:
    put(tmp_path / "a.json", json.dumps([{"instruction": "i", "input": "", "output": "o"}]))
    put(tmp_path / "b.json", json.dumps([{"frage": "f", "antwort": "a"}]))
    columns = {"prompt": "frage", "response": "antwort"}
    info = {"one": {"file_name": "a.json"}, "two": {"file_name": "b.json", "columns": columns}}
    put(tmp_path / "dataset_info.json", json.dumps(info))
    seen = exchange.preview(bench, tmp_path)
    assert seen.entries == ("one", "two") and seen.rows[0].chosen[0].content == "o"
    assert exchange.preview(bench, tmp_path, entry="two").rows[0].prompt[0].content == "f"
    with pytest.raises(DataError, match="no entry"):
        exchange.preview(bench, tmp_path, entry="three")


def test_a_part_that_is_mapped_to_no_column_is_not_guessed(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", "question,answer,label,is_good\nq,a,true,true\n")
    assert exchange.preview(bench, file).kinds == {"judgement": 1}
    none = {"label": exchange.NO_COLUMN}
    seen = exchange.preview(bench, file, mapping=none, format="table")
    assert seen.kinds == {"demonstration": 1} and seen.mapping == {"prompt": "question", "completion": "answer"}
    assert exchange.import_file(bench, file, mapping=none).kinds["demonstration"] == 1


def test_a_mapping_to_what_the_format_has_not_is_refused_before_the_import(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", line(1))
    with pytest.raises(UsageError, match="has no column 'promt'"):
        exchange.preview(bench, file, mapping={"promt": "prompt"}, format="trl")


def test_a_refused_import_tells_every_bad_line(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", "{ broken\n" + line(1) + "[]\n")
    with pytest.raises(exchange.BadLines) as refused:
        exchange.import_file(bench, file)
    assert [error.line for error in refused.value.errors] == [1, 3]
    told = refused.value.as_dict()
    assert told["bad"] == 2 and [one["line"] for one in told["lines"]] == [1, 3]
    assert told["where"].endswith("a.jsonl:1") and told["kind"] == "bad-data"


def test_an_import_can_be_cancelled_while_it_only_looks_for_more_bad_lines(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", "{ broken\n" + "".join(map(line, range(1000))))
    cancelled, seen = threading.Event(), list[exchange.Progress]()

    def hear(progress: exchange.Progress) -> None:
        seen.append(progress)
        cancelled.set()

    with pytest.raises(CancelledImport):
        exchange.import_file(bench, file, cancelled=cancelled, on_progress=hear)
    assert len(seen) == 1 and seen[0].bad == 1
    assert bench.store.examples.count(parse_query("")) == 0 and bench.store.datasets.list() == []


def test_a_report_counts_the_rows_that_each_check_flagged(bench: Bench, tmp_path: Path) -> None:
    row = json.dumps({"prompt": "q", "completion": "an answer<|im_end|>"})
    report = exchange.import_file(bench, put(tmp_path / "a.jsonl", row + "\n" + line(1)))
    assert report.flagged == {"template_tokens": 1}

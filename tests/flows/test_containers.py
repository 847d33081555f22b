"""What may hold rows, and what may be wrong with it: always a line, never a row too few."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import zstandard

from workbench.domain.examples import Example
from workbench.domain.queries import Query
from workbench.errors import DataError, NotFoundError, UsageError
from workbench.flows import exchange, reading
from workbench.flows.bench import Bench
from workbench.flows.exchange import Options

ROWS = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(3)]
TABLE = "prompt;completion\n" + "".join(f"question {n};answer {n}\n" for n in range(3))
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def zipped(files: dict[str, str]) -> bytes:
    """An archive, not made any smaller."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def stored(bench: Bench) -> list[Example]:
    return bench.store.examples.list(Query(), limit=10_000)


def put(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refused(bench: Bench, path: Path, **how: object) -> DataError:
    with pytest.raises(DataError) as caught:
        exchange.import_file(bench, path, **how)  # type: ignore[arg-type]
    assert stored(bench) == []
    return caught.value


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.jsonl", "\ufeff" + LINES),
        ("rows.jsonl", LINES.replace("\n", "\r\n")),
        ("rows.jsonl", "\n\n" + LINES.replace("\n", "\n\n")),
        ("rows.jsonl", LINES.rstrip("\n")),
        ("rows", LINES),
        ("rows.txt", LINES),
        ("rows.json", "\ufeff" + json.dumps(ROWS, indent=2)),
        ("rows.jsonl.gz", gzip.compress(LINES.encode())),
        ("rows.jsonl.gz", gzip.compress(LINES[:90].encode()) + gzip.compress(LINES[90:].encode())),
        (
            "rows.csv.gz",
            gzip.compress(b"prompt,completion\nquestion 0,answer 0\nquestion 1,answer 1\nquestion 2,answer 2"),
        ),
        ("rows.json.zst", zstandard.compress(json.dumps(ROWS).encode())),
        ("rows.jsonl", zstandard.compress(LINES.encode())),
        ("rows.zip", zipped({"in/rows.json": json.dumps(ROWS)})),
        ("rows.zip", zipped({"conversations.json": json.dumps(ROWS), "users.json": "[]", "a/": ""})),
        (
            "rows.csv",
            "\ufeffprompt,completion\r\nquestion 0,answer 0\r\nquestion 1,answer 1\r\n\r\nquestion 2,answer 2",
        ),
        ("rows.csv", "prompt;completion\nquestion 0;answer 0\nquestion 1;answer 1\nquestion 2;answer 2\n"),
        ("rows.tsv", "prompt\tcompletion\nquestion 0\tanswer 0\nquestion 1\tanswer 1\nquestion 2\tanswer 2\n"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("rows") else "",
)
def test_the_same_rows_in_every_wrapping(bench: Bench, tmp_path: Path, name: str, data: str | bytes) -> None:
    report = exchange.import_file(bench, put(tmp_path / name, data))
    assert report.imported == 3
    assert [(e.prompt_text, e.answer_text) for e in stored(bench)] == [
        (f"question {n}", f"answer {n}") for n in range(3)
    ]


def test_packed_rows_from_standard_input(bench: Bench) -> None:
    raw = io.TextIOWrapper(io.BytesIO(gzip.compress(LINES.encode())))
    assert exchange.import_file(bench, raw).imported == 3


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("prompt,completion\na,b\nc\nd,e\n", 3, "1 cells, and the header has 2"),
        ("prompt,completion\na,b,c\n", 2, "3 cells"),
        ('prompt,completion\na,"b\n"\nc,d"e\nf,"g', 5, "CSV"),
        ('prompt,completion\na,"b" c\n', 2, "CSV"),
        ("prompt,prompt\na,b\n", 1, "twice"),
        (b"prompt,completion\na,b\nc,\xff\n", 3, "not UTF-8"),
        ("prompt,completion\na,\n", 2, "answer is empty"),
    ],
)
def test_a_bad_row_of_a_table_is_refused_by_its_line(
    bench: Bench, tmp_path: Path, text: str | bytes, line: int, reason: str
) -> None:
    file = put(tmp_path / "rows.csv", text)
    error = refused(bench, file)
    assert error.where == f"{file}:{line}" and reason in error.message


def test_a_row_of_a_table_has_the_line_on_which_it_begins(bench: Bench, tmp_path: Path) -> None:
    exchange.import_file(bench, put(tmp_path / "a.csv", 'prompt,completion\n"a\nb",c\nd,"e\n\nf"\ng,h\n'))
    assert [e.source.line for e in stored(bench)] == [2, 4, 7]
    assert stored(bench)[1].answer_text == "e\n\nf"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (zipped({"a.json": "[]", "b.json": "[]"}), "there are 2 files in it"),
        (zipped({"[Content_Types].xml": "", "word/document.xml": ""}), "an Office document"),
        (zipped({"rows.jsonl": LINES})[:-30], "cannot be read"),
        (zipped({"rows.jsonl": LINES}).replace(b"question 1", b"question X"), "cannot be read"),
    ],
)
def test_an_archive_that_holds_not_just_rows_is_refused_with_the_reason(
    bench: Bench, tmp_path: Path, data: bytes, reason: str
) -> None:
    assert re.search(reason, refused(bench, put(tmp_path / "rows.zip", data)).message)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_data_that_breaks_off_is_refused_whole(bench: Bench, tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    import random

    words = random.Random(1)
    rows = [{"prompt": f"{words.random()}", "completion": f"{words.random()}"} for _ in range(9000)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    data = pack(lines.encode())
    for cut in (len(data) // 2, len(data) - 3, 20):
        error = refused(bench, put(tmp_path / "rows.jsonl.gz", data[:cut]), skip_bad=True)
        assert "broken" in error.message or "breaks off" in error.message


def test_a_text_file_is_taken_by_paragraph_line_or_whole(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "book.txt", "\ufeffOne\r\nand one.\r\n\r\n \r\nTwo.\n")
    for unit, texts in {
        "paragraph": ["One\nand one.", "Two."],
        "line": ["One", "and one.", "Two."],
        "file": ["One\nand one.\n\n \nTwo."],
    }.items():
        exchange.import_file(bench, file, dataset=unit, options=Options(text_unit=unit))
        found = bench.store.examples.list(Query(), dataset=unit)
        assert [e.answer_text for e in found] == texts
    lines = [e.source.line for e in bench.store.examples.list(Query(), dataset="paragraph")]
    assert lines == [1, 5]


def test_a_line_without_end_is_refused_and_the_next_one_read(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST", 200)
    long = json.dumps({"prompt": "x" * 1000, "completion": "y"})
    report = exchange.import_file(bench, put(tmp_path / "a.jsonl", f"{long}\n{LINES}"), skip_bad=True)
    assert (report.imported, report.skipped, report.errors[0].line) == (3, 1, 1)
    assert "longer than 200" in report.errors[0].reason
    assert [e.source.line for e in stored(bench)] == [2, 3, 4]


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_an_array_is_read_piece_by_piece(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reading, "_PIECE", piece)
    rows = [{"prompt": "ü" * n + "🙂", "completion": f'"{n}"\\'} for n in range(30)]
    exchange.import_file(bench, put(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False, indent=3)))
    assert [(e.prompt_text, e.answer_text) for e in stored(bench)] == [(r["prompt"], r["completion"]) for r in rows]
    assert [e.source.line for e in stored(bench)] == [2 + 4 * n for n in range(30)]


def test_an_array_is_not_held_in_memory(tmp_path: Path) -> None:
    text = "[" + ",\n".join(json.dumps({"prompt": str(n), "completion": "x" * 1000}) for n in range(20_000)) + "]"
    with put(tmp_path / "a.json", text).open("rb") as file:
        lines = reading.read_rows(file)
        next(lines)
        assert file.tell() < 3 * reading._PIECE < len(text)
        assert sum(1 for _ in lines) == 19_999


def test_one_object_over_many_lines_is_one_row(bench: Bench, tmp_path: Path) -> None:
    assert exchange.import_file(bench, put(tmp_path / "a.json", json.dumps(ROWS[0], indent=2))).imported == 1
    error = refused_in_new(bench, put(tmp_path / "b.json", '{\n"prompt": 1,\n'))
    assert error.where.endswith("b.json:1")


def refused_in_new(bench: Bench, path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        exchange.import_file(bench, path, dataset="new")
    return caught.value


def test_a_folder_of_kilns_records_is_one_row_per_file(bench: Bench, tmp_path: Path) -> None:
    for number in range(3):
        folder = tmp_path / "project" / "runs" / str(number)
        folder.mkdir(parents=True)
        run = {"v": 1, "model_type": "task_run", "input": f"q{number}", "output": {"output": f"a{number}"}}
        (folder / "task_run.kiln").write_text(json.dumps(run, indent=2))
    (tmp_path / "project" / "project.kiln").write_text(json.dumps({"v": 1, "model_type": "project", "name": "p"}))
    report = exchange.import_file(bench, tmp_path / "project")
    assert report.imported == 3 and report.notes == ("left out 1 record of Kiln's type project",)
    assert stored(bench)[1].source.file.endswith("runs/1/task_run.kiln")


def test_parquet_by_its_bytes_and_broken_parquet_by_its_name(bench: Bench, tmp_path: Path) -> None:
    exchange.import_file(bench, put(tmp_path / "a.jsonl", LINES))
    exchange.export_file(bench, "status:pending", tmp_path / "b.parquet")
    (tmp_path / "b.parquet").rename(tmp_path / "b")
    assert exchange.import_file(bench, tmp_path / "b", dataset="again").imported == 3
    error = refused_in_new(bench, put(tmp_path / "c.parquet", LINES))
    assert "not a Parquet file" in error.message and error.where == str(tmp_path / "c.parquet")


def test_a_hub_id_without_a_network_is_a_plain_error(bench: Bench) -> None:
    error = refused_in_new(bench, exchange.as_source("hf:nobody/nothing"))  # type: ignore[arg-type]
    assert "cannot be loaded from the hub" in error.message and "HF_HUB_OFFLINE" in error.hint
    assert exchange.as_source("nobody/nothing") == "nobody/nothing"
    assert isinstance(exchange.as_source("rows.jsonl"), Path) and isinstance(exchange.as_source("./a/b"), Path)


def test_columns_are_mapped_by_hand(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", "frage,antwort,colour\nq,a,red\n")
    with pytest.raises(DataError, match="'antwort', 'colour', 'frage'") as caught:
        exchange.import_file(bench, file)
    assert "--map" in caught.value.hint and caught.value.where == f"{file}:2"
    mapping = {"prompt": "frage", "completion": "antwort"}
    assert exchange.import_file(bench, file, mapping=mapping).notes == ("columns not taken: colour",)
    assert (stored(bench)[0].prompt_text, stored(bench)[0].answer_text) == ("q", "a")
    with pytest.raises(UsageError, match="no column 'fragen'"):
        exchange.import_file(bench, file, mapping={"prompt": "fragen", "completion": "antwort"})
    with pytest.raises(UsageError, match="has no column 'promt'"):
        exchange.import_file(bench, file, mapping={"promt": "frage", "completion": "antwort"}, format="trl")


def test_a_preview_shows_the_guess_and_three_rows_and_reads_no_further(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", LINES * 40 + "{ broken")
    seen = exchange.preview(bench, file)
    assert (seen.format, seen.container, seen.columns) == ("trl", "jsonl", ("prompt", "completion"))
    assert len(seen.rows) == 3 and seen.kinds == {"demonstration": 50} and seen.error == ""
    unknown = exchange.preview(bench, put(tmp_path / "b.csv", "frage,answer\nq,a\n"))
    assert unknown.rows == () and "no format" in unknown.error and unknown.columns == ("frage", "answer")
    mapped = exchange.preview(bench, tmp_path / "b.csv", mapping={"prompt": "frage"})
    assert mapped.format == "table" and mapped.mapping == {"prompt": "frage", "completion": "answer"}
    assert mapped.rows[0].prompt[0].content == "q" and mapped.error == ""
    with pytest.raises(NotFoundError):
        exchange.preview(bench, tmp_path / "missing.jsonl")


def test_a_dry_run_shows_three_rows_as_they_would_be_stored(bench: Bench, tmp_path: Path) -> None:
    report = exchange.import_file(bench, put(tmp_path / "a.jsonl", LINES * 2), dry_run=True)
    assert report.samples[0] == {
        "kind": "demonstration",
        "prompt": [{"role": "user", "content": "question 0"}],
        "chosen": [{"role": "assistant", "content": "answer 0"}],
    }
    assert len(report.samples) == 3 and (report.imported, report.duplicates) == (3, 3)


def test_progress_is_told_while_it_reads_and_writes(bench: Bench, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"prompt": f"q{n}", "completion": "a"}) + "\n" for n in range(900))
    told: list[exchange.Progress] = []
    exchange.import_file(bench, put(tmp_path / "a.jsonl", rows), on_progress=told.append)
    reading_, writing = ([p for p in told if p.phase == phase] for phase in ("reading", "writing"))
    assert reading_ and writing and writing[-1].share == 1.0 and writing[-1].rows == 900
    assert all(0 <= p.share <= 1 for p in told if p.share is not None)


def test_the_bench_process_loads_no_table_library(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", LINES)
    script = (
        "import sys; from pathlib import Path; from workbench.flows.bench import Bench; "
        "from workbench.flows import exchange; from workbench.paths import Workspace; "
        "bench = Bench.open(Workspace(Path(sys.argv[1]) / 'w')); folder = Path(sys.argv[1]); "
        "exchange.import_file(bench, folder / 'a.jsonl'); "
        "exchange.export_file(bench, 'status:pending', folder / 'b.parquet'); "
        "exchange.import_file(bench, folder / 'b.parquet', dataset='b'); "
        "print([m for m in ('pyarrow', 'datasets', 'numpy', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.stdout == "[]\n", done.stderr


UMLAUTS = "prompt;completion\nWo ist der Bär?;Im Wald – „dort“.\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_text_with_a_byte_order_mark_is_read_in_its_encoding(
    bench: Bench,
    tmp_path: Path,
    encoding: str,
    pack,  # type: ignore[no-untyped-def]
) -> None:
    data = ("\ufeff" * (encoding == "utf-16-be") + UMLAUTS).encode(encoding)
    exchange.import_file(bench, put(tmp_path / "rows.csv", pack(data)))
    assert [(e.prompt_text, e.answer_text) for e in stored(bench)] == [("Wo ist der Bär?", "Im Wald – „dort“.")]


def test_another_encoding_is_named_and_what_is_none_is_refused(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "rows.csv", UMLAUTS.encode("cp1252"))
    assert "--encoding" in refused(bench, file).message
    exchange.import_file(bench, file, options=Options(encoding="cp1252"))
    assert [e.prompt_text for e in stored(bench)] == ["Wo ist der Bär?"]
    for name in ("cp12525", "base64"):
        with pytest.raises(UsageError, match="no encoding"):
            exchange.import_file(bench, file, options=Options(encoding=name))
    with pytest.raises(DataError, match="not text in ascii"):
        exchange.import_file(bench, file, options=Options(encoding="ascii"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sep=;\nprompt;completion\na,b;c\n", [("a,b", "c", 3)]),
        ('prompt;completion;"a, b, c, d"\nq;x;y\n', [("q", "x", 2)]),
        ("prompt,completion\na,b\n,\n\nc,d\n,\n", [("a", "b", 2), ("c", "d", 5)]),
    ],
    ids=["Excel's sep", "commas in a quoted name", "rows of nothing"],
)
def test_tables_as_spreadsheets_write_them(
    bench: Bench, tmp_path: Path, text: str, expected: list[tuple[str, str, int]]
) -> None:
    exchange.import_file(bench, put(tmp_path / "rows.csv", text))
    assert [(e.prompt_text, e.answer_text, e.source.line) for e in stored(bench)] == expected

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import FakeEngine
from samples import IMPORTED, demo, pair, thumb
from workbench.domain.examples import Example, Source, SourceKind, Split, Status
from workbench.domain.queries import Query
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError, WorkbenchError
from workbench.flows import curate, exchange
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped


def row(number: int = 1, **more: object) -> dict[str, object]:
    return {"prompt": f"question {number}", "completion": f"answer {number}", **more}


def write(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, (str, bytes)) else json.dumps(line) for line in lines]
    path.write_bytes(b"".join((t if isinstance(t, bytes) else t.encode()) + b"\n" for t in texts))
    return path


def stored(bench: Bench, dataset: str | None = None) -> list[Example]:
    return bench.store.examples.list(Query(), dataset=dataset, limit=100_000)


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_file_becomes_a_dataset_of_its_name_each_row_with_file_and_line(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "my file.v2.jsonl", row(1), "", row(2))
    report = exchange.import_file(bench, file)
    assert (report.dataset, report.format, report.imported, report.duplicates) == ("my-file", "trl", 2, 0)
    assert report.sentence() == "imported 2 rows into my-file"
    one, two = stored(bench, "my-file")
    assert [e.content for e in (one, two)] == [demo(1), demo(2)]
    assert [e.source for e in (one, two)] == [
        Source(SourceKind.IMPORT, file=str(file), line=1),
        Source(SourceKind.IMPORT, file=str(file), line=3),
    ]
    assert one.status is Status.PENDING and one.rater == "rater"


def test_the_dataset_and_status_can_be_given(bench: Bench, tmp_path: Path) -> None:
    exchange.import_file(bench, write(tmp_path / "a.jsonl", row()), dataset="mine", status=Status.ACCEPTED)
    assert [e.status for e in stored(bench, "mine")] == [Status.ACCEPTED]
    with pytest.raises(DataError):
        exchange.import_file(bench, tmp_path / "a.jsonl", dataset="../mine")
    with pytest.raises(NotFoundError, match="no format"):
        exchange.import_file(bench, tmp_path / "a.jsonl", format="trl2")


def test_the_same_file_again_adds_nothing_and_says_so(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", row(1), row(2), row(1))
    first = exchange.import_file(bench, file)
    assert (first.imported, first.duplicates) == (2, 1)
    curate.reject(bench, [stored(bench)[0].id])
    again = exchange.import_file(bench, file, status=Status.ACCEPTED)
    assert (again.imported, again.duplicates) == (0, 3)
    assert again.sentence() == "nothing new: 3 rows already in a"
    assert [e.status for e in stored(bench)] == [Status.REJECTED, Status.PENDING], "decisions stand"


def test_kinds_may_be_mixed_and_are_counted(bench: Bench, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl",
        row(1),
        row(2, label=False),
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"text": "once upon a time"},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    )
    kinds = exchange.import_file(bench, file).kinds
    assert {k: n for k, n in kinds.items() if n} == {"demonstration": 2, "judgement": 1, "preference": 1, "text": 1}


def test_a_json_array_is_read_like_lines_with_the_lines_of_its_elements(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("\ufeff \n [" + json.dumps(row(1)) + ",\n\n" + json.dumps(row(2), indent=1) + "\n,{}]\n")
    with pytest.raises(DataError) as caught:
        exchange.import_file(bench, file)
    assert caught.value.where == f"{file}:8"
    assert exchange.import_file(bench, file, skip_bad=True).imported == 2
    assert [e.source.line for e in stored(bench)] == [2, 4]
    assert read_lines(tmp_path / "a.json.skipped.jsonl") == [{}]


@pytest.mark.parametrize(
    "text", ["[", "[{}", '[{"a": 1} {"b": 2}]', '[{"a": 1},]', "[1] x", '[{"prompt": "q"', "[,]", "[[[[", "[nul]"]
)
def test_an_array_that_breaks_off_is_one_bad_line_not_a_crash(bench: Bench, tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        exchange.import_file(bench, file)
    assert caught.value.where.startswith(str(file))


BAD_LINES = {
    "{": "not JSON",
    "[1, 2]": "a list",
    '"text"': "a text",
    "null": "null",
    "12": "a number",
    "true": "true or false",
    '{"colour": 1}': "'colour'",
    '{"prompt": "q", "completion": ""}': "empty",
    '{"prompt": "q", "completion": "a", "label": "yes"}': "'label'",
    "9" * 5000: "not JSON",
    '{"prompt": ' + "[" * 100_000: "not JSON",
}


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES.items(), ids=[text[:20] for text in BAD_LINES])
def test_a_bad_line_is_refused_by_file_line_and_reason_and_nothing_is_imported(
    bench: Bench, tmp_path: Path, bad: str, reason: str
) -> None:
    file = write(tmp_path / "a.jsonl", row(1), bad, row(2))
    with pytest.raises(DataError, match=reason) as caught:
        exchange.import_file(bench, file)
    assert caught.value.where == f"{file}:2"
    assert stored(bench) == [] and bench.store.datasets.list() == []
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "home", "workspace"]


def test_all_bad_lines_are_counted_before_the_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", "{", row(1), "}", "[]")
    with pytest.raises(DataError, match="2 more bad lines") as caught:
        exchange.import_file(bench, file)
    assert caught.value.where == f"{file}:1"
    assert "--skip-bad" in caught.value.hint


def test_with_skip_bad_the_rest_is_imported_and_the_bad_lines_are_written_out(bench: Bench, tmp_path: Path) -> None:
    broken = b'{"prompt": "caf\xe9", "completion": "a"}'
    file = write(tmp_path / "a.jsonl", row(1), "{ no json", row(2), broken, {"prompt": 3, "completion": "a"})
    report = exchange.import_file(bench, file, skip_bad=True)
    assert (report.imported, report.skipped) == (2, 3)
    assert [(e.line, e.file) for e in report.errors] == [(n, str(file)) for n in (2, 4, 5)]
    assert "not JSON" in report.errors[0].reason and "not UTF-8" in report.errors[1].reason
    skipped = tmp_path / "a.jsonl.skipped.jsonl"
    assert report.skipped_file == str(skipped)
    assert skipped.read_bytes() == b"{ no json\n" + broken + b'\n{"prompt": 3, "completion": "a"}\n'
    assert str(skipped) in report.sentence() and "line 2" in report.sentence()
    assert not list(tmp_path.glob(".*.tmp"))


def test_bad_lines_go_to_the_exports_when_the_folder_cannot_be_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    file = write(folder / "a.jsonl", row(1), "{")
    opened = Path.open

    def refuse(self: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        if self.parent == folder and "x" in mode:
            raise PermissionError(13, "Permission denied")  # a mode does not stop root, who may run this
        return opened(self, mode, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    report = exchange.import_file(bench, file, skip_bad=True)
    assert report.skipped_file == str(bench.workspace.exports / "a.jsonl.skipped.jsonl")
    assert Path(report.skipped_file).read_text() == "{\n"
    assert os.listdir(folder) == ["a.jsonl"]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", row(1), row(1), "{", row(2))
    report = exchange.import_file(bench, file, skip_bad=True, dry_run=True)
    assert (report.imported, report.duplicates, report.skipped) == (2, 1, 1)
    assert report.sentence().startswith("would import 2 rows")
    assert stored(bench) == [] and bench.store.datasets.list() == []
    assert not (tmp_path / "a.jsonl.skipped.jsonl").exists()
    assert exchange.import_file(bench, file, skip_bad=True).imported == 2


def test_standard_input_is_a_text_stream(bench: Bench) -> None:
    text = json.dumps(row(1)) + "\n" + json.dumps(row(2))
    report = exchange.import_file(bench, io.StringIO(text))
    assert (report.dataset, report.imported) == ("imported", 2)
    assert stored(bench)[1].source == Source(SourceKind.IMPORT, file="-", line=2)
    raw = io.TextIOWrapper(io.BytesIO(b'{"prompt": "\xff"}\n{'), encoding="utf-8")
    bad = exchange.import_file(bench, raw, dataset="d", skip_bad=True)
    assert bad.skipped == 2
    assert Path(bad.skipped_file).read_bytes() == b'{"prompt": "\xff"}\n{\n'


def test_half_surrogate_pairs_are_replaced_flagged_and_told(bench: Bench, tmp_path: Path) -> None:
    broken = '{"prompt": "question \\ud83d", "completion": "fine \\ud83d\\ude42"}'
    report = exchange.import_file(bench, write(tmp_path / "a.jsonl", broken, row(2)))
    assert "1 row had broken characters" in report.sentence()
    one, two = stored(bench)
    assert (one.prompt_text, one.answer_text) == ("question �", "fine 🙂")
    assert "repaired-text" in one.flags and two.flags == ()
    assert list(curate.ids(bench, "flag:repaired-text")) == [one.id]


def test_columns_that_are_not_taken_are_named(bench: Bench, tmp_path: Path) -> None:
    report = exchange.import_file(bench, write(tmp_path / "a.jsonl", row(1, score=3), row(2, lang="en")))
    assert report.notes == ("columns not taken: lang, score",)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PAR1....", "Parquet"),
        (b"PK\x03\x04", "zip"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(
    bench: Bench, tmp_path: Path, data: bytes, name: str
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(data)
    with pytest.raises(DataError, match=name) as caught:
        exchange.import_file(bench, file, skip_bad=True)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", b"[ \n ]\n"])
def test_a_file_without_rows_is_refused(bench: Bench, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(data)
    with pytest.raises(DataError, match="no rows"):
        exchange.import_file(bench, file)


def test_a_missing_file_is_not_found(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        exchange.import_file(bench, tmp_path / "missing.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        exchange.import_file(bench, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60) | st.text(alphabet='[]{}":, \n\\udq1', max_size=60).map(str.encode))
def test_no_bytes_break_an_import(bench: Bench, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(data)
    try:
        exchange.import_file(bench, file, dataset="d")
    except DataError as error:
        assert error.message and error.where.startswith(str(file))


def fill(bench: Bench) -> None:
    """Accepted, pending and rejected rows of three kinds, with everything that can be decided about them."""
    examples = bench.store.examples
    chat = Source(SourceKind.CHAT_EDIT, chat_id=1, message_id=2, other_message_id=3, models=("pip",))
    examples.add("d", demo(1), source=IMPORTED, status=Status.ACCEPTED, rater="ann", tags=("a", "b"), note="n 🙂")
    examples.add("d", pair(2), source=chat, status=Status.ACCEPTED, rater="ann", split=Split.VALIDATION)
    examples.add("d", thumb(3, label=False), source=IMPORTED, status=Status.PENDING, rater="ann")
    fourth, _ = examples.add("d", demo(4), source=IMPORTED, status=Status.REJECTED, rater="ann")
    curate.rate(bench, [fourth.id], 2)


def test_an_export_without_a_query_has_the_accepted_rows_and_nothing_else(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    to = tmp_path / "out.jsonl"
    report = exchange.export_file(bench, "", to)
    assert read_lines(to) == [
        {
            "prompt": [{"role": "user", "content": "question 1"}],
            "completion": [{"role": "assistant", "content": "answer 1"}],
        },
        {
            "prompt": [{"role": "user", "content": "question 2"}],
            "chosen": [{"role": "assistant", "content": "good answer 2"}],
            "rejected": [{"role": "assistant", "content": "bad answer 2"}],
        },
    ]
    assert (report.rows, report.format, report.file) == (2, "trl", str(to))
    assert report.sha256 == hashlib.sha256(to.read_bytes()).hexdigest()
    assert "mixes kinds" in report.sentence()


@pytest.mark.parametrize(
    ("query", "prompts"),
    [
        ("kind:demonstration", ["question 1"]),
        ("status:rejected", ["question 4"]),
        ("-status:accepted", ["question 3", "question 4"]),
        ("answer", ["question 1", "question 2", "question 3"]),
        ("split:validation", ["question 2"]),
    ],
)
def test_rejected_rows_are_exported_only_when_the_query_names_a_status(
    bench: Bench, tmp_path: Path, query: str, prompts: list[str]
) -> None:
    fill(bench)
    exchange.export_file(bench, query, tmp_path / "out.jsonl")
    rows = read_lines(tmp_path / "out.jsonl")
    assert [r["prompt"][0]["content"] for r in rows] == prompts  # type: ignore[index]


def same(example: Example) -> Example:
    return replace(
        example, id=0, dataset="", created_utc="", updated_utc="", source=replace(example.source, away=False)
    )


def test_an_export_with_provenance_brings_the_same_rows_into_a_fresh_workspace(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    to = tmp_path / "out.jsonl"
    exchange.export_file(bench, "answer", to, provenance=True)
    exchange.export_file(bench, "status:rejected", tmp_path / "rest.jsonl", provenance=True)
    fresh = Bench.open(Workspace(tmp_path / "fresh"), engine=FakeEngine(), rater="somebody else")
    for file in (to, tmp_path / "rest.jsonl"):
        report = exchange.import_file(fresh, file, dataset="d", status=Status.PENDING)
        assert report.notes == ()
    assert [same(e) for e in stored(fresh)] == [same(e) for e in stored(bench)]
    assert {e.source.away for e in stored(fresh) if e.source.chat_id is not None} == {True}
    again = tmp_path / "again.jsonl"
    exchange.export_file(fresh, "answer", again, provenance=True)
    assert again.read_bytes() == to.read_bytes(), "and out again: the same file"
    fresh.close()


def test_other_peoples_columns_of_the_same_names_mean_nothing(bench: Bench, tmp_path: Path) -> None:
    odd = row(1, status="open", split="fold 3", tags="a,b", note=5, source="flan", rating=99, id="x", rater=None)
    exchange.import_file(bench, write(tmp_path / "a.jsonl", odd, row(2, source={"kind": "web"}, tags=[1])))
    for example in stored(bench):
        assert (example.status, example.split, example.tags) == (Status.PENDING, Split.NONE, ())
        assert (example.note, example.rating, example.rater) == ("", None, "rater")
        assert example.source.kind is SourceKind.IMPORT and example.source.file == str(tmp_path / "a.jsonl")


def test_an_export_that_finds_nothing_leaves_the_old_file(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    to = write(tmp_path / "out.jsonl", "old")
    for query in ("tag:missing", "status:accepted nothing-of-it"):
        with pytest.raises(NotFoundError):
            exchange.export_file(bench, query, to)
    with pytest.raises(UsageError):
        exchange.export_file(bench, "colour:red", to)
    with pytest.raises(NotFoundError):
        exchange.export_file(bench, "", to, dataset="missing")
    assert to.read_text() == "old\n"
    assert not list(tmp_path.glob(".*.tmp"))


def test_an_export_appears_whole_or_not_at_all(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bench)
    to = write(tmp_path / "out.jsonl", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkbenchError, match="No space left"):
        exchange.export_file(bench, "", to, replace=True)
    assert to.read_text() == "old\n"
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_file_that_is_there_is_replaced_only_when_that_is_said(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    to = write(tmp_path / "out.jsonl", "mine")
    with pytest.raises(RefusedError, match="exists already"):
        exchange.export_file(bench, "", to)
    with pytest.raises(RefusedError, match="exists already"):
        exchange.export_file(bench, "", to, replace=lambda path: path != to)
    assert to.read_text() == "mine\n"
    exchange.export_file(bench, "", to, replace=True)
    assert to.read_text() != "mine\n"


def test_a_card_replaces_a_card_and_never_what_a_person_wrote(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    to = tmp_path / "out.jsonl"
    first = exchange.export_file(bench, "", to, card=True)
    assert exchange.export_file(bench, "", to, card=True, replace=True).card == first.card
    mine = write(Path(first.card), "my notes")
    beside = exchange.export_file(bench, "", to, card=True, replace=True)
    assert beside.card == str(tmp_path / "out.jsonl.WORKBENCH.md") and mine.read_text() == "my notes\n"
    write(Path(beside.card), "mine too")
    before = to.read_bytes()
    with pytest.raises(RefusedError, match="no cards of an export"):
        exchange.export_file(bench, "status:rejected", to, card=True, replace=True)
    assert Path(beside.card).read_text() == "mine too\n" and to.read_bytes() == before


def test_a_target_that_cannot_be_written_is_reported(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorkbenchError, match="cannot be written"):
        exchange.export_file(bench, "", tmp_path / "folder")
    with pytest.raises(WorkbenchError, match="cannot be written"):
        exchange.export_file(bench, "", write(tmp_path / "file") / "out.jsonl")


def test_an_export_makes_its_folder_and_keeps_a_link(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    exchange.export_file(bench, "", bench.workspace.exports / "out.jsonl")
    link = tmp_path / "link.jsonl"
    link.symlink_to(bench.workspace.exports / "out.jsonl")
    exchange.export_file(bench, "status:rejected", link, replace=True)
    assert link.is_symlink() and len(read_lines(bench.workspace.exports / "out.jsonl")) == 1


def test_lines_for_standard_output_are_those_of_the_file(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    exchange.export_file(bench, "", tmp_path / "out.jsonl", dataset="d", provenance=True)
    lines = exchange.export_lines(bench, "", dataset="d", provenance=True)
    assert "".join(lines) == (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_reports_are_json(bench: Bench, tmp_path: Path) -> None:
    report = exchange.import_file(bench, write(tmp_path / "a.jsonl", row(1, x=1), "{"), skip_bad=True).as_dict()
    assert json.loads(json.dumps(report)) == report
    assert {"dataset", "format", "imported", "duplicates", "skipped", "errors", "kinds"} <= set(report)
    curate.accept(bench, [1])
    exported = exchange.export_file(bench, "", tmp_path / "out.jsonl").as_dict()
    assert json.loads(json.dumps(exported)) == exported
    assert {"file", "format", "rows", "sha256"} <= set(exported)


def test_every_shipped_sample_can_be_imported(bench: Bench) -> None:
    files = sorted(shipped("sample_data").glob("*.jsonl"))
    assert files
    for file in files:
        lines = len(file.read_text().splitlines())
        report = exchange.import_file(bench, file)
        assert report.imported + report.duplicates == lines and report.notes == ()

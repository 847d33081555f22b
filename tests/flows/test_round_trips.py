"""Each format in each container, out and in again: the same examples, or a refusal that says what would be lost."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench import formats
from workbench.domain.chats import Turn, canonical_json, turn_from_dict
from workbench.domain.decisions import Action
from workbench.domain.examples import Content, Kind, Source, SourceKind, Split, Status, plain_text
from workbench.domain.formats import Format
from workbench.domain.queries import Query
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError
from workbench.flows import exchange
from workbench.flows.bench import Bench

TOOLS = canonical_json(
    [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"n": {}}}}}]
)


def call(name: str, number: int, **arguments: object) -> Turn:
    function = {"name": name, "arguments": arguments}
    return turn_from_dict(
        {"role": "assistant", "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}]}
    )


def said(*pairs: str) -> tuple[Turn, ...]:
    """Turns of system (when the first begins with a sign), user and assistant in turn."""
    turns = [Turn("system", pairs[0][1:])] if pairs[0].startswith("!") else []
    roles = ("user", "assistant")
    return (*turns, *(Turn(roles[at % 2], text) for at, text in enumerate(pairs[len(turns) :])))


ANSWER = (Turn("assistant", 'Yes,\r\nwith "quotes", commas and ü 🙂\t.'),)
PLAIN = [
    Content(Kind.DEMONSTRATION, said("!Be brief.", "A question\nin two lines; and more"), ANSWER),
    Content(Kind.DEMONSTRATION, said("0042"), (Turn("assistant", "{}"),)),
    Content(Kind.PREFERENCE, said("!Be brief.", "Which?"), ANSWER, (Turn("assistant", "No."),)),
    Content(Kind.JUDGEMENT, said("How?"), ANSWER, label=False),
    Content(Kind.JUDGEMENT, said("Why?"), ANSWER, label=True),
    plain_text("A text of its own,\nwith a line break."),
    Content(Kind.PROMPT, said("Say something"), ()),
]
RICH = [
    Content(Kind.DEMONSTRATION, said("a", "b", "c"), said("d", "e")[::-1][:1] and (Turn("assistant", "last"),)),
    Content(Kind.DEMONSTRATION, said("q1"), (Turn("assistant", "a1"), Turn("user", "q2"), Turn("assistant", "a2"))),
    Content(
        Kind.DEMONSTRATION,
        said("add"),
        (
            call("add", 1, n=2),
            turn_from_dict({"role": "tool", "tool_call_id": "c1", "content": "4"}),
            call("look", 2, where={"x": [1, None]}),
            turn_from_dict({"role": "tool", "tool_call_id": "c2", "content": "there"}),
            Turn("assistant", "Done."),
        ),
        tools=TOOLS,
    ),
    Content(Kind.PREFERENCE, said("a", "b", "c"), ANSWER, (call("add", 1, n=1),), tools=TOOLS),
]
WRITABLE = list(formats.writable().values())
LINE_CONTAINERS = ["jsonl", "json", "csv", "tsv", "jsonl.gz", "json.zst", "csv.gz", "tsv.zst"]


def fill(bench: Bench, contents: list[Content]) -> None:
    source = Source(SourceKind.VOTE, comparison_id=1, models=("one", "two"))
    for content in contents:
        content.check()
        bench.store.examples.add("from", content, source=source, status=Status.ACCEPTED, rater="ann")


def stored(bench: Bench, dataset: str) -> list[Content]:
    return [example.content for example in bench.store.examples.list(Query(), dataset=dataset, limit=1000)]


def kinds(found: Format) -> str:
    """Queries, one of which finds all that this format has a form for."""
    others = [f"-kind:{kind.value}" for kind in Kind if kind not in found.kinds]
    return " ".join(["status:accepted", *others])


def tabled(contents: list[Content], container: str) -> list[Content]:
    """Prompts alone beside other kinds cannot be told apart in a table, and are refused there."""
    is_table = container.startswith(("csv", "tsv", "parquet"))
    return [content for content in contents if not (is_table and content.kind is Kind.PROMPT)]


def held(found: Format, contents: list[Content]) -> list[Content]:
    return [content for content in contents if content.kind in found.kinds]


def go_round(bench: Bench, found: Format, to: Path) -> list[Content]:
    for content in held(found, RICH):
        assert found.lost(content) is not None
    exchange.export_file(bench, kinds(found), to, format=found.name)
    report = exchange.import_file(bench, to, dataset="back", format=found.name)
    assert report.skipped == 0
    return stored(bench, "back")


@pytest.mark.parametrize("container", LINE_CONTAINERS)
@pytest.mark.parametrize("found", WRITABLE, ids=lambda f: f.name)
def test_what_was_exported_is_imported_again_the_same(
    bench: Bench, tmp_path: Path, found: Format, container: str
) -> None:
    wanted = held(found, PLAIN) + [content for content in held(found, RICH) if not found.lost(content)]
    if found.name == "llama_factory":
        wanted = [content for content in wanted if content.kind is wanted[0].kind]
    wanted = tabled(wanted, container)
    fill(bench, wanted)
    assert go_round(bench, found, tmp_path / f"rows.{container}") == wanted


@pytest.mark.parametrize("found", WRITABLE, ids=lambda f: f.name)
def test_and_through_parquet(bench: Bench, tmp_path: Path, found: Format) -> None:
    wanted = held(found, PLAIN) + [content for content in held(found, RICH) if not found.lost(content)]
    if found.name == "llama_factory":
        wanted = [content for content in wanted if content.kind is wanted[0].kind]
    wanted = tabled(wanted, "parquet")
    fill(bench, wanted)
    assert go_round(bench, found, tmp_path / "rows.parquet") == wanted


@pytest.mark.parametrize("name", ["trl", "openai"])
def test_and_through_a_folder_that_datasets_saved(bench: Bench, tmp_path: Path, name: str) -> None:
    found = formats.get(name)
    wanted = tabled(held(found, PLAIN + RICH), "parquet")
    fill(bench, wanted)
    assert go_round(bench, found, tmp_path / "folder") == wanted
    assert (tmp_path / "folder" / "state.json").exists()


@pytest.mark.parametrize("name", ["trl", "openai", "sharegpt", "axolotl"])
def test_and_through_standard_output_and_input(bench: Bench, name: str) -> None:
    found = formats.get(name)
    wanted = [content for content in held(found, PLAIN + RICH) if not found.lost(content)]
    wanted = tabled(wanted, "csv")
    fill(bench, wanted)
    for container in ("jsonl", "json", "csv"):
        lines = "".join(exchange.export_lines(bench, kinds(found), format=name, container=container))
        options = exchange.Options(container=container)
        exchange.import_file(bench, io.StringIO(lines, newline=""), dataset=container, format=name, options=options)
        assert stored(bench, container) == wanted


def test_several_answers_tools_and_calls_survive_the_formats_that_have_them() -> None:
    several, calls = RICH[1], RICH[2]
    for name in ("trl", "openai", "axolotl"):
        assert not formats.get(name).lost(several) and not formats.get(name).lost(calls)
    assert not formats.get("sharegpt").lost(several) and not formats.get("alpaca").lost(several)


def test_what_a_format_cannot_hold_is_refused_with_a_count_and_flattened_when_asked(
    bench: Bench, tmp_path: Path
) -> None:
    fill(bench, [RICH[2], RICH[1], PLAIN[0]])
    to = tmp_path / "rows.json"
    with pytest.raises(DataError, match=r"alpaca cannot hold tool calls .* \(1 row\)") as caught:
        exchange.export_file(bench, "", to, format="alpaca")
    assert caught.value.where == "example 1" and "--flatten" in caught.value.hint and not to.exists()
    report = exchange.export_file(bench, "", to, format="alpaca", flatten=True)
    assert (report.rows, report.flattened) == (3, 1) and "1 row flattened" in report.sentence()
    assert json.loads(to.read_text())[0] == {"instruction": "add", "input": "", "output": "Done."}


def test_a_kind_without_a_form_is_refused_also_with_flatten(bench: Bench, tmp_path: Path) -> None:
    fill(bench, PLAIN)
    with pytest.raises(DataError, match="openai_preference has no form for a"):
        exchange.export_file(bench, "", tmp_path / "rows.jsonl", format="openai-preference", flatten=True)
    with pytest.raises(UsageError, match="only read"):
        exchange.export_file(bench, "", tmp_path / "rows.jsonl", format="kiln")


def test_a_folder_for_llama_factory_has_a_file_for_each_kind_and_says_what_they_are(
    bench: Bench, tmp_path: Path
) -> None:
    fill(bench, PLAIN)
    folder = tmp_path / "lf"
    folder.mkdir()
    (folder / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    (folder / "README.md").write_text("my own")
    query = "status:accepted -kind:prompt"
    report = exchange.export_file(bench, query, folder, format="llama_factory", dataset="from", card=True)
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"mine", "from_demonstration", "from_preference", "from_judgement", "from_text"}
    assert info["from_preference"]["ranking"] is True and info["from_text"]["columns"] == {"prompt": "text"}
    assert set(report.files) == {f"from_{kind}.jsonl" for kind in ("demonstration", "preference", "judgement", "text")}
    assert (folder / "README.md").read_text() == "my own"
    assert (folder / "WORKBENCH.md").read_text().count("sha256") == 1
    reports = exchange.import_any(bench, folder)
    assert sum(r.imported for r in reports) == 6
    assert sorted(c.hash() for r in reports for c in stored(bench, r.dataset)) == sorted(c.hash() for c in PLAIN[:6])
    with pytest.raises(DataError, match="one kind per file"):
        exchange.export_file(bench, query, tmp_path / "lf.jsonl", format="llama_factory")


def test_the_card_says_what_is_in_the_file(bench: Bench, tmp_path: Path) -> None:
    fill(bench, PLAIN[:4])
    report = exchange.export_file(bench, "", tmp_path / "rows.jsonl", card=True)
    card = (tmp_path / "rows.jsonl.README.md").read_text()
    assert report.card == str(tmp_path / "rows.jsonl.README.md")
    assert "4 rows" in card and "| preference | 1 |" in card and "| vote | 4 |" in card and report.sha256 in card
    assert 'path: "rows.jsonl"' in card


def test_prompts_alone_are_kept_apart_in_tables(bench: Bench, tmp_path: Path) -> None:
    fill(bench, PLAIN)
    with pytest.raises(DataError, match="a prompt alone cannot be told"):
        exchange.export_file(bench, "", tmp_path / "rows.csv")
    exchange.export_file(bench, "kind:prompt", tmp_path / "rows.csv")
    assert exchange.import_file(bench, tmp_path / "rows.csv", dataset="back").kinds["prompt"] == 1


def test_provenance_survives_every_container(bench: Bench, tmp_path: Path) -> None:
    fill(bench, PLAIN[:3])
    bench.store.examples.list(Query())
    for container in ("json", "csv", "tsv", "parquet"):
        to = tmp_path / f"rows.{container}"
        exchange.export_file(bench, "dataset:from", to, provenance=True)
        assert exchange.import_file(bench, to, dataset=container).notes == ()
        back = bench.store.examples.list(Query(), dataset=container)
        assert [replace(e.source, away=False) for e in back] == [
            e.source for e in bench.store.examples.list(Query(), dataset="from")
        ]
        assert [e.status for e in back] == [Status.ACCEPTED] * 3 and [e.rater for e in back] == ["ann"] * 3


@pytest.mark.parametrize("theirs", ['{"file_name": "other.json"}', '{"hf_hub_url": "me/mine"}', '"odd"'])
def test_an_entry_that_somebody_else_made_for_another_file_stays(bench: Bench, tmp_path: Path, theirs: str) -> None:
    fill(bench, PLAIN)
    info = tmp_path / "dataset_info.json"
    info.write_text(f'{{"rows": {theirs}}}')
    with pytest.raises(RefusedError, match="has an entry 'rows' already"):
        exchange.export_file(bench, "kind:demonstration", tmp_path / "rows.jsonl", format="llama_factory", replace=True)
    assert json.loads(info.read_text()) == {"rows": json.loads(theirs)}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["dataset_info.json"]


def test_of_the_entry_for_the_same_file_only_how_to_read_it_is_written_again(bench: Bench, tmp_path: Path) -> None:
    fill(bench, PLAIN)
    info = tmp_path / "dataset_info.json"
    before = {"file_name": "rows.jsonl", "ranking": True, "columns": {"messages": "x"}, "num_samples": 5}
    info.write_text(json.dumps({"rows": before}))
    exchange.export_file(bench, "kind:demonstration", tmp_path / "rows.jsonl", format="llama_factory")
    entry = json.loads(info.read_text())["rows"]
    assert entry["num_samples"] == 5 and "ranking" not in entry
    assert entry["columns"] == {"messages": "conversations", "system": "system"}


def test_rows_of_the_test_split_are_exported_only_when_a_split_is_asked_for_or_told(
    bench: Bench, tmp_path: Path
) -> None:
    fill(bench, PLAIN[:2])
    first = bench.store.examples.list(Query(), dataset="from")[0]
    bench.store.examples.change([first.id], Action.SPLIT, rater="me", split=Split.TEST)
    to = tmp_path / "rows.jsonl"
    report = exchange.export_file(bench, "", to)
    assert (report.rows, report.held_back) == (1, 1)
    assert "1 row of the locked test split left out" in report.sentence()
    assert len(list(exchange.export_lines(bench, "question"))) == 0
    assert exchange.held_back(bench, "question") == 1
    for query, provenance, rows in (("split:test", False, 1), ("", True, 2), ("status:accepted -split:none", False, 1)):
        report = exchange.export_file(bench, query, to, provenance=provenance, replace=True)
        assert (report.rows, report.held_back) == (rows, 0)
    with pytest.raises(NotFoundError) as caught:
        exchange.export_file(bench, "question", tmp_path / "none.jsonl")
    assert "split:test" in caught.value.hint

"""The small file per format that is shipped: told by its shape, and each of its rows understood as it was meant."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from workbench import formats
from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Kind
from workbench.domain.queries import Query
from workbench.errors import DataError
from workbench.flows import exchange
from workbench.flows.bench import Bench
from workbench.paths import shipped

FOLDER = shipped("sample_data") / "formats"
# How many examples of which kind are in each file, counted by hand.
EXPECTED = {
    "alpaca.json": {"demonstration": 2, "preference": 1, "judgement": 1},
    "axolotl.jsonl": {"preference": 5},
    "chatgpt.json": {"demonstration": 2},
    "claude.json": {"demonstration": 3},
    "fastchat.jsonl": {"preference": 2, "judgement": 2},
    "kiln.jsonl": {"preference": 1, "demonstration": 1, "judgement": 1},
    "kto.jsonl": {"judgement": 3},
    "openai.jsonl": {"demonstration": 2},
    "openai_preference.jsonl": {"preference": 2},
    "sharegpt.jsonl": {"demonstration": 4, "preference": 1},
    "table.csv": {"demonstration": 2},
    "text.txt": {"text": 2},
    "trl.jsonl": {"demonstration": 4, "preference": 2, "judgement": 4, "text": 1, "prompt": 1},
    "ultrafeedback.jsonl": {"preference": 3},
    "llama_factory/typed.jsonl": {"demonstration": 1, "preference": 1},
}


def contents(bench: Bench, name: str) -> list[Content]:
    exchange.import_file(bench, FOLDER / name, dataset="d")
    return [example.content for example in bench.store.examples.list(Query(), dataset="d", limit=1000)]


def texts(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.content for turn in turns]


def test_every_format_has_a_sample() -> None:
    assert {name.partition(".")[0].partition("/")[0] for name in EXPECTED} == set(formats.find())
    found = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert found == {name for name in EXPECTED if "/" not in name}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_told_by_its_shape_and_has_the_kinds_it_should(bench: Bench, name: str) -> None:
    report = exchange.import_file(bench, FOLDER / name, dataset="d")
    assert report.format == name.partition(".")[0].partition("/")[0]
    assert {kind: number for kind, number in report.kinds.items() if number} == EXPECTED[name]
    assert report.imported == sum(EXPECTED[name].values()) and report.skipped == 0
    again = exchange.import_file(bench, FOLDER / name, dataset="d")
    assert (again.imported, again.duplicates) == (0, report.imported)


def test_the_answers_of_alpacas_history_are_learnt_from(bench: Bench) -> None:
    plain, with_history, pair, thumb = contents(bench, "alpaca.json")
    assert texts(plain.prompt) == ["Translate to French.\nThe tyre is flat."]
    assert [turn.role for turn in with_history.prompt] == ["system", "user"]
    assert texts(with_history.chosen) == ["La gomma è a terra.", "And in German?", "Der Reifen ist platt."]
    assert (texts(pair.chosen), texts(pair.rejected)) == (["A chain breaker."], ["A hammer."])
    assert thumb.label is False


def test_function_calls_of_sharegpt_are_tool_calls_with_arguments_as_objects(bench: Bench) -> None:
    call = contents(bench, "sharegpt.jsonl")[2]
    assert call.chosen[0].tool_calls == [
        {"type": "function", "function": {"name": "stock", "arguments": {"part": "inner tube 28"}}}
    ]
    assert [turn.role for turn in call.chosen] == ["assistant", "tool", "assistant"]
    assert json.loads(call.tools)[0]["function"]["name"] == "stock"


def test_an_answer_of_weight_zero_is_context_and_json_arguments_become_objects(bench: Bench) -> None:
    weighted, called = contents(bench, "openai.jsonl")
    assert texts(weighted.prompt)[1:] == ["Which oil?", "A dry one in summer.", "And in winter?"]
    assert texts(weighted.chosen) == ["A wet one."] and not weighted.prompt[2].extra
    assert called.chosen[0].tool_calls[0]["function"]["arguments"] == {"part": "inner tube 28"}
    assert called.chosen[0].content == "" and json.loads(called.chosen[1].extra) == {"tool_call_id": "call_1"}


def test_a_prompt_as_text_beside_whole_dialogues_is_stripped_and_models_are_kept(bench: Bench) -> None:
    exchange.import_file(bench, FOLDER / "ultrafeedback.jsonl", dataset="d")
    first, argilla, older = bench.store.examples.list(Query(), dataset="d")
    assert texts(first.content.prompt) == ["Why do brakes squeal?"]
    assert len(first.content.chosen) == len(first.content.rejected) == 1
    assert argilla.source.models == older.source.models == ("m1", "m2")


def test_a_repaired_output_of_kiln_is_better_than_what_was_repaired(bench: Bench) -> None:
    exchange.import_file(bench, FOLDER / "kiln.jsonl", dataset="d")
    pair, rated, failed = bench.store.examples.list(Query(), dataset="d")
    assert (texts(pair.content.chosen), texts(pair.content.rejected)) == (["32"], ["64"])
    assert (pair.note, pair.tags) == ("Half of that.", ("wheels",))
    assert (rated.rating, failed.content.label) == (5, False)


def test_votes_become_pairs_and_a_tie_is_left_out_and_said(bench: Bench) -> None:
    report = exchange.import_file(bench, FOLDER / "fastchat.jsonl", dataset="d")
    assert report.notes == ("left out 1 tie",)
    pair, *bad, battle = bench.store.examples.list(Query(), dataset="d")
    assert texts(pair.content.chosen) == ["Fewer punctures, more mess."] and pair.source.models == ("m1", "m2")
    assert [example.content.label for example in bad] == [False, False]
    assert texts(battle.content.chosen) == ["Cork, for comfort."] and battle.source.models == ("m2", "m1")


def test_the_best_of_ranked_answers_is_paired_with_each_of_the_others(bench: Bench) -> None:
    pairs = [c for c in contents(bench, "axolotl.jsonl") if texts(c.prompt) == ["Best lock?"]]
    assert Counter((c.chosen[0].content, c.rejected[0].content) for c in pairs) == {
        ("A D-lock.", "A rope."): 1,
        ("A D-lock.", "A chain."): 1,
    }


def test_every_path_of_a_chat_to_a_last_answer_is_a_demonstration(bench: Bench) -> None:
    one, other = contents(bench, "chatgpt.json")
    assert texts(one.chosen) == ["About 3,000 km."]
    assert texts(other.chosen) == ["Measure it: at 0.75 % it is worn.", "With what?", "A chain checker."]


def test_the_chats_of_claude_are_read_in_order_or_as_the_tree_that_they_are(bench: Bench) -> None:
    report = exchange.import_file(bench, FOLDER / "claude.json", dataset="d")
    assert report.notes == ("left out 1 path with files, images or tools",)
    in_order, one, other = [row.content for row in bench.store.examples.list(Query(), dataset="d")]
    assert texts(in_order.prompt) == ["wheel.txt:\n36 spokes, 2 mm\n\nWhat tension do spokes need?"]
    assert texts(in_order.chosen) == ["About 1,000 N.", "And at the front?", "A little less."]
    assert texts(one.chosen) == ["In many countries, yes."]
    assert texts(other.chosen) == ["Yes. It need not be loud.", "Where do I mount it?", "Beside the brake lever."]


def test_columns_of_a_table_are_guessed_by_name_and_reasoning_is_kept(bench: Bench) -> None:
    report = exchange.import_file(bench, FOLDER / "table.csv", dataset="d")
    assert report.mapping == {"prompt": "Question", "completion": "Answer", "reasoning": "Chain of Thought"}
    assert report.notes == ()
    first, second = bench.store.examples.list(Query(), dataset="d")
    assert first.answer_text == "It joins the handlebar, and the fork." and first.tags == ("steering",)
    assert json.loads(second.content.chosen[0].extra) == {"reasoning_content": "3 times 11 is 33."}


def test_a_folder_of_llama_factory_is_read_as_its_dataset_info_says(bench: Bench) -> None:
    reports = exchange.import_any(bench, FOLDER / "llama_factory")
    assert [(r.dataset, r.imported) for r in reports] == [("shop", 1), ("pairs", 1), ("pretrain", 1)]
    assert "far_away" in reports[-1].notes[-1]
    (shop,) = bench.store.examples.list(Query(), dataset="shop")
    assert [(turn.role, turn.content) for turn in shop.content.prompt] == [
        ("system", "Be friendly."),
        ("user", "Do you sell bells?"),
    ]
    (text,) = bench.store.examples.list(Query(), dataset="pretrain")
    assert text.content.kind is Kind.TEXT
    one = exchange.import_any(bench, FOLDER / "llama_factory" / "dataset_info.json", entry="pairs", dataset="mine")
    assert [(r.dataset, r.kinds["preference"]) for r in one] == [("mine", 1)]


@pytest.mark.parametrize(
    "entry", [{"columns": {"prompt": []}}, {"tags": {"user_tag": {}}}, {"columns": [1]}, {"formatting": 1}]
)
def test_an_entry_that_describes_nothing_is_refused(bench: Bench, tmp_path: Path, entry: dict[str, object]) -> None:
    (tmp_path / "rows.json").write_text("[]")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.json", **entry}}))
    with pytest.raises(DataError, match="the entry 'mine'"):
        exchange.import_any(bench, tmp_path)


def test_a_chat_whose_links_are_no_names_is_read_without_them(bench: Bench) -> None:
    rows = json.loads((FOLDER / "chatgpt.json").read_text())
    rows[0]["mapping"]["a1"]["children"] = [["x"], None, 5]
    rows[0]["mapping"]["u1"]["parent"] = {}
    parts = formats.get("chatgpt").read(rows[0])
    assert len(parts) >= 2

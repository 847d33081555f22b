"""From a chat forward to an adapter, and back again."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

import voting
from fakes import FakeEngine
from finished_run import add_rows, finish, launched
from samples import demo
from workbench.cli.main import main
from workbench.domain.comparisons import Verdict
from workbench.domain.examples import Source, SourceKind, Status
from workbench.domain.queries import parse_query
from workbench.errors import NotFoundError
from workbench.flows import chat, compare, datasets, exchange, fixes, trace, train
from workbench.flows.bench import Bench
from workbench.paths import Workspace


@pytest.fixture
def edited(bench: Bench, engine: FakeEngine) -> tuple[int, int]:
    """An edited answer: the ids of the original message and of the pair that the edit made."""
    engine.enqueue("worse")
    chat_id = chat.new_chat(bench).id
    question = chat.say(bench, chat_id, "which?").id
    *_, ended = chat.answer(bench, chat_id, parent_id=question, cancelled=threading.Event())
    assert isinstance(ended, chat.AnswerEnded)
    return ended.message.id, chat.edit(bench, ended.message.id, "better").examples[0].id


def test_an_edit_is_followed_to_the_adapter_and_the_adapter_back_to_its_chat(
    bench: Bench, edited: tuple[int, int]
) -> None:
    message_id, example_id = edited
    add_rows(bench, 20)
    run = launched(bench, name="mine", include_chosen="true")
    finish(bench, run, adapter=True)
    train.take_over(bench, run)
    found = trace.example(bench, example_id)
    assert f"over message {message_id} ← chat 1 “which?”" in found.came_from
    (use,) = found.runs
    spec = train.spec(run)
    assert (use.run, use.held_out) == ("mine", example_id in spec.eval_example_ids)
    assert use.adapter == bench.store.runs.get("mine").adapter != ""
    assert trace.message(bench, message_id) == trace.chat(bench, 1) == [found]
    (back,) = trace.model(bench, use.adapter)
    assert back == trace.run(bench, "mine")
    assert back.rows == len(spec.example_ids) == sum(back.sources.values())
    assert back.chats == ({} if use.held_out else {1: 1})
    assert f"→ adapter {use.adapter}" in trace.example_text(found) and "← run mine" in trace.run_text(back)


def test_a_copy_leads_back_to_its_original_and_the_original_forward_to_the_copys_run(
    bench: Bench, edited: tuple[int, int]
) -> None:
    _, example_id = edited
    datasets.merge(bench, ["chats"], into="merged")
    (copy,) = bench.store.examples.list(parse_query(""), dataset="merged")
    add_rows(bench, 20, dataset="merged")
    launched(bench, name="copied", dataset="merged", include_chosen="true")
    assert f"example {example_id}" in trace.example(bench, copy.id).came_from
    assert [(use.run, use.as_example) for use in trace.example(bench, example_id).runs] == [("copied", copy.id)]


def test_what_was_never_trained_on_says_so_and_what_is_not_there_is_not_found(
    bench: Bench, edited: tuple[int, int]
) -> None:
    assert "no run has had it yet" in trace.example_text(trace.example(bench, edited[1]))
    assert trace.model(bench, bench.store.models.default().name) == []
    for find in (trace.example, trace.message, trace.chat):
        with pytest.raises(NotFoundError):
            find(bench, 999)


def test_rows_whose_ids_are_of_another_workspace_are_traced_to_an_end(bench: Bench) -> None:
    """As imported with their provenance: here 1 and 2 name each other, and what is looked for would never be found."""
    for number in (1, 2):
        source = Source(SourceKind.SYNTHETIC, models=("writer",), origins=(3 - number,))
        bench.store.examples.add("chats", demo(number), source=source, status=Status.ACCEPTED, rater="r")
    assert trace.example(bench, 1).came_from.startswith("synthetic by writer ← example 2 ← synthetic")
    add_rows(bench, 20)
    found = trace.run(bench, launched(bench, name="mine").name)
    assert found.rows == sum(found.sources.values()) and not found.chats


def test_a_model_is_traced_as_far_back_as_there_are_adapters(bench: Bench) -> None:
    add_rows(bench, 20)
    for name, start in (("tuned", ""), ("tuned2", "tuned")):
        run = launched(bench, name=name)
        finish(bench, run, adapter=True)
        train.take_over(bench, run)
        spec_file = Path(run.directory) / "spec.json"
        spec_file.write_text(json.dumps({**json.loads(spec_file.read_text()), "adapter": start}))
    made = bench.store.runs.get("tuned2").adapter
    before = bench.store.runs.get("tuned").adapter
    assert [step.run for step in trace.model(bench, made)] == ["tuned2", "tuned"]
    bench.store.models.remove(before)
    assert [step.run for step in trace.model(bench, made)] == ["tuned2"], "tuned is no short form of tuned2"


def test_a_row_that_waits_for_a_blind_vote_names_no_model_also_in_its_copies(bench: Bench) -> None:
    waiting = voting.pair(bench, 1)
    voting.vote(bench, waiting, "pip", rater="ann")
    mine, bench.rater = bench.rater, "ann"
    compare.promote(bench, waiting.id)
    bench.rater = mine
    datasets.merge(bench, ["votes"], into="copies")
    (copy,) = bench.store.examples.list(parse_query(""), dataset="copies")
    for found in (trace.example(bench, copy.source.origins[0]), trace.example(bench, copy.id)):
        assert "hidden until you vote" in found.came_from
        assert not {"pip", "tuned"} & {*found.source.models, *found.came_from.replace(",", " ").split()}
    voting.vote(bench, waiting, "pip", rater=mine)
    assert "vote by pip, tuned" in trace.example(bench, copy.source.origins[0]).came_from


def command(bench: Bench, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What `workbench trace` gives as JSON."""
    assert main(["trace", *words, "--json"], open_bench=lambda place: Bench.open(place, engine=FakeEngine())) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_goes_both_ways_and_tells_what_a_run_has_made_meanwhile(
    bench: Bench, edited: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    message_id, example_id = edited
    add_rows(bench, 20)
    finish(bench, launched(bench, name="mine", include_chosen="true"), adapter=True)
    found = [command(bench, capsys, *words) for words in (("run", "mine"), ("model", "mine"))]
    assert [(one["run"], one["adapter"]) for told in found for one in told["runs"]] == [("mine", "mine")] * 2
    words = (("example", str(example_id)), ("message", str(message_id)), ("chat", "1"))
    found = [command(bench, capsys, *noun) for noun in words]
    assert [[one["id"] for one in told["examples"]] for told in found] == [[example_id]] * 3
    assert main(["trace", "message", "1"], open_bench=lambda place: Bench.open(place, engine=FakeEngine())) == 0
    assert "no example was made of this message" in capsys.readouterr().out


def test_rows_of_another_workspace_lead_to_nothing_here(
    bench: Bench, edited: tuple[int, int], tmp_path: Path, engine: FakeEngine
) -> None:
    message_id, _ = edited
    waiting = voting.pair(bench, 1)
    voting.vote(bench, waiting, "pip", rater=bench.rater)
    compare.promote(bench, waiting.id)
    compare.rate(bench, voting.pair(bench, 2).id, Verdict.BOTH_BAD)
    fixes.mend(bench, fixes.to_fix(bench)[0], "mended")
    datasets.merge(bench, ["chats"], into="copies")
    file = tmp_path / "rows.jsonl"
    exchange.export_file(bench, "", file, provenance=True)

    exchange.import_file(bench, file, dataset="back")
    for row in bench.store.examples.list(parse_query("dataset:back")):
        assert not row.source.away and "wrote the file" not in trace.example(bench, row.id).came_from
    assert len(trace.chat(bench, 1)) == 3 and {one.dataset for one in trace.message(bench, message_id)} >= {"back"}

    other = Bench.open(Workspace(tmp_path / "other"), engine=engine, rater="bob")
    chat_id = chat.new_chat(other).id
    question = chat.say(other, chat_id, "which?").id
    list(chat.answer(other, chat_id, parent_id=question, cancelled=threading.Event()))
    chat.edit(other, message_id, "good")
    voting.pair(other, 3)
    compare.rate(other, voting.pair(other, 4).id, Verdict.BOTH_BAD)
    exchange.import_file(other, file, dataset="theirs")
    theirs = other.store.examples.list(parse_query("dataset:theirs"))
    assert len(theirs) == 3 and all(row.source.away for row in theirs)
    told = trace.example(other, theirs[0].id).came_from
    assert told.endswith("chat 1 ← the workspace that wrote the file") and "which?" not in told
    assert [one.dataset for one in trace.chat(other, chat_id)] == ["chats"]
    datasets.merge(other, ["theirs"], into="copied")
    copy = other.store.examples.list(parse_query("dataset:copied"))[0]
    assert f"example {theirs[0].id}" in (told := trace.example(other, copy.id).came_from)
    assert told.endswith("the workspace that wrote the file") and not copy.source.away
    assert fixes.to_fix(other), "somebody else's better answer is to something else"
    other.close()

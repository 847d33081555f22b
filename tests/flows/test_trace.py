"""From a chat forward to an adapter, and back again."""

from __future__ import annotations

import threading

import pytest

from fakes import FakeEngine
from finished_run import add_rows, finish, launched
from workbench.domain.queries import parse_query
from workbench.errors import NotFoundError
from workbench.flows import chat, datasets, trace, train
from workbench.flows.bench import Bench


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

"""Batches: every prompt is answered once, whatever ends the process, and the answers land where they are worked on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from fakes import FakeEngine
from workbench.domain.batches import Batch, BatchState
from workbench.domain.chats import Generation, Role, Sampling, StopReason, Turn
from workbench.domain.models import ModelKind
from workbench.domain.serving import ChatRequest
from workbench.errors import BusyError, EngineError, NotFoundError, RefusedError, UsageError
from workbench.flows import batch, compare
from workbench.flows.bench import Bench

ONCE = Sampling(temperature=0, top_p=1, max_tokens=20)


def prompts(count: int) -> list[tuple[Turn, ...]]:
    return [(Turn("user", f"question {number}"),) for number in range(count)]


def begun(bench: Bench, count: int = 6, *models: str) -> Batch:
    return batch.begin(bench, models or ["pip"], prompts(count), source="q.txt", sampling=ONCE, seed=100)


def questions(engine: FakeEngine) -> list[str]:
    """What was asked, in the order of the prompts."""
    return sorted(request.turns[-1].content for request in engine.requests)


def answers(bench: Bench, made: Batch) -> dict[str, list[str]]:
    """Answers by question, from the batch's chats."""
    found: dict[str, list[str]] = {}
    for chat_id in bench.store.batches.chats(made.id):
        tree = bench.store.chats.tree(chat_id)
        for message in tree.messages.values():
            if message.role is Role.USER:
                found[message.content] = [one.content for one in tree.children(message.id)]
    return found


def test_one_models_answers_stand_in_one_chat_each_prompt_a_branch(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench, 3)
    told: list[int] = []
    done = batch.run(bench, made.id, on_progress=lambda one: told.append(one.done))
    assert (done.state, done.done, done.total, done.failed) == (BatchState.DONE, 3, 3, 0) and told[-1] == 3
    (chat_id,) = bench.store.batches.chats(made.id)
    assert answers(bench, made) == {f"question {n}": ["I do not know."] for n in range(3)}
    assert "q.txt" in bench.store.chats.get(chat_id).title
    seeds = {request.turns[-1].content: request.sampling.seed for request in engine.requests}
    assert seeds == {f"question {n}": 100 + n for n in range(3)}


def test_prompts_with_other_system_prompts_stand_in_other_chats(bench: Bench, engine: FakeEngine) -> None:
    rows = [(Turn("system", s), Turn("user", q)) for s, q in (("a", "1"), ("b", "2"), ("a", "3"))]
    made = batch.begin(bench, ["pip"], rows, source="q.jsonl", sampling=ONCE)
    batch.run(bench, made.id)
    systems = [bench.store.chats.get(chat_id).system for chat_id in bench.store.batches.chats(made.id)]
    assert sorted(systems) == ["a", "b"]
    assert {request.turns for request in engine.requests} == set(rows) and len(engine.requests) == 3


def test_several_prompts_are_asked_at_the_same_time(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench, 9)
    engine.hold()
    asking = threading.Thread(target=batch.run, args=(bench, made.id))
    asking.start()
    try:
        while engine.status().active < batch.AT_ONCE:
            assert asking.is_alive()
        assert engine.status().active == batch.AT_ONCE
    finally:
        engine.release()
        asking.join()
    assert len(engine.requests) == 9


def test_a_batch_that_was_cut_goes_on_and_asks_nothing_twice(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench)
    cancelled = threading.Event()
    cut = batch.run(bench, made.id, cancelled=cancelled, on_progress=lambda one: one.done >= 2 and cancelled.set())
    assert cut.state is BatchState.OPEN and 2 <= cut.done < 6
    whole = {question: said for question, said in answers(bench, made).items() if "I do not know." in said}
    engine.requests.clear()
    done = batch.run(bench, made.id)
    assert (done.state, done.done) == (BatchState.DONE, 6)
    assert not set(questions(engine)) & set(whole)
    assert all(said.count("I do not know.") == 1 for said in answers(bench, made).values())


def test_an_answer_that_was_stored_just_before_a_kill_is_not_asked_for_again(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begun(bench, 2)
    finish = bench.store.batches.finish
    monkeypatch.setattr(bench.store.batches, "finish", lambda *_, **__: None)  # killed before it could be noted
    batch.run(bench, made.id)
    monkeypatch.setattr(bench.store.batches, "finish", finish)
    assert bench.store.batches.get(made.id).done == 0 and len(engine.requests) == 2
    assert batch.run(bench, made.id).done == 2 and len(engine.requests) == 2


def test_an_answer_that_was_lost_half_way_is_asked_for_again(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench, 1)
    engine.die_after(2)
    assert batch.run(bench, made.id).failed == 1
    question = bench.store.batches.chats(made.id)
    lost = Generation("pip", ONCE, 0, 0, 0, StopReason.LOST)
    tree = bench.store.chats.tree(question[0])
    root = tree.children(None)[0]
    bench.store.chats.add_message(tree.chat.id, parent_id=root.id, role=Role.ASSISTANT, content="I do", generation=lost)
    engine.enqueue("whole")
    done = batch.run(bench, made.id, retry=True)
    assert done.done == 1 and answers(bench, made)["question 0"][-1] == "whole"


def test_three_failures_in_a_row_end_it_with_the_reason(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench, 20)

    def fail(*_: object, **__: object) -> object:
        raise EngineError("no memory left")

    engine.stream = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(EngineError, match="no memory left") as caught:
        batch.run(bench, made.id)
    assert f"batch resume {made.id} --retry" in caught.value.hint
    after = bench.store.batches.get(made.id)
    assert (after.state, after.error, after.is_running) == (BatchState.OPEN, "no memory left", False)
    assert 3 <= after.failed <= 3 + batch.AT_ONCE and after.failed + len(bench.store.batches.waiting(made.id)) == 20


def test_one_that_failed_is_passed_over_and_asked_again_when_wanted(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench, 5)
    engine.die_after(1)
    done = batch.run(bench, made.id)
    assert (done.done, done.failed, done.state) == (4, 1, BatchState.DONE)
    assert batch.run(bench, made.id).failed == 1
    again = batch.run(bench, made.id, retry=True)
    assert (again.done, again.failed) == (5, 0)


def test_a_prompt_whose_chat_was_deleted_is_asked_in_a_new_one(bench: Bench, engine: FakeEngine) -> None:
    made = begun(bench, 2)
    engine.die_after(1)
    assert batch.run(bench, made.id).failed == 1
    (deleted,) = bench.store.batches.chats(made.id)
    bench.store.chats.discard(deleted)
    done = batch.run(bench, made.id, retry=True)
    assert (done.done, done.failed, done.state) == (2, 0, BatchState.DONE)
    assert len(set(bench.store.batches.chats(made.id)) - {deleted}) == 1


def test_a_chat_that_is_deleted_while_it_is_asked_ends_the_batch_with_the_reason(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begun(bench, 1)
    stream = engine.stream

    def deleting(request: ChatRequest, *, cancelled: threading.Event, on_status: object = None) -> Iterator[object]:
        bench.store.chats.discard(bench.store.batches.chats(made.id)[0])
        yield from stream(request, cancelled=cancelled)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "stream", deleting)
        with pytest.raises(NotFoundError, match="was deleted"):
            batch.run(bench, made.id)
    assert "was deleted" in bench.store.batches.get(made.id).error
    assert batch.run(bench, made.id).done == 1


def test_stopping_it_from_elsewhere_ends_it(bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "LOOK_SECONDS", 0.01)
    made = begun(bench, 50)
    engine.hold()
    asking = threading.Thread(target=batch.run, args=(bench, made.id))
    asking.start()
    assert engine.waiting.wait(20)
    batch.stop(bench, made.id)
    asking.join(20)
    assert not asking.is_alive()
    after = bench.store.batches.get(made.id)
    assert after.state is BatchState.STOPPED and after.done == 0 and not after.is_running


def test_a_stop_before_the_launched_process_begins_is_heeded_and_undone_by_going_on(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "spawn_detached", lambda *_: None)
    made = begun(bench, 1)
    batch.launch(bench, made.id)
    batch.stop(bench, made.id)
    begins = batch.run(bench, made.id, unless_stopped=True)
    assert (begins.state, begins.is_running) == (BatchState.STOPPED, False) and engine.requests == []
    batch.launch(bench, made.id)
    assert batch.run(bench, made.id, unless_stopped=True).state is BatchState.DONE


def test_a_stopped_batch_that_is_run_again_goes_on(bench: Bench) -> None:
    made = begun(bench, 1)
    batch.stop(bench, made.id)
    assert batch.run(bench, made.id).state is BatchState.DONE


def test_two_processes_do_not_work_on_one_batch(bench: Bench) -> None:
    made = begun(bench, 2)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        from workbench.store.owners import process_started

        with bench.store.write() as db:
            owner = [other.pid, process_started(other.pid), made.id]
            db.execute("UPDATE batches SET owner_pid = ?, owner_started = ? WHERE id = ?", owner)
        for work in (batch.run, batch.launch):
            with pytest.raises(BusyError):
                work(bench, made.id)
    finally:
        other.kill()
        other.wait()
    assert not bench.store.batches.get(made.id).is_running
    assert batch.run(bench, made.id).done == 2


def test_two_models_make_pairs_for_the_arena_and_a_cut_one_goes_on(bench: Bench, engine: FakeEngine) -> None:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    made = begun(bench, 4, "pip", "tuned")
    cancelled = threading.Event()
    batch.run(bench, made.id, cancelled=cancelled, on_progress=lambda one: one.done == 2 and cancelled.set())
    assert len(bench.store.comparisons.list()) == 2
    done = batch.run(bench, made.id)
    assert (done.done, done.state) == (4, BatchState.DONE)
    assert len(bench.store.comparisons.list()) == 4 and len(engine.requests) == 8
    assert compare.waiting(bench) in {0, 4}  # the fake gives equal answers, which are ties by themselves


def test_pairs_that_failed_are_asked_again_when_wanted(bench: Bench, engine: FakeEngine) -> None:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    made = begun(bench, 3, "pip", "tuned")
    engine.die_after(1)
    with pytest.raises(EngineError):
        batch.run(bench, made.id)
    assert (bench.store.batches.get(made.id).done, bench.store.batches.get(made.id).failed) == (2, 1)
    done = batch.run(bench, made.id, retry=True)
    assert (done.done, done.failed, done.state) == (3, 0, BatchState.DONE)
    assert len(bench.store.comparisons.list()) == 3


@pytest.mark.parametrize("models", [["pip", "pip"], ["pip"] * 3, []])
def test_a_batch_has_one_model_or_two_different_ones(bench: Bench, models: list[str]) -> None:
    with pytest.raises(UsageError):
        batch.begin(bench, models, prompts(1), source="q", sampling=ONCE)


def test_a_batch_without_prompts_is_refused(bench: Bench) -> None:
    with pytest.raises(RefusedError):
        batch.begin(bench, ["pip"], [], source="q", sampling=ONCE)


def test_it_is_launched_as_a_command_on_this_workspace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(batch, "spawn_detached", lambda argv, log, env: started.append([*argv]))
    made = begun(bench, 1)
    batch.launch(bench, made.id, retry=True)
    (argv,) = started
    from workbench.cli.main import build_parser

    args = build_parser().parse_args(argv[argv.index("workbench") + 1 :])
    assert (args.workspace, args.id, args.retry, args.quiet) == (str(bench.workspace.root), made.id, True, True)
    assert (
        args.unless_stopped
        and args.run.__name__ == "batch_resume"
        and os.fspath(bench.workspace.batch_log).endswith("batches.log")
    )


def test_the_arena_does_not_go_on_with_a_batch_that_was_stopped(bench: Bench) -> None:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    made = begun(bench, 3, "pip", "tuned")
    cancelled = threading.Event()
    batch.run(bench, made.id, on_progress=lambda _: cancelled.set(), cancelled=cancelled)
    with bench.store.write() as db:
        db.execute("UPDATE rounds SET owner_pid = 999999999")
    assert bench.store.batches.get(made.id).round_id is not None
    assert bench.store.rounds.adopt() is None

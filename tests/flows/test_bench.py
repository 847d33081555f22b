from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fakes import FakeEngine
from workbench.config import Settings
from workbench.domain.chats import Role, Sampling, StopReason
from workbench.errors import UsageError
from workbench.flows.bench import Bench
from workbench.paths import Workspace


def leave_an_answer(bench: Bench, text: str) -> tuple[int, int]:
    """A chat with an answer that a process which has ended was writing; returns chat and question."""
    chat = bench.store.chats.create(title="t", system="", model="pip", sampling=Sampling(seed=4))
    question = bench.store.chats.add_message(chat.id, parent_id=None, role=Role.USER, content="hello")
    answer = bench.store.chats.begin_answer(chat.id, parent_id=question.id, model="pip", sampling=Sampling(seed=4))
    bench.store.chats.save_answer_text(answer, text)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with bench.store.write() as db:
        db.execute("UPDATE answers SET owner_pid = ?", [ended.pid])
    return chat.id, question.id


def reopen(bench: Bench) -> Bench:
    bench.close()
    return Bench.open(bench.workspace, engine=FakeEngine(), rater="rater")


def test_the_text_of_a_killed_bench_becomes_a_message_marked_lost(bench: Bench) -> None:
    chat_id, question = leave_an_answer(bench, "half an ans")
    again = reopen(bench)
    path = again.store.chats.tree(chat_id).path()
    assert [m.content for m in path] == ["hello", "half an ans"]
    generation = path[-1].generation
    assert generation is not None and path[-1].parent_id == question
    assert (generation.stop_reason, generation.model, generation.sampling) == (StopReason.LOST, "pip", Sampling(seed=4))
    once_more = reopen(again)
    assert len(once_more.store.chats.tree(chat_id).messages) == 2, "it is recovered once"
    once_more.close()


def test_an_answer_that_had_no_text_yet_leaves_no_message(bench: Bench) -> None:
    chat_id, _ = leave_an_answer(bench, "")
    again = reopen(bench)
    assert [m.content for m in again.store.chats.tree(chat_id).path()] == ["hello"]
    assert again.store.chats.lost_answers() == []
    again.close()


def test_a_lost_answer_of_a_deleted_chat_waits_until_the_chat_is_brought_back(bench: Bench) -> None:
    chat_id, _ = leave_an_answer(bench, "half an ans")
    bench.store.chats.discard(chat_id)
    again = reopen(bench)
    again.store.chats.restore(chat_id)
    assert [m.content for m in again.store.chats.tree(chat_id).path()] == ["hello"]
    once_more = reopen(again)
    assert [m.content for m in once_more.store.chats.tree(chat_id).path()] == ["hello", "half an ans"]
    once_more.close()


def test_an_answer_that_another_bench_is_writing_is_left_to_it(bench: Bench) -> None:
    chat = bench.store.chats.create(title="t", system="", model="pip", sampling=Sampling())
    bench.store.chats.begin_answer(chat.id, parent_id=None, model="pip", sampling=Sampling())
    other = Bench.open(bench.workspace, engine=FakeEngine(), rater="other")
    assert other.store.read().execute("SELECT count(*) FROM answers").fetchone()[0] == 1
    other.close()


def test_the_rater_is_the_one_given_else_the_settings(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_RATER", "ann")
    bench = Bench.open(workspace, engine=FakeEngine())
    assert bench.rater == "ann"
    bench.close()
    bench = Bench.open(workspace, engine=FakeEngine(), rater="bob", settings=Settings())
    assert (bench.rater, bench.settings) == ("bob", Settings())
    bench.close()


def test_settings_that_cannot_be_read_open_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MAX_TOKENS", "many")
    with pytest.raises(UsageError):
        Bench.open(workspace, engine=FakeEngine())
    assert not Path(workspace.root).exists()

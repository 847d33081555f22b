from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from samples import generation
from workbench.domain.chats import Chat, Role, Sampling
from workbench.errors import DataError, NotFoundError
from workbench.store.store import Store


def new_chat(store: Store, title: str = "a chat") -> Chat:
    return store.chats.create(title=title, system="be brief", model="pip", sampling=Sampling(seed=3))


def say(store: Store, chat: Chat, text: str, *, parent: int | None = None, role: Role = Role.USER) -> int:
    return store.chats.add_message(chat.id, parent_id=parent, role=role, content=text).id


def test_a_chat_comes_back_as_it_was_made(store: Store) -> None:
    chat = new_chat(store)
    assert store.chats.get(chat.id) == chat
    assert (chat.title, chat.system, chat.model, chat.sampling) == ("a chat", "be brief", "pip", Sampling(seed=3))


def test_a_message_comes_back_with_how_it_was_made(store: Store) -> None:
    chat = new_chat(store)
    question = say(store, chat, "hello")
    made = generation()
    answer = store.chats.add_message(
        chat.id, parent_id=question, role=Role.ASSISTANT, content="hi", generation=made, edited_from=None
    )
    assert store.chats.message(answer.id) == answer
    assert answer.generation == made and answer.parent_id == question


def test_a_new_message_becomes_the_tip(store: Store) -> None:
    chat = new_chat(store)
    first = say(store, chat, "one")
    second = say(store, chat, "two", parent=first)
    tree = store.chats.tree(chat.id)
    assert [m.content for m in tree.path()] == ["one", "two"]
    store.chats.set_tip(chat.id, first)
    assert store.chats.get(chat.id).tip_id == first
    store.chats.set_tip(chat.id, None)
    assert store.chats.tree(chat.id).path() == ()
    assert set(tree.messages) == {first, second}


def test_a_message_of_another_chat_is_no_parent_and_no_tip(store: Store) -> None:
    one, other = new_chat(store), new_chat(store)
    message = say(store, one, "hello")
    with pytest.raises(DataError):
        say(store, other, "hello", parent=message)
    with pytest.raises(DataError):
        store.chats.set_tip(other.id, message)
    assert store.chats.tree(other.id).messages == {}


def test_only_what_is_given_is_updated(store: Store) -> None:
    chat = new_chat(store)
    changed = store.chats.update(chat.id, system="", model="tuned")
    assert changed == replace(chat, system="", model="tuned", updated_utc=changed.updated_utc)


def test_the_last_used_chat_comes_first(store: Store) -> None:
    chats = [new_chat(store, f"chat {n}") for n in range(3)]
    with store.write() as db:
        for number, chat in enumerate(chats):
            db.execute("UPDATE chats SET updated_utc = ? WHERE id = ?", [f"2020-01-0{number + 1}", chat.id])
    say(store, chats[0], "hello")
    assert [chat.title for chat in store.chats.list()] == ["chat 0", "chat 2", "chat 1"]
    assert len(store.chats.list(limit=2)) == 2


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("potato", {"cooking"}),
        ("POTATO boil", {"cooking"}),
        ("cook", {"cooking"}),
        ("potato missing", set()),
        ('" - * c++ AND NEAR( col:x', set()),
        ("c++", {"code"}),
    ],
)
def test_chats_are_found_by_title_and_by_what_was_said(store: Store, words: str, found: set[str]) -> None:
    cooking, code = new_chat(store, "cooking"), new_chat(store, "code")
    say(store, cooking, "How do I boil a potato?")
    say(store, code, "c++ or python")
    assert {chat.title for chat in store.chats.list(search=words)} == found


def test_deleting_a_chat_takes_its_messages_and_answers(store: Store) -> None:
    chat, other = new_chat(store), new_chat(store)
    parent = None
    with store.write():
        for number in range(1200):  # deeper than SQLite lets triggers nest
            parent = say(store, chat, f"turn {number}", parent=parent)
    kept = say(store, other, "turn 0")
    store.chats.begin_answer(chat.id, parent_id=parent, model="pip", sampling=Sampling())
    store.chats.delete(chat.id)
    with pytest.raises(NotFoundError):
        store.chats.get(chat.id)
    assert store.chats.message(kept).content == "turn 0"
    assert [found.id for found in store.chats.list(search="turn")] == [other.id]
    assert store.read().execute("SELECT count(*) FROM answers").fetchone()[0] == 0


def test_an_id_is_never_given_twice(store: Store) -> None:
    chat = new_chat(store)
    message = say(store, chat, "hello")
    store.chats.delete(chat.id)
    again = new_chat(store)
    assert again.id > chat.id
    assert say(store, again, "hello") > message


def test_half_a_surrogate_pair_is_stored_as_a_replacement(store: Store) -> None:
    chat = new_chat(store, title="\udc00 title")
    message = say(store, chat, "broken \ud83d and whole \U0001f642")
    assert store.chats.message(message).content == "broken � and whole \U0001f642"
    assert store.chats.get(chat.id).title == "� title"


def test_an_answer_of_this_process_is_not_lost(store: Store) -> None:
    chat = new_chat(store)
    answer = store.chats.begin_answer(chat.id, parent_id=None, model="pip", sampling=Sampling())
    store.chats.save_answer_text(answer, "so far")
    assert store.chats.lost_answers() == []
    store.chats.finish_answer(answer)
    assert store.read().execute("SELECT count(*) FROM answers").fetchone()[0] == 0


def test_an_answer_whose_process_is_gone_is_lost_with_its_text(store: Store) -> None:
    chat = new_chat(store)
    question = say(store, chat, "hello")
    answer = store.chats.begin_answer(chat.id, parent_id=question, model="pip", sampling=Sampling(seed=9))
    store.chats.save_answer_text(answer, "half an ans")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with store.write() as db:
        db.execute("UPDATE answers SET owner_pid = ?", [ended.pid])
    (lost,) = store.chats.lost_answers()
    assert (lost.id, lost.chat_id, lost.parent_id, lost.text) == (answer, chat.id, question, "half an ans")
    assert (lost.model, lost.sampling) == ("pip", Sampling(seed=9))


def test_another_process_under_the_same_number_is_not_the_owner(store: Store) -> None:
    chat = new_chat(store)
    store.chats.begin_answer(chat.id, parent_id=None, model="pip", sampling=Sampling())
    with store.write() as db:
        db.execute("UPDATE answers SET owner_pid = ?, owner_started = owner_started - 3600", [os.getpid()])
    assert len(store.chats.lost_answers()) == 1


def test_a_message_that_is_not_there_is_named_in_the_error(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no message 77"):
        store.chats.message(77)

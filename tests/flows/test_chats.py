"""Chats as a whole: named, put away, deleted and brought back, searched, attached to, taken in from other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samples import generation
from workbench import formats
from workbench.domain.chats import Chat, Role, Sampling
from workbench.domain.formats import Format
from workbench.errors import DataError, NotFoundError
from workbench.flows import chat, chats
from workbench.flows.bench import Bench, days_ago_utc
from workbench.paths import shipped


def chat_of(bench: Bench, *said: str, title: str = "a chat") -> Chat:
    """A chat of questions and answers in turn."""
    chat = bench.store.chats.create(title=title, system="", model="pip", sampling=Sampling())
    parent = None
    for number, text in enumerate(said):
        role = Role.ASSISTANT if number % 2 else Role.USER
        made = generation() if number % 2 else None
        parent = bench.store.chats.add_message(chat.id, parent_id=parent, role=role, content=text, generation=made).id
    return bench.store.chats.get(chat.id)


def titles(bench: Bench, **how: bool) -> list[str]:
    return [chat.title for chat in bench.store.chats.list(**how)]


def test_a_title_is_one_line_and_never_empty(bench: Bench) -> None:
    chat = chat_of(bench)
    assert chats.rename(bench, chat.id, "  two\n lines ").title == "two lines"
    with pytest.raises(DataError):
        chats.rename(bench, chat.id, " \n ")


def test_a_chat_that_was_put_away_is_not_listed_but_found(bench: Bench) -> None:
    chat = chat_of(bench, "about turnips", title="garden")
    chat_of(bench, title="other")
    chats.archive(bench, chat.id)
    assert titles(bench) == ["other"] and titles(bench, archived=True) == ["garden"]
    assert [hit.chat.title for hit in chats.search(bench, "turnips")] == ["garden"]
    assert not chats.archive(bench, chat.id, away=False).archived
    assert sorted(titles(bench)) == ["garden", "other"]


def test_a_deleted_chat_is_nowhere_until_it_is_brought_back(bench: Bench) -> None:
    chat = chat_of(bench, "about turnips", "they grow", title="garden")
    chats.discard(bench, chat.id)
    assert titles(bench) == [] and chats.search(bench, "turnips") == [] and bench.store.chats.prompts() == []
    with pytest.raises(NotFoundError, match="was deleted"):
        bench.store.chats.tree(chat.id)
    assert [one.id for one in bench.store.chats.discarded()] == [chat.id]
    chats.restore(bench, chat.id)
    assert [m.content for m in bench.store.chats.tree(chat.id).path()] == ["about turnips", "they grow"]


def test_what_was_deleted_long_ago_is_removed_and_the_rest_is_not(bench: Bench) -> None:
    gone, kept, live = chat_of(bench, "a"), chat_of(bench, "b"), chat_of(bench, "c")
    chats.discard(bench, gone.id)
    assert bench.store.chats.purge(days_ago_utc(1)) == 0  # deleted today
    assert bench.store.chats.purge(days_ago_utc(-1)) == 1  # seen from tomorrow
    with pytest.raises(NotFoundError, match="there is no chat"):
        chats.restore(bench, gone.id)
    assert {one.id for one in bench.store.chats.list()} == {kept.id, live.id}


def test_a_search_finds_titles_and_messages_and_stands_on_the_branch_of_the_hit(bench: Bench) -> None:
    chat = chat_of(bench, "which vegetable?", "a turnip, of course", title="garden")
    question, answer = bench.store.chats.tree(chat.id).path()
    other = bench.store.chats.add_message(chat.id, parent_id=question.id, role=Role.ASSISTANT, content="a leek")
    named, said = chat_of(bench, title="the turnip chat"), chats.search(bench, "turnip")
    assert [(hit.chat.id, hit.message_id) for hit in said] == [(named.id, None), (chat.id, answer.id)]
    assert "turnip" in said[1].text and said[1].role is Role.ASSISTANT
    assert bench.store.chats.get(chat.id).tip_id == other.id
    chats.show_hit(bench, said[1])
    assert bench.store.chats.get(chat.id).tip_id == answer.id


@pytest.mark.parametrize("text", ['tur"nip', "c++", "NOT", "a* OR b", "-turnip"])
def test_signs_of_the_search_language_are_plain_text(bench: Bench, text: str) -> None:
    chat_of(bench, f"say {text} please")
    assert len(chats.search(bench, text)) == 1


def test_the_last_word_of_a_search_may_be_a_beginning(bench: Bench) -> None:
    chat_of(bench, "many turnips here")
    assert len(chats.search(bench, "many turn")) == 1 and chats.search(bench, "turn many") == []


def test_earlier_prompts_are_given_once_the_last_first(bench: Bench) -> None:
    chat_of(bench, "one", "answer", "two", "answer", "one")
    chat_of(bench, "three")
    assert bench.store.chats.prompts() == ["three", "one", "two"]
    assert bench.store.chats.prompts(limit=1) == ["three"]


def test_a_preset_keeps_how_to_ask_and_is_replaced_under_its_name(bench: Bench) -> None:
    chats.save_preset(bench, " my  way ", system="Be brief.", sampling=Sampling(temperature=0))
    chats.save_preset(bench, "my way", system="Be long.", sampling=Sampling(seed=4))
    (one,) = bench.store.presets.list()
    assert (one.name, one.system, one.sampling.seed) == ("my way", "Be long.", 4)
    bench.store.presets.remove("my way")
    with pytest.raises(NotFoundError):
        bench.store.presets.get("my way")


# Files


def test_a_file_is_attached_as_a_block_that_its_own_fences_do_not_end(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(b"\xef\xbb\xbfone\r\n```\ntwo\n```\n")
    assert chats.attached(path) == "notes.md:\n````\none\n```\ntwo\n```\n````"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"PNG\0\0", "is no text"), (b"caf\xe9", "not UTF-8"), (b"a" * (chats.ATTACHED_BYTES + 1), "a message takes")],
)
def test_what_is_no_text_or_too_much_is_not_attached(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DataError, match=reason):
        chats.attached(path)


def test_a_folder_and_a_file_that_is_not_there_are_not_attached(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder"):
        chats.attached(tmp_path)
    with pytest.raises(NotFoundError):
        chats.attached(tmp_path / "nothing")


# Others' chats


def test_a_conversation_with_branches_becomes_one_chat_with_branches(bench: Bench, tmp_path: Path) -> None:
    def node(parent: str | None, role: str, text: str, *children: str) -> dict[str, object]:
        content = {"content_type": "text", "parts": [text]}
        message = {"author": {"role": role}, "content": content, "metadata": {"model_slug": "gpt-x"}}
        return {"parent": parent, "children": list(children), "message": message}

    mapping = {
        "q": node(None, "user", "which?", "a", "b"),
        "a": node("q", "assistant", "this"),
        "b": node("q", "assistant", "that", "q2"),
        "q2": node("b", "user", "sure?", "c"),
        "c": node("q2", "assistant", "yes"),
    }
    for key, one in mapping.items():
        one["id"] = key
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([{"title": "Choosing", "mapping": mapping, "current_node": "c"}]))
    made = chats.import_chats(bench, path)
    (chat,) = made.chats
    tree = bench.store.chats.tree(chat.id)
    assert (made.format, chat.title) == ("chatgpt", "Choosing")
    assert sorted(m.content for m in tree.messages.values()) == ["sure?", "that", "this", "which?", "yes"]
    (root,) = tree.children(None)
    assert [m.content for m in tree.children(root.id)] in (["this", "that"], ["that", "this"])
    answers = [m for m in tree.messages.values() if m.role is Role.ASSISTANT]
    assert {m.generation.model for m in answers if m.generation} == {"gpt-x"} and len(answers) == 3


def test_imported_chats_have_their_own_days_in_lists_trees_and_searches(bench: Bench, tmp_path: Path) -> None:
    def node(parent: str | None, role: str, text: str, seconds: object, *children: str) -> dict[str, object]:
        said = {"author": {"role": role}, "content": {"content_type": "text", "parts": [text]}, "create_time": seconds}
        return {"parent": parent, "children": list(children), "message": said}

    first = {"q": node(None, "user", "which wheel?", 1_600_000_000, "a"), "a": node("q", "assistant", "a front", None)}
    later = {
        "q": node(None, "user", "what wheel?", 1_700_000_000, "a"),
        "a": node("q", "assistant", "a rear", 1_700_000_060.5),
    }
    odd = {"q": node(None, "user", "no wheel?", 1e15, "a"), "a": node("q", "assistant", "none", "yesterday")}
    rows = [
        {"title": "Later", "create_time": 1_700_000_000.0, "update_time": 1_700_000_100.0, "mapping": later},
        {"title": "First", "mapping": first},
        {"title": "Odd", "create_time": 9e9, "mapping": odd},
    ]
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(rows))
    own = chat.new_chat(bench)
    chat.say(bench, own.id, "my own wheel")
    made = {one.title: one for one in chats.import_chats(bench, path).chats}
    assert (made["Later"].created_utc, made["Later"].updated_utc) == (
        "2023-11-14T22:13:20.000Z", "2023-11-14T22:15:00.000Z",
    )  # fmt: skip
    assert made["First"].created_utc == made["First"].updated_utc == "2020-09-13T12:26:40.000Z"
    assert all(one.imported_utc[:4] >= "2026" for one in made.values()) and not own.imported_utc
    assert made["Odd"].updated_utc <= made["Odd"].imported_utc, "nothing is of tomorrow"
    listed = [one.title for one in bench.store.chats.list()]
    assert listed[-2:] == ["Later", "First"] and listed[0] == "Odd"
    question, answer = bench.store.chats.tree(made["Later"].id).path()
    assert (question.created_utc, answer.created_utc) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.500Z")
    assert [hit.text for hit in chats.search(bench, "wheel")][-2:] == ["what wheel?", "which wheel?"]
    chat.say(bench, made["First"].id, "and now?")
    assert bench.store.chats.list()[0].title == "First", "one that is gone on with is used today"


def test_a_rejected_answer_stands_beside_the_chosen_one(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "which?", "chosen": "this", "rejected": "that"}
    path.write_text(json.dumps(row) + "\n")
    (chat,) = chats.import_chats(bench, path).chats
    tree = bench.store.chats.tree(chat.id)
    assert [m.content for m in tree.path()] == ["which?", "this"]
    assert {m.content for m in tree.siblings(tree.path()[-1].id)} == {"this", "that"}


def test_rows_that_are_no_talk_are_counted_and_the_others_taken(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"},
                         {"role": "assistant", "content": "yo"}]}  # fmt: skip
    path.write_text(f"{json.dumps(good)}\nnot json\n{json.dumps({'messages': 7})}\n")
    made = chats.import_chats(bench, path)
    assert len(made.chats) == 1 and made.skipped == 2 and made.reasons
    assert made.chats[0].system == "Be brief." and made.chats[0].title == "hi"


def test_calls_of_tools_and_what_they_gave_are_parts_of_the_answer_that_a_screen_folds(bench: Bench) -> None:
    made = chats.import_chats(bench, shipped("sample_data") / "formats" / "sharegpt.jsonl")
    (chat,) = [one for one in made.chats if one.title.startswith("Are there inner tubes")]
    question, answer = bench.store.chats.tree(chat.id).path()
    assert (question.role, answer.role) == (Role.USER, Role.ASSISTANT)
    assert answer.content == (
        '<tool_call>\n{"name": "stock", "arguments": {"part": "inner tube 28"}}\n</tool_call>\n\n'
        "<tool_response>\n12\n</tool_response>\n\nYes, twelve."
    )


def test_every_sample_of_the_formats_that_are_talk_can_be_taken_in(bench: Bench) -> None:
    taken = {}
    for path in sorted((shipped("sample_data") / "formats").iterdir()):
        try:
            taken[path.name] = len(chats.import_chats(bench, path).chats)
        except DataError:
            taken[path.name] = 0
    assert sum(count > 0 for count in taken.values()) >= 8, taken
    assert all(isinstance(one, Format) for one in formats.find().values())


def test_chats_of_claude_keep_their_names_and_branches_and_say_why_one_is_left(bench: Bench) -> None:
    made = chats.import_chats(bench, shipped("sample_data") / "formats" / "claude.json")
    assert [chat.title for chat in made.chats] == ["Spokes", "Bells"]
    assert (made.skipped, made.reasons) == (1, ("paths with files, images or tools",))
    assert {chat.updated_utc[:10] for chat in made.chats} == {"2025-05-01"}
    tree = bench.store.chats.tree(made.chats[1].id)
    assert len(tree.messages) == 5 and len(tree.siblings(tree.path()[1].id)) == 2

"""``chats`` and ``presets`` on the command line, and models on other servers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoints import FakeServer
from fakes import FakeEngine
from workbench.cli.main import main
from workbench.flows.bench import Bench
from workbench.paths import Workspace

Command = Callable[..., Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine) -> Command:
    """Run one command with ``--json``; gives its documents, or the error's kind when it fails."""

    def run(*words: str) -> Any:
        def open_bench(workspace: Workspace) -> Bench:
            return Bench.open(workspace, engine=engine, rater="rater")

        code = main([*words, "--json"], open_bench=open_bench)
        out, err = capsys.readouterr()
        if code:
            return json.loads(err.splitlines()[-1])["error"]["kind"]
        documents = [json.loads(line) for line in out.splitlines()]
        return documents[0] if len(documents) == 1 else documents

    return run


def test_a_chat_is_named_put_away_deleted_and_brought_back(command: Command) -> None:
    chat = command("chat", "grow turnips?")["chat"]
    assert command("chats", "rename", str(chat), "my", "garden")["title"] == "my garden"
    command("chats", "archive", str(chat))
    assert command("chats", "list") == [] and command("chats", "list", "--archived")["id"] == chat
    command("chats", "unarchive", str(chat))
    assert command("chats", "delete", str(chat), "--yes") == {"deleted": chat, "for_good": False}
    assert command("chats", "show", str(chat)) == "not-found"
    assert command("chats", "list", "--deleted")["id"] == chat
    assert command("chats", "restore", str(chat))["title"] == "my garden"
    command("chats", "delete", str(chat), "--for-good", "--yes")
    assert command("chats", "restore", str(chat)) == "not-found"


def test_a_search_gives_the_messages_and_their_text(command: Command) -> None:
    said = command("chat", "grow turnips?")
    found = command("chats", "search", "turnips")
    assert [(one["id"], one["role"]) for one in found] == [(said["chat"], None), (said["chat"], "user")]
    assert "turnips" in found[1]["text"]


def test_a_tree_shows_every_branch_and_marks_the_shown_one(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("first", "second")
    said = command("chat", "q")
    command("chat", "--regenerate", str(said["message"]))
    rows = command("chats", "tree", str(said["chat"]))
    assert [(row["text"], row["on_path"]) for row in rows] == [("q", True), ("first", False), ("second", True)]


def test_presets_carry_sampling_from_one_chat_to_another(command: Command) -> None:
    one = command("chat", "q", "--system", "Be brief.")["chat"]
    other = command("chat", "q")["chat"]
    command("presets", "save", "brief", "--chat", str(one))
    assert command("presets", "list")["system"] == "Be brief."
    assert command("presets", "use", "brief", "--chat", str(other))["system"] == "Be brief."
    command("presets", "delete", "brief")
    assert command("presets", "use", "brief", "--chat", str(other)) == "not-found"


def test_chats_are_imported_and_gone_on_with(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "hi", "completion": "yo"}) + "\n")
    made = command("chats", "import", str(path))
    assert len(made["chats"]) == 1 and made["skipped"] == 0
    texts = [row["text"] for row in command("chats", "show", str(made["chats"][0]))]
    assert texts == ["hi", "yo"]
    assert command("chat", "--chat", str(made["chats"][0]), "and?")["model"] == "pip"


def test_a_models_server_is_added_and_shown_without_its_key(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-1")
    with FakeServer().running() as server:
        args = ("models", "add", "--endpoint", server.url, "--model", "tuned", "--name", "far", "--key-env", "A_KEY")
        added = command(*args)
    assert (added["kind"], added["url"], added["key"], added["warning"]) == ("endpoint", server.url, "env:A_KEY", "")
    assert "sk-1" not in json.dumps(command("models", "show", "far"))


@pytest.mark.parametrize(
    "words", [(), ("folder", "--endpoint", "http://h"), ("folder", "--key-env", "K"), ("folder", "--model", "m")]
)
def test_a_folder_and_a_server_are_not_mixed_up(command: Command, words: tuple[str, ...]) -> None:
    assert command("models", "add", *words) == "usage"


def test_a_server_needs_the_models_name_there(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert command("models", "add", "--endpoint", "http://127.0.0.1:9") == "bad-data"


def test_several_answers_at_once_are_ranked_from_the_command_line(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("a", "b", "c")
    made = command("chat", "which?", "--n", "3")
    by_text = {one["text"]: str(one["message"]) for one in made}
    assert sorted(by_text) == ["a", "b", "c"]
    ranked = command("rank", by_text["b"], f"{by_text['a']}={by_text['c']}")
    pairs = {(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in ranked["examples"]}
    assert pairs == {("b", "a"), ("b", "c")}
    assert command("rank", "x", "y") == "usage"


def test_a_file_and_a_preset_go_into_a_question(command: Command, engine: FakeEngine, tmp_path: Path) -> None:
    first = command("chat", "q", "--system", "Be brief.")["chat"]
    command("presets", "save", "brief", "--chat", str(first))
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk")
    command("chat", "what is in it?", "--attach", str(path), "--preset", "brief")
    system, asked = engine.requests[-1].turns
    assert system.content == "Be brief." and "remember the milk" in asked.content
    assert asked.content.endswith("what is in it?")


def test_a_note_is_stored_with_the_edit(command: Command) -> None:
    message = command("chat", "q")["message"]
    made = command("edit", str(message), "--text", "better", "--note", "too short")
    assert command("examples", "show", str(made["example"]["id"]))["note"] == "too short"


def test_a_batch_is_run_listed_and_gone_on_with(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("one\ntwo\nthree\n")
    made = command("batch", "run", str(path), "--limit", "2", "--seed", "5")
    assert (made["done"], made["total"], made["state"], made["models"]) == (2, 2, "done", ["pip"])
    assert command("batch", "list")["id"] == made["id"]
    texts = [row["text"] for row in command("chats", "show", str(made["chats"][0]))]
    assert sorted(texts) == ["I do not know.", "I do not know.", "one", "two"]
    assert command("batch", "resume", str(made["id"]))["done"] == 2
    assert command("batch", "stop", "99") == "not-found"


def test_an_answer_is_gone_on_with_from_its_end_or_from_another_beginning(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("Boil", " them.", " for ten minutes.", "")
    first = command("chat", "potatoes?")["message"]
    gone_on = command("chat", "--continue", str(first))
    assert (gone_on["text"], gone_on["edited_from"], gone_on["given"]) == ("Boil them.", first, 4)
    begun = command("chat", "--continue", str(first), "Steam them")
    assert (begun["text"], begun["given"]) == ("Steam them for ten minutes.", len("Steam them"))
    assert [request.turns[-1].content for request in engine.requests[1:]] == ["Boil", "Steam them"]
    rows = command("chats", "show", str(begun["chat"]))
    assert [(row["edited_from"], row["given"]) for row in rows[2:]] == [(first, 4), (first, 10)]
    assert command("examples", "list") == []
    assert command("chat", "--continue", str(first)) == "refused"
    assert command("chat", "--continue", str(first), "--n", "2") == "usage"

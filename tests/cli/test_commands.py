"""The command line's contract: what stands on stdout and stderr, and which exit code says what."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from workbench.cli.main import build_parser, main
from workbench.domain.serving import EngineState, EngineStatus
from workbench.errors import EXIT_CODES
from workbench.flows.bench import Bench
from workbench.paths import Workspace

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine) -> Command:
    """Run one command on this test's workspace with the fake engine; gives exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        def open_bench(workspace: Workspace) -> Bench:
            return Bench.open(workspace, engine=engine, rater="rater")

        code = main(list(words), open_bench=open_bench)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def _json(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def _lines(result: tuple[int, str, str]) -> list[Any]:
    code, out, err = result
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def _write_rows(path: Path, count: int = 4) -> Path:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"question {n}"}],
            "completion": [{"role": "assistant", "content": f"answer {n}"}],
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_help_documents_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"{code}  {meaning}" in shown for code, meaning in EXIT_CODES.items())


def _parsers(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = [(words, parser)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                found += _parsers(sub, (*words, name))
    return found


def test_every_command_has_help_and_a_function() -> None:
    found = _parsers(build_parser())
    assert len(found) > 20
    for words, parser in found:
        has_verbs = any(isinstance(a, argparse._SubParsersAction) and a.required for a in parser._actions)
        assert len(parser.format_help()) > 100, words
        assert has_verbs or callable(parser.get_default("run")), words


def test_chat_prints_the_answer_and_stores_both_turns(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("Pip at your service.")
    answer = _json(command("chat", "--json", "--seed", "3", "who", "are", "you?"))
    assert answer["text"] == "Pip at your service."
    assert answer["stop_reason"] == "stop"
    assert answer["seed"] == 3
    shown = _lines(command("chats", "show", str(answer["chat"]), "--json"))
    assert [(m["role"], m["text"]) for m in shown] == [
        ("user", "who are you?"),
        ("assistant", "Pip at your service."),
    ]
    assert shown[1]["id"] == answer["message"]


def test_chat_reads_standard_input(command: Command, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello from a pipe\n"))
    _json(command("chat", "--json", "-"))
    assert engine.requests[-1].turns[-1].content == "hello from a pipe"


def test_the_plain_answer_carries_no_terminal_escape(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("a\x1b]52;c;ZXZpbA==\x07b\x9b31m")
    code, out, _ = command("chat", "say")
    assert code == 0
    assert "\x1b" not in out and "\x07" not in out and "\x9b" not in out
    assert "␛" in out


def test_json_escapes_control_characters(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("a\x9b31m\u202eb")
    code, out, _ = command("chat", "--json", "say")
    assert code == 0
    assert "\x9b" not in out and "\u202e" not in out
    assert json.loads(out)["text"] == "a\x9b31m\u202eb"


def test_gestures_make_examples(command: Command, engine: FakeEngine) -> None:
    engine.enqueue("first", "second")
    one = _json(command("chat", "--json", "q"))
    two = _json(command("chat", "--json", "--regenerate", str(one["message"])))
    kept = _json(command("keep", "--json", str(one["message"])))["example"]
    pair = _json(command("prefer", "--json", str(two["message"]), str(one["message"])))["example"]
    edited = _json(command("edit", "--json", str(one["message"]), "--text", "better"))["example"]
    thumb = _json(command("thumb", "--json", str(one["message"]), "down"))["example"]
    assert [e["kind"] for e in (kept, pair, edited, thumb)] == [
        "demonstration",
        "preference",
        "preference",
        "judgement",
    ]
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("second", "first")
    assert (edited["chosen"][0]["content"], edited["rejected"][0]["content"]) == ("better", "first")
    assert thumb["label"] is False
    assert kept["source"]["message_id"] == one["message"]
    undone = _json(command("examples", "undo", "--json"))
    assert undone["examples"] == [thumb["id"]]
    assert len(_lines(command("examples", "list", "--json"))) == 3


def test_import_decide_export_and_import_again_give_the_same_rows(command: Command, tmp_path: Path) -> None:
    rows = _write_rows(tmp_path / "rows.jsonl")
    report = _json(command("import", "--json", str(rows), "--dataset", "d"))
    assert (report["imported"], report["duplicates"], report["skipped"]) == (4, 0, 0)
    assert report["kinds"]["demonstration"] == 4
    ids = [str(e["id"]) for e in _lines(command("examples", "list", "--json"))]
    _json(command("examples", "accept", "--json", *ids[:3]))
    _json(command("examples", "tag", "--json", ids[0], "--add", "good"))
    _json(command("examples", "split", "--json", ids[1], "--to", "validation"))
    exported = _json(command("export", "--json", "--to", str(tmp_path / "out.jsonl"), "--dataset", "d"))
    assert exported["rows"] == 3
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    again = _json(command("import", "--json", str(rows), "--dataset", "d"))
    assert (again["imported"], again["duplicates"]) == (0, 4)


def test_an_export_over_a_file_that_is_there_needs_a_yes(command: Command, tmp_path: Path) -> None:
    _json(command("import", "--json", str(_write_rows(tmp_path / "rows.jsonl")), "--dataset", "d"))
    target = tmp_path / "mine.jsonl"
    target.write_text("mine", encoding="utf-8")
    words = ("export", "--json", "status:pending", "--to", str(target))
    code, out, err = command(*words)
    assert (code, out) == (2, "") and "--yes" in err
    assert target.read_text(encoding="utf-8") == "mine"
    assert _json(command(*words, "--yes"))["rows"] == 4


def test_an_undo_of_many_examples_asks_first(command: Command, tmp_path: Path) -> None:
    _json(command("import", "--json", str(_write_rows(tmp_path / "rows.jsonl", 51)), "--dataset", "d"))
    code, _, err = command("examples", "undo", "--json")
    assert code == 2 and "adding 51 examples" in err and "--yes" in err
    assert len(_json(command("examples", "undo", "--json", "--yes"))["examples"]) == 51


@pytest.mark.parametrize(
    "words",
    [
        ("examples", "list", "--limit", "0"),
        ("compare", "a", "b", "--limit", "-3"),
        ("examples", "show", "one"),
        ("nosuchcommand",),
        ("chat", "--temperature", "9", "hi"),
    ],
)
def test_wrong_usage_is_said_as_json_when_json_is_asked_for(command: Command, words: tuple[str, ...]) -> None:
    code, out, err = command(*words, "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["kind"] == "usage"
    assert _lines(command("chats", "list", "--json")) == []


def test_results_know_models_by_the_start_of_their_name_and_no_strangers(command: Command) -> None:
    assert command("results", "nosuch", "--json")[0] == 4
    assert _json(command("results", "pi", "--json"))["pairs"] == []
    assert "has the tag nosuch; known: none" in command("results", "--tag", "nosuch")[1]


def test_a_list_that_stops_at_its_limit_says_so(command: Command, tmp_path: Path) -> None:
    _json(command("import", "--json", str(_write_rows(tmp_path / "rows.jsonl", 5)), "--dataset", "d"))
    code, out, err = command("examples", "list", "--json", "--limit", "2")
    assert code == 0 and len(out.splitlines()) == 2
    assert f"2 of 5; go on with --after {json.loads(out.splitlines()[-1])['id']}" in err
    assert command("examples", "list", "--json", "--limit", "5")[2] == ""


def test_a_broken_line_is_refused_with_its_place_and_nothing_comes_in(command: Command, tmp_path: Path) -> None:
    rows = _write_rows(tmp_path / "rows.jsonl")
    with rows.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    code, out, err = command("import", "--json", str(rows), "--dataset", "d")
    assert (code, out) == (3, "")
    error = json.loads(err)["error"]
    assert error["kind"] == "bad-data"
    assert error["where"].endswith("rows.jsonl:5")
    assert _lines(command("examples", "list", "--json")) == []
    report = _json(command("import", "--json", str(rows), "--dataset", "d", "--skip-bad"))
    assert (report["imported"], report["skipped"]) == (4, 1)
    assert report["errors"][0]["line"] == 5


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["examples", "show", "99"], 4, "not-found"),
        (["import", "missing.jsonl"], 4, "not-found"),
        (["examples", "list", "stauts:pending"], 2, "usage"),
        (["train", "--method", "sft", "--dataset", "nothing"], 4, "not-found"),
        (["train", "--method", "sft", "--dataset", "d", "--set", "novalue"], 2, "usage"),
        (["models", "add", "/does/not/exist"], 4, "not-found"),
        (["rate", "--next"], 4, "not-found"),
        (["runs", "show", "none"], 4, "not-found"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_errors_have_a_kind_a_hint_and_an_exit_code(command: Command, words: list[str], code: int, kind: str) -> None:
    got, out, err = command(*words, "--json")
    assert (got, out) == (code, "")
    error = json.loads(err)["error"]
    assert error["kind"] == kind
    assert set(error) == {"kind", "message", "hint", "where"}
    plain_code, _, plain = command(*words)
    assert plain_code == code
    assert plain.startswith("workbench: ")
    assert "Traceback" not in plain


def test_compare_and_rate_from_a_script_without_names_before_the_vote(
    command: Command, engine: FakeEngine, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": [{"role": "user", "content": "hi"}]}) + "\n", encoding="utf-8")
    _json(command("models", "add", "org/other", "--name", "other", "--json"))
    engine.enqueue("one", model="pip")
    engine.enqueue("two", model="other")
    made = _json(command("compare", "pip", "other", "--prompts", str(prompts), "--json"))
    assert made["generated"] == 1
    shown = _json(command("rate", "--next", "--json"))
    assert {shown["left"], shown["right"]} == {"one", "two"}
    assert "pip" not in json.dumps(shown) and "other" not in json.dumps(shown)
    side = "left" if shown["left"] == "two" else "right"
    rating = _json(command("rate", str(shown["comparison"]), side, "--json"))["rating"]
    assert rating[f"{side}_model"] == "other"
    code, _, err = command("rate", str(shown["comparison"]), side, "--json")
    assert code == 5 and "--undo" in json.loads(err)["error"]["hint"]
    (pair,) = _json(command("results", "other", "pip", "--json"))["pairs"]
    assert (pair["a_wins"], pair["b_wins"], pair["win_rate"]) == (1, 0, 1.0)
    assert pair["low"] < 0.5 < pair["high"]
    assert pair["verdict"] == "undecided"


def test_without_a_terminal_the_tui_names_the_commands(command: Command) -> None:
    code, _, err = command()
    assert code == 2
    assert "workbench --help" in err


def test_an_unforeseen_error_is_one_sentence_and_a_log_for_this_user_alone(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no one thought of \x1b]0;this\x07")

    monkeypatch.setattr("workbench.flows.registry.list_models", broken)
    code, out, err = command("models", "list")
    assert (code, out) == (1, "")
    assert "unexpected RuntimeError" in err and "\x1b" not in err
    (log,) = (Path.home() / ".local" / "state" / "workbench" / "log").glob("crash-*.log")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "\x1b" not in log.read_text(encoding="utf-8")


def test_a_view_lists_what_it_was_saved_with(command: Command, tmp_path: Path) -> None:
    path = _write_rows(tmp_path / "rows.jsonl")
    assert command("import", str(path), "--dataset", "d")[0] == 0
    assert command("import", str(_write_rows(tmp_path / "more.jsonl", 2)), "--dataset", "e")[0] == 0
    assert command("examples", "reject", "2")[0] == 0
    saved = _json(command("--json", "views", "save", "todo", "status:pending", "--dataset", "d", "--order=-id"))
    assert saved == {"name": "todo", "dataset": "d", "query": "status:pending", "order": "-id"}
    assert _lines(command("--json", "views", "list")) == [saved]
    assert [row["id"] for row in _lines(command("--json", "examples", "list", "--view", "todo"))] == [4, 3, 1]
    narrowed = command("--json", "examples", "list", "--view", "todo", "--limit", "1", "question 2")
    assert [row["id"] for row in _lines(narrowed)] == [3]
    code, _, err = command("examples", "list", "--view", "todo", "--after", "1")
    assert code == 2 and "--after" in err
    assert command("views", "delete", "todo")[0] == 0
    assert command("examples", "list", "--view", "todo")[0] == 4


def test_models_tell_in_which_numbers_one_is_held_and_unload_gives_it_back(
    command: Command, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = EngineStatus(EngineState.READY, base="pip", device="cpu", dtype="4bit", note="pip was loaded in 4bit")
    monkeypatch.setattr(engine, "status", lambda: held)
    assert [one["loaded"] for one in _lines(command("models", "list", "--json"))] == ["cpu 4bit"]
    assert _json(command("models", "show", "pip", "--json"))["loaded"] == "cpu 4bit"
    assert "pip was loaded in 4bit" in command("chat", "Hello")[2]
    assert _json(command("models", "unload", "--json")) == {"unloaded": ["pip"]}
    monkeypatch.setattr(engine, "status", lambda: EngineStatus(EngineState.OFF))
    assert [one["loaded"] for one in _lines(command("models", "list", "--json"))] == [""]
    assert "no model" in command("models", "unload")[1]

"""The engine client against a scripted server on a Unix socket: no model, no worker, every way to go wrong."""

from __future__ import annotations

import json
import shutil
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.serving import (
    AnswerEnd,
    AnswerEvent,
    AnswerNotice,
    ChatRequest,
    EngineState,
    EngineStatus,
    ModelPlace,
    TextPiece,
    TokenChance,
)
from workbench.errors import EngineError
from workbench.jobs import engine as module
from workbench.jobs.engine import EngineClient
from workbench.jobs.processes import ProcessIdentity, module_argv
from workbench.paths import Workspace

REQUEST = ChatRequest(
    ModelPlace("tuned", "/models/tuned", ModelPlace("base", "/models/base")),
    (Turn("system", "Be brief."), Turn("user", "Hi")),
    Sampling(temperature=0.5, top_p=0.8, max_tokens=9, seed=3),
    stop=("END",),
)
HEALTH = {
    "state": "ready",
    "detail": "",
    "base": "base",
    "adapters": ["tuned"],
    "device": "cpu",
    "dtype": "float32",
    "pid": 1,
    "active": 0,
    "memory_bytes": 5,
    "mixed_batches": 0,
}
LAST_CHUNK = {
    "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}],
    "usage": {
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 3},
    },
    "workbench": {"first_token_ms": 10, "duration_ms": 20, "stop_reason": "length"},
}


def chunk(text: str, tokens: int = 1) -> dict[str, Any]:
    delta = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return delta | {"workbench": {"tokens": tokens}}


class ScriptedServer(socketserver.ThreadingUnixStreamServer):
    """Answers with what it was told: each entry of ``script`` is a chunk, a raw line, or something to do."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.script: list[dict[str, Any] | str | Callable[[], None]] = []
        self.refusal: tuple[int, bytes] | None = None
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.gone = threading.Event()
        super().__init__(path, ScriptedHandler)


class ScriptedHandler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._whole(200, json.dumps(HEALTH).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, body))
        if self.path != "/v1/chat/completions":
            self._whole(200, b"{}")
        elif self.server.refusal:
            self._whole(*self.server.refusal)
        else:
            self._stream()

    def _whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for item in self.server.script:
                if callable(item):
                    item()
                else:
                    self._send(item if isinstance(item, str) else "data: " + json.dumps(item))
        except (BrokenPipeError, ConnectionResetError):
            self.server.gone.set()

    def _send(self, line: str) -> None:
        data = line.encode() + b"\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


@pytest.fixture
def server(workspace: Workspace) -> Iterator[ScriptedServer]:
    workspace.socket.parent.mkdir(mode=0o700, parents=True)
    scripted = ScriptedServer(str(workspace.socket))
    threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield scripted
    scripted.shutdown()
    scripted.server_close()


@pytest.fixture
def client(workspace: Workspace) -> EngineClient:
    return EngineClient(workspace)


def ask(client: EngineClient) -> list[AnswerEvent]:
    return list(client.stream(REQUEST, cancelled=threading.Event()))


def remember(workspace: Workspace, identity: ProcessIdentity) -> None:
    noted = {"pid": identity.pid, "started": identity.started}
    workspace.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    workspace.socket.with_suffix(".pid").write_text(json.dumps(noted))


# Asking


def test_a_question_registers_its_model_and_says_all_it_needs(server: ScriptedServer, client: EngineClient) -> None:
    server.script = [chunk("Hel"), chunk("lo", 2), LAST_CHUNK, "data: [DONE]"]
    events = ask(client)
    assert events == [TextPiece("Hel"), TextPiece("lo"), AnswerEnd(StopReason.LENGTH, 4, 2, 10, 20, 3)]
    (_, registered), (_, asked) = server.posted
    assert registered == {
        "name": "tuned",
        "path": "/models/tuned",
        "base": {"name": "base", "path": "/models/base"},
    }
    assert asked == {
        "model": "tuned",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_p": 0.8,
        "max_tokens": 9,
        "seed": 3,
        "stop": ["END"],
        "stream": True,
    }


def test_a_notice_and_the_chances_of_tokens_are_passed_on(server: ScriptedServer, client: EngineClient) -> None:
    told = {"choices": [{"index": 0, "delta": {}, "finish_reason": None}], "workbench": {"notice": "two turns went"}}
    top = [{"token": "Hi", "logprob": -0.1, "bytes": None}, {"token": "Ho", "logprob": -2.5, "bytes": None}]
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": top}]}
    delta = {"index": 0, "delta": {"content": "Hi"}, "logprobs": logprobs, "finish_reason": None}
    server.script = [told, {"choices": [delta]}, LAST_CHUNK]
    request = replace(REQUEST, trim=True, top_logprobs=2)
    notice, piece, end = client.stream(request, cancelled=threading.Event())
    assert notice == AnswerNotice("two turns went")
    assert piece == TextPiece("Hi", (TokenChance("Hi", -0.1, (("Hi", -0.1), ("Ho", -2.5))),))
    assert isinstance(end, AnswerEnd)
    asked = server.posted[-1][1]
    assert (asked["truncation"], asked["logprobs"], asked["top_logprobs"]) == ("auto", True, 2)


def test_load_progress_in_the_comments_is_passed_on(server: ScriptedServer, client: EngineClient) -> None:
    progress = {"state": "loading", "detail": "loading weights of base…", "base": ""}
    server.script = [": another comment", ": keep-alive " + json.dumps(progress), LAST_CHUNK]
    heard: list[EngineStatus] = []
    events = list(client.stream(REQUEST, cancelled=threading.Event(), on_status=heard.append))
    assert isinstance(events[-1], AnswerEnd)
    assert (heard[-1].state, heard[-1].detail) == (EngineState.LOADING, "loading weights of base…")


def test_a_refusal_keeps_its_message_and_hint(server: ScriptedServer, client: EngineClient) -> None:
    error = {"message": "the conversation is too long", "code": "x", "type": "y", "hint": "start a new chat"}
    server.refusal = (400, json.dumps({"error": error}).encode())
    with pytest.raises(EngineError) as caught:
        ask(client)
    assert (caught.value.message, caught.value.hint) == ("the conversation is too long", "start a new chat")


def test_an_error_in_the_middle_of_an_answer_is_raised(server: ScriptedServer, client: EngineClient) -> None:
    server.script = [chunk("Hel"), {"error": {"message": "out of memory while answering", "hint": ""}}]
    with pytest.raises(EngineError, match="out of memory"):
        ask(client)


def test_an_answer_in_an_unknown_shape_is_an_error_in_words(server: ScriptedServer, client: EngineClient) -> None:
    server.refusal = (500, b"<html>Internal Server Error")
    with pytest.raises(EngineError, match="unknown way"):
        ask(client)


def test_an_answer_without_an_end_is_an_error(server: ScriptedServer, client: EngineClient) -> None:
    server.script = [chunk("Hel")]
    with pytest.raises(EngineError):
        ask(client)


def test_a_cancel_is_noticed_at_the_next_keep_alive_and_closes_the_connection(
    server: ScriptedServer, client: EngineClient
) -> None:
    cancelled = threading.Event()
    silence = ': keep-alive {"state": "ready", "detail": "", "base": "base"}'
    server.script = [chunk("Hel", 7), *[silence, lambda: time.sleep(0.01)] * 500]
    events: list[AnswerEvent] = []
    for event in client.stream(REQUEST, cancelled=cancelled):
        events.append(event)
        cancelled.set()
    assert events[0] == TextPiece("Hel")
    assert isinstance(events[-1], AnswerEnd)
    assert (events[-1].stop_reason, events[-1].tokens) == (StopReason.CANCELLED, 7)
    assert server.gone.wait(20)


def test_a_closed_generator_closes_the_connection(server: ScriptedServer, client: EngineClient) -> None:
    server.script = [chunk("Hel"), *[chunk("lo"), lambda: time.sleep(0.01)] * 500]
    events = client.stream(REQUEST, cancelled=threading.Event())
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert server.gone.wait(20)


# Looking


def test_no_engine_was_ever_started(client: EngineClient) -> None:
    assert client.status() == EngineStatus(EngineState.OFF)


def test_the_status_is_the_engines_own(server: ScriptedServer, client: EngineClient) -> None:
    status = client.status()
    assert (status.state, status.base, status.adapters) == (EngineState.READY, "base", ("tuned",))
    assert (status.device, status.dtype, status.pid, status.memory_bytes) == ("cpu", "float32", 1, 5)


def test_an_engine_that_loads_otherwise_than_wanted_says_so(
    server: ScriptedServer, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HEALTH, "precision", "auto")
    assert client.status().note == ""
    monkeypatch.setitem(HEALTH, "precision", "4bit")
    assert "precision 4bit until the model is unloaded, then auto" in client.status().note
    client.ensure()  # with a base in memory it stays
    assert client.status().state is EngineState.READY


def test_an_engine_that_has_nothing_loaded_is_replaced_by_one_that_loads_as_wanted(
    server: ScriptedServer, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"precision": "4bit", "state": "idle", "base": "", "adapters": []}.items():
        monkeypatch.setitem(HEALTH, name, value)
    asked: list[str] = []

    def started_anew(self: EngineClient) -> ProcessIdentity:
        asked.append("started")
        return ProcessIdentity.own()

    def ended(self: EngineClient) -> None:
        asked.append("ended")
        HEALTH["precision"] = "auto"  # what answers next is another one

    monkeypatch.setattr(EngineClient, "shutdown", ended)
    monkeypatch.setattr(EngineClient, "_spawn", started_anew)
    client.ensure()
    assert asked == ["ended"]


def test_a_remembered_process_that_lives_is_starting(workspace: Workspace, client: EngineClient) -> None:
    remember(workspace, ProcessIdentity.own())
    assert client.status().state is EngineState.STARTING


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("engine 5 serves x\n", "killed"),
        ("engine 5 serves x\nengine 5 ended\n", "ended at once"),
        ("Traceback (old)\nOldError\nengine 5 serves x\n", "killed"),
        (
            "engine 5 serves x\nTraceback (most recent call last):\n  ...\nImportError: no torch\n",
            "ImportError: no torch",
        ),
    ],
)
def test_a_remembered_process_that_is_gone_died(
    workspace: Workspace, client: EngineClient, log: str, said: str
) -> None:
    remember(workspace, ProcessIdentity(ProcessIdentity.own().pid, 1.0))
    workspace.engine_log.parent.mkdir(parents=True)
    workspace.engine_log.write_text(log)
    status = client.status()
    assert status.state is EngineState.DIED
    assert said in status.detail


def test_shutting_down_forgets_an_engine_that_died(workspace: Workspace, client: EngineClient) -> None:
    remember(workspace, ProcessIdentity(ProcessIdentity.own().pid, 1.0))
    client.shutdown()
    assert client.status().state is EngineState.OFF


def test_a_broken_pid_file_is_no_engine(workspace: Workspace, client: EngineClient) -> None:
    workspace.socket.parent.mkdir(mode=0o700, parents=True)
    workspace.socket.with_suffix(".pid").write_text("not json")
    assert client.status().state is EngineState.OFF


def test_a_socket_that_nobody_serves_is_no_engine(workspace: Workspace, client: EngineClient) -> None:
    workspace.socket.parent.mkdir(mode=0o700, parents=True)
    socketserver.UnixStreamServer(str(workspace.socket), ScriptedHandler).server_close()
    assert workspace.socket.exists()
    assert client.status().state is EngineState.OFF


# Starting


def test_an_engine_that_cannot_start_says_why(
    client: EngineClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "import sys; print('no room in the runtime folder', file=sys.stderr); sys.exit(1)"]
    monkeypatch.setattr(module, "module_argv", lambda *_: command)
    heard: list[EngineStatus] = []
    with pytest.raises(EngineError, match="no room in the runtime folder") as caught:
        client.ensure(heard.append)
    assert str(workspace.engine_log) in caught.value.hint
    assert [status.state for status in heard] == [EngineState.STARTING] * module.START_ATTEMPTS


def test_a_cancel_while_it_starts_ends_the_answer(client: EngineClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "module_argv", lambda *_: [sys.executable, "-c", "import time; time.sleep(5)"])
    cancelled = threading.Event()
    heard = []

    def on_status(status: EngineStatus) -> None:
        heard.append(status)
        cancelled.set()

    events = list(client.stream(REQUEST, cancelled=cancelled, on_status=on_status))
    assert isinstance(events[0], AnswerEnd)
    assert events[0].stop_reason is StopReason.CANCELLED
    assert heard[0].state is EngineState.STARTING


def test_a_running_engine_is_not_started_again(
    server: ScriptedServer, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> list[str]:
        raise AssertionError("it runs already")

    monkeypatch.setattr(module, "module_argv", refuse)
    client.ensure()
    assert client.status().state is EngineState.READY


def test_the_command_names_socket_limit_and_precision(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []

    def note(*words: str) -> list[str]:
        seen.append(words)
        return [sys.executable, "-c", ""]

    monkeypatch.setattr(module, "module_argv", note)
    with pytest.raises(EngineError):
        EngineClient(workspace, idle_minutes=7, precision="4bit").ensure()
    options = ("--idle-minutes", "7", "--precision", "4bit")
    assert seen[0] == ("workbench.worker.engine", "--socket", str(workspace.socket), *options)
    assert module_argv("x")[1:] == ["-P", "-m", "x"]


def test_a_long_log_is_begun_anew(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, client: EngineClient) -> None:
    monkeypatch.setattr(module, "module_argv", lambda *_: [sys.executable, "-c", ""])
    monkeypatch.setattr(module, "LOG_LIMIT_BYTES", 10)
    workspace.engine_log.parent.mkdir(parents=True)
    workspace.engine_log.write_text("x" * 11)
    with pytest.raises(EngineError):
        client.ensure()
    assert "x" not in workspace.engine_log.read_text()


def test_a_deep_workspace_still_has_a_socket_path_that_fits() -> None:
    folder = Path(tempfile.mkdtemp(prefix="wb-"))
    try:
        deep = Workspace(folder / ("deep" * 40))
        assert len(str(deep.socket).encode()) <= 107
    finally:
        shutil.rmtree(folder)

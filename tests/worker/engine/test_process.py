"""The engine as a process: its socket, the official protocol over it, cancel, death and return."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.serving import AnswerEnd, AnswerEvent, ChatRequest, EngineState, TextPiece
from workbench.errors import EngineError
from workbench.jobs.engine import EngineClient
from workbench.jobs.processes import ProcessIdentity
from workbench.paths import Workspace
from workbench.worker.engine.__main__ import answers, listen, make_private_folder

pytestmark = pytest.mark.ml

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=24, seed=1)
ENDLESS = Sampling(temperature=0.0, top_p=1.0, max_tokens=900_000, seed=1)
HELLO = (Turn("user", "Hi"),)


def answer(client: EngineClient, models: Any, name: str, sampling: Sampling = GREEDY) -> tuple[str, AnswerEnd]:
    request = ChatRequest(models.place(name), HELLO, sampling)
    events = list(client.stream(request, cancelled=threading.Event()))
    assert isinstance(events[-1], AnswerEnd)
    return "".join(e.text for e in events if isinstance(e, TextPiece)), events[-1]


def http(client: EngineClient) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(client._socket)), base_url="http://engine", timeout=60)


def eventually(condition: Callable[[], bool]) -> bool:
    """True once the condition holds; False after half a minute, which is no measurement but a way out."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def active(client: EngineClient) -> int:
    return int(client.status().active)


def test_only_its_user_can_reach_the_socket(client: EngineClient) -> None:
    assert client._socket.stat().st_mode & 0o777 == 0o600
    assert client._socket.parent.stat().st_mode & 0o777 == 0o700


def test_the_client_hears_text_and_one_end(client: EngineClient, tiny_models: Any) -> None:
    text, end = answer(client, tiny_models, "base")
    assert text
    assert (end.stop_reason, end.tokens) == (StopReason.LENGTH, 24)
    assert 0 < end.first_token_ms <= end.duration_ms
    status = client.status()
    assert (status.state, status.base, status.device, status.dtype) == (EngineState.READY, "base", "cpu", "float32")
    assert status.memory_bytes > 0


def test_the_official_protocol_streams(client: EngineClient, tiny_models: Any) -> None:
    expected, _ = answer(client, tiny_models, "tuned")
    body = {
        "model": "tuned",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "max_completion_tokens": 24,
        "temperature": 0,
        "stream": True,
    }
    with http(client) as plain, plain.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(item) for item in data[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == expected
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 24


def test_the_official_protocol_answers_in_one_piece(client: EngineClient, tiny_models: Any) -> None:
    expected, _ = answer(client, tiny_models, "base")
    body = {"model": "base", "messages": [HELLO[0].as_dict()], "max_tokens": 24, "temperature": 0}
    with http(client) as plain:
        whole = plain.post("/v1/chat/completions", json=body).json()
        names = [model["id"] for model in plain.get("/v1/models").json()["data"]]
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": expected}
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + 24
    assert "base" in names


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "nobody"}, 404, "model_not_found"),
        ({"temperature": -1}, 400, "invalid_value"),
        ({"messages": []}, 400, "invalid_value"),
        ({"messages": [{"role": "user", "content": "x" * 300}]}, 400, "context_length_exceeded"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "chat_template_error"),
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
    ],
)
def test_refusals_have_the_official_shape(
    client: EngineClient, tiny_models: Any, change: dict[str, Any], status: int, code: str
) -> None:
    answer(client, tiny_models, "base")
    body = {"model": "base", "messages": [HELLO[0].as_dict()], "stream": False} | change
    with http(client) as plain:
        response = plain.post("/v1/chat/completions", json=body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["message"]


def test_base_and_tuned_asked_at_once_run_in_one_mixed_batch(client: EngineClient, tiny_models: Any) -> None:
    alone = {name: answer(client, tiny_models, name)[0] for name in ("base", "tuned")}
    with http(client) as plain:
        before = plain.get("/health").json()["mixed_batches"]
        for _ in range(10):  # they need to arrive within some milliseconds of each other, on a busy machine too
            found: dict[str, str] = {}
            threads = [
                threading.Thread(target=lambda n=name, into=found: into.update({n: answer(client, tiny_models, n)[0]}))
                for name in ("base", "tuned")
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert found == alone
            if plain.get("/health").json()["mixed_batches"] > before:
                return
    pytest.fail("never in one batch")


def test_a_client_that_goes_away_frees_its_row(client: EngineClient, tiny_models: Any) -> None:
    answer(client, tiny_models, "endless", GREEDY)
    body = {"model": "endless", "messages": [HELLO[0].as_dict()], "max_tokens": 900_000, "stream": True}
    with http(client) as plain, plain.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()  # held: the connection closes with it
        next(line for line in lines if '"content"' in line)
        assert eventually(lambda: active(client) == 1), client.status()
    assert eventually(lambda: active(client) == 0)


def test_a_cancelled_answer_ends_with_what_had_come(client: EngineClient, tiny_models: Any) -> None:
    cancelled = threading.Event()
    events: list[AnswerEvent] = []
    for event in client.stream(ChatRequest(tiny_models.place("endless"), HELLO, ENDLESS), cancelled=cancelled):
        events.append(event)
        cancelled.set()
    assert isinstance(events[-1], AnswerEnd)
    assert events[-1].stop_reason is StopReason.CANCELLED
    assert events[-1].tokens >= 1
    assert eventually(lambda: active(client) == 0)


def test_unloading_gives_the_model_back_and_the_next_question_loads_it(client: EngineClient, tiny_models: Any) -> None:
    before, _ = answer(client, tiny_models, "tuned")
    client.unload()
    status = client.status()
    assert (status.state, status.base, status.adapters) == (EngineState.IDLE, "", ())
    assert answer(client, tiny_models, "tuned")[0] == before


def test_a_killed_engine_is_told_of_and_comes_back(workspace: Workspace, tiny_models: Any) -> None:
    client = EngineClient(workspace, idle_minutes=2)
    heard: list[str] = []
    try:
        request = ChatRequest(tiny_models.place("endless"), HELLO, ENDLESS)
        stream = client.stream(request, cancelled=threading.Event(), on_status=lambda s: heard.append(s.detail))
        next(stream)
        pid = client.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="died"):
            for _ in stream:
                pass
        status = client.status()
        assert status.state is EngineState.DIED
        assert "killed" in status.detail
        client.ensure()
        assert client.status().state not in {EngineState.DIED, EngineState.OFF}
        assert answer(client, tiny_models, "base")[1].tokens == 24
    finally:
        client.shutdown()
    assert client.status().state is EngineState.OFF
    assert any("importing torch" in detail for detail in heard)


def test_two_benches_that_start_it_at_once_get_one_engine(workspace: Workspace) -> None:
    clients = [EngineClient(workspace, idle_minutes=2) for _ in range(2)]
    threads = [threading.Thread(target=client.ensure) for client in clients]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pids = {client.status().pid for client in clients}
        assert len(pids) == 1
        assert None not in pids
        assert eventually(lambda: _engines(workspace.socket) == pids)
    finally:
        clients[0].shutdown()


@pytest.mark.parametrize("ask_to_end", ["idle", "sigterm"])
def test_an_engine_that_ends_as_it_should_is_off_and_leaves_nothing(workspace: Workspace, ask_to_end: str) -> None:
    client = EngineClient(workspace, idle_minutes=0.05 if ask_to_end == "idle" else 2)
    client.ensure()
    pid = client.status().pid
    if ask_to_end == "sigterm" and pid is not None:
        os.kill(pid, signal.SIGTERM)
    assert eventually(lambda: client.status().state is EngineState.OFF)
    assert not workspace.socket.exists()
    assert not workspace.socket.with_suffix(".pid").exists()


def test_an_engine_whose_socket_was_taken_away_does_not_stay(workspace: Workspace) -> None:
    client = EngineClient(workspace, idle_minutes=2)
    client.ensure()
    pid = client.status().pid
    assert pid is not None
    shutil.rmtree(workspace.socket.parent)
    assert eventually(lambda: ProcessIdentity.of(pid) is None)


def test_a_dead_engines_socket_is_replaced_and_a_living_servers_is_not(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="wb-"))
    try:
        first = listen(folder / "s")
        with pytest.raises(SystemExit, match="answers"):
            listen(folder / "s")
        first.close()
        with listen(folder / "s"):
            assert answers(folder / "s")
    finally:
        shutil.rmtree(folder)


def test_a_folder_that_others_can_enter_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    make_private_folder(tmp_path / "open")
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(SystemExit, match="somebody else"):
        make_private_folder(tmp_path / "link")


def _engines(path: Path) -> set[int | None]:
    """Processes that were started as an engine on this socket."""
    found: set[int | None] = set()
    for process in psutil.process_iter(["cmdline", "status"]):
        if str(path) in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(process.pid)
    return found

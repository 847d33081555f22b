"""Served models, asked by OpenAI's own client, by others, and by those who may not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from workbench.domain.serving import ServeLimits, ServeSpec
from workbench.jobs.processes import child_environment, module_argv
from workbench.worker.engine.desk import Desk
from workbench.worker.engine.port import Port

pytestmark = pytest.mark.ml

KEY = "sk-a-secret-of-these-tests"
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 24}


class Served:
    """A server process, as the command starts it."""

    def __init__(self, spec: ServeSpec) -> None:
        argv = module_argv("workbench.worker.engine.port", json.dumps(spec.as_dict()), str(os.getpid()))
        environment = child_environment({"SERVE_KEY": KEY, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment, text=True)
        assert self.process.stdout is not None
        self.said = json.loads(next(self.process.stdout))
        self.url = self.said.get("url", "")
        self.root = self.url.removesuffix("/v1")

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(**({"base_url": self.url, "api_key": KEY, "max_retries": 0} | options))

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def spec(tiny_models: Any) -> ServeSpec:
    models = tuple(tiny_models.place(name) for name in ("base", "tuned"))
    limits = ServeLimits(concurrent=6, body_bytes=20_000, max_tokens=1000, seconds=60)
    return ServeSpec(models, port=0, api_key_env="SERVE_KEY", origins=("https://mine.example",), limits=limits)


@pytest.fixture(scope="module")
def served(spec: ServeSpec) -> Iterator[Served]:
    server = Served(spec)
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def endless(tiny_models: Any) -> Iterator[Served]:
    """A model that never stops, served without a key to this machine alone."""
    limits = ServeLimits(concurrent=2, max_tokens=0, seconds=0)
    server = Served(ServeSpec((tiny_models.place("endless"),), port=0, drain_seconds=2, limits=limits))
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with served.client() as client:
        yield client


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


# OpenAI's client


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tuned", messages=HELLO, **GREEDY)
    assert whole.choices[0].finish_reason == "length"
    options: Any = {"include_usage": True}
    *chunks, last = client.chat.completions.create(
        model="tuned", messages=HELLO, stream=True, stream_options=options, **GREEDY
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text_of(whole)
    assert len(chunks) > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["length"]
    assert (last.choices, last.usage.completion_tokens) == ([], 24)
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens


def test_base_and_adapter_answer_each_by_its_name(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["base", "tuned"]
    assert client.models.retrieve("tuned").id == "tuned"
    answers = {
        name: text_of(client.chat.completions.create(model=name, messages=HELLO, **GREEDY))
        for name in ("base", "tuned")
    }
    assert answers["base"] != answers["tuned"]


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    whole = text_of(client.chat.completions.create(model="base", messages=HELLO, **GREEDY))
    stopped = client.chat.completions.create(model="base", messages=HELLO, stop=[whole[5:8]], **GREEDY)
    assert text_of(stopped) == whole[: whole.index(whole[5:8])]
    assert stopped.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("streamed", [False, True])
def test_n_answers_are_those_of_n_seeds(client: openai.OpenAI, streamed: bool) -> None:
    sampled: dict[str, Any] = {"model": "tuned", "messages": HELLO, "temperature": 1, "max_tokens": 24}
    alone = [text_of(client.chat.completions.create(**sampled, seed=7 + i)) for i in range(3)]
    assert len(set(alone)) == 3
    if not streamed:
        answer = client.chat.completions.create(**sampled, seed=7, n=3)
        assert [choice.message.content for choice in answer.choices] == alone
        assert answer.usage is not None and answer.usage.completion_tokens > 24
        return
    told = ["", "", ""]
    for chunk in client.chat.completions.create(**sampled, seed=7, n=3, stream=True):
        for choice in chunk.choices:
            told[choice.index] += choice.delta.content or ""
    assert told == alone


def test_log_probabilities_come_with_their_tokens(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="base", messages=HELLO, logprobs=True, top_logprobs=3, temperature=0, max_tokens=6
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None and len(logprobs.content) == 6
    for token in logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.token == token.top_logprobs[0].token  # greedy
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)
    chunks = list(
        client.chat.completions.create(
            model="base", messages=HELLO, logprobs=True, temperature=0, max_tokens=6, stream=True
        )
    )
    streamed = [each.logprob for c in chunks if c.choices[0].logprobs for each in c.choices[0].logprobs.content or []]
    assert streamed == pytest.approx([token.logprob for token in logprobs.content])


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model_not_found"),
        ({"model": []}, openai.BadRequestError, "invalid_value"),
        ({"temperature": 9}, openai.BadRequestError, "invalid_value"),
        ({"stop": True}, openai.BadRequestError, "invalid_value"),
        ({"max_tokens": 1001}, openai.BadRequestError, "invalid_value"),
        ({"messages": [{"role": "user", "content": "x" * 300}]}, openai.BadRequestError, "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": "x" * 30_000}]}, openai.APIStatusError, "request_too_large"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "unsupported_parameter"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_errors_are_the_clients_own(
    client: openai.OpenAI, change: dict[str, Any], error: type[openai.APIStatusError], code: str, streamed: bool
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**({"model": "base", "messages": HELLO, "stream": streamed} | change))
    assert caught.value.code == code


def test_an_address_that_is_not_there_is_told_in_the_clients_own_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="POST /v1/completions is not answered here") as caught:
        client.completions.create(model="base", prompt="Hi")
    assert caught.value.code == "unknown_url" and "/v1/chat/completions" in caught.value.body["hint"]  # type: ignore[index]


def test_a_chat_that_is_too_long_loses_its_oldest_turns_when_asked_to_and_says_so(client: openai.OpenAI) -> None:
    chat = [{"role": ("user", "assistant")[i % 2], "content": f"{i} " + "x" * 60} for i in range(9)]
    given: Any = {"model": "base", "messages": chat, "max_tokens": 4, "temperature": 0}
    with pytest.raises(openai.BadRequestError, match="tokens long"):
        client.chat.completions.create(**given)
    answer = client.chat.completions.create(**given, extra_body={"truncation": "auto"})
    notice = answer.model_dump()["workbench"]["notice"]
    assert "oldest turns were left out" in notice
    assert answer.usage is not None and answer.usage.prompt_tokens < 256


def test_a_client_that_stops_listening_frees_its_place(endless: Served) -> None:
    with endless.client(api_key="none is needed") as client:
        stream = client.chat.completions.create(model="endless", messages=HELLO, stream=True, max_tokens=900_000)
        next(iter(stream))
        assert eventually(lambda: active(endless) == 1)
        stream.close()
    assert eventually(lambda: active(endless) == 0)


def active(served: Served) -> float:
    return measured(served, "workbench_active_answers")


def measured(served: Served, name: str) -> float:
    page = httpx.get(f"{served.root}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    lines = [line for line in page.splitlines() if line.startswith(name) and not line.startswith("#")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


# Who may ask


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/health", {"Authorization": ""}, 200),
        ("/v1/models", {}, 200),
        ("/v1/models", {"Authorization": ""}, 401),
        ("/v1/models", {"Authorization": f"Bearer {KEY}x"}, 401),
        ("/v1/models", {"Authorization": f"Basic {KEY}"}, 401),
        ("/metrics", {"Authorization": ""}, 401),
        ("/v1/models", {"Host": "evil.example:8000"}, 403),
        ("/health", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/v1/models", {"Host": "localhost"}, 200),
        ("/v1/models", {"Host": "[::1]:80"}, 200),
        ("/v1/models", {"Origin": "https://evil.example"}, 403),
        ("/v1/models", {"Origin": "null"}, 403),
        ("/v1/models", {"Origin": "https://mine.example"}, 200),
    ],
)
def test_who_may_ask(served: Served, path: str, headers: dict[str, str], status: int) -> None:
    given = {"Authorization": f"Bearer {KEY}"} | headers
    response = httpx.get(served.root + path, headers=given)
    assert response.status_code == status
    if status != 200:
        assert response.json()["error"]["message"]


def test_a_page_may_only_send_what_a_browser_asks_for_first(served: Served) -> None:
    body = json.dumps({"model": "base", "messages": HELLO, "max_tokens": 1})
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "text/plain"}
    assert httpx.post(f"{served.url}/chat/completions", content=body, headers=given).status_code == 415
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = httpx.options(f"{served.url}/chat/completions", headers={"Origin": "https://mine.example"} | asked)
    assert allowed.headers["access-control-allow-origin"] == "https://mine.example"
    refused = httpx.options(f"{served.url}/chat/completions", headers={"Origin": "https://evil.example"} | asked)
    assert "access-control-allow-origin" not in refused.headers


def test_a_body_without_a_length_is_cut_off_at_the_limit(served: Served) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * 5000

    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    response = httpx.post(f"{served.url}/chat/completions", content=parts(), headers=given)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(("host", "key"), [("0.0.0.0", ""), ("127.0.0.1", "AN_EMPTY_VARIABLE")])
def test_without_a_key_it_is_not_served_to_others(spec: ServeSpec, host: str, key: str) -> None:
    server = Served(replace(spec, host=host, api_key_env=key))
    assert server.process.wait(30) == 1
    assert "API key" in server.said["error"]


def test_a_port_that_is_taken_is_told_of(spec: ServeSpec) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Served(replace(spec, port=taken.getsockname()[1]))
        assert server.process.wait(30) == 6
    assert "in use" in server.said["error"]


def test_a_model_that_cannot_be_served_ends_it_at_once(spec: ServeSpec, tiny_models: Any) -> None:
    server = Served(replace(spec, models=(tiny_models.place("base"), tiny_models.place("pissa"))))
    assert server.process.wait(60) == 1
    assert "cannot be served" in server.said["error"]


# Clients that misbehave


@pytest.fixture
def hurried(tiny_models: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The guarded port in this process, with little time for heads and bodies; nothing behind it answers."""
    import uvicorn

    from workbench.worker.engine import connections, guarding
    from workbench.worker.engine.port import listen

    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(guarding, "BODY_SECONDS", 0.2)
    spec = ServeSpec((tiny_models.place("base"),), port=0)
    desk = Desk()
    desk.register("base", tiny_models.place("base").path, None)
    app = Port(desk, spec, "").app()
    config = uvicorn.Config(app, http=connections.TimedConnection, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()
        server.should_exit = True
        thread.join(30)


def heard_of(address: tuple[str, int], *parts: bytes) -> bytes:
    """All that a connection says to these bytes, until it is closed from there."""
    with socket.create_connection(address, timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65536), b""))


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("begun", [b"", b"GET /health HT", POST])
def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(hurried: tuple[str, int], begun: bytes) -> None:
    assert heard_of(hurried, begun) == b""


def test_the_beginning_of_a_second_request_is_not_waited_for_either(hurried: tuple[str, int]) -> None:
    told = heard_of(hurried, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /v1/mod")
    assert told.startswith(b"HTTP/1.1 200") and told.count(b"HTTP/1.1") == 1


def test_a_body_that_does_not_come_to_its_end_is_not_waited_for(hurried: tuple[str, int]) -> None:
    told = heard_of(hurried, POST + b"Content-Length: 100\r\n\r\n", b'{"model"')
    assert told.startswith(b"HTTP/1.1 408") and b"request_timeout" in told


def test_a_head_without_end_is_refused(hurried: tuple[str, int]) -> None:
    assert b" 400 " in heard_of(hurried, POST + b"X: " + b"x" * 70_000)[:20]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{",
        b"[" * 100_000,
        b'{"model": "base", "messages": ' + b"[" * 100_000,
        b"[]",
        b"nul",
        b'{"seed": 1e999}',
    ],
)
def test_what_is_no_request_is_refused_as_such(served: Served, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    limited = body[:19_000]
    response = httpx.post(f"{served.url}/chat/completions", content=limited, headers=headers)
    assert response.status_code == 400 and response.json()["error"]["message"]


def test_halves_of_characters_are_replaced_wherever_they_stand(served: Served) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    def post(**given: Any) -> httpx.Response:
        body = {"model": "base", "messages": HELLO, "max_tokens": 2} | given
        return httpx.post(f"{served.url}/chat/completions", content=json.dumps(body), headers=headers)

    assert post(messages=[{"role": "user", "content": "half \ud83d"}], stop=["\udc00"]).status_code == 200
    for odd in ({"model": "\ud83d"}, {"messages": [{"role": "\ud83d", "content": "Hi"}]}):
        response = post(**odd)
        assert 400 <= response.status_code < 500 and response.json()["error"]["message"]


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_error(
    hurried: tuple[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with socket.create_connection(hurried, timeout=30) as connection:
            connection.sendall(POST + b'Content-Length: 100\r\n\r\n{"model"')
    assert heard_of(hurried, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert "Traceback" not in capfd.readouterr().err


# Limits, counts and the end


def test_more_at_a_time_than_allowed_are_told_to_come_back(endless: Served) -> None:
    given: Any = {"model": "endless", "messages": HELLO, "stream": True, "max_tokens": 900_000}
    with endless.client() as client:
        streams = [client.chat.completions.create(**given) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**given)
        assert caught.value.response.headers["retry-after"]
        for stream in streams:
            stream.close()
        assert eventually(lambda: active(endless) == 0)
        client.chat.completions.create(**(given | {"stream": False, "max_tokens": 3}))


async def test_an_answer_that_takes_too_long_ends_with_an_error(spec: ServeSpec) -> None:
    port, desk = without_a_model(replace(spec, limits=ServeLimits(seconds=0.1)))
    given = {"model": "base", "messages": HELLO}
    async with asking(port) as plain:
        whole = await plain.post("/v1/chat/completions", json=given)
        streamed = await plain.post("/v1/chat/completions", json=given | {"stream": True})
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "time_limit")
    assert "longer than 0.1 seconds" in streamed.text
    assert all(row.cancelled for row in desk.queue)


async def test_a_client_that_stops_reading_gives_its_place_back_when_the_time_is_over(
    spec: ServeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.engine import answering

    monkeypatch.setattr(answering, "SEND_SECONDS", 0.1)
    port, desk = without_a_model(replace(spec, limits=ServeLimits(seconds=0.1, concurrent=1)))
    given = {"model": "base", "messages": HELLO, "stream": True}
    async with asyncio.timeout(30):
        await ask_and_never_read(port, given)
    assert all(row.cancelled for row in desk.queue)
    async with asking(port) as plain:
        assert "longer than 0.1 seconds" in (await plain.post("/v1/chat/completions", json=given)).text
        assert 'outcome="time_limit"} 2.0' in (await plain.get("/metrics")).text


async def ask_and_never_read(port: Port, body: dict[str, Any]) -> None:
    """Post it as a client whose connection takes nothing any more."""
    headers = {"host": "localhost", "authorization": f"Bearer {KEY}", "content-type": "application/json"}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions", "query_string": b"",
        "root_path": "", "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        return waiting.pop() if waiting else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        await asyncio.Event().wait()

    await port.app()(scope, receive, send)


async def test_while_it_loads_it_is_not_healthy(spec: ServeSpec) -> None:
    port, _ = without_a_model(spec)
    async with asking(port) as plain:
        assert (await plain.get("/health")).status_code == 503
        port.is_ready = True
        assert (await plain.get("/health")).status_code == 200


def without_a_model(spec: ServeSpec) -> tuple[Port, Desk]:
    """The endpoints in this process, with nobody behind the desk."""
    desk = Desk()
    for place in spec.models:
        desk.register(place.name, place.path, None)
    return Port(desk, spec, KEY), desk


def asking(port: Port) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(port.app())
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def test_what_was_answered_is_counted(served: Served, client: openai.OpenAI) -> None:
    names = ("workbench_requests_total", "workbench_completion_tokens_total", "workbench_first_token_seconds_count")
    before = [measured(served, f'{name}{{model="tuned"') for name in names]
    client.chat.completions.create(model="tuned", messages=HELLO, n=2, max_tokens=5, temperature=0)
    assert eventually(
        lambda: [measured(served, f'{n}{{model="tuned"') - b for n, b in zip(names, before, strict=True)] == [1, 10, 2]
    )
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="tuned", messages=HELLO, temperature=9)
    assert measured(served, 'workbench_requests_total{model="tuned",outcome="invalid_value"}') >= 1


def test_what_was_turned_away_at_the_door_is_counted_too(served: Served) -> None:
    url, key = f"{served.url}/chat/completions", {"Authorization": f"Bearer {KEY}"}
    as_json = {"Content-Type": "application/json"}
    sent: list[tuple[str, dict[str, str], bytes]] = [
        ("invalid_api_key", as_json, b"{}"),
        ("unsupported_media_type", key, b"{}"),
        ("request_too_large", key | as_json, b"x" * 30_000),
        ("invalid_json", key | as_json, b"nothing"),
    ]
    names = [f'workbench_requests_total{{model="",outcome="{code}"}}' for code, _, _ in sent]
    before = [measured(served, name) for name in names]
    for _, headers, body in sent:
        assert httpx.post(url, headers=headers, content=body).status_code >= 400
    assert [measured(served, name) - was for name, was in zip(names, before, strict=True)] == [1, 1, 1, 1]


def test_the_tokens_of_an_answer_that_was_broken_off_are_counted(endless: Served) -> None:
    cancelled = 'workbench_requests_total{model="endless",outcome="cancelled"}'
    read = 'workbench_prompt_tokens_total{model="endless"}'
    with endless.client() as client:
        whole = client.chat.completions.create(model="endless", messages=HELLO, max_tokens=2)
    assert whole.usage is not None and eventually(lambda: measured(endless, read) > 0)
    prompt_before = measured(endless, read)
    before, drawn = measured(endless, cancelled), measured(endless, "workbench_completion_tokens_total")
    with endless.client() as client:
        stream = client.chat.completions.create(model="endless", messages=HELLO, stream=True, max_tokens=900_000)
        chunks = iter(stream)
        heard = [next(chunks) for _ in range(12)]
        stream.close()
    assert eventually(lambda: measured(endless, cancelled) == before + 1)
    assert heard and measured(endless, "workbench_completion_tokens_total") >= drawn + 10
    assert measured(endless, read) == prompt_before + whole.usage.prompt_tokens


def test_an_answer_without_end_is_cut_off_when_the_time_to_drain_is_over(endless: Served) -> None:
    with endless.client() as client:
        stream = client.chat.completions.create(model="endless", messages=HELLO, stream=True, max_tokens=900_000)
        chunks = iter(stream)
        next(chunks)
        endless.process.send_signal(signal.SIGTERM)
        with pytest.raises((httpx.HTTPError, openai.APIError)):
            for _ in chunks:
                pass
    assert endless.process.wait(30) == 0


def test_it_ends_with_the_process_that_started_it(spec: ServeSpec) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    argv = module_argv("workbench.worker.engine.port", json.dumps(spec.as_dict()), str(parent.pid))
    orphan = subprocess.Popen(argv, env=child_environment({"SERVE_KEY": KEY}), stdout=subprocess.DEVNULL)
    parent.kill()
    parent.wait()
    assert orphan.wait(60) == 0


def test_answers_of_many_clients_at_once_are_those_of_one(client: openai.OpenAI) -> None:
    asked = [(name, f"Tell me about {thing}") for name in ("base", "tuned") for thing in ("a", "bb", "ccc")]
    ask = lambda name, text: text_of(  # noqa: E731
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": text}], **GREEDY)
    )
    alone = {each: ask(*each) for each in asked}
    found: dict[tuple[str, str], str] = {}
    threads = [threading.Thread(target=lambda e=each: found.update({e: ask(*e)})) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_sigterm_lets_answers_end_and_takes_no_new_ones(served: Served, client: openai.OpenAI) -> None:
    """The last test with this server."""
    given: Any = {"model": "tuned", "messages": HELLO, "max_tokens": 200, "temperature": 1, "seed": 1, "n": 6}
    whole = client.chat.completions.create(**given)
    chunks = iter(client.chat.completions.create(**given, stream=True))
    told = ["" for _ in range(6)]
    for number, chunk in enumerate(chunks):
        if number == 10:
            served.process.send_signal(signal.SIGTERM)
        for choice in chunk.choices:
            told[choice.index] += choice.delta.content or ""
    assert told == [choice.message.content for choice in whole.choices]
    assert served.process.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(served.root.rpartition(":")[2])), timeout=5)

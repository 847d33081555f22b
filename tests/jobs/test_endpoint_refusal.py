"""What servers say when they do not answer, in the words of vLLM 0.32: told, with a way out, and asked once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from endpoints import FakeServer, chunk, refuses, says, send
from workbench.domain.chats import Sampling, Turn
from workbench.domain.endpoints import checked_endpoint
from workbench.domain.serving import AnswerEvent, AnswerNotice, ChatRequest, ModelPlace, TextPiece
from workbench.errors import EngineError
from workbench.jobs.endpoint import EndpointClient, Patience

AT_ONCE = Patience(connect=5, silence=5, pause=0.001)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


def ask(server: FakeServer, *turns: Turn, trim: bool = False) -> list[AnswerEvent]:
    endpoint = checked_endpoint(server.url, "tuned")
    place = ModelPlace("there", endpoint.address, endpoint=endpoint)
    request = ChatRequest(place, turns or (Turn("user", "hi"),), Sampling(0.5, 0.9, 64, seed=7), trim=trim)
    return list(EndpointClient(AT_ONCE).stream(request, cancelled=threading.Event()))


def refused(server: FakeServer) -> EngineError:
    with pytest.raises(EngineError) as caught:
        ask(server)
    return caught.value


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("max_tokens=64 cannot be greater than max_model_len=32. Please request fewer output tokens. "
         "(parameter=max_tokens, value=64)", "longest answer"),
        ("'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context length is 32 tokens "
         "and your request has 26 input tokens (64 > 32 - 26).", "longest answer"),
        ("This model's maximum context length is 32 tokens. However, your prompt contains at least 33 input tokens, "
         "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. "
         "(parameter=input_tokens, value=33)", "start a new chat"),
        ("temperature must be in [0, 2], got 3.0. (parameter=temperature, value=3.0)", "another temperature"),
        ("1 validation error:\n  {'type': 'less_than_equal', 'loc': 'body.seed', 'msg': 'Input should be less than or "
         "equal to 9223372036854775807', 'input': '9223372036854775808'}", "another seed"),
    ],
)  # fmt: skip
def test_a_number_that_vllm_refuses_is_told_with_a_way_out_and_asked_once(
    server: FakeServer, said: str, hint: str
) -> None:
    server.default = refuses(400, {"error": {"message": said, "type": "BadRequestError", "param": "", "code": 400}})
    error = refused(server)
    assert said[:18] in error.message and hint in error.hint
    assert len(server.bodies) == 1


def test_a_server_that_is_killed_while_it_answers_is_asked_for(server: FakeServer) -> None:
    def dies(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", "9999")
        handler.end_headers()
        send(handler, chunk("half an"))
        handler.close_connection = True

    server.default = dies
    error = refused(server)
    assert "broke off" in error.message and "still running" in error.hint


CHAT = (Turn("system", "Be brief."), *(Turn(("user", "assistant")[n % 2], f"turn {n}") for n in range(13)))


def reads(server: FakeServer, most: int) -> None:
    """Have the server take that many turns, and refuse more in the words of vLLM."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        if len(server.bodies[-1]["messages"]) <= most:
            says("Hello.")(handler)
            return
        said = (
            "This model's maximum context length is 32 tokens. However, your prompt contains at least 33 input tokens"
        )
        refuses(400, {"error": {"message": said, "param": "input_tokens", "code": 400}})(handler)

    server.default = reply


@pytest.mark.parametrize("most", [12, 7, 2])
def test_a_chat_that_is_too_long_is_asked_again_without_its_oldest_turns(server: FakeServer, most: int) -> None:
    reads(server, most)
    notice, *pieces, _ = ask(server, *CHAT, trim=True)
    taken = [turn["content"] for turn in server.bodies[-1]["messages"]]
    assert len(taken) <= most and taken == ["Be brief.", *(turn.content for turn in CHAT[len(CHAT) - len(taken) + 1 :])]
    assert server.bodies[-1]["messages"][1]["role"] == "user"
    assert isinstance(notice, AnswerNotice) and f"{len(CHAT) - len(taken)} oldest turns were left out" in notice.text
    assert pieces == [TextPiece("Hello.")]


def test_as_few_turns_as_needed_are_left_out(server: FakeServer) -> None:
    reads(server, 12)
    ask(server, *CHAT, trim=True)
    assert [len(body["messages"]) for body in server.bodies] == [14, 10]


def test_what_fits_has_no_notice(server: FakeServer) -> None:
    reads(server, len(CHAT))
    assert isinstance(ask(server, *CHAT, trim=True)[0], TextPiece) and len(server.bodies) == 1


@pytest.mark.parametrize(("most", "trim"), [(1, True), (13, False)])
def test_a_chat_that_cannot_or_must_not_be_shortened_is_refused_with_a_way_out(
    server: FakeServer, most: int, trim: bool
) -> None:
    reads(server, most)
    with pytest.raises(EngineError, match="maximum context length") as caught:
        ask(server, *CHAT, trim=trim)
    assert "start a new chat" in caught.value.hint
    assert len(server.bodies) == 1 or len(server.bodies[-1]["messages"]) == 2


def test_a_key_that_a_server_does_not_take_is_named_by_its_place(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THAT_KEY", "sk-wrong")
    server.default = refuses(401, {"error": "Unauthorized"})
    endpoint = checked_endpoint(server.url, "tuned", key_env="THAT_KEY")
    request = ChatRequest(ModelPlace("there", "", endpoint=endpoint), (Turn("user", "hi"),), Sampling(seed=7))
    with pytest.raises(EngineError, match=r"refuses the key \(401\): Unauthorized") as caught:
        list(EndpointClient(AT_ONCE).stream(request, cancelled=threading.Event()))
    assert "$THAT_KEY" in caught.value.hint

"""Log-probabilities of servers elsewhere: asked for, read, and done without where a server keeps them to itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from endpoints import FakeServer, chunk, refuses, streams
from workbench.domain.chats import Sampling, Turn
from workbench.domain.endpoints import checked_endpoint
from workbench.domain.serving import ChatRequest, ModelPlace, TextPiece, TokenChance
from workbench.errors import EngineError
from workbench.jobs.endpoint import EndpointClient, Patience

AT_ONCE = Patience(connect=5, silence=5, pause=0.001)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


def ask(server: FakeServer, top: int | None = 2) -> tuple[str, list[TokenChance]]:
    """The text, and the tokens that came with it."""
    endpoint = checked_endpoint(server.url, "tuned")
    place = ModelPlace("there", endpoint.address, endpoint=endpoint)
    request = ChatRequest(place, (Turn("user", "hi"),), Sampling(0.5, 0.9, 64, seed=7), top_logprobs=top)
    events = EndpointClient(AT_ONCE).stream(request, cancelled=threading.Event())
    pieces = [event for event in events if isinstance(event, TextPiece)]
    return "".join(piece.text for piece in pieces), [chance for piece in pieces for chance in piece.chances]


def token(text: object, logprob: object, **more: object) -> dict[str, object]:
    return {"token": text, "logprob": logprob, "bytes": None, **more}


def with_chances(text: str, content: object) -> str:
    said = json.loads(chunk(text))
    said["choices"][0]["logprobs"] = {"content": content, "refusal": None}
    return json.dumps(said)


def test_they_are_asked_for_and_come_with_their_text(server: FakeServer) -> None:
    server.default = streams(
        with_chances("Hi", [token("Hi", -0.5, top_logprobs=[token("Hi", -0.5), token("Yo", -1)])]),
        with_chances("", [token("half", -2.0, top_logprobs=[])]),
        chunk(finish="stop"),
    )
    expected = [TokenChance("Hi", -0.5, (("Hi", -0.5), ("Yo", -1.0))), TokenChance("half", -2.0)]
    assert ask(server) == ("Hi", expected)
    assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 2)


def test_who_did_not_want_them_is_not_heard_asking(server: FakeServer) -> None:
    assert ask(server, None) == ("Hello there.", [])
    assert not {"logprobs", "top_logprobs"} & set(server.bodies[0])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "`logprobs` is not supported with this model"),
        (400, "top_logprobs must be at most 5"),
        (403, "You are not allowed to request logprobs from this model"),
        (422, "extra fields not permitted: logprobs"),
        (501, "logprobs are not implemented"),
    ],
)
def test_a_server_that_refuses_them_answers_without(server: FakeServer, status: int, said: str) -> None:
    server.replies.append(refuses(status, {"error": {"message": said}}))
    assert ask(server) == ("Hello there.", [])
    assert not {"logprobs", "top_logprobs"} & set(server.bodies[1])


def test_a_server_that_goes_on_refusing_them_is_not_asked_for_ever(server: FakeServer) -> None:
    server.default = refuses(403, {"error": {"message": "no logprobs, never"}})
    with pytest.raises(EngineError, match="wants a key"):
        ask(server)
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        "x",
        [None, 3, "x", []],
        [token(3, -1)],
        [token("a", "b")],
        [token("a", True)],
        [token("a", 0.5)],
        [token("a", -(10**400))],
    ],
)
def test_what_is_no_log_probability_is_left_out(server: FakeServer, content: object) -> None:
    server.default = streams(with_chances("Hi", content), chunk(finish="stop"))
    assert ask(server) == ("Hi", [])


def test_only_the_likely_ones_that_can_be_read_are_kept(server: FakeServer) -> None:
    likely = [token("a", -1), token("b", None), None, *[token("c", -2)] * 50]
    server.default = streams(with_chances("Hi", [token("a\ud800", -1, top_logprobs=likely)]), chunk(finish="stop"))
    (chance,) = ask(server)[1]
    assert chance.text == "a\ufffd" and chance.top[:2] == (("a", -1.0), ("c", -2.0)) and len(chance.top) <= 20

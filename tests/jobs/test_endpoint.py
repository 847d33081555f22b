"""Servers elsewhere, asked as our own engine is: good ones, and those that misbehave."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest

from endpoints import USAGE, FakeServer, Reply, begin, chunk, holds, refuses, says, send, streams
from fakes import FakeEngine
from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.endpoints import Endpoint, checked_endpoint
from workbench.domain.serving import AnswerEnd, ChatRequest, EngineState, EngineStatus, ModelPlace, TextPiece
from workbench.errors import DataError, EngineError
from workbench.jobs import endpoint as endpoint_module
from workbench.jobs import endpoint_answer
from workbench.jobs.endpoint import EndpointClient, Patience, RoutedEngine

AT_ONCE = Patience(connect=5, silence=5, pause=0.001)
MOST_LOOKS = 60
DEEP = "[" * 60_000


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


def request_to(server: FakeServer, *, key_env: str = "", model: str = "tuned") -> ChatRequest:
    endpoint = checked_endpoint(server.url, model, key_env=key_env)
    place = ModelPlace("there", endpoint.address, endpoint=endpoint)
    return ChatRequest(place, (Turn("system", "Be brief."), Turn("user", "hi")), Sampling(0.5, 0.9, 64, seed=7))


def ask(server: FakeServer, **how: str) -> tuple[str, AnswerEnd]:
    """The whole text, and the end: ``CANCELLED`` for an answer that would never end."""
    cancelled, looks = threading.Event(), itertools.count()

    def on_status(_: EngineStatus) -> None:
        if next(looks) > MOST_LOOKS:
            cancelled.set()

    *pieces, end = EndpointClient(AT_ONCE).stream(request_to(server, **how), cancelled=cancelled, on_status=on_status)
    assert isinstance(end, AnswerEnd)
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)), end


def refused(server: FakeServer, **how: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        ask(server, **how)
    return caught.value


# Answers


def test_an_answer_comes_piece_by_piece_and_is_asked_for_in_openais_words(server: FakeServer) -> None:
    text, end = ask(server)
    assert text == "Hello there." and end.stop_reason is StopReason.STOP
    assert (end.prompt_tokens, end.tokens) == (11, 5)
    (body,) = server.bodies
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("tuned", 0.5, 64, 7)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert server.keys == [""]


def test_an_answer_that_was_cut_off_says_so(server: FakeServer) -> None:
    server.default = says("a", finish="length")
    assert ask(server)[1].stop_reason is StopReason.LENGTH


@pytest.mark.parametrize("reply", [says("a", done=False), says("a", usage=False)])
def test_neither_done_nor_usage_is_needed(server: FakeServer, reply: object) -> None:
    server.default = reply
    text, end = ask(server)
    assert text == "a" and end.stop_reason is StopReason.STOP and end.tokens in {1, 5}


def test_a_server_that_does_not_stream_is_understood_too(server: FakeServer) -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "all"}, "finish_reason": "stop"}]}
    server.default = refuses(200, whole)
    assert ask(server)[0] == "all"


def test_line_separators_and_control_characters_inside_a_text_arrive_as_they_are(server: FakeServer) -> None:
    text = "a\u2028b\x85c\x1b]52;c;eA==\x07d\x00\r\ne"
    server.default = says(text)
    assert ask(server)[0] == text


def test_what_a_model_thinks_and_the_tools_it_calls_become_marked_parts_of_the_text(server: FakeServer) -> None:
    calls = [{"index": 0, "function": {"name": "add", "arguments": '{"a":'}}]
    rest = [{"index": 0, "function": {"arguments": " 2}"}}]
    server.default = streams(
        chunk(reasoning_content="two and"), chunk(reasoning_content=" two"), chunk("Let me see."),
        chunk(tool_calls=calls), chunk(tool_calls=rest), chunk(finish="tool_calls"), "[DONE]",
    )  # fmt: skip
    text, end = ask(server)
    thought, _, said = text.partition("</think>")
    assert thought == "<think>\ntwo and two\n" and said.strip().startswith("Let me see.")
    called = said.partition("<tool_call>")[2].partition("</tool_call>")[0]
    assert json.loads(called) == {"name": "add", "arguments": {"a": 2}}
    assert end.stop_reason is StopReason.STOP


def test_a_server_with_other_words_is_asked_in_those(server: FakeServer) -> None:
    server.replies += [
        refuses(400, {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."}}),
        refuses(400, {"error": {"message": "unknown field stream_options"}}),
    ]
    assert ask(server)[0] == "Hello there."
    assert server.bodies[-1]["max_completion_tokens"] == 64
    assert not {"max_tokens", "stream_options"} & set(server.bodies[-1])


# Keys


def test_a_key_comes_from_its_variable_at_the_moment_of_asking(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(server, key_env="THAT_KEY")
    assert "$THAT_KEY is not set" in error.message and server.bodies == []
    monkeypatch.setenv("THAT_KEY", "sk-1 \n")
    ask(server, key_env="THAT_KEY")
    assert server.keys == ["Bearer sk-1"]


def test_a_key_that_a_server_says_back_is_not_shown(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAT_KEY", "sk-secret")
    server.default = refuses(401, {"error": {"message": "bad key: sk-secret"}})
    error = refused(server, key_env="THAT_KEY")
    assert "sk-secret" not in error.message + error.hint and "401" in error.message and "$THAT_KEY" in error.hint


def test_a_key_that_a_busy_server_says_back_is_not_shown_while_waiting(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THAT_KEY", "sk-secret")
    server.replies.append(refuses(429, {"error": "no quota for sk-secret"}, {"Retry-After": "20"}))
    cancelled = threading.Event()
    heard: list[str] = []

    def on_status(status: EngineStatus) -> None:
        heard.append(status.detail)
        if "quota" in status.detail or len(heard) > MOST_LOOKS:
            cancelled.set()

    request = request_to(server, key_env="THAT_KEY")
    list(EndpointClient(AT_ONCE).stream(request, cancelled=cancelled, on_status=on_status))
    assert heard[-1].startswith("asking again in 20 s: ") and "no quota for …" in heard[-1]
    assert not any("sk-secret" in detail for detail in heard)


def test_a_variable_with_something_else_in_it_is_refused_without_showing_it(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THAT_KEY", "two words\nand a line")
    error = refused(server, key_env="THAT_KEY")
    assert "cannot be a key" in error.message and "words" not in error.message and server.bodies == []


def test_a_key_in_the_keyring_is_found_under_the_servers_host(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = pytest.importorskip("keyring")
    kept: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(keyring, "set_password", lambda service, user, key: kept.update({(service, user): key}))
    monkeypatch.setattr(keyring, "get_password", lambda service, user: kept.get((service, user)))
    from workbench.jobs.endpoint import key_of, remember_key

    endpoint = checked_endpoint(server.url, "tuned", keyring=True)
    with pytest.raises(EngineError, match="the keyring has no key"):
        key_of(endpoint)
    remember_key(endpoint, "sk-2")
    assert key_of(endpoint) == "sk-2" and list(kept) == [("workbench", endpoint.host)]


# Misbehaviour


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "wants a key"), (403, "wants a key"), (404, "does not find it"), (500, "failed (500)"),
     (422, "refuses the question"), (302, "elsewhere")],
)  # fmt: skip
def test_a_refusal_is_told_in_plain_words_and_not_asked_again(server: FakeServer, status: int, said: str) -> None:
    server.default = refuses(status, {"error": {"message": "the server's own\x1b[2J words"}}, {"Location": "/x"})
    error = refused(server)
    assert said in error.message and error.hint and "\x1b" not in error.message
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 529])
def test_a_busy_server_is_asked_again_until_it_answers(server: FakeServer, status: int) -> None:
    server.replies += [refuses(status, "busy"), refuses(status, "<html>busy</html>")]
    assert ask(server)[0] == "Hello there." and len(server.bodies) == 3


def test_a_server_that_stays_busy_is_given_up(server: FakeServer) -> None:
    server.default = refuses(429, {"error": "quota"})
    assert "quota" in refused(server).message and len(server.bodies) == 4


def test_a_server_that_wants_a_long_pause_is_not_waited_for(server: FakeServer) -> None:
    server.default = refuses(429, {"error": "quota"}, {"Retry-After": "3600"})
    assert "3600 s" in refused(server).hint and len(server.bodies) == 1


def test_a_stream_that_breaks_off_is_never_asked_again(server: FakeServer) -> None:
    server.default = streams(chunk("half an"))
    got: list[str] = []
    with pytest.raises(EngineError, match="broke off in the middle"):
        for event in EndpointClient(AT_ONCE).stream(request_to(server), cancelled=threading.Event()):
            assert isinstance(event, TextPiece)
            got.append(event.text)
    assert got == ["half an"] and len(server.bodies) == 1


def test_a_server_that_ends_an_answer_when_the_next_question_comes_is_asked_one_at_a_time(server: FakeServer) -> None:
    words = [f"word{number} " for number in range(12)]
    newest, lock, together = [0], threading.Lock(), []

    def interrupted(handler: BaseHTTPRequestHandler) -> None:
        with lock:
            newest[0] += 1
            mine = newest[0]
        begin(handler)
        for word in words:
            send(handler, chunk(word))
            time.sleep(0.01)
            if mine != newest[0]:
                together.append(mine)
                return  # as llama-cpp-python's server: no finish_reason, no [DONE]
        send(handler, chunk(finish="stop"), "[DONE]")

    server.default = interrupted
    client = EndpointClient(AT_ONCE)

    def ask(_: int) -> str:
        events = list(client.stream(request_to(server), cancelled=threading.Event()))
        assert isinstance(events[-1], AnswerEnd)
        return "".join(event.text for event in events if isinstance(event, TextPiece))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(8))) == ["".join(words)] * 8
    assert together, "nothing was interrupted"
    assert len(server.bodies) == 8 + len(together)


@pytest.mark.parametrize("other", ["Something else.", "half"])
def test_another_answer_is_not_glued_to_what_is_shown(server: FakeServer, other: str) -> None:
    both = threading.Barrier(2, timeout=20)

    def half(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        send(handler, chunk("half an"))
        both.wait()

    server.replies.extend([half, half])
    server.default = says(other)
    client = EndpointClient(AT_ONCE)

    def ask(_: int) -> str:
        got = ""
        with pytest.raises(EngineError, match="gave another answer"):
            for event in client.stream(request_to(server), cancelled=threading.Event()):
                got += event.text if isinstance(event, TextPiece) else ""
        return got

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(2))) == ["half an"] * 2


@pytest.mark.parametrize("data", ["{half", "[1, 2]", "null", '"text"', "\x1b[2Jjunk"])
def test_what_is_no_answer_is_said_to_be_none(server: FakeServer, data: str) -> None:
    server.default = streams(chunk("a"), data)
    error = refused(server)
    assert "sent something that is not an answer" in error.message and "\x1b" not in error.message


@pytest.mark.parametrize("odd", [{"choices": {}}, {"choices": [3]}, {"choices": [{"delta": []}]}, {"usage": 7}])
def test_odd_chunks_are_passed_over(server: FakeServer, odd: object) -> None:
    server.default = streams(json.dumps(odd), chunk("a"), chunk(finish="stop"), "[DONE]")
    assert ask(server)[0] == "a"


def test_an_error_in_the_middle_of_a_stream_is_told(server: FakeServer) -> None:
    server.default = streams(chunk("a"), json.dumps({"error": {"message": "out of memory"}}))
    assert "out of memory" in refused(server).message


def test_a_page_instead_of_an_api_is_said_to_be_none(server: FakeServer) -> None:
    server.default = refuses(200, "<html>welcome</html>", {"Content-Type": "text/html"})
    assert "not an answer" in refused(server).message


@pytest.mark.parametrize("status", [400, 503])
def test_an_error_too_deep_to_be_read_is_told_as_it_is(server: FakeServer, status: int) -> None:
    server.default = refuses(status, DEEP)
    assert f"({status}): [[[" in refused(server).message


def test_arguments_of_a_call_too_deep_to_be_read_are_kept_as_text(server: FakeServer) -> None:
    calls = [{"index": 0, "function": {"name": "add", "arguments": DEEP}}]
    server.default = streams(chunk(tool_calls=calls), chunk(finish="tool_calls"), "[DONE]")
    called = ask(server)[0].partition("<tool_call>")[2].partition("</tool_call>")[0]
    assert json.loads(called) == {"name": "add", "arguments": DEEP}


@pytest.mark.parametrize("function", [{"arguments": "x" * 100}, {}])
def test_calls_without_end_are_left(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, function: dict[str, str]
) -> None:
    monkeypatch.setattr(endpoint_answer, "LONGEST_CHARACTERS", 30)
    server.default = holds(*[chunk(tool_calls=[{"function": function}])] * 31)
    assert "does not stop" in refused(server).message


def test_a_body_without_end_is_left(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "WHOLE_BODY_BYTES", 1000)
    server.default = refuses(200, "x" * 1001)
    assert "does not stop: 1,000 bytes" in refused(server).message


def pours(*parts: bytes, **headers: str) -> Reply:
    """These bytes as an event stream, as long as the client takes them."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.close_connection = True
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()

    return reply


@pytest.mark.parametrize("part", [b"data: " + b"x" * 400, b"data: x\n" * 50, b": x" * 200, b"data: x\r" * 50])
def test_a_line_or_an_event_without_end_is_left(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(endpoint_module, "EVENT_CHARACTERS", 1000)
    server.default = pours(*[part] * 5)
    assert "without end" in refused(server).message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_long_answer_of_short_events_is_read_whatever_its_lines_end_with(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(endpoint_module, "EVENT_CHARACTERS", 300)
    whole = "".join(f"data: {data}{end}{end}" for data in [*[chunk("abc")] * 40, chunk(finish="stop"), "[DONE]"])
    parts = [whole[at : at + 7].encode() for at in range(0, len(whole), 7)]
    server.default = pours(*parts)
    assert ask(server)[0] == "abc" * 40


@pytest.mark.parametrize("charset", ["latin-1", "hex", "no-such-charset", "utf-16"])
def test_an_event_stream_is_utf8_whatever_its_header_says_and_broken_characters_are_replaced(
    server: FakeServer, charset: str
) -> None:
    data = f"data: {chunk('é')}\n\n".encode().replace("é".encode(), "é".encode() + b"\xff")
    end = f"data: {chunk(finish='stop')}\n\n".encode()
    server.default = pours(data, end, Content_Type=f"text/event-stream; charset={charset}")
    assert ask(server)[0] == "é\ufffd"


def test_what_is_compressed_more_than_once_is_not_read(server: FakeServer) -> None:
    bomb = gzip.compress(gzip.compress(b"x" * 1_000_000))
    server.default = pours(bomb, Content_Encoding="gzip, gzip")
    assert "compressed more than once" in refused(server).message


def test_a_pause_may_be_told_as_a_date(server: FakeServer) -> None:
    server.replies.append(refuses(429, "busy", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert ask(server)[0] == "Hello there." and len(server.bodies) == 2
    server.default = refuses(429, "busy", {"Retry-After": "Wed, 21 Oct 2199 07:28:00 GMT"})
    assert "asked again in" in refused(server).hint and len(server.bodies) == 3


def test_a_server_on_this_machine_is_asked_without_the_environments_proxy(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:9")
    assert ask(server)[0] == "Hello there."
    assert EndpointClient(AT_ONCE).served(checked_endpoint(server.url, "tuned")) == ["base", "tuned"]


def test_a_server_elsewhere_is_asked_through_the_environments_proxy(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    elsewhere = replace(
        request_to(server), model=ModelPlace("far", "", endpoint=Endpoint("http://far.example/v1", "m", ""))
    )
    *_, end = EndpointClient(AT_ONCE).stream(elsewhere, cancelled=threading.Event())
    assert isinstance(end, AnswerEnd) and server.bodies[0]["model"] == "m"


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1:9", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_told_of_by_the_names_of_its_variables(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    endpoint = Endpoint("https://far.example/v1", "m", "")
    request = ChatRequest(ModelPlace("far", "", endpoint=endpoint), (Turn("user", "hi"),), Sampling(seed=1))
    with pytest.raises(EngineError, match="through the proxy") as caught:
        list(EndpointClient(AT_ONCE).stream(request, cancelled=threading.Event()))
    assert "HTTPS_PROXY" in caught.value.hint
    with pytest.raises(EngineError, match="through the proxy"):
        EndpointClient(AT_ONCE).served(endpoint)


def test_a_list_of_models_without_end_is_left(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "LIST_BODY_BYTES", 1000)
    server.models = ["x" * 2000]
    with pytest.raises(EngineError, match="does not come to the end"):
        EndpointClient(AT_ONCE).served(checked_endpoint(server.url, "tuned"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_ends_also_when_reading_it_fails_in_a_way_nobody_foresaw(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_answer.EndpointAnswer, "end", lambda _: 1 / 0)
    assert "could not be read" in refused(server).message


def test_a_server_that_is_not_there_is_told_with_its_address() -> None:
    with FakeServer().running() as server:
        gone = request_to(server)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        list(EndpointClient(AT_ONCE).stream(gone, cancelled=threading.Event()))
    assert "127.0.0.1" in caught.value.message


def test_a_silent_server_is_given_up_after_its_time(server: FakeServer) -> None:
    server.default = holds()
    patience = Patience(connect=5, silence=0.05, pause=0.001)
    with pytest.raises(EngineError, match="has said nothing"):
        list(EndpointClient(patience).stream(request_to(server), cancelled=threading.Event()))


@pytest.mark.parametrize("reply", [holds(), holds(chunk("a"))])
def test_a_cancel_ends_the_answer_and_closes_the_connection(server: FakeServer, reply: object) -> None:
    server.default = reply
    cancelled = threading.Event()
    heard: list[EngineStatus] = []

    def on_status(status: EngineStatus) -> None:
        heard.append(status)
        if server.asked.is_set():  # before, there is no connection to close
            cancelled.set()

    *_, end = EndpointClient(AT_ONCE).stream(request_to(server), cancelled=cancelled, on_status=on_status)
    assert isinstance(end, AnswerEnd) and end.stop_reason is StopReason.CANCELLED
    assert heard[0].state is EngineState.REMOTE and "127.0.0.1" in heard[0].detail
    assert server.gone.wait(10)


def test_leaving_an_answer_closes_the_connection(server: FakeServer) -> None:
    server.default = holds(chunk("a"))
    events = EndpointClient(AT_ONCE).stream(request_to(server), cancelled=threading.Event())
    assert next(events) == TextPiece("a")
    events.close()  # type: ignore[attr-defined]
    assert server.gone.wait(10)


def test_content_that_was_filtered_ends_in_an_error_that_says_so(server: FakeServer) -> None:
    server.default = says("some", finish="content_filter")
    assert "content filter" in refused(server).message


# Addresses, and who is asked


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("http://h:1/v1/chat/completions", "http://h:1/v1"),
        ("https://h/openai/v2", "https://h/openai/v2"),
    ],
)
def test_an_address_is_brought_into_one_form(given: str, kept: str) -> None:
    assert checked_endpoint(given, "m").url == kept


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http://u:p@h/v1",
        "http://h/v1?key=1",
        "http://h:99999/v1",
        "http://a b/",
    ],
)
def test_what_is_no_address_or_has_a_key_in_it_is_refused(url: str) -> None:
    with pytest.raises(DataError):
        checked_endpoint(url, "m")


def test_a_key_given_as_the_name_of_a_variable_is_refused_and_not_repeated() -> None:
    with pytest.raises(DataError) as caught:
        checked_endpoint("http://h", "m", key_env="sk-abc-123")
    assert "sk-abc-123" not in caught.value.message + caught.value.hint


def test_a_key_is_open_to_others_only_over_plain_http_to_another_machine() -> None:
    def openly(url: str, key: str = "env:K") -> bool:
        return Endpoint(url, "m", key).sends_key_openly

    assert openly("http://gpu:8000/v1") and openly("http://192.168.0.7/v1")
    assert not openly("https://gpu/v1") and not openly("http://localhost/v1") and not openly("http://127.0.0.1/v1")
    assert not openly("http://gpu:8000/v1", "")


def test_the_model_decides_who_is_asked(server: FakeServer) -> None:
    local = FakeEngine()
    engine = RoutedEngine(local, EndpointClient(AT_ONCE))
    *_, far = engine.stream(request_to(server), cancelled=threading.Event())
    here = ChatRequest(ModelPlace("pip", "/models/pip"), (Turn("user", "hi"),), Sampling(seed=1))
    *_, near = engine.stream(here, cancelled=threading.Event())
    assert isinstance(far, AnswerEnd) and isinstance(near, AnswerEnd)
    assert len(server.bodies) == 1 and [request.model.name for request in local.requests] == ["pip"]


def test_models_that_a_server_lists_are_known(server: FakeServer) -> None:
    endpoint = checked_endpoint(server.url, "tuned")
    assert EndpointClient(AT_ONCE).served(endpoint) == ["base", "tuned"]


def test_usage_in_the_last_chunk_counts_also_when_it_has_no_choices(server: FakeServer) -> None:
    server.default = streams(chunk("a"), chunk(finish="stop"), USAGE)
    assert ask(server)[1].tokens == 5


@pytest.mark.parametrize("owner", ["vllm", "sglang", "workbench"])
def test_a_server_that_can_is_asked_to_go_on_with_an_answer(server: FakeServer, owner: str) -> None:
    server.owner = owner
    begun = request_to(server)
    begun = replace(begun, turns=(*begun.turns, Turn("assistant", "Hel")), go_on=True)
    *_, end = EndpointClient(AT_ONCE).stream(begun, cancelled=threading.Event())
    assert isinstance(end, AnswerEnd)
    (body,) = server.bodies
    assert body["messages"][-1] == {"role": "assistant", "content": "Hel"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


@pytest.mark.parametrize("owner", ["", "openai", "library"])
def test_a_server_that_might_begin_anew_is_not_asked_to_go_on(server: FakeServer, owner: str) -> None:
    server.owner = owner
    begun = request_to(server)
    begun = replace(begun, turns=(*begun.turns, Turn("assistant", "Hel")), go_on=True)
    with pytest.raises(EngineError, match="go on") as caught:
        list(EndpointClient(AT_ONCE).stream(begun, cancelled=threading.Event()))
    assert "vLLM" in caught.value.hint and server.bodies == []

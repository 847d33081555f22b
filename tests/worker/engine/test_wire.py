"""Requests as clients of the OpenAI protocol write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.worker.engine.wire import Refusal, event, keep_alive, parse_request

PLAIN: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_what_is_not_said_has_the_protocols_defaults() -> None:
    asked = parse_request(PLAIN)
    assert (asked.temperature, asked.top_p, asked.stop, asked.stream) == (1.0, 1.0, (), False)


def test_without_a_seed_every_request_draws_its_own() -> None:
    assert len({parse_request(PLAIN).seed for _ in range(5)}) > 1
    assert parse_request(PLAIN | {"seed": 5}).seed == 5


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = parse_request(PLAIN | {"messages": [{"role": "user", "content": parts, "name": "x"}]})
    assert asked.turns == ({"role": "user", "content": "ab"},)


def test_what_clients_write_out_although_it_is_so_anyway_is_taken() -> None:
    also = {"response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "presence_penalty": 0, "user": "u"}
    assert parse_request(PLAIN | {"seed": 1} | also) == parse_request(PLAIN | {"seed": 1})
    with pytest.raises(Refusal, match="response_format"):
        parse_request(PLAIN | {"response_format": {"type": "json_object"}})


def test_a_developer_speaks_as_the_system() -> None:
    asked = parse_request(PLAIN | {"messages": [{"role": "developer", "content": "Be brief."}, *PLAIN["messages"]]})
    assert [turn["role"] for turn in asked.turns] == ["system", "user"]


def test_the_newer_name_for_the_limit_wins() -> None:
    assert parse_request(PLAIN | {"max_tokens": 5, "max_completion_tokens": 7}).max_tokens == 7


def test_one_stop_or_several() -> None:
    assert parse_request(PLAIN | {"stop": "x"}).stop == ("x",)
    assert parse_request(PLAIN | {"stop": ["x", "y"]}).stop == ("x", "y")
    assert parse_request(PLAIN | {"stop": None}).stop == ()


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""},
        {"model": None},
        {"messages": "Hi"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"temperature": True},
        {"top_p": 0},
        {"top_p": 1.1},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"seed": 1.5},
        {"stop": [""]},
        {"stop": True},
        {"stop": 5},
        {"stop": {"x": 1}},
        {"stop": ["x"] * 17},
        {"n": 0},
        {"n": 17},
        {"n": True},
        {"top_logprobs": 2},
        {"logprobs": True, "top_logprobs": 21},
        {"stream_options": "usage"},
        {"frequency_penalty": 0.5},
    ],
)
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        parse_request(PLAIN | change)
    assert caught.value.status == 400
    assert caught.value.body()["error"]["type"] == "invalid_request_error"


def test_no_text_of_a_model_can_break_the_framing() -> None:
    hostile = "a\n\ndata: [DONE]\n\n\u2028\x85"
    sent = event({"text": hostile})
    assert sent.count(b"\n") == 2
    assert json.loads(sent.removeprefix(b"data: ")) == {"text": hostile}
    assert keep_alive("loading", hostile, base="").count(b"\n") == 2


def test_only_an_answer_that_was_begun_is_gone_on_with() -> None:
    question, begun = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well"}
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    assert parse_request({"model": "m", "messages": [question, begun], **fields}).go_on
    assert not parse_request({"model": "m", "messages": [question, begun]}).go_on
    for wrong in (
        {"messages": [question], **fields},
        {"messages": [question, begun | {"content": " "}], **fields},
        {"messages": [question, begun], **fields, "add_generation_prompt": True},
    ):
        with pytest.raises(Refusal, match="continue_final_message"):
            parse_request({"model": "m", **wrong})

"""One answer of an OpenAI-compatible server, put together from its chunks. Knows the format, and no connection.

Servers differ: reasoning comes under two names, usage in a chunk of its own or not at all, the end with or without
``[DONE]``. What a model thinks and the tools it calls become marked parts of the text, as local models write them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.domain.chats import StopReason, storable
from workbench.domain.foreign_text import cell
from workbench.domain.serving import MAX_TOP_LOGPROBS, AnswerEnd, TextPiece, TokenChance
from workbench.errors import EngineError
from workbench.jobs.endpoint_turns import BrokenOffError

LONGEST_CHARACTERS = 8_000_000
_STOPS = {"length": StopReason.LENGTH, "max_tokens": StopReason.LENGTH}
_THOUGHTS = ("reasoning_content", "reasoning")
THINK, THOUGHT = "<think>\n", "\n</think>\n\n"


class EndpointAnswer:
    """Takes the chunks in their order; ``end`` gives what is left to say."""

    def __init__(self, host: str, began: float) -> None:
        self._host, self._began = host, began
        self._first_ms = 0
        self._pieces = self._characters = self._call_characters = self._chances = 0
        self._usage: Mapping[str, Any] = {}
        self._finish = ""
        self._thinks = False
        self._calls: dict[int, dict[str, str]] = {}

    def take(self, data: str) -> Iterator[TextPiece]:
        """The text in one chunk. Raises ``EngineError`` for an error in the stream, or what is no chunk."""
        chunk = self._object(data)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return
        choice = choices[0]
        delta = choice.get("delta") or choice.get("message")
        chances = chances_of(choice.get("logprobs"))
        self._chances += len(chances)
        self._check_length(self._chances)
        for piece in self._texts(delta) if isinstance(delta, dict) else ():
            yield TextPiece(piece.text, chances)
            chances = ()
        if chances:  # of a token that is not a whole character yet
            yield TextPiece("", chances)
        self._finish = str(choice.get("finish_reason") or self._finish)

    def whole(self, body: bytes) -> Iterator[TextPiece | AnswerEnd]:
        """The events of an answer that did not stream."""
        yield from self.take(body.decode("utf-8", "replace"))
        if not self._finish and not self._pieces:
            raise EngineError(f"{self._host} answered without an answer", hint="does its API begin at this address?")
        self._finish = self._finish or "stop"
        yield from self.end()

    def end(self) -> Iterator[TextPiece | AnswerEnd]:
        """The calls of tools, and the end. Raises ``EngineError`` when the stream ended before the answer did."""
        if self._thinks:
            yield self._piece(THOUGHT)
        for _, call in sorted(self._calls.items()):
            yield self._piece(_call_text(call))
        if not self._finish:
            raise BrokenOffError(f"{self._host} broke off in the middle of the answer", hint="ask again")
        if self._finish == "content_filter":
            raise EngineError(f"{self._host} keeps the rest back (content filter)", hint="what came is stored")
        elapsed = self._elapsed_ms()
        tokens = _count(self._usage.get("completion_tokens"), self._pieces)
        prompt = _count(self._usage.get("prompt_tokens"), 0)
        yield AnswerEnd(_STOPS.get(self._finish, StopReason.STOP), prompt, tokens, self._first_ms, elapsed)

    def _object(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise EngineError(
                f"{self._host} sent something that is not an answer: {cell(data, 80)}",
                hint="does its API begin at this address?",
            )
        if error := chunk.get("error"):
            said = error.get("message") if isinstance(error, dict) else error
            raise EngineError(f"{self._host} failed while answering: {cell(str(said), 300)}", hint="ask again")
        return chunk

    def _texts(self, delta: Mapping[str, Any]) -> Iterator[TextPiece]:
        thought = next((delta[name] for name in _THOUGHTS if isinstance(delta.get(name), str) and delta[name]), "")
        text = delta["content"] if isinstance(delta.get("content"), str) else ""
        if thought:
            yield self._piece(("" if self._thinks else THINK) + thought)
            self._thinks = True
        if text:
            yield self._piece((THOUGHT if self._thinks else "") + text)
            self._thinks = False
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._add_call(call)

    def _add_call(self, call: Mapping[str, Any]) -> None:
        function = call.get("function")
        if not isinstance(function, dict):
            return
        at = call.get("index")
        known = self._calls.setdefault(at if isinstance(at, int) else len(self._calls), {"name": "", "arguments": ""})
        for name in known:
            if isinstance(function.get(name), str):
                known[name] += function[name]
                self._call_characters += len(function[name])
        self._call_characters += 1  # a call with nothing in it takes memory too
        self._check_length(self._call_characters)

    def _piece(self, text: str) -> TextPiece:
        self._first_ms = self._first_ms or max(1, self._elapsed_ms())
        self._pieces += 1
        self._characters += len(text)
        self._check_length(self._characters)
        return TextPiece(text)

    def _check_length(self, characters: int) -> None:
        if characters > LONGEST_CHARACTERS:
            raise EngineError(f"{self._host} does not stop: {LONGEST_CHARACTERS:,} characters were read")

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._began))


def chances_of(logprobs: object) -> tuple[TokenChance, ...]:
    """The tokens in OpenAI's object of log-probabilities; what is none of them is left out."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = [(each, _token_of(each)) for each in (content if isinstance(content, list) else ())]
    return tuple(TokenChance(*token, _most_likely(each)) for each, token in found if token is not None)


def _most_likely(token: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    listed = token.get("top_logprobs")
    tokens = map(_token_of, listed[:MAX_TOP_LOGPROBS] if isinstance(listed, list) else ())
    return tuple(token for token in tokens if token is not None)


def _token_of(value: object) -> tuple[str, float] | None:
    if not isinstance(value, dict):
        return None
    text, logprob = value.get("token"), value.get("logprob")
    if not isinstance(text, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    # an integer of JSON may be longer than any float
    return (storable(text), float(logprob)) if -sys.float_info.max <= logprob <= 0 else None


def _call_text(call: Mapping[str, str]) -> str:
    try:
        shown = _call_json(call["name"], json.loads(call["arguments"] or "{}"))
    except (ValueError, RecursionError):
        shown = _call_json(call["name"], call["arguments"])
    return f"\n<tool_call>\n{shown}\n</tool_call>\n"


def _call_json(name: str, arguments: object) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def _count(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise

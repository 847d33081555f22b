"""The words of the protocol: OpenAI chat-completion requests in, chunks and errors out. Knows no model, no socket."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_MAX_TOKENS = 512
MAX_STOPS = 16
UNSUPPORTED = ("tools", "functions", "logprobs", "top_logprobs", "logit_bias", "response_format", "audio")


class Refusal(Exception):
    """A request that gets an error instead of an answer: what the client is told, in plain words."""

    def __init__(self, message: str, *, code: str, status: int = 400, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.hint = hint

    def body(self) -> dict[str, Any]:
        """The OpenAI-shaped error object, with our hint beside the message."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "code": self.code, "hint": self.hint}}


@dataclass(frozen=True, slots=True)
class Asked:
    """One checked request. ``temperature`` 0 is greedy; ``seed`` is always set."""

    model: str
    turns: tuple[dict[str, str], ...]
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    stop: tuple[str, ...]
    stream: bool


def parse_request(body: Mapping[str, Any]) -> Asked:
    """The request as asked; raises ``Refusal`` (400) naming the field that is wrong."""
    for field in UNSUPPORTED:
        if body.get(field):
            raise Refusal(f"{field!r} is not supported by this engine", code="unsupported_parameter")
    if body.get("n", 1) not in (1, None):
        raise Refusal("only one answer per request: 'n' must be 1", code="unsupported_parameter")
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    seed = _number(body, "seed", None, whole=True)
    return Asked(
        model=_text(body, "model"),
        turns=_turns(body.get("messages")),
        temperature=_within("temperature", _number(body, "temperature", 1.0), 0.0, 5.0),
        top_p=_within("top_p", _number(body, "top_p", 1.0), 1e-6, 1.0),
        max_tokens=_whole("max_tokens", DEFAULT_MAX_TOKENS if limit is None else limit),
        seed=secrets.randbits(31) if seed is None else int(seed) % 2**63,
        stop=_stops(body.get("stop")),
        stream=bool(body.get("stream", False)),
    )


def _bad(message: str) -> Refusal:
    return Refusal(message, code="invalid_value")


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise _bad(f"{field!r} must be a text")
    return value


def _number(body: Mapping[str, Any], field: str, default: float | None, *, whole: bool = False) -> Any:
    value = body.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise _bad(f"{field!r} must be a {'whole ' if whole else ''}number")
    return value


def _within(field: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise _bad(f"{field!r} must be between {low:g} and {high:g}, not {value!r}")
    return float(value)


def _whole(field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _bad(f"{field!r} must be a whole number of at least 1")
    return value


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else list(value or [])
    if len(stops) > MAX_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise _bad(f"'stop' must be a text or a list of up to {MAX_STOPS} texts, none of them empty")
    return tuple(stops)


def _turns(value: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise _bad("'messages' must be a list of at least one message")
    return tuple(_turn(position, item) for position, item in enumerate(value, start=1))


def _turn(position: int, item: Any) -> dict[str, str]:
    if not isinstance(item, Mapping) or not isinstance(item.get("role"), str):
        raise _bad(f"message {position} needs a 'role' and a 'content'")
    content = item.get("content")
    if isinstance(content, list) and all(isinstance(p, Mapping) and p.get("type") == "text" for p in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise _bad(f"message {position}: 'content' must be text (this engine reads text only)")
    return {"role": item["role"], "content": content}


def event(data: Mapping[str, Any]) -> bytes:
    """One server-sent event. ASCII JSON, so that no text of a model can break the line framing."""
    return b"data: " + json.dumps(data).encode("ascii") + b"\n\n"


def keep_alive(state: str, detail: str, *, base: str) -> bytes:
    """A comment that every SSE reader skips; ours finds the load progress in it."""
    return b": keep-alive " + json.dumps({"state": state, "detail": detail, "base": base}).encode("ascii") + b"\n\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that every chunk of one answer shares."""

    id: str
    created: int
    model: str

    def chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        """One ``chat.completion.chunk`` object."""
        choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def completion(self, text: str, finish_reason: str) -> dict[str, Any]:
        """The whole answer at once, for requests without ``stream``."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        return {**self._head("chat.completion"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(prompt_tokens: int, tokens: int, remembered_tokens: int = 0) -> dict[str, Any]:
    """OpenAI's usage object; ``remembered_tokens`` of the prompt were not run again."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
        "prompt_tokens_details": {"cached_tokens": remembered_tokens},
    }

"""The words of the protocol: OpenAI chat-completion requests in, chunks and errors out. Knows no model, no socket."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.domain.chats import storable
from workbench.domain.serving import MAX_TOP_LOGPROBS, TokenChance

DEFAULT_MAX_TOKENS = 512
MAX_STOPS = 16
MAX_ANSWERS = 16
LOWEST_LOGPROB = -9999.0  # what OpenAI's protocol says instead of minus infinity, which JSON does not have
UNSUPPORTED = ("tools", "functions", "logit_bias", "response_format", "audio", "frequency_penalty", "presence_penalty")
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}


class Refusal(Exception):
    """A request that gets an error instead of an answer: what the client is told, in plain words."""

    def __init__(self, message: str, *, code: str, status: int = 400, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.hint = hint

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP says beside the status."""
        return HEADERS.get(self.status, {})

    def body(self) -> dict[str, Any]:
        """The OpenAI-shaped error object, with our hint beside the message."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code, "hint": self.hint}}


@dataclass(frozen=True, slots=True)
class Asked:
    """One checked request. ``temperature`` 0 is greedy; ``seed`` is always set.

    ``n`` answers are asked for, of which this is one. ``top_logprobs`` None means no log-probabilities at all. With
    ``trim`` the oldest turns of what is longer than the model reads are left out. With ``go_on`` the last turn is the
    beginning of the answer.
    """

    model: str
    turns: tuple[dict[str, str], ...]
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    stop: tuple[str, ...]
    stream: bool
    n: int = 1
    top_logprobs: int | None = None
    trim: bool = False
    include_usage: bool = False
    go_on: bool = False

    def one(self, index: int) -> Asked:
        """The request for one of its answers: as if it had been asked for alone, with the seed after the last one's."""
        return replace(self, n=1, seed=(self.seed + index) % 2**63)


def parse_request(body: Mapping[str, Any]) -> Asked:
    """The request as asked; raises ``Refusal`` (400) naming the field that is wrong."""
    for field in UNSUPPORTED:
        if body.get(field) and not _asks_for_nothing(field, body[field]):
            raise Refusal(f"{field!r} is not supported by this engine", code="unsupported_parameter")
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    seed = _number(body, "seed", None, whole=True)
    turns = _turns(body.get("messages"))
    return Asked(
        model=_text(body, "model"),
        turns=turns,
        temperature=_within("temperature", _number(body, "temperature", 1.0), 0.0, 5.0),
        top_p=_within("top_p", _number(body, "top_p", 1.0), 1e-6, 1.0),
        max_tokens=_whole("max_tokens", DEFAULT_MAX_TOKENS if limit is None else limit),
        seed=secrets.randbits(31) if seed is None else int(seed) % 2**63,
        stop=_stops(body.get("stop")),
        stream=bool(body.get("stream", False)),
        n=_whole("n", 1 if body.get("n") is None else body["n"], most=MAX_ANSWERS),
        top_logprobs=_top_logprobs(body),
        trim=body.get("truncation") == "auto",
        include_usage=_includes_usage(body.get("stream_options")),
        go_on=_goes_on(body, turns),
    )


def _asks_for_nothing(field: str, value: Any) -> bool:
    """Clients write out what is so anyway: an answer is text."""
    return field == "response_format" and isinstance(value, Mapping) and value.get("type") == "text"


def _bad(message: str) -> Refusal:
    return Refusal(message, code="invalid_value")


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise _bad(f"{field!r} must be a text")
    return storable(value)


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


def _whole(field: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise _bad(f"{field!r} must be a whole number {bounds}")
    return value


def _goes_on(body: Mapping[str, Any], turns: Sequence[Mapping[str, str]]) -> bool:
    if not body.get("continue_final_message"):
        return False
    if body.get("add_generation_prompt"):
        raise _bad("'continue_final_message' and 'add_generation_prompt' cannot both be true")
    if turns[-1]["role"] != "assistant" or not turns[-1]["content"].strip():
        raise _bad("'continue_final_message' needs a last message by the assistant with some text")
    return True


def _includes_usage(options: Any) -> bool:
    if options is not None and not isinstance(options, Mapping):
        raise _bad("'stream_options' must be an object")
    return bool(options and options.get("include_usage"))


def _top_logprobs(body: Mapping[str, Any]) -> int | None:
    top = body.get("top_logprobs")
    if not body.get("logprobs"):
        if top is not None:
            raise _bad("'top_logprobs' needs 'logprobs' to be true")
        return None
    return _whole("top_logprobs", 0 if top is None else top, least=0, most=MAX_TOP_LOGPROBS)


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise _bad(f"'stop' must be a text or a list of up to {MAX_STOPS} texts, none of them empty")
    return tuple(map(storable, stops))


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
    # OpenAI's newer word for the same; templates that know it take "system" for it, and most know only that.
    role = "system" if item["role"] == "developer" else item["role"]
    return {"role": storable(role), "content": storable(content)}


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

    def chunk(self, *choices: Mapping[str, Any]) -> dict[str, Any]:
        """One ``chat.completion.chunk`` object."""
        return {**self._head("chat.completion.chunk"), "choices": list(choices)}

    def completion(self, *choices: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer at once, for requests without ``stream``."""
        return {**self._head("chat.completion"), "choices": list(choices)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def choice_delta(
    index: int, delta: Mapping[str, str], *, logprobs: Any = None, finish_reason: str | None = None
) -> dict[str, Any]:
    """One answer's part of a chunk."""
    return {"index": index, "delta": dict(delta), "logprobs": logprobs, "finish_reason": finish_reason}


def choice_whole(index: int, text: str, *, logprobs: Any, finish_reason: str) -> dict[str, Any]:
    """One whole answer."""
    message = {"role": "assistant", "content": text}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def logprobs_of(chances: Sequence[TokenChance]) -> dict[str, Any]:
    """OpenAI's object of log-probabilities."""
    content = []
    for chance in chances:
        top = [_logprob(text, logprob) for text, logprob in chance.top]
        content.append({**_logprob(chance.text, chance.logprob), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _logprob(text: str, logprob: float) -> dict[str, Any]:
    known = None if "\ufffd" in text else list(text.encode("utf-8", "replace"))  # a part of a character
    return {"token": text, "logprob": max(logprob, LOWEST_LOGPROB), "bytes": known}


def usage(prompt_tokens: int, tokens: int, remembered_tokens: int = 0) -> dict[str, Any]:
    """OpenAI's usage object; ``remembered_tokens`` of the prompt were not run again."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
        "prompt_tokens_details": {"cached_tokens": remembered_tokens},
    }

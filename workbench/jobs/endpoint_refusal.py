"""What a server says when it does not answer, in plain words, and what a person can do about it.

Owns the reading of errors in the words of OpenAI's API and of the servers that speak it. Knows no connection.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress

from workbench.domain.endpoints import Endpoint
from workbench.domain.foreign_text import cell
from workbench.errors import EngineError

_TOO_MANY_TOKENS = re.compile(r"max_(?:completion_|new_)?tokens")
# vLLM, SGLang, llama.cpp, OpenAI; what workbench serve says itself
_TOO_LONG = re.compile(r"context (?:length|size|window)|\btokens long\b", re.IGNORECASE)
_SAMPLING = re.compile(r"\b(temperature|top_p|seed)\b")


class TooLongError(EngineError):
    """The model does not read as much as it was given."""


def refusal(endpoint: Endpoint, status: int, body: bytes, location: str = "") -> EngineError:
    """What a status that is not 200 means, in plain words, with what the server says itself."""
    said, host = told(body), endpoint.host
    tail = f": {said}" if said else ""
    if status in {401, 403}:
        where = endpoint.key_source and (
            f"${endpoint.variable}" if endpoint.variable else f"the keyring (keyring set workbench {host})"
        )
        if not where:
            hint = "add the model again with --key-env VAR or --keyring"
            return EngineError(f"{host} wants a key ({status}){tail}", hint=hint)
        return EngineError(f"{host} refuses the key ({status}){tail}", hint=f"check the key in {where}")
    if status == 404:
        hint = f"is the model's name there {endpoint.model!r}, and does its API begin at {endpoint.url}?"
        return EngineError(f"{host} does not find it (404){tail}", hint=hint)
    if status == 429:
        return EngineError(f"{host} has too many requests, or the quota is used up (429){tail}", hint="ask again later")
    if 300 <= status < 400:
        return EngineError(
            f"{host} sends us elsewhere ({status}) and is not followed",
            hint=f"add the address itself: {cell(location, 200)}",
        )
    if status >= 500:
        return EngineError(f"{host} failed ({status}){tail}", hint="its own log says more; ask again")
    kind = TooLongError if _TOO_LONG.search(said) else EngineError
    return kind(f"{host} refuses the question ({status}){tail}", hint=_way_out(said))


def told(body: bytes) -> str:
    """The message of an error body, whatever its shape, on one line; "" for a page."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        for name in ("error", "detail", "message"):
            if isinstance(found, dict) and found.get(name):
                found = found[name]
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return cell(text.strip(), 300) if not text.lstrip().startswith("<") else ""


def names(value: object, said: str) -> bool:
    """True when the server speaks of this number, and not only of the word that it was given under."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and re.search(rf"(?<![\w.-]){value}(?![\w-])", said) is not None


def _way_out(said: str) -> str:
    """What a person can change, told from the server's own words."""
    if _TOO_MANY_TOKENS.search(said):
        return "set the longest answer (max tokens) lower"
    if _TOO_LONG.search(said):
        return "start a new chat, branch from an earlier turn, or set the longest answer lower"
    if found := _SAMPLING.search(said):
        return f"set another {found[1]}"
    return "change what it does not take, and ask again"

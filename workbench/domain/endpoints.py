"""Servers that answer in place of our own engine: where they are, what the model is called there, where the key is.

Owns what an address may look like and how it is written in one line. Keys themselves are never part of it: only the
name of an environment variable, or that the system's keyring has one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from workbench.errors import DataError

KEYRING = "keyring"
_FROM_VARIABLE = "env:"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDINGS = ("/chat/completions", "/completions", "/models")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible address. ``key_source`` is "", ``env:NAME`` or ``keyring``."""

    url: str
    model: str
    key_source: str = ""

    @property
    def address(self) -> str:
        """Both in one line, which is what two endpoints are told apart by."""
        return f"{self.url}#{self.model}"

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def variable(self) -> str:
        """The environment variable that has the key; "" when there is none."""
        return self.key_source.removeprefix(_FROM_VARIABLE) if self.key_source.startswith(_FROM_VARIABLE) else ""

    @property
    def sends_key_openly(self) -> bool:
        """True when a key would travel unencrypted, and further than to this machine."""
        return bool(self.key_source) and self.url.startswith("http://") and not _is_here(self.url)


def endpoint_at(address: str, key_source: str = "") -> Endpoint:
    """The endpoint whose ``address`` this is."""
    url, _, model = address.partition("#")
    return Endpoint(url, model, key_source)


def checked_endpoint(url: str, model: str, *, key_env: str = "", keyring: bool = False) -> Endpoint:
    """An endpoint from what a person gives; raises ``DataError`` for what cannot be one.

    ``/v1`` is added to an address without a path, as vLLM, llama.cpp and Ollama have it; the name of a method behind
    it is taken off.
    """
    if key_env and keyring:
        raise DataError("the key comes from a variable or from the keyring, not from both")
    if key_env and not _VARIABLE.fullmatch(key_env):
        raise DataError(
            "that is not the name of an environment variable", hint="give its name, never the key: OPENAI_API_KEY"
        )
    if not model.strip() or any(ord(character) < 32 for character in model):
        raise DataError("the model's name on the server is missing", hint="as in its list: GET /v1/models")
    key_source = KEYRING if keyring else f"{_FROM_VARIABLE}{key_env}" if key_env else ""
    return Endpoint(_checked_url(url.strip()), model.strip(), key_source)


def _checked_url(url: str) -> str:
    hint = "it looks like http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DataError(f"this is no address of a server: {error}", hint=hint) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not url.isprintable() or " " in url:
        raise DataError(f"{url!r} is no address of a server", hint=hint)
    if parts.username or parts.password:
        raise DataError("the address has a name or password in it", hint="keys come from --key-env or the keyring")
    if parts.query or parts.fragment:
        raise DataError("the address goes on behind ? or #", hint=hint)
    path = parts.path.rstrip("/")
    for ending in _ENDINGS:
        path = path.removesuffix(ending)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

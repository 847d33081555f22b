"""Who may ask a served model: the key, and the ways in which a web page could ask in the user's name.

A page that the user visits can send requests to a port of the user's own machine. A browser then names the page
(``Origin``), or, when the page's own name was made to point here (DNS rebinding), the name that it asked for
(``Host``); and it sends no JSON elsewhere without asking first. All three are looked at, before anything is read.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.domain.serving import ServeSpec, is_loopback
from workbench.worker.engine.server import response_of
from workbench.worker.engine.wire import Refusal

OPEN_PATHS = {"/health"}
BODY_SECONDS = 60.0


class Guard:
    """ASGI middleware in front of everything. ``key`` is "" where none is asked for; ``on_refused`` hears
    the path and the reason of what does not pass.
    """

    def __init__(self, app: ASGIApp, spec: ServeSpec, key: str, on_refused: Callable[[str, Refusal], None]) -> None:
        self._app = app
        self._spec = spec
        self._key = key.encode()
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass, and answer the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        except Refusal as refusal:
            self._on_refused(scope["path"], refusal)
            await response_of(refusal)(scope, receive, send)
            return
        await self._app(scope, _Limited(receive, self._spec.limits.body_bytes), send)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        if self._spec.is_local and not _is_here(headers.get("host", "")):
            raise _forbidden("this server answers to the names of this machine alone", "unknown_host")
        if (origin := headers.get("origin")) is not None and origin not in self._spec.origins:
            raise _forbidden(f"web pages of {origin} may not ask this server", "cross_origin", "serve --allow-origin")
        if path not in OPEN_PATHS and not self._has_key(headers.get("authorization", "")):
            hint = f"send it as 'Authorization: Bearer …'; it is in ${self._spec.api_key_env} where the server runs"
            raise Refusal("the API key is missing or wrong", code="invalid_api_key", status=401, hint=hint)
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refusal("requests are application/json", code="unsupported_media_type", status=415)
        limit = self._spec.limits.body_bytes
        length = headers.get("content-length", "")
        if limit and length.isdigit() and int(length) > limit:
            raise too_large(limit)

    def _has_key(self, authorization: str) -> bool:
        if not self._key:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key)


class _Limited:
    """The body as it arrives, refused once it is too large, whatever its header said, or too long on its way."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._is_whole = False

    async def __call__(self) -> Message:
        if self._is_whole:  # what comes now is the news that the client has gone, which may take for ever
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            late = f"the request has not arrived within {BODY_SECONDS:g} seconds"
            raise Refusal(late, code="request_timeout", status=408) from None
        self._is_whole = not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        if self._limit and self._seen > self._limit:
            raise too_large(self._limit)
        return message


def too_large(limit: int) -> Refusal:
    """What is said of a body beyond the limit."""
    return Refusal(f"the request is larger than {limit:,} bytes", code="request_too_large", status=413)


def _is_here(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname
    return name is not None and is_loopback(name)


def _forbidden(message: str, code: str, hint: str = "") -> Refusal:
    return Refusal(message, code=code, status=403, hint=hint)

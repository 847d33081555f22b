"""The engine's HTTP side: endpoints, server-sent events, and what happens when a client goes away. Knows no torch."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from workbench.worker.engine.desk import Desk, Done, Piece, Place, Row, RowEvent, Unload
from workbench.worker.engine.wire import Asked, Envelope, Refusal, event, keep_alive, parse_request, usage

KEEP_ALIVE_SECONDS = 0.2
UNLOAD_LIMIT_SECONDS = 600.0


class Server:
    """The endpoints over one desk. ``end_process`` asks the process to end in good order."""

    def __init__(self, desk: Desk, end_process: Callable[[], None]) -> None:
        self._desk = desk
        self._end_process = end_process

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.complete, methods=["POST"]),
            Route("/workbench/models", self.register, methods=["POST"]),
            Route("/workbench/unload", self.unload, methods=["POST"]),
            Route("/workbench/shutdown", self.shutdown, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={Refusal: _refused})

    async def health(self, request: Request) -> Response:
        """How the engine is; answers also while torch is being imported or a model loads."""
        public = self._desk.public
        return JSONResponse(
            {
                "state": public.state,
                "detail": public.detail,
                "base": public.base,
                "adapters": list(public.adapters),
                "device": public.device,
                "dtype": public.dtype,
                "pid": os.getpid(),
                "active": public.active,
                "memory_bytes": _memory_bytes(public.device),
                "mixed_batches": public.mixed_batches,
            }
        )

    async def models(self, request: Request) -> Response:
        """The registered models, as OpenAI lists them."""
        places = sorted(self._desk.places(), key=lambda place: place.name)
        data = [{"id": p.name, "object": "model", "created": 0, "owned_by": "workbench"} for p in places]
        return JSONResponse({"object": "list", "data": data})

    async def register(self, request: Request) -> Response:
        """Tell the engine where a model is; nothing is loaded yet."""
        body = await _json(request)
        base = body.get("base")
        name, path = _named(body, "the model")
        under = _named(base, "the base") if base is not None else None
        place = await asyncio.to_thread(self._desk.register, name, path, under)
        return JSONResponse({"name": place.name, "path": place.path})

    async def unload(self, request: Request) -> Response:
        """Give the memory back, once the answers that were asked for before have ended."""
        item = Unload()
        self._desk.submit(item)
        done = await asyncio.to_thread(item.done.wait, UNLOAD_LIMIT_SECONDS)
        return JSONResponse({"unloaded": done}, status_code=200 if done else 503)

    async def shutdown(self, request: Request) -> Response:
        """End the process; answers in progress end with an error."""
        self._end_process()
        return JSONResponse({"ending": True})

    async def complete(self, request: Request) -> Response:
        """One answer, streamed or whole."""
        asked = parse_request(await _json(request))
        answer = Answer(self._desk, asked, self._desk.place(asked.model))
        if not asked.stream:
            return await answer.whole(request)
        await answer.wait(KEEP_ALIVE_SECONDS)
        if answer.refusal:  # known before anything was sent: then it can be a plain HTTP error
            raise answer.refusal
        return AnswerStream(answer)


class Answer:
    """One row, seen from the event loop."""

    def __init__(self, desk: Desk, asked: Asked, place: Place) -> None:
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[RowEvent] = asyncio.Queue()
        self._envelope = Envelope(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), asked.model)
        self._text = ""
        self._tokens = 0
        self._end: Done | None = None
        self.refusal: Refusal | None = None
        self._row = Row(asked, place, self._emit)
        desk.submit(self._row)

    def cancel(self) -> None:
        """Nobody listens any more; harmless after the end."""
        self._desk.cancel(self._row)

    async def wait(self, seconds: float) -> None:
        """Collect what comes within ``seconds``: at least one event, or none in time."""
        try:
            self._take(await asyncio.wait_for(self._events.get(), seconds))
        except TimeoutError:
            return
        while not self._events.empty():
            self._take(self._events.get_nowait())

    async def whole(self, request: Request) -> Response:
        """The answer in one piece; cancelled when the client goes away."""
        try:
            while self._end is None and self.refusal is None:
                await self.wait(KEEP_ALIVE_SECONDS)
                if await request.is_disconnected():
                    return Response(status_code=499)
        finally:
            self.cancel()
        if self._end is None:
            raise self.refusal or AssertionError("an answer ends with an end or a refusal")
        body = self._envelope.completion(self._text, self._end.stop_reason.value)
        return JSONResponse({**body, **_figures(self._end)})

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer as server-sent events, with a comment whenever nothing came for a while."""
        yield event(self._envelope.chunk({"role": "assistant", "content": ""}))
        while True:
            if self._text:
                text, self._text = self._text, ""
                so_far = {"workbench": {"tokens": self._tokens}}
                yield event({**self._envelope.chunk({"content": text}), **so_far})
            if self.refusal is not None:
                yield event(self.refusal.body())
                return
            if self._end is not None:
                yield event({**self._envelope.chunk({}, self._end.stop_reason.value), **_figures(self._end)})
                yield b"data: [DONE]\n\n"
                return
            await self.wait(KEEP_ALIVE_SECONDS)
            if not self._text and self._end is None:
                public = self._desk.public
                yield keep_alive(public.state, public.detail, base=public.base)

    def _emit(self, row_event: RowEvent) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, row_event)

    def _take(self, row_event: RowEvent) -> None:
        match row_event:
            case Piece(text, tokens):
                self._text += text
                self._tokens = tokens
            case Done():
                self._end = row_event
            case Refusal():
                self.refusal = row_event


class AnswerStream(StreamingResponse):
    """A streamed answer whose row is cancelled however the response ends."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.chunks(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; a closed connection ends this early."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.cancel()


def _figures(end: Done) -> dict[str, Any]:
    own = {
        "first_token_ms": end.first_token_ms,
        "duration_ms": end.duration_ms,
        "stop_reason": end.stop_reason.value,
    }
    return {"usage": usage(end.prompt_tokens, end.tokens, end.remembered_tokens), "workbench": own}


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise Refusal(f"the request is not JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal("the request must be a JSON object", code="invalid_json")
    return body


def _named(body: Any, what: str) -> tuple[str, str]:
    name, path = (body.get("name"), body.get("path")) if isinstance(body, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(path, str) or not name or not path:
        raise Refusal(f"{what} needs a 'name' and a 'path'", code="invalid_value")
    return name, path


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(error.body(), status_code=error.status)


def _memory_bytes(device: str) -> int:
    """Memory in use: of the GPU where there is one, else the process's resident memory."""
    if device.startswith("cuda"):
        import torch  # long imported by the scheduler when the device is known

        return int(torch.cuda.memory_reserved())
    import psutil  # 15 ms, once

    return int(psutil.Process().memory_info().rss)

"""The engine's HTTP side on its own socket: endpoints and errors. Knows no torch."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workbench.worker.engine.answering import KEEP_ALIVE_SECONDS, Answer, AnswerStream
from workbench.worker.engine.desk import Desk, Unload
from workbench.worker.engine.wire import Refusal, parse_request

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
        return Starlette(routes=routes, exception_handlers={Refusal: refused})

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
                "precision": public.precision,
                "pid": os.getpid(),
                "active": public.active,
                "memory_bytes": memory_bytes(public.device),
                "note": public.note,
                "waiting": public.waiting,
                "remembered_bytes": public.remembered_bytes,
                "mixed_batches": public.mixed_batches,
            }
        )

    async def models(self, request: Request) -> Response:
        """The registered models, as OpenAI lists them."""
        return JSONResponse(models_of(self._desk))

    async def register(self, request: Request) -> Response:
        """Tell the engine where a model is; nothing is loaded yet."""
        body = await json_of(request)
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
        asked = parse_request(await json_of(request))
        return await respond(request, Answer(self._desk, asked, self._desk.place(asked.model)), stream=asked.stream)


def models_of(desk: Desk) -> dict[str, Any]:
    """The registered models, as OpenAI lists them."""
    places = sorted(desk.places(), key=lambda place: place.name)
    return {"object": "list", "data": [model_object(place.name) for place in places]}


def model_object(name: str) -> dict[str, Any]:
    """One model, as OpenAI shows it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "workbench"}


async def respond(request: Request, answer: Answer, *, stream: bool) -> Response:
    """The answer streamed or whole; a refusal that comes at once is a plain HTTP error either way."""
    if not stream:
        return await answer.whole(request)
    await answer.wait(KEEP_ALIVE_SECONDS)
    if answer.refusal:
        answer.close()
        raise answer.refusal
    return AnswerStream(answer)


async def json_of(request: Request) -> dict[str, Any]:
    """The request's JSON object; raises ``Refusal``."""
    try:
        body = json.loads(await request.body())
    except ClientDisconnect:
        raise Refusal("the client went away before it had said all", code="client_gone", status=499) from None
    except ValueError as error:
        raise Refusal(f"the request is not JSON: {error}", code="invalid_json") from None
    except RecursionError:
        raise Refusal("the request is nested too deeply", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal("the request must be a JSON object", code="invalid_json")
    return body


def _named(body: Any, what: str) -> tuple[str, str]:
    name, path = (body.get("name"), body.get("path")) if isinstance(body, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(path, str) or not name or not path:
        raise Refusal(f"{what} needs a 'name' and a 'path'", code="invalid_value")
    return name, path


async def refused(request: Request, error: Exception) -> Response:
    """A ``Refusal`` as the protocol's error."""
    assert isinstance(error, Refusal)
    return response_of(error)


def response_of(refusal: Refusal) -> Response:
    """The protocol's error over HTTP."""
    return JSONResponse(refusal.body(), status_code=refusal.status, headers=refusal.headers)


def memory_bytes(device: str) -> int:
    """Memory in use: of the GPU where there is one, else the process's resident memory."""
    if device.startswith("cuda"):
        import torch  # long imported by the scheduler when the device is known

        return int(torch.cuda.memory_reserved())
    import psutil  # 15 ms, once

    return int(psutil.Process().memory_info().rss)

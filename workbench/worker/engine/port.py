"""The engine on a TCP port, for applications: ``python -m workbench.worker.engine.port SPEC PARENT``.

SPEC is a ``ServeSpec`` as JSON, PARENT the process that it ends with. Says on standard output, in one line of JSON
each, ``{"url"}`` once the models are in memory and answer, or ``{"error", "hint", "code"}``. SIGTERM and SIGINT let the
answers under way come to their end, for as long as the spec says; a second one does not.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from workbench.domain.serving import ServeSpec, serve_spec_from_dict
from workbench.worker.engine.answering import Answer
from workbench.worker.engine.counting import Counts
from workbench.worker.engine.desk import Desk, Done, Row, RowEvent
from workbench.worker.engine.guarding import Guard
from workbench.worker.engine.running import let_the_server_end_on_signals, schedule
from workbench.worker.engine.server import json_of, model_object, models_of, refused, respond
from workbench.worker.engine.wire import Asked, Refusal, parse_request
from workbench.worker.quantising import leave_out_bitsandbytes

BUSY = 6
WATCH_SECONDS = 1.0
ANSWERS = "/v1/chat/completions"


class Port:
    """The endpoints for applications over one desk. ``key`` is "" where none is asked for."""

    def __init__(self, desk: Desk, spec: ServeSpec, key: str) -> None:
        self.is_ready = False
        self._desk = desk
        self._spec = spec
        self._key = key
        self._counts = Counts(desk.public)
        self._open = 0

    def app(self) -> ASGIApp:
        """The ASGI application, guarded."""
        routes = [
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route(ANSWERS, self.complete, methods=["POST"]),
        ]
        app: ASGIApp = Starlette(routes=routes, exception_handlers={Refusal: refused, HTTPException: not_here})
        app = Guard(app, self._spec, self._key, self._turned_away)
        if self._spec.origins:
            app = CORSMiddleware(
                app, allow_origins=self._spec.origins, allow_methods=["GET", "POST"], allow_headers=["*"]
            )
        return app

    async def health(self, request: Request) -> Response:
        """200 when it answers, 503 while the models load. Needs no key, and tells no more than that."""
        state = "ok" if self.is_ready else "loading"
        return JSONResponse({"status": state}, status_code=200 if self.is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        return self._counts.page()

    async def models(self, request: Request) -> Response:
        """The models served."""
        return JSONResponse(models_of(self._desk))

    async def model(self, request: Request) -> Response:
        """One of them."""
        return JSONResponse(model_object(self._desk.place(request.path_params["name"]).name))

    async def complete(self, request: Request) -> Response:
        """One request for answers, within the limits."""
        body: dict[str, Any] = {}
        try:
            body = await json_of(request)
            answer = self._accept(body)
        except Refusal as refusal:
            known = [place.name for place in self._desk.places()]  # no set: what is asked for may be a list
            self._counts.refused(body["model"] if body.get("model") in known else "", refusal.code)
            raise
        return await respond(request, answer, stream=answer.asked.stream)

    def _accept(self, body: dict[str, Any]) -> Answer:
        limits = self._spec.limits
        if limits.max_tokens and body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
            body = {**body, "max_tokens": limits.max_tokens}
        asked = parse_request(body)
        if limits.max_tokens and asked.max_tokens > limits.max_tokens:
            message = f"'max_tokens' may be {limits.max_tokens} at most here"
            raise Refusal(message, code="invalid_value", hint="serve with a larger --max-tokens")
        place = self._desk.place(asked.model)
        if limits.concurrent and self._open >= limits.concurrent:
            message = f"{self._open} requests are being answered, and no more at a time are allowed"
            raise Refusal(message, code="too_many_requests", status=429, hint="ask again in a moment")
        answer = Answer(self._desk, asked, place, limit_seconds=limits.seconds, on_close=self._closed)
        self._open += 1
        return answer

    def _turned_away(self, path: str, refusal: Refusal) -> None:
        if path == ANSWERS:
            self._counts.refused("", refusal.code)

    def _closed(self, answer: Answer) -> None:
        self._open -= 1
        self._counts.answered(answer)


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes."""
    given, parent = arguments or sys.argv[1:]
    spec = serve_spec_from_dict(json.loads(given))
    key = os.environ.get(spec.api_key_env, "") if spec.api_key_env else ""
    if not key and (spec.api_key_env or not spec.is_local):
        return say_error("there is no API key", hint="name an environment variable that holds one: --api-key-env")
    try:
        listener = listen(spec.host, spec.port)
    except OSError as error:
        hint = "choose another --port; 0 takes any that is free"
        return say_error(f"cannot listen on {spec.host} port {spec.port}: {error.strerror}", hint=hint, code=BUSY)
    with listener:
        return serve(spec, key, listener, int(parent))


def serve(spec: ServeSpec, key: str, listener: socket.socket, parent: int) -> int:
    """Run server and scheduler until the end; 0 for an end that was asked for."""
    import uvicorn  # 0.1 s

    from workbench.worker.engine.connections import TimedConnection  # with uvicorn

    desk = Desk()
    for place in spec.models:
        desk.register(place.name, place.path, (place.base.name, place.base.path) if place.base else None)
    port = Port(desk, spec, key)
    server = uvicorn.Server(
        uvicorn.Config(
            port.app(),
            http=TimedConnection,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=round(spec.drain_seconds),
            timeout_keep_alive=60,
        )
    )
    let_the_server_end_on_signals()
    threading.Thread(target=schedule, args=(desk, spec.precision), name="scheduler", daemon=True).start()
    failures: list[Refusal] = []

    def get_ready() -> None:
        try:
            for place in spec.models:
                warm_up(desk, place.name)
        except Refusal as refusal:
            failures.append(refusal)
            server.should_exit = True
            return
        port.is_ready = True
        print(json.dumps({"url": url_of(spec.host, listener)}), flush=True)

    threading.Thread(target=get_ready, daemon=True).start()
    threading.Thread(target=watch_parent, args=(server, parent), daemon=True).start()
    server.run(sockets=[listener])
    return say_error(failures[0].message, hint=failures[0].hint) if failures else 0


def warm_up(desk: Desk, name: str) -> None:
    """Bring a model into memory and have it answer one token; raises the ``Refusal`` of one that cannot."""
    events: queue.SimpleQueue[RowEvent] = queue.SimpleQueue()
    asked = Asked(name, ({"role": "user", "content": "Hello"},), 0.0, 1.0, 1, 0, (), False)
    desk.submit(Row(asked, desk.place(name), events.put))
    while not isinstance(heard := events.get(), Done):
        if isinstance(heard, Refusal):
            raise heard


async def not_here(request: Request, error: Exception) -> Response:
    """An address that this server does not have, in the form that clients of the protocol can read."""
    assert isinstance(error, HTTPException)
    refusal = Refusal(
        f"{request.method} {request.url.path} is not answered here",
        code="unknown_url" if error.status_code == 404 else "method_not_allowed",
        status=error.status_code,
        hint="this server has POST /v1/chat/completions and GET /v1/models",
    )
    return JSONResponse(refusal.body(), status_code=error.status_code, headers=error.headers)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; raises ``OSError``."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.listen(128)
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """Where clients find it, with the port that it really has."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/v1"


def watch_parent(server: Any, parent: int) -> None:
    """Ask for the end once the process that started this one is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    server.should_exit = True


def say_error(message: str, *, hint: str = "", code: int = 1) -> int:
    """Tell the parent what went wrong; gives back the exit code."""
    print(json.dumps({"error": message, "hint": hint, "code": code}), flush=True)
    return code


if __name__ == "__main__":
    leave_out_bitsandbytes()  # until weights in 4 or 8 bits are asked for
    ended = main()
    sys.stdout.flush()
    os._exit(ended)  # torch's threads make an ordinary interpreter exit slow, and sometimes crash it

"""A small server that speaks OpenAI's chat completions as its script says: well, badly, slowly, or not at all."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler], None]


class FakeServer:
    """One server on this machine. ``replies`` are given in their order; then every question gets ``default``."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.replies: deque[Reply] = deque()
        self.default: Reply = says("Hello", " there.")
        self.models = ["base", "tuned"]
        self.owner = ""
        self.gone = threading.Event()
        """Set when a client has closed its connection while it was being answered."""
        self.asked = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[FakeServer]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                listed = [{"id": name, "owned_by": server.owner} for name in server.models]
                refuses(200, {"object": "list", "data": listed})(self)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with server._lock:
                    server.bodies.append(json.loads(body))
                    server.keys.append(self.headers.get("Authorization", ""))
                    reply = server.replies.popleft() if server.replies else server.default
                server.asked.set()
                try:
                    reply(self)
                except OSError:
                    server.gone.set()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def send(handler: BaseHTTPRequestHandler, *datas: str) -> None:
    """Events of a stream."""
    for data in datas:
        handler.wfile.write(f"data: {data}\n\n".encode("utf-8", "surrogatepass"))
        handler.wfile.flush()


def begin(handler: BaseHTTPRequestHandler) -> None:
    """The head of a stream."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True


def chunk(text: str = "", finish: str | None = None, **delta: Any) -> str:
    """One chunk of an answer."""
    delta = delta or ({"content": text} if text else {})
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}, ensure_ascii=False)


USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5}})


def says(*pieces: str, finish: str = "stop", done: bool = True, usage: bool = True) -> Reply:
    """A good answer, piece by piece."""
    datas = [*map(chunk, pieces), chunk(finish=finish), *([USAGE] if usage else []), *(["[DONE]"] if done else [])]
    return streams(*datas)


def streams(*datas: str) -> Reply:
    """Exactly these events, then the end of the connection."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        send(handler, *datas)

    return reply


def holds(*datas: str) -> Reply:
    """These events, then nothing until the client goes."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        send(handler, *datas)
        handler.connection.settimeout(20)
        if not handler.connection.recv(1):  # the client closed
            raise ConnectionResetError

    return reply


def refuses(status: int, body: object = None, headers: dict[str, str] | None = None) -> Reply:
    """A whole reply: JSON, or the text itself."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        data = text.encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return reply

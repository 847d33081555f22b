"""The engine seen from a bench: is it there, start it, ask it, give its memory back.

Speaks the engine protocol (OpenAI chat completions over a Unix socket) and knows no weights. Everything here is
synchronous, may be called from any thread, and never waits for ever: a dead engine becomes an ``EngineError``.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from workbench.domain.chats import StopReason
from workbench.domain.serving import (
    GO_ON_FIELDS,
    AnswerEnd,
    AnswerEvent,
    AnswerNotice,
    ChatRequest,
    EngineState,
    EngineStatus,
    ModelPlace,
    TextPiece,
)
from workbench.errors import EngineError
from workbench.jobs.endpoint_answer import chances_of
from workbench.jobs.processes import ProcessIdentity, child_environment, log_tail, module_argv, spawn_detached
from workbench.paths import Workspace

if TYPE_CHECKING:
    import httpx

START_LIMIT_SECONDS = 60.0
START_ATTEMPTS = 2
HEALTH_LIMIT_SECONDS = 5.0
SILENCE_LIMIT_SECONDS = 60.0
UNLOAD_LIMIT_SECONDS = 620.0
END_LIMIT_SECONDS = 10.0
LOG_LIMIT_BYTES = 1_000_000
KILLED = "it was killed (out of memory?)"

OnStatus = Callable[[EngineStatus], None]


class Engine(Protocol):
    """What flows need of an engine; the tests have one without a process."""

    def status(self) -> EngineStatus:
        """The engine now; never raises."""

    def ensure(self, on_status: OnStatus | None = None) -> None:
        """Start the engine unless one answers. Raises ``EngineError``."""

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: OnStatus | None = None
    ) -> Iterator[AnswerEvent]:
        """Ask for one answer: text pieces, then always an ``AnswerEnd``, or an ``EngineError`` in plain words."""

    def unload(self) -> None:
        """Give the model's memory back; the engine stays."""

    def shutdown(self) -> None:
        """End the engine."""


class EngineClient:
    """The engine of one workspace, in a process of its own that outlives this one."""

    def __init__(self, workspace: Workspace, *, idle_minutes: float = 30.0, precision: str = "auto") -> None:
        self._workspace = workspace
        self._idle_minutes = idle_minutes
        self._precision = precision
        self._socket = workspace.socket
        self._pid_file = workspace.socket.with_suffix(".pid")

    def status(self) -> EngineStatus:
        """The engine now; never raises. ``DIED`` stays until it is started again or shut down."""
        health = self._health()
        if health is not None:
            return health
        identity = self._remembered()
        if identity is None:
            return EngineStatus(EngineState.OFF)
        if identity.is_alive():
            return EngineStatus(EngineState.STARTING, "the engine does not answer yet", pid=identity.pid)
        return EngineStatus(EngineState.DIED, f"the engine died: {self._cause_of_death()}")

    def ensure(self, on_status: OnStatus | None = None) -> None:
        """Start the engine unless one answers; benches that do this at once get one engine between them.

        Returns when it answers, which is before torch is imported; the status tells how far it is.
        Raises ``EngineError`` when it cannot be started.
        """
        self._bring_up(on_status, threading.Event())

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: OnStatus | None = None
    ) -> Iterator[AnswerEvent]:
        """Ask for one answer, starting the engine if needed.

        Ends with an ``AnswerEnd`` (``CANCELLED`` within 0.3 s of ``cancelled`` being set; its token count is then what
        had arrived), or raises ``EngineError``: the engine's own refusal, or that it died. Closing the generator
        cancels the answer too.
        """
        import httpx  # 80 ms

        clock = _Clock()
        if not self._bring_up(on_status, cancelled):
            yield clock.cancelled()
            return
        self._register(request.model)
        try:
            with (
                self._http() as http,
                http.stream(
                    "POST", "/v1/chat/completions", json=_body(request), timeout=SILENCE_LIMIT_SECONDS
                ) as response,
            ):
                if response.status_code != 200:
                    raise _refusal(response.read())
                yield from _events(response.iter_lines(), clock, cancelled, on_status)
        except httpx.HTTPError as error:
            raise self._broken_off(error) from None

    def unload(self) -> None:
        """Give the model's memory back, once the answers under way have ended."""
        if self._health() is not None:
            self._post("/workbench/unload", {}, limit=UNLOAD_LIMIT_SECONDS)

    def shutdown(self) -> None:
        """End the engine and wait until it is gone; also forgets one that died. Raises ``EngineError`` if it stays."""
        identity = self._remembered()
        if identity is None or not identity.is_alive():
            self._pid_file.unlink(missing_ok=True)
            return
        try:
            self._post("/workbench/shutdown", {})
        except EngineError:
            _terminate(identity)
        if not _gone(identity, END_LIMIT_SECONDS):
            raise EngineError(f"the engine (process {identity.pid}) does not end", hint=f"kill {identity.pid}")
        self._pid_file.unlink(missing_ok=True)

    def log_lines(self, lines: int = 20) -> list[str]:
        """The last lines of what the engine printed."""
        return log_tail(self._workspace.engine_log, lines=lines)

    # Starting

    def _bring_up(self, on_status: OnStatus | None, cancelled: threading.Event) -> bool:
        """Start the engine if needed; False when cancelled meanwhile."""
        tell = on_status or (lambda status: None)
        child: ProcessIdentity | None = None
        attempts = 0
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while (health := self._health()) is None or self._is_to_be_replaced(health):
            if cancelled.is_set():
                return False
            if health is not None:
                self.shutdown()
                continue
            if time.monotonic() > deadline:
                raise self._no_start("it does not answer")
            other = self._remembered()
            if not any(process is not None and process.is_alive() for process in (child, other)):
                if attempts == START_ATTEMPTS:
                    raise self._no_start(self._cause_of_death())
                child, attempts = self._spawn(), attempts + 1
                tell(EngineStatus(EngineState.STARTING, "starting the engine", pid=child.pid))
            time.sleep(0.05)
        tell(health)
        return True

    def _is_to_be_replaced(self, status: EngineStatus) -> bool:
        """True for an engine that would load the next base otherwise than wanted, and has none now."""
        return self._is_otherwise(status) and status.state is EngineState.IDLE and not status.active

    def _spawn(self) -> ProcessIdentity:
        log = self._workspace.engine_log
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.unlink()
        options = ("--idle-minutes", str(self._idle_minutes), "--precision", self._precision)
        argv = module_argv("workbench.worker.engine", "--socket", str(self._socket), *options)
        try:
            return spawn_detached(argv, log, child_environment())
        except OSError as error:
            raise EngineError(f"the engine could not be started: {error}", hint="workbench doctor") from error

    def _no_start(self, why: str) -> EngineError:
        return EngineError(f"the engine could not be started: {why}", hint=f"see {self._workspace.engine_log}")

    # Looking

    def _health(self) -> EngineStatus | None:
        import httpx  # 80 ms

        if not self._socket.exists() or self._socket.parent.stat().st_uid != os.getuid():
            return None
        try:
            with self._http() as http:
                answer = http.get("/health", timeout=HEALTH_LIMIT_SECONDS).raise_for_status().json()
            return self._compared(_status(answer))
        except (httpx.HTTPError, ValueError, KeyError):
            return None

    def _compared(self, status: EngineStatus) -> EngineStatus:
        """The status, with a note when the engine that runs loads bases otherwise than this bench wants them."""
        if not self._is_otherwise(status):
            return status
        other = f"precision {status.precision} until the model is unloaded, then {self._precision}"
        return replace(status, note="; ".join(filter(None, [status.note, other])))

    def _is_otherwise(self, status: EngineStatus) -> bool:
        return status.precision not in {"", self._precision}

    def _remembered(self) -> ProcessIdentity | None:
        try:
            noted = json.loads(self._pid_file.read_text(encoding="utf-8"))
            return ProcessIdentity(int(noted["pid"]), float(noted["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _cause_of_death(self) -> str:
        """The last line of the log when it tells of an error, else the usual suspect."""
        lines = [line for line in self.log_lines(200) if line.strip()]
        if lines and lines[-1].startswith("engine ") and lines[-1].endswith(" ended"):
            return "it ended at once"
        start = max((i for i, line in enumerate(lines) if line.startswith("engine ")), default=-1)
        own = lines[start + 1 :]
        crashed = any(line.startswith("Traceback ") for line in own) and "Error" in own[-1]
        return own[-1] if crashed or (own and start < 0) else KILLED

    def _broken_off(self, error: Exception) -> EngineError:
        identity = self._remembered()
        if identity is None:
            return EngineError("the engine was shut down while answering", hint="ask again to start it")
        if _gone(identity, 1.0):
            return EngineError(
                f"the engine died while answering: {self._cause_of_death()}",
                hint="ask again to start it afresh; a smaller model or a shorter chat needs less memory",
            )
        return EngineError(f"the engine stopped answering ({type(error).__name__})", hint="ask again")

    # Speaking

    def _http(self) -> httpx.Client:
        import httpx  # 80 ms

        transport = httpx.HTTPTransport(uds=str(self._socket), verify=False, trust_env=False)
        return httpx.Client(transport=transport, base_url="http://engine", timeout=5.0, trust_env=False)

    def _post(self, path: str, body: dict[str, Any], *, limit: float = 10.0) -> None:
        import httpx  # 80 ms

        try:
            with self._http() as http:
                response = http.post(path, json=body, timeout=limit)
        except httpx.HTTPError as error:
            raise self._broken_off(error) from None
        if response.status_code != 200:
            raise _refusal(response.content)

    def _register(self, place: ModelPlace) -> None:
        base = {"name": place.base.name, "path": place.base.path} if place.base else None
        self._post("/workbench/models", {"name": place.name, "path": place.path, "base": base})


def free_the_gpu(engine: Engine) -> None:
    """Have a running engine give its memory back where that is a GPU's, once the answers under way have ended."""
    if engine.status().device.startswith("cuda"):
        engine.unload()


class _Clock:
    """Counts and times an answer on this side, for the case that its end never arrives."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first_ms = 0
        self._tokens = 0

    def piece(self, tokens: int) -> None:
        self._tokens = tokens
        self._first_ms = self._first_ms or self._elapsed_ms()

    def cancelled(self) -> AnswerEnd:
        return AnswerEnd(StopReason.CANCELLED, 0, self._tokens, self._first_ms, self._elapsed_ms())

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._start))


def _events(
    lines: Iterator[str], clock: _Clock, cancelled: threading.Event, on_status: OnStatus | None
) -> Iterator[AnswerEvent]:
    """The answer's events from the lines of its event stream; the engine comments at least four times a second."""
    for line in lines:
        if cancelled.is_set():
            yield clock.cancelled()
            return
        if line.startswith(": keep-alive ") and on_status is not None:
            on_status(_progress(line.removeprefix(": keep-alive ")))
        if not line.startswith("data: {"):
            continue
        data = json.loads(line.removeprefix("data: "))
        if "error" in data:
            raise _refusal(data)
        choice, own = data["choices"][0], data.get("workbench", {})
        if notice := own.get("notice"):
            yield AnswerNotice(notice)
        chances = chances_of(choice.get("logprobs"))
        if (text := choice["delta"].get("content")) or chances:
            clock.piece(own.get("tokens", 0))
            yield TextPiece(text or "", chances)
        if choice["finish_reason"] is not None:
            yield _end(data["usage"], own)
            return
    raise EngineError("the engine ended the answer without an end", hint="ask again")


def _end(usage: dict[str, Any], own: dict[str, Any]) -> AnswerEnd:
    return AnswerEnd(
        StopReason(own["stop_reason"]),
        usage["prompt_tokens"],
        usage["completion_tokens"],
        own["first_token_ms"],
        own["duration_ms"],
        usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),  # an engine from before an update
    )


def _progress(comment: str) -> EngineStatus:
    noted = json.loads(comment)
    return EngineStatus(EngineState(noted["state"]), noted["detail"], base=noted["base"])


def _status(health: dict[str, Any]) -> EngineStatus:
    return EngineStatus(
        EngineState(health["state"]),
        detail=health["detail"],
        base=health["base"],
        adapters=tuple(health["adapters"]),
        device=health["device"],
        dtype=health["dtype"],
        pid=health["pid"],
        active=health["active"],
        memory_bytes=health["memory_bytes"],
        note=health.get("note", ""),  # an engine from before an update may still be running
        precision=health.get("precision", ""),
    )


def _body(request: ChatRequest) -> dict[str, Any]:
    sampling, top = request.sampling, request.top_logprobs
    asked: dict[str, Any] = {} if top is None else {"logprobs": True, "top_logprobs": top}
    if request.trim:
        asked["truncation"] = "auto"
    if request.go_on:
        asked |= GO_ON_FIELDS
    return {
        "model": request.model.name,
        "messages": [turn.as_dict() for turn in request.turns],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(request.stop),
        "stream": True,
        **asked,
    }


def _refusal(body: bytes | dict[str, Any]) -> EngineError:
    """The engine's error object as our error, whatever shape it really has."""
    try:
        error = (json.loads(body) if isinstance(body, bytes) else body)["error"]
        return EngineError(str(error["message"]), hint=str(error.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")[:200] if isinstance(body, bytes) else str(body)[:200]
        return EngineError(f"the engine answered in an unknown way: {text}")


def _terminate(identity: ProcessIdentity) -> None:
    import psutil  # 15 ms

    try:
        process = psutil.Process(identity.pid)
        process.terminate()
        process.wait(END_LIMIT_SECONDS / 2)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()


def _gone(identity: ProcessIdentity, limit_seconds: float) -> bool:
    deadline = time.monotonic() + limit_seconds
    while identity.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True

"""Asking a server elsewhere: OpenAI's chat completions, streamed, as an ``Engine`` gives them.

Owns the connection: keys looked up when they are needed, retries where nothing can be asked twice, plain words for what
went wrong. Reads the stream in a thread of its own, so that a silent server can be left at once. Knows no weights.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from workbench.domain.chats import StopReason
from workbench.domain.endpoints import KEYRING, Endpoint
from workbench.domain.foreign_text import cell
from workbench.domain.serving import (
    GO_ON_FIELDS,
    AnswerEnd,
    AnswerEvent,
    ChatRequest,
    EngineState,
    EngineStatus,
    TextPiece,
    is_loopback,
)
from workbench.errors import EngineError
from workbench.jobs.endpoint_answer import LONGEST_CHARACTERS, EndpointAnswer
from workbench.jobs.endpoint_refusal import TooLongError, names, refusal, told
from workbench.jobs.endpoint_trimming import fitted
from workbench.jobs.endpoint_turns import MOST_TURNS, BrokenOffError, Turns, without

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

    from workbench.jobs.engine import Engine, OnStatus

KEYRING_SERVICE = "workbench"
ATTEMPTS = 4
LONGEST_PAUSE_SECONDS = 30.0
TICK_SECONDS = 0.2
LIST_LIMIT_SECONDS = 5.0
LIST_BODY_BYTES = 4_000_000
ERROR_BODY_BYTES = 65_536
WHOLE_BODY_BYTES = 4 * LONGEST_CHARACTERS
EVENT_CHARACTERS = 4 * LONGEST_CHARACTERS
GOING_ON = {"vllm", "sglang", "workbench"}  # who these servers say owns their models
_REFUSES_A_WORD = {400, 403, 422, 501}  # 403: OpenAI, of models whose log-probabilities it keeps to itself
_BUSY = {429, 502, 503, 529}
_EVENT_END = re.compile(r"\n\n|\r\r|\r\n\r\n")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may take, in seconds: to be reached, and between two signs of life."""

    connect: float = 10.0
    silence: float = 300.0
    pause: float = 0.5


class Speaker(Protocol):
    """What answers for endpoints; tests have their own."""

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: OnStatus | None = None
    ) -> Iterator[AnswerEvent]:
        """As ``Engine.stream``."""


class RoutedEngine:
    """The engine of this machine, and servers elsewhere for the models that are there: one ``Engine`` for both."""

    def __init__(self, local: Engine, remote: Speaker | None = None) -> None:
        self.local = local
        self._remote = remote or EndpointClient()

    def status(self) -> EngineStatus:
        """The engine here."""
        return self.local.status()

    def ensure(self, on_status: OnStatus | None = None) -> None:
        """Start the engine here."""
        self.local.ensure(on_status)

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: OnStatus | None = None
    ) -> Iterator[AnswerEvent]:
        """Ask whoever has the model."""
        speaker: Speaker = self.local if request.model.endpoint is None else self._remote
        return speaker.stream(request, cancelled=cancelled, on_status=on_status)

    def unload(self) -> None:
        """Give the memory of the engine here back."""
        self.local.unload()

    def shutdown(self) -> None:
        """End the engine here."""
        self.local.shutdown()


class EndpointClient:
    """Asks OpenAI-compatible servers. Keeps nothing between two questions, and no key longer than one."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._turns: dict[str, Turns] = {}

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: OnStatus | None = None
    ) -> Iterator[AnswerEvent]:
        """One answer; ends as ``Engine.stream`` does. A cancel, or closing the generator, closes the connection.

        With ``request.trim`` a chat that is too long is asked again without its oldest turns, which a notice tells.

        What could not have been answered yet is asked again, a few times and ever later: no connection, a server
        that says it is busy (429, 502, 503, 529). Once text has come nothing is asked twice.
        """
        endpoint = request.model.endpoint
        assert endpoint is not None
        if request.go_on:
            self._check_goes_on(endpoint)
        turns = self._turns.setdefault(endpoint.url, Turns())  # in one step: two may ask first at the same time
        given, clock = "", time.monotonic()
        for turn in range(1, MOST_TURNS + 1):
            if not turns.take(cancelled):
                yield AnswerEnd(StopReason.CANCELLED, 0, 0, 0, round(1000 * (time.monotonic() - clock)))
                return
            try:
                events = fitted(request, lambda asked: self._asked(asked, endpoint, cancelled, on_status))
                for event in without(given, events):
                    given += event.text if isinstance(event, TextPiece) else ""
                    yield event
                return
            except BrokenOffError as error:
                if not turns.broke_off() or turn == MOST_TURNS:
                    raise EngineError(error.message, hint=error.hint) from None
            finally:
                turns.leave()

    def _asked(
        self, request: ChatRequest, endpoint: Endpoint, cancelled: threading.Event, on_status: OnStatus | None
    ) -> Iterator[AnswerEvent]:
        """One try."""
        reading = _Reading(request, endpoint, key_of(endpoint), self._patience)
        reading.start()
        began, pieces = time.monotonic(), 0
        try:
            while True:
                if cancelled.is_set():
                    yield AnswerEnd(StopReason.CANCELLED, 0, pieces, 0, round(1000 * (time.monotonic() - began)))
                    return
                try:
                    event = reading.events.get(timeout=TICK_SECONDS)
                except queue.Empty:
                    if reading.is_dead():
                        raise EngineError(f"what {endpoint.host} sent could not be read", hint="ask again") from None
                    if on_status is not None:
                        on_status(EngineStatus(EngineState.REMOTE, reading.waits_for))
                    continue
                if isinstance(event, EngineError):
                    raise event
                pieces += isinstance(event, TextPiece)
                yield event
                if isinstance(event, AnswerEnd):
                    return
        finally:
            reading.stop()

    def served(self, endpoint: Endpoint) -> list[str]:
        """The names that the server lists. Raises ``EngineError``."""
        return [str(one["id"]) for one in self._listed(endpoint)]

    def _check_goes_on(self, endpoint: Endpoint) -> None:
        """Refuse a server that would begin a new answer instead: nothing in an answer tells that it did."""
        owners = {str(one.get("owned_by")) for one in self._listed(endpoint)}
        if not owners & GOING_ON:
            raise EngineError(
                f"{endpoint.host} does not say that it can go on with an answer",
                hint="vLLM, SGLang and `workbench serve` can; elsewhere ask for another answer",
            )

    def _listed(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        import httpx  # 80 ms

        headers = _headers(key_of(endpoint))
        deadline = time.monotonic() + LIST_LIMIT_SECONDS
        body = bytearray()
        try:
            with (
                _connections(endpoint, httpx.Client, LIST_LIMIT_SECONDS) as http,
                http.stream("GET", f"{endpoint.url}/models", headers=headers) as answer,
            ):
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > LIST_BODY_BYTES or time.monotonic() > deadline:
                        raise EngineError(f"{endpoint.host} does not come to the end of its list of models")
        except httpx.HTTPError as error:
            raise _unreachable(endpoint, error) from None
        if answer.status_code != 200:
            raise refusal(endpoint, answer.status_code, bytes(body))
        try:
            listed = json.loads(body)["data"]
            return [{**one, "id": one["id"]} for one in listed]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise EngineError(f"{endpoint.host} does not list its models as OpenAI's API does") from None


def key_of(endpoint: Endpoint) -> str:
    """The key for this endpoint, "" when it needs none. Raises ``EngineError`` when it is not where it should be."""
    if endpoint.key_source == KEYRING:
        return _checked_key(_from_keyring(endpoint), "the keyring")
    if not endpoint.variable:
        return ""
    key = os.environ.get(endpoint.variable, "")
    if not key.strip():
        raise EngineError(
            f"the key for {endpoint.host} is not there: ${endpoint.variable} is not set",
            hint=f"export {endpoint.variable}=… before starting workbench",
        )
    return _checked_key(key, f"${endpoint.variable}")


def remember_key(endpoint: Endpoint, key: str) -> None:
    """Put a key into the system's keyring, under the server's host. Raises ``EngineError``."""
    from keyring.errors import KeyringError

    try:
        _keyring().set_password(KEYRING_SERVICE, endpoint.host, _checked_key(key, "what was typed"))
    except KeyringError as error:
        raise EngineError(f"the system's keyring does not take the key: {error}", hint="use --key-env") from None


def _from_keyring(endpoint: Endpoint) -> str:
    keyring = _keyring()
    from keyring.errors import KeyringError

    try:
        key = keyring.get_password(KEYRING_SERVICE, endpoint.host)
    except KeyringError as error:
        raise EngineError(f"the system's keyring does not open: {error}", hint="unlock it, or use --key-env") from None
    if not key:
        raise EngineError(
            f"the keyring has no key for {endpoint.host}",
            hint=f"keyring set {KEYRING_SERVICE} {endpoint.host}",
        )
    return str(key)


def _keyring() -> Any:
    try:
        import keyring  # 60 ms, and optional
    except ImportError:
        raise EngineError(
            "keys in the system's keyring need the keyring library",
            hint="pip install 'workbench[keyring]', or use --key-env",
        ) from None
    return keyring


def _checked_key(key: str, where: str) -> str:
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise EngineError(f"what is in {where} cannot be a key: it has blanks or unusual characters")
    return key


def _headers(key: str) -> dict[str, str]:
    """Nothing compressed: a few bytes could become a memory full of them."""
    return {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}


C = TypeVar("C", bound="httpx.Client | httpx.AsyncClient")


def _connections(endpoint: Endpoint, client: type[C], timeout: httpx.Timeout | float) -> C:
    """A client for this endpoint, through the environment's proxy unless the server is on this machine."""
    import httpx

    url = urlsplit(endpoint.url)
    is_here = url.scheme == "http" and is_loopback(url.hostname or "")
    try:
        return client(timeout=timeout, trust_env=not is_here)
    except (
        ImportError,
        ValueError,
        OSError,
        httpx.InvalidURL,
    ) as error:  # what is wrong in the environment: proxies, certificates
        why = cell(str(error), 200)
        raise EngineError(
            f"{endpoint.host} cannot be asked through the proxy or the certificates of the environment: {why}",
            hint="look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None


class _Again(EngineError):
    """Nothing was answered, and the same may be asked again, ``after`` so many seconds if the server says so."""

    def __init__(self, error: EngineError, after: float | None = None) -> None:
        super().__init__(error.message, hint=error.hint)
        self.after = after


class _Reading:
    """One question, put and read in a thread with an event loop of its own; what comes is in ``events``."""

    def __init__(self, request: ChatRequest, endpoint: Endpoint, key: str, patience: Patience) -> None:
        self.events: queue.SimpleQueue[TextPiece | AnswerEnd | EngineError] = queue.SimpleQueue()
        self.waits_for = f"asking {endpoint.host}"
        self._request, self._endpoint, self._key, self._patience = request, endpoint, key, patience
        self._began = time.monotonic()
        self._renamed: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endpoint", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_dead(self) -> bool:
        """True when nothing comes any more, not even an error: reading failed in a way that nobody foresaw."""
        return not self._thread.is_alive() and self.events.empty()

    def stop(self) -> None:
        """Close the connection, if it is still open."""
        self._stopped.set()
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._stopped.is_set():
            return
        try:
            await self._ask()
        except EngineError as error:
            kind = type(error) if isinstance(error, BrokenOffError | TooLongError) else EngineError
            self.events.put(kind(self._keyless(error.message), hint=self._keyless(error.hint)))

    def _keyless(self, text: str) -> str:
        """A server may say the key back; what is said is shown and written into logs."""
        return text.replace(self._key, "…") if self._key else text

    async def _ask(self) -> None:
        import httpx  # 80 ms
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt  # 60 ms

        patience = self._patience
        timeout = httpx.Timeout(patience.connect, read=patience.silence, write=patience.silence)
        again = AsyncRetrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._pause,
            before_sleep=self._say,
            reraise=True,
        )
        async with _connections(self._endpoint, httpx.AsyncClient, timeout) as http:
            async for attempt in again:
                with attempt:
                    await self._once(http)

    def _pause(self, state: RetryCallState) -> float:
        from tenacity import wait_random_exponential

        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _Again) and error.after is not None:
            return error.after
        return wait_random_exponential(multiplier=self._patience.pause, max=LONGEST_PAUSE_SECONDS)(state)

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        if isinstance(error, EngineError):  # what comes first is read on a narrow screen
            self.waits_for = f"asking again in {pause:.0f} s: {self._keyless(error.message)}"

    async def _once(self, http: httpx.AsyncClient) -> None:
        import httpx

        answer = EndpointAnswer(self._endpoint.host, self._began)
        try:
            async with http.stream(
                "POST",
                f"{self._endpoint.url}/chat/completions",
                json=self._body(),
                headers={"Accept": "text/event-stream", **_headers(self._key)},
            ) as response:
                if "," in response.headers.get("content-encoding", ""):
                    raise EngineError(f"{self._endpoint.host} sends its answer compressed more than once")
                if response.status_code != 200:
                    raise await self._refused(response)
                async for event in _read(response, answer):
                    self.events.put(event)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Again(_unreachable(self._endpoint, error)) from None
        except httpx.TimeoutException:
            raise EngineError(
                f"{self._endpoint.host} has said nothing for {self._patience.silence:g} s", hint="is it overloaded?"
            ) from None
        except httpx.HTTPError as error:
            raise BrokenOffError(
                f"{self._endpoint.host} broke off the answer ({type(error).__name__})",
                hint=f"is the server at {self._endpoint.url} still running?",
            ) from error

    async def _refused(self, response: httpx.Response) -> EngineError:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > ERROR_BODY_BYTES:
                break
        status = response.status_code
        if status in _REFUSES_A_WORD and self._speaks_otherwise(body):
            return _Again(EngineError(f"{self._endpoint.host} wants it said in other words"), 0.0)
        error = refusal(self._endpoint, status, body, response.headers.get("location", ""))
        if status not in _BUSY:
            return error
        after = _seconds(response.headers.get("retry-after", ""))
        if after is not None and after > LONGEST_PAUSE_SECONDS:
            return EngineError(error.message, hint=f"it may be asked again in {after:g} s")
        return _Again(error, after)

    def _speaks_otherwise(self, body: bytes) -> bool:
        """True when the server refuses a word for which there is another, or which can be left out.

        Neither word for log-probabilities makes sense without the other, and the one is a part of the other. What
        complains of the number is no complaint about the word.
        """
        said, asked = told(body), self._body()
        for ours, theirs in (("max_tokens", "max_completion_tokens"), ("stream_options", ""), ("logprobs", "")):
            if ours in said and ours not in self._renamed and ours in asked and not names(asked[ours], said):
                self._renamed[ours] = theirs
                return True
        return False

    def _body(self) -> dict[str, Any]:
        request, sampling = self._request, self._request.sampling
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [turn.as_dict() for turn in request.turns],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if request.go_on:
            body |= GO_ON_FIELDS
        if request.top_logprobs is not None and "logprobs" not in self._renamed:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        for ours, theirs in self._renamed.items():
            value = body.pop(ours, None)
            if theirs:
                body[theirs] = value
        return body


async def _read(response: httpx.Response, answer: EndpointAnswer) -> AsyncIterator[TextPiece | AnswerEnd]:
    """The events of an answer that streams, or of one that came whole from a server that does not stream."""
    from httpx_sse import EventSource

    if "text/event-stream" not in response.headers.get("content-type", ""):
        for event in answer.whole(await _whole_body(response)):
            yield event
        return
    response.encoding = "utf-8"  # as every event stream, whatever its header says
    bounded: Any = _Bounded(response)
    async for sse in EventSource(bounded).aiter_sse():
        if sse.data.strip() == "[DONE]":
            break
        for piece in answer.take(sse.data):
            yield piece
    for event in answer.end():
        yield event


class _Bounded:
    """A response as the reader of events needs it, left when an event has no end: readers keep all of one."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self._response = response

    async def aiter_text(self) -> AsyncIterator[str]:
        """The text as it arrives."""
        length, before = 0, ""
        async for text in self._response.aiter_text():
            ends = [end.end() for end in _EVENT_END.finditer(before + text)]
            length = len(before + text) - ends[-1] if ends else length + len(text)
            before = (before + text)[-3:]
            if length > EVENT_CHARACTERS:
                raise EngineError(
                    f"{self._response.url.host} sends a line or an event without end: {length:,} characters",
                    hint="does its API begin at this address?",
                )
            yield text


async def _whole_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > WHOLE_BODY_BYTES:
            raise EngineError(f"{response.url.host} does not stop: {WHOLE_BODY_BYTES:,} bytes were read")
    return bytes(body)


def _unreachable(endpoint: Endpoint, error: Exception) -> EngineError:
    why = cell(str(error), 200) or type(error).__name__
    return EngineError(f"{endpoint.host} cannot be reached: {why}", hint=f"is there a server at {endpoint.url}?")


def _seconds(text: str) -> float | None:
    """A pause, given as its seconds or as the date of its end (RFC 9110, 10.2.3); None for neither."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    now = datetime.now(until.tzinfo)
    return max(0.0, (until - now).total_seconds())

"""Stand-ins for the processes that tests do not start: they keep the real protocols, and misbehave on order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from workbench.domain.chats import StopReason
from workbench.domain.checks import TokenCount
from workbench.domain.examples import Example
from workbench.domain.serving import (
    AnswerEnd,
    AnswerEvent,
    AnswerNotice,
    ChatRequest,
    EngineState,
    EngineStatus,
    TextPiece,
)
from workbench.errors import EngineError

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

StatusHandler = Callable[[EngineStatus], None]


class FakeEngine:
    """An engine without a model: gives the answers it was told to give, one word per piece, in the order of asking.

    ``hold()`` makes every stream wait before its next piece (or one that comes later) until ``release()``: a test can
    then act in the middle of an answer. Token counts are words, times are made up (7 ms to the first token, 10 ms a
    word).
    """

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.default_answer = "I do not know."
        self.waiting = threading.Event()
        self._answers: deque[str] = deque()
        self._by_model: dict[str, deque[str]] = {}
        self._dies_after: int | None = None
        self._failure = ""
        self._notice = ""
        self._gate = threading.Event()
        self._gate.set()
        self._held_from = 0
        self._lock = threading.Lock()
        self._state = EngineState.OFF
        self._active = 0

    def enqueue(self, *answers: str, model: str = "") -> None:
        """Answers to give next, for any model or for the one named (those come first)."""
        with self._lock:
            (self._by_model.setdefault(model, deque()) if model else self._answers).extend(answers)

    def die_after(self, pieces: int) -> None:
        """The next answer ends in ``EngineError`` after so many pieces; the status is DIED until ``ensure``."""
        self._dies_after = pieces

    def notice(self, text: str) -> None:
        """The next answer begins with this notice."""
        self._notice = text

    def fail_to_start(self, message: str) -> None:
        """The next ``ensure`` or ``stream`` raises ``EngineError`` with this message."""
        self._failure = message

    def hold(self, *, after: int = 0) -> None:
        """Stop every stream before its next piece, not before it gave ``after`` of them; then ``waiting`` is set."""
        self._held_from = after
        self.waiting.clear()
        self._gate.clear()

    def release(self) -> None:
        """Let held streams go on."""
        self._gate.set()

    def status(self) -> EngineStatus:
        """What the fake says it is doing."""
        base = self.requests[-1].model.name if self.requests else ""
        return EngineStatus(self._state, base=base, device="cpu", dtype="float32", active=self._active)

    def ensure(self, on_status: StatusHandler | None = None) -> None:
        """Be ready, or fail if told to."""
        if self._failure:
            message, self._failure = self._failure, ""
            self._state = EngineState.FAILED
            raise EngineError(message, hint="start it again")
        for state in (EngineState.STARTING, EngineState.READY):
            self._state = state
            if on_status is not None:
                on_status(self.status())

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: StatusHandler | None = None
    ) -> Iterator[AnswerEvent]:
        """The next answer, word by word; ends with ``AnswerEnd`` or raises ``EngineError``."""
        self.ensure(on_status)
        with self._lock:
            self.requests.append(request)
            dies_after, self._dies_after = self._dies_after, None
            words = self._next_answer(request.model.name)
            self._active += 1
        try:
            if notice := self._notice:
                self._notice = ""
                yield AnswerNotice(notice)
            yield from self._pieces(request, words, cancelled, dies_after)
        finally:
            self._active -= 1

    def unload(self) -> None:
        """Nothing is loaded afterwards."""
        self._state = EngineState.IDLE

    def shutdown(self) -> None:
        """The engine is off afterwards."""
        self._state = EngineState.OFF

    def _next_answer(self, model: str) -> list[str]:
        queue = self._by_model.get(model) or self._answers
        text = queue.popleft() if queue else self.default_answer
        words = text.split(" ")
        return [words[0], *(" " + word for word in words[1:])]

    def _pieces(
        self, request: ChatRequest, words: list[str], cancelled: threading.Event, dies_after: int | None
    ) -> Iterator[AnswerEvent]:
        limit = request.sampling.max_tokens
        for count, word in enumerate(words[:limit]):
            if count >= self._held_from:
                self._wait(cancelled)
            if dies_after is not None and count >= dies_after:
                self._die()
            if cancelled.is_set():
                yield _end(StopReason.CANCELLED, request, count)
                return
            yield TextPiece(word)
        if dies_after is not None:
            self._die()
        reason = StopReason.LENGTH if len(words) > limit else StopReason.STOP
        yield _end(reason, request, min(limit, len(words)))

    def _wait(self, cancelled: threading.Event) -> None:
        while not self._gate.is_set() and not cancelled.is_set():
            self.waiting.set()
            self._gate.wait(0.01)

    def _die(self) -> None:
        self._state = EngineState.DIED
        raise EngineError("the engine died while it answered", hint="ask again: it starts afresh")


def _end(reason: StopReason, request: ChatRequest, tokens: int) -> AnswerEnd:
    prompt_tokens = sum(len(turn.content.split()) for turn in request.turns)
    return AnswerEnd(reason, prompt_tokens, tokens, first_token_ms=7, duration_ms=7 + 10 * tokens)


def quarter_counts(
    bench: Bench, examples: Iterable[Example], *, model: str, cancelled: threading.Event | None = None
) -> Iterator[TokenCount]:
    """As ``flows.tokens.lengths``, from a tokenizer that makes a token of four letters."""
    for example in examples:
        content = example.content
        start = sum(len(turn.content) for turn in content.prompt) // 4
        for part, answer in (("chosen", content.chosen), ("rejected", content.rejected)):
            if answer:
                total = start + sum(len(turn.content) for turn in answer) // 4
                yield TokenCount(example.id, part, start, total, total, total - start)

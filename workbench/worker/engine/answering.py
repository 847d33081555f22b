"""One request's answers, seen from the event loop: rows submitted, their events collected, OpenAI's objects made."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from workbench.domain.serving import TokenChance
from workbench.worker.engine.desk import Desk, Done, Notice, Piece, Place, Read, Row, RowEvent
from workbench.worker.engine.wire import (
    Asked,
    Envelope,
    Refusal,
    choice_delta,
    choice_whole,
    event,
    keep_alive,
    logprobs_of,
    usage,
)

KEEP_ALIVE_SECONDS = 0.2
SEND_SECONDS = 2.0  # for a client to take what was said, after an answer's time is over


@dataclass
class _Voice:
    """One of the answers: what has come of it and was not sent yet, and its end."""

    row: Row
    text: str = ""
    chances: list[TokenChance] = field(default_factory=list)
    notice: str = ""
    tokens: int = 0
    end: Done | None = None
    is_over: bool = False

    def take_text(self) -> tuple[str, list[TokenChance]]:
        """What was not sent yet."""
        text, chances = self.text, self.chances
        self.text, self.chances = "", []
        return text, chances


class Answer:
    """The rows of one request. ``limit_seconds`` 0 means that they may take as long as they like.

    ``on_close`` hears once that the response is over, however it ended.
    """

    def __init__(
        self,
        desk: Desk,
        asked: Asked,
        place: Place,
        *,
        limit_seconds: float = 0,
        on_close: Callable[[Answer], None] | None = None,
    ) -> None:
        self.asked = asked
        self.refusal: Refusal | None = None
        self.ends: list[Done] = []
        self.read = Read(0, 0)
        """As much of the prompt as was read, as far as was heard; all answers share it."""
        self._on_close = on_close
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, RowEvent]] = asyncio.Queue()
        self._envelope = Envelope(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), asked.model)
        self._limit = limit_seconds
        self._began = time.monotonic()
        self._voices = [_Voice(Row(asked.one(i), place, self._emitter(i))) for i in range(asked.n)]
        with desk.changed:  # all of them, before the scheduler looks: they share the reading of the prompt
            for voice in self._voices:
                desk.submit(voice.row)

    @property
    def tokens(self) -> int:
        """How many were drawn for all answers, as far as was heard."""
        return sum(voice.end.tokens if voice.end else voice.tokens for voice in self._voices)

    def cancel(self) -> None:
        """Nobody listens any more; harmless after the end."""
        for voice in self._voices:
            self._desk.cancel(voice.row)

    def close(self) -> None:
        """The response is over: nobody listens any more."""
        self.cancel()
        self._take_all()
        told, self._on_close = self._on_close, None
        if told is not None:
            told(self)

    async def wait(self, seconds: float) -> None:
        """Collect what comes within ``seconds``: at least one event, or none in time."""
        if self._limit and time.monotonic() - self._began > self._limit:
            self._refuse(_out_of_time(self._limit))
            return
        try:
            self._take(*await asyncio.wait_for(self._events.get(), seconds))
        except TimeoutError:
            return
        self._take_all()

    def _take_all(self) -> None:
        while not self._events.empty():
            self._take(*self._events.get_nowait())

    @property
    def limit_to_send(self) -> float | None:
        """Seconds after which a stream is given up, even by a client that takes nothing; None means unlimited."""
        return self._limit + SEND_SECONDS if self._limit else None

    def give_up(self) -> None:
        """The time is over, and the client could not even be told."""
        self._refuse(_out_of_time(self._limit))

    async def whole(self, request: Request) -> Response:
        """The answers in one piece; cancelled when the client goes away."""
        try:
            while not self._is_over:
                await self.wait(KEEP_ALIVE_SECONDS)
                if await request.is_disconnected():
                    return Response(status_code=499)
        finally:
            self.close()
        if self.refusal is not None:
            raise self.refusal
        choices = []
        for index, voice in enumerate(self._voices):
            text, chances = voice.take_text()
            reason = voice.end.stop_reason.value if voice.end else ""
            choices.append(choice_whole(index, text, logprobs=self._logprobs(chances), finish_reason=reason))
        notices = {"notice": self._voices[0].notice} if self._voices[0].notice else {}
        figures = self._figures(self._voices[0])
        figures["workbench"] |= notices
        return JSONResponse({**self._envelope.completion(*choices), **figures, "usage": self._usage()})

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answers as server-sent events, with a comment whenever nothing came for a while."""
        for index in range(len(self._voices)):
            yield event(self._envelope.chunk(choice_delta(index, {"role": "assistant", "content": ""})))
        while True:
            is_quiet = True
            for index, voice in enumerate(self._voices):
                for chunk in self._news_of(index, voice):
                    is_quiet = False
                    yield event(chunk)
            if self.refusal is not None:
                yield event(self.refusal.body())
                return
            if self._is_over:
                if self.asked.include_usage:
                    yield event({**self._envelope.chunk(), "usage": self._usage()})
                yield b"data: [DONE]\n\n"
                return
            if is_quiet:
                public = self._desk.public
                yield keep_alive(public.state, public.detail, base=public.base)
            await self.wait(KEEP_ALIVE_SECONDS)

    def _news_of(self, index: int, voice: _Voice) -> list[dict[str, Any]]:
        """Chunks with what was not sent yet of an answer: notice, text, end."""
        chunks: list[dict[str, Any]] = []
        if voice.notice:
            told = {"workbench": {"notice": voice.notice}}
            voice.notice = ""
            chunks.append({**self._envelope.chunk(choice_delta(index, {})), **told})
        if voice.text or voice.chances:
            text, chances = voice.take_text()
            delta = choice_delta(index, {"content": text}, logprobs=self._logprobs(chances))
            chunks.append({**self._envelope.chunk(delta), "workbench": {"tokens": voice.tokens}})
        if voice.end is not None and not voice.is_over:
            voice.is_over = True
            last = choice_delta(index, {}, finish_reason=voice.end.stop_reason.value)
            chunks.append({**self._envelope.chunk(last), **self._figures(voice)})
        return chunks

    @property
    def _is_over(self) -> bool:
        return self.refusal is not None or all(voice.end is not None for voice in self._voices)

    def _logprobs(self, chances: list[TokenChance]) -> dict[str, Any] | None:
        return None if self.asked.top_logprobs is None else logprobs_of(chances)

    def _usage(self) -> dict[str, Any]:
        """Of all answers together; the prompt is counted once, as OpenAI does."""
        ends = [voice.end for voice in self._voices if voice.end is not None]
        return usage(ends[0].prompt_tokens, sum(end.tokens for end in ends), ends[0].remembered_tokens)

    def _figures(self, voice: _Voice) -> dict[str, Any]:
        end = voice.end
        assert end is not None
        own = {
            "first_token_ms": end.first_token_ms,
            "duration_ms": end.duration_ms,
            "stop_reason": end.stop_reason.value,
        }
        return {"usage": usage(end.prompt_tokens, end.tokens, end.remembered_tokens), "workbench": own}

    def _emitter(self, index: int) -> Callable[[RowEvent], None]:
        def emit(row_event: RowEvent) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, row_event))

        return emit

    def _take(self, index: int, row_event: RowEvent) -> None:
        voice = self._voices[index]
        match row_event:
            case Piece(text, tokens, chances):
                voice.text += text
                voice.chances += chances
                voice.tokens = tokens
            case Read():
                self.read = max(self.read, row_event, key=lambda read: read.prompt_tokens)
            case Notice(text):
                voice.notice = text
            case Done():
                voice.end = row_event
                self.ends.append(row_event)
            case Refusal():
                self._refuse(row_event)

    def _refuse(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.cancel()


class AnswerStream(StreamingResponse):
    """A streamed answer whose rows are cancelled however the response ends."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.chunks(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; a closed connection ends this early, and the limit does, for a client that stopped reading."""
        try:
            async with asyncio.timeout(self._answer.limit_to_send) as time_limit:
                await super().__call__(scope, receive, send)
        except TimeoutError:
            if not time_limit.expired():  # the connection's own
                raise
            self._answer.give_up()
        finally:
            self._answer.close()


def _out_of_time(seconds: float) -> Refusal:
    return Refusal(
        f"the answer took longer than {seconds:g} seconds",
        code="time_limit",
        status=504,
        hint="ask for fewer tokens, or serve with a larger --max-seconds",
    )

"""What a bench asks an engine, and what it hears back. The words of the engine protocol, without HTTP or weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.endpoints import Endpoint

PRECISIONS = ("auto", "float32", "bfloat16", "float16", "8bit", "4bit")
MAX_TOP_LOGPROBS = 20


class EngineState(StrEnum):
    """What the engine is doing. ``OFF`` was never started or ended as it should; ``DIED`` ended by itself.

    ``REMOTE`` is said of a server elsewhere while an answer is waited for, never of the engine.
    """

    OFF = "off"
    STARTING = "starting"
    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DIED = "died"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine as seen from outside: ``detail`` is one plain sentence (progress, or what went wrong), ``note`` one
    about how the base was loaded when that is not the usual way ("" when it is).
    """

    state: EngineState
    detail: str = ""
    base: str = ""
    adapters: tuple[str, ...] = ()
    device: str = ""
    dtype: str = ""
    pid: int | None = None
    active: int = 0
    memory_bytes: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where the engine finds a model: a base's folder or hub id; for an adapter its folder and its base's place.

    A model with an ``endpoint`` is asked there, and the engine does not see it.
    """

    name: str
    path: str
    base: ModelPlace | None = None
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One answer to ask for. ``sampling.seed`` must be set; ``stop`` are texts that end the answer (not included).

    With ``trim`` a chat that is longer than the model reads loses its oldest turns, which an ``AnswerNotice`` tells;
    without, it is refused. ``top_logprobs`` asks for each token's log-probability and that many others (0 to 20).
    """

    model: ModelPlace
    turns: tuple[Turn, ...]
    sampling: Sampling
    stop: tuple[str, ...] = field(default=())
    trim: bool = False
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token of an answer with its log-probability, and the most likely tokens at its place with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Some more text of an answer, as it is made; ``chances`` has its tokens when they were asked for."""

    text: str
    chances: tuple[TokenChance, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerNotice:
    """One sentence to show beside an answer: what happened to the prompt. Comes before the text."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer: counts in tokens, times in milliseconds since the request reached the engine."""

    stop_reason: StopReason
    prompt_tokens: int
    tokens: int
    first_token_ms: int
    duration_ms: int


AnswerEvent = TextPiece | AnswerNotice | AnswerEnd

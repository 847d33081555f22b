"""Small domain values for tests, each different by its number."""

from __future__ import annotations

from workbench.domain.chats import Generation, Sampling, StopReason, Turn
from workbench.domain.comparisons import Candidate
from workbench.domain.examples import Content, Source, SourceKind, demonstration, judgement, preference

IMPORTED = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)


def user(text: str) -> tuple[Turn, ...]:
    """A prompt of one user turn."""
    return (Turn("user", text),)


def demo(number: int = 1) -> Content:
    """A demonstration."""
    return demonstration(user(f"question {number}"), f"answer {number}")


def pair(number: int = 1) -> Content:
    """A preference pair."""
    return preference(user(f"question {number}"), f"good answer {number}", f"bad answer {number}")


def thumb(number: int = 1, *, label: bool = True) -> Content:
    """A judgement."""
    return judgement(user(f"question {number}"), f"answer {number}", label)


def generation(model: str = "pip") -> Generation:
    """How an answer of ``model`` was made."""
    return Generation(model, Sampling(seed=1), 3, 7, 37, StopReason.STOP)


def candidate(model: str, text: str) -> Candidate:
    """One side of a comparison."""
    return Candidate(model, text, generation(model))

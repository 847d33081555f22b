"""Chats that have grown longer than the model reads: which of their oldest turns are left out, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.worker.engine.speaker import Speaker
from workbench.worker.engine.wire import Refusal

# Turns go a quarter of the context at a time: the beginning then stays the same for many turns, and so what is
# remembered of it does.
STEP_SHARE = 4
ANSWER_SHARE = 4  # of the context is kept free for the answer, if it may be as long as that

Turns = Sequence[dict[str, str]]


def fitted(
    speaker: Speaker, turns: Turns, context: int, max_tokens: int, name: str, *, go_on: bool = False
) -> tuple[list[int], str]:
    """The prompt without its oldest turns, so that it fits, and the notice to show; an empty one if nothing went.

    The system prompt and the last question always stay, and take from the room for the answer when they need it.
    Raises ``Refusal`` when they alone are longer than the model reads.
    """
    ids = speaker.encode(turns, go_on=go_on)
    whole = len(ids)
    room = context - max(1, min(max_tokens, context // ANSWER_SHARE))
    if whole <= room:
        return ids, ""
    kept_first = 1 if turns and turns[0]["role"] == "system" else 0
    begin = kept_first
    for begin in _beginnings(speaker, turns, kept_first, context // STEP_SHARE):
        ids = speaker.encode([*turns[:kept_first], *turns[begin:]], go_on=go_on)
        if len(ids) <= room:
            break
    if len(ids) >= context:
        raise too_long(name, len(ids), context)
    return ids, _notice(begin - kept_first, whole, context, name) if begin > kept_first else ""


def too_long(name: str, tokens: int, context: int) -> Refusal:
    """What is said of a prompt that the model cannot read."""
    return Refusal(
        f"the conversation is {tokens} tokens long, and {name} can read {context - 1} at most",
        code="context_length_exceeded",
        hint="start a new chat, or branch from an earlier turn",
    )


def _beginnings(speaker: Speaker, turns: Turns, first: int, step: int) -> list[int]:
    """Questions to begin with, each about ``step`` tokens after the one before; the last question is the last."""
    questions = [i for i, turn in enumerate(turns) if turn["role"] == "user" and i > first]
    beginnings, counted, mark = [], 0, step
    for i in range(first, len(turns)):
        if i in questions and (counted >= mark or i == questions[-1]):
            beginnings.append(i)
            mark = (counted // step + 1) * step
        counted += len(speaker.tokenizer(turns[i]["content"], add_special_tokens=False)["input_ids"])
    return beginnings


def _notice(left_out: int, tokens: int, context: int, name: str) -> str:
    turns = "oldest turn was" if left_out == 1 else f"{left_out} oldest turns were"
    return f"this chat is {tokens:,} tokens long and {name} reads {context:,}: the {turns} left out of the prompt"

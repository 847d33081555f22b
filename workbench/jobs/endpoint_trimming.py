"""Chats that have grown longer than a model on a server reads: which of their oldest turns are left out.

The server alone knows its tokens, so that it is asked again with fewer turns until it takes them. Knows no protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from workbench.domain.chats import Turn
from workbench.domain.serving import AnswerEvent, AnswerNotice, ChatRequest
from workbench.errors import EngineError
from workbench.jobs.endpoint_refusal import TooLongError

STEP_SHARE = 4  # of the turns go at a time


def fitted(request: ChatRequest, ask: Callable[[ChatRequest], Iterator[AnswerEvent]]) -> Iterator[AnswerEvent]:
    """The answer to the chat, or to what the model reads of it after a notice. ``request.trim`` allows that."""
    asked = request
    while True:
        left_out = len(request.turns) - len(asked.turns)
        try:
            for event in ask(asked):
                if left_out:
                    yield AnswerNotice(_notice(left_out, request.model.name))
                    left_out = 0
                yield event
            return
        except TooLongError as error:
            turns = without_oldest(asked.turns) if request.trim else ()
            if not turns:
                raise EngineError(error.message, hint=error.hint) from None
            asked = replace(asked, turns=turns)


def without_oldest(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """About three quarters of the turns; () when only the system prompt and the last question are left.

    What stays begins with the system prompt, if there is one, and then with a question.
    """
    first = 1 if turns and turns[0].role == "system" else 0
    later = [at for at, turn in enumerate(turns) if at > first and turn.role == "user"]
    wanted = first + max(1, (len(turns) - first) // STEP_SHARE)
    begin = next((at for at in later if at >= wanted), later[-1] if later else None)
    return () if begin is None else (*turns[:first], *turns[begin:])


def _notice(left_out: int, name: str) -> str:
    turns = "oldest turn was" if left_out == 1 else f"{left_out} oldest turns were"
    return f"this chat is longer than {name} reads on its server: the {turns} left out of the prompt"

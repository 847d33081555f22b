"""Nothing said where something must be: an answer, a user turn or a text that is empty or only white space.

An answer that is nothing but its own reasoning (``<think>`` …) says nothing either, and a turn's name or weight is no
word of it: only what it calls stands in for words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import REJECT, Finding, Place, RowCheck, Severity
from workbench.domain.examples import Content, Kind

# Letters by name that nobody sees: fillers of Hangul, a blank of Braille.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))
_VARIANTS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x34F)))
_REASONING = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_STANDS_FOR_WORDS = ("tool_calls", "function_call", "refusal", "audio")
_ASSISTANT = Role.ASSISTANT.value


def look(content: Content) -> Iterator[Finding]:
    """Findings for turns that say nothing; a turn with tool calls says something without words."""
    for part, turns in (("prompt", content.prompt), ("chosen", content.chosen), ("rejected", content.rejected)):
        for number, turn in enumerate(turns):
            text = turn.content
            if text[:1].isalnum() and text.isascii():  # nearly all: neither blank nor opened by reasoning
                continue
            if _is_blank(turn) and turn.role not in {Role.TOOL.value, Role.SYSTEM.value}:
                reason = "the text is empty" if content.kind is Kind.TEXT else f"the {turn.role} turn is empty"
                yield Finding(Severity.ERROR, reason, str(Place(part, number)), fixable=True)
            elif turn.role == _ASSISTANT and part != "prompt" and _only_reasons(turn):
                reason = "nothing is said after the reasoning"
                yield Finding(Severity.ERROR, reason, str(Place(part, number)), fixable=True)
    if content.prompt and content.chosen and content.rejected:
        return
    if not content.prompt and content.kind is not Kind.TEXT:
        yield Finding(Severity.ERROR, "there is no prompt", "prompt", fixable=True)
    if not content.chosen and content.kind is not Kind.PROMPT:
        yield Finding(Severity.ERROR, "there is no answer", "chosen", fixable=True)
    if not content.rejected and content.kind is Kind.PREFERENCE:
        yield Finding(Severity.ERROR, "there is no rejected answer", "rejected", fixable=True)


def _is_blank(turn: Turn) -> bool:
    text = turn.content
    if text and (text[0].isalnum() or text[-1].isalnum()) and not _INVISIBLE & {text[0], text[-1]}:
        return False
    return not any(map(_is_seen, text)) and not _stands_for_words(turn)


def _is_seen(character: str) -> bool:
    if character in _INVISIBLE or character in _VARIANTS:
        return False
    return unicodedata.category(character) not in _UNSEEN


def _stands_for_words(turn: Turn) -> bool:
    return bool(turn.extra) and any(json.loads(turn.extra).get(key) for key in _STANDS_FOR_WORDS)


def _only_reasons(turn: Turn) -> bool:
    if "<" not in turn.content[:64]:
        return False
    found = _REASONING.match(turn.content)
    return found is not None and not turn.content[found.end() :].strip() and not _stands_for_words(turn)


CHECK = RowCheck(
    "empty",
    title="Nothing said",
    summary="an answer, a user turn or a text that is empty or only white space",
    look=look,
    fix=REJECT,
)

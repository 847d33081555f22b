"""What a model thinks and the tools it calls, told apart from what it says: marked parts of a text, each on one line.

The marks are those that models write themselves: ``<think>`` and the like at the beginning of a line, ``<tool_call>``
around JSON. Knows no widget. Nothing is lost: the parts together are the text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json import JSONDecodeError

from workbench.domain.foreign_text import cell

_THOUGHTS = ("think", "thinking", "thought", "reasoning", "scratchpad")
_CALLS = ("tool_call", "tool_calls", "function_call", "tool_use")
_RESULTS = ("tool_response", "tool_result")
_NAMES = "|".join((*_THOUGHTS, *_CALLS, *_RESULTS))
_OPENING = re.compile(rf"[ \t]*<({_NAMES})>", re.IGNORECASE)
_FENCE = re.compile(r"[ ]{0,3}(```+|~~~+)")
_END_ALONE = re.compile(rf"</({'|'.join(_THOUGHTS)})>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text: ``kind`` is "said", "thought", "call" or "result"; ``source`` is it with its marks.

    ``is_open`` while its closing mark has not come.
    """

    kind: str
    text: str
    source: str
    is_open: bool = False

    @property
    def label(self) -> str:
        """What stands for it when it is folded."""
        words = len(self.text.split())
        count = f"{words:,} word{'' if words == 1 else 's'}"
        if self.kind == "thought":
            return f"thinking, {count} so far" if self.is_open else f"thought, {count}"
        if self.kind == "result":
            return f"a tool answered, {count}"
        return f"calls {_called(self.text)}"


def may_fold(text: str) -> bool:
    """False when there is surely nothing to fold, which is cheap to know."""
    return "<" in text and (_OPENING.search(text) is not None or _END_ALONE.search(text) is not None)


def parts_of(text: str) -> list[Part]:
    """The parts in their order; marks inside code blocks are text. One "said" part for a text without any."""
    if not may_fold(text):
        return [Part("said", text, text)]
    parts: list[Part] = []
    said, at, fence = 0, 0, ""
    if (lost := _ended_without_beginning(text)) is not None:
        parts.append(Part("thought", text[: lost.start()].strip("\n"), text[: lost.end()]))
        said = at = lost.end()
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end]
        if mark := _FENCE.match(line):
            fence = _after_fence(fence, mark.group(1))
        elif not fence and (opening := _OPENING.match(line)):
            if text[said:at].strip():
                parts.append(Part("said", text[said:at], text[said:at]))
            part = _marked(text, at, opening)
            parts.append(part)
            said = at = at + len(part.source)
            continue
        at = end
    if text[said:].strip() or not parts:
        parts.append(Part("said", text[said:].lstrip("\n") if parts else text, text[said:]))
    return parts


def said_line(text: str, limit: int = 400) -> str:
    """The beginning of what is said, on one line, without thoughts and calls; those, when there is nothing else."""
    parts = parts_of(text[: 20 * limit])
    said = " ".join(part.text for part in parts if part.kind == "said").split()
    return " ".join(said or [f"({part.label})" for part in parts])[:limit]


def _after_fence(fence: str, mark: str) -> str:
    """The fence that is open after a line with this mark: one is closed by its own sign only, at least as long."""
    if not fence:
        return mark
    return "" if mark[0] == fence[0] and len(mark) >= len(fence) else fence


def _ended_without_beginning(text: str) -> re.Match[str] | None:
    """Some chat templates write the opening mark into the prompt, so that the answer begins inside a thought."""
    ending = _END_ALONE.search(text)
    opening = _OPENING.search(text)
    return ending if ending and (opening is None or ending.start() < opening.start()) else None


def _marked(text: str, at: int, opening: re.Match[str]) -> Part:
    name = opening.group(1)
    begin = at + opening.end()
    ending = re.compile(rf"</{name}>[ \t]*\n?", re.IGNORECASE).search(text, begin)
    kind = "thought" if name.lower() in _THOUGHTS else "call" if name.lower() in _CALLS else "result"
    if ending is None:
        return Part(kind, text[begin:].strip("\n"), text[at:], is_open=True)
    return Part(kind, text[begin : ending.start()].strip("\n"), text[at : ending.end()])


def _called(text: str) -> str:
    try:
        found = json.loads(text)
    except (JSONDecodeError, RecursionError):
        return cell(" ".join(text.split()), 80) or "a tool"
    calls = found if isinstance(found, list) else [found]
    named = [one.get("function", one) if isinstance(one, dict) else {} for one in calls]
    shown = [f"{one.get('name', 'a tool')}({_arguments(one)})" for one in named if isinstance(one, dict)]
    return cell(", ".join(shown), 80) or "a tool"


def _arguments(call: dict[str, object]) -> str:
    given = call.get("arguments", call.get("parameters"))
    if isinstance(given, dict):
        return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    return str(given) if given else ""

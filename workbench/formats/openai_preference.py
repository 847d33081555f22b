"""OpenAI's preference fine-tuning: the prompt nested in ``input``, ``preferred_output`` and ``non_preferred_output``.

Source: https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.domain.examples import Content, Example, Kind
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t
from workbench.formats.openai import lost, messages, read_tools

_COLUMNS = frozenset({"input", "preferred_output", "non_preferred_output"})


def _score(row: Row) -> int:
    return 100 if t.present(row) >= {"preferred_output", "non_preferred_output"} else 0


def _read(row: Row) -> Sequence[Reading]:
    asked = row.get("input")
    if not isinstance(asked, Mapping) or "messages" not in asked:
        raise DataError("'input' is not an object with 'messages'")
    prompt = t.turns(asked["messages"], "input.messages", t.USER)
    chosen, rejected = (
        t.turns(row.get(name) or (), name, t.ASSISTANT) for name in ("preferred_output", "non_preferred_output")
    )
    return [Reading(t.checked(Content(Kind.PREFERENCE, prompt, chosen, rejected, tools=read_tools(asked))))]


def _write(example: Example) -> dict[str, object]:
    content = example.content
    asked: dict[str, object] = {"messages": messages(content.prompt)}
    if content.tools:
        asked |= {"tools": t.tools_list(content), "parallel_tool_calls": True}
    return {
        "input": asked,
        "preferred_output": messages(content.chosen),
        "non_preferred_output": messages(content.rejected),
    }


FORMAT = Format(
    name="openai_preference",
    title="OpenAI preference",
    summary="input.messages, preferred_output, non_preferred_output: OpenAI's preference fine-tuning",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.PREFERENCE,),
    write=_write,
    lost=lost,
)

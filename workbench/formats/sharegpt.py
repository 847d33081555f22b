"""ShareGPT: ``conversations`` of ``{"from", "value"}``, with human and gpt or user and assistant; system and tools
beside it. Also LLaMA-Factory's pairs and thumbs in this shape, and Kiln's hybrid with role and content inside.

Every answer is learnt from. Answers that are only context are written with ``"train": false`` (Axolotl's key, which
other readers pass over).
Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind
from workbench.domain.formats import Format, Reading, Row
from workbench.formats import _turns as t

_COLUMNS = frozenset({"conversations", "conversation", "system", "tools", "chosen", "rejected", "kto_tag"})
_FROM = {t.USER: "human", t.ASSISTANT: "gpt", t.SYSTEM: "system", t.TOOL: "observation"}


def _score(row: Row) -> int:
    said = row.get("conversations", row.get("conversation"))
    if t.is_messages(said, "from"):
        return 90
    return 85 if t.is_messages(said) and "conversations" in row else 0


def _read(row: Row) -> Sequence[Reading]:
    name = "conversations" if "conversations" in row else "conversation"
    return [Reading(read_row(row, name))]


def read_row(row: Row, name: str) -> Content:
    """The content of a row whose dialogue is in the column ``name``."""
    there, tools = t.present(row), t.tools_of(row.get("tools"))
    said = t.system_turn(row.get("system")) + t.turns(row.get(name), name, t.USER)
    if there >= {"chosen", "rejected"}:
        chosen, rejected = (t.turns(row[side], side, t.ASSISTANT) for side in ("chosen", "rejected"))
        return t.preference(said, chosen, rejected, tools)
    if "kto_tag" in there:
        return t.judged(said, t.yes_or_no(row["kto_tag"], "kto_tag"), name, tools)
    return t.demonstration(said, name, tools)


def _lost(content: Content) -> str:
    if content.kind is Kind.PREFERENCE and max(len(content.chosen), len(content.rejected)) > 1:
        return "all but the last turn of an answer"
    said = (*content.prompt, *content.chosen, *content.rejected)
    if any(_has_more(turn) for turn in said):
        return "keys of messages other than calls and answers of tools"
    if content.kind is Kind.JUDGEMENT and content.prompt[-1].role != t.USER:
        return "where the judged answer begins"
    return ""


def _has_more(turn: Turn) -> bool:
    """True when the turn says more than from and value can: text beside calls, ids, names."""
    if not turn.extra:
        return False
    if turn.role != t.ASSISTANT:
        return True
    keys = t.extra(turn)
    calls = keys.pop("tool_calls", None)
    if keys.get("weight") == 0:
        del keys["weight"]
    return bool(keys) or bool(calls and (turn.content or any(set(call) != {"type", "function"} for call in calls)))


def _write(example: Example) -> dict[str, object]:
    content = example.content
    said = t.dialogue(content) if content.kind is Kind.DEMONSTRATION else content.prompt
    if content.kind is Kind.JUDGEMENT:
        said += content.chosen
    row: dict[str, object] = {}
    if said[0].role == t.SYSTEM and not said[0].extra:
        row["system"], said = said[0].content, said[1:]
    row = {"conversations": [_message(turn) for turn in said]} | row
    if content.tools:
        row["tools"] = json.dumps(t.tools_list(content), ensure_ascii=False)
    match content.kind:
        case Kind.PREFERENCE:
            row |= {"chosen": _message(content.chosen[-1]), "rejected": _message(content.rejected[-1])}
        case Kind.JUDGEMENT:
            row["kto_tag"] = content.label
        case _:
            pass
    return row


def _message(turn: Turn) -> dict[str, Any]:
    keys: dict[str, Any] = {"train": False} if turn.role == t.ASSISTANT and not turn.is_learnt else {}
    if calls := [call["function"] for call in turn.tool_calls]:
        value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        return {"from": "function_call", "value": value} | keys
    return {"from": _FROM[turn.role], "value": turn.content} | keys


FORMAT = Format(
    name="sharegpt",
    title="ShareGPT",
    summary="conversations of from and value, with system and tools; pairs and kto_tag as LLaMA-Factory has them",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.JUDGEMENT),
    write=_write,
    lost=_lost,
)

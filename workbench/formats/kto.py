"""KTO's judged answers in the two spellings: TRL's ``label`` and LLaMA-Factory's ``kto_tag``, over messages or texts.

Written as ``messages`` and ``kto_tag``; the ``trl`` format writes prompt, completion and label.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_PROMPTS = ("prompt", "question", "instruction", "input")
_COLUMNS = frozenset({"messages", "conversations", "kto_tag", "label", "completion", "system", "tools", *_PROMPTS})


def _score(row: Row) -> int:
    there = t.present(row)
    if "kto_tag" in there and (t.is_messages(row.get("messages")) or "completion" in there):
        return 100
    if "label" in there and t.is_messages(row.get("messages")):
        return 90
    return 70 if there >= {"completion", "label"} and there & set(_PROMPTS) else 0


def _read(row: Row) -> Sequence[Reading]:
    there, tools, system = t.present(row), t.tools_of(row.get("tools")), t.system_turn(row.get("system"))
    tag = next((name for name in ("kto_tag", "label") if name in there), None)
    if tag is None:
        raise DataError("there is neither 'kto_tag' nor 'label'")
    label = t.yes_or_no(row[tag], tag)
    said = next((name for name in ("messages", "conversations") if name in there), None)
    if said is not None:
        return [Reading(t.judged(system + t.turns(row[said], said, t.USER), label, said, tools))]
    asked = next((name for name in _PROMPTS if name in there), None)
    if asked is None or "completion" not in there:
        raise DataError("there is no 'messages', and no 'prompt' with a 'completion'")
    answer = row["completion"]
    answer = answer.removeprefix(" ") if isinstance(answer, str) else answer
    prompt = system + t.turns(row[asked], asked, t.USER)
    completion = t.turns(answer, "completion", t.ASSISTANT)
    return [Reading(t.checked(Content(Kind.JUDGEMENT, prompt, completion, label=label, tools=tools)))]


def _write(example: Example) -> dict[str, object]:
    content = example.content
    row: dict[str, object] = {"messages": t.dicts(content.prompt + content.chosen), "kto_tag": content.label}
    return row | ({"tools": t.tools_list(content)} if content.tools else {})


def _lost(content: Content) -> str:
    return "" if content.prompt[-1].role == t.USER and not _asks(content.chosen) else "where the judged answer begins"


def _asks(said: Sequence[Turn]) -> bool:
    return any(turn.role == t.USER for turn in said)


FORMAT = Format(
    name="kto",
    title="KTO",
    summary="messages with kto_tag (LLaMA-Factory), or prompt, completion and label (TRL)",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.JUDGEMENT,),
    write=_write,
    lost=_lost,
)

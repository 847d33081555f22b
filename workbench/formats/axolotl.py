"""Axolotl: ``messages`` with ``chosen`` and ``rejected`` as one message each, its older pairs of texts, and Nectar.

Of ranked answers (``zephyr.nectar``) the best makes a pair with each one ranked below it. In ``messages`` every answer
is learnt from; answers that are only context are written with ``"train": false``, which Axolotl heeds when its
configuration says ``message_field_training: train``.
Source: https://github.com/axolotl-ai-cloud/axolotl/blob/main/docs/rlhf.qmd
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind
from workbench.domain.formats import Format, LeftOut, Part, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_PROMPTS = ("prompt", "question", "instruction", "input")
_COLUMNS = frozenset(
    {"messages", "chosen", "rejected", "chosen_response", "rejected_response", "system", "answers", "tools", *_PROMPTS}
)


def _score(row: Row) -> int:
    there = t.present(row)
    if t.is_messages(row.get("messages")) and t.is_message(row.get("chosen")) and t.is_message(row.get("rejected")):
        return 95
    if _is_ranked(row.get("answers")) and "prompt" in there:
        return 95
    if there >= {"chosen_response", "rejected_response"} and there & set(_PROMPTS):
        return 85
    if isinstance(row.get("chosen"), str) and isinstance(row.get("rejected"), str) and there & set(_PROMPTS):
        return 65 if "prompt" not in there else 55
    return 47 if t.is_messages(row.get("messages")) and not there & {"chosen", "rejected", "label", "kto_tag"} else 0


def _is_ranked(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(a, Mapping) and "rank" in a for a in value)


def _read(row: Row) -> Sequence[Part]:
    there, tools, system = t.present(row), t.tools_of(row.get("tools")), t.system_turn(row.get("system"))
    if "messages" in there:
        said = system + t.turns(row["messages"], "messages", t.USER)
        if there >= {"chosen", "rejected"}:
            chosen, rejected = (t.turns(row[side], side, t.ASSISTANT) for side in ("chosen", "rejected"))
            return [Reading(t.preference(said, chosen, rejected, tools))]
        return [Reading(t.demonstration(said, "messages", tools))]
    asked = next((name for name in _PROMPTS if name in there), None)
    if asked is None:
        raise DataError("there is neither 'messages' nor a prompt")
    if "answers" in there:
        return _ranked(_asked(row, asked, system), row["answers"])
    suffix = "_response" if there >= {"chosen_response", "rejected_response"} else ""
    if not there >= {f"chosen{suffix}", f"rejected{suffix}"}:
        raise DataError("there is no 'chosen' and 'rejected'")
    chosen, rejected = (t.turns(row[side + suffix], side + suffix, t.ASSISTANT) for side in ("chosen", "rejected"))
    return [Reading(t.preference(_asked(row, asked, system), chosen, rejected, tools))]


def _asked(row: Row, name: str, system: t.Turns) -> t.Turns:
    text = row[name]
    prompt = t.transcript(text) if isinstance(text, str) else None
    if prompt is None and name == "instruction" and t.is_text(row.get("input")):
        text = f"{text}\n{row['input']}"
    return system + t.turns(prompt or text, name, t.USER)


def _ranked(prompt: t.Turns, answers: object) -> list[Part]:
    if not _is_ranked(answers):
        raise DataError("'answers' is not a list of answers with ranks")
    assert isinstance(answers, list)
    if not all(isinstance(a["rank"], int | float) and isinstance(a.get("answer"), str) for a in answers):
        raise DataError("an answer of 'answers' has no text or no rank")
    best, *others = sorted(answers, key=lambda a: float(a["rank"]))
    parts: list[Part] = []
    for other in others:
        if other["rank"] == best["rank"] or other["answer"] == best["answer"]:
            parts.append(LeftOut("ties"))
            continue
        content = t.pair_of_texts(prompt, best["answer"], other["answer"])
        models = tuple(str(a["model"]) for a in (best, other) if a.get("model"))
        parts.append(Reading(content, models=models if len(models) == 2 else ()))
    return parts or [LeftOut("answers without another to compare with")]


def _write(example: Example) -> dict[str, object]:
    content = example.content
    tools: dict[str, object] = {"tools": t.tools_list(content)} if content.tools else {}
    if content.kind is Kind.PREFERENCE:
        chosen, rejected = content.chosen[-1].as_dict(), content.rejected[-1].as_dict()
        return {"messages": t.dicts(content.prompt), "chosen": chosen, "rejected": rejected} | tools
    return {"messages": [_message(turn) for turn in t.dialogue(content)]} | tools


def _message(turn: Turn) -> dict[str, Any]:
    if turn.role != t.ASSISTANT or turn.is_learnt:
        return turn.as_dict()
    return t.with_weight(turn, None).as_dict() | {"train": False}


def _lost(content: Content) -> str:
    long = content.kind is Kind.PREFERENCE and max(len(content.chosen), len(content.rejected)) > 1
    return "all but the last turn of an answer" if long else ""


FORMAT = Format(
    name="axolotl",
    title="Axolotl",
    summary="messages (train: false by message_field_training), pairs with one message each; older pairs, Nectar",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE),
    write=_write,
    lost=_lost,
)

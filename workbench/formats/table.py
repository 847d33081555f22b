"""Any table: one text per cell, the columns named by ``--map``, or guessed from names that are usual for them.

Holds what fits into one question and one answer, with a system text. A text that the question is about (``context``,
or ``input`` beside an ``instruction``) is put below it. Reasoning beside an answer is kept with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workbench.domain.chats import Turn, canonical_json
from workbench.domain.examples import Content, Example, Kind, plain_text
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

NAMES: Mapping[str, tuple[str, ...]] = {
    "system": ("system", "system_prompt"),
    "prompt": ("prompt", "question", "query", "instruction", "input", "user", "user_query", "request", "ask"),
    "context": ("context", "input", "passage", "background"),
    "completion": ("completion", "answer", "response", "output", "reply", "target", "assistant", "solution"),
    "chosen": ("chosen", "preferred", "better", "chosen_response", "chosen_answer", "accepted"),
    "rejected": ("rejected", "worse", "rejected_response", "rejected_answer", "rejected_text", "dispreferred"),
    "label": ("label", "kto_tag", "thumb", "thumbs", "is_good"),
    "reasoning": ("reasoning", "chain_of_thought", "thinking"),
    "text": ("text", "document", "body", "passage", "content"),
}


def guess(columns: Iterable[str]) -> dict[str, str]:
    """Which column is likely to be which part: ours by theirs, whatever the case and the spaces of their names."""
    known = {_plain(column): column for column in reversed(list(columns))}
    found = {part: next((known[name] for name in names if name in known), None) for part, names in NAMES.items()}
    mapping = {part: column for part, column in found.items() if column is not None}
    if "rejected" in mapping and "chosen" not in mapping and "text" in mapping:
        mapping["chosen"] = mapping.pop("text")  # AutoTrain's text and rejected_text
    if {"chosen", "rejected"} <= set(mapping) or "completion" in mapping:
        mapping.pop("text", None)
    if "prompt" not in mapping or mapping.get("context") in (mapping["prompt"], mapping.get("text")):
        mapping.pop("context", None)
    return mapping


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _score(row: Row) -> int:
    mapping = guess(name for name, value in row.items() if isinstance(value, str | bool | int))
    parts = set(mapping)
    if parts >= {"prompt", "completion"} or parts >= {"prompt", "chosen", "rejected"}:
        return 5
    return 4 if "text" in parts and not parts & {"label", "rejected"} else 0


def _read(row: Row) -> Sequence[Reading]:
    mapping = guess(name for name in row if row[name] is not None)
    values = {part: row[column] for part, column in mapping.items()}
    if "prompt" not in values and "text" in values:
        return [Reading(plain_text(_text(values["text"], mapping["text"])))]
    if "prompt" not in values:
        raise DataError("no column is the prompt", hint="say which one: --map prompt=COLUMN")
    asked = [_text(values[part], mapping[part]) for part in ("prompt", "context") if part in values]
    prompt = (*t.system_turn(values.get("system")), Turn(t.USER, "\n".join(text for text in asked if text.strip())))
    if {"chosen", "rejected"} <= set(values):
        sides = [_text(values[side], mapping[side]) for side in ("chosen", "rejected")]
        return [Reading(t.pair_of_texts(prompt, *sides))]
    if "completion" not in values:
        if {"completion", "chosen", "rejected"} & set(guess(row)):
            raise DataError("the row has a prompt, and an answer of it is empty")
        raise DataError(
            "no column is the answer", hint="say which one: --map completion=COLUMN, or chosen= and rejected="
        )
    extra = canonical_json({"reasoning_content": values["reasoning"]} if t.is_text(values.get("reasoning")) else {})
    answer = (Turn(t.ASSISTANT, _text(values["completion"], mapping["completion"]), extra),)
    if "label" in values:
        label = t.yes_or_no(values["label"], mapping["label"])
        return [Reading(t.checked(Content(Kind.JUDGEMENT, prompt, answer, label=label)))]
    return [Reading(t.checked(Content(Kind.DEMONSTRATION, prompt, answer)))]


def _text(value: object, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{name!r} is not a text")
    return str(value)


def _lost(content: Content) -> str:
    said = [turn for turn in content.prompt if turn.role != t.SYSTEM]
    if max(len(said), len(content.chosen), len(content.rejected)) > 1:
        return "all but the last question and the last answer"
    turns = (*content.prompt, *content.chosen, *content.rejected)
    reasoned = set(t.extra(content.chosen[-1])) == {"reasoning_content"} if content.chosen else False
    may_reason = content.kind in (Kind.DEMONSTRATION, Kind.JUDGEMENT) and reasoned
    if content.tools or any(turn.extra for turn in turns if not (may_reason and turn is content.chosen[-1])):
        return "tool calls and other keys of messages"
    return ""


def _write(example: Example) -> dict[str, object]:
    content = example.content
    if content.kind is Kind.TEXT:
        return {"text": content.chosen[0].content}
    row: dict[str, object] = {"system": content.prompt[0].content} if content.prompt[0].role == t.SYSTEM else {}
    row["prompt"] = content.prompt[-1].content
    if content.kind is Kind.PREFERENCE:
        return row | {"chosen": content.chosen[-1].content, "rejected": content.rejected[-1].content}
    row["completion"] = content.chosen[-1].content
    if reasoning := t.extra(content.chosen[-1]).get("reasoning_content"):
        row["reasoning"] = reasoning
    return row | ({"label": content.label} if content.kind is Kind.JUDGEMENT else {})


FORMAT = Format(
    name="table",
    title="Table",
    summary="any columns, mapped with --map or guessed by name; one question and one answer, a text per cell",
    columns=frozenset(name for names in NAMES.values() for name in names),
    score=_score,
    read=_read,
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.JUDGEMENT, Kind.TEXT),
    write=_write,
    lost=_lost,
)

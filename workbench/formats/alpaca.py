"""Stanford Alpaca with what LLaMA-Factory adds: system, history, pairs (``chosen`` and ``rejected``) and ``kto_tag``.

The prompt is ``instruction`` and ``input`` with a line break between. The answers in ``history`` are learnt from too in
a demonstration; before a pair or a judged answer they are context.
Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_COLUMNS = frozenset(
    {"instruction", "input", "output", "system", "history", "chosen", "rejected", "kto_tag", "tools", "text"}
)


def _score(row: Row) -> int:
    there = t.present(row)
    if not isinstance(row.get("instruction"), str):
        return 0
    if isinstance(row.get("output"), str | list):
        return 90 if "kto_tag" in there else 80
    return 80 if isinstance(row.get("chosen"), str) and isinstance(row.get("rejected"), str) else 0


def _read(row: Row) -> Sequence[Reading]:
    there = t.present(row)
    asked = "\n".join(text for text in (t.text_of(row, "instruction"), t.text_of(row, "input")) if text)
    before = t.system_turn(row.get("system")) + _history(row.get("history"))
    prompt, tools = (*before, Turn(t.USER, asked)), t.tools_of(row.get("tools"))
    output = row.get("output")
    if there >= {"chosen", "rejected"}:
        output = [row["chosen"], row["rejected"]]
    if isinstance(output, list):
        if len(output) != 2:
            raise DataError("'output' must hold the better and the worse answer")
        return [Reading(t.pair_of_texts(prompt, output[0], output[1], tools))]
    if not isinstance(output, str):
        raise DataError("'output' is not a text" if output is not None else "there is no 'output'")
    said = (*prompt, Turn(t.ASSISTANT, output))
    if "kto_tag" in there:
        label = t.yes_or_no(row["kto_tag"], "kto_tag")
        return [Reading(t.checked(Content(Kind.JUDGEMENT, prompt, said[-1:], label=label, tools=tools)))]
    return [Reading(t.demonstration(said, "output", tools))]


def _history(value: object) -> t.Turns:
    if value is None or value in ([], ""):
        return ()
    if not isinstance(value, list):
        raise DataError("'history' is not a list of [question, answer] pairs")
    found: list[Turn] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise DataError("'history' is not a list of [question, answer] pairs")
        found += [Turn(t.USER, pair[0]), Turn(t.ASSISTANT, pair[1])]
    return tuple(found)


def _lost(content: Content) -> str:
    if t.has_extras(content):
        return "tool calls and other keys of messages"
    if max(len(content.chosen), len(content.rejected)) > 1 and content.kind is not Kind.DEMONSTRATION:
        return "all but the last turn of an answer"
    said = content.prompt + content.chosen
    roles = [turn.role for turn in said if turn.role != t.SYSTEM]
    if any(a == b for a, b in pairwise(roles)) or roles[:1] == [t.ASSISTANT] or said[0].role == said[-1].role:
        return "turns that do not go back and forth between user and assistant"
    if content.kind is Kind.DEMONSTRATION and t.ASSISTANT in {turn.role for turn in content.prompt}:
        return "that earlier answers are not to be learnt from"
    return ""


def _write(example: Example) -> dict[str, object]:
    content = example.content
    before = content.prompt + content.chosen[:-1] if content.kind is Kind.DEMONSTRATION else content.prompt
    said = [turn for turn in before if turn.role in (t.USER, t.ASSISTANT) and turn.content]
    while said[-1].role != t.USER:
        said.pop()
    *earlier, last = said
    row: dict[str, object] = {"instruction": last.content, "input": ""}
    if content.prompt[0].role == t.SYSTEM:
        row["system"] = content.prompt[0].content
    if history := _pairs(earlier):
        row["history"] = history
    match content.kind:
        case Kind.PREFERENCE:
            return row | {"chosen": content.chosen[-1].content, "rejected": content.rejected[-1].content}
        case Kind.JUDGEMENT:
            return row | {"output": content.chosen[-1].content, "kto_tag": content.label}
        case _:
            return row | {"output": content.chosen[-1].content}


def _pairs(said: Sequence[Turn]) -> list[list[str]]:
    """Question and answer pairs; what was said in several turns in a row is joined."""
    joined: list[Turn] = []
    for turn in said:
        if joined and joined[-1].role == turn.role:
            joined[-1] = Turn(turn.role, f"{joined[-1].content}\n{turn.content}")
        elif joined or turn.role == t.USER:
            joined.append(turn)
    return [[a.content, b.content] for a, b in zip(joined[::2], joined[1::2], strict=False)]


FORMAT = Format(
    name="alpaca",
    title="Alpaca",
    summary="instruction, input, output; with system and history; pairs and kto_tag as LLaMA-Factory has them",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.JUDGEMENT),
    write=_write,
    lost=_lost,
)

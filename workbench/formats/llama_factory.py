"""LLaMA-Factory: folders described by ``dataset_info.json``, and the rows of its version 1 with typed content.

An entry of ``dataset_info.json`` says which column and which tag means what; ``of_entry`` makes a format of it. Written
as ShareGPT rows, or ``text`` for continued pre-training, with the entry that LLaMA-Factory needs to read them.
Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workbench.domain.examples import Content, Example, Kind, plain_text
from workbench.domain.formats import Format, Part, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t
from workbench.formats import alpaca, sharegpt

INFO = "dataset_info.json"
_COLUMNS = frozenset({"messages", "chosen_messages", "rejected_messages", "tools", "kto_tag"})
_WRITTEN = frozenset({"conversations", "system", "chosen", "rejected", "text"})
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TAGS = {
    "user_tag": ("human", "human"),
    "assistant_tag": ("gpt", "gpt"),
    "observation_tag": ("observation", "observation"),
    "function_tag": ("function_call", "function_call"),
    "system_tag": ("system", "system"),
}
_MEDIA = ("images", "videos", "audios")


def _score(row: Row) -> int:
    if t.is_messages(row.get("chosen_messages")):
        return 100
    said = row.get("messages")
    if not t.is_messages(said):
        return 0
    assert isinstance(said, list)
    return 95 if any("loss_weight" in one or _is_typed(one.get("content")) for one in said) else 0


def _is_typed(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(part, Mapping) and "value" in part for part in content)


def _read(row: Row) -> Sequence[Reading]:
    there, tools = t.present(row), t.tools_of(row.get("tools"))
    if there >= {"chosen_messages", "rejected_messages"}:
        chosen, rejected = (
            tuple(t.with_weight(turn, None) for turn in t.turns(row[name], name, t.USER))
            for name in ("chosen_messages", "rejected_messages")
        )
        return [Reading(t.preference(None, chosen, rejected, tools))]
    if "conversations" in there:
        return [Reading(sharegpt.read_row(row, "conversations"))]
    if "text" in there:
        return [Reading(plain_text(t.text_of(row, "text")))]
    if "messages" not in there:
        raise DataError("there is neither 'messages' nor 'chosen_messages' and 'rejected_messages'")
    said = t.turns(row["messages"], "messages", t.USER)
    if "kto_tag" in there:
        return [Reading(t.judged(said, t.yes_or_no(row["kto_tag"], "kto_tag"), "messages", tools))]
    return [Reading(t.demonstration(said, "messages", tools))]


def of_entry(entry: Mapping[str, Any]) -> Format:
    """The format that an entry of ``dataset_info.json`` describes; raises ``DataError`` for one that describes none."""
    formatting, columns = entry.get("formatting", "alpaca"), entry.get("columns") or {}
    tags = entry.get("tags") or {}
    if not isinstance(columns, Mapping) or not isinstance(tags, Mapping):
        raise DataError("'columns' or 'tags' is not an object")
    if not all(name is None or isinstance(name, str) for name in (*columns.values(), *tags.values())):
        raise DataError("a name in 'columns' or 'tags' is not a text")
    if formatting not in ("alpaca", "sharegpt"):
        raise DataError(f"the formatting {formatting!r} is not known", hint="known: alpaca, sharegpt")
    taken = frozenset(str(name) for name in columns.values() if name)

    def read(row: Row) -> Sequence[Part]:
        _refuse_media(row, columns)
        if formatting == "sharegpt":
            return [Reading(_of_sharegpt(row, columns, tags))]
        if "prompt" in columns and not {"response", "chosen", "rejected"} & set(columns) and "output" not in row:
            return [Reading(plain_text(t.text_of(row, str(columns["prompt"]))))]
        return alpaca.FORMAT.read(_of_alpaca(row, columns))

    base = alpaca.FORMAT if formatting == "alpaca" else sharegpt.FORMAT
    return replace(FORMAT, columns=base.columns | taken, score=lambda row: 100, read=read)


def _refuse_media(row: Row, columns: Mapping[str, Any]) -> None:
    for name in _MEDIA:
        if row.get(columns.get(name) or name):
            raise DataError(f"the row has {name}, and only text can be kept")


def _of_alpaca(row: Row, columns: Mapping[str, Any]) -> Row:
    names = {**_ALPACA, "history": "history", "system": "system", "tools": "tools"}
    names |= {name: name for name in ("chosen", "rejected", "kto_tag")}
    return {
        _ALPACA.get(ours, ours): row.get(columns.get(ours) or default)
        for ours, default in names.items()
        if row.get(columns.get(ours) or default) is not None
    }


def _of_sharegpt(row: Row, columns: Mapping[str, Any], tags: Mapping[str, Any]) -> Content:
    role_tag, content_tag = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    roles = {tags.get(name, default): ours for name, (default, ours) in _TAGS.items()}

    def message(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        rest = {key: item for key, item in value.items() if key not in (role_tag, content_tag)}
        role = value.get(role_tag)
        named = roles.get(role, role) if isinstance(role, str) else role
        return {"from": named, "value": value.get(content_tag)} | rest

    mapped: dict[str, object] = {}
    said = row.get(columns.get("messages") or "conversations")
    mapped["conversations"] = [message(item) for item in said] if isinstance(said, list) else said
    for name in ("system", "tools", "kto_tag"):
        mapped[name] = row.get(columns.get(name) or name)
    for name in ("chosen", "rejected"):
        mapped[name] = message(row.get(columns.get(name) or name))
    return sharegpt.read_row(mapped, "conversations")


def entry(file_name: str, kind: Kind, *, tools: bool, system: bool) -> dict[str, object]:
    """What ``dataset_info.json`` must say about a file of rows of one kind that this format wrote."""
    if kind is Kind.TEXT:
        return {"file_name": file_name, "columns": {"prompt": "text"}}
    columns = {"messages": "conversations"}
    columns |= {"system": "system"} if system else {}
    columns |= {"tools": "tools"} if tools else {}
    if kind is Kind.PREFERENCE:
        columns |= {"chosen": "chosen", "rejected": "rejected"}
        return {"file_name": file_name, "formatting": "sharegpt", "ranking": True, "columns": columns}
    columns |= {"kto_tag": "kto_tag"} if kind is Kind.JUDGEMENT else {}
    return {"file_name": file_name, "formatting": "sharegpt", "columns": columns}


def _write(example: Example) -> dict[str, object]:
    if example.content.kind is Kind.TEXT:
        return {"text": example.content.chosen[0].content}
    assert sharegpt.FORMAT.write is not None
    return sharegpt.FORMAT.write(example)


def _lost(content: Content) -> str:
    if content.kind is Kind.TEXT:
        return ""
    if content.kind is Kind.DEMONSTRATION and any(turn.role == t.ASSISTANT for turn in content.prompt):
        return "that earlier answers are not to be learnt from"
    if lost := t.lost_weights(content):
        return lost
    said = [turn.role for turn in content.prompt + content.chosen if turn.role != t.SYSTEM]
    if any((role in (t.USER, t.TOOL)) == bool(at % 2) for at, role in enumerate(said)):
        return "turns that do not go back and forth"
    return sharegpt.FORMAT.lost(content)


FORMAT = Format(
    name="llama_factory",
    title="LLaMA-Factory",
    summary="ShareGPT rows with their dataset_info.json; reads whole folders, and typed content of version 1",
    columns=_COLUMNS | _WRITTEN,
    score=_score,
    read=_read,
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.JUDGEMENT, Kind.TEXT),
    write=_write,
    lost=_lost,
)

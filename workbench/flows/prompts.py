"""Where the prompts of a comparison come from: a file, a dataset's split, chats, the to-fix list, or the samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.chats import Role, Turn, turns_from_dicts
from workbench.domain.examples import Kind, Split
from workbench.domain.queries import Filter, Query
from workbench.domain.rounds import PromptRow
from workbench.errors import DataError, NotFoundError, UsageError
from workbench.flows import fixes
from workbench.flows.held_out import HELD_OUT
from workbench.paths import shipped

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

CHATS, TO_FIX = "@chats", "@to-fix"
"""Sources that are no dataset; ``NAME:SPLIT`` is one split of a dataset."""

MAX_PROMPTS = 1_000_000

Prompt = tuple[Turn, ...]


def prompt_rows(bench: Bench, source: Path | str | None) -> list[PromptRow]:
    """Prompts from a file, a dataset by name, chats, the to-fix list, or (None) the samples that come with the program.

    A ``.jsonl`` file has ``prompt`` (a text or turns) or ``messages`` (up to the last user turn) in each line; any
    other file has one question per line. Of a dataset its validation and test rows are taken if it has any, because
    a model should not be judged on what it was trained on; ``NAME:SPLIT`` takes another split. Doubles are left out.
    Raises ``DataError`` with file and line, ``NotFoundError``.
    """
    if source is None:
        source = shipped("sample_data") / "prompts.jsonl"
    found: dict[Prompt, PromptRow] = {}
    for row in _rows(bench, source):
        found.setdefault(row.turns, row)
    if not found:
        raise DataError(f"there is no prompt in {source}", where=str(source))
    return list(found.values())


def typed_rows(text: str) -> list[PromptRow]:
    """One prompt of each line that somebody typed."""
    return [PromptRow((Turn(Role.USER.value, line.strip()),)) for line in text.splitlines() if line.strip()]


def _rows(bench: Bench, source: Path | str) -> Iterator[PromptRow]:
    if isinstance(source, Path):
        return (PromptRow(prompt) for prompt in _from_file(source))
    if source == CHATS:
        return (PromptRow(prompt) for prompt in _from_chats(bench))
    if source == TO_FIX:
        # a prompt tells nothing of its answers
        return (PromptRow(one.prompt, one.example_id, one.tags) for one in fixes.every(bench))
    return _from_dataset(bench, source)


def _from_chats(bench: Bench) -> Iterator[Prompt]:
    """What each chat asked last, with all that was said before it; newest chat first."""
    for chat in bench.store.chats.list(limit=MAX_PROMPTS):
        turns = bench.store.chats.tree(chat.id).turns_to(chat.tip_id)
        if prompt := _to_last_question(turns):
            yield prompt


def _from_dataset(bench: Bench, source: str) -> Iterator[PromptRow]:
    name, _, wanted = source.rpartition(":") if source.rpartition(":")[2] in set(Split) else (source, "", "")
    bench.store.datasets.get(name)
    live = Filter("status", "rejected", negated=True)
    queries = [Query((live, Filter("split", split))) for split in ([wanted] if wanted else HELD_OUT)]
    if not wanted and not any(bench.store.examples.count(query, name) for query in queries):
        queries = [Query((live,))]
    for query in queries:
        for example in bench.store.examples.list(query, dataset=name, limit=MAX_PROMPTS):
            if example.content.kind is not Kind.TEXT:
                yield PromptRow(example.content.prompt, example.id, example.tags)


def _from_file(path: Path) -> Iterator[Prompt]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text", where=str(path)) from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and path.suffix == ".jsonl":
            yield _from_line(line, f"{path}:{number}")
        elif line.strip():
            yield (Turn(Role.USER.value, line.strip()),)


def _from_line(line: str, where: str) -> Prompt:
    try:
        row = json.loads(line)
        given = row.get("prompt", row.get("messages"))
    except (ValueError, AttributeError):
        raise DataError("this line is not a JSON object", where=where) from None
    if isinstance(given, str) and given.strip():
        return (Turn(Role.USER.value, given),)
    if not isinstance(given, list) or not all(isinstance(turn, dict) for turn in given):
        raise DataError("this line has neither 'prompt' nor 'messages'", where=where)
    try:
        turns = turns_from_dicts(given)
    except DataError as error:
        raise DataError(error.message, hint=error.hint, where=where) from None
    if not (prompt := _to_last_question(turns)):
        raise DataError("this prompt has no user turn", where=where)
    return prompt


def _to_last_question(turns: Prompt) -> Prompt:
    last = max((i for i, turn in enumerate(turns) if turn.role == Role.USER.value), default=-1)
    return turns[: last + 1]


def source_named(text: str) -> Path | str | None:
    """What ``--prompts`` means: a file if there is one, else a source by name; None for nothing."""
    if not text:
        return None
    if text.startswith("@") and text not in {CHATS, TO_FIX}:
        raise UsageError(f"{text!r} is no source of prompts", hint=f"{CHATS}, {TO_FIX}, a file or a dataset")
    path = Path(text).expanduser()
    return path if path.exists() else text

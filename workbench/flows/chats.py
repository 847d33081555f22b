"""Keeping chats: names, putting away, deleting with undo, searching all of them, taking in the chats of others.

Owns what happens to a chat as a whole. Talking in one, and what is made of its answers, is ``flows/chat.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import formats
from workbench.domain.chats import Chat, Generation, Hit, Preset, Role, Sampling, StopReason, Turn, title_from
from workbench.domain.examples import Kind
from workbench.domain.formats import Format, LeftOut, Reading, Row
from workbench.domain.moments import moment
from workbench.errors import DataError, NotFoundError
from workbench.flows import containers
from workbench.flows.import_rows import parts_of
from workbench.flows.reading import Line, RowError

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

ATTACHED_BYTES = 200_000
LONGEST_TITLE = 200
UNKNOWN = "unknown"
"""Who wrote the answers of a file that does not say so."""
_TALK = (Role.USER.value, Role.ASSISTANT.value, Role.TOOL.value)


@dataclass(frozen=True, slots=True)
class ImportedChats:
    """What came of a file: the new chats, and why other rows made none."""

    format: str
    chats: tuple[Chat, ...]
    skipped: int
    reasons: tuple[str, ...]


# Names, places


def rename(bench: Bench, chat_id: int, title: str) -> Chat:
    """Another title, on one line; raises ``DataError`` for an empty one."""
    line = " ".join(title.split())
    if not line:
        raise DataError("a chat needs a title")
    return bench.store.chats.update(chat_id, title=title_from(line, LONGEST_TITLE))


def archive(bench: Bench, chat_id: int, *, away: bool = True) -> Chat:
    """Put a chat away, out of the list, or back into it. Searches find it either way."""
    return bench.store.chats.archive(chat_id, away=away)


def discard(bench: Bench, chat_id: int) -> Chat:
    """Delete a chat; ``restore`` brings it back for thirty days. Its examples stay."""
    return bench.store.chats.discard(chat_id)


def restore(bench: Bench, chat_id: int) -> Chat:
    """Bring back a deleted chat; raises ``NotFoundError`` when it is gone for good."""
    return bench.store.chats.restore(chat_id)


# Finding


def search(bench: Bench, text: str, *, limit: int = 100) -> list[Hit]:
    """Where all words of ``text`` stand, over all chats, also those put away; the newest first."""
    return bench.store.chats.hits(text.split(), limit=limit)


def show_hit(bench: Bench, hit: Hit) -> None:
    """Stand where the hit is: on a branch through its message."""
    if hit.message_id is not None:
        tree = bench.store.chats.tree(hit.chat.id)
        if all(message.id != hit.message_id for message in tree.path()):
            bench.store.chats.set_tip(hit.chat.id, tree.leaf_below(hit.message_id))


# Presets


def save_preset(bench: Bench, name: str, *, system: str, sampling: Sampling) -> Preset:
    """Keep a system prompt and sampling under a name, instead of what was there."""
    line = " ".join(name.split())
    if not line:
        raise DataError("a preset needs a name")
    return bench.store.presets.save(line, system=system, sampling=sampling)


# Files


def attached(path: Path) -> str:
    """A file as text for a message: its name, and what is in it as a code block.

    Raises ``NotFoundError``, or ``DataError`` for a file that is too large or no text.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise DataError(f"{path.name} is a folder", hint="attach the files one by one", where=str(path))
        data = path.read_bytes() if size <= ATTACHED_BYTES else b""
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}", where=str(path)) from None
    if size > ATTACHED_BYTES:
        raise DataError(
            f"{path.name} has {size:,} bytes; a message takes {ATTACHED_BYTES:,}",
            hint="attach a part of it, or import it as a text",
            where=str(path),
        )
    if b"\0" in data:
        raise DataError(f"{path.name} is no text", hint="only text can be attached", where=str(path))
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text (byte {error.start + 1})", where=str(path)) from None
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{path.name}:\n{fence}\n{text}\n{fence}"


# Others' chats


def import_chats(
    bench: Bench, source: Path, *, format: str = "", model: str = "", cancelled: threading.Event | None = None
) -> ImportedChats:
    """Every conversation of a file in any format that imports know, as a chat of its own, with its branches.

    Paths of one row that begin alike are branches of one chat; an answer that was rejected stands beside the chosen
    one. ``model`` is who is asked when such a chat is gone on with. Rows that are no talk are passed over and counted.
    Raises ``NotFoundError`` or ``DataError``.
    """
    asked = bench.store.models.get(model).name if model else bench.store.models.default().name
    made: list[Chat] = []
    reasons: dict[str, int] = {}
    with containers.open_source(source, containers.Options(), cancelled=cancelled) as opened:
        lines = iter(opened.lines)
        first = list(islice(lines, formats.LOOKED_AT))
        found = (
            formats.get(format)
            if format
            else formats.detect([one.row for one in first if not isinstance(one.row, RowError)])
        )
        for line in chain(first, lines):
            if cancelled is not None and cancelled.is_set():
                break
            try:
                made.append(_import_row(bench, found, line, asked))
            except DataError as error:
                reasons[error.message] = reasons.get(error.message, 0) + 1
    told = sorted(reasons, key=lambda reason: -reasons[reason])
    return ImportedChats(found.name, tuple(made), sum(reasons.values()), tuple(told[:5]))


def _import_row(bench: Bench, found: Format, line: Line, model: str) -> Chat:
    if isinstance(line.row, RowError):
        raise DataError(line.row.reason)
    parts = parts_of(found, line.row)
    readings = [part for part in parts if isinstance(part, Reading)]
    talks = [talk for reading in readings for talk in _talks(reading)]
    if not talks:
        left_out = next((part.reason for part in parts if isinstance(part, LeftOut)), "")
        raise DataError(left_out or "there is no talk in this row")
    names = [line.row.get(column) for column in ("title", "name") if column in found.columns]
    title = next((name for name in names if isinstance(name, str) and name.strip()), "")
    return _store_talks(bench, talks, title, model, _dates(found, line.row, talks))


def _dates(found: Format, row: Row, talks: Sequence[Talk]) -> tuple[str, str]:
    """When the chat was begun and last written to, as its row says, or else its messages; "" when neither does."""
    written = sorted(when for _, said in talks for *_, when in said if when) or [""]
    told = [
        max((moment(row.get(name)) for name in names if name in found.columns), default="")
        for names in (("create_time", "created_at"), ("update_time", "updated_at"))
    ]
    return told[0] or written[0], told[1] or written[-1] or told[0]


Said = tuple[str, str, str, str]
"""Who speaks, what, the model that wrote it if it is an answer, and when it was written ("": nobody says)."""

Talk = tuple[str, tuple[Said, ...]]
"""A system prompt, and what was said."""


def _talks(reading: Reading) -> list[Talk]:
    content = reading.content
    if content.kind is Kind.TEXT:
        return []
    author = reading.models[0] if reading.models else UNKNOWN
    is_dated = len(reading.written) == len(content.prompt) + len(content.chosen)
    days = reading.written if is_dated else ("",) * (len(content.prompt) + len(content.chosen))
    rival = reading.models[1] if len(reading.models) > 1 else author
    ends = [(content.rejected, rival, ("",) * len(content.rejected))] if content.rejected else []
    # the chosen one last: it is where the chat stands
    ends.append((content.chosen, author, days[len(content.prompt) :]))
    talks: list[Talk] = []
    for end, writer, end_days in ends:
        asked = ((turn, author, day) for turn, day in zip(content.prompt, days, strict=False))
        turns = (*asked, *((turn, writer, day) for turn, day in zip(end, end_days, strict=True)))
        system = next((turn.content for turn, *_ in turns if turn.role == Role.SYSTEM.value), "")
        said = _said(turns)
        if any(role == Role.USER.value for role, *_ in said):
            talks.append((system, said))
    return talks


def _said(turns: Sequence[tuple[Turn, str, str]]) -> tuple[Said, ...]:
    """Questions and answers. What a model called, what the tool gave and what it said then are one answer."""
    said: list[Said] = []
    for turn, author, day in turns:
        text = _marked(turn)
        role = Role.USER.value if turn.role == Role.USER.value else Role.ASSISTANT.value
        if turn.role not in _TALK or not text.strip():
            continue
        if said and said[-1][0] == role == Role.ASSISTANT.value:
            said[-1] = (role, f"{said[-1][1]}\n\n{text}", author, day or said[-1][3])
        else:
            said.append((role, text, author, day))
    return tuple(said)


def _marked(turn: Turn) -> str:
    """What a turn says, its thoughts, calls and results between the marks that models write, which screens fold."""
    if turn.role == Role.TOOL.value:
        return f"<tool_response>\n{turn.content}\n</tool_response>"
    thought = json.loads(turn.extra).get("reasoning_content", "") if turn.extra else ""
    parts = [f"<think>\n{thought}\n</think>"] if isinstance(thought, str) and thought.strip() else []
    parts += [turn.content] if turn.content.strip() else []
    for call in turn.tool_calls:
        function = {name: call["function"].get(name) for name in ("name", "arguments")}
        parts.append(f"<tool_call>\n{json.dumps(function, ensure_ascii=False)}\n</tool_call>")
    return "\n\n".join(parts)


def _store_talks(bench: Bench, talks: Sequence[Talk], title: str, model: str, dates: tuple[str, str]) -> Chat:
    """One chat of talks that may begin alike; all of it or nothing."""
    chats = bench.store.chats
    first_said = next(text for role, text, *_ in talks[0][1] if role == Role.USER.value)
    with bench.store.write():
        chat = chats.create(
            title=title_from(title or first_said, LONGEST_TITLE if title else 48),
            system=talks[0][0],
            model=model,
            sampling=bench.settings.chat.sampling,
        )
        known: dict[tuple[int | None, str, str], int] = {}
        for _, said in talks:
            parent: int | None = None
            for role, text, author, day in said:
                key = (parent, role, text)
                if key not in known:
                    made = _generation(author) if role == Role.ASSISTANT.value else None
                    known[key] = chats.add_message(
                        chat.id,
                        parent_id=parent,
                        role=Role(role),
                        content=text,
                        generation=made,
                        created_utc=day or dates[0],
                    ).id
                parent = known[key]
        chats.set_tip(chat.id, parent)
        return chats.date_imported(chat.id, created_utc=dates[0], updated_utc=dates[1])


def _generation(model: str) -> Generation:
    return Generation(model, Sampling(), 0, 0, 0, StopReason.STOP)

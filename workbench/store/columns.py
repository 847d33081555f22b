"""How an example is written in the columns of its row, and what of it is read back.

Owns the texts that are searched, listed and measured, too. Every row of an import comes through here, so that what is
done once for each counts.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from json.encoder import encode_basestring_ascii

from workbench.domain.chats import Role, Turn, storable
from workbench.domain.examples import Content, Kind, NewExample, Source, SourceKind, Status, last_user_text
from workbench.store.decisions import Fields
from workbench.store.rows import placeholders, turns_from_json, turns_json


def content_fields(content: Content) -> Fields:
    """The columns that hold a content."""
    return {
        "kind": content.kind.value,
        "prompt": turns_json(content.prompt),
        "chosen": turns_json(content.chosen),
        "rejected": turns_json(content.rejected),
        "label": None if content.label is None else int(content.label),
        "tools": storable(content.tools),
    }


def stored(content: Content) -> Content:
    """The content as it will be read back: hashes must be those of what is stored."""
    for turn in (*content.prompt, *content.chosen, *content.rejected):
        if not turn.content.isascii() or not turn.extra.isascii():
            break
    else:
        if content.tools.isascii():
            return content
    return replace(
        content,
        prompt=tuple(map(_stored_turn, content.prompt)),
        chosen=tuple(map(_stored_turn, content.chosen)),
        rejected=tuple(map(_stored_turn, content.rejected)),
        tools=storable(content.tools),
    )


def _stored_turn(turn: Turn) -> Turn:
    return Turn(storable(turn.role), storable(turn.content), storable(turn.extra))


def content_of(row: sqlite3.Row | Fields) -> Content:
    """The content of a row."""
    return Content(
        Kind(row["kind"]),
        turns_from_json(row["prompt"]),
        turns_from_json(row["chosen"]),
        turns_from_json(row["rejected"]),
        None if row["label"] is None else bool(row["label"]),
        row["tools"],
    )


def texts(content: Content) -> Fields:
    """What is searched, listed and measured: the last user turn, every other text, words and turns."""
    asked = last_user_text(content.prompt)
    prompt, answer = storable(asked), _shown(content.chosen)
    more = [turn for turn in content.prompt if turn.content != asked] if len(content.prompt) > 1 or not asked else ()
    context = _shown(more)
    return {
        "prompt_text": prompt,
        "answer_text": answer,
        "context_text": context,
        "rejected_text": _shown(content.rejected),
        "words": len(prompt.split()) + len(answer.split()) + (len(context.split()) if context else 0),
        "turns": len(content.prompt) + len(content.chosen),
    }


def _shown(turns: Sequence[Turn]) -> str:
    if len(turns) == 1:
        return storable(turns[0].shown)
    return storable("\n".join(turn.shown for turn in turns)) if turns else ""


COLUMNS = (
    *("status", "split", "rating", "rater", "source_kind", "source", "hash", "created_utc", "updated_utc", "note"),
    *("prompt_text", "answer_text", "context_text", "rejected_text", "words", "turns"),
    *("kind", "prompt", "chosen", "rejected", "label", "tools"),
)
"""The columns of a new row, except those that say where it belongs."""


def _plain_turns(turns: Sequence[Turn]) -> tuple[str, str]:
    """Turns for which ``_is_plain`` holds, as ``turns_json`` writes them and as ``Content.hash`` does.

    The names of roles need no escaping, and both escape such texts alike: every row of an import comes through here,
    and the escaping is done once.
    """
    if len(turns) == 1:  # as nearly all parts are
        content = encode_basestring_ascii(turns[0].content)
        return f'[["{turns[0].role}", {content}]]', f'{{"content":{content},"role":"{turns[0].role}"}}'
    escaped = [(turn.role, encode_basestring_ascii(turn.content)) for turn in turns]
    written = ", ".join([f'["{role}", {content}]' for role, content in escaped])
    return f"[{written}]", ",".join([f'{{"content":{content},"role":"{role}"}}' for role, content in escaped])


def _is_plain(content: Content) -> bool:
    if content.tools:
        return False
    for turns in (content.prompt, content.chosen, content.rejected):
        for turn in turns:
            text = turn.content
            # the ASCII way of writing JSON escapes one ASCII character that the other does not
            if turn.extra or not text.isascii() or "\x7f" in text or turn.role not in _ROLES:
                return False
    return True


def _hash_and_fields(content: Content) -> tuple[bytes, Iterable[str | int | None]]:
    """The digest, and the values of ``content_fields``."""
    if not _is_plain(content):
        content = stored(content)
        return bytes.fromhex(content.hash()), content_fields(content).values()
    prompt, canonical_prompt = _plain_turns(content.prompt)
    chosen, canonical_chosen = _plain_turns(content.chosen)
    rejected, canonical_rejected = _plain_turns(content.rejected) if content.rejected else ("[]", "")
    kind, label = content.kind._value_, content.label
    text = (
        f'{{"chosen":[{canonical_chosen}],"kind":"{kind}","label":{_LABELS[label]},'
        f'"prompt":[{canonical_prompt}],"rejected":[{canonical_rejected}]}}'
    )
    digest = hashlib.sha256(text.encode("ascii")).digest()
    return digest, (kind, prompt, chosen, rejected, None if label is None else int(label), "")


_ROLES = frozenset(role.value for role in Role)
_LABELS = {None: "null", True: "true", False: "false"}


def new_values(
    new: NewExample, *, rater: str, now: str, status: Status = Status.PENDING
) -> list[str | int | bytes | None]:
    """The values of ``COLUMNS`` for a new row; ``status`` is for one that brings none."""
    digest, fields = _hash_and_fields(new.content)
    return [
        (new.status or status)._value_,  # ``value`` takes longer to find, four times for every row of an import
        new.split._value_,
        new.rating,
        new.rater or rater,
        new.source.kind._value_,
        source_json(new.source),
        digest,
        now,
        now,
        storable(new.note),
        *texts(new.content).values(),
        *fields,
    ]


def insert_sql(columns: Iterable[str]) -> str:
    """The statement that adds a row with these columns."""
    names = list(columns)
    return f"INSERT INTO examples ({', '.join(names)}) VALUES ({placeholders(len(names))})"


def models_of(source: str) -> tuple[str, ...]:
    """The models that the JSON of a source names."""
    return source_of(source).models if '"models"' in source else ()


MODELS_SQL = "INSERT OR IGNORE INTO example_models (example_id, model) VALUES (?, ?)"
"""What puts one of an example's models where it can be looked for."""

_NO_IDS = (None, None, None, None)


def source_json(source: Source) -> str:
    """A source as the JSON that ``source_of`` reads."""
    ids = (source.chat_id, source.message_id, source.other_message_id, source.comparison_id)
    if ids == _NO_IDS and source.file and source.line is not None and not source.models and not source.origins:
        # As ``json.dumps`` writes it, in a fifth of the time: every row of an import comes through here.
        file = encode_basestring_ascii(source.file)
        return f'{{"kind": "{source.kind._value_}", "file": {file}, "line": {source.line}}}'
    values = {name: getattr(source, name) for name in Source.__slots__}
    return json.dumps(
        {name: value for name, value in values.items() if value not in (None, "", ()) and value is not False}
    )


def source_of(text: str) -> Source:
    """The source of a column."""
    values = json.loads(text)
    kind, models, origins = SourceKind(values.pop("kind")), values.pop("models", ()), values.pop("origins", ())
    return Source(kind=kind, models=tuple(models), origins=tuple(origins), **values)

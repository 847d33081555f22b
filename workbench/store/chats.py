"""Chats and their messages, and the answers that are being written.

Messages are only ever added. An answer in the making is kept under its owner's process, so that the text of a killed
bench can be told from one that is still being written.
"""

from __future__ import annotations

import builtins
import os
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.chats import (
    Chat,
    ChatTree,
    Generation,
    Hit,
    Message,
    PendingAnswer,
    Role,
    Sampling,
    storable,
)
from workbench.errors import DataError, NotFoundError
from workbench.store.owners import process_started
from workbench.store.rows import (
    generation_from_json,
    generation_json,
    now_utc,
    sampling_from_json,
    sampling_json,
    search_words,
)

if TYPE_CHECKING:
    from workbench.store.store import Store


_HERE = "deleted_utc = ''"


class Chats:
    """Trees of messages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, *, title: str, system: str, model: str, sampling: Sampling) -> Chat:
        """A new chat without messages."""
        now = now_utc()
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO chats (title, system, model, sampling, created_utc, updated_utc) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [storable(title), storable(system), model, sampling_json(sampling), now, now],
            )
            return self.get(_new_id(cursor))

    def get(self, chat_id: int) -> Chat:
        """The chat; raises ``NotFoundError``, also for one that was deleted."""
        row = self._store.read().execute("SELECT * FROM chats WHERE id = ?", [chat_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no chat {chat_id}", hint="`workbench chats list` shows them")
        if row["deleted_utc"]:
            raise NotFoundError(
                f"chat {chat_id} was deleted", hint=f"`workbench chats restore {chat_id}` brings it back"
            )
        return _chat(row)

    def list(self, *, search: str = "", limit: int = 200, archived: bool | None = False) -> list[Chat]:
        """Chats, the last used first; with ``search`` those whose title or messages hold every word.

        ``archived`` None means all of them, True only those that were put away.
        """
        words = search.split()
        where, values = [_HERE], []
        if archived is not None:
            where.append("archived_utc <> ''" if archived else "archived_utc = ''")
        if words:
            where.append(
                f"({_in_title(words)} OR id IN (SELECT chat_id FROM messages WHERE id IN "
                "(SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?)))"
            )
            values = [*map(storable, words), search_words(words)]
        sql = f"SELECT * FROM chats WHERE {' AND '.join(where)} ORDER BY updated_utc DESC, id DESC LIMIT ?"
        return [_chat(row) for row in self._store.read().execute(sql, [*values, limit])]

    def hits(self, words: Sequence[str], *, limit: int = 100) -> builtins.list[Hit]:
        """Where the words stand, in any chat that is not deleted: titles first, then messages, the newest first.

        The last word may be the beginning of one.
        """
        if not words:
            return []
        read = self._store.read()
        titles = read.execute(
            f"SELECT * FROM chats WHERE {_HERE} AND {_in_title(words)} ORDER BY updated_utc DESC LIMIT ?",
            [*map(storable, words), limit],
        )
        found = [Hit(_chat(row), None, None, row["title"]) for row in titles]
        rows = read.execute(
            "SELECT f.rowid AS message_id, m.role, snippet(messages_fts, 0, '', '', '…', 16) AS text, c.* "
            "FROM messages_fts f JOIN messages m ON m.id = f.rowid JOIN chats c ON c.id = m.chat_id "
            "WHERE messages_fts MATCH ? AND f.rowid IN (SELECT m.id FROM messages_fts f JOIN messages m "
            "ON m.id = f.rowid JOIN chats c ON c.id = m.chat_id "  # a snippet is cut for those that are shown alone
            f"WHERE messages_fts MATCH ? AND c.{_HERE} ORDER BY m.created_utc DESC, m.id DESC LIMIT ?) "
            "ORDER BY m.created_utc DESC, m.id DESC",
            [search_words(words) + "*", search_words(words) + "*", limit],
        )
        found += [Hit(_chat(row), row["message_id"], Role(row["role"]), row["text"]) for row in rows]
        return found[:limit]

    def prompts(self, *, limit: int = 200) -> builtins.list[str]:
        """What was said to models, in any chat, each text once, the last first."""
        sql = (
            f"SELECT content FROM messages WHERE role = 'user' AND chat_id IN (SELECT id FROM chats WHERE {_HERE}) "
            "GROUP BY content ORDER BY max(id) DESC LIMIT ?"
        )
        return [row["content"] for row in self._store.read().execute(sql, [limit])]

    def tree(self, chat_id: int) -> ChatTree:
        """The chat with all its messages."""
        chat = self.get(chat_id)
        rows = self._store.read().execute("SELECT * FROM messages WHERE chat_id = ? ORDER BY id", [chat_id])
        return ChatTree(chat, {row["id"]: _message(row) for row in rows})

    def message(self, message_id: int) -> Message:
        """The message; raises ``NotFoundError``."""
        row = self._store.read().execute("SELECT * FROM messages WHERE id = ?", [message_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no message {message_id}", hint="`workbench chats show CHAT` lists their ids")
        return _message(row)

    def answers_to(self, message_id: int) -> builtins.list[Message]:
        """What was answered to a message, oldest first."""
        sql = "SELECT * FROM messages WHERE parent_id = ? AND role = 'assistant' ORDER BY id"
        return [_message(row) for row in self._store.read().execute(sql, [message_id])]

    def rival_answers(self) -> builtins.list[Message]:
        """Every answer, in any chat, to a turn that has another answer too; by the turn, oldest first."""
        sql = (
            "SELECT * FROM messages WHERE role = 'assistant' AND parent_id IN (SELECT parent_id FROM messages "
            "WHERE role = 'assistant' AND parent_id IS NOT NULL GROUP BY parent_id HAVING count(*) > 1) "
            f"AND chat_id IN (SELECT id FROM chats WHERE {_HERE}) ORDER BY parent_id, id"
        )
        return [_message(row) for row in self._store.read().execute(sql)]

    def add_message(
        self,
        chat_id: int,
        *,
        parent_id: int | None,
        role: Role,
        content: str,
        generation: Generation | None = None,
        edited_from: int | None = None,
        created_utc: str = "",
    ) -> Message:
        """A new message, which becomes the chat's tip; ``created_utc`` is for one that was written elsewhere before."""
        with self._store.write() as db:
            self._check_in_chat(chat_id, parent_id)
            cursor = db.execute(
                "INSERT INTO messages (chat_id, parent_id, role, content, generation, edited_from, created_utc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    chat_id,
                    parent_id,
                    role.value,
                    storable(content),
                    generation_json(generation) if generation else None,
                    edited_from,
                    created_utc or now_utc(),
                ],
            )
            message = self.message(_new_id(cursor))
            self.set_tip(chat_id, message.id)
            return message

    def set_tip(self, chat_id: int, message_id: int | None) -> None:
        """Where the person stands in the chat; None is before its first message."""
        with self._store.write() as db:
            self._check_in_chat(chat_id, message_id)
            db.execute("UPDATE chats SET tip_id = ?, updated_utc = ? WHERE id = ?", [message_id, now_utc(), chat_id])

    def date_imported(self, chat_id: int, *, created_utc: str, updated_utc: str) -> Chat:
        """Give a chat the dates that it had in another program ("" for one that is not known), and mark it as imported.

        Nothing is dated later than now.
        """
        now = now_utc()
        with self._store.write() as db:
            db.execute(
                "UPDATE chats SET created_utc = ?, updated_utc = ?, imported_utc = ? WHERE id = ?",
                [min(created_utc or now, now), min(updated_utc or now, now), now, chat_id],
            )
            return self.get(chat_id)

    def update(
        self,
        chat_id: int,
        *,
        title: str | None = None,
        system: str | None = None,
        model: str | None = None,
        sampling: Sampling | None = None,
    ) -> Chat:
        """Change what is given; None leaves a field as it is."""
        values = {
            "title": None if title is None else storable(title),
            "system": None if system is None else storable(system),
            "model": model,
            "sampling": None if sampling is None else sampling_json(sampling),
        }
        with self._store.write() as db:
            self.get(chat_id)
            for column, value in values.items():
                if value is not None:
                    db.execute(
                        f"UPDATE chats SET {column} = ?, updated_utc = ? WHERE id = ?", [value, now_utc(), chat_id]
                    )
            return self.get(chat_id)

    def archive(self, chat_id: int, *, away: bool = True) -> Chat:
        """Put a chat away, out of the list, or back into it; searches find it either way."""
        with self._store.write() as db:
            self.get(chat_id)
            db.execute("UPDATE chats SET archived_utc = ? WHERE id = ?", [now_utc() if away else "", chat_id])
            return self.get(chat_id)

    def discard(self, chat_id: int) -> Chat:
        """Delete a chat so that ``restore`` can bring it back, until ``purge`` takes it."""
        with self._store.write() as db:
            chat = self.get(chat_id)
            db.execute("UPDATE chats SET deleted_utc = ? WHERE id = ?", [now_utc(), chat_id])
            return chat

    def restore(self, chat_id: int) -> Chat:
        """Bring a deleted chat back; one that is there stays. Raises ``NotFoundError``."""
        with self._store.write() as db:
            db.execute("UPDATE chats SET deleted_utc = '' WHERE id = ?", [chat_id])
            return self.get(chat_id)

    def discarded(self) -> builtins.list[Chat]:
        """The deleted chats that can be brought back, the last deleted first."""
        sql = "SELECT * FROM chats WHERE deleted_utc <> '' ORDER BY deleted_utc DESC, id DESC"
        return [_chat(row) for row in self._store.read().execute(sql)]

    def purge(self, before_utc: str) -> int:
        """Remove for good what was deleted before then; returns how many chats that were."""
        sql = "SELECT id FROM chats WHERE deleted_utc <> '' AND deleted_utc < ?"
        old = [row["id"] for row in self._store.read().execute(sql, [before_utc])]
        for chat_id in old:
            with self._store.write() as db:
                db.execute("DELETE FROM chats WHERE id = ? AND deleted_utc <> ''", [chat_id])
        return len(old)

    def delete(self, chat_id: int) -> None:
        """Remove the chat and its messages for good. Examples made from it keep their text and its ids."""
        with self._store.write() as db:
            if not db.execute("DELETE FROM chats WHERE id = ?", [chat_id]).rowcount:
                self.get(chat_id)

    def begin_answer(
        self,
        chat_id: int,
        *,
        parent_id: int | None,
        model: str,
        sampling: Sampling,
        edited_from: int | None = None,
        given: int = 0,
    ) -> int:
        """The id under which this process will save an answer while it is being written."""
        with self._store.write() as db:
            self._check_in_chat(chat_id, parent_id)
            cursor = db.execute(
                "INSERT INTO answers (chat_id, parent_id, model, sampling, text, owner_pid, owner_started, "
                "edited_from, given, created_utc) VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, ?)",
                [
                    chat_id,
                    parent_id,
                    model,
                    sampling_json(sampling),
                    os.getpid(),
                    process_started(os.getpid()),
                    edited_from,
                    given,
                    now_utc(),
                ],
            )
            return _new_id(cursor)

    def save_answer_text(self, answer_id: int, text: str) -> None:
        """Keep the answer's text so far."""
        with self._store.write() as db:
            db.execute("UPDATE answers SET text = ? WHERE id = ?", [storable(text), answer_id])

    def finish_answer(self, answer_id: int) -> None:
        """The answer is a message now (in the same transaction), or was given up."""
        with self._store.write() as db:
            db.execute("DELETE FROM answers WHERE id = ?", [answer_id])

    def lost_answers(self) -> builtins.list[PendingAnswer]:
        """Answers whose process is gone: nobody will finish them.

        Those of a deleted chat wait, until it is brought back or purged: no message can be added to it meanwhile.
        """
        sql = f"SELECT * FROM answers WHERE chat_id IN (SELECT id FROM chats WHERE {_HERE}) ORDER BY id"
        rows = self._store.read().execute(sql).fetchall()
        return [_pending(row) for row in rows if process_started(row["owner_pid"], near=row["owner_started"]) == 0.0]

    def _check_in_chat(self, chat_id: int, message_id: int | None) -> None:
        self.get(chat_id)
        if message_id is not None and self.message(message_id).chat_id != chat_id:
            raise DataError(f"message {message_id} is not in chat {chat_id}")


def _in_title(words: Sequence[str]) -> str:
    return "(" + " AND ".join("instr(lower(title), lower(?)) > 0" for _ in words) + ")"


def _new_id(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _chat(row: sqlite3.Row) -> Chat:
    return Chat(
        id=row["id"],
        title=row["title"],
        system=row["system"],
        model=row["model"],
        sampling=sampling_from_json(row["sampling"]),
        tip_id=row["tip_id"],
        created_utc=row["created_utc"],
        updated_utc=row["updated_utc"],
        archived=bool(row["archived_utc"]),
        imported_utc=row["imported_utc"],
    )


def _message(row: sqlite3.Row) -> Message:
    return Message(
        id=row["id"],
        chat_id=row["chat_id"],
        parent_id=row["parent_id"],
        role=Role(row["role"]),
        content=row["content"],
        created_utc=row["created_utc"],
        generation=generation_from_json(row["generation"]) if row["generation"] else None,
        edited_from=row["edited_from"],
    )


def _pending(row: sqlite3.Row) -> PendingAnswer:
    return PendingAnswer(
        id=row["id"],
        chat_id=row["chat_id"],
        parent_id=row["parent_id"],
        model=row["model"],
        sampling=sampling_from_json(row["sampling"]),
        text=row["text"],
        created_utc=row["created_utc"],
        edited_from=row["edited_from"],
        given=row["given"],
    )

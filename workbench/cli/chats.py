"""The commands for chats as a whole, and for presets of how to ask: list, search, name, put away, delete, take in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group, positive
from workbench.cli.session import Session, existing_file
from workbench.domain.counting import counted
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.chats import Chat, Message, Preset


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``chats`` and ``presets``."""
    verbs = add_group(commands, common, "chats", "list, search, show, name, put away, delete or import chats")
    sub = add(verbs, common, "list", chats_list, "newest first")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--archived", action="store_true", help="those that were put away")
    which.add_argument("--deleted", action="store_true", help="those that can be brought back")
    sub = add(verbs, common, "search", chats_search, "every message with these words, in any chat")
    sub.add_argument("words", nargs="+")
    sub.add_argument("--limit", type=positive, default=100, metavar="N")
    for verb, function, text in (
        ("show", chats_show, "one chat, the branch where you stood"),
        ("tree", chats_tree, "one chat, all its branches"),
        ("rename", chats_rename, "another title"),
        ("archive", chats_archive, "put a chat away, out of the list"),
        ("unarchive", chats_unarchive, "back into the list"),
        ("delete", chats_delete, "delete a chat (its examples stay; restore brings it back)"),
        ("restore", chats_restore, "bring back a deleted chat"),
    ):
        sub = add(verbs, common, verb, function, text)
        sub.add_argument("id", type=int)
        if verb == "rename":
            sub.add_argument("title", nargs="+")
        if verb == "delete":
            sub.add_argument("--for-good", action="store_true", help="now, and for ever")
    sub = add(verbs, common, "import", chats_import, "chats from a file of another program, branches and all")
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--format", default="", metavar="NAME", help="default: told from the rows")
    sub.add_argument("--model", default="", metavar="M", help="who is asked when they are gone on with")

    verbs = add_group(commands, common, "presets", "system prompts and sampling under a name, for chats")
    add(verbs, common, "list", presets_list, "every preset")
    sub = add(verbs, common, "save", presets_save, "keep how a chat is asked under a name")
    sub.add_argument("name")
    sub.add_argument("--chat", type=int, required=True, metavar="ID", help="as in this chat")
    sub = add(verbs, common, "use", presets_use, "ask in a chat as the preset says, from now on")
    sub.add_argument("name")
    sub.add_argument("--chat", type=int, required=True, metavar="ID")
    add(verbs, common, "delete", presets_delete, "forget a preset").add_argument("name")


def chats_list(session: Session, args: argparse.Namespace) -> None:
    """Chats, newest first."""
    chats = session.bench.store.chats
    found = chats.discarded() if args.deleted else chats.list(archived=args.archived)
    session.out.table([_chat_row(one) for one in found], ["id", "title", "model", "updated_utc"])


def chats_search(session: Session, args: argparse.Namespace) -> None:
    """Every message with these words."""
    from workbench.flows import chats as flow

    hits = flow.search(session.bench, " ".join(args.words), limit=args.limit)
    rows = [
        {
            **_chat_row(hit.chat),
            "message": hit.message_id,
            "role": hit.role.value if hit.role else None,
            "text": hit.text,
        }
        for hit in hits
    ]
    session.out.table(rows, ["id", "title", "message", "role", "text"])


def _chat_row(chat: Chat) -> dict[str, object]:
    return {
        "id": chat.id,
        "title": chat.title,
        "model": chat.model,
        "updated_utc": chat.updated_utc,
        "created_utc": chat.created_utc,
        "imported_utc": chat.imported_utc,
        "archived": chat.archived,
    }


def chats_show(session: Session, args: argparse.Namespace) -> None:
    """One chat down to where the person stood; JSON lines give every message of the tree."""
    tree = session.bench.store.chats.tree(args.id)
    if session.out.as_json:
        session.out.table([_message_row(m) for m in sorted(tree.messages.values(), key=lambda m: m.id)], [])
        return
    for message in tree.path():
        others = len(tree.siblings(message.id)) - 1
        note = f" ({others} other)" if others else ""
        who = message.generation.model if message.generation else message.role.value
        notice = f"({message.generation.notice})\n" if message.generation and message.generation.notice else ""
        session.out.data({}, f"[{message.id}] {who}{note}\n{notice}{message.content}\n")


def chats_tree(session: Session, args: argparse.Namespace) -> None:
    """Every message, each branch below its fork; ``*`` marks where the person stands."""
    rows = session.bench.store.chats.tree(args.id).outline()
    if session.out.as_json:
        session.out.table([_message_row(row.message) | {"on_path": row.on_path} for row in rows], [])
        return
    for row in rows:
        mark = "*" if row.on_path else " "
        words = " ".join(row.message.content.split())[:100]
        session.out.data({}, f"{row.message.id:>6} {mark} {row.guide}{row.message.role.value}: {words}")


def _message_row(message: Message) -> dict[str, object]:
    return {
        "id": message.id,
        "chat": message.chat_id,
        "parent": message.parent_id,
        "role": message.role.value,
        "text": message.content,
        "model": message.generation.model if message.generation else None,
        "notice": message.generation.notice if message.generation else "",
        "edited_from": message.edited_from,
        "given": message.generation.given if message.generation else 0,
        "created_utc": message.created_utc,
    }


def chats_rename(session: Session, args: argparse.Namespace) -> None:
    """Another title."""
    from workbench.flows import chats as flow

    chat = flow.rename(session.bench, args.id, " ".join(args.title))
    session.out.data(_chat_row(chat), f"chat {chat.id} is called {chat.title}")


def chats_archive(session: Session, args: argparse.Namespace) -> None:
    """Put a chat away."""
    _archive(session, args.id, away=True)


def chats_unarchive(session: Session, args: argparse.Namespace) -> None:
    """Back into the list."""
    _archive(session, args.id, away=False)


def _archive(session: Session, chat_id: int, *, away: bool) -> None:
    from workbench.flows import chats as flow

    chat = flow.archive(session.bench, chat_id, away=away)
    session.out.data(_chat_row(chat), f"chat {chat.id} is {'put away' if away else 'in the list'}")


def chats_delete(session: Session, args: argparse.Namespace) -> int:
    """Delete a chat after asking; ``--for-good`` leaves nothing to bring back."""
    from workbench.flows import chats as flow

    if args.for_good:
        if not session.confirm(f"delete chat {args.id} for good? Its examples stay."):
            return 1
        session.bench.store.chats.delete(args.id)
        session.out.data({"deleted": args.id, "for_good": True}, f"deleted chat {args.id} for good")
        return 0
    chat = session.bench.store.chats.get(args.id)
    if not session.confirm(f"delete chat {args.id} ({chat.title})? Its examples stay."):
        return 1
    flow.discard(session.bench, args.id)
    again = f"deleted chat {args.id}; workbench chats restore {args.id} brings it back"
    session.out.data({"deleted": args.id, "for_good": False}, again)
    return 0


def chats_restore(session: Session, args: argparse.Namespace) -> None:
    """Bring back a deleted chat."""
    from workbench.flows import chats as flow

    chat = flow.restore(session.bench, args.id)
    session.out.data(_chat_row(chat), f"chat {chat.id} ({chat.title}) is back")


def chats_import(session: Session, args: argparse.Namespace) -> None:
    """Chats from a file."""
    from workbench.flows import chats as flow

    made = flow.import_chats(session.bench, existing_file(args.file), format=args.format, model=args.model)
    document = {
        "format": made.format,
        "chats": [chat.id for chat in made.chats],
        "skipped": made.skipped,
        "reasons": list(made.reasons),
    }
    if made.skipped:
        session.out.say(f"{counted(made.skipped, 'rows')} made no chat: {'; '.join(made.reasons)}")
    session.out.data(document, f"{counted(len(made.chats), 'chats')} from {args.file} ({made.format})")


def presets_list(session: Session, args: argparse.Namespace) -> None:
    """Every preset."""
    rows = [_preset_row(preset) for preset in session.bench.store.presets.list()]
    session.out.table(rows, ["name", "temperature", "top_p", "max_tokens", "seed", "system"])


def _preset_row(preset: Preset) -> dict[str, object]:
    from dataclasses import asdict

    return {"name": preset.name, "system": preset.system, **asdict(preset.sampling)}


def presets_save(session: Session, args: argparse.Namespace) -> None:
    """Keep how a chat is asked."""
    from workbench.flows import chats as flow

    chat = session.bench.store.chats.get(args.chat)
    preset = flow.save_preset(session.bench, args.name, system=chat.system, sampling=chat.sampling)
    session.out.data(_preset_row(preset), f"saved the preset {preset.name}")


def presets_use(session: Session, args: argparse.Namespace) -> None:
    """Ask in a chat as the preset says."""
    preset = session.bench.store.presets.get(args.name)
    chat = session.bench.store.chats.update(args.chat, system=preset.system, sampling=preset.sampling)
    session.out.data({"chat": chat.id, **_preset_row(preset)}, f"chat {chat.id} is asked as {preset.name} says")


def presets_delete(session: Session, args: argparse.Namespace) -> None:
    """Forget a preset."""
    if not args.name.strip():
        raise UsageError("a preset has a name")
    session.bench.store.presets.remove(args.name)
    session.out.data({"deleted": args.name}, f"deleted the preset {args.name}")

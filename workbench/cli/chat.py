"""The chat commands: ask a model, and the gestures that turn answers into examples."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, positive
from workbench.cli.session import Session, text_argument
from workbench.domain.counting import counted
from workbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.chats import Message, Sampling
    from workbench.domain.examples import Example
    from workbench.domain.serving import EngineStatus
    from workbench.flows.chat import AnswerNews


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the chat commands."""
    ask = add(commands, common, "chat", chat, "ask a model one thing, or chat line by line")
    ask.add_argument("text", nargs="*", metavar="TEXT", help="what to say; without it standard input")
    ask.add_argument("--model", metavar="M", help="model by name (default: the workspace's)")
    ask.add_argument("--chat", type=int, metavar="ID", help="go on with this chat")
    ask.add_argument("--system", default="", metavar="TEXT", help="system prompt of a new chat")
    ask.add_argument("--seed", type=int, metavar="N")
    ask.add_argument("--temperature", type=float, metavar="X")
    ask.add_argument("--top-p", type=float, metavar="X")
    ask.add_argument("--max-tokens", type=positive, metavar="N")
    ask.add_argument("--regenerate", type=int, metavar="MESSAGE", help="another answer beside this one")
    ask.add_argument(
        "--continue",
        type=int,
        metavar="MESSAGE",
        dest="goes_on",
        help="have the model go on where this answer ends, or where TEXT in its place does",
    )
    ask.add_argument("--n", type=positive, default=1, metavar="N", help="so many answers at once")
    ask.add_argument("--attach", action="append", default=[], metavar="FILE", help="a text file, put before the text")
    ask.add_argument("--preset", default="", metavar="P", help="system prompt and sampling of a new chat")

    one = add(commands, common, "keep", keep, "keep an answer as an instruction/response example")
    one.add_argument("message", type=int)
    one.add_argument("--dataset", default="chats")
    one = add(commands, common, "edit", edit, "a better answer beside a model's: makes a pair")
    one.add_argument("message", type=int)
    one.add_argument("--text", required=True, help="the better answer, - for standard input")
    one.add_argument("--note", default="", metavar="T", help="what was wrong, stored with the pair")
    one = add(commands, common, "rank", rank, "put answers to one prompt into their order: makes a pair of every two")
    one.add_argument("place", nargs="+", metavar="MESSAGE", help="the best first; 4=7 puts two in one place")
    one = add(commands, common, "prefer", prefer, "one answer over another to the same prompt")
    one.add_argument("chosen", type=int)
    one.add_argument("rejected", type=int)
    one = add(commands, common, "thumb", thumb, "judge one answer")
    one.add_argument("message", type=int)
    one.add_argument("direction", choices=["up", "down"])


def chat(session: Session, args: argparse.Namespace) -> int:
    """One answer for the text or standard input; on a terminal without a text, a line chat."""
    from workbench.flows import chat as flow

    if args.regenerate is not None:
        message = session.bench.store.chats.message(args.regenerate)
        if message.parent_id is None or message.role != "assistant":
            raise UsageError(f"message {args.regenerate} is not an answer", hint="see workbench chats show")
        _ask(session, message.chat_id, message.parent_id, args)
        return 0
    if args.goes_on is not None:
        return _go_on(session, args)
    _given_sampling(session.settings.chat.sampling, args)  # wrong values are refused before there is a chat
    attached = _attached(args.attach)
    chat_id = args.chat or _new_chat(session, args)
    if not args.text and not attached and sys.stdin.isatty():
        return _line_chat(session, chat_id, args)
    text = "" if attached and not args.text and sys.stdin.isatty() else text_argument(args.text)
    if not attached and not text.strip():
        raise UsageError("there is nothing to say", hint="give a text, or pipe one in")
    said = flow.say(session.bench, chat_id, "\n\n".join([*attached, *filter(None, [text.rstrip("\n")])]))
    _ask(session, chat_id, said.id, args)
    return 0


def _go_on(session: Session, args: argparse.Namespace) -> int:
    from workbench.flows import chat as flow

    if args.n > 1 or args.attach or args.chat or args.system or args.preset:
        raise UsageError("--continue takes a text, a model and sampling alone")
    original = session.bench.store.chats.message(args.goes_on)
    text = text_argument(args.text) if args.text else None
    news = partial(
        flow.go_on,
        session.bench,
        original.id,
        text=text,
        model=args.model or "",
        sampling=_sampling(session, original.chat_id, args),
    )
    session.out.piece(original.content if text is None else text)
    _follow(session, news)
    return 0


def _new_chat(session: Session, args: argparse.Namespace) -> int:
    from workbench.flows import chat as flow

    preset = session.bench.store.presets.get(args.preset) if args.preset else None
    system = args.system or (preset.system if preset else "")
    sampling = preset.sampling if preset else None
    return flow.new_chat(session.bench, model=args.model or "", system=system, sampling=sampling).id


def _attached(files: list[str]) -> list[str]:
    from workbench.flows import chats

    return [chats.attached(Path(name).expanduser()) for name in files]


def _ask(session: Session, chat_id: int, parent_id: int, args: argparse.Namespace) -> None:
    from workbench.flows import chat as flow
    from workbench.flows import several

    if args.seed is None:  # the chat's, or one that gives another answer than those there are
        args.seed = several.seeds(session.bench, chat_id, parent_id, count=1, model=args.model or "")[0]
    if args.n == 1:
        _answer(session, chat_id, parent_id, args)
        return
    for event in several.answers(
        session.bench,
        chat_id,
        parent_id=parent_id,
        count=args.n,
        cancelled=threading.Event(),
        model=args.model or "",
        sampling=_sampling(session, chat_id, args),
        on_status=lambda status: session.out.progress(status.detail),
    ):
        if isinstance(event.news, flow.AnswerEnded):
            session.out.end_progress()
            session.out.piece(f"{event.news.message.content}\n\n")
            _print_answer(session, event.news.message)


def _line_chat(session: Session, chat_id: int, args: argparse.Namespace) -> int:
    from workbench.flows import chat as flow

    session.out.say(f"chat {chat_id}: one line is one message; Ctrl+D ends")
    while True:
        try:
            line = input("> ")
        except EOFError:
            return 0
        if line.strip():
            _answer(session, chat_id, flow.say(session.bench, chat_id, line).id, args)


def _sampling(session: Session, chat_id: int, args: argparse.Namespace) -> Sampling:
    return _given_sampling(session.bench.store.chats.get(chat_id).sampling, args)


def _given_sampling(base: Sampling, args: argparse.Namespace) -> Sampling:
    """``base`` with what the command gives; raises ``UsageError`` for a value out of its range."""
    from dataclasses import replace

    given = {
        "temperature": args.temperature,
        "top_p": args.top_p,
        "max_tokens": args.max_tokens,
        "seed": args.seed,
    }
    try:
        return replace(base, **{name: value for name, value in given.items() if value is not None})
    except DataError as error:
        raise UsageError(error.message, hint=error.hint) from None


def _answer(session: Session, chat_id: int, parent_id: int, args: argparse.Namespace) -> None:
    from workbench.flows import chat as flow

    news = partial(
        flow.answer,
        session.bench,
        chat_id,
        parent_id=parent_id,
        model=args.model or "",
        sampling=_sampling(session, chat_id, args),
    )
    _follow(session, news)


def _follow(session: Session, ask: Callable[..., Iterator[AnswerNews]]) -> None:
    """Show an answer while it comes, and its figures at the end."""
    from workbench.flows import chat as flow

    cancelled = threading.Event()
    message: Message | None = None

    def show(status: EngineStatus) -> None:
        session.out.progress(status.detail)

    try:
        for event in ask(cancelled=cancelled, on_status=show):
            match event:
                case flow.AnswerNoted(text=notice):
                    session.out.end_progress()
                    session.out.say(notice)
                case flow.AnswerText(text=text):
                    session.out.end_progress()
                    session.out.piece(text)
                case flow.AnswerEnded(message=ended):
                    message = ended
                case _:
                    pass
    finally:
        cancelled.set()
        session.out.piece("\n")
    if message is None or message.generation is None:
        raise UsageError("the answer ended without a message")
    _print_answer(session, message)
    is_here = session.bench.store.models.get(message.generation.model).endpoint is None
    if is_here and (note := session.bench.engine.status().note):
        session.out.say(note)


def _print_answer(session: Session, message: Message) -> None:
    generation = message.generation
    assert generation is not None
    session.out.data(
        {
            "chat": message.chat_id,
            "message": message.id,
            "model": generation.model,
            "text": message.content,
            "tokens": generation.tokens,
            "first_token_ms": generation.first_token_ms,
            "duration_ms": generation.duration_ms,
            "stop_reason": generation.stop_reason.value,
            "seed": generation.sampling.seed,
            "notice": generation.notice,
            "edited_from": message.edited_from,
            "given": generation.given,
        }
    )
    session.out.say(
        f"message {message.id} in chat {message.chat_id}, {generation.model}, {counted(generation.tokens, 'tokens')}"
    )


def keep(session: Session, args: argparse.Namespace) -> None:
    """Keep an answer as a demonstration."""
    from workbench.flows import chat as flow

    made = flow.keep(session.bench, args.message, dataset=args.dataset)
    _gesture(session, made.examples, made.said)


def edit(session: Session, args: argparse.Namespace) -> None:
    """Write a better answer; it becomes a sibling and the pair is stored."""
    from workbench.flows import chat as flow

    text = sys.stdin.read().rstrip("\n") if args.text == "-" else args.text
    made = flow.edit(session.bench, args.message, text, note=args.note)
    _gesture(session, made.examples, made.said)


def rank(session: Session, args: argparse.Namespace) -> None:
    """A ranking: every two answers in different places make a pair."""
    from workbench.flows import several

    try:
        order = [[int(number) for number in place.split("=")] for place in args.place]
    except ValueError:
        raise UsageError("places are numbers of messages", hint="such as: workbench rank 12 15=17 9") from None
    made = several.rank(session.bench, order)
    _gesture(session, made.examples, made.said)


def prefer(session: Session, args: argparse.Namespace) -> None:
    """One sibling over another."""
    from workbench.flows import chat as flow

    made = flow.prefer(session.bench, args.chosen, args.rejected)
    _gesture(session, made.examples, made.said)


def thumb(session: Session, args: argparse.Namespace) -> None:
    """An unpaired judgement."""
    from workbench.flows import chat as flow

    made = flow.thumb(session.bench, args.message, up=args.direction == "up")
    _gesture(session, made.examples, made.said)


def _gesture(session: Session, examples: tuple[Example, ...], said: str) -> None:
    from workbench.cli.data import example_row

    document: dict[str, object] = {"example": example_row(examples[0]) if examples else None, "said": said}
    if len(examples) > 1:
        document["examples"] = [example_row(e) for e in examples]
    session.out.data(document, said)

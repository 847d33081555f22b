"""Chatting, and the gestures by which an answer becomes an example: what a person can do in a chat, without a screen.

Owns how an answer is asked for and kept safe while it streams, and which example each gesture makes. Knows no widget
and no model in memory.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from workbench.domain.chats import (
    Chat,
    ChatTree,
    Generation,
    Message,
    Role,
    Sampling,
    StopReason,
    Turn,
    storable,
    title_from,
)
from workbench.domain.decisions import IN_CHAT, Action, Undone
from workbench.domain.examples import (
    Content,
    Example,
    Source,
    SourceKind,
    Status,
    demonstration,
    judgement,
    preference,
)
from workbench.domain.serving import AnswerEnd, AnswerNotice, ChatRequest, EngineStatus, TextPiece
from workbench.errors import DataError, EngineError, NotFoundError, RefusedError
from workbench.flows.registry import place

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

DATASET = "chats"
SAVE_SECONDS = 0.5
_NUMBERED = 4
OnStatus = Callable[[EngineStatus], None]


class Parent(Enum):
    """Where a new message goes when no message is named."""

    TIP = "tip"


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    """The model is being asked; ``sampling`` has the seed that will be used."""

    answer_id: int
    model: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class AnswerText:
    """Some more text."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerNoted:
    """One sentence to show beside the answer: the chat was too long for the model, and what was left out of it."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """The answer as it is stored now; its content is empty when it was cancelled before the first word."""

    message: Message


AnswerNews = AnswerStarted | AnswerText | AnswerNoted | AnswerEnded


@dataclass(frozen=True, slots=True)
class Gesture:
    """What a gesture made: its examples, also when the dataset had them already, and one sentence to show.

    ``message`` is the one it is about; None for a vote.
    """

    examples: tuple[Example, ...]
    message: Message | None
    said: str


# Talking


def new_chat(bench: Bench, *, model: str = "", system: str = "", sampling: Sampling | None = None) -> Chat:
    """An empty chat with this model (by default the one in the settings, else the workspace's) and system prompt."""
    wanted = model or bench.settings.chat.model
    known = bench.store.models.get(wanted) if wanted else bench.store.models.default()
    chosen = sampling or bench.settings.chat.sampling
    return bench.store.chats.create(title="", system=system, model=known.name, sampling=chosen)


def say(bench: Bench, chat_id: int, text: str, *, parent_id: int | Parent | None = Parent.TIP) -> Message:
    """Add what the person says, after the tip or after ``parent_id`` (None begins the chat anew). Asks nobody.

    The first words of a chat become its title.
    """
    if not text.strip():
        raise DataError("there is nothing to say", hint="write something first")
    with bench.store.write():
        chat = bench.store.chats.get(chat_id)
        parent = chat.tip_id if isinstance(parent_id, Parent) else parent_id
        if not chat.title:
            bench.store.chats.update(chat_id, title=title_from(text))
        return bench.store.chats.add_message(chat_id, parent_id=parent, role=Role.USER, content=text)


def answer(
    bench: Bench,
    chat_id: int,
    *,
    parent_id: int | None,
    cancelled: threading.Event,
    model: str = "",
    sampling: Sampling | None = None,
    on_status: OnStatus | None = None,
) -> Iterator[AnswerNews]:
    """Ask for an answer to ``parent_id`` and store it as a message; asking again gives a sibling.

    What has arrived is in the store at most a second later. However it ends - cancelled, the engine dead, this
    generator closed - the text that came is stored, with its stop reason. Raises ``EngineError`` after that.
    """
    tree = bench.store.chats.tree(chat_id)
    turns = tree.turns_to(parent_id)
    if not turns or turns[-1].role != Role.USER.value:
        raise RefusedError("there is nothing to answer here", hint="an answer follows what a person said")
    where = place(bench, model or tree.chat.model)
    request = ChatRequest(where, turns, _with_seed(sampling or tree.chat.sampling), trim=True)
    yield from _ask(bench, request, _Keeper(bench, tree.chat, parent_id, request), cancelled, on_status)


def go_on(
    bench: Bench,
    message_id: int,
    *,
    cancelled: threading.Event,
    text: str | None = None,
    model: str = "",
    sampling: Sampling | None = None,
    on_status: OnStatus | None = None,
) -> Iterator[AnswerNews]:
    """Have the model go on where an answer ends, or where the person's ``text`` in its place does.

    The whole becomes a sibling that tells where it came from and how much of it was given; it makes no example, for
    nobody's whole answer stands against another's. Otherwise as ``answer``, but nothing is stored unless the model adds
    something. Raises ``RefusedError`` when it does not.
    """
    tree, original = answer_in_tree(bench, message_id)
    given = storable(original.content if text is None else text)
    if not given.strip():
        raise RefusedError("there is nothing to go on from", hint="ask for another answer instead")
    where = place(bench, model or tree.chat.model)
    turns = (*tree.prompt_for(message_id), Turn(Role.ASSISTANT.value, given))
    request = ChatRequest(where, turns, _with_seed(sampling or tree.chat.sampling), trim=True, go_on=True)
    keeper = _Keeper(bench, tree.chat, original.parent_id, request, original=original)
    yield from _ask(bench, request, keeper, cancelled, on_status)


def _ask(
    bench: Bench, request: ChatRequest, keeper: _Keeper, cancelled: threading.Event, on_status: OnStatus | None
) -> Iterator[AnswerNews]:
    """What comes of one request, kept while it comes."""
    yield AnswerStarted(keeper.answer_id, request.model.name, request.sampling)

    def heard(status: EngineStatus) -> None:
        keeper.save_if_due()  # the engine speaks several times a second also when no text comes
        if on_status is not None:
            on_status(status)

    reason = StopReason.CANCELLED
    try:
        for event in bench.engine.stream(request, cancelled=cancelled, on_status=heard):
            match event:
                case AnswerNotice(text):
                    keeper.notice = text
                    yield AnswerNoted(text)
                case TextPiece(text):
                    keeper.add(text)
                    yield AnswerText(text)
                case AnswerEnd():
                    yield AnswerEnded(keeper.finish(event))
    except EngineError:
        reason = StopReason.ERROR
        raise
    finally:
        keeper.give_up(reason)


def _with_seed(sampling: Sampling) -> Sampling:
    return sampling if sampling.seed is not None else replace(sampling, seed=secrets.randbits(31))


class _Keeper:
    """Keeps the text of one answer in the store while it arrives, and makes the message at its end."""

    def __init__(
        self, bench: Bench, chat: Chat, parent_id: int | None, request: ChatRequest, *, original: Message | None = None
    ) -> None:
        self._store = bench.store
        self._chat = chat
        self._parent_id = parent_id
        self._model, self._sampling = request.model.name, request.sampling
        self.notice = ""
        self._text = self._given = request.turns[-1].content if request.go_on else ""
        self._edited_from = original.id if original is not None else None
        self._began = self._saved = time.monotonic()
        self._is_dirty = self._is_over = False
        self.answer_id = self._store.chats.begin_answer(
            chat.id,
            parent_id=parent_id,
            model=self._model,
            sampling=self._sampling,
            edited_from=self._edited_from,
            given=len(self._given),
        )

    def add(self, text: str) -> None:
        """More text."""
        self._text += text
        self._is_dirty = True
        self.save_if_due()

    def save_if_due(self) -> None:
        """Write the text down unless that was done a moment ago."""
        if self._is_dirty and time.monotonic() - self._saved >= SAVE_SECONDS:
            self._store.chats.save_answer_text(self.answer_id, self._text)
            self._saved, self._is_dirty = time.monotonic(), False

    def finish(self, end: AnswerEnd) -> Message:
        """The message, in one transaction with the end of the answer in the making.

        Raises ``RefusedError``, and stores none, when nothing was added to what was given.
        """
        if self._given and self._text == self._given:
            self.give_up(end.stop_reason)
            if end.stop_reason is StopReason.CANCELLED:
                raise RefusedError("stopped before a word was added", hint="nothing was stored")
            raise RefusedError(
                f"{self._model} adds nothing: to it, the answer ends here", hint="edit the end away, or ask anew"
            )
        generation = Generation(
            model=self._model,
            sampling=self._sampling,
            tokens=end.tokens,
            first_token_ms=end.first_token_ms,
            duration_ms=end.duration_ms,
            stop_reason=end.stop_reason,
            notice=self.notice,
            given=len(self._given),
        )
        chats = self._store.chats
        with self._store.write():
            stood = chats.get(self._chat.id).tip_id
            message = chats.add_message(
                self._chat.id,
                parent_id=self._parent_id,
                role=Role.ASSISTANT,
                content=self._text,
                generation=generation,
                edited_from=self._edited_from,
            )
            if stood not in {self._chat.tip_id, self._parent_id}:  # the person went elsewhere meanwhile: stay there
                chats.set_tip(self._chat.id, stood)
            chats.finish_answer(self.answer_id)
        self._is_over = True
        return message

    def give_up(self, reason: StopReason) -> None:
        """Store what had arrived of an answer that did not end as it should; nothing to do for one that did."""
        if self._is_over:
            return
        if len(self._text) > len(self._given):
            elapsed_ms = round(1000 * (time.monotonic() - self._began))
            self.finish(AnswerEnd(reason, 0, 0, 0, elapsed_ms))
        else:
            self._is_over = True
            self._store.chats.finish_answer(self.answer_id)


# Gestures


def keep(bench: Bench, message_id: int, *, dataset: str = DATASET) -> Gesture:
    """This answer, as it is, becomes a demonstration."""
    tree, message = answer_in_tree(bench, message_id)
    content = demonstration(tree.prompt_for(message_id), message.content)
    source = source_of(tree, SourceKind.CHAT_KEEP, message)
    example, is_new = _add(bench, dataset, content, source)
    return Gesture((example,), message, said_of("kept", [(example, is_new)], dataset) + cut_off(message))


def edit(bench: Bench, message_id: int, text: str, *, dataset: str = DATASET, note: str = "") -> Gesture:
    """The person's better text becomes a sibling and the tip; for an answer, a pair: edited over original.

    ``note`` says what was wrong, and is stored with the pair. An edited question is a new branch and makes no example.
    """
    original = bench.store.chats.message(message_id)
    if not text.strip():
        raise DataError("the edited text is empty")
    if original.role is Role.USER:
        return Gesture((), _add_edited(bench, original, text), "a new branch with the edited question")
    tree, _ = answer_in_tree(bench, message_id)
    content = preference(tree.prompt_for(message_id), text, original.content)
    with bench.store.write():
        edited = _add_edited(bench, original, text)
        source = source_of(bench.store.chats.tree(original.chat_id), SourceKind.CHAT_EDIT, edited, original)
        made = _add(bench, dataset, content, source, note=note.strip())
    return Gesture((made[0],), edited, said_of("edited: your text over the original", [made], dataset))


def prefer(bench: Bench, chosen_id: int, rejected_id: int, *, dataset: str = DATASET) -> Gesture:
    """One answer over another to the same prompt: a pair."""
    tree, chosen = answer_in_tree(bench, chosen_id)
    _, rejected = answer_in_tree(bench, rejected_id)
    if (chosen.chat_id, chosen.parent_id) != (rejected.chat_id, rejected.parent_id):
        raise RefusedError("these two answer different prompts", hint="a pair needs two answers to the same one")
    made = add_pair(bench, tree, chosen, rejected, dataset)
    return Gesture((made[0],), chosen, said_of("preferred", [made], dataset) + cut_off(chosen))


def pick(bench: Bench, message_id: int, *, dataset: str = DATASET) -> Gesture:
    """This answer over each of its siblings that says something else: one pair each, one undo for all."""
    tree, chosen = answer_in_tree(bench, message_id)
    others = {m.content.strip(): m for m in tree.siblings(message_id)}
    rivals = [m for text, m in others.items() if text not in {"", chosen.content.strip()}]
    if not rivals:
        raise RefusedError("there is no other answer to pick this one over", hint="ask for another answer first")
    with bench.store.write():
        group = bench.store.examples.new_group(bench.rater)
        made = [add_pair(bench, tree, chosen, rival, dataset, group=group) for rival in rivals]
    said = said_of(f"picked over {len(rivals)} other answer{'s' * (len(rivals) > 1)}", made, dataset)
    return Gesture(tuple(example for example, _ in made), chosen, said + cut_off(chosen))


def thumb(bench: Bench, message_id: int, *, up: bool, dataset: str = DATASET) -> Gesture:
    """A judgement on one answer by itself; it replaces the opposite one, which is then rejected (one undo for both)."""
    tree, message = answer_in_tree(bench, message_id)
    prompt, examples = tree.prompt_for(message_id), bench.store.examples
    source = source_of(tree, SourceKind.CHAT_THUMB, message)
    with bench.store.write():
        group = examples.new_group(bench.rater)
        opposite = examples.find(dataset, judgement(prompt, message.content, not up))
        if opposite is not None and opposite.status is not Status.REJECTED:
            examples.change(
                [opposite.id], Action.REJECT, rater=bench.rater, status=Status.REJECTED, group=group, facts=IN_CHAT
            )
        made = _add(bench, dataset, judgement(prompt, message.content, up), source, group=group)
        if not made[1] and made[0].status is Status.REJECTED:  # a mind changed twice
            examples.change(
                [made[0].id], Action.ACCEPT, rater=bench.rater, status=Status.ACCEPTED, group=group, facts=IN_CHAT
            )
            made = examples.get(made[0].id), True
    return Gesture((made[0],), message, said_of(f"thumb {'up' if up else 'down'}", [made], dataset))


def branch(bench: Bench, message_id: int) -> Message:
    """Stand where what is said next begins a branch: at this answer, or before this question; gives the message back.

    The caller may put a question's text back into the composer.
    """
    message = bench.store.chats.message(message_id)
    bench.store.chats.set_tip(message.chat_id, message.parent_id if message.role is Role.USER else message_id)
    return message


def show_sibling(bench: Bench, message_id: int) -> Message:
    """Show the branch through this message, down to its newest leaf, which is given back."""
    chat_id = bench.store.chats.message(message_id).chat_id
    tree = bench.store.chats.tree(chat_id)
    leaf = tree.messages[tree.leaf_below(message_id)]
    bench.store.chats.set_tip(chat_id, leaf.id)
    return leaf


def undo(bench: Bench) -> Undone | None:
    """Take back the rater's last gesture in a chat; None when nothing is left.

    Of an edit, the original answer is shown again. Raises ``RefusedError`` when the rater did something elsewhere
    since, and leaves that as it is.
    """
    newest = bench.store.examples.newest(bench.rater)
    if newest is not None and not newest.in_chat:
        raise RefusedError(
            f"the last thing was not done in a chat: {newest.text}",
            hint="undo it where it was made, in Curate, or with `workbench examples undo`",
        )
    return undo_any(bench)


def undo_any(bench: Bench) -> Undone | None:
    """Take back the rater's last gesture, wherever it was made; None when nothing is left."""
    with bench.store.write():
        undone = bench.store.examples.undo(bench.rater)
        if undone is not None:
            _follow_edits(bench, undone, back=True)
    return undone


def redo(bench: Bench) -> Undone | None:
    """Do again what was undone last; None when there is nothing. Of an edit, the edited answer is shown again."""
    with bench.store.write():
        undone = bench.store.examples.redo(bench.rater)
        if undone is not None:
            _follow_edits(bench, undone, back=False)
    return undone


def _follow_edits(bench: Bench, undone: Undone, *, back: bool) -> None:
    """Move the tip between edited and original answer, where the chat shows the one that is to be left."""
    if undone.action is not Action.CREATE:
        return
    for example_id in undone.example_ids:
        source = bench.store.examples.source(example_id)
        if source.kind is not SourceKind.CHAT_EDIT or source.chat_id is None:
            continue
        left, reached = source.message_id, source.other_message_id
        if not back:
            left, reached = reached, left
        try:
            tree = bench.store.chats.tree(source.chat_id)
        except NotFoundError:  # the chat was deleted; the example remains, and there is no tip to move
            continue
        if reached is not None and any(m.id == left for m in tree.path()):
            bench.store.chats.set_tip(source.chat_id, tree.leaf_below(reached))


def answer_in_tree(bench: Bench, message_id: int) -> tuple[ChatTree, Message]:
    """An answer with the chat around it; raises ``RefusedError`` for what a person said."""
    message = bench.store.chats.message(message_id)
    if message.role is not Role.ASSISTANT:
        raise RefusedError("this is not an answer", hint="gestures are about what the model said")
    return bench.store.chats.tree(message.chat_id), message


def _add_edited(bench: Bench, original: Message, text: str) -> Message:
    return bench.store.chats.add_message(
        original.chat_id, parent_id=original.parent_id, role=original.role, content=text, edited_from=original.id
    )


def add_pair(
    bench: Bench, tree: ChatTree, chosen: Message, rejected: Message, dataset: str, *, group: int | None = None
) -> tuple[Example, bool]:
    """One answer over another as a pair in ``dataset``; also whether it is new there."""
    content = preference(tree.prompt_for(chosen.id), chosen.content, rejected.content)
    source = source_of(tree, SourceKind.CHAT_PICK, chosen, rejected)
    return _add(bench, dataset, content, source, group=group)


def _add(
    bench: Bench, dataset: str, content: Content, source: Source, *, group: int | None = None, note: str = ""
) -> tuple[Example, bool]:
    """The example; a note on one that is there already takes the place of its own."""
    examples = bench.store.examples
    with bench.store.write():
        made, is_new = examples.add(
            dataset,
            content,
            source=source,
            status=Status.ACCEPTED,
            rater=bench.rater,
            group=group,
            facts=IN_CHAT,
            note=note,
        )
        if not is_new and note and made.note != note:
            examples.change([made.id], Action.NOTE, rater=bench.rater, note=note, facts=IN_CHAT)
            made = examples.get(made.id)
    return made, is_new


def source_of(tree: ChatTree, kind: SourceKind, message: Message, other: Message | None = None) -> Source:
    """Where an example made of ``message`` (over ``other``) comes from, with the models that wrote them."""
    authors = [author for m in (message, other) if m is not None for author in _authors(tree, m)]
    return Source(
        kind=kind,
        chat_id=message.chat_id,
        message_id=message.id,
        other_message_id=other.id if other else None,
        models=tuple(dict.fromkeys(authors)),
    )


def _authors(tree: ChatTree, message: Message) -> list[str]:
    """The models that wrote a message, and the texts that it was made from; none for a person's own."""
    models = [message.generation.model] if message.generation else []
    while message.edited_from is not None:
        message = tree.messages[message.edited_from]
        if message.generation:
            models.append(message.generation.model)
    return models


def said_of(what: str, made: Sequence[tuple[Example, bool]], dataset: str) -> str:
    """One sentence on what a gesture made."""
    ids = [example.id for example, _ in made]
    numbers = ", ".join(map(str, ids)) if len(ids) <= _NUMBERED else f"{len(ids)}, from {min(ids)}"
    noun = "example" if len(made) == 1 else "examples"
    if not any(is_new for _, is_new in made):
        return f"{what}: already in {dataset} as {noun} {numbers}"
    return f"{what}: {noun} {numbers} in {dataset}"


def cut_off(message: Message) -> str:
    """A warning for an answer that the model did not end itself: trained on, it teaches to stop short."""
    if message.generation is None or message.generation.stop_reason is StopReason.STOP:
        return ""
    return " (this answer was cut off: edit it if its end matters)"

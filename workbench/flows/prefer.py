"""Labelling pairs blind: which pairs wait, one of them with its sides drawn, and what a verdict on it makes.

Stored pairs that are pending wait, and pairs of answers in chats that no example covers. A verdict on a stored pair
decides it (chosen and rejected change places when the rejected one won); one on two answers makes an example. Every
verdict is one undo, and the drawn seed, the side, the strength and the time are kept with its decision.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import TYPE_CHECKING

from workbench.domain.chats import Message
from workbench.domain.comparisons import Verdict
from workbench.domain.decisions import Action, Undone
from workbench.domain.examples import Example, Kind, SourceKind, Status, preference, swapped, with_text
from workbench.domain.preferences import (
    BlindPair,
    Judgement,
    Tally,
    Waiting,
    blind_pair,
    first_won,
    judgement_tags,
    tally,
)
from workbench.domain.queries import parse_query
from workbench.errors import DataError, NotFoundError, RefusedError
from workbench.flows import chat, check

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

SESSION = 1000
"""How many pairs a queue has at most: it is read once and stays as it is."""
_PENDING = "kind:preference status:pending -split:test"
_SEED_BITS = 53  # survives JSON readers that know only floats


@dataclass(frozen=True, slots=True)
class Queue:
    """Pairs in the order in which they are to be labelled; ``total`` counts also those beyond this queue."""

    pairs: tuple[Waiting, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict that was stored: the example it decided or made, and one sentence for the status line."""

    example_id: int
    said: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A gesture that was undone; ``pair`` is what then waits again, None when it was no verdict on a pair."""

    undone: Undone
    pair: Waiting | None


def queue(bench: Bench, *, dataset: str = "") -> Queue:
    """What waits: stored pairs, then answers in chats, then what was skipped before; or the pairs of one dataset.

    Pairs of the locked test split are left out: a verdict could not put their better side first.
    """
    ids, where = bench.store.examples.ids, dataset or None
    stored = ids(parse_query(f"{_PENDING} -tag:verdict:skip"), dataset=where)
    skipped = ids(parse_query(f"{_PENDING} tag:verdict:skip"), dataset=where)
    answers = [] if dataset else _answers(bench)
    found = [Waiting(example_id) for example_id in stored[:SESSION]]
    found += [Waiting(answers=pair) for pair in answers[:SESSION]]
    found += [Waiting(example_id) for example_id in skipped[:SESSION]]
    return Queue(tuple(found[:SESSION]), len(stored) + len(answers) + len(skipped))


def show(bench: Bench, waiting: Waiting, *, draw_seed: int | None = None) -> BlindPair | None:
    """The pair without names, its sides drawn afresh (or by ``draw_seed``); None when it waits no longer."""
    seed = secrets.randbits(_SEED_BITS) if draw_seed is None else draw_seed
    try:
        if waiting.example_id:
            example = bench.store.examples.get(waiting.example_id)
            if example.status is not Status.PENDING or example.content.kind is not Kind.PREFERENCE:
                return None
            first, second = _texts(example)
            return blind_pair(waiting, example.content.prompt, first, second, draw_seed=seed)
        older, newer = (bench.store.chats.message(message_id) for message_id in waiting.answers)
        prompt = bench.store.chats.tree(older.chat_id).prompt_for(older.id)
        pair = preference(prompt, older.content, newer.content)
    except (NotFoundError, DataError):  # gone, or nothing that could be trained on
        return None
    if any(bench.store.examples.find(chat.DATASET, one) for one in (pair, swapped(pair))):
        return None
    return blind_pair(waiting, prompt, older.content, newer.content, draw_seed=seed)


def next_shown(bench: Bench, queue: Queue, at: int) -> tuple[int, BlindPair | None]:
    """The first pair from position ``at`` on that still waits, and where; (length, None) at the end."""
    for position in range(at, len(queue.pairs)):
        if (pair := show(bench, queue.pairs[position])) is not None:
            return position, pair
    return len(queue.pairs), None


def judge(
    bench: Bench, pair: BlindPair, judgement: Judgement, *, better: str = "", dataset: str = chat.DATASET
) -> Judged:
    """Store a verdict. ``dataset`` is where two answers of a chat become a pair.

    ``better`` is the winner's text after the person edited it; one undo takes back both. Raises ``RefusedError`` when
    the pair was changed since it was shown, ``NotFoundError`` when it is gone, ``DataError`` when ``better`` spoils it.
    """
    with bench.store.write():
        group = bench.store.examples.new_group(bench.rater)
        example, wins = _stored(bench, pair, judgement.verdict, dataset, group)
        content = example.content if wins else swapped(example.content)
        action, status = _MEANING[judgement.verdict]
        bench.store.examples.change(
            [example.id],
            action,
            rater=bench.rater,
            status=status,
            add_tags=judgement.tags,
            remove_tags=[tag for tag in judgement_tags(example.tags) if tag not in judgement.tags],
            note=judgement.note or None,
            content=None if wins else content,
            group=group,
            facts=judgement.facts | {"draw_seed": pair.draw_seed},
        )
        if better:
            content = with_text(content, "chosen", better)
            bench.store.examples.change([example.id], Action.EDIT, rater=bench.rater, content=content, group=group)
        if better or not wins:
            check.look_again(bench, [example.id])
    edited = ", edited" if better else ""
    return Judged(example.id, f"{_said(judgement)}{edited}: example {example.id}")


def can_be_edited(bench: Bench, pair: BlindPair) -> bool:
    """Whether each answer is a single turn without tool calls, so that its text is all of it."""
    if not pair.waiting.example_id:
        return True
    content = bench.store.examples.get(pair.waiting.example_id).content
    return all(len(turns) == 1 and not turns[0].extra for turns in (content.chosen, content.rejected))


def check_edited(pair: BlindPair, verdict: Verdict, better: str) -> None:
    """Raise ``DataError`` when ``better`` cannot be the winner of this pair."""
    loser = pair.right_text if verdict is Verdict.LEFT else pair.left_text
    preference(pair.prompt, better, loser)


def undo(bench: Bench) -> TakenBack | None:
    """Take back the rater's last gesture, wherever it was made; None when nothing is left."""
    with bench.store.write():
        undone = check.look_again_after(bench, chat.undo_any(bench))
    if undone is None:
        return None
    return TakenBack(undone, _waiting_again(bench, undone.example_ids[0]) if undone.example_ids else None)


def verdicts(bench: Bench) -> Tally:
    """This rater's standing verdicts, over all sessions."""
    return tally(bench.store.examples.verdicts(bench.rater))


_MEANING: dict[Verdict, tuple[Action, Status | None]] = {
    Verdict.LEFT: (Action.ACCEPT, Status.ACCEPTED),
    Verdict.RIGHT: (Action.ACCEPT, Status.ACCEPTED),
    Verdict.TIE: (Action.REJECT, Status.REJECTED),
    Verdict.BOTH_BAD: (Action.REJECT, Status.REJECTED),
    Verdict.SKIP: (Action.SKIP, None),
}
_SAID = {
    Verdict.LEFT: "← left is better",
    Verdict.RIGHT: "→ right is better",
    Verdict.TIE: "= a tie, not trained on",
    Verdict.BOTH_BAD: "0 both bad, not trained on",
    Verdict.SKIP: "␣ skipped, comes again later",
}


def _said(judgement: Judgement) -> str:
    strength = f" ({judgement.strength.value})" if judgement.verdict.is_decided else ""
    return _SAID[judgement.verdict] + strength


def _stored(bench: Bench, pair: BlindPair, verdict: Verdict, dataset: str, group: int) -> tuple[Example, bool]:
    """The example that the verdict is about, and whether its chosen side may stay where it is."""
    first_is_best = first_won(pair, verdict)
    if pair.waiting.example_id:
        example = bench.store.examples.get(pair.waiting.example_id)
        if {*_texts(example)} != {pair.left_text, pair.right_text} or example.status is not Status.PENDING:
            raise RefusedError(f"example {example.id} was changed while you read it", hint="look at it again")
        return example, first_is_best or not verdict.is_decided
    older, newer = (bench.store.chats.message(message_id) for message_id in pair.waiting.answers)
    best, worst = (older, newer) if first_is_best or not verdict.is_decided else (newer, older)
    example, _ = bench.store.examples.add(
        dataset,
        preference(pair.prompt, best.content, worst.content),
        source=chat.source_of(bench.store.chats.tree(best.chat_id), SourceKind.CHAT_PICK, best, worst),
        status=Status.PENDING,
        rater=bench.rater,
        group=group,
    )
    return example, True


def _texts(example: Example) -> tuple[str, str]:
    chosen, rejected = example.content.chosen, example.content.rejected
    return "\n".join(turn.shown for turn in chosen), "\n".join(turn.shown for turn in rejected)


def _answers(bench: Bench) -> list[tuple[int, int]]:
    """Two different answers each to the same turn, without an example; the same text counts once."""
    covered = bench.store.examples.answer_pairs()
    found: list[tuple[int, int]] = []
    for _, group in groupby(bench.store.chats.rival_answers(), key=lambda message: message.parent_id):
        found += _open_pairs(list(group), covered)
    return found


def _open_pairs(rivals: list[Message], covered: set[frozenset[int]]) -> Iterator[tuple[int, int]]:
    text_of = {message.id: message.content.strip() for message in rivals}
    done = {
        frozenset((text_of[a.id], text_of[b.id]))
        for a, b in combinations(rivals, 2)
        if frozenset((a.id, b.id)) in covered
    }
    once = {text: message_id for message_id, text in reversed(text_of.items()) if text}  # the oldest of each text
    for a, b in combinations(sorted(once.values()), 2):
        if frozenset((text_of[a], text_of[b])) not in done:
            yield a, b


def _waiting_again(bench: Bench, example_id: int) -> Waiting | None:
    try:
        example = bench.store.examples.get(example_id)
    except NotFoundError:  # its making was undone: its answers wait again
        source = bench.store.examples.source(example_id)
        if source.kind is not SourceKind.CHAT_PICK or source.message_id is None or source.other_message_id is None:
            return None
        older, newer = sorted((source.message_id, source.other_message_id))
        return Waiting(answers=(older, newer))
    pending_pair = example.content.kind is Kind.PREFERENCE and example.status is Status.PENDING
    return Waiting(example_id) if pending_pair else None

"""Reading through examples and deciding: every gesture is one commit, one line of history, and one undo."""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from workbench import checks
from workbench.domain.datasets import refuse_locked
from workbench.domain.decisions import Action, Decision, Newest, Undone
from workbench.domain.examples import (
    PARTS,
    Content,
    Example,
    ExampleRow,
    Split,
    Status,
    judged,
    swapped,
    with_system,
    with_text,
)
from workbench.domain.queries import parse_query
from workbench.domain.tool_texts import with_calls, with_tools
from workbench.errors import UsageError, WorkbenchError
from workbench.flows import check
from workbench.flows.unseen import asked
from workbench.store import examples
from workbench.store.bulk import in_pieces
from workbench.store.lists import Piece
from workbench.store.queries import ORDERS
from workbench.store.rows import chunks

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.store.lists import Window

ASK_ABOVE = 50
LOWEST_RATING, HIGHEST_RATING = 1, 5
_LONGEST_TAG = 64
_AT_ONCE = 50  # rows of which the text is written anew in one transaction, to begin with
SYSTEM = "system"
"""The system turn as a part: it may be written where there is none, and be taken away."""
BY_NUMBER = ("id", "-id")
"""The orders in which a list stands without being sorted."""
TOOLS = "tools"
"""The tools that are offered as a part: a JSON list."""


@dataclass(frozen=True, slots=True)
class Done:
    """A gesture that was made: one sentence for a status line, and the group that one undo takes back."""

    said: str
    group: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody was in their work: what the list showed, in which order, and the row under the cursor."""

    dataset: str = ""
    filter: str = ""
    order: str = "id"
    row: int | None = None


def window(
    bench: Bench, text: str, *, dataset: str | None = None, order: str = "id", around: int | None = None
) -> Window:
    """The ids that a list of what ``text`` finds shows first: those around one row, or the first of all."""
    return bench.store.examples.window(asked(bench, text), dataset=dataset, order=order, around=around)


def ids(bench: Bench, text: str, *, dataset: str | None = None, order: str = "id") -> array[int]:
    """The ids of the examples that the query ``text`` finds; raises ``UsageError`` when it cannot be read."""
    return listed(bench, text, dataset=dataset, order=order).ids


def listed(
    bench: Bench,
    text: str,
    *,
    dataset: str | None = None,
    order: str = "id",
    cancelled: threading.Event | None = None,
) -> Piece:
    """The whole list of what ``text`` finds: the ids, and how many of them have each status.

    Raises as ``ids`` does. Ends soon, with some of them, when ``cancelled`` is set.
    """
    whole = Piece(array("q"), dict.fromkeys(Status, 0))
    for piece in bench.store.examples.pieces(asked(bench, text), dataset=dataset, order=order, cancelled=cancelled):
        whole.ids.extend(piece.ids)
        for status, count in piece.counts.items():
            whole.counts[status] += count
    return whole


def orders() -> tuple[str, ...]:
    """The names of the orders in which a list can be shown; one with a minus is the other way round."""
    return tuple(ORDERS)


def place(bench: Bench) -> Place:
    """Where this rater was; the beginning, when nothing is known or it is no longer there."""
    text = bench.store.drafts.get(_place_key(bench))
    if not text:
        return Place()
    found = Place(**json.loads(text))
    try:
        parse_query(found.filter)
        if found.dataset:
            bench.store.datasets.id_of(found.dataset)
    except WorkbenchError:
        return Place()
    return found


def remember(bench: Bench, place: Place, *, durable: bool = False) -> None:
    """Keep where this rater is; the newest place only."""
    bench.store.drafts.save(_place_key(bench), json.dumps(asdict(place)), durable=durable)


def with_place(bench: Bench, act: Callable[[], Done], place: Place) -> Done:
    """Make a small gesture and keep where its rater is then: both are on the disk, or neither."""
    with bench.store.write():
        done = act()
        remember(bench, place)
    return done


def _place_key(bench: Bench) -> str:
    return f"curate:{bench.rater}"


def page(bench: Bench, ids: Sequence[int]) -> list[ExampleRow | None]:
    """Short forms of these examples in this order; None for one that is not there any more."""
    return bench.store.examples.page(ids)


def get(bench: Bench, example_id: int) -> Example:
    """The whole example; raises ``NotFoundError``."""
    return bench.store.examples.get(example_id)


def counts(bench: Bench, dataset: str | None = None, *, cancelled: threading.Event | None = None) -> dict[Status, int]:
    """How many examples have each status; not all of them are counted when ``cancelled`` was set meanwhile."""
    return bench.store.examples.counts(dataset, cancelled=cancelled)


def statuses(bench: Bench, ids: Sequence[int], *, cancelled: threading.Event | None = None) -> dict[Status, int]:
    """How many of these examples have each status; ``cancelled`` as for ``counts``."""
    return bench.store.examples.statuses(ids, cancelled=cancelled)


def history(bench: Bench, example_id: int) -> list[Decision]:
    """What was decided about an example, oldest first, also what was undone."""
    return bench.store.examples.history(example_id)


def rewritten(decision: Decision) -> tuple[Content, Content] | None:
    """The content before and after a decision that changed it; None for one that did not."""
    return examples.rewritten(decision)


def original(decisions: Sequence[Decision]) -> Content | None:
    """What an example with this history was before anybody changed its content; None when nobody did."""
    changes = (rewritten(decision) for decision in decisions if not decision.undone)
    return next((before for before, _ in filter(None, changes)), None)


def accept(bench: Bench, ids: Sequence[int]) -> Done:
    """Let these examples be trained on."""
    group = bench.store.examples.change(_some(ids), Action.ACCEPT, rater=bench.rater, status=Status.ACCEPTED)
    return Done(f"accepted {_which(ids)}", group)


def reject(bench: Bench, ids: Sequence[int]) -> Done:
    """Keep these examples from being trained on or exported."""
    group = bench.store.examples.change(_some(ids), Action.REJECT, rater=bench.rater, status=Status.REJECTED)
    return Done(f"rejected {_which(ids)}", group)


def skip(bench: Bench, ids: Sequence[int]) -> Done:
    """Put off a decision: the status stays, and the history says that somebody looked."""
    return Done(f"skipped {_which(ids)}", bench.store.examples.change(_some(ids), Action.SKIP, rater=bench.rater))


def tag(bench: Bench, ids: Sequence[int], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Done:
    """Add and remove tags; raises ``UsageError`` for one that could not be searched for."""
    added, removed = [check_tag(name) for name in add], [check_tag(name) for name in remove]
    if not added and not removed:
        raise UsageError("no tag is given")
    group = bench.store.examples.change(_some(ids), Action.TAG, rater=bench.rater, add_tags=added, remove_tags=removed)
    signs = " ".join([*(f"+{name}" for name in added), *(f"-{name}" for name in removed)])
    return Done(f"tagged {_which(ids)} {signs}", group)


def flag(bench: Bench, ids: Sequence[int], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Done:
    """Flag examples by hand, and take such flags away; raises ``UsageError`` for the name of a check.

    What a check flagged stays until the check no longer finds it.
    """
    added, removed = [_check_flag(name) for name in add], [_check_flag(name) for name in remove]
    if not added and not removed:
        raise UsageError("no flag is given")
    change = bench.store.examples.change
    group = change(_some(ids), Action.FLAG, rater=bench.rater, add_flags=added, remove_flags=removed)
    signs = " ".join([*(f"+{name}" for name in added), *(f"-{name}" for name in removed)])
    return Done(f"flagged {_which(ids)} {signs}", group)


def _check_flag(name: str) -> str:
    flag = check_tag(name)
    if flag in checks.find():
        raise UsageError(f"{flag} is what the check of that name finds", hint="a flag by hand has a name of its own")
    return flag


def split(bench: Bench, ids: Sequence[int], to: Split, *, unlock: bool = False) -> Done:
    """Put examples into a split by hand; ``TEST`` keeps them out of every training.

    A test split is locked: only ``unlock`` moves rows out of it, else ``RefusedError``.
    """
    group = bench.store.examples.change(_some(ids), Action.SPLIT, rater=bench.rater, split=to, unlock=unlock)
    return Done(f"moved {_which(ids)} to {to.value}" if to is not Split.NONE else f"{_which(ids)}: no split", group)


def note(bench: Bench, ids: Sequence[int], text: str) -> Done:
    """Write a note, instead of the one before; an empty text removes it."""
    group = bench.store.examples.change(_some(ids), Action.NOTE, rater=bench.rater, note=text.strip())
    return Done(f"{'noted on' if text.strip() else 'removed the note of'} {_which(ids)}", group)


def rate(bench: Bench, ids: Sequence[int], rating: int) -> Done:
    """Rate examples from 1 (worst) to 5 (best)."""
    if not LOWEST_RATING <= rating <= HIGHEST_RATING:
        raise UsageError(f"a rating is {LOWEST_RATING} to {HIGHEST_RATING}, not {rating}")
    group = bench.store.examples.change(_some(ids), Action.RATE, rater=bench.rater, rating=rating)
    return Done(f"rated {_which(ids)} {rating}", group)


def edit(
    bench: Bench,
    example_id: int,
    *,
    text: str,
    part: str = "chosen",
    turn: int | None = None,
    calls: bool = False,
    unlock: bool = False,
) -> Done:
    """Replace the text of one turn of ``chosen``, ``prompt`` or ``rejected``; what it was stays in the history.

    ``turn`` counts from 1, as findings do; None means the last one. The part ``system`` is the system turn: written
    anew where there is none, taken away by an empty text. The part ``tools`` is the JSON list of the tools that are
    offered, and with ``calls`` the text is that of the tool calls of the turn. Raises ``DataError`` when the example
    could then not be trained on, ``UsageError`` when nothing would change, and ``RefusedError`` in the locked test
    split unless ``unlock`` is given.
    """
    with bench.store.write():
        before = bench.store.examples.get(example_id).content
        after = edited(before, example_id, text=text, part=part, turn=turn, calls=calls)
        change = bench.store.examples.change
        group = change([example_id], Action.EDIT, rater=bench.rater, content=after, unlock=unlock)
        check.look_again(bench, [example_id])
    return Done(f"edited {_what_of(part, calls=calls)} of example {example_id}", group)


def edited(
    before: Content, example_id: int, *, text: str, part: str, turn: int | None = None, calls: bool = False
) -> Content:
    """What ``edit`` would make of this content; raises as it does."""
    if part not in (*PARTS, SYSTEM, TOOLS):
        raise UsageError(f"an example has no part {part!r}", hint=f"parts: {', '.join((*PARTS, SYSTEM, TOOLS))}")
    if calls and part not in PARTS:
        raise UsageError("tool calls are made by a turn", hint=f"parts with turns: {', '.join(PARTS)}")
    if part == "rejected" and not before.rejected:
        raise UsageError(f"example {example_id} has no rejected answer", hint="only pairs have one")
    if turn is not None and turn < 1:
        raise UsageError(f"turns count from 1, so there is no turn {turn}")
    at = -1 if turn is None else turn - 1
    if calls:
        after = with_calls(before, part, text, turn=at)
    elif part == TOOLS:
        after = with_tools(before, text)
    else:
        after = with_system(before, text) if part == SYSTEM else with_text(before, part, text, turn=at)
    if after == before:
        raise UsageError(f"{_what_of(part, calls=calls)} of example {example_id} would be the same as before")
    return after


def _what_of(part: str, *, calls: bool) -> str:
    return f"the tool calls in the {part} part" if calls else "the tools" if part == TOOLS else f"the {part} text"


def thumb(bench: Bench, ids: Sequence[int], *, up: bool, unlock: bool = False) -> Done:
    """Judge the one answer of each example good or bad, and accept it as a judgement; all of them, or none.

    A demonstration becomes a judgement by it. Raises ``DataError`` for a pair, a text or a prompt alone.
    """
    group = _rewrite(bench, ids, Action.THUMB, partial(judged, label=up), status=Status.ACCEPTED, unlock=unlock)
    return Done(f"judged {_which(ids)} {'good' if up else 'bad'}", group)


def swap(bench: Bench, ids: Sequence[int], *, unlock: bool = False) -> Done:
    """Exchange chosen and rejected; raises ``DataError`` when one of the examples is not a pair, changing none.

    ``unlock`` lets rows of the locked test split be changed too.
    """
    group = _rewrite(bench, ids, Action.SWAP, swapped, unlock=unlock)
    return Done(f"swapped chosen and rejected of {_which(ids)}", group)


def _rewrite(
    bench: Bench,
    ids: Sequence[int],
    action: Action,
    to: Callable[[Content], Content],
    *,
    unlock: bool,
    status: Status | None = None,
) -> int:
    """Write what ``to`` makes of the content of each example, all of them or none; returns the decision group.

    All are tried before the first is written. More than ``_AT_ONCE`` are written in short transactions, between which
    others may write; one that somebody has changed since, so that ``to`` does not take it any more, is passed over.
    """
    group, examples = 0, bench.store.examples
    forgiven = (WorkbenchError,) if len(_some(ids)) > _AT_ONCE else ()
    _try_all(bench, ids, to, unlock=unlock)

    def write(_: object, piece: Sequence[int]) -> None:
        nonlocal group
        group = group or examples.new_group(bench.rater)
        for example in examples.many(piece):
            with suppress(*forgiven):
                content = to(example.content)
                examples.change(
                    [example.id],
                    action,
                    rater=bench.rater,
                    content=content,
                    status=status,
                    group=group,
                    unlock=unlock,
                )
        check.look_again(bench, piece)

    in_pieces(bench.store, ids, write, first=_AT_ONCE)
    return group


def _try_all(bench: Bench, ids: Sequence[int], to: Callable[[Content], Content], *, unlock: bool) -> None:
    for piece in chunks(ids):
        found = bench.store.examples.many(piece)
        for missing in {*piece}.difference(example.id for example in found):
            bench.store.examples.get(missing)
        for example in found:
            if to(example.content) != example.content and example.split is Split.TEST and not unlock:
                refuse_locked(example.id, ["content"])


def newest(bench: Bench) -> Newest | None:
    """The gesture that ``undo`` would take back; one of more than ``ASK_ABOVE`` examples is worth a question."""
    return bench.store.examples.newest(bench.rater)


def undo(bench: Bench) -> Undone | None:
    """Take back this rater's newest gesture, wherever it was made; None when there is none left.

    Others can write while a large one is taken back, so this opens no transaction of its own.
    """
    return check.look_again_after(bench, bench.store.examples.undo(bench.rater))


def undo_if_small(bench: Bench) -> Undone | Newest | None:
    """Like ``undo``, but gives the gesture back, still standing, when it is one of more than ``ASK_ABOVE`` examples."""
    found = newest(bench)  # first without the lock: a large gesture takes a second to count
    if found is not None and found.examples > ASK_ABOVE:
        return found
    with bench.store.write():
        found = newest(bench)
        return found if found is not None and found.examples > ASK_ABOVE else undo(bench)


def redo(bench: Bench) -> Undone | None:
    """Do the gesture again that was undone last; None when there is none."""
    return check.look_again_after(bench, bench.store.examples.redo(bench.rater))


def _some(ids: Sequence[int]) -> Sequence[int]:
    if not len(ids):
        raise UsageError("no example is chosen")
    return ids


def _which(ids: Sequence[int]) -> str:
    return f"example {ids[0]}" if len(ids) == 1 else f"{len(ids):,} examples"


def check_tag(name: str) -> str:
    """``name`` as a tag; raises ``UsageError`` for one that could not be searched for."""
    tag = name.strip()
    if not tag or len(tag) > _LONGEST_TAG or any(character.isspace() or character in "\"'" for character in tag):
        raise UsageError(f"{name!r} cannot be a tag", hint=f"one word without quotes, at most {_LONGEST_TAG} letters")
    return tag

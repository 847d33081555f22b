"""Several answers to one question at once, and the order that a person puts them in.

Each is asked for as ``flows.chat`` asks for one; the engine runs them as one batch. A ranking makes a pair of every two
answers of which one stands above the other.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations, islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

from workbench.domain.chats import Message, Sampling
from workbench.errors import RefusedError, UsageError, WorkbenchError
from workbench.flows.chat import (
    DATASET,
    AnswerNews,
    Gesture,
    OnStatus,
    add_pair,
    answer,
    answer_in_tree,
    cut_off,
    said_of,
)
from workbench.flows.registry import place

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

MOST_AT_ONCE = 9


@dataclass(frozen=True, slots=True)
class OneOf:
    """News of the answer with this number, from 0."""

    number: int
    news: AnswerNews


def answers(
    bench: Bench,
    chat_id: int,
    *,
    parent_id: int | None,
    count: int,
    cancelled: threading.Event,
    model: str = "",
    sampling: Sampling | None = None,
    on_status: OnStatus | None = None,
) -> Iterator[OneOf]:
    """Ask for ``count`` answers to one question at the same time; each becomes a message as it ends.

    With a seed each has its own, counted up from it; of the chat's own seed see ``seeds``. One that fails does not end
    the others: the first failure is raised when all are over. Closing this generator stops all of them.
    """
    if not 1 <= count <= MOST_AT_ONCE:
        raise UsageError(f"{count} answers at once are too many or too few", hint=f"1 to {MOST_AT_ONCE}")
    if sampling is None:
        asked = bench.store.chats.get(chat_id).sampling
        own = [replace(asked, seed=seed) for seed in seeds(bench, chat_id, parent_id, count=count, model=model)]
    else:
        own = [
            sampling if sampling.seed is None else replace(sampling, seed=(sampling.seed + number) % 2**31)
            for number in range(count)
        ]
    news: SimpleQueue[OneOf | None] = SimpleQueue()
    failures: list[WorkbenchError] = []

    def one(number: int) -> None:
        try:
            for event in answer(
                bench,
                chat_id,
                parent_id=parent_id,
                cancelled=cancelled,
                model=model,
                sampling=own[number],
                on_status=on_status,
            ):
                news.put(OneOf(number, event))
        except WorkbenchError as error:
            failures.append(error)
        finally:
            news.put(None)

    with ThreadPoolExecutor(max_workers=count, thread_name_prefix="several") as pool:
        asking = [pool.submit(one, number) for number in range(count)]
        try:
            left = count
            while left:
                if (event := news.get()) is None:
                    left -= 1
                else:
                    yield event
        except BaseException:  # the caller left, or Ctrl+C: leaving the pool waits for all of them
            cancelled.set()
            raise
    for future in asking:
        future.result()
    if failures:
        raise failures[0]


def seeds(bench: Bench, chat_id: int, parent_id: int | None, *, count: int, model: str = "") -> list[int | None]:
    """The chat's seed and those after it, without those of this model's earlier answers: they would come again.

    None each without a seed: then every answer draws its own.
    """
    tree = bench.store.chats.tree(chat_id)
    if (seed := tree.chat.sampling.seed) is None:
        return [None] * count
    name = place(bench, model or tree.chat.model).name
    made = [message.generation for message in tree.children(parent_id) if message.generation]
    taken = {one.sampling.seed for one in made if one.model == name}
    upwards = ((seed + step) % 2**31 for step in itertools.count())
    return list(islice((one for one in upwards if one not in taken), count))


def rank(bench: Bench, order: Sequence[Sequence[int]], *, dataset: str = DATASET) -> Gesture:
    """Answers to one question in their order, the best first; those in one place are as good as each other.

    A pair for every two in different places that say something else, all of them one undo. Raises ``RefusedError``
    when the answers are not alternatives, or make no pair.
    """
    places = [list(dict.fromkeys(place)) for place in order if place]
    every = [message_id for place in places for message_id in place]
    if len(set(every)) != len(every):
        raise UsageError("an answer stands in one place only")
    if len(places) < 2:
        raise RefusedError("a ranking needs a better and a worse answer", hint="give them different places")
    tree, best = answer_in_tree(bench, every[0])
    siblings = {message.id: message for message in tree.siblings(best.id)}
    if strangers := [message_id for message_id in every if message_id not in siblings]:
        raise RefusedError(
            f"message {strangers[0]} is no alternative to {best.id}", hint="rank answers to the same question"
        )
    pairs = [
        (siblings[better], siblings[worse])
        for above, below in combinations(places, 2)
        for better in above
        for worse in below
        if _differ(siblings[better], siblings[worse])
    ]
    if not pairs:
        raise RefusedError("these answers say the same: there is nothing to prefer")
    with bench.store.write():
        group = bench.store.examples.new_group(bench.rater)
        made = [add_pair(bench, tree, better, worse, dataset, group=group) for better, worse in pairs]
    said = said_of(f"ranked {len(every)} answers", made, dataset)
    return Gesture(tuple(example for example, _ in made), best, said + cut_off(best))


def _differ(one: Message, other: Message) -> bool:
    texts = {one.content.strip(), other.content.strip()}
    return len(texts) == 2 and "" not in texts

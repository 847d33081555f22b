"""Which prompts a round asks when more are there than wanted: the first, some at random, or where the models differ.

How much models differ on a prompt is measured by drafts: the first words that each writes greedily. A prompt chosen
so is no random one: half of the round is drawn at random, and only that half counts for the rate (see
``domain.results.of_random_prompts``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from statistics import mean
from typing import TYPE_CHECKING

from workbench.domain.chats import Sampling
from workbench.domain.rounds import Choosing, PromptRow, candidates, drawn, most_differing, pairings
from workbench.domain.serving import ChatRequest, ModelPlace, TextPiece
from workbench.errors import EngineError
from workbench.flows.registry import place
from workbench.flows.rounds import FAILURES_IN_A_ROW, base_of, difference

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

DRAFT_TOKENS = 32
AT_ONCE = 8

OnDraft = Callable[[int, int], None]


def choose(
    bench: Bench,
    models: Sequence[str],
    rows: Sequence[PromptRow],
    how: Choosing,
    *,
    limit: int,
    seed: int,
    on_draft: OnDraft | None = None,
    cancelled: threading.Event | None = None,
) -> list[PromptRow]:
    """At most ``limit`` of the prompts; all of them, as they are, when there are no more.

    ``seed`` draws. ``differing`` asks every model for a draft on some prompts (``on_draft`` hears done and total) and
    takes those where the drafts share the fewest words, the mean of every two models; once ``cancelled`` is set only
    the random half comes back. A prompt that a model cannot answer is not chosen; when three fail one after another,
    or all of them, ``EngineError`` is raised. Raises ``UsageError`` for fewer than two models.
    """
    pairings(models, (), seed=seed)  # refuses what could not be compared, before anything is asked
    if len(rows) <= limit:
        return list(rows)
    match how:
        case Choosing.FIRST:
            return list(rows[:limit])
        case Choosing.RANDOM:
            return drawn(rows, limit, seed=seed)
        case Choosing.DIFFERING:
            by_chance, among = candidates(rows, limit, seed=seed)
            cancelled = cancelled or threading.Event()
            drafts = _drafts(bench, models, among, on_draft, cancelled)
            if cancelled.is_set():
                return by_chance
            begun = [at for at in range(len(among)) if all((name, at) in drafts for name in models)]
            differences = [_difference([drafts[name, at] for name in models]) for at in begun]
            return most_differing(by_chance, [among[at] for at in begun], differences, limit, seed=seed)


def _difference(drafts: Sequence[str]) -> float:
    return mean(difference(a, b) for a, b in combinations(drafts, 2))


def _drafts(
    bench: Bench,
    models: Sequence[str],
    rows: Sequence[PromptRow],
    on_draft: OnDraft | None,
    cancelled: threading.Event,
) -> Mapping[tuple[str, int], str]:
    """What each model begins to say to each prompt that it answers; models on one base together, base after base."""
    places = {name: place(bench, name) for name in models}
    asked = [(name, at) for name in sorted(models, key=lambda name: base_of(places[name])) for at in range(len(rows))]
    if len({base_of(where) for where in places.values()} - {""}) < 2:
        asked.sort(key=lambda one: one[1])  # one base: prompt by prompt, all models in one batch
    write = partial(_draft, bench, cancelled)
    found: dict[tuple[str, int], str] = {}
    failed: set[int] = set()  # since the last draft
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="draft") as pool:
        try:
            texts = pool.map(write, (places[name] for name, _ in asked), (rows[at] for _, at in asked))
            for done, (key, text) in enumerate(zip(asked, texts, strict=True), start=1):
                if isinstance(text, str):
                    found[key] = text
                    failed.clear()
                else:
                    failed.add(key[1])
                    if len(failed) == FAILURES_IN_A_ROW or (done == len(asked) and not found):
                        raise text
                if on_draft is not None:
                    on_draft(done, len(asked))
        except BaseException:  # leaving the pool waits for what is asked, which goes on unless it is told
            cancelled.set()
            raise
    return found


def _draft(bench: Bench, cancelled: threading.Event, where: ModelPlace, row: PromptRow) -> str | EngineError:
    """The draft, or why there is none."""
    if cancelled.is_set():
        return ""
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=DRAFT_TOKENS, seed=0)
    events = bench.engine.stream(ChatRequest(where, row.turns, sampling), cancelled=cancelled)
    try:
        return "".join(event.text for event in events if isinstance(event, TextPiece))
    except EngineError as error:
        return error

"""Asking models: a round's prompts go to the engine one after another, and each two answers become a blind pair.

A round is in the store before the first prompt is asked, so that one whose process was killed goes on in the next.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workbench.domain.chats import Generation, Sampling, StopReason, Turn
from workbench.domain.comparisons import Candidate, Comparison, ModelIdentity, draw_left_is_a
from workbench.domain.rounds import Answered, PromptRow, Round, RoundPair, pairings
from workbench.domain.serving import AnswerEnd, ChatRequest, ModelPlace, TextPiece
from workbench.errors import EngineError, NotFoundError, RefusedError, UsageError
from workbench.flows.registry import place

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

FAILURES_IN_A_ROW = 3

OnProgress = Callable[[int, int], None]
Side = Answered | EngineError


class GivenUpError(EngineError):
    """The models of a round did not answer any more; ``left_behind`` finds it again."""


class Watcher:
    """Somebody who watches the answers being written; both methods are called in threads of the round."""

    def begin(self, prompt: tuple[Turn, ...]) -> None:
        """A prompt is about to be asked; it is asked when this returns."""

    def hear(self, side: str, piece: str) -> None:
        """Some more text of the answer that stands on that side, ``left`` or ``right``."""


def begin(bench: Bench, models: Sequence[str], prompts: Sequence[PromptRow], *, sampling: Sampling, seed: int) -> Round:
    """Write down which of the models answer which prompt (see ``pairings``); ``run`` asks them.

    Raises ``RefusedError`` when two of the models are the same one, ``NotFoundError`` for an unknown name.
    """
    places = [place(bench, name) for name in models]
    for position, one in enumerate(places):
        if one in places[:position]:
            raise RefusedError(f"both sides are {one.name}", hint="compare two different models")
    pairs = pairings([one.name for one in places], prompts, seed=seed)
    drawn = [replace(pair, draw_seed=secrets.randbits(63)) for pair in pairs]
    return bench.store.rounds.begin(drawn, sampling=replace(sampling, seed=seed))


def check_live(bench: Bench, models: Sequence[str]) -> None:
    """Raise ``UsageError`` when not all of the models can answer at the same time: one base is in memory at a time."""
    if len({base_of(place(bench, name)) for name in models} - {""}) > 1:
        raise UsageError("answers on different bases are not written at the same time", hint="choose: both at once")


def base_of(where: ModelPlace) -> str:
    """Where the weights are that must be in memory; "" for a model on another server, which needs none here."""
    return "" if where.endpoint is not None else (where.base or where).path


def left_behind(bench: Bench, *, given_up: bool = False) -> Round | None:
    """A round whose process is gone, to go on with; it is this process's from now on. None when there is none.

    With ``given_up`` also one that was left because its models did not answer: what failed is asked again.
    """
    return bench.store.rounds.adopt(given_up=given_up)


def stop(bench: Bench, round_id: int) -> None:
    """Nobody goes on with this round; the pairs that are ready stay."""
    bench.store.rounds.close(round_id, stopped=True)


def run(
    bench: Bench,
    round_: Round,
    *,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
    watcher: Watcher | None = None,
) -> Iterator[Comparison]:
    """Ask what has not been asked yet and store the pairs, one after another.

    Both models of a prompt are asked at the same time, so that the engine runs them in one batch, and with the same
    seed. Models on different bases are asked base after base, all prompts each, so that the engine changes its base
    as seldom as possible. A prompt where a side failed makes no pair; the first failure is raised at the end, or after
    three in a row, and then the round is given up (see ``left_behind``). ``on_progress`` hears (done, total). Once
    ``cancelled`` is set nothing more is stored; the round stays as it is.
    """
    asking = _Asking(bench, round_, cancelled or threading.Event(), watcher)
    for comparison in asking.pairs():
        if comparison is not None:
            yield comparison
        if on_progress is not None:
            on_progress(asking.done, round_.total)
    if not asking.cancelled.is_set():
        bench.store.rounds.close(round_.id, stopped=asking.is_given_up)
    if (failure := asking.first_failure) is not None:
        if asking.is_given_up:
            answered = asking.done - bench.store.rounds.failed(round_.id)
            raise GivenUpError(
                f"{failure.message}; {answered} of {round_.total} prompts were answered by both",
                hint="once the models answer, workbench compare --resume asks the rest",
            ) from failure
        raise failure


@dataclass(slots=True)
class _Asking:
    """A round under way."""

    bench: Bench
    round: Round
    cancelled: threading.Event
    watcher: Watcher | None
    done: int = 0
    first_failure: EngineError | None = None
    is_given_up: bool = False
    _in_a_row: int = 0
    _places: dict[str, ModelPlace] = field(default_factory=dict)

    def pairs(self) -> Iterator[Comparison | None]:
        """Each prompt as it is done: its comparison, or None when a side failed."""
        waiting = {pair.number: pair for pair in self.bench.store.rounds.waiting(self.round.id)}
        self.done = self.round.total - len(waiting)
        self._places = {name: place(self.bench, name) for pair in waiting.values() for name in (pair.a, pair.b)}
        bases = dict.fromkeys(self._base(name) for pair in waiting.values() for name in (pair.a, pair.b))
        if len(bases) > 1:
            bases.pop("", None)
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="compare") as pool:
            for base in bases:
                for number in list(waiting):
                    if self.cancelled.is_set() or self.is_given_up:
                        return
                    sides = self._sides_on(base, waiting[number])
                    if not sides:
                        continue
                    found = self._answered(waiting[number], sides, pool)
                    if self.cancelled.is_set():
                        return
                    after = self._kept(waiting[number], found)
                    if isinstance(after, RoundPair):
                        waiting[number] = after
                        continue
                    del waiting[number]
                    self.done += 1
                    yield after

    def _base(self, name: str) -> str:
        return base_of(self._places[name])

    def _sides_on(self, base: str, pair: RoundPair) -> list[str]:
        """The sides to ask while ``base`` is loaded: those on it, and those on servers beside one of them."""
        missing = {"a": pair.a_answer is None, "b": pair.b_answer is None}
        bases = {"a": self._base(pair.a), "b": self._base(pair.b)}
        is_beside = {*bases.values()} <= {"", base}
        return [side for side in bases if missing[side] and (bases[side] == base or (not bases[side] and is_beside))]

    def _answered(self, pair: RoundPair, sides: Sequence[str], pool: ThreadPoolExecutor) -> dict[str, Side]:
        sampling = replace(self.round.sampling, seed=pair.seed)
        if self.watcher is not None:
            self.watcher.begin(pair.prompt.turns)
        asked: dict[str, Future[Side]] = {}
        for side in sides:
            request = ChatRequest(self._places[getattr(pair, side)], pair.prompt.turns, sampling)
            shown = "left" if (side == "a") == draw_left_is_a(pair.draw_seed) else "right"
            asked[side] = pool.submit(self._ask, request, shown)
        try:
            return {side: future.result() for side, future in asked.items()}
        except KeyboardInterrupt:  # leaving the pool waits for both answers, which go on unless they are told
            self.cancelled.set()
            raise

    def _ask(self, request: ChatRequest, shown: str) -> Side:
        """One side's answer, or why there is none."""
        text = ""
        try:
            for event in self.bench.engine.stream(request, cancelled=self.cancelled):
                match event:
                    case TextPiece(piece):
                        text += piece
                        if self.watcher is not None:
                            self.watcher.hear(shown, piece)
                    case AnswerEnd():
                        return _answer(request, text, event)
        except EngineError as error:
            return error
        return EngineError(f"{request.model.name} gave no end to its answer")

    def _kept(self, pair: RoundPair, found: Mapping[str, Side]) -> Comparison | RoundPair | None:
        """The comparison; or the pair with the side it has now; or None after a failure."""
        rounds, failed = self.bench.store.rounds, [one for one in found.values() if isinstance(one, EngineError)]
        if failed:
            self.first_failure = self.first_failure or failed[0]
            self._in_a_row += 1
            self.is_given_up = self._in_a_row == FAILURES_IN_A_ROW
            rounds.finish(self.round.id, pair.number, comparison_id=None)
            return None
        self._in_a_row = 0
        for side, answer in found.items():
            assert isinstance(answer, Answered)
            pair = replace(pair, a_answer=answer) if side == "a" else replace(pair, b_answer=answer)
        if pair.a_answer is not None and pair.b_answer is not None:
            return self._stored(pair, pair.a_answer, pair.b_answer)
        for side, answer in found.items():
            assert isinstance(answer, Answered)
            rounds.keep_answer(self.round.id, pair.number, side, answer)
        return pair

    def _stored(self, pair: RoundPair, a: Answered, b: Answered) -> Comparison:
        bench = self.bench
        with bench.store.write():
            made = bench.store.comparisons.add(
                pair.prompt.turns,
                Candidate(pair.a, a.text, a.generation, identity(bench, pair.a)),
                Candidate(pair.b, b.text, b.generation, identity(bench, pair.b)),
                draw_seed=pair.draw_seed,
                example_id=pair.prompt.example_id,
                tags=pair.prompt.tags,
                chosen=pair.prompt.chosen,
                difference=difference(a.text, b.text),
            )
            bench.store.rounds.finish(self.round.id, pair.number, comparison_id=made.id)
        return made


def _answer(request: ChatRequest, text: str, end: AnswerEnd) -> Side:
    name, sampling = request.model.name, request.sampling
    if end.stop_reason not in {StopReason.STOP, StopReason.LENGTH}:
        return EngineError(f"{name} was interrupted")
    generation = Generation(name, sampling, end.tokens, end.first_token_ms, end.duration_ms, end.stop_reason)
    return Answered(text, generation)


def identity(bench: Bench, name: str) -> ModelIdentity:
    """Which weights the model of this name has now; empty for one that is not registered any more."""
    try:
        model = bench.store.models.get(name)
        base = bench.store.models.get(model.base) if model.base else None
    except NotFoundError:
        return ModelIdentity()
    return ModelIdentity(model.id, model.sha256, model.base, base.sha256 if base else "")


def difference(a: str, b: str) -> float:
    """How different two answers are: the share of their words that would have to be deleted or inserted, 0 to 1.

    The normalised Indel distance over words (2 - 2 LCS/(n+m), halved): 0 for the same words in the same order, 1 when
    no word is in common.
    """
    from rapidfuzz.distance import Indel  # 20 ms

    return float(Indel.normalized_distance(a.split(), b.split()))

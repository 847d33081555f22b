"""Blind comparison: ask two models the same, show the answers without names, count the votes, make pairs of them.

Owns how pairs are prepared and what a vote reveals. The rules of blinding and of the score are in the domain.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.chats import Generation, Role, Sampling, StopReason, Turn, turns_from_dicts
from workbench.domain.comparisons import (
    BlindView,
    Candidate,
    Comparison,
    Rating,
    Score,
    Verdict,
    blind,
    pair_from_vote,
    winner,
)
from workbench.domain.examples import Source, SourceKind, Status
from workbench.domain.queries import parse_query
from workbench.domain.serving import AnswerEnd, ChatRequest, ModelPlace, TextPiece
from workbench.domain.statistics import WinRate, verdict, votes_to_decide, win_rate
from workbench.errors import DataError, EngineError, NotFoundError, RefusedError
from workbench.flows.chat import Gesture
from workbench.flows.registry import place
from workbench.paths import shipped

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

DATASET = "votes"
FAILURES_IN_A_ROW = 3
MAX_PROMPTS = 1_000_000

Prompt = tuple[Turn, ...]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Reveal:
    """What is told after a vote: who stood where."""

    rating: Rating
    left_model: str
    right_model: str
    said: str


@dataclass(frozen=True, slots=True)
class Result:
    """The standing between two models. ``verdict`` is ``a``, ``b`` or ``undecided``.

    ``more_votes`` is how many more votes would decide it if the share holds; None when that cannot be said.
    """

    score: Score
    win_rate: WinRate
    verdict: str
    more_votes: int | None


# Prompts


def prompts_from(bench: Bench, source: Path | str | None) -> list[Prompt]:
    """Prompts from a file, from a dataset by name, or (None) the sample prompts that come with the program.

    A ``.jsonl`` file has ``prompt`` (a text or turns) or ``messages`` (up to the last user turn) in each line; any
    other file has one question per line. Of a dataset its validation and test rows are taken if it has any, because
    a model should not be judged on what it was trained on. Doubles are left out. Raises ``DataError`` with file and
    line, ``NotFoundError``.
    """
    if source is None:
        source = shipped("sample_data") / "prompts.jsonl"
    found = list(dict.fromkeys(_from_file(source) if isinstance(source, Path) else _from_dataset(bench, source)))
    if not found:
        raise DataError(f"there is no prompt in {source}", where=str(source))
    return found


def _from_dataset(bench: Bench, name: str) -> Iterator[Prompt]:
    bench.store.datasets.get(name)
    held_out = [parse_query(f"-status:rejected split:{split}") for split in ("validation", "test")]
    queries = held_out if any(bench.store.examples.count(q, name) for q in held_out) else [parse_query("")]
    for query in queries:
        yield from (e.content.prompt for e in bench.store.examples.list(query, dataset=name, limit=MAX_PROMPTS))


def _from_file(path: Path) -> Iterator[Prompt]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text", where=str(path)) from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and path.suffix == ".jsonl":
            yield _from_line(line, f"{path}:{number}")
        elif line.strip():
            yield (Turn(Role.USER.value, line.strip()),)


def _from_line(line: str, where: str) -> Prompt:
    try:
        row = json.loads(line)
        given = row.get("prompt", row.get("messages"))
    except (ValueError, AttributeError):
        raise DataError("this line is not a JSON object", where=where) from None
    if isinstance(given, str) and given.strip():
        return (Turn(Role.USER.value, given),)
    if not isinstance(given, list) or not all(isinstance(turn, dict) for turn in given):
        raise DataError("this line has neither 'prompt' nor 'messages'", where=where)
    try:
        turns = turns_from_dicts(given)
    except DataError as error:
        raise DataError(error.message, hint=error.hint, where=where) from None
    last = max((i for i, turn in enumerate(turns) if turn.role == Role.USER.value), default=-1)
    if last < 0:
        raise DataError("this prompt has no user turn", where=where)
    return turns[: last + 1]


# Preparing pairs


def prepare(
    bench: Bench,
    a: str,
    b: str,
    prompts: Sequence[Prompt],
    *,
    sampling: Sampling,
    seed: int,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Iterator[Comparison]:
    """Ask both models each prompt and store the pairs, one after another.

    Both are asked at the same time, so that the engine runs them in one batch, and with the same seed (``seed`` plus
    the prompt's position). Models on different bases are asked one after the other, all prompts each, so that the
    engine changes its base once. A prompt where a side failed makes no pair; the first failure is raised at the end,
    or after three in a row. ``on_progress`` hears (done, total). Once ``cancelled`` is set nothing more is stored.
    """
    cancelled = cancelled or threading.Event()
    place_a, place_b = place(bench, a), place(bench, b)
    if place_a == place_b:
        raise RefusedError(f"both sides are {place_a.name}", hint="compare two different models")
    asked = [(prompt, replace(sampling, seed=(seed + number) % 2**31)) for number, prompt in enumerate(prompts)]
    first_failure: EngineError | None = None
    in_a_row = 0
    for done, (prompt, left, right) in enumerate(_answers(bench, place_a, place_b, asked, cancelled), start=1):
        if cancelled.is_set():
            return
        failed = next((side for side in (left, right) if isinstance(side, EngineError)), None)
        if isinstance(left, Candidate) and isinstance(right, Candidate):
            in_a_row = 0
            yield bench.store.comparisons.add(prompt, left, right, draw_seed=secrets.randbits(63))
        elif failed is not None:
            first_failure, in_a_row = first_failure or failed, in_a_row + 1
            if in_a_row == FAILURES_IN_A_ROW:
                break
        if on_progress is not None:
            on_progress(done, len(asked))
    if first_failure is not None:
        raise first_failure


Side = Candidate | EngineError
Asked = Sequence[tuple[Prompt, Sampling]]


def _answers(
    bench: Bench, a: ModelPlace, b: ModelPlace, asked: Asked, cancelled: threading.Event
) -> Iterator[tuple[Prompt, Side, Side]]:
    if not a.answers_beside(b):
        of_a = [_ask(bench, a, *one, cancelled) for one in asked if not cancelled.is_set()]
        for one, left in zip(asked, of_a, strict=False):
            yield one[0], left, _ask(bench, b, *one, cancelled)
        return
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="compare") as pool:
        for one in asked:
            sides: Iterable[Future[Side]] = [pool.submit(_ask, bench, side, *one, cancelled) for side in (a, b)]
            try:
                left, right = (side.result() for side in sides)
            except KeyboardInterrupt:  # leaving the pool waits for both answers, which go on unless they are told
                cancelled.set()
                raise
            yield one[0], left, right


def _ask(bench: Bench, where: ModelPlace, prompt: Prompt, sampling: Sampling, cancelled: threading.Event) -> Side:
    """One side's answer, or why there is none."""
    text = ""
    try:
        for event in bench.engine.stream(ChatRequest(where, prompt, sampling), cancelled=cancelled):
            match event:
                case TextPiece(piece):
                    text += piece
                case AnswerEnd():
                    return _candidate(where, text, sampling, event)
    except EngineError as error:
        return error
    return EngineError(f"{where.name} gave no end to its answer")


def _candidate(where: ModelPlace, text: str, sampling: Sampling, end: AnswerEnd) -> Side:
    if end.stop_reason not in {StopReason.STOP, StopReason.LENGTH}:
        return EngineError(f"{where.name} was interrupted")
    generation = Generation(where.name, sampling, end.tokens, end.first_token_ms, end.duration_ms, end.stop_reason)
    return Candidate(where.name, text, generation)


# Voting


def next_blind(bench: Bench, *, a: str = "", b: str = "") -> BlindView | None:
    """The next pair this rater has not seen, without names; only between ``a`` and ``b`` when given. None: all done."""
    found = bench.store.comparisons.next_unrated(bench.rater, a=a or None, b=b or None)
    return blind(found) if found else None


def waiting(bench: Bench) -> int:
    """How many pairs wait for this rater."""
    return bench.store.comparisons.waiting(bench.rater)


def rate(bench: Bench, comparison_id: int, vote: Verdict, *, comment: str = "", duration_ms: int = 0) -> Reveal:
    """Store a vote, and only then tell who stood where. Raises ``RefusedError`` when both answers are the same."""
    comparison = bench.store.comparisons.get(comparison_id)
    if comparison.identical:
        raise RefusedError("both answers are the same", hint="that counts as a tie without a vote")
    rating = bench.store.comparisons.rate(
        comparison_id, vote, rater=bench.rater, comment=comment, duration_ms=duration_ms
    )
    left, right = comparison.left.model, comparison.right.model
    known = "" if rating.blind else "; it does not count, because the names were known"
    return Reveal(rating, left, right, f"{_outcome(comparison, vote)} (left {left}, right {right}){known}")


def standing_vote(bench: Bench, comparison_id: int) -> Rating | None:
    """This rater's vote on a comparison, None when there is none or it was taken back."""
    votes = bench.store.comparisons.ratings(comparison_id)
    return next((vote for vote in votes if vote.rater == bench.rater and not vote.undone), None)


def undo_vote(bench: Bench) -> BlindView | None:
    """Take back this rater's last vote and show that pair again; None when there is no vote.

    A vote that it had changed stands again. A new vote on this pair is kept, but counts for nothing: the names are out.
    """
    rating = bench.store.comparisons.undo_rating(bench.rater)
    return blind(bench.store.comparisons.get(rating.comparison_id)) if rating else None


def promote(bench: Bench, comparison_id: int, *, dataset: str = DATASET) -> Gesture:
    """This rater's decided vote as a preference pair. Raises ``RefusedError`` without one, or for a tie."""
    comparison = bench.store.comparisons.get(comparison_id)
    if (vote := standing_vote(bench, comparison_id)) is None:
        raise RefusedError(f"there is no vote of {bench.rater} on comparison {comparison_id}", hint="vote first")
    content = pair_from_vote(comparison, vote.verdict)
    best = winner(comparison, vote.verdict)
    models = (comparison.a.model, comparison.b.model)
    ordered = models if best is comparison.a else models[::-1]
    source = Source(SourceKind.VOTE, comparison_id=comparison_id, models=ordered)
    example, is_new = bench.store.examples.add(
        dataset, content, source=source, status=Status.ACCEPTED, rater=bench.rater
    )
    known = "" if is_new else "already "
    return Gesture((example,), None, f"the vote is {known}example {example.id} in {dataset}")


def results(bench: Bench, a: str = "", b: str = "") -> list[Result]:
    """The standing of every pair of models, of those with ``a``, or of ``a`` against ``b``."""
    return [
        Result(score, win_rate(score), verdict(score), votes_to_decide(score))
        for score in bench.store.comparisons.scores(a or None, b or None)
    ]


def compared_model(bench: Bench, address: str) -> str:
    """The name that is meant: of a registered model, or one that only comparisons know. Empty stays empty.

    Raises ``NotFoundError``, or ``UsageError`` for a start of several names.
    """
    removed = {name for score in bench.store.comparisons.scores() for name in (score.a, score.b)}
    return address if not address or address in removed else bench.store.models.get(address).name


def _outcome(comparison: Comparison, vote: Verdict) -> str:
    best = winner(comparison, vote)
    if best is not None:
        return f"{best.model} won"
    return {Verdict.TIE: "a tie", Verdict.BOTH_BAD: "both bad", Verdict.SKIP: "skipped"}[vote]

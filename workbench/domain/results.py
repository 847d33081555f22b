"""What votes say beside who won: bias of sides and of length, agreement, breakdown by tag, marks.

Knows neither storage nor screens. Numbers that need a library stay out: see ``jobs.agreement``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, stdev

from workbench.domain.comparisons import Score, Vote
from workbench.domain.preferences import FAST_MS
from workbench.domain.rounds import Choosing
from workbench.domain.statistics import binomial_p, e_value, verdict, votes_to_decide, wilson_interval, win_rate

FEW = 20
"""A share of fewer votes than this is a rough figure, and says so."""

_FLIPPED = {"a": "b", "b": "a"}

LENGTH_MATCHED = 0.1
"""Two answers count as equally long when the longer one has at most so much more than the shorter one."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with Wilson's 95 % interval and the exact p value against one half."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """0 to 1; None for none of none."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high."""
        return wilson_interval(self.hits, self.total)

    @property
    def p(self) -> float:
        """Exact, two-sided, against one half."""
        return binomial_p(self.hits, self.total)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        low, high = self.interval
        return {"hits": self.hits, "total": self.total, "share": self.value, "low": low, "high": high, "p": self.p}


@dataclass(frozen=True, slots=True)
class VoteFilter:
    """Which votes are looked at: of one person, on prompts with a tag, not too fast, not watched live."""

    rater: str = ""
    tag: str = ""
    hide_fast: bool = False
    hide_live: bool = False

    def takes(self, vote: Vote) -> bool:
        """Whether the vote passes; equal answers are nobody's vote and never fast."""
        return (
            (not self.rater or vote.rater in {self.rater, ""})
            and (not self.tag or self.tag in vote.tags)
            and not (self.hide_fast and is_fast(vote))
            and not (self.hide_live and vote.live)
        )


@dataclass(frozen=True, slots=True)
class Checks:
    """What could have led the votes besides the answers. Durations are medians in milliseconds of so many
    votes that were timed, None without any.

    ``repeats`` are hidden repeats on which a rater said the same again.
    """

    left: Share
    longer: Share
    repeats: Share
    fast: int
    live: int
    left_ms: int | None
    right_ms: int | None
    left_timed: int = 0
    right_timed: int = 0


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks that a model got for a criterion; ``error`` is the mean's standard error, None for a single one."""

    model: str
    criterion: str
    mean: float
    error: float | None
    counts: tuple[int, int, int, int, int]

    @property
    def total(self) -> int:
        """How many marks."""
        return sum(self.counts)


def is_fast(vote: Vote) -> bool:
    """Whether nobody can have read both answers in that time; a vote without a time is not fast."""
    return 0 < vote.duration_ms < FAST_MS


def counted(votes: Iterable[Vote], which: VoteFilter | None = None) -> list[Vote]:
    """The votes that count for models: hidden repeats do not."""
    which = which or VoteFilter()
    return [vote for vote in votes if vote.repeat_of is None and which.takes(vote)]


def first_votes(votes: Iterable[Vote]) -> list[Vote]:
    """Of each person the first vote on two answers, also when the models were asked again and gave the same ones.

    By then the names were known. Answers that were voted on as chosen ones and again as drawn ones count as drawn: left
    out, the prompts where models differ most would be missing from those that were drawn.
    """
    every = list(votes)
    is_drawn = {_about(vote) for vote in every if vote.chosen != Choosing.DIFFERING}
    first: dict[tuple[str, str], Vote] = {}
    for vote in every:
        first.setdefault((_about(vote), vote.rater), vote)
    return [
        replace(vote, chosen=Choosing.RANDOM.value)
        if vote.chosen == Choosing.DIFFERING and _about(vote) in is_drawn
        else vote
        for vote in first.values()
    ]


def _about(vote: Vote) -> str:
    return vote.answers or str(vote.comparison_id)


def of_comparisons(votes: Iterable[Vote]) -> list[Vote]:
    """One vote for each two answers: what most people said of them, ``tie`` when they are split.

    Several votes on the same two answers are no independent trials, so all that is said of models counts the answers:
    standings, tags and the ranking. Of one person the first vote on them counts: see ``first_votes``.
    """
    said: dict[str, list[Vote]] = {}
    for vote in first_votes(votes):
        said.setdefault(_about(vote), []).append(vote)
    return [_majority(some) for some in said.values()]


def of_random_prompts(votes: Iterable[Vote]) -> list[Vote]:
    """The votes that a rate may rest on: not those on prompts that were asked because the models differ on them.

    Whoever wins there may lose on the prompts where both say much the same, so that a rate of such prompts is not the
    rate of prompts as they come.
    """
    return [vote for vote in votes if vote.chosen != Choosing.DIFFERING]


def _majority(votes: Sequence[Vote]) -> Vote:
    """The first of these votes on the same answers, with the outcome that most of them have."""
    (first, *_), outcomes = votes, Counter(_seen_from(votes[0].a, vote) for vote in votes)
    most, *rest = outcomes.most_common(2)
    return replace(first, outcome="tie" if rest and rest[0][1] == most[1] else most[0])


def _seen_from(model: str, vote: Vote) -> str:
    """The outcome with ``model`` as the first one."""
    return vote.outcome if vote.a == model else _FLIPPED.get(vote.outcome, vote.outcome)


def scores(votes: Iterable[Vote]) -> list[Score]:
    """The standing of every pair of models, from the side of the one that was asked first; see ``of_comparisons``."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for vote in votes:
        pair, outcome = (vote.a, vote.b), vote.outcome
        if pair[::-1] in counts:
            pair, outcome = pair[::-1], _FLIPPED.get(outcome, outcome)
        counts.setdefault(pair, Counter())[outcome] += 1
    return [Score(*pair, n["a"], n["b"], n["tie"], n["both-bad"]) for pair, n in counts.items()]


def checks(votes: Sequence[Vote], repeats: Share, *, every: Sequence[Vote] | None = None) -> Checks:
    """The checks of these votes; see ``self_agreement`` for ``repeats``. Fast and live: how many of ``every`` one."""
    every = votes if every is None else every
    decided = [vote for vote in votes if vote.side]
    uneven = [vote for vote in decided if vote.a_length != vote.b_length]
    times = {side: [v.duration_ms for v in decided if v.side == side and v.duration_ms] for side in ("left", "right")}
    return Checks(
        left=Share(sum(vote.side == "left" for vote in decided), len(decided)),
        longer=Share(sum((v.outcome == "a") == (v.a_length > v.b_length) for v in uneven), len(uneven)),
        repeats=repeats,
        fast=sum(map(is_fast, every)),
        live=sum(vote.live for vote in every),
        left_ms=round(median(times["left"])) if times["left"] else None,
        right_ms=round(median(times["right"])) if times["right"] else None,
        left_timed=len(times["left"]),
        right_timed=len(times["right"]),
    )


def length_matched(votes: Iterable[Vote], a: str, b: str) -> Share:
    """How often ``a`` won against ``b`` where length could not matter: on decided votes on answers of equal length."""
    even = [vote for vote in votes if {vote.a, vote.b} == {a, b} and vote.side and _is_matched(vote)]
    return Share(sum((vote.a if vote.outcome == "a" else vote.b) == a for vote in even), len(even))


def _is_matched(vote: Vote) -> bool:
    short, long = sorted((vote.a_length, vote.b_length))
    return long - short <= LENGTH_MATCHED * short


def self_agreement(votes: Iterable[Vote]) -> Share:
    """How often a rater said of a hidden repeat what he had said before."""
    first: dict[tuple[int, str], str] = {}
    again: list[tuple[tuple[int, str], str]] = []
    for vote in votes:
        if vote.repeat_of is None:
            first[vote.comparison_id, vote.rater] = vote.outcome
        else:
            again.append(((vote.repeat_of, vote.rater), vote.outcome))
    known = [(first[key], outcome) for key, outcome in again if key in first]
    return Share(sum(before == after for before, after in known), len(known))


def by_tag(votes: Iterable[Vote], a: str, b: str) -> dict[str, Score]:
    """The standing of two models on the prompts of each tag."""
    among: dict[str, list[Vote]] = {}
    for vote in votes:
        if {vote.a, vote.b} == {a, b}:
            for tag in vote.tags:
                among.setdefault(tag, []).append(vote)
    return {tag: seen_from(a, scores(some)[0]) for tag, some in sorted(among.items())}


def seen_from(model: str, score: Score) -> Score:
    """The same standing with ``model`` as the first one."""
    if score.a == model:
        return score
    return Score(score.b, score.a, score.b_wins, score.a_wins, score.ties, score.both_bad)


def marks(votes: Iterable[Vote]) -> list[Marked]:
    """Means and counts of the marks from 1 to 5, by model and criterion."""
    given: dict[tuple[str, str], list[int]] = {}
    for vote in votes:
        left, right = (vote.a, vote.b) if vote.left_is_a else (vote.b, vote.a)
        for criterion, (of_left, of_right) in vote.rubric.items():
            given.setdefault((left, criterion), []).append(of_left)
            given.setdefault((right, criterion), []).append(of_right)
    return [
        Marked(model, criterion, mean(some), _error(some), _counts(some))
        for (model, criterion), some in sorted(given.items())
    ]


def _error(values: Sequence[int]) -> float | None:
    return float(stdev(values)) / len(values) ** 0.5 if len(values) > 1 else None


def _counts(values: Sequence[int]) -> tuple[int, int, int, int, int]:
    found = Counter(values)
    return found[1], found[2], found[3], found[4], found[5]


def standing(score: Score) -> dict[str, object]:
    """All that is said of a pair of models, for JSON."""
    rate = win_rate(score)
    decided = Share(score.a_wins, score.decided)
    return {
        "a": score.a,
        "b": score.b,
        "a_wins": score.a_wins,
        "b_wins": score.b_wins,
        "ties": score.ties,
        "both_bad": score.both_bad,
        "win_rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "verdict": verdict(score),
        "more_votes": votes_to_decide(score),
        "e_value": e_value(score.a_wins, score.b_wins),
        "p_exact": decided.p,
    }

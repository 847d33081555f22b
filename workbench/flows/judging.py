"""An automatic judge: a model says of each pair which answer is better, asked twice with the answers exchanged.

What a judge says is kept apart from the votes of people, is told only together with how far people agree with it, and
not at all while that is little or not known.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.domain.chats import Role, Sampling, Turn
from workbench.domain.comparisons import Comparison, RaterKind, Rating, Score, Verdict, VoteDetails
from workbench.domain.results import Share, counted, of_comparisons, of_random_prompts, scores, standing
from workbench.domain.serving import ChatRequest, ModelPlace, TextPiece
from workbench.errors import EngineError, NotFoundError
from workbench.flows.registry import place
from workbench.flows.votes import majority

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

FEWEST_SHARED = 20
"""A judge stays silent until so many pairs that people decided were judged too."""

LEAST_AGREEMENT = 0.5
"""A judge stays silent unless Wilson's 95 % interval of its agreement with people lies above this."""

ANSWER_TOKENS = 512
MOST_FAILURES = 3
"""After so many pairs in a row about which a judge could not be asked, it is left."""

_PREFIX = "judge:"
_NO_VERDICT = "no verdict"
_MARK = re.compile(r"\[\[\s*(A|B|C|TIE)\s*\]\]", re.IGNORECASE)
_WORD = re.compile(
    r"\b(?:answer|assistant|response)?\s*\b([AB])\b\s+(?:is|was)\s+(?!not\b|no\b|hardly\b|never\b)(?:\w+\s+)?better",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_NEITHER = re.compile(r"[^.!?\n]*\b(?:neither|nor)\b[^.!?\n]*", re.IGNORECASE)
_ASKED = """\
You compare two answers to the same conversation. Judge what a person would find more correct, more helpful and \
clearer. Neither the order of the answers nor their length is a reason. First give your reasons in a few sentences, \
then end with one of: [[A]] if answer A is better, [[B]] if answer B is better, [[C]] if they are equally good."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """A judge beside the people. ``unstable`` counts pairs on which its answer followed the place, ``mute`` those on
    which it gave no verdict at least once: both are ties.

    ``scores`` is None while the judge is silent; ``why`` says what is missing.
    """

    judge: str
    judged: int
    unstable: int
    agreement: Share
    scores: tuple[Score, ...] | None
    why: str = ""
    mute: int = 0

    def as_dict(self) -> dict[str, object]:
        """For JSON; what the judge says is null while it is silent."""
        return {
            "judge": self.judge,
            "judged": self.judged,
            "unstable": self.unstable,
            "without_verdict": self.mute,
            "agreement": self.agreement.as_dict(),
            "pairs": None if self.scores is None else [standing(score) for score in self.scores],
            "silent_because": self.why or None,
        }


def judge(
    bench: Bench,
    model: str,
    *,
    a: str = "",
    b: str = "",
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Iterator[Rating]:
    """Ask ``model`` about every pair that it has not judged yet; those that people voted on come first.

    Each pair is asked twice, with the answers exchanged. A verdict is kept when both times the same answer was better;
    otherwise it is a tie, and the comment says what was answered each time. A pair about which it cannot be asked (too
    long for it, say) is left and the others are judged; raises ``EngineError`` at the end then, and at once when that
    happens to several one after another.
    """
    where = place(bench, model)
    rater = _PREFIX + where.name
    waiting = _unjudged(bench, rater, [name for name in (a, b) if name])[:limit]
    if not waiting:
        raise NotFoundError(f"no pair waits for {where.name}", hint="workbench compare A B makes some")
    cancelled = cancelled or threading.Event()
    failed: list[EngineError] = []
    in_a_row = 0
    for done, comparison_id in enumerate(waiting, start=1):
        comparison = bench.store.comparisons.get(comparison_id)
        try:
            found = _judged(bench, where, comparison, cancelled)
        except EngineError as error:
            failed.append(error)
            in_a_row += 1
            if in_a_row == MOST_FAILURES:
                raise
            continue
        if cancelled.is_set():
            return
        in_a_row = 0
        yield bench.store.comparisons.rate(
            comparison_id, found[0], rater=rater, kind=RaterKind.JUDGE, details=VoteDetails(comment=found[1])
        )
        if on_progress is not None:
            on_progress(done, len(waiting))
    if failed:
        raise EngineError(
            f"{where.name} could not be asked about {len(failed)} of {len(waiting)} pairs: {failed[0].message}",
            hint="what it said of the others is kept; asking again begins with the pairs that are left",
        )


def _unjudged(bench: Bench, rater: str, models: Sequence[str]) -> list[int]:
    seen = {vote.comparison_id for vote in bench.store.comparisons.votes(kind=RaterKind.JUDGE) if vote.rater == rater}
    by_people = majority(bench)
    found = [
        comparison
        for comparison in bench.store.comparisons.list(limit=1_000_000)
        if not comparison.identical
        and comparison.id not in seen
        and {*models} <= {comparison.a.model, comparison.b.model}
    ]
    return [one.id for one in sorted(found, key=lambda one: (one.id not in by_people, one.id))]


def _judged(bench: Bench, where: ModelPlace, comparison: Comparison, cancelled: threading.Event) -> tuple[Verdict, str]:
    said: list[str] = []
    for exchanged in (False, True):
        answers = (comparison.left.text, comparison.right.text)
        prompt = judge_prompt(comparison.prompt, *(answers[::-1] if exchanged else answers))
        text = ""
        sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=ANSWER_TOKENS, seed=0)
        for event in bench.engine.stream(ChatRequest(where, prompt, sampling), cancelled=cancelled):
            text += event.text if isinstance(event, TextPiece) else ""
        said.append(read_verdict(text, exchanged=exchanged))
    told = f"left first: {said[0] or _NO_VERDICT}; right first: {said[1] or _NO_VERDICT}"
    return (Verdict(said[0]) if said[0] and said[0] == said[1] else Verdict.TIE), told


def judge_prompt(prompt: tuple[Turn, ...], a: str, b: str) -> tuple[Turn, ...]:
    """What a judge is asked: the conversation and both answers, fenced, so that none of them can give the order.

    The fence has a number that no answer can know, so that none of them can end it either.
    """
    number = secrets.token_hex(4)
    talk = "\n\n".join(f"[{turn.role}]\n{turn.shown}" for turn in prompt)
    parts = (("conversation", talk), ("answer A", a), ("answer B", b))
    text = "\n\n".join(f"<<<{name} {number}>>>\n{body}\n<<<end of {name} {number}>>>" for name, body in parts)
    return (Turn(Role.SYSTEM.value, _ASKED), Turn(Role.USER.value, text))


def read_verdict(text: str, *, exchanged: bool) -> str:
    """``left``, ``right`` or ``tie`` of what a judge wrote; "" when it gave no verdict. The last mark counts.

    What it thought before, or was still thinking when it was cut off, is no verdict.
    """
    text = _THOUGHT.sub("", text)
    marks = _MARK.findall(text) or _WORD.findall(_NEITHER.sub("", text))
    if not marks:
        return ""
    mark = marks[-1].upper()
    if mark not in {"A", "B"}:
        return "tie"
    return "left" if (mark == "A") != exchanged else "right"


def standings(bench: Bench) -> list[Standing]:
    """Every judge with its agreement with people, and what it says where that is enough."""
    by_people = {key: outcome for key, outcome in majority(bench).items() if outcome in {"a", "b"}}
    votes = counted(bench.store.comparisons.votes(kind=RaterKind.JUDGE))
    found = []
    for rater in dict.fromkeys(vote.rater for vote in votes):
        of_judge = [vote for vote in votes if vote.rater == rater]
        shared = [vote for vote in of_judge if vote.comparison_id in by_people]
        agreed = Share(sum(vote.outcome == by_people[vote.comparison_id] for vote in shared), len(shared))
        said = [_said(bench, vote.comparison_id, rater) for vote in of_judge]
        unstable, mute = sum(each == {"left", "right"} for each in said), sum(_NO_VERDICT in each for each in said)
        name = rater.removeprefix(_PREFIX)
        one = Standing(name, len(of_judge), unstable, agreed, None, _why_silent(agreed), mute)
        told = of_random_prompts(of_comparisons(of_judge))
        found.append(one if one.why else replace(one, scores=tuple(scores(told))))
    return found


def _why_silent(agreed: Share) -> str:
    if agreed.total < FEWEST_SHARED:
        return f"{agreed.total} of the pairs that people decided were judged; {FEWEST_SHARED} are needed"
    if agreed.interval[0] <= LEAST_AGREEMENT:
        return f"its agreement with people is not surely above {LEAST_AGREEMENT:.0%}"
    return ""


def _said(bench: Bench, comparison_id: int, rater: str) -> set[str]:
    """What the judge said of a pair in both orders: a side each time, or a tie, or no verdict."""
    for rating in bench.store.comparisons.ratings(comparison_id):
        if rating.rater == rater and not rating.undone:
            return {part.rpartition(": ")[2] for part in rating.comment.split("; ")}
    return set()

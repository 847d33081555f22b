"""The results in words, for the screen and the command line: verdicts, checks of the votes, agreement, judges."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.domain.agreement import Agreement, words
from workbench.domain.comparisons import Score
from workbench.domain.counting import counted
from workbench.domain.foreign_text import cell
from workbench.domain.results import Share
from workbench.domain.statistics import e_value, verdict, votes_to_decide
from workbench.flows.judging import Standing
from workbench.flows.results import Report

_UNTOLD = {True: "keep voting", False: "no vote has decided for one of them yet"}

CHANCE = 0.05
"""A bias that chance alone shows less often than this is told."""


def verdict_line(score: Score) -> str:
    """Whether it is decided, and if not, about how many votes are missing."""
    evidence = f"e {e_value(score.a_wins, score.b_wins):.3g} of 20"
    found = verdict(score)
    if found != "undecided":
        better = cell(score.a if found == "a" else score.b)
        return f"DECIDED: {better} is better ({evidence})"
    missing = votes_to_decide(score)
    more = f"about {missing:,} more decided votes at this share" if missing else _UNTOLD[bool(score.decided)]
    return f"NOT DECIDED ({evidence}): {more}"


def chosen_line(score: Score) -> str:
    """What happened on prompts that were asked because the models differ there."""
    share = share_text(Share(score.a_wins, score.decided))
    return f"  where they differ most, not counted above: {share}"


def check_lines(report: Report) -> Iterator[str]:
    """What could have led the votes besides the answers, and what the figures rest on."""
    checks, agreement = report.checks, report.agreement
    yield f"  side          left chosen {share_text(checks.left)}{_p(checks.left)}"
    yield f"  length        longer answer chosen {share_text(checks.longer)}{_p(checks.longer)}"
    if checks.repeats.total:
        yield f"  self          {checks.repeats.hits}/{checks.repeats.total} said again of hidden repeats"
    if checks.left_ms is not None or checks.right_ms is not None:
        left, right = _seconds(checks.left_ms, checks.left_timed), _seconds(checks.right_ms, checks.right_timed)
        yield f"  time          median until the vote: left {left}, right {right}"
    if report.unseen:
        yield f"  waiting       {counted(report.unseen, 'votes')} on pairs that wait for you: side, length and time"
        yield "                leave them out, so that nothing tells whose answers they are"
    if checks.fast:
        yield f"  fast          {counted(checks.fast, 'votes')} under 2 s (kept; w, --hide-fast: hide them)"
    if checks.live:
        watched = counted(checks.live, "votes")
        yield f"  live          {watched} on answers that were watched (kept; w, --hide-live: hide them)"
    if report.prompts < report.comparisons:
        yield f"  prompts       {report.comparisons:,} comparisons on {report.prompts:,} prompts: answers to one"
        yield "                prompt are alike, so this is less sure than it looks"
    if report.left_out:
        yield f"  order         {report.left_out:,} pairs wait whose answers differ less: those voted on are no"
        yield "                random ones, until the others are voted on too"
    if report.equal:
        yield f"  equal         {report.equal:,} of the ties are equal answers, without a vote"
    if agreement is not None:
        yield from agreement_lines(agreement)


def agreement_lines(agreement: Agreement) -> Iterator[str]:
    """How far raters agree: alpha over all, kappa of each two."""
    alpha = "-" if agreement.alpha is None else f"{agreement.alpha:.2f}"
    shared = f"{agreement.units} shared pair{'s' * (agreement.units != 1)}"
    yield f"  raters        Krippendorff's alpha {alpha} ({words(agreement.alpha)}) on {shared}"
    yield "                a shared pair counts once, by majority; split votes are a tie"
    for pair in agreement.pairs:
        kappa = "-" if pair.kappa is None else f"{pair.kappa:.2f}"
        both = f"{cell(pair.a, 16)} and {cell(pair.b, 16)}"
        yield f"                {both}: Cohen's kappa {kappa}, same word on {pair.observed:.0%} of {pair.units}"


def share_text(share: Share) -> str:
    """``52 % [46, 58] of 333``."""
    if share.value is None:
        return "- of 0"
    low, high = share.interval
    return f"{share.value:.0%} [{100 * low:.0f}, {100 * high:.0f}] of {share.total}"


def _p(share: Share) -> str:
    if not share.total:
        return ""
    return f", p {share.p:.2g}  {'ok' if share.p >= CHANCE else 'WARNING'}"


def _seconds(duration_ms: int | None, timed: int) -> str:
    return "-" if duration_ms is None else f"{duration_ms / 1000:.1f} s (n {timed})"


def judge_lines(judge: Standing) -> Iterator[str]:
    """What a judge says, and only together with how far people agree with it."""
    name = cell(judge.judge, 40)
    asked = f"{judge.judged} pairs in both orders, {judge.unstable} of them answered by the place and not the answer"
    yield f"  {name}: {asked}" + (f", {judge.mute} without a verdict" if judge.mute else "")
    yield f"    agreement with people: {share_text(judge.agreement)}"
    if judge.scores is None:
        yield f"    silent: {judge.why}"
        return
    for score in judge.scores:
        share = Share(score.a_wins, score.decided)
        yield f"    says {cell(score.a, 24)} wins {share_text(share)} against {cell(score.b, 24)}"

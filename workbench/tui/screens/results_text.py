"""The results as text: ranking, standings with their verdicts, what could have led the votes, tags and marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from workbench.domain.comparisons import Score
from workbench.domain.rankings import Rank
from workbench.domain.results import FEW, Marked, Share
from workbench.domain.statistics import verdict, wilson_interval
from workbench.flows.results_told import check_lines, chosen_line, judge_lines, share_text, verdict_line
from workbench.tui.safety import cell

if TYPE_CHECKING:
    from workbench.flows.judging import Standing
    from workbench.flows.results import Report

METRICS = {"decided": "share of decided votes", "ties": "ties and both bad as half a win"}
_NO_VOTES = "No vote counts yet. The Arena (F6) asks two models the same prompts; every vote is kept."


def results_text(
    report: Report,
    judges: Sequence[Standing],
    width: int,
    *,
    cursor: int = 0,
    metric: str = "decided",
    ascii_only: bool = False,
) -> Text:
    """All of it, one part under another."""
    if not report.votes:
        return Text(_NO_VOTES)
    text = Text()
    if len(report.ranking) > 2:
        _heading(text, "ranking", "Bradley-Terry points: 100 more win 64 of 100; a tie is half a win")
        text.append("\n".join(_ranking(report.ranking, width, ascii_only)) + "\n")
        text.append("  95 % intervals, a bootstrap over prompts; who is better is decided below\n\n", "dim")
    for number, score in enumerate(report.scores):
        text.append("▶ " if number == cursor else "  ", "bold")
        text.append(f"{cell(score.a, 40)} against {cell(score.b, 40)}\n", "bold")
        text.append("\n".join(_standing(score, width, metric, ascii_only)) + "\n")
        text.append(f"  {verdict_line(score)}\n", "bold" if verdict(score) != "undecided" else "")
        if (matched := report.matched[score.a, score.b]).total:
            text.append(f"    on answers of equal length: {share_text(matched)}\n")
        if (chosen := report.chosen_between(score.a, score.b)) is not None:
            text.append(f"  {chosen_line(chosen)}\n")
        for line in _tags(report.by_tag.get((score.a, score.b), {}), score):
            text.append(line + "\n")
        text.append("\n")
    _heading(text, "checks", "what could have led the votes besides the answers")
    text.append("\n".join(check_lines(report)) + "\n")
    if report.marks:
        text.append("\n")
        _heading(text, "marks", "1 to 5, mean and standard error")
        text.append("\n".join(_marks(report.marks, ascii_only)) + "\n")
    if judges:
        text.append("\n")
        _heading(text, "judges", "models that were asked; never counted above")
        text.append("\n".join(line for judge in judges for line in judge_lines(judge)) + "\n")
    text.append("\nWilson's intervals. A verdict holds however often you look: e of 20 decides.", "dim")
    return text


def _heading(text: Text, name: str, said: str) -> None:
    text.append(name, "bold").append(f"  {said}\n", "dim")


def _ranking(ranks: Sequence[Rank], width: int, ascii_only: bool) -> Iterator[str]:
    ends = [value for rank in ranks for value in (rank.low, rank.rating, rank.high) if value is not None]
    low, high = min(ends), max(ends)
    room = max(8, min(40, width - 68))
    for rank in ranks:
        bar = _bar(rank, low, high, room, ascii_only)
        group = f"  group {rank.group + 1}" if rank.group else ""
        few = "  few votes" if rank.votes < FEW else ""
        is_yardstick = rank.low == rank.high == 0
        low_to_high = f"[{_end(rank.low):>5}, {_end(rank.high):>5}]"
        low_to_high = f"{'measured from':<{len(low_to_high)}}" if is_yardstick else low_to_high
        about = f"n {rank.votes:,}{few}{group}"
        yield f"  {cell(rank.model, 20):<20} {_points(rank.rating):>6}  {low_to_high} {bar}  {about}"


def _points(rating: float) -> str:
    return f"{round(rating):+d}" if round(rating) else "0"


def _end(value: float | None) -> str:
    return "?" if value is None else _points(value)


def _bar(rank: Rank, low: float, high: float, width: int, ascii_only: bool) -> str:
    between, dot = ("=", "o") if ascii_only else ("─", "●")
    span = max(high - low, 1e-9)
    ends = (rank.rating if rank.low is None else rank.low, rank.rating, rank.rating if rank.high is None else rank.high)
    at_low, at, at_high = (round((value - low) / span * (width - 1)) for value in ends)
    cells = [" "] * width
    cells[at_low : at_high + 1] = [between] * (at_high - at_low + 1)
    cells[at] = dot
    return "".join(cells)


def _standing(score: Score, width: int, metric: str, ascii_only: bool) -> Iterator[str]:
    ties = f"ties {score.ties}   both bad {score.both_bad}"
    yield f"  {score.a_wins} to {score.b_wins} in {score.decided} decided votes   {ties}"
    drawn = score.ties + score.both_bad if metric == "ties" else 0
    wins, total = score.a_wins + drawn / 2, score.decided + drawn
    if not total:
        return
    low, high = wilson_interval(wins, total)
    share = [round(100 * value) for value in (wins / total, low, high)]
    few = "   few votes: rough" if total < FEW else ""
    yield f"  {cell(score.a, 40)} wins {share[0]} %   95 % interval {share[1]} to {share[2]} %{few}"
    yield f"  {interval_bar(low, wins / total, high, max(10, min(60, width - 12)), ascii_only)}"


def interval_bar(low: float, value: float, high: float, width: int, ascii_only: bool) -> str:
    """0 to 100 % as a line with the interval, the share and the middle on it."""
    line, edge, dot, middle, between = ("-", "|", "o", "+", "=") if ascii_only else ("─", "┤", "●", "┼", "━")
    cells = [line] * width
    cells[(width - 1) // 2] = middle
    at_low, at, at_high = (round(share * (width - 1)) for share in (low, value, high))
    cells[at_low : at_high + 1] = [between] * (at_high - at_low + 1)
    cells[at_low], cells[at_high], cells[at] = ("|" if ascii_only else "├"), edge, dot
    return f"0 {''.join(cells)} 100 %"


def _tags(tags: dict[str, Score], whole: Score) -> Iterator[str]:
    """A line for each tag that has enough votes; the others are only counted."""
    small = []
    for tag, score in tags.items():
        share = Share(score.a_wins, score.decided)
        if share.total < FEW:
            small.append(f"{cell(tag, 20)} n {share.total}")
        else:
            yield f"    {cell(tag, 20):<20} {share_text(share)}"
    if small:
        yield f"    too few votes to show: {', '.join(small)}"


def _deviation(error: float | None) -> str:
    return "?  " if error is None else f"{error:.1f}"


def _marks(marks: Sequence[Marked], ascii_only: bool) -> Iterator[str]:
    signs = " .:+#" if ascii_only else "▁▂▄▆█"
    for one in marks:
        most = max(one.counts)
        bars = "".join(signs[round(4 * count / most)] for count in one.counts)
        name = f"{cell(one.model, 20):<20} {cell(one.criterion, 16):<16}"
        yield f"  {name} {one.mean:.1f} ±{_deviation(one.error)}  n {one.total:<4} {bars}"

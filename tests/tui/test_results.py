"""Results: what is said of the votes, what is looked at, and the way to data, fixes and judges, by keys."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from fakes import FakeEngine
from pilots import app_at, screen_text, until, until_shown
from samples import candidate, user
from voting import pair, vote
from workbench.domain.agreement import Agreement, RaterPair
from workbench.domain.comparisons import Score, VoteDetails
from workbench.domain.models import ModelKind
from workbench.domain.queries import parse_query
from workbench.domain.results import Share
from workbench.errors import StoreError
from workbench.flows import fixes, judging, results
from workbench.flows.bench import Bench
from workbench.flows.results_told import agreement_lines, check_lines, verdict_line
from workbench.store.models import Models as StoredModels
from workbench.tui.screens.results import ResultsPane, markdown
from workbench.tui.screens.results_text import interval_bar, results_text
from workbench.tui.widgets.editor import Editor


@pytest.fixture
def voted(bench: Bench) -> Bench:
    """Twelve votes: tuned wins eight, pip two, one is a tie, one both bad; a third model lost once."""
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    winners = [*["tuned"] * 8, *["pip"] * 2, "tie", "both-bad"]
    for number, winner in enumerate(winners, start=1):
        tags = ("math",) if number < 3 else ()
        vote(bench, pair(bench, number, tags=tags), winner, details=VoteDetails(duration_ms=900 * number))
    vote(bench, pair(bench, 20, a="pip", b="third"), "pip")
    return bench


async def test_equal_answers_are_not_counted_as_votes(voted: Bench) -> None:
    same = candidate("pip", "the very same"), candidate("tuned", "the very same")
    voted.store.comparisons.add(user("a question that both answer alike"), *same, draw_seed=1)
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 50)) as pilot:
        await until_shown(pilot, "13 votes 1 equal without a vote all raters", "ties 2 both bad 1")


def count(bench: Bench, dataset: str) -> int:
    return bench.store.examples.count(parse_query(""), dataset)


async def test_standings_ranking_and_checks_stand_on_one_screen(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 50)) as pilot:
        await until_shown(pilot, "13 votes all raters", "ranking Bradley-Terry", "▶ pip against tuned")
        shown = screen_text(app)
        for part in (
            "2 to 8 in 10 decided votes ties 1 both bad 1",
            "pip wins 20 % 95 % interval 6 to 51 % few votes: rough",
            "NOT DECIDED (e 2.07 of 20): about",
            "side left chosen",
            "length longer answer chosen",
            "fast 2 votes under 2 s",
            "too few votes to show: math n 2",
        ):
            assert part in shown, part


async def test_it_is_whole_on_a_small_terminal_and_scrolls(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "ranking", "F1 Help")
        assert app.screen.region.contains_region(app.query_one("#results-box").region)
        assert "e of 20 decides" not in screen_text(app)
        await pilot.press("down", "end")
        await until_shown(pilot, "e of 20 decides")


async def test_votes_that_come_while_it_is_shown_are_counted(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "13 votes")
        vote(voted, pair(voted, 30), "tuned")
        await pilot.press("f6", "f7")
        await until_shown(pilot, "14 votes")


async def test_what_is_looked_at_can_be_chosen_by_keys(voted: Bench) -> None:
    vote(voted, pair(voted, 40), "tuned", rater="bob", details=VoteDetails(live=True))
    app = app_at(voted, "results")
    async with app.run_test(size=(120, 50)) as pilot:
        await until_shown(pilot, "14 votes all raters")
        for keys, shown in (
            (("r", *"bob", "enter"), "1 vote bob"),
            (("r", *"all", "enter"), "14 votes all raters"),
            (("t", *"math", "enter"), "2 votes all raters tag math"),
            (("t", *"all", "enter"), "14 votes all raters"),
            (("w", *"under", "enter"), "12 votes all raters without votes under 2 s"),
            (("w", *"watched", "enter"), "13 votes all raters without answers that were watched"),
            (("w", *"all", "enter"), "14 votes all raters"),
            (("m",), "ties and both bad as half a win"),
            (("b",), "the bootstrap is drawn again"),
        ):
            await pilot.press(*keys)
            await until_shown(pilot, shown)


async def test_the_agreement_of_other_prompts_goes_with_them(voted: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed = Agreement(0.5, 7, ())
    held = threading.Event()

    def agreement_on(bench: Bench, tag: str = "") -> Agreement | None:
        if tag:
            held.wait(10)
        return None if tag else agreed

    monkeypatch.setattr(results, "agreement_on", agreement_on)
    app = app_at(voted, "results")
    async with app.run_test(size=(120, 50)) as pilot:
        await until_shown(pilot, "alpha 0.50")
        await pilot.press("t", *"math", "enter")
        await until_shown(pilot, "2 votes all raters tag math")
        assert "alpha" not in screen_text(app)
        held.set()


async def test_d_shows_the_votes_behind_a_standing_and_one_of_them_whole(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "▶ pip against tuned")
        await pilot.press("d")
        await until_shown(pilot, "12 votes on pip and tuned", "#12 both bad", "#1 tuned won")
        await pilot.press(*"#9", "enter")
        await until_shown(pilot, "question 9", "plain answer 9", "fancy answer 9", "rater:", "8.1 s")
        await pilot.press("escape")
        await pilot.press("j")
        await until_shown(pilot, "▶ pip against third")


async def test_what_waits_for_a_vote_is_in_no_list(bench: Bench) -> None:
    made = [pair(bench, number) for number in (1, 2)]
    for one in made:
        vote(bench, one, "pip", rater="ann")
    app = app_at(bench, "results")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "2 votes on pairs that wait for you: side, length and time", "left chosen - of 0")
        await pilot.press("d")
        await until_shown(pilot, "2 votes on pairs that wait for you are left out: hidden until you vote")
        await pilot.press("f")
        await until_shown(pilot, "2 answers on pairs that wait for you are left out")
        vote(bench, made[0], "pip", rater=bench.rater)
        await pilot.press("d")
        await until_shown(pilot, "2 votes on pip and tuned", "1 vote on pairs that wait for you is left out")
        assert f"#{made[1].id} " not in screen_text(app)


async def test_the_to_fix_list_opens_the_editor_and_a_better_answer_is_a_pair(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "13 votes")
        await pilot.press("f")
        await until_shown(pilot, "12 answers to fix", "#12 both bad pip")
        await pilot.press(*"#9", "enter")
        await until_shown(pilot, "A better answer than the one that lost")
        editor = app.screen.query_one(Editor)
        assert editor.written == "fancy answer 9"
        editor.write("the best answer")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "11 answers to fix")
        (example,) = voted.store.examples.list(parse_query("source:vote-fix"))
        assert (example.answer_text, example.content.rejected[0].content) == ("the best answer", "fancy answer 9")


@pytest.mark.parametrize(
    ("key", "module", "name"),
    [("d", results, "votes_between"), ("f", fixes, "to_fix"), ("J", StoredModels, "speakers")],
)
async def test_what_cannot_be_read_for_a_key_is_said(
    voted: Bench, monkeypatch: pytest.MonkeyPatch, key: str, module: object, name: str
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the disk went away")

    app = app_at(voted, "results")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "tuned")
        monkeypatch.setattr(module, name, refuse)
        await pilot.press(key)
        await until_shown(pilot, "the disk went away")
        assert len(app.screen_stack) == 1


async def test_a_fix_that_is_left_keeps_its_draft(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "13 votes")
        await pilot.press("f", *"#9", "enter")
        await until_shown(pilot, "A better answer")
        app.screen.query_one(Editor).write("half a thought")
        await pilot.press("escape")
        await until(pilot, lambda: voted.store.drafts.get("fix:9") == "half a thought")
        assert voted.store.examples.count(parse_query("source:vote-fix")) == 0


async def test_prompts_that_were_chosen_are_told_apart(voted: Bench) -> None:
    sides = candidate("pip", "x"), candidate("tuned", "y")
    made = voted.store.comparisons.add(user("chosen"), *sides, draw_seed=1, chosen="differing")
    vote(voted, made, "tuned")
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "14 votes", "where they differ most, not counted above: 0% [0, 79] of 1")


async def test_votes_become_data_by_one_key_and_a_choice(voted: Bench) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "13 votes")
        await pilot.press("D", *"pairs", "enter")
        await until_shown(pilot, "11 rows in votes; 2 comparisons make none")
        await pilot.press("D", *"evaluation", "enter")
        await until_shown(pilot, "rows in vote-evaluation")
        await until(pilot, lambda: count(voted, "vote-evaluation") == 11)


async def test_battles_are_written_where_it_is_said(voted: Bench, tmp_path: Path) -> None:
    app = app_at(voted, "results")
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "13 votes")
        await pilot.press("x")
        await until_shown(pilot, "Write the battles")
        app.screen.query_one(Input).value = str(tmp_path / "b.json")
        await pilot.press("enter")
        await until_shown(pilot, "13 battles are in")
        assert len(json.loads((tmp_path / "b.json").read_text())) == 13
        (tmp_path / "b.json").write_text("mine")
        for answer in "ny":
            await pilot.press("x")
            await until_shown(pilot, "Write the battles")
            app.screen.query_one(Input).value = str(tmp_path / "b.json")
            await pilot.press("enter")
            await until_shown(pilot, "b.json exists: replace it?")
            assert (tmp_path / "b.json").read_text() == "mine"
            await pilot.press(answer)
        await until(pilot, lambda: (tmp_path / "b.json").read_text() != "mine")


async def test_a_judge_works_in_the_background_and_is_silent_while_little_is_known(
    voted: Bench, engine: FakeEngine
) -> None:
    engine.default_answer = "reasons [[A]]"
    app = app_at(voted, "results")
    async with app.run_test(size=(120, 60)) as pilot:
        await until_shown(pilot, "13 votes")
        await pilot.press("J")
        await until_shown(pilot, "Which model judges?")
        await pilot.press(*"pip", "enter")
        await until_shown(pilot, "judges models that were asked", "pip: 13 pairs in both orders, 13 of them answered")
        await until_shown(pilot, "silent: 11 of the pairs that people decided were judged; 20 are needed")
        assert "says pip wins" not in screen_text(app)
        assert app.query_one(ResultsPane).can_stop() is False


def test_the_score_says_n_share_interval_and_what_is_missing(bench: Bench) -> None:
    for number in range(10):
        vote(bench, pair(bench, number), "pip" if number < 7 else "tuned")
    text = results_text(results.report(bench, resamples=5), [], 90).plain
    assert "7 to 3 in 10 decided votes   ties 0   both bad 0" in text
    assert "pip wins 70 %   95 % interval 40 to 89 %   few votes" in text  # Wilson: 0.397 to 0.892
    assert "NOT DECIDED" in text and "about" in text
    assert "ranking" not in text, "of two models the standing says it all"


def test_ties_can_count_as_half_a_win(bench: Bench) -> None:
    for number, winner in enumerate(["pip", "pip", "pip", "tie"]):
        vote(bench, pair(bench, number), winner)
    report = results.report(bench, resamples=5)
    assert "pip wins 100 %" in results_text(report, [], 90).plain
    assert "pip wins 88 %" in results_text(report, [], 90, metric="ties").plain  # 3.5 of 4


def test_the_verdict_names_the_better_model() -> None:
    assert verdict_line(Score("a", "b", 30, 2, 0, 0)).startswith("DECIDED: a is better")
    assert verdict_line(Score("a", "b", 2, 30, 0, 0)).startswith("DECIDED: b is better")
    assert verdict_line(Score("a", "b", 5, 5, 0, 0)).endswith("keep voting")
    assert len(verdict_line(Score("a", "b", 51, 49, 0, 0))) <= 74, "stands on one line at 80 columns"
    assert verdict_line(Score("a", "b", 0, 0, 20, 0)).endswith("no vote has decided for one of them yet")


def test_the_interval_bar_spans_low_to_high() -> None:
    cells = interval_bar(0.25, 0.5, 0.75, 41, True).removeprefix("0 ").removesuffix(" 100 %")
    assert len(cells) == 41
    assert (cells.index("|"), cells.index("o"), cells.rindex("|")) == (10, 20, 30)


def test_agreement_and_judges_are_said_in_words(bench: Bench) -> None:
    lines = "\n".join(agreement_lines(Agreement(0.57, 12, (RaterPair("ann", "bob", 12, 0.75, None),))))
    assert "alpha 0.57 (moderate) on 12 shared pairs" in lines
    assert "ann and bob: Cohen's kappa -, same word on 75% of 12" in lines
    vote(bench, pair(bench, 1), "pip")
    report = results.report(bench, resamples=5)
    one = judging.Standing("big", 40, 2, report.checks.left, None, "too little")
    assert "silent: too little" in results_text(report, [one], 90).plain
    heard = replace(one, scores=(Score("pip", "tuned", 30, 10, 0, 0),), why="")
    assert "says pip wins 75% [60, 86] of 40 against tuned" in results_text(report, [heard], 90).plain


def test_standings_are_copied_as_a_table() -> None:
    text = markdown([Score("a", "b", 7, 3, 1, 0)])
    assert text.splitlines()[0].startswith("| a | b | wins |")
    assert text.splitlines()[2] == "| a | b | 7 | 3 | 1 | 0 | 70% | 40% to 89% | undecided |"


def test_a_side_is_warned_of_only_when_its_p_value_says_so(bench: Bench) -> None:
    found = results.report(bench)
    for hits, p_value, word in ((21, "0.071", "ok"), (22, "0.029", "WARNING")):  # Wilson's interval leaves out both
        checks = replace(found.checks, left=Share(hits, 31))
        assert next(check_lines(replace(found, checks=checks))).endswith(f"p {p_value}  {word}")


def test_figures_stand_with_what_they_rest_on(voted: Bench) -> None:
    third = voted.store.models.add("third", ModelKind.ADAPTER, "/nowhere/third", base="pip").name
    details = VoteDetails(duration_ms=4000, rubric={"clear": (5, 3)})
    vote(voted, pair(voted, 99, a="tuned", b=third), third, details=details)
    told = results_text(results.report(voted, resamples=20), (), 100).plain
    ranks = [line.split() for line in told.splitlines() if "measured from" in line]
    assert [line[0] for line in ranks] == ["pip"] and "[    0,     0]" not in told
    ranked = told[told.index("100 more win") :].splitlines()[1:4]
    assert len({line.index("  n ") for line in ranked}) == 1, "counts in one column"
    assert " s (n " in told and "±?    n 1" in told and "100 more win 64 of 100" in told
    assert pytest.approx(0.64, abs=0.001) == 1 / (1 + 10 ** (-100 / 400))


def test_no_line_of_the_results_is_broken_at_80_columns(voted: Bench) -> None:
    third = voted.store.models.add("a-model-with-a-long-name", ModelKind.ADAPTER, "/nowhere/third", base="pip").name
    vote(voted, pair(voted, 99, a="tuned", b=third), third)
    told = results_text(results.report(voted, resamples=20), (), 76).plain
    assert third[:19] in told and max(map(len, told.splitlines())) <= 76

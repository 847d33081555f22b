"""The Arena: nothing tells the models apart before the vote, a key is a stored vote, the score stands elsewhere."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from fakes import FakeEngine
from pilots import app_at, screen_lines, screen_text, until, until_shown
from samples import candidate, user
from workbench.domain.chats import Sampling
from workbench.domain.comparisons import Strength, Verdict, VoteDetails
from workbench.domain.examples import Kind, SourceKind
from workbench.domain.models import ModelKind
from workbench.domain.queries import parse_query
from workbench.errors import UsageError
from workbench.flows.bench import Bench
from workbench.tui.messages import ComparisonsChanged, ExamplesChanged, News
from workbench.tui.paste_guard import BURST_KEYS
from workbench.tui.screens.arena import ArenaPane
from workbench.tui.screens.arena_form import LIVE, SAMPLES, TOGETHER, TYPED, ArenaForm, Plan, default_pair
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.picker import Picker

NAMES = ("pip", "tuned")


@pytest.fixture
def models(bench: Bench) -> Bench:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    return bench


def pairs(bench: Bench, count: int) -> None:
    for number in range(count):
        left, right = candidate("pip", f"plain answer {number}"), candidate("tuned", f"fancy answer {number}")
        bench.store.comparisons.add(user(f"question {number}"), left, right, draw_seed=number)


def votes(bench: Bench) -> list[Verdict]:
    """The standing votes, in the order of the pairs."""
    found = reversed(bench.store.comparisons.list())
    return [r.verdict for c in found for r in bench.store.comparisons.ratings(c.id) if not r.undone]


async def ask(pilot: Pilot[int], limit: int, *, live: bool = False, **picked: str) -> None:
    """``n``: a round of so many prompts, with what is picked in the form by the names of its fields."""
    await pilot.press("n")
    await until_shown(pilot, "Ask models the same", "both at once")
    form = pilot.app.screen
    for name, value in {"show": LIVE if live else TOGETHER, **picked}.items():
        form.query_one(f"#round-{name}", Picker).choose(value)
    form.query_one("#round-limit", Input).value = str(limit)
    await pilot.press("ctrl+s")


async def test_before_the_vote_no_model_is_named_anywhere(models: Bench) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0", "plain answer 0", "fancy answer 0", "LEFT", "RIGHT", "blind")
        assert not any(name in screen_text(app) for name in NAMES)


async def test_the_names_come_after_the_vote_and_go_with_the_next_pair(models: Bench) -> None:
    pairs(models, 2)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("right")
        await until(pilot, lambda: votes(models) == [Verdict.RIGHT])
        first = models.store.comparisons.get(1)
        await until_shown(pilot, f"✓ {first.right.model}", f"{first.right.model} won", "S keeps it as a pair")
        await pilot.press("enter")
        await until_shown(pilot, "question 1")
        assert not any(name in screen_text(app) for name in NAMES)


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        ("left", Verdict.LEFT),
        ("h", Verdict.LEFT),
        ("right", Verdict.RIGHT),
        ("l", Verdict.RIGHT),
        ("equals_sign", Verdict.TIE),
        ("t", Verdict.TIE),
        ("0", Verdict.BOTH_BAD),
        ("space", Verdict.SKIP),
    ],
)
async def test_one_key_is_one_vote(models: Bench, key: str, verdict: Verdict) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    heard: list[object] = []
    async with app.run_test(size=(80, 24), message_hook=heard.append) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press(key)
        await until(pilot, lambda: votes(models) == [verdict])
        await until(pilot, lambda: any(isinstance(message, ComparisonsChanged) for message in heard))
        assert models.store.comparisons.ratings(1)[0].rater == "rater"


async def test_a_vote_can_be_taken_back_also_after_a_restart(models: Bench) -> None:
    pairs(models, 2)
    said = VoteDetails("as before", strength=Strength.MUCH)
    models.store.comparisons.rate(1, Verdict.LEFT, rater="rater", details=said)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 1")
        await pilot.press("u")
        await until_shown(pilot, "question 0", "the last vote is taken back")
        await until_shown(pilot, "you know the names, so a vote does not count")
        await until_shown(pilot, "strength much", "c comment: as before")
        assert votes(models) == []
        assert not any(name in screen_text(app) for name in NAMES)
        await pilot.press("t")
        await until(pilot, lambda: votes(models) == [Verdict.TIE])
        await pilot.press("u")
        await until(pilot, lambda: votes(models) == [])
        await until(pilot, lambda: app.query_one(ArenaPane).mode == "blind")
        await pilot.press("u")
        await until_shown(pilot, "there is no vote to take back")


async def test_before_a_vote_that_cannot_count_it_is_said_that_the_names_are_known(models: Bench) -> None:
    for _ in range(2):
        pairs(models, 1)  # the models said the same again
    pairs(models, 2)
    models.store.comparisons.rate(4, Verdict.LEFT, rater="rater")
    models.store.comparisons.undo_rating("rater")
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        for is_known in (False, True, True, True):
            await until_shown(pilot, "does not count" if is_known else "blind", "h left")
            assert ("does not count" in screen_text(app)) is is_known
            assert not any(name in screen_text(app) for name in NAMES)
            await pilot.press("h")
            await until_shown(pilot, "Enter goes on")
            await pilot.press("enter")
        await until_shown(pilot, "No pair waits")


async def test_s_keeps_a_decided_vote_as_a_pair_and_says_so(models: Bench) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    news: list[News] = []
    hook = lambda message: news.append(message) if isinstance(message, News) else None  # noqa: E731
    async with app.run_test(size=(80, 24), message_hook=hook) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("S")
        await until_shown(pilot, "vote first")
        await pilot.press("l")
        await until_shown(pilot, "S keeps it as a pair")
        await pilot.press("S")
        await until_shown(pilot, "the vote is example")
        (example,) = models.store.examples.list(parse_query(""), dataset="votes")
        comparison = models.store.comparisons.get(1)
        assert (example.content.kind, example.source.kind) == (Kind.PREFERENCE, SourceKind.VOTE)
        assert example.content.chosen[0].content == comparison.right.text
        assert any(isinstance(one, ExamplesChanged) and one.example_ids == (example.id,) for one in news)
        await pilot.press("u")
        await until_shown(pilot, f"the last vote is taken back; example {example.id} in votes, made of it, stays")
        assert models.store.examples.count(parse_query(""), "votes") == 1


async def test_a_tie_makes_no_pair(models: Bench) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    async with app.run_test(size=(100, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("t")
        await until_shown(pilot, "a tie")
        assert "S keeps it" not in screen_text(app)
        await pilot.press("S")
        await until_shown(pilot, "has no winner")
        assert models.store.examples.count(parse_query("")) == 0


async def test_keys_that_come_with_a_paste_are_no_votes(models: Bench) -> None:
    pairs(models, 3)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        app.query_one(ArenaPane).guard.clock = lambda: 100.0
        app.post_message(events.Paste("hello l t 0"))
        await until_shown(pilot, "pasted text is ignored here")
        await pilot.press("l", "t", "0", "u", "S")
        await pilot.pause()
        assert votes(models) == []
        app.query_one(ArenaPane).guard.clock = lambda: 101.0
        await pilot.press("l")
        await until(pilot, lambda: votes(models) == [Verdict.RIGHT])


async def test_a_burst_of_keys_is_taken_for_a_paste(models: Bench) -> None:
    pairs(models, 30)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        app.query_one(ArenaPane).guard.clock = lambda: 100.0
        await pilot.press(*"lt0lt0lt0lt0lt0")
        await until_shown(pilot, "that looked like a paste")
        assert len(votes(models)) < BURST_KEYS


async def test_a_round_asks_both_models_and_shows_the_first_pair_at_once(models: Bench, engine: FakeEngine) -> None:
    for number in range(2):
        engine.enqueue(f"plain words {number}", model="pip")
        engine.enqueue(f"other words {number}", model="tuned")
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits for a vote")
        await pilot.press("n")
        await until_shown(pilot, "Ask models the same")
        form = app.screen
        assert isinstance(form, ArenaForm)
        assert [form.query_one(f"#round-{side}", Picker).value for side in ("a", "b")] == ["pip", "tuned"]
        form.query_one("#round-source", Picker).choose(TYPED)
        await until(pilot, lambda: isinstance(app.focused, Editor))
        await pilot.press(*"one", "enter", *"two")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "plain words 0", "other words 0")
        await until(pilot, lambda: len(models.store.comparisons.list()) == 2)
        await until_shown(pilot, "2 pairs of answers are ready")
        asked = {(request.model.name, request.turns[-1].content, request.sampling.seed) for request in engine.requests}
        assert {(name, text) for name, text, _ in asked} == {(n, t) for n in NAMES for t in ("one", "two")}
        assert len({seed for _, text, seed in asked if text == "one"}) == 1
        assert not any(name in screen_text(app) for name in NAMES)


async def test_making_answers_can_be_stopped_and_keeps_what_is_there(models: Bench, engine: FakeEngine) -> None:
    engine.hold()
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await pilot.press("n")
        await until_shown(pilot, SAMPLES)
        await pilot.press("ctrl+s")
        await until(pilot, engine.waiting.is_set)
        assert app.query_one(ArenaPane).can_stop()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.query_one(ArenaPane).can_stop())
        engine.release()
        assert models.store.comparisons.list() == []


async def test_an_engine_that_fails_is_said_and_the_pane_goes_on(models: Bench, engine: FakeEngine) -> None:
    engine.fail_to_start("no memory is left")
    app = app_at(models, "arena")
    async with app.run_test(size=(100, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await ask(pilot, 1)
        await until_shown(pilot, "no memory is left")
        await until_shown(pilot, "No pair waits for a vote")
        assert models.store.comparisons.list() == []


async def test_one_model_alone_cannot_be_compared(bench: Bench) -> None:
    app = app_at(bench, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await pilot.press("n")
        await until_shown(pilot, "there is only one model here (train one (F5), or add one (F8))")
        assert len(app.screen_stack) == 1, "no form opened"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [("limit", "0", "at least 1"), ("temperature", "9", "outside 0 to 5"), ("max_tokens", "x", "whole number")],
)
async def test_a_wrong_round_is_said_in_the_form(models: Bench, field: str, value: str, problem: str) -> None:
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await pilot.press("n")
        await until_shown(pilot, SAMPLES)
        app.screen.query_one(f"#round-{field}").value = value  # type: ignore[attr-defined]
        await pilot.press("ctrl+s")
        await until_shown(pilot, problem)
        app.screen.query_one("#round-b", Picker).choose("pip")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "both sides are the same model")
        assert len(app.screen_stack) == 2, "the form stays open"
        assert models.store.comparisons.list() == []


async def test_v_goes_to_the_results_and_the_pair_stays(models: Bench) -> None:
    pairs(models, 2)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("v")
        await until_shown(pilot, "No vote counts yet")
        assert "question 0" not in screen_text(app)
        await pilot.press("f6")
        await until_shown(pilot, "question 0")


async def test_hostile_answers_are_only_looked_at(models: Bench) -> None:
    evil = "\x1b]52;c;aGk=\x07 [@click=app.quit]x[/foo] \u202egnp"
    models.store.comparisons.add(user(evil), candidate("pip", evil), candidate("tuned", "x" * 300_000), draw_seed=1)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "[@click=app.quit]x[/foo]")
        text = "".join(screen_lines(app))
        assert "\x1b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45), (240, 60)])
async def test_two_columns_stand_side_by_side_at_every_size(models: Bench, size: tuple[int, int]) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "plain answer 0", "fancy answer 0", "F1 Help")
        left, right = app.query_one("#arena-left").region, app.query_one("#arena-right").region
        assert left.y == right.y
        assert left.right == right.x
        assert abs(left.width - right.width) <= 1
        assert app.screen.region.contains_region(left.union(right))


def test_the_newest_adapter_is_compared_with_its_base(models: Bench) -> None:
    assert default_pair(models.store.models.list()) == ("pip", "tuned")


async def test_strength_comment_and_marks_go_with_the_vote_and_are_fresh_for_the_next(models: Bench) -> None:
    pairs(models, 2)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0", "strength clear")
        await pilot.press("plus")
        await until_shown(pilot, "strength much")
        await pilot.press("c", *"because", "enter")
        await until_shown(pilot, "c comment: because")
        await pilot.press("r")
        await until_shown(pilot, "Marks, 1 to 5", "correct left ▶· right ·", "Criteria of your own: rubric.toml")
        await pilot.press("4", "2", "5", "enter")
        await until_shown(pilot, "helpful has only one mark")
        await pilot.press("3", "enter")
        await until_shown(pilot, "r marks: 2")
        await pilot.press("h")
        await until(pilot, lambda: votes(models) == [Verdict.LEFT])
        (kept,) = models.store.comparisons.ratings(1)
        assert (kept.strength, kept.comment) == (Strength.MUCH, "because")
        assert dict(kept.rubric) == {"correct": (4, 2), "helpful": (5, 3)}
        await pilot.press("enter")
        await until_shown(pilot, "question 1", "strength clear")
        assert "because" not in screen_text(app)


async def test_what_is_typed_behind_enter_is_no_part_of_the_comment(models: Bench) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("c", *"good")
        field = app.screen.query_one(Input)
        await field.action_submit()
        field.value += "h"  # before the dialog hears of Enter, as on a slow line
        await until_shown(pilot, "c comment: good")
        assert app.query_one(ArenaPane).details.comment == "good"


async def test_keys_beside_the_verdict_do_nothing_once_the_names_are_out(models: Bench) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("e")
        await until_shown(pilot, "vote first: e writes a better answer")
        await pilot.press("h")
        await until_shown(pilot, "e writes a better one")
        await pilot.press("plus", "c", "r")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert models.store.comparisons.ratings(1)[0].strength is Strength.CLEAR


async def test_a_better_answer_can_be_written_right_after_the_vote(models: Bench) -> None:
    pairs(models, 1)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("h")
        await until_shown(pilot, "e writes a better one")
        await pilot.press("e")
        won = models.store.comparisons.get(1).left.text
        await until_shown(pilot, "A better answer than the one that lost", "you: question 0", f"that won: {won}")
        app.screen.query_one(Editor).write("the best answer")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "the better answer is example")
        (example,) = models.store.examples.list(parse_query("source:vote-fix"))
        assert example.content.rejected[0].content == models.store.comparisons.get(1).right.text


async def test_the_most_different_answers_come_first_when_it_is_wished(models: Bench) -> None:
    for number, difference in enumerate((0.1, 0.2, 0.9)):
        sides = candidate("pip", "x"), candidate("tuned", "y")
        models.store.comparisons.add(user(f"question {number}"), *sides, draw_seed=1, difference=difference)
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("o")
        await until_shown(pilot, "most different first")
        await pilot.press("t")
        await until(pilot, lambda: len(votes(models)) == 1)
        await pilot.press("enter")
        await until_shown(pilot, "question 2")
        assert "question 1" not in screen_text(app)


async def test_three_models_take_turns_and_none_is_named(models: Bench, engine: FakeEngine) -> None:
    models.store.models.add("third", ModelKind.ADAPTER, "/nowhere/third", base="pip")
    engine.default_answer = "some words"
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await ask(pilot, 6, a="pip", b="tuned", c="third")
        await until_shown(pilot, "the models said the same to all 6 prompts: ties, and nothing to vote on")
        met = [frozenset((c.a.model, c.b.model)) for c in models.store.comparisons.list()]
        assert sorted(met.count(two) for two in set(met)) == [2, 2, 2]
        assert len({c.prompt for c in models.store.comparisons.list()}) == 6


async def test_prompts_are_chosen_where_the_models_differ_when_it_is_wished(models: Bench, engine: FakeEngine) -> None:
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        engine.hold()
        await ask(pilot, 2, which="half where they differ")
        await until(pilot, engine.waiting.is_set)
        app.query_one(ArenaPane).post_message(ArenaPane.Drafted(3, 8))
        await until_shown(pilot, "choosing: 3 of 8 drafts")
        engine.release()
        await until(pilot, lambda: len(models.store.comparisons.list()) == 2)
        assert sorted(made.chosen for made in models.store.comparisons.list()) == ["differing", "random"]


async def test_answers_can_be_watched_and_the_vote_opens_when_both_are_there(models: Bench, engine: FakeEngine) -> None:
    for number in range(2):
        engine.enqueue(f"plain words {number}", model="pip")
        engine.enqueue(f"other words {number}", model="tuned")
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        engine.hold()
        await ask(pilot, 2, live=True)
        await until_shown(pilot, "watched live", "The vote opens when both answers are written")
        await pilot.press("h")
        assert votes(models) == []
        engine.release()
        await until_shown(pilot, "plain words 0", "other words 0", "← h left")
        assert not any(name in screen_text(app) for name in NAMES)
        assert len(engine.requests) == 2, "the next prompt waits for the vote"
        await pilot.press("h")
        await until(pilot, lambda: len(votes(models)) == 1)
        assert models.store.comparisons.ratings(1)[0].live
        await pilot.press("enter")
        await until_shown(pilot, "plain words 1", "other words 1", "← h left")


async def test_a_watched_answer_keeps_its_end_in_sight_and_the_vote_opens_at_its_beginning(
    models: Bench, engine: FakeEngine
) -> None:
    engine.enqueue("\n\n".join(f"plain {n}." for n in range(40)), model="pip")
    engine.enqueue("<think>\nwell well\n</think>\n\nother words", model="tuned")
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        pane = app.query_one(ArenaPane)
        pane.post_message(ArenaPane.Watched(user("question")))
        await until_shown(pilot, "watched live")
        for n in range(40):
            pane.hear_piece("left", f"plain {n}.\n\n")
        await until_shown(pilot, "plain 39.")
        pane.round_changed()
        await ask(pilot, 1, live=True)
        await until_shown(pilot, "plain 0.", "▸ thought, 2 words", "other words", "← h left")
        assert "plain 39." not in screen_text(app) and "well well" not in screen_text(app)
        await pilot.press("z")
        await until_shown(pilot, "well well")


@pytest.mark.parametrize("is_failing", [True, False])
async def test_a_watched_prompt_without_a_pair_leaves_the_last_vote_and_the_next_one_comes(
    models: Bench, engine: FakeEngine, is_failing: bool
) -> None:
    engine.enqueue("plain words 0", "same words", "plain words 2", model="pip")
    engine.enqueue("other words 0", "same words", "other words 2", model="tuned")
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await ask(pilot, 3, live=True)
        await until_shown(pilot, "plain words 0", "other words 0", "← h left")
        await pilot.press("h")
        await until_shown(pilot, "goes on")
        if is_failing:
            engine.die_after(1)
        await pilot.press("enter")
        await until_shown(pilot, "plain words 2", "other words 2", "← h left")
        assert not any(rating.undone for rating in models.store.comparisons.ratings(1))
        assert len(votes(models)) == 1


async def test_a_vote_is_not_taken_back_into_answers_that_are_being_written(models: Bench, engine: FakeEngine) -> None:
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        pairs(models, 1)
        app.query_one(ArenaPane)._load_if_idle()
        await until_shown(pilot, "question 0")
        await pilot.press("h")
        await until_shown(pilot, "goes on")
        engine.hold()
        await ask(pilot, 1, live=True)
        await until(pilot, lambda: app.query_one(ArenaPane).watching is not None)
        await pilot.press("enter")
        await until_shown(pilot, "watched live")
        await pilot.press("u")
        await until_shown(pilot, "wait until both answers are written")
        assert len(votes(models)) == 1 and app.query_one(ArenaPane).mode == "live"
        engine.release()


def test_models_on_different_bases_are_not_watched(models: Bench) -> None:
    models.store.models.add("other", ModelKind.BASE, "/nowhere/other")
    models.store.models.add("remote", ModelKind.ENDPOINT, "http://localhost:9/v1 gpt")
    prompt = Plan(("tuned", "other"), Sampling(), source=TYPED, typed="What is a tide?", live=True)
    with pytest.raises(UsageError, match="different bases"):
        prompt.begin(models)
    assert models.store.rounds.adopt() is None
    for plan in (replace(prompt, models=("tuned", "remote")), replace(prompt, models=("pip", "tuned"))):
        assert plan.begin(models).total == 1
    assert replace(prompt, live=False).begin(models).total == 1


async def test_a_round_that_is_stopped_before_it_is_written_down_stays_stopped(models: Bench) -> None:
    plan = Plan(("pip", "tuned"), Sampling(), source=TYPED, typed="What is a tide?")
    stopped = threading.Event()
    stopped.set()
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        assert app.query_one(ArenaPane)._make(partial(plan.begin, models), stopped, None) == (0, 0)
        with models.store.write() as db:
            db.execute("UPDATE rounds SET owner_pid = 999999999")
        assert models.store.rounds.get(1).done == 0 and models.store.rounds.adopt() is None


async def test_time_away_is_not_time_spent_on_a_vote(models: Bench) -> None:
    pairs(models, 1)
    now = [100.0]
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        pane = app.query_one(ArenaPane)
        pane._clock, pane._shown_at = (lambda: now[0]), now[0]
        now[0] += 7
        await pilot.press("v")
        await until_shown(pilot, "No vote counts yet")
        now[0] += 3600
        await pilot.press("f6")
        await until_shown(pilot, "question 0")
        now[0] += 4
        await pilot.press("h")
        await until(pilot, lambda: len(votes(models)) == 1)
        assert models.store.comparisons.ratings(1)[0].duration_ms == 11_000

"""Prefer by keys: blind sides, one key is one verdict and the next pair, and every verdict can be taken back."""

from __future__ import annotations

import json

import pytest
from textual import events

from pilots import app_at, screen_lines, screen_text, until, until_shown
from samples import IMPORTED, generation, user
from workbench.domain.chats import Role, Sampling
from workbench.domain.examples import Source, SourceKind, Status, preference
from workbench.domain.queries import parse_query
from workbench.flows import curate
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.messages import ExamplesChanged, News
from workbench.tui.paste_guard import BURST_KEYS
from workbench.tui.screens.prefer import PreferPane, ReasonsDialog
from workbench.tui.screens.prefer_sides import Sides
from workbench.tui.word_diff import MAX_WORDS, inline, side_by_side

NAMED = Source(SourceKind.IMPORT, file="rows.jsonl", line=1, models=("secret-model",))


def pairs(bench: Bench, count: int) -> list[int]:
    """Pending pairs from a file that names the models."""
    found = []
    for n in range(count):
        content = preference(user(f"question {n}"), f"first answer {n}", f"second answer {n}")
        put = bench.store.examples.add("d", content, source=NAMED, status=Status.PENDING, rater="setup")
        found.append(put[0].id)
    return found


def two_answers(bench: Bench) -> None:
    """A chat with two answers to one question."""
    chat = bench.store.chats.create(title="t", system="", model="pip", sampling=Sampling())
    asked = bench.store.chats.add_message(chat.id, parent_id=None, role=Role.USER, content="why is it so?")
    for text in ("because", "therefore"):
        bench.store.chats.add_message(
            chat.id, parent_id=asked.id, role=Role.ASSISTANT, content=text, generation=generation("tuned")
        )


def pane(app: WorkbenchApp) -> PreferPane:
    """The pane."""
    return app.query_one(PreferPane)


def sides(app: WorkbenchApp) -> tuple[str, str]:
    """What stands left and right."""
    pair = pane(app)._pair
    assert pair is not None
    return pair.left_text, pair.right_text


def decided(bench: Bench, *ids: int) -> list[Status]:
    """What is stored."""
    return [bench.store.examples.get(example_id).status for example_id in ids]


def is_idle(app: WorkbenchApp) -> bool:
    """True when the next key is looked at."""
    return not pane(app)._busy


async def test_before_the_verdict_nothing_tells_the_sides_apart(bench: Bench) -> None:
    pairs(bench, 1)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0", "first answer 0", "second answer 0", "LEFT", "RIGHT", "blind")
        text = screen_text(app)
        assert "secret-model" not in text and "chosen" not in text and "rejected" not in text


@pytest.mark.parametrize(("key", "side"), [("left", 0), ("h", 0), ("right", 1), ("l", 1)])
async def test_one_key_takes_the_better_side_and_goes_on(bench: Bench, key: str, side: int) -> None:
    one, _ = pairs(bench, 2)
    app = app_at(bench, "prefer")
    news: list[News] = []
    hook = lambda message: news.append(message) if isinstance(message, News) else None  # noqa: E731
    async with app.run_test(size=(80, 24), message_hook=hook) as pilot:
        await until_shown(pilot, "question 0")
        better = sides(app)[side]
        await pilot.press(key)
        await until_shown(pilot, "question 1", "u undoes")
        example = curate.get(bench, one)
        assert (example.status, example.answer_text) == (Status.ACCEPTED, better)
        assert any(isinstance(one_news, ExamplesChanged) and one_news.example_ids == (one,) for one_news in news)


@pytest.mark.parametrize(
    ("key", "status", "tag"),
    [
        ("equals_sign", Status.REJECTED, "verdict:tie"),
        ("t", Status.REJECTED, "verdict:tie"),
        ("0", Status.REJECTED, "verdict:both-bad"),
        ("space", Status.PENDING, "verdict:skip"),
    ],
)
async def test_the_other_verdicts_choose_no_side(bench: Bench, key: str, status: Status, tag: str) -> None:
    one, _ = pairs(bench, 2)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press(key)
        await until_shown(pilot, "question 1")
        example = curate.get(bench, one)
        assert (example.status, example.tags, example.answer_text) == (status, (tag,), "first answer 0")


async def test_answers_of_a_chat_become_a_pair(bench: Bench) -> None:
    two_answers(bench)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "why is it so?", "because", "therefore")
        assert "tuned" not in screen_text(app)
        better = sides(app)[1]
        await pilot.press("l")
        await until_shown(pilot, "No pair waits for a verdict")
        (example,) = bench.store.examples.list(parse_query("kind:preference status:accepted"))
        assert (example.answer_text, example.source.kind) == (better, SourceKind.CHAT_PICK)


async def test_strength_reasons_and_note_go_with_the_verdict_and_then_reset(bench: Bench) -> None:
    one, two = pairs(bench, 2)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "question 0", "clear (●)")
        await pilot.press("plus", "r")
        await until(pilot, lambda: isinstance(app.screen, ReasonsDialog))
        await pilot.press("1", "3", "4", "4", "enter")
        await until_shown(pilot, "much (●)", "reasons: correct, style note")
        await pilot.press("c", *"well put", "enter")
        await until_shown(pilot, "note: well put")
        await pilot.press("l")
        await until_shown(pilot, "question 1", "clear (●)", "reasons: - note: -")
        example = curate.get(bench, one)
        assert example.tags == ("reason:correct", "reason:style", "strength:much")
        assert example.note == "well put"
        await pilot.press("minus", "minus", "h")
        await until(pilot, lambda: curate.get(bench, two).tags == ("strength:slight",))


async def test_every_verdict_can_be_taken_back_and_its_pair_comes_again(bench: Bench) -> None:
    ids = pairs(bench, 3)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        for n, key in enumerate(("l", "t", "0")):
            await until_shown(pilot, f"question {n}")
            await until(pilot, lambda: is_idle(app))
            await pilot.press(key)
        await until_shown(pilot, "No pair waits")
        for n in (2, 1, 0):
            await until(pilot, lambda: is_idle(app))
            await pilot.press("u" if n else "backspace")
            await until_shown(pilot, f"question {n}")
        assert decided(bench, *ids) == [Status.PENDING] * 3
        assert [curate.get(bench, i).tags for i in ids] == [()] * 3
        await until(pilot, lambda: is_idle(app))
        await pilot.press("u")
        await until_shown(pilot, "nothing left to be undone", "question 0")


async def test_progress_and_sides_are_counted(bench: Bench) -> None:
    pairs(bench, 4)
    app = app_at(bench, "prefer")
    now = [100.0]
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "4 pairs wait")
        pane(app)._clock = lambda: now[0]
        for n, key in enumerate("hht"):
            await until_shown(pilot, f"question {n}")
            await until(pilot, lambda: is_idle(app))
            now[0] += 30.0
            await pilot.press(key)
        await until_shown(pilot, "3/4 ████████░░ 75%", "2.0/min", "left won 100% of 2 (few)", "tie 33%")


async def test_words_that_differ_are_underlined_and_one_side_can_fill_the_width(bench: Bench) -> None:
    pairs(bench, 1)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("d")
        await until_shown(pilot, "differing words underlined")
        assert underlined(app) == {"first", "second"}
        await pilot.press("d")
        await until(pilot, lambda: underlined(app) == set())
        left, right = app.query_one("#prefer-left"), app.query_one("#prefer-right")
        await pilot.press("z")
        await until(pilot, lambda: left.region.width == 80 and not right.display)
        await pilot.press("z")
        await until(pilot, lambda: right.region.width == 80 and not left.display)
        await pilot.press("z")
        await until(pilot, lambda: left.region.width == 40 and right.region.width == 40)


def underlined(app: WorkbenchApp) -> set[str]:
    """The texts that are drawn underlined."""
    strips = app.screen._compositor.render_strips()
    return {segment.text.strip() for strip in strips for segment in strip if segment.style and segment.style.underline}


async def test_sides_scroll_together_or_each_by_itself(bench: Bench) -> None:
    long = preference(user("long?"), "a\n" * 80 + "end", "b\n" * 80 + "end")
    bench.store.examples.add("d", long, source=IMPORTED, status=Status.PENDING, rater="setup")
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "long?")
        left, right = app.query_one("#prefer-left"), app.query_one("#prefer-right")
        await pilot.press("j", "pagedown")
        await until(pilot, lambda: left.scroll_y == right.scroll_y == 14)
        await pilot.press("s", "k")
        await until(pilot, lambda: (left.scroll_y, right.scroll_y) == (12, 14))
        await pilot.press("J")
        await until(pilot, lambda: (left.scroll_y, right.scroll_y) == (12, 16))


async def test_keys_that_come_with_a_paste_are_no_verdicts(bench: Bench) -> None:
    ids = pairs(bench, 2)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        pane(app).guard.clock = lambda: 100.0
        app.post_message(events.Paste("hello l t 0"))
        await until_shown(pilot, "pasted text is ignored here")
        await pilot.press("l", "t", "0", "u", "plus")
        await pilot.pause()
        assert decided(bench, *ids) == [Status.PENDING] * 2
        pane(app).guard.clock = lambda: 101.0
        await pilot.press("l")
        await until(pilot, lambda: decided(bench, *ids)[0] is Status.ACCEPTED)


async def test_a_burst_of_keys_is_taken_for_a_paste(bench: Bench) -> None:
    ids = pairs(bench, 30)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        pane(app).guard.clock = lambda: 100.0
        await pilot.press(*"lt0lt0lt0lt0lt0")
        await until_shown(pilot, "that looked like a paste")
        assert sum(status is not Status.PENDING for status in decided(bench, *ids)) < BURST_KEYS


async def test_a_pair_that_was_decided_elsewhere_is_passed_over(bench: Bench) -> None:
    one, two, _ = pairs(bench, 3)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        curate.reject(bench, [two])
        await pilot.press("l")
        await until_shown(pilot, "question 2")
        assert decided(bench, one, two) == [Status.ACCEPTED, Status.REJECTED]


async def test_a_pair_that_was_edited_meanwhile_is_shown_again_before_it_counts(bench: Bench) -> None:
    (one,) = pairs(bench, 1)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(100, 24)) as pilot:
        await until_shown(pilot, "question 0")
        curate.edit(bench, one, text="an edited answer")
        await pilot.press("l")
        await until_shown(pilot, "was changed while you read it")
        await until(pilot, lambda: is_idle(app))
        await pilot.press("R")
        await until_shown(pilot, "an edited answer")
        await pilot.press("l")
        await until(pilot, lambda: decided(bench, one) == [Status.ACCEPTED])


async def test_pairs_made_elsewhere_are_there_when_the_pane_comes_back(bench: Bench) -> None:
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits for a verdict")
        await pilot.press("f3")
        await until(pilot, lambda: app.front is not pane(app))
        pairs(bench, 1)
        await pilot.press("f4")
        await until_shown(pilot, "question 0")


async def test_hostile_answers_are_only_looked_at(bench: Bench) -> None:
    evil = "\x1b]52;c;aGk=\x07 [@click=app.quit]x[/foo] \u202egnp"
    content = preference(user(evil), evil, evil + " too")
    bench.store.examples.add("d", content, source=IMPORTED, status=Status.PENDING, rater="setup")
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "[@click=app.quit]x[/foo]")
        await pilot.press("d")
        await until_shown(pilot, "differing words")
        text = "".join(screen_lines(app))
        assert "[@click=app.quit]x[/foo]" in text
        assert "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45), (240, 60)])
async def test_two_columns_stand_side_by_side_at_every_size(bench: Bench, size: tuple[int, int]) -> None:
    pairs(bench, 2)
    app = app_at(bench, "prefer")
    async with app.run_test(size=size) as pilot:
        await until_shown(
            pilot, "first answer 0", "second answer 0", "strength:", "F1 Help", "[(P)REFER]", "(s)ettings"
        )
        left, right = app.query_one("#prefer-left").region, app.query_one("#prefer-right").region
        assert (left.y, left.right) == (right.y, right.x)
        assert abs(left.width - right.width) <= 1
        assert app.screen.region.contains_region(left.union(right))


def test_the_difference_is_marked_on_both_sides() -> None:
    left, right = side_by_side("the big cat", "the small cat sat")
    assert (left.plain, right.plain) == ("the big cat", "the small cat sat")
    assert [left.plain[s.start : s.end] for s in left.spans if s.style] == ["big "]
    assert [right.plain[s.start : s.end] for s in right.spans if s.style] == ["small ", "sat"]


def test_one_text_shows_what_went_and_what_came() -> None:
    both = inline("the big cat", "the small cat")
    assert both.plain == "the big small cat"
    assert [(both.plain[s.start : s.end], str(s.style).split()[0]) for s in both.spans if s.style] == [
        ("big ", "strike"),
        ("small ", "underline"),
    ]


def test_texts_with_little_in_common_stand_one_after_the_other() -> None:
    both = inline("this is one text", "here stands another text")
    assert both.plain.startswith("this is one text\n\n─")
    assert both.plain.endswith("─\n\nhere stands another text")


def test_other_line_breaks_are_no_difference() -> None:
    left, right = side_by_side("one two\nthree", "one\ntwo three")
    assert (left.plain, right.plain) == ("one two\nthree", "one\ntwo three")
    assert not any(span.style for span in (*left.spans, *right.spans))


def test_texts_that_are_too_long_are_shown_as_they_are() -> None:
    text = "a\n" * (MAX_WORDS + 1)
    left, right = side_by_side(text, text + "b")
    assert not left.spans and right.plain.endswith("b")
    assert "too long" in inline(text, "b").plain


async def test_a_side_counts_as_read_once_its_end_was_in_sight(bench: Bench) -> None:
    long = "\n".join(f"line {n}" for n in range(60))
    content = preference(user("q"), long, f"{long} and more")
    put = bench.store.examples.add("d", content, source=NAMED, status=Status.PENDING, rater="setup")
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "line 0", "▼ goes on")
        view = pane(app).query_one(Sides)
        assert view.unread == ("left", "right")
        await pilot.press("s")
        for _ in range(6):
            await pilot.press("pagedown")
        await until(pilot, lambda: view.unread == ("right",))
        await until_shown(pilot, "✓ read")
        await pilot.press("h")
        await until(pilot, lambda: decided(bench, put[0].id) == [Status.ACCEPTED])
    after = json.loads(bench.store.examples.history(put[0].id)[-1].after)
    assert after["early"] == "right"


async def test_short_answers_are_read_at_a_glance_and_so_are_the_next(bench: Bench) -> None:
    pairs(bench, 2)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        view = pane(app).query_one(Sides)
        await until(pilot, lambda: view.unread == ())
        await pilot.press("h")
        await until_shown(pilot, "question 1")
        await until(pilot, lambda: view.unread == ())


async def test_e_edits_the_winner_and_saving_is_the_verdict(bench: Bench) -> None:
    (one,) = pairs(bench, 1)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        left, right = sides(app)
        await pilot.press("e", *"right", "enter")
        await until_shown(pilot, "^s makes it the winner")
        await pilot.press(*" at last", "ctrl+s")
        await until(pilot, lambda: decided(bench, one) == [Status.ACCEPTED])
        content = bench.store.examples.get(one).content
        assert (content.chosen[0].content, content.rejected[0].content) == (f"{right} at last", left)
        await pilot.press("u")
        await until(pilot, lambda: decided(bench, one) == [Status.PENDING])
        await until_shown(pilot, "question 0", right)


async def test_escape_from_the_winners_editor_judges_nothing(bench: Bench) -> None:
    (one,) = pairs(bench, 1)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("z", "e")
        await until_shown(pilot, "^s makes it the winner")
        await pilot.press(*" so", "escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert decided(bench, one) == [Status.PENDING]
        await pilot.press("e")
        await until_shown(pilot, "your draft from before")


async def test_a_stored_pair_is_flagged_and_stays(bench: Bench) -> None:
    (one,) = pairs(bench, 1)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 0")
        await pilot.press("f", *"odd", "enter")
        await until(pilot, lambda: bench.store.examples.get(one).flags == ("odd",))
        assert decided(bench, one) == [Status.PENDING]


async def test_two_answers_of_a_chat_are_no_example_to_flag(bench: Bench) -> None:
    two_answers(bench)
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "why is it so?")
        await pilot.press("f")
        await until_shown(pilot, "no example yet")


async def test_one_dataset_is_labelled_by_itself(bench: Bench) -> None:
    pairs(bench, 2)
    content = preference(user("elsewhere"), "one", "two")
    bench.store.examples.add("other", content, source=NAMED, status=Status.PENDING, rater="setup")
    app = app_at(bench, "prefer")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "3 pairs wait", "question 0")
        await pilot.press("D", *"other", "enter")
        await until_shown(pilot, "the last pair that waits in other", "elsewhere")
        await pilot.press("h")
        await until_shown(pilot, "no pair waits in other")
        await pilot.press("D", *"all", "enter")
        await until_shown(pilot, "2 pairs wait", "question 0")

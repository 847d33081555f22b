"""Longer looks at a row of Curate: its tokens, its history, and the words that differ between two answers."""

from __future__ import annotations

import threading

import pytest

from pilots import app_at, screen_text, until, until_shown
from samples import IMPORTED, demo, pair
from workbench.domain.decisions import Action, Decision
from workbench.domain.examples import Content, Status
from workbench.errors import WorkbenchError
from workbench.flows import curate, tokens
from workbench.flows.bench import Bench
from workbench.flows.tokens import Token, TokenSequence, TokenView
from workbench.tui.screens.curate_views import SHOWN_TOKENS, STOP_MARK, history_content, tokens_content
from workbench.tui.widgets.reading import ReadingDialog


def add(bench: Bench, content: Content) -> int:
    """One pending row."""
    put = bench.store.examples.add
    return put("d", content, source=IMPORTED, status=Status.PENDING, rater="importer")[0].id


def token(text: str, *, in_loss: bool = False, cut: bool = False, stop: bool = False) -> Token:
    """A token whose number does not matter."""
    return Token(0, text, in_loss, cut, stop)


def view(*row: Token, window: int = 100) -> TokenView:
    """A row of one sequence."""
    truncated = any(one.cut for one in row)
    sequence = TokenSequence("row", row, 1, truncated, any(one.stop and one.in_loss for one in row))
    return TokenView(1, "pip", window, (sequence,))


def styled(content: object, text: str) -> list[str]:
    """The styles of the parts that are exactly ``text``."""
    from textual.content import Content as Shown

    assert isinstance(content, Shown)
    return [str(span.style) for span in content.spans if content.plain[span.start : span.end] == text]


ROW = (
    token("ask"),
    token("yes", in_loss=True),
    token("<end>", in_loss=True, stop=True),
    token("\n"),
    token("lost", in_loss=True, cut=True),
)


def test_what_is_learnt_cut_or_a_stop_is_marked_by_more_than_colour() -> None:
    shown = tokens_content(view(*ROW, window=4))
    assert f"ask[yes<end>{STOP_MARK}]\n[lost]" in shown.plain
    assert "row: 5 tokens, 3 learnt; the stop token is learnt" in shown.plain
    assert "cut at 4 tokens: 1 are lost" in shown.plain
    assert styled(shown, "lost") == ["strike $text-error"]
    assert styled(shown, f"<end>{STOP_MARK}") == ["reverse $text-success"]


def test_a_stop_token_that_is_not_learnt_is_said() -> None:
    shown = tokens_content(view(token("a", in_loss=True), token("<end>", stop=True)))
    assert "the stop token is NOT learnt" in shown.plain


def test_of_a_very_long_row_the_beginning_is_shown() -> None:
    shown = tokens_content(view(*[token("x")] * (SHOWN_TOKENS + 7), window=10**6))
    assert "… 7 more tokens; `workbench tokens` prints all" in shown.plain
    assert "x" * SHOWN_TOKENS in shown.plain


def test_the_history_says_when_who_what_and_from_what_to_what() -> None:
    before, after = '{"status": "pending", "tags": ["a"]}', '{"status": "accepted", "tags": ["b"], "verdict": "left"}'
    decision = Decision(1, 1, 7, Action.ACCEPT, before, after, "ana", "2026-01-02T03:04:05Z", undone=True)
    text = history_content([decision]).plain
    assert "2026-01-02 03:04:05  ana  accept  (undone)" in text
    assert "status pending → accepted" in text
    assert "tags +b -a" in text
    assert "verdict left" in text


async def test_v_shows_the_tokens_when_the_child_has_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    row = add(bench, demo())
    may_answer = threading.Event()
    asked: list[int] = []

    def answer(_bench: object, example_id: int, **_: object) -> TokenView:
        asked.append(example_id)
        may_answer.wait(20)
        return view(*ROW)

    monkeypatch.setattr(tokens, "view", answer)
    app = app_at(bench, "curate")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 1", "answer 1")
        await pilot.press("v")
        await until_shown(pilot, f"Tokens of {row}", "asking the tokenizer")
        may_answer.set()
        await until_shown(pilot, f"ask[yes<end>{STOP_MARK}]", "stop token is learnt")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ReadingDialog))
        assert asked == [row]


async def test_a_tokenizer_that_cannot_is_said_in_plain_words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    add(bench, demo())

    def fail(_bench: object, _example_id: int, **_: object) -> TokenView:
        raise WorkbenchError("the base has no chat template", hint="choose another base")

    monkeypatch.setattr(tokens, "view", fail)
    app = app_at(bench, "curate")
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "question 1", "answer 1")
        await pilot.press("v")
        await until_shown(pilot, "cannot be shown: the base has no chat template (choose another base)")


async def test_a_dialog_closed_before_its_tokens_came_stays_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench, demo())
    answered = threading.Event()

    def answer(_bench: object, _example_id: int, *, cancelled: threading.Event) -> TokenView:
        assert cancelled.wait(20)  # closing the dialog ends the child
        answered.set()
        return view(*ROW)

    monkeypatch.setattr(tokens, "view", answer)
    app = app_at(bench, "curate")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 1", "answer 1")
        await pilot.press("v")
        await until_shown(pilot, "asking the tokenizer")
        await pilot.press("escape")
        await until(pilot, answered.is_set)
        await until(pilot, lambda: not app.workers or all(worker.is_finished for worker in app.workers))
        assert "Tokens of" not in screen_text(app)
        assert len(app.screen_stack) == 1


async def test_d_and_h_show_what_edits_changed_word_by_word(bench: Bench) -> None:
    row = add(bench, demo())
    curate.edit(bench, row, text="answer one, at last")
    curate.edit(bench, row, part="system", text="Be brief.")
    app = app_at(bench, "curate")
    async with app.run_test(size=(100, 40)) as pilot:
        await until_shown(pilot, "question 1", "answer one, at last")
        await pilot.press("d")
        await until_shown(pilot, "original to edited", "answer 1one, at last")
        await pilot.press("escape", "h")
        await until_shown(pilot, "edit", "chosen turn 1", "answer 1one, at last", "Be brief.")


async def test_h_shows_everything_that_was_decided(bench: Bench) -> None:
    row = add(bench, demo())
    curate.tag(bench, [row], add=["good"])
    curate.reject(bench, [row])
    curate.undo(bench)
    app = app_at(bench, "curate")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "question 1", "answer 1")
        await pilot.press("h")
        await until_shown(pilot, f"History of {row}", "rater reject (undone)", "tags +good", "importer create")


async def test_d_shows_which_words_differ_and_says_when_there_is_nothing_to_compare(bench: Bench) -> None:
    add(bench, pair())
    add(bench, demo())
    app = app_at(bench, "curate")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "good answer 1")
        await pilot.press("d")
        await until_shown(pilot, "rejected to chosen", "bad good answer 1", "Struck out: only in the first")
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, ReadingDialog))
        await pilot.press("j")
        await until_shown(pilot, "ANSWER")
        await pilot.press("d")
        await until_shown(pilot, "nothing to compare")

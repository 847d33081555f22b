from __future__ import annotations

import json
from dataclasses import replace

import pytest

from samples import IMPORTED, demo, generation, pair
from workbench.domain.chats import Role, Sampling, Turn
from workbench.domain.comparisons import Strength, Verdict
from workbench.domain.examples import Content, SourceKind, Split, Status
from workbench.domain.preferences import BlindPair, Judgement, Tally, Waiting
from workbench.domain.queries import parse_query
from workbench.errors import DataError, RefusedError, UsageError
from workbench.flows import chat, check, curate, prefer
from workbench.flows.bench import Bench


def add(bench: Bench, *contents: Content) -> list[int]:
    """Pending rows that somebody else imported."""
    put = bench.store.examples.add
    return [put("d", c, source=IMPORTED, status=Status.PENDING, rater="setup")[0].id for c in contents]


def answered(bench: Bench, *answers: str) -> list[int]:
    """The ids of these answers to one question."""
    made = bench.store.chats.create(title="t", system="Be brief.", model="pip", sampling=Sampling())
    question = bench.store.chats.add_message(made.id, parent_id=None, role=Role.USER, content="why?")
    return [
        bench.store.chats.add_message(
            made.id, parent_id=question.id, role=Role.ASSISTANT, content=text, generation=generation()
        ).id
        for text in answers
    ]


def shown(bench: Bench, *, left: str, waiting: Waiting | None = None) -> BlindPair:
    """A waiting pair with ``left`` on the left: the draw is repeated until it stands there."""
    waiting = waiting or prefer.queue(bench).pairs[0]
    pairs = (prefer.show(bench, waiting, draw_seed=seed) for seed in range(99))
    return next(found for found in pairs if found is not None and found.left_text == left)


def test_pending_pairs_and_uncovered_answers_wait(bench: Bench) -> None:
    one, _, two = add(bench, pair(1), demo(1), pair(2))
    a, b, c = answered(bench, "first", "second", "third")
    curate.accept(bench, [two])
    chat.prefer(bench, a, c)
    found = prefer.queue(bench)
    assert found.pairs == (Waiting(one), Waiting(answers=(a, b)), Waiting(answers=(b, c)))
    assert found.total == 3


def test_the_same_text_twice_and_an_empty_one_are_no_pair(bench: Bench) -> None:
    answered(bench, "same", "same ", " ", "")
    a, b, again = answered(bench, "x", "y", "x")
    assert prefer.queue(bench).pairs == (Waiting(answers=(a, b)),)
    chat.prefer(bench, again, b)
    assert prefer.queue(bench).pairs == ()


def test_the_test_split_does_not_wait(bench: Bench) -> None:
    (one,) = add(bench, pair())
    curate.split(bench, [one], Split.TEST)
    assert prefer.queue(bench).pairs == ()


def test_nothing_that_is_shown_tells_the_sides_apart(bench: Bench) -> None:
    add(bench, pair(1))
    waiting = prefer.queue(bench).pairs[0]
    lefts = {prefer.show(bench, waiting, draw_seed=seed).left_text for seed in range(20)}  # type: ignore[union-attr]
    assert lefts == {"good answer 1", "bad answer 1"}
    assert prefer.show(bench, waiting, draw_seed=5) == prefer.show(bench, waiting, draw_seed=5)
    assert set(BlindPair.__slots__) == {"waiting", "prompt", "left_text", "right_text", "draw_seed"}


@pytest.mark.parametrize("left", ["good answer 1", "bad answer 1"])
@pytest.mark.parametrize("verdict", [Verdict.LEFT, Verdict.RIGHT])
def test_the_better_side_is_chosen_wherever_it_stood(bench: Bench, left: str, verdict: Verdict) -> None:
    (one,) = add(bench, pair(1))
    blind = shown(bench, left=left)
    prefer.judge(bench, blind, Judgement(verdict, Strength.MUCH, ("correct",), "clearly"))
    example = curate.get(bench, one)
    assert example.status is Status.ACCEPTED
    assert example.answer_text == (blind.left_text if verdict is Verdict.LEFT else blind.right_text)
    assert {example.content.chosen[0].content, example.content.rejected[0].content} == {"good answer 1", "bad answer 1"}
    assert (example.tags, example.note) == (("reason:correct", "strength:much"), "clearly")
    assert prefer.show(bench, blind.waiting) is None


@pytest.mark.parametrize("verdict", [Verdict.LEFT, Verdict.RIGHT])
def test_a_verdict_on_two_answers_makes_a_pair_that_leads_back(bench: Bench, verdict: Verdict) -> None:
    a, b = answered(bench, "first", "second")
    judged = prefer.judge(bench, shown(bench, left="second"), Judgement(verdict))
    example = curate.get(bench, judged.example_id)
    best = (b, a) if verdict is Verdict.LEFT else (a, b)
    assert (example.source.message_id, example.source.other_message_id) == best
    assert (example.source.kind, example.source.models) == (SourceKind.CHAT_PICK, ("pip",))
    assert (example.dataset, example.status, example.tags) == ("chats", Status.ACCEPTED, ("strength:clear",))
    assert example.answer_text == ("second" if verdict is Verdict.LEFT else "first")
    assert [turn.content for turn in example.content.prompt] == ["Be brief.", "why?"]
    assert prefer.queue(bench).pairs == ()


@pytest.mark.parametrize("verdict", [Verdict.TIE, Verdict.BOTH_BAD])
def test_without_a_winner_the_pair_is_rejected_with_the_reason_why(bench: Bench, verdict: Verdict) -> None:
    (one,) = add(bench, pair(1))
    answered(bench, "first", "second")
    for left in ("bad answer 1", "second"):
        judged = prefer.judge(bench, shown(bench, left=left), Judgement(verdict))
        example = curate.get(bench, judged.example_id)
        assert (example.status, example.tags) == (Status.REJECTED, (f"verdict:{verdict.value}",))
    assert curate.get(bench, one).answer_text == "good answer 1"
    assert prefer.queue(bench).total == 0


def test_what_was_skipped_waits_again_behind_the_rest(bench: Bench) -> None:
    one, two = add(bench, pair(1), pair(2))
    prefer.judge(bench, shown(bench, left="good answer 1"), Judgement(Verdict.SKIP))
    assert prefer.queue(bench).pairs == (Waiting(two), Waiting(one))
    assert curate.history(bench, one)[-1].action.value == "skip"
    prefer.judge(bench, shown(bench, left="good answer 1", waiting=Waiting(one)), Judgement(Verdict.LEFT))
    assert curate.get(bench, one).tags == ("strength:clear",)


def test_every_verdict_is_one_undo_and_its_pair_waits_again(bench: Bench) -> None:
    (one,) = add(bench, pair(1))
    a, b = answered(bench, "first", "second")
    prefer.judge(bench, shown(bench, left="bad answer 1"), Judgement(Verdict.LEFT, reasons=("style",), note="n"))
    prefer.judge(bench, shown(bench, left="first"), Judgement(Verdict.TIE))
    back = prefer.undo(bench)
    assert back is not None and back.pair == Waiting(answers=(a, b))
    back = prefer.undo(bench)
    assert back is not None and back.pair == Waiting(one)
    assert prefer.queue(bench).pairs == (Waiting(one), Waiting(answers=(a, b)))
    example = curate.get(bench, one)
    assert (example.status, example.tags, example.note) == (Status.PENDING, (), "")
    assert example.answer_text == "good answer 1"
    assert prefer.undo(bench) is None
    for _ in range(2):
        assert curate.redo(bench) is not None
    assert curate.get(bench, one).answer_text == "bad answer 1"
    assert bench.store.examples.count(parse_query("tag:verdict:tie")) == 1


def test_how_it_was_judged_is_kept_with_the_decision(bench: Bench) -> None:
    (one,) = add(bench, pair(1))
    blind = shown(bench, left="bad answer 1")
    prefer.judge(bench, blind, Judgement(Verdict.RIGHT, Strength.SLIGHT, duration_ms=1234))
    after = json.loads(curate.history(bench, one)[-1].after)
    kept = {name: after[name] for name in ("verdict", "draw_seed", "duration_ms", "strength")}
    assert kept == {"verdict": "right", "draw_seed": blind.draw_seed, "duration_ms": 1234, "strength": "slight"}


@pytest.mark.parametrize(
    ("given", "marks"),
    [
        (Judgement(Verdict.TIE, duration_ms=1999, unread=("right",)), {"fast": 1, "early": "right"}),
        (Judgement(Verdict.TIE, duration_ms=2000), {}),
    ],
)
def test_a_verdict_that_was_fast_or_early_counts_and_is_marked(
    bench: Bench, given: Judgement, marks: dict[str, object]
) -> None:
    (one,) = add(bench, pair(1))
    prefer.judge(bench, shown(bench, left="bad answer 1"), given)
    after = json.loads(curate.history(bench, one)[-1].after)
    assert {name: after[name] for name in ("fast", "early") if name in after} == marks
    assert prefer.verdicts(bench) == Tally(tie=1)


def test_the_winner_is_edited_with_the_verdict_and_one_undo_takes_both_back(bench: Bench) -> None:
    (one,) = add(bench, pair(1))
    blind = shown(bench, left="bad answer 1")
    prefer.check_edited(blind, Verdict.LEFT, "the better answer 1")
    judged = prefer.judge(bench, blind, Judgement(Verdict.LEFT), better="the better answer 1")
    assert "edited" in judged.said
    content = curate.get(bench, one).content
    assert (content.chosen[0].content, content.rejected[0].content) == ("the better answer 1", "good answer 1")
    back = prefer.undo(bench)
    assert back is not None and back.pair == Waiting(one)
    assert curate.get(bench, one).content == pair(1)


def test_what_checks_find_follows_a_verdict_and_its_undo(bench: Bench) -> None:
    (one,) = add(bench, replace(pair(1), rejected=(Turn("assistant", "bad answer<|im_end|>"),)))
    blind = shown(bench, left="bad answer<|im_end|>")
    prefer.judge(bench, blind, Judgement(Verdict.LEFT))
    assert [found.place for found in check.of(bench, one)] == ["chosen turn 1, characters 11-20"]
    prefer.undo(bench)
    assert [found.place for found in check.of(bench, one)] == ["rejected turn 1, characters 11-20"]


def test_a_winner_edited_into_the_loser_is_refused_before_it_is_stored(bench: Bench) -> None:
    add(bench, pair(1))
    blind = shown(bench, left="bad answer 1")
    for text in ("good answer 1", " "):
        with pytest.raises(DataError):
            prefer.check_edited(blind, Verdict.LEFT, text)


def test_answers_of_several_turns_are_not_edited_as_one_text(bench: Bench) -> None:
    turns = (Turn("assistant", "a"), Turn("tool", "42"), Turn("assistant", "b"))
    (one,) = add(bench, replace(pair(1), chosen=turns))
    blind = prefer.show(bench, Waiting(one))
    assert blind is not None and not prefer.can_be_edited(bench, blind)


def test_the_pairs_of_one_dataset_wait_alone(bench: Bench) -> None:
    (one,) = add(bench, pair(1))
    answered(bench, "because", "therefore")
    other = bench.store.examples.add("e", pair(2), source=IMPORTED, status=Status.PENDING, rater="setup")[0].id
    assert prefer.queue(bench).total == 3
    assert prefer.queue(bench, dataset="e").pairs == (Waiting(other),)
    assert prefer.queue(bench, dataset="d").pairs == (Waiting(one),)


def test_the_tally_counts_what_stands(bench: Bench) -> None:
    add(bench, pair(1), pair(2), pair(3), pair(4))
    for verdict in (Verdict.LEFT, Verdict.LEFT, Verdict.TIE, Verdict.SKIP):
        waiting = prefer.queue(bench).pairs[0]
        blind = prefer.show(bench, waiting)
        assert blind is not None
        prefer.judge(bench, blind, Judgement(verdict))
    assert prefer.verdicts(bench) == Tally(left=2, tie=1)
    assert Tally(left=1).plus(Verdict.LEFT).plus(Verdict.SKIP).plus(Verdict.BOTH_BAD) == Tally(left=2, both_bad=1)
    prefer.undo(bench)
    prefer.undo(bench)
    assert prefer.verdicts(bench) == Tally(left=2)
    assert bench.store.examples.verdicts("somebody else") == {}


def test_a_pair_that_was_changed_meanwhile_is_not_judged(bench: Bench) -> None:
    (one,) = add(bench, pair(1))
    blind = shown(bench, left="bad answer 1")
    curate.edit(bench, one, text="another answer")
    with pytest.raises(RefusedError, match="changed while you read"):
        prefer.judge(bench, blind, Judgement(Verdict.LEFT))
    assert curate.get(bench, one).status is Status.PENDING


def test_pairs_that_wait_no_longer_are_passed_over(bench: Bench) -> None:
    one, two, three = add(bench, pair(1), pair(2), pair(3))
    found = prefer.queue(bench)
    curate.reject(bench, [one, two])
    at, blind = prefer.next_shown(bench, found, 0)
    assert at == 2 and blind is not None and blind.waiting == Waiting(three)
    curate.reject(bench, [three])
    assert prefer.next_shown(bench, found, 0) == (3, None)


def test_an_unknown_reason_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a reason"):
        Judgement(Verdict.LEFT, reasons=("mood",))


def test_strength_moves_between_its_ends() -> None:
    assert Strength.SLIGHT.moved(-1) is Strength.SLIGHT
    assert Strength.SLIGHT.moved(2) is Strength.MUCH
    assert Strength.MUCH.moved(1) is Strength.MUCH


def test_answers_that_became_a_pair_meanwhile_are_passed_over(bench: Bench) -> None:
    a, b = answered(bench, "first", "second")
    found = prefer.queue(bench)
    chat.prefer(bench, b, a)
    assert prefer.next_shown(bench, found, 0) == (1, None)
    chat.undo(bench)
    assert prefer.next_shown(bench, found, 0)[1] is not None

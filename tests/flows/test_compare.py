"""Blind comparison on a real store with a fake engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from fakes import FakeEngine
from voting import pair
from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.comparisons import BlindView, Comparison, Verdict, draw_left_is_a
from workbench.domain.examples import Source, SourceKind, Split, Status, demonstration
from workbench.domain.models import ModelKind
from workbench.domain.serving import AnswerEnd, AnswerEvent, ChatRequest
from workbench.errors import DataError, EngineError, NotFoundError, RefusedError
from workbench.flows import compare
from workbench.flows.bench import Bench

SAMPLING = Sampling(temperature=0.7, max_tokens=30)


def prompts(*texts: str) -> list[tuple[Turn, ...]]:
    return [(Turn("user", text),) for text in texts]


@pytest.fixture(autouse=True)
def two_models(bench: Bench) -> None:
    bench.store.models.add("base", ModelKind.BASE, "/models/base")
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/models/tuned", base="base")
    bench.store.models.add("other", ModelKind.BASE, "/models/other")


def prepare(bench: Bench, *texts: str, a: str = "tuned", b: str = "base", seed: int = 5) -> list[Comparison]:
    return list(compare.prepare(bench, a, b, prompts(*texts), sampling=SAMPLING, seed=seed))


def one_pair(bench: Bench, engine: FakeEngine) -> Comparison:
    engine.enqueue("short", model="tuned")
    engine.enqueue("a long answer", model="base")
    return prepare(bench, "Why?")[0]


def test_both_sides_are_asked_the_same_with_the_same_seed(bench: Bench, engine: FakeEngine) -> None:
    prepare(bench, "One?", "Two?", seed=5)
    asked = {(r.model.name, r.turns[0].content, r.sampling.seed) for r in engine.requests}
    assert asked == {("tuned", "One?", 5), ("base", "One?", 5), ("tuned", "Two?", 6), ("base", "Two?", 6)}


def test_both_sides_are_asked_at_the_same_time(bench: Bench, engine: FakeEngine) -> None:
    together = threading.Barrier(2, timeout=10)
    plain = engine.stream

    def stream(request: ChatRequest, *, cancelled: threading.Event, **options: object) -> Iterator[AnswerEvent]:
        together.wait()  # raises unless the other side is asked meanwhile
        return plain(request, cancelled=cancelled)

    engine.stream = stream  # type: ignore[method-assign, assignment]
    assert len(prepare(bench, "One?", "Two?")) == 2


def test_models_on_different_bases_are_asked_one_after_the_other(bench: Bench, engine: FakeEngine) -> None:
    made = prepare(bench, "One?", "Two?", a="tuned", b="other")
    assert [r.model.name for r in engine.requests] == ["tuned", "tuned", "other", "other"]
    assert [c.prompt[0].content for c in made] == ["One?", "Two?"]


def test_a_stored_pair_has_both_answers_and_a_recorded_draw(bench: Bench, engine: FakeEngine) -> None:
    stored = bench.store.comparisons.get(one_pair(bench, engine).id)
    assert (stored.a.model, stored.a.text) == ("tuned", "short")
    assert (stored.b.model, stored.b.text) == ("base", "a long answer")
    assert stored.left_is_a == draw_left_is_a(stored.draw_seed)
    assert stored.a.generation.sampling.seed == stored.b.generation.sampling.seed


def test_the_sides_are_shuffled(bench: Bench) -> None:
    made = prepare(bench, *(f"Question {n}?" for n in range(40)))
    # All on one side has a chance of 2 in 2**40.
    assert {c.left_is_a for c in made} == {True, False}


def test_a_model_is_not_compared_with_itself(bench: Bench) -> None:
    with pytest.raises(RefusedError):
        prepare(bench, "Why?", a="base", b="base")


def test_a_pair_with_a_failed_side_is_not_stored_and_the_error_comes_after_the_others(
    bench: Bench, engine: FakeEngine
) -> None:
    engine.die_after(1)
    made = []
    with pytest.raises(EngineError):
        for comparison in compare.prepare(bench, "tuned", "base", prompts("A", "B", "C"), sampling=SAMPLING, seed=1):
            made.append(comparison.prompt[0].content)
    assert made == ["B", "C"]
    assert len(bench.store.comparisons.list()) == 2


def test_three_failures_in_a_row_end_it(bench: Bench, engine: FakeEngine) -> None:
    asked = []

    def stream(request: ChatRequest, **options: object) -> Iterator[AnswerEvent]:
        asked.append(request.turns[0].content)
        raise EngineError("no memory")
        yield

    engine.stream = stream  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineError, match="no memory"):
        prepare(bench, *"ABCDEF")
    assert set(asked) == {"A", "B", "C"}


def test_nothing_is_stored_once_it_is_cancelled(bench: Bench) -> None:
    cancelled = threading.Event()
    made = []
    for comparison in compare.prepare(
        bench, "tuned", "base", prompts("A", "B", "C"), sampling=SAMPLING, seed=1, cancelled=cancelled
    ):
        made.append(comparison)
        cancelled.set()
    assert len(made) == len(bench.store.comparisons.list()) == 1


def test_progress_counts_prompts(bench: Bench) -> None:
    heard = []
    wanted = prompts("A", "B")
    list(
        compare.prepare(
            bench, "tuned", "base", wanted, sampling=SAMPLING, seed=1, on_progress=lambda *at: heard.append(at)
        )
    )
    assert heard == [(1, 2), (2, 2)]


# Voting


def test_the_blind_view_has_no_field_that_could_tell(bench: Bench, engine: FakeEngine) -> None:
    one_pair(bench, engine)
    view = compare.next_blind(bench)
    assert view is not None
    assert {f.name for f in fields(BlindView)} == {"comparison_id", "prompt", "left_text", "right_text"}
    assert {view.left_text, view.right_text} == {"short", "a long answer"}
    assert not any(name in repr(view) for name in ("tuned", "base"))


@pytest.mark.parametrize("vote", [Verdict.LEFT, Verdict.RIGHT])
def test_a_vote_counts_for_the_model_on_that_side(bench: Bench, engine: FakeEngine, vote: Verdict) -> None:
    made = one_pair(bench, engine)
    reveal = compare.rate(bench, made.id, vote, comment="clear", duration_ms=1200)
    assert (reveal.left_model, reveal.right_model) == (("tuned", "base") if made.left_is_a else ("base", "tuned"))
    winner = reveal.left_model if vote is Verdict.LEFT else reveal.right_model
    assert reveal.said.startswith(f"{winner} won")
    score = compare.results(bench, "tuned", "base")[0].score
    assert (score.a_wins, score.b_wins) == ((1, 0) if winner == "tuned" else (0, 1))
    assert compare.waiting(bench) == 0


def test_identical_answers_are_ties_that_nobody_is_asked_about(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("the same", model="tuned")
    engine.enqueue("the same", model="base")
    made = prepare(bench, "Why?")[0]
    assert compare.next_blind(bench) is None
    with pytest.raises(RefusedError):
        compare.rate(bench, made.id, Verdict.LEFT)
    assert compare.results(bench)[0].score.ties == 1


def test_an_undone_vote_is_shown_again_and_not_counted(bench: Bench, engine: FakeEngine) -> None:
    made = one_pair(bench, engine)
    compare.rate(bench, made.id, Verdict.LEFT)
    back = compare.undo_vote(bench)
    assert back is not None
    assert back.view.comparison_id == made.id
    assert compare.results(bench) == []
    assert compare.waiting(bench) == 1
    assert compare.undo_vote(bench) is None
    again = compare.rate(bench, made.id, Verdict.LEFT)
    assert again.said.endswith("it does not count, because the names were known")
    assert compare.results(bench) == []


@pytest.mark.parametrize("vote", [Verdict.LEFT, Verdict.RIGHT])
def test_a_decided_vote_becomes_a_pair_that_leads_back(bench: Bench, engine: FakeEngine, vote: Verdict) -> None:
    made = one_pair(bench, engine)
    best, worst = (made.left, made.right) if vote is Verdict.LEFT else (made.right, made.left)
    compare.rate(bench, made.id, vote)
    example = compare.promote(bench, made.id).examples[0]
    assert example.content.chosen[0].content == best.text
    assert example.content.rejected[0].content == worst.text
    assert (example.dataset, example.status) == ("votes", Status.ACCEPTED)
    assert example.source == Source(SourceKind.VOTE, comparison_id=made.id, models=(best.model, worst.model))


def test_a_pair_made_of_a_vote_that_is_taken_back_stays_and_is_told(bench: Bench, engine: FakeEngine) -> None:
    made = one_pair(bench, engine)
    compare.rate(bench, made.id, Verdict.LEFT)
    kept = compare.promote(bench, made.id).examples[0]
    back = compare.undo_vote(bench)
    assert back is not None and back.kept == bench.store.examples.get(kept.id)
    compare.rate(bench, made.id, Verdict.RIGHT)
    back = compare.undo_vote(bench)
    assert back is not None and back.kept is None, "this one made none"


def test_a_second_vote_on_the_same_answers_is_told_not_to_count(bench: Bench) -> None:
    first, again, other = (pair(bench, number, a="tuned", b="base") for number in (1, 1, 2))
    assert "counted" not in compare.rate(bench, first.id, Verdict.LEFT).said
    assert "counted already" in compare.rate(bench, again.id, Verdict.RIGHT).said
    assert "counted" not in compare.rate(bench, other.id, Verdict.RIGHT).said
    repeat = compare.repeat(bench, gap=0)
    assert repeat is not None and not compare.names_known(bench, repeat.id), "it would not be hidden"
    assert compare.rate(bench, repeat.id, Verdict.RIGHT).rating.blind
    assert compare.results(bench, "tuned")[0].score.decided == 2


@pytest.mark.parametrize("first", [Verdict.LEFT, Verdict.SKIP])
def test_a_vote_taken_back_or_skipped_does_not_count_on_the_same_answers_either(bench: Bench, first: Verdict) -> None:
    known, again = (pair(bench, 1, a="tuned", b="base") for _ in range(2))
    compare.rate(bench, known.id, first)
    if first is not Verdict.SKIP:
        compare.undo_vote(bench)
    assert compare.names_known(bench, again.id)
    assert compare.rate(bench, again.id, Verdict.LEFT).said.endswith("because the names were known")
    assert compare.results(bench, "tuned") == []


@pytest.mark.parametrize("vote", [Verdict.TIE, Verdict.BOTH_BAD, Verdict.SKIP])
def test_an_undecided_vote_is_not_promoted_to_a_pair(bench: Bench, engine: FakeEngine, vote: Verdict) -> None:
    made = one_pair(bench, engine)
    compare.rate(bench, made.id, vote)
    with pytest.raises(RefusedError):
        compare.promote(bench, made.id)


def test_without_a_vote_there_is_nothing_to_promote(bench: Bench, engine: FakeEngine) -> None:
    with pytest.raises(RefusedError, match="no vote"):
        compare.promote(bench, one_pair(bench, engine).id)


# Prompts


def test_the_shipped_prompts_are_used_when_none_are_named(bench: Bench) -> None:
    found = compare.prompts_from(bench, None)
    assert len(found) > 10
    assert all(turns[-1].role == "user" for turns in found)


def test_a_jsonl_file_may_have_prompts_or_whole_conversations(bench: Bench, tmp_path: Path) -> None:
    said, answered = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    rows = [{"prompt": "One?"}, {"prompt": [said]}, {"messages": [said, answered]}, {"prompt": "One?"}]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert compare.prompts_from(bench, path) == [(Turn("user", "One?"),), (Turn("user", "Hi"),)]


def test_a_text_file_has_one_question_per_line(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("One?\n\n Two? \n")
    assert compare.prompts_from(bench, path) == prompts("One?", "Two?")


@pytest.mark.parametrize("line", ["not json", "[1]", '{"question": "?"}', '{"prompt": [{"role": "user"}]}'])
def test_a_broken_line_is_named(bench: Bench, tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "One?"}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        compare.prompts_from(bench, path)
    assert caught.value.where == f"{path}:2"


def test_a_dataset_gives_its_held_out_prompts(bench: Bench) -> None:
    source = Source(SourceKind.IMPORT)
    for number, split in enumerate((Split.TRAIN, Split.VALIDATION, Split.TEST)):
        content = demonstration((Turn("user", f"Question {number}"),), "Answer")
        bench.store.examples.add("set", content, source=source, status=Status.ACCEPTED, rater="r", split=split)
    assert compare.prompts_from(bench, "set") == prompts("Question 1", "Question 2")


def test_an_unknown_dataset_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        compare.prompts_from(bench, "nowhere")


class InterruptedEngine(FakeEngine):
    """Ctrl+C while one side answers; the other goes on until it is told to end."""

    told: bool = False

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: object = None
    ) -> Iterator[AnswerEvent]:
        if request.model.name == "tuned":
            raise KeyboardInterrupt
        self.told = cancelled.wait(20)
        yield AnswerEnd(StopReason.CANCELLED, 0, 0, 0, 0)


def test_ctrl_c_ends_the_answers_that_are_under_way(bench: Bench) -> None:
    bench.engine = engine = InterruptedEngine()
    with pytest.raises(KeyboardInterrupt):
        prepare(bench, "one")
    assert engine.told

"""Votes as data: pairs, labels, an evaluation set, battles; the to-fix list; hidden repeats; order by difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from samples import IMPORTED, candidate, demo, user
from voting import pair, vote
from workbench.domain.chats import Role, Turn
from workbench.domain.comparisons import RaterKind, Strength, Verdict, VoteDetails
from workbench.domain.examples import Kind, SourceKind, Split, Status
from workbench.domain.queries import parse_query
from workbench.errors import DataError, NotFoundError, RefusedError, WorkbenchError
from workbench.flows import battles, chat, compare, curate, fixes, prompts, unseen, votes
from workbench.flows.bench import Bench
from workbench.flows.gate import gate
from workbench.formats import find
from workbench.paths import shipped

MODEL = shipped("sample_data") / "model"
ALIKE = ("headings", "lists", "bold text")


def rows(bench: Bench, dataset: str) -> list[tuple[object, ...]]:
    found = bench.store.examples.list(parse_query(""), dataset=dataset)
    return [(e.content.kind, e.answer_text, e.content.label, e.source.comparison_id) for e in found]


@pytest.fixture
def voted(bench: Bench) -> Bench:
    """Four votes: one each way, two bad answers, a tie."""
    for number, winner in enumerate(("pip", "tuned", "both-bad", "tie"), start=1):
        vote(bench, pair(bench, number, tags=("math",)), winner)
    return bench


def test_pairs_put_the_winner_over_the_loser(voted: Bench) -> None:
    made = votes.collect(voted, votes.Shape.PAIRS)
    assert (made.made, made.known, made.none) == (2, 0, 2)
    first, second = voted.store.examples.list(parse_query(""), dataset="votes")
    assert (first.answer_text, first.content.rejected[0].content) == ("plain answer 1", "fancy answer 1")
    assert second.source.models == ("tuned", "pip") and second.source.kind is SourceKind.VOTE
    assert second.tags == ("math",)
    assert votes.collect(voted, votes.Shape.PAIRS).known == 2


def test_labels_judge_each_answer_by_itself(voted: Bench) -> None:
    votes.collect(voted, votes.Shape.LABELS)
    assert rows(voted, "vote-labels") == [
        (Kind.JUDGEMENT, "plain answer 1", True, 1), (Kind.JUDGEMENT, "fancy answer 1", False, 1),
        (Kind.JUDGEMENT, "fancy answer 2", True, 2), (Kind.JUDGEMENT, "plain answer 2", False, 2),
        (Kind.JUDGEMENT, "fancy answer 3", False, 3), (Kind.JUDGEMENT, "plain answer 3", False, 3),
    ]  # fmt: skip


def test_an_evaluation_set_is_locked_from_training_with_its_prompts(voted: Bench) -> None:
    votes.collect(voted, votes.Shape.EVALUATION, dataset="exam")
    found = voted.store.examples.list(parse_query(""), dataset="exam")
    assert [(e.content.kind, e.answer_text, e.split) for e in found] == [
        (Kind.DEMONSTRATION, "plain answer 1", Split.TEST), (Kind.DEMONSTRATION, "fancy answer 2", Split.TEST),
    ]  # fmt: skip
    copied, _ = voted.store.examples.add(
        "train", found[0].content, source=found[0].source, status=found[0].status, rater="r"
    )
    with pytest.raises(RefusedError, match="must not be trained on"):
        gate(voted, [copied], [])


@pytest.mark.parametrize(
    ("split", "expected"),
    [(Split.TEST, Split.TEST), (Split.VALIDATION, Split.VALIDATION), (Split.TRAIN, Split.NONE)],
)
def test_rows_made_of_votes_stay_where_their_prompt_was_held_out(bench: Bench, split: Split, expected: Split) -> None:
    asked, _ = bench.store.examples.add(
        "exam", demo(), source=IMPORTED, status=Status.ACCEPTED, rater="rater", split=split
    )
    made = pair(bench, 1, example_id=asked.id)
    vote(bench, made, "pip", rater=bench.rater)
    better = fixes.mend(bench, fixes.find(bench, made.id), "a better one").examples[0]
    kept = compare.promote(bench, made.id, dataset="kept").examples[0]
    for shape in (votes.Shape.PAIRS, votes.Shape.LABELS):
        votes.collect(bench, shape, dataset=shape.value)
    collected = [
        row for shape in ("pairs", "labels") for row in bench.store.examples.list(parse_query(""), dataset=shape)
    ]
    assert [row.split for row in (better, kept, *collected)] == [expected] * 5
    again = compare.repeat(bench, gap=0)
    assert again is not None and again.example_id == asked.id


def test_a_repeat_makes_no_pair_because_its_vote_counts_for_nothing(voted: Bench) -> None:
    vote(voted, pair(voted, 9), "pip", rater=voted.rater)
    again = compare.repeat(voted, gap=0)
    assert again is not None
    compare.rate(voted, again.id, Verdict.LEFT)
    with pytest.raises(RefusedError, match="hidden repeat"):
        compare.promote(voted, again.id)


def test_one_undo_takes_a_collection_back(voted: Bench) -> None:
    votes.collect(voted, votes.Shape.LABELS)
    curate.undo(voted)
    assert voted.store.examples.count(parse_query(""), "vote-labels") == 0


def test_the_majority_decides_and_a_draw_makes_no_row(bench: Bench) -> None:
    first, second = pair(bench, 1), pair(bench, 2)
    for rater, winners in (("ann", ("pip", "pip")), ("bob", ("tuned", "tuned")), ("eve", ("pip", "skip"))):
        for comparison, winner in zip((first, second), winners, strict=True):
            vote(bench, comparison, winner, rater=rater)
    vote(bench, second, "tuned", rater="judge:x", kind=RaterKind.JUDGE)
    assert votes.majority(bench) == {1: "a", 2: "tie"}
    unseen.reveal(bench)
    assert votes.collect(bench, votes.Shape.PAIRS).none == 1


def test_without_votes_there_is_nothing_to_make_or_write(bench: Bench, tmp_path: Path) -> None:
    pair(bench, 1)
    with pytest.raises(NotFoundError):
        votes.collect(bench, votes.Shape.PAIRS)
    with pytest.raises(NotFoundError):
        battles.export_battles(bench, tmp_path / "b")
    assert list(tmp_path.glob("b*")) == []


def test_battles_have_what_fastchats_scripts_read(voted: Bench, tmp_path: Path) -> None:
    file = tmp_path / "sub" / "battles.json"
    assert battles.export_battles(voted, file) == battles.Written(
        file, 4, waiting=0, differing=0, tokenizer="pip", alike=ALIKE
    )
    written = json.loads(file.read_text())
    assert [b["winner"] for b in written[2:]] == ["tie (bothbad)", "tie"]
    for battle, comparison_id in zip(written, range(1, 5), strict=True):
        comparison = voted.store.comparisons.get(comparison_id)
        assert (battle["model_a"], battle["model_b"]) == (comparison.left.model, comparison.right.model)
        assert battle["conversation_b"][-1]["content"] == comparison.right.text
        assert battle["anony"] is True and battle["judge"] == "rater" and battle["turn"] == 1
        assert battle["tstamp"] > 1.7e9
    won = {b[b["winner"]] for b in written if b["winner"].startswith("model")}
    assert won == {"pip", "tuned"}
    assert find()["fastchat"].score(written[0]) == 100, "and our own import knows them"


def test_battles_tell_tokens_and_markup_as_fastchats_long_category_and_style_control_read_them(
    voted: Bench, tmp_path: Path
) -> None:
    fancy = "# Answer\n\n1. **one**\n2. two\n\n- three\n```\n# no heading\n- no item\n```\n" + "word " * 900
    turns = (Turn(Role.SYSTEM, "Be kind."), *user("first?"), Turn(Role.ASSISTANT, "- an item"), *user("and?"))
    asked = voted.store.comparisons.add(turns, candidate("pip", "plain"), candidate("tuned", fancy), draw_seed=9)
    vote(voted, asked, "tuned")
    told = battles.export_battles(voted, tmp_path / "b.json")
    row = json.loads((tmp_path / "b.json").read_text())[-1]
    side = "a" if row["model_a"] == "tuned" else "b"
    other = "b" if side == "a" else "a"
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))

    def tokens(*texts: str) -> int:
        return sum(len(tokenizer.encode(text).ids) for text in texts)

    assert [turn["num_tokens"] for turn in row[f"conversation_{side}"]] == [
        tokens(turn["content"]) for turn in row[f"conversation_{side}"]
    ]
    found = row["conv_metadata"]
    assert found["sum_user_tokens"] == tokens("first?", "and?") and found["tokenizer"] == "pip"
    assert found[f"sum_assistant_{side}_tokens"] == tokens("- an item", fancy) > 768
    assert found[f"sum_assistant_{other}_tokens"] == tokens("- an item", "plain")
    assert found[f"header_count_{side}"] == {"h1": 1, "h2": 0, "h3": 0, "h4": 0, "h5": 0, "h6": 0}
    assert found[f"list_count_{side}"] == {"ordered": 2, "unordered": 2}
    assert found[f"bold_count_{side}"] == {"**": 1, "__": 0}
    assert found[f"list_count_{other}"] == {"ordered": 0, "unordered": 1}
    assert (told.tokenizer, told.alike, told.long) == ("pip", (), 1)
    assert told.said.endswith("b.json; tokens counted by pip's tokenizer")


def test_battles_of_models_on_other_servers_alone_say_which_of_fastchats_options_do_not_run(
    voted: Bench, tmp_path: Path
) -> None:
    voted.store.models.remove("pip")
    told = battles.export_battles(voted, tmp_path / "b.json")
    row = json.loads((tmp_path / "b.json").read_text())[0]
    assert "sum_user_tokens" not in row["conv_metadata"] and "num_tokens" not in row["conversation_a"][0]
    assert "no tokenizer here counts tokens: --category long and --style-control do not run" in told.said


def test_battles_replace_no_file_that_is_not_meant_and_say_why_they_cannot_be_written(
    voted: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "b.json"
    file.write_text("mine")
    with pytest.raises(RefusedError, match="exists already"):
        battles.export_battles(voted, file)
    assert file.read_text() == "mine" and list(tmp_path.glob(".b*")) == []
    assert battles.export_battles(voted, file, replace=lambda path: path == file).battles == 4
    with pytest.raises(WorkbenchError, match="cannot be written"):
        battles.export_battles(voted, file / "below.json")


def test_battles_are_the_votes_that_a_rate_may_rest_on(voted: Bench, tmp_path: Path) -> None:
    vote(voted, pair(voted, 1), "tuned")  # the same two answers, whose names are known by now
    vote(voted, pair(voted, 2), "pip", rater="bob")
    vote(voted, pair(voted, 7, chosen="differing"), "pip")
    voted.store.comparisons.rate(6, Verdict.SKIP, rater=voted.rater)
    told = [(battle["question_id"], battle["judge"]) for battle in battles.battles(voted)]
    assert told == [("1", "rater"), ("2", "rater"), ("3", "rater"), ("4", "rater"), ("6", "bob")]
    said = battles.export_battles(voted, tmp_path / "b.json").said
    assert "; 1 vote where models differ most left out; " in said


def test_what_lost_or_was_bad_is_to_be_fixed_until_it_is(voted: Bench) -> None:
    found = fixes.to_fix(voted)
    assert [(f.comparison_id, f.why, f.model) for f in found] == [
        (3, "both-bad", "pip"), (2, "lost", "pip"), (1, "lost", "tuned"),
    ]  # fmt: skip
    assert [f.comparison_id for f in fixes.to_fix(voted, model="tuned")] == [3, 1]
    made = fixes.mend(voted, found[1], "a better answer").examples[0]
    assert made.content.chosen[0].content == "a better answer"
    assert made.content.rejected[0].content == "plain answer 2"
    assert (made.source.kind, made.source.comparison_id, made.tags) == (SourceKind.VOTE_FIX, 2, ("math",))
    assert [f.comparison_id for f in fixes.to_fix(voted)] == [3, 1]
    with pytest.raises(NotFoundError):
        fixes.find(voted, 2)
    curate.undo(voted)
    assert [f.comparison_id for f in fixes.to_fix(voted)] == [3, 2, 1]


@pytest.mark.parametrize("text", ["", "  ", "plain answer 2", " plain answer 2\n"])
def test_a_fix_is_another_answer(voted: Bench, text: str) -> None:
    with pytest.raises((DataError, RefusedError)):
        fixes.mend(voted, fixes.find(voted, 2), text)


def test_a_prompt_of_the_to_fix_list_stays_held_out_in_the_next_round_and_its_votes(bench: Bench) -> None:
    asked, _ = bench.store.examples.add(
        "exam", demo(), source=IMPORTED, status=Status.ACCEPTED, rater="rater", split=Split.TEST
    )
    vote(bench, pair(bench, 1, example_id=asked.id, tags=("math",)), "pip", rater=bench.rater)
    (row,) = prompts.prompt_rows(bench, prompts.TO_FIX)
    assert (row.example_id, row.tags) == (asked.id, ("math",))
    vote(bench, pair(bench, 2, example_id=row.example_id, tags=row.tags), "tuned", rater=bench.rater)
    votes.collect(bench, votes.Shape.PAIRS)
    made = bench.store.examples.list(parse_query(""), dataset="votes")
    assert [one.split for one in made] == [Split.TEST, Split.TEST]


def test_the_to_fix_list_and_chats_are_sources_of_prompts(voted: Bench) -> None:
    assert [row.turns for row in prompts.prompt_rows(voted, prompts.TO_FIX)] == [
        user(f"question {n}") for n in (3, 2, 1)
    ]
    opened = chat.new_chat(voted, system="Be brief.")
    chat.say(voted, opened.id, "hello?")
    (row,) = prompts.prompt_rows(voted, prompts.CHATS)
    assert [turn.content for turn in row.turns] == ["Be brief.", "hello?"]


def test_a_split_of_a_dataset_is_a_source_and_tags_come_along(voted: Bench) -> None:
    votes.collect(voted, votes.Shape.EVALUATION, dataset="exam")
    found = prompts.prompt_rows(voted, "exam:test")
    assert [(row.turns, row.tags) for row in found] == [(user(f"question {n}"), ("math",)) for n in (1, 2)]
    assert all(row.example_id for row in found)
    with pytest.raises(DataError):
        prompts.prompt_rows(voted, "exam:train")


def test_a_repeat_shows_the_sides_swapped_and_counts_for_no_model(voted: Bench) -> None:
    assert compare.repeat(voted, gap=20) is None, "too few votes lie between"
    again = compare.repeat(voted, gap=0)
    assert again is not None and again.repeat_of is not None
    seen = voted.store.comparisons.get(again.repeat_of)
    assert again.left.text == seen.right.text
    assert compare.repeat(voted, gap=0) is None, "one waits already"
    before = compare.results(voted)
    assert compare.waiting(voted) == 0, "nobody is told that one waits"
    view = compare.next_blind(voted)
    assert view is not None and view.comparison_id == again.id
    reveal = compare.rate(voted, again.id, Verdict.LEFT)
    assert "counts for neither" in reveal.said
    assert compare.results(voted) == before
    assert votes.majority(voted).keys() == {1, 2, 3, 4}


def test_repeats_wait_for_their_own_rater_only(voted: Bench) -> None:
    again = compare.repeat(voted, gap=0)
    assert again is not None
    assert voted.store.comparisons.next_unrated("somebody else").id == 1  # type: ignore[union-attr]
    ids = set()
    while (found := voted.store.comparisons.next_unrated("somebody else")) is not None:
        ids.add(found.id)
        voted.store.comparisons.rate(found.id, Verdict.SKIP, rater="somebody else")
    assert ids == {1, 2, 3, 4}


def test_repeats_come_as_often_as_the_setting_says(voted: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "REPEAT_GAP", 0)
    monkeypatch.setattr(compare.repeat, "__kwdefaults__", {"gap": 0})
    for share, is_repeat in ((0.0, False), (1.0, True)):
        voted.settings = voted.settings.with_value("labelling.repeats", share)
        fresh = pair(voted, 50 + int(share))
        view = compare.next_blind(voted)
        assert view is not None
        assert (voted.store.comparisons.get(view.comparison_id).repeat_of is not None) is is_repeat
        voted.store.comparisons.rate(fresh.id, Verdict.SKIP, rater="rater")


def test_the_most_different_answers_can_come_first(bench: Bench) -> None:
    for number, difference in enumerate((0.2, 0.9, None, 0.5)):
        bench.store.comparisons.add(
            user(f"q{number}"), candidate("a", "x"), candidate("b", "y"), draw_seed=1, difference=difference
        )
    order = []
    while (view := compare.next_blind(bench, order="differing")) is not None:
        order.append(view.prompt[0].content)
        compare.rate(bench, view.comparison_id, Verdict.TIE)
    assert order == ["q1", "q3", "q0", "q2"]


def test_a_vote_keeps_strength_marks_and_that_it_was_watched(bench: Bench) -> None:
    told = VoteDetails("because", 1500, Strength.MUCH, {"clear": (4, 2)}, live=True)
    made = pair(bench, 1)
    compare.rate(bench, made.id, Verdict.RIGHT, details=told)
    (kept,) = bench.store.comparisons.ratings(made.id)
    assert (kept.comment, kept.duration_ms, kept.strength, dict(kept.rubric), kept.live, kept.kind) == (
        "because", 1500, Strength.MUCH, {"clear": (4, 2)}, True, RaterKind.HUMAN,
    )  # fmt: skip
    with pytest.raises(DataError):
        compare.rate(bench, pair(bench, 2).id, Verdict.LEFT, details=VoteDetails(rubric={"nice": (1, 2)}))
    (bench.workspace.root / "rubric.toml").write_text('[[criterion]]\nname = "nice"\n')
    compare.rate(bench, pair(bench, 3).id, Verdict.LEFT, details=VoteDetails(rubric={"nice": (1, 2)}))

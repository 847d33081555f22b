"""What others voted on stays blind for who has not: in lists, rows, files and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voting import pair, vote
from workbench.domain.comparisons import Comparison, Verdict, VoteDetails
from workbench.domain.examples import NewExample, Source, SourceKind, Status, demonstration
from workbench.domain.queries import parse_query
from workbench.errors import RefusedError
from workbench.flows import battles, compare, curate, datasets, exchange, fixes, prompts, results, unseen, votes
from workbench.flows.bench import Bench
from workbench.flows.results_told import check_lines


@pytest.fixture
def anns(bench: Bench) -> list[Comparison]:
    """Two pairs that ann voted on and that wait for the rater at the bench."""
    made = [pair(bench, 1), pair(bench, 2)]
    for one, winner in zip(made, ("pip", "both-bad"), strict=True):
        vote(bench, one, winner, rater="ann", details=VoteDetails(duration_ms=5000))
    return made


def seen(bench: Bench) -> dict[str, list[int]]:
    """The comparisons that each view of single votes tells of."""
    return {
        "votes": [one.comparison_id for one in results.votes_between(bench, "", "")[0]],
        "to fix": sorted(one.comparison_id for one in fixes.to_fix(bench)),
        "battles": [int(str(one["question_id"])) for one in battles.battles(bench)],
    }


def test_votes_on_what_waits_are_told_by_no_view_until_the_own_vote(bench: Bench, anns: list[Comparison]) -> None:
    assert seen(bench) == {"votes": [], "to fix": [], "battles": []}
    assert [one.rater for one in results.votes_between(bench, "", "")[1]] == ["ann", "ann"]
    assert fixes.waiting(bench) == 2
    with pytest.raises(RefusedError, match="waits for your vote"):
        fixes.find(bench, anns[0].id)
    vote(bench, anns[0], "tuned", rater=bench.rater)
    first = anns[0].id
    assert seen(bench) == {"votes": [first, first], "to fix": [first], "battles": [first, first]}
    compare.rate(bench, anns[1].id, Verdict.SKIP)
    assert fixes.waiting(bench) == 0 and seen(bench)["to fix"] == [one.id for one in anns]


@pytest.mark.parametrize(
    "make",
    [
        lambda bench, to: votes.collect(bench, votes.Shape.LABELS),
        lambda bench, to: battles.export_battles(bench, to),
    ],
)
def test_rows_and_files_leave_out_what_waits_and_say_so(
    bench: Bench,
    anns: list[Comparison],
    tmp_path: Path,
    make: Callable[[Bench, Path], votes.Collected | battles.Written],
) -> None:
    file = tmp_path / "b.json"
    with pytest.raises(RefusedError, match="waits for your vote"):
        make(bench, file)
    assert not file.exists()
    vote(bench, anns[0], "pip", rater=bench.rater)
    made = make(bench, file)
    assert made.waiting == 1 and "left out" in made.said
    if isinstance(made, battles.Written):
        assert {row["question_id"] for row in json.loads(file.read_text())} == {str(anns[0].id)}


def test_a_row_made_by_somebody_else_hides_its_models(bench: Bench, anns: list[Comparison]) -> None:
    mine, bench.rater = bench.rater, "ann"
    compare.promote(bench, anns[0].id)
    bench.rater = mine
    (row,) = bench.store.examples.list(parse_query(""), dataset="votes")
    assert unseen.veiled(bench, row).source == replace(row.source, models=(unseen.HIDDEN,))
    vote(bench, anns[0], "pip", rater=bench.rater)
    assert unseen.veiled(bench, row) == row and row.source.models == ("pip", "tuned")


def test_no_figure_tells_which_side_or_length_is_whose(bench: Bench, anns: list[Comparison]) -> None:
    """Of a single vote, who won and which side won would name the models; of a longer answer too."""
    told = results.report(bench, resamples=5)
    assert (told.votes, told.unseen, told.scores[0].a_wins) == (2, 2, 1)
    assert (told.checks.left.total, told.checks.longer.total) == (0, 0)
    assert (told.checks.left_ms, told.checks.right_ms) == (None, None)
    assert any("2 votes on pairs that wait for you" in line for line in check_lines(told))
    vote(bench, anns[0], "pip", rater=bench.rater)
    told = results.report(bench, resamples=5)
    assert (told.unseen, told.checks.left.total) == (1, 2)


def test_names_that_were_asked_for_are_told_and_the_vote_counts_no_more(bench: Bench, anns: list[Comparison]) -> None:
    alone = pair(bench, 3)
    assert unseen.reveal(bench, "pip", "third") == 0
    assert unseen.reveal(bench) == 2, "those that others voted on"
    assert seen(bench)["votes"] == [one.id for one in anns] and unseen.reveal(bench) == 0
    assert [compare.names_known(bench, one.id) for one in (*anns, alone)] == [True, True, False]
    assert compare.waiting(bench) == 3
    assert not compare.rate(bench, anns[0].id, Verdict.LEFT).rating.blind
    assert compare.rate(bench, alone.id, Verdict.LEFT).rating.blind
    assert results.report(bench, resamples=5).votes == 3, "two of ann's, one of the rater's"


def test_questions_to_be_asked_again_tell_nothing_and_stay(bench: Bench, anns: list[Comparison]) -> None:
    assert [row.turns[-1].content for row in prompts.prompt_rows(bench, prompts.TO_FIX)] == ["question 2", "question 1"]


@pytest.mark.parametrize(
    ("how", "told"), [({"format": "fastchat"}, True), ({"provenance": True}, True), ({"format": "trl"}, False)]
)
def test_files_of_rows_name_no_models_of_what_waits_and_say_so(
    bench: Bench, anns: list[Comparison], tmp_path: Path, how: dict[str, Any], told: bool
) -> None:
    mine, bench.rater = bench.rater, "ann"
    compare.promote(bench, anns[0].id)
    bench.rater = mine
    heard: list[str] = []
    lines = "".join(exchange.export_lines(bench, "", say=heard.append, **how))
    found = exchange.export_file(bench, "", tmp_path / "rows.jsonl", card=True, **how)
    card = Path(found.card).read_text()
    assert (tmp_path / "rows.jsonl").read_text() == lines and not any(name in lines + card for name in ("pip", "tuned"))
    assert (found.unnamed, len(heard), "without the models" in found.sentence()) == (told, told, told)
    vote(bench, anns[0], "pip", rater=bench.rater)
    found = exchange.export_file(bench, "", tmp_path / "rows.jsonl", replace=True, **how)
    assert ("pip" in (tmp_path / "rows.jsonl").read_text()) == told and found.unnamed == 0


def test_a_row_from_elsewhere_whose_comparison_has_a_number_of_ours_is_not_hidden(
    bench: Bench, anns: list[Comparison], tmp_path: Path
) -> None:
    source = Source(SourceKind.VOTE, comparison_id=anns[0].id, models=("theirs", "tuned"))
    bench.store.examples.add_many(
        "theirs", [NewExample(demonstration(anns[0].prompt, "said"), source)], rater="bob", status=Status.ACCEPTED
    )
    (row,) = bench.store.examples.list(parse_query(""), dataset="theirs")
    assert unseen.veiled(bench, row) == row
    assert "theirs" in "".join(exchange.export_lines(bench, "", provenance=True))


def test_what_waits_is_counted_without_being_read(
    bench: Bench, anns: list[Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.store.comparisons, "get", None)
    assert fixes.waiting(bench) == 2 and fixes.to_fix(bench) == []


@pytest.mark.parametrize("query", ["model:tuned", "-model:pip", "-model:tuned"])
def test_a_filter_by_model_finds_no_row_of_what_waits(bench: Bench, anns: list[Comparison], query: str) -> None:
    """Of an answer alone it would tell whose it is."""
    mine, bench.rater = bench.rater, "ann"
    votes.collect(bench, votes.Shape.LABELS)
    bench.rater = mine
    rows = bench.store.examples.list(parse_query(query))
    assert rows, "the store could tell"
    asked = unseen.asked(bench, query)
    assert (unseen.unfound(bench, asked), len(curate.ids(bench, query)), datasets.count(bench, query=query)) == (
        len(rows),
        0,
        0,
    )
    assert "".join(exchange.export_lines(bench, query)) == "" and not curate.window(bench, query).ids
    for one in anns:
        vote(bench, one, "pip", rater=bench.rater)
    assert list(curate.ids(bench, query)) == [row.id for row in rows] and unseen.unfound(bench, asked) == 0


def test_a_filter_by_model_finds_rows_from_elsewhere(bench: Bench, anns: list[Comparison]) -> None:
    source = Source(SourceKind.VOTE, comparison_id=anns[0].id, models=("theirs", "tuned"))
    bench.store.examples.add_many(
        "theirs", [NewExample(demonstration(anns[0].prompt, "said"), source)], rater="bob", status=Status.ACCEPTED
    )
    assert len(curate.ids(bench, "model:tuned")) == 1 and len(curate.ids(bench, "-model:pip")) == 1

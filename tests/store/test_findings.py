"""Findings, languages and originals in their tables."""

from __future__ import annotations

import pytest

from samples import IMPORTED, demo
from workbench.domain.chats import Turn
from workbench.domain.checks import Finding, Severity
from workbench.domain.comparisons import Verdict
from workbench.domain.decisions import Action
from workbench.domain.examples import Status
from workbench.domain.queries import parse_query
from workbench.errors import UsageError
from workbench.paths import Workspace
from workbench.store.findings import Redaction
from workbench.store.store import Store


@pytest.fixture
def store(workspace: Workspace) -> Store:
    return Store.open(workspace)


def add(store: Store, count: int) -> list[int]:
    given = {"source": IMPORTED, "status": Status.PENDING, "rater": "rater"}
    return [store.examples.add("d", demo(n), **given)[0].id for n in range(count)]  # type: ignore[arg-type]


def finding(example_id: int | None, check: str = "empty", severity: Severity = Severity.ERROR) -> Finding:
    return Finding(severity, "because", "chosen turn 1", True, example_id, check)


def test_a_finding_comes_back_as_it_went_in(store: Store) -> None:
    (one,) = add(store, 1)
    store.findings.replace([one], ["empty"], [finding(one)])
    assert store.findings.of(one) == [finding(one)]


def test_the_worst_comes_first(store: Store) -> None:
    (one,) = add(store, 1)
    severities = [Severity.INFO, Severity.WARNING, Severity.ERROR]
    store.findings.replace([one], ["empty"], [finding(one, severity=s) for s in severities])
    assert [f.severity for f in store.findings.of(one)] == severities[::-1]


def test_replacing_touches_only_the_named_checks_and_examples(store: Store) -> None:
    one, other = add(store, 2)
    store.findings.replace([one, other], ["empty", "leakage"], [finding(one), finding(one, "leakage"), finding(other)])
    store.findings.replace([one], ["empty"], [])
    assert [f.check for f in store.findings.of(one)] == ["leakage"]
    assert store.examples.get(one).flags == ("leakage",) and store.examples.get(other).flags == ("empty",)


def test_findings_about_no_example_are_not_kept(store: Store) -> None:
    (one,) = add(store, 1)
    store.findings.replace([one], ["length_bias"], [finding(None, "length_bias")])
    assert store.findings.of(one) == []


def test_more_examples_than_fit_one_statement(store: Store) -> None:
    ids = add(store, 3) + list(range(10_000, 12_500))
    store.findings.replace(ids, ["empty"], [finding(ids[0])])
    store.findings.replace(ids, ["empty"], [finding(ids[1])])
    assert store.findings.counts(ids, ["empty", "leakage"]) == {"empty": 1}


def test_queries_find_by_check_severity_and_language(store: Store) -> None:
    one, other = add(store, 2)
    store.findings.replace([one], ["empty"], [finding(one)])
    store.findings.set_languages({one: "de", other: "en"})
    ids = {text: list(store.examples.ids(parse_query(text))) for text in ("check:empty", "severity:error", "lang:de")}
    assert ids == {text: [one] for text in ids}
    assert list(store.examples.ids(parse_query("-has:finding -lang:de"))) == [other]
    with pytest.raises(UsageError):
        parse_query("severity:bad")


def test_an_edit_and_its_undo_take_findings_away(store: Store) -> None:
    (one,) = add(store, 1)
    store.findings.replace([one], ["empty"], [finding(one)])
    store.findings.set_languages({one: "de"})
    store.examples.change([one], Action.TAG, rater="rater", add_tags=["t"])
    assert len(store.findings.of(one)) == 1
    store.examples.change([one], Action.EDIT, rater="rater", content=demo(99))
    assert store.findings.of(one) == [] and list(store.examples.ids(parse_query("lang:de"))) == []
    store.findings.replace([one], ["empty"], [finding(one)])
    store.examples.undo("rater")
    assert store.findings.of(one) == []


def test_the_first_original_of_a_turn_is_the_one_that_is_kept(store: Store) -> None:
    (one,) = add(store, 1)
    store.findings.keep_originals([Redaction(one, "chosen:0", "first")])
    store.findings.keep_originals([Redaction(one, "chosen:0", "second"), Redaction(one, "prompt:0", "third")])
    assert [(r.part, r.before) for r in store.findings.originals(one)] == [("chosen:0", "first"), ("prompt:0", "third")]
    store.findings.drop_originals(one)
    assert store.findings.originals(one) == []


def test_settling_forgets_originals_and_counts_the_examples(store: Store) -> None:
    one, other = add(store, 2)
    store.findings.keep_originals([Redaction(one, "chosen:0", "secret"), Redaction(one, "prompt:0", "secret")])
    store.examples.change([one], Action.EDIT, rater="rater", content=demo(99))
    assert store.findings.settle([one, other]) == 1
    assert store.findings.originals(one) == [] and store.findings.settle([one, other]) == 0
    store.examples.undo("rater")
    assert store.examples.get(one).content == demo(99)


def test_compared_prompts_say_whether_somebody_voted(store: Store) -> None:
    from samples import candidate

    made = [
        store.comparisons.add((Turn("user", f"q{n}"),), candidate("a", "x"), candidate("b", text), draw_seed=1).id
        for n, text in enumerate(["y", "y", "y", "x"])
    ]
    store.comparisons.rate(made[0], Verdict.TIE, rater="rater")
    store.comparisons.rate(made[1], Verdict.SKIP, rater="rater")
    store.comparisons.rate(made[2], Verdict.LEFT, rater="rater")
    store.comparisons.undo_rating("rater")
    told = {one.comparison_id: one.voted for one in store.comparisons.prompts()}
    assert told == {made[0]: True, made[1]: False, made[2]: False, made[3]: True}

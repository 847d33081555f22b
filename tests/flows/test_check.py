"""Checking as a person does it: what is found stays, what is mended can be undone, what is redacted comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from workbench.domain.chats import Generation, Sampling, StopReason, Turn
from workbench.domain.comparisons import Candidate, Verdict
from workbench.domain.decisions import Action
from workbench.domain.examples import (
    Content,
    Example,
    Kind,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    preference,
)
from workbench.domain.queries import parse_query
from workbench.errors import NotFoundError, RefusedError, UsageError, WorkbenchError
from workbench.flows import check, curate, exchange, train
from workbench.flows.bench import Bench
from workbench.flows.presets import default_window

MAIL = "Write to ann.meyer@firma-meyer.de today."
QUICK = ("empty", "template_tokens", "personal_data", "exact_duplicates", "leakage", "boilerplate")


def add(bench: Bench, *contents: Content, dataset: str = "teas", split: Split = Split.NONE) -> list[int]:
    source = Source(SourceKind.IMPORT, file="a.jsonl")
    return [
        bench.store.examples.add(dataset, c, source=source, status=Status.ACCEPTED, rater="rater", split=split)[0].id
        for c in contents
    ]


def shown(question: str, answer: str) -> Content:
    return Content(Kind.DEMONSTRATION, (Turn("user", question),), (Turn("assistant", answer),))


def found(bench: Bench, query: str) -> list[int]:
    return list(curate.ids(bench, query))


def run(
    bench: Bench, query: str = "", *, only: Sequence[str] = QUICK, fix: bool = False, dataset: str = ""
) -> check.Report:
    return check.run(bench, query, dataset=dataset, only=only, fix=fix)


def test_findings_are_told_kept_and_searched_for(bench: Bench) -> None:
    mail, token, _ = add(bench, shown("q1", MAIL), shown("q2", "Tea.<|im_end|>"), shown("q3", "Tea."))
    report = run(bench)
    assert [(f.example_id, f.check, f.severity.value) for f in report.findings] == [
        (mail, "personal_data", "warning"),
        (token, "template_tokens", "error"),
    ]
    assert (report.rows, report.errors, report.counts.by_severity["warning"]) == (3, 1, 1)
    assert found(bench, "check:personal_data") == found(bench, "flag:personal_data") == [mail]
    assert found(bench, "severity:error") == [token]
    assert found(bench, "has:finding") == [mail, token]
    assert bench.store.examples.get(mail).flags == ("personal_data",)
    assert check.of(bench, token)[0].place == "chosen turn 1, characters 5-14"


def test_a_second_run_replaces_what_the_first_found_and_only_that(bench: Bench) -> None:
    (both,) = add(bench, shown("q", MAIL + "<|im_end|>"))
    run(bench)
    run(bench, only=("template_tokens",))
    assert sorted(f.check for f in check.of(bench, both)) == ["personal_data", "template_tokens"]
    assert sorted(bench.store.examples.get(both).flags) == ["personal_data", "template_tokens"]


def test_what_was_found_goes_with_the_text_that_it_was_found_in(bench: Bench) -> None:
    (one,) = add(bench, shown("q", MAIL))
    run(bench)
    curate.edit(bench, one, text="No address.")
    assert check.of(bench, one) == [] and bench.store.examples.get(one).flags == ()


def test_telling_without_alarm_flags_nothing(bench: Bench) -> None:
    text = "word " * 100
    (one,) = add(bench, preference((Turn("user", "q"),), text + "green", text + "great"))
    assert [f.severity.value for f in run(bench, only=("identical_pair",)).findings] == ["info"]
    assert bench.store.examples.get(one).flags == () and found(bench, "check:identical_pair") == [one]


def test_rejected_rows_are_looked_at_only_when_asked_for(bench: Bench) -> None:
    (one,) = add(bench, shown("q", "Tea.<|im_end|>"))
    curate.reject(bench, [one])
    assert run(bench).rows == 0
    assert run(bench, "status:rejected").errors == 1


def test_a_query_and_a_dataset_narrow_what_is_looked_at(bench: Bench) -> None:
    add(bench, shown("first", MAIL), shown("second", MAIL))
    add(bench, shown("first", MAIL), dataset="other")
    assert run(bench, "first").rows == 2
    assert run(bench, "first", dataset="other").rows == 1
    with pytest.raises(NotFoundError):
        run(bench, dataset="nothing")
    with pytest.raises(UsageError, match="no check 'emty'"):
        run(bench, only=("emty",))


def test_mending_edits_what_it_can_and_rejects_the_rest_in_one_gesture(bench: Bench) -> None:
    token, hollow, first, copy = add(
        bench, shown("q1", "Tea.<|im_end|>"), shown("q2", "<|im_end|>"), shown("q3", "Tea."), shown("q3", "tea.")
    )
    report = run(bench, fix=True)
    assert (report.mended, report.rejected, report.findings) == (1, 2, ())
    assert bench.store.examples.get(token).answer_text == "Tea."
    rejected = found(bench, "status:rejected")
    assert rejected == [hollow, copy] and bench.store.examples.get(first).status is Status.ACCEPTED
    assert found(bench, "check:exact_duplicates") == [copy]
    newest, undone = curate.newest(bench), curate.undo(bench)
    assert newest is not None and undone is not None
    assert newest.text == undone.text == f"rejecting 2 examples and editing example {token}"
    assert newest.examples == len(undone.example_ids) == 3
    assert bench.store.examples.get(token).answer_text == "Tea.<|im_end|>"
    assert found(bench, "status:rejected") == []
    redone = curate.redo(bench)
    assert redone is not None and redone.text == undone.text


def test_nothing_is_deleted_and_mending_again_changes_nothing(bench: Bench) -> None:
    add(bench, shown("q1", "Tea.<|im_end|>"), shown("q2", MAIL), shown("q3", "Tea."), shown("q3", "tea."))
    run(bench, fix=True)
    again = run(bench, fix=True)
    assert (again.mended, again.rejected) == (0, 0)
    assert bench.store.examples.count(parse_query("")) == 4


def test_a_redaction_can_be_taken_back_until_it_is_exported(bench: Bench, tmp_path: Path) -> None:
    kept, sent = add(bench, shown("q1", MAIL), shown("q2", MAIL))
    run(bench, fix=True)
    assert bench.store.examples.get(kept).answer_text == "Write to [EMAIL] today."
    exchange.export_file(bench, "q2", tmp_path / "out.jsonl")
    assert "[EMAIL]" in (tmp_path / "out.jsonl").read_text() and "firma" not in (tmp_path / "out.jsonl").read_text()

    check.unredact(bench, [kept])
    assert bench.store.examples.get(kept).answer_text == MAIL
    assert bench.store.examples.get(kept).flags == ("personal_data",)
    with pytest.raises(RefusedError, match="nothing of example"):
        check.unredact(bench, [kept])
    with pytest.raises(RefusedError, match=f"nothing of example {sent}"):
        check.unredact(bench, [sent])


def test_after_an_export_no_trace_of_what_was_redacted_is_left(bench: Bench, tmp_path: Path) -> None:
    (one,) = add(bench, shown("q", "Tea."))
    curate.edit(bench, one, text=MAIL)
    run(bench, fix=True)
    exchange.export_file(bench, "", tmp_path / "out.jsonl")
    for _ in range(3):
        curate.undo(bench)
    tables = [row[0] for row in bench.store.read().execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    left = [
        table
        for table in tables
        if any("firma-meyer" in str(tuple(row)) for row in bench.store.read().execute(f"SELECT * FROM {table}"))
    ]
    assert left == []


def test_an_undo_before_the_export_brings_the_original_back_too(bench: Bench) -> None:
    (one,) = add(bench, shown("q", MAIL))
    run(bench, fix=True)
    curate.undo(bench)
    assert bench.store.examples.get(one).answer_text == MAIL
    run(bench, fix=True)
    check.unredact(bench, [one])
    assert bench.store.examples.get(one).answer_text == MAIL


def test_a_text_that_was_edited_since_is_not_overwritten(bench: Bench) -> None:
    (one,) = add(bench, shown("q", MAIL))
    run(bench, fix=True)
    curate.edit(bench, one, text="Write to [EMAIL] tomorrow.")
    with pytest.raises(RefusedError, match="edited after"):
        check.unredact(bench, [one])
    assert bench.store.examples.get(one).answer_text == "Write to [EMAIL] tomorrow."


def test_one_example_is_mended_by_itself(bench: Bench) -> None:
    one, other = add(bench, shown("q1", MAIL), shown("q2", MAIL))
    assert check.fix(bench, one).mended == 1
    assert "[EMAIL]" in bench.store.examples.get(one).answer_text
    assert bench.store.examples.get(other).answer_text == MAIL


def test_test_and_validation_rows_are_what_train_rows_are_held_against(bench: Bench) -> None:
    add(bench, shown("q1", "Tea."), dataset="exam", split=Split.TEST)
    add(bench, shown("q2", "Tea."), split=Split.VALIDATION)
    first, second, _ = add(bench, shown("Q1", "tea."), shown("Q2", "tea."), shown("q3", "Tea."))
    report = run(bench, dataset="teas")
    assert [(f.example_id, f.check) for f in report.findings if f.severity.value == "error"] == [
        (first, "leakage"),
        (second, "leakage"),
    ]


def vote(bench: Bench, question: str, verdict: Verdict = Verdict.LEFT) -> int:
    generation = Generation("m", Sampling(seed=1), 1, 1, 1, StopReason.STOP)
    a, b = Candidate("a", "Sencha", generation), Candidate("b", "Assam", generation)
    made = bench.store.comparisons.add((Turn("user", question),), a, b, draw_seed=1)
    bench.store.comparisons.rate(made.id, verdict, rater="rater")
    return made.id


def test_prompts_that_were_voted_on_are_locked_out_of_training(bench: Bench) -> None:
    rows = add(bench, *(demonstration((Turn("user", f"Question {n}"),), f"Answer {n}.") for n in range(30)))
    vote(bench, "question 3")
    vote(bench, "question 4", Verdict.SKIP)
    with pytest.raises(RefusedError, match="1 of 30 rows") as refused:
        train.plan(bench, method="sft", dataset="teas", overrides={"eval_share": "0"})
    assert f"examples reject {rows[3]}" in refused.value.hint and "voted on" in refused.value.message
    curate.reject(bench, [rows[3]])
    planned = train.plan(bench, method="sft", dataset="teas", overrides={"eval_share": "0"})
    assert planned.spec.train_rows == 29
    assert any("example 5" in text or f"example {rows[4]}" in text for text in planned.findings if "leakage" in text)


def test_rows_made_from_votes_are_trained_on(bench: Bench) -> None:
    for n in range(6):
        made = vote(bench, f"Question {n}")
        content = preference((Turn("user", f"Question {n}"),), "Sencha", "Assam")
        source = Source(SourceKind.VOTE, comparison_id=made)
        bench.store.examples.add("votes", content, source=source, status=Status.ACCEPTED, rater="rater")
    assert train.plan(bench, method="dpo", dataset="votes").spec.train_rows > 0


def test_errors_stop_a_plan_and_warnings_are_told(bench: Bench) -> None:
    rows = add(bench, *(shown(f"Question {n}", f"Answer {n}.") for n in range(30)))
    warned, wrong = add(bench, shown("q1", MAIL), shown("q2", "Tea.<|im_end|>"))
    with pytest.raises(RefusedError) as refused:
        train.plan(bench, method="sft", dataset="teas", overrides={"eval_share": "0"})
    assert "template_tokens" in refused.value.message and refused.value.where == str(wrong)
    run(bench, only=("template_tokens",), fix=True)
    findings = train.plan(bench, method="sft", dataset="teas", overrides={"eval_share": "0"}).findings
    assert any(text.startswith(f"personal_data: 1 row, such as example {warned}") for text in findings)
    assert len(rows) == 30


def test_a_dataset_that_runs_were_measured_on_is_not_trained_on(bench: Bench) -> None:
    add(bench, *(shown(f"Question {n}", f"Answer {n}.") for n in range(30)))
    add(bench, *(shown(f"Exam {n}", f"Answer {n}.") for n in range(5)), dataset="exam")
    planned = train.plan(bench, method="sft", dataset="teas", eval_dataset="exam")
    train.launch(bench, planned, start_runner=lambda runs: None)
    with pytest.raises(RefusedError, match="evaluation set"):
        train.plan(bench, method="sft", dataset="exam")


def test_imported_rows_are_flagged_on_their_way_in(bench: Bench, tmp_path: Path) -> None:
    rows = [{"prompt": "q1", "completion": "Tea.<|im_end|>"}, {"prompt": "q2", "completion": "Tea."}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = exchange.import_file(bench, tmp_path / "a.jsonl")
    assert "template_tokens 1" in report.sentence()
    (flagged,) = found(bench, "flag:template_tokens")
    assert [f.check for f in check.of(bench, flagged)] == ["template_tokens"]


def test_what_the_large_checks_find_comes_back_from_their_child(bench: Bench) -> None:
    text = " ".join(f"word{n}" for n in range(60))
    german = "Gieße das Wasser über die Blätter, sobald es etwas abgekühlt ist, und warte zwei Minuten."
    _, copy, foreign = add(bench, shown("q", text), shown("q", text + " end"), shown("q", german))
    titles: list[str] = []
    report = check.run(
        bench, only=("near_duplicates", "language_mix"), on_progress=lambda title, done, total: titles.append(title)
    )
    assert [(f.example_id, f.check) for f in report.findings] == [(copy, "near_duplicates")]
    assert found(bench, "lang:de") == [foreign]
    assert "Near-duplicates" in titles and "Languages" in titles


def test_checks_that_count_tokens_are_passed_over_without_a_model(bench: Bench) -> None:
    add(bench, shown("q", "Tea."))
    assert check.run(bench, only=("length_tokens",)).skipped == ("length_tokens: needs --model",)


def test_tokens_are_counted_in_the_window_that_a_run_would_take(bench: Bench) -> None:
    add(bench, *(shown(f"Question {n}", "Tea.") for n in range(4)))
    planned = train.plan(bench, method="sft", dataset="teas", overrides={"eval_share": "0"})
    pip = bench.store.models.get("pip")
    assert default_window(bench, pip) == planned.spec.knobs["max_length"]


def test_a_report_is_plain_data(bench: Bench) -> None:
    (one,) = add(bench, shown("q", MAIL))
    told = json.loads(json.dumps(run(bench).as_dict()))
    assert told["counts"] == {"error": 0, "warning": 1, "info": 0}
    (finding,) = told["findings"]
    assert (finding["check"], finding["severity"], finding["example"]) == ("personal_data", "warning", one)
    assert finding["reason"] and finding["fix"].startswith("put [EMAIL]")


def test_a_fix_of_one_check_leaves_what_the_others_found(bench: Bench) -> None:
    (one,) = add(bench, shown("q1", f"{MAIL}<|im_end|>"))
    run(bench)
    assert check.fix(bench, one, only="template_tokens").mended == 1
    assert bench.store.examples.get(one).answer_text == MAIL
    assert [found.check for found in check.of(bench, one)] == ["personal_data"]
    with pytest.raises(RefusedError, match="nothing that was found"):
        check.fix(bench, one, only="template_tokens")


def test_what_a_check_of_many_rows_found_is_mended_in_one_row(bench: Bench) -> None:
    first, again = add(bench, shown("q1", "Tea."), shown("q1", "tea."))
    add(bench, shown("q1", "Tea.<|im_end|>"), dataset="other")
    run(bench)
    assert check.by_check(bench, "teas") == {"exact_duplicates": 1}
    assert check.fix(bench, again).rejected == 1
    assert bench.store.examples.get(again).status is Status.REJECTED
    assert bench.store.examples.get(first).status is Status.ACCEPTED


def test_a_redaction_comes_back_also_when_more_was_mended_with_it(bench: Bench) -> None:
    (one,) = add(bench, shown("q1", f"{MAIL}<|im_end|>"))
    run(bench, fix=True)
    assert bench.store.examples.get(one).answer_text == "Write to [EMAIL] today."
    check.unredact(bench, [one])
    assert bench.store.examples.get(one).answer_text == MAIL


def test_a_row_of_the_locked_test_split_is_not_mended(bench: Bench) -> None:
    (held,) = add(bench, shown("q1", MAIL), split=Split.TEST)
    with pytest.raises(RefusedError, match="locked"):
        check.fix(bench, held)


def test_a_check_that_is_stopped_keeps_nothing(bench: Bench) -> None:
    (one,) = add(bench, shown("q1", MAIL))
    stop = threading.Event()
    stop.set()
    with pytest.raises(WorkbenchError, match="were stopped"):
        check.run(bench, cancelled=stop)
    assert check.of(bench, one) == []


def meanwhile(bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Do ``change`` once, when the checks have looked at the rows and before anything is kept or mended."""
    plain = check._Looking.look

    def look(looking: check._Looking, *given: Any) -> None:
        plain(looking, *given)
        change()

    monkeypatch.setattr(check._Looking, "look", look)


def test_a_row_that_was_edited_meanwhile_gets_no_findings_of_its_old_text(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited, other = add(bench, shown("q1", MAIL), shown("q2", MAIL))
    meanwhile(bench, monkeypatch, lambda: curate.edit(bench, edited, text="Nothing private."))
    run(bench, only=["personal_data"])
    assert [len(check.of(bench, one)) for one in (edited, other)] == [0, 1]


def test_mending_passes_over_a_row_that_was_deleted_meanwhile(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, other = add(bench, shown("q1", MAIL), shown("q2", MAIL))
    meanwhile(
        bench,
        monkeypatch,
        lambda: bench.store.examples.change([gone], Action.DELETE, rater="rater", hidden=True),
    )
    assert run(bench, only=["personal_data"], fix=True).mended == 1
    assert MAIL not in bench.store.examples.get(other).answer_text


def test_mending_takes_the_text_as_it_is_when_somebody_was_faster(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = add(bench, shown("q1", MAIL))
    plain, faster = check._planned, [f"{MAIL} Thank you."]

    def planned(*given: Any) -> check._Plan:
        found = plain(*given)
        if faster:
            curate.edit(bench, one, text=faster.pop())
        return found

    monkeypatch.setattr(check, "_planned", planned)
    assert run(bench, only=["personal_data"], fix=True).mended == 1
    text = bench.store.examples.get(one).answer_text
    assert text.endswith("Thank you.") and "@" not in text


def test_mending_begins_with_few_rows_and_reads_no_whole_row_while_others_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench, *(shown(f"q{number}", MAIL) for number in range(120)))
    examples, mended, read = bench.store.examples, list[int](), list[int]()
    change, many = examples.change, examples.many

    def counted(ids: Sequence[int], *given: Any, **named: Any) -> int:
        mended[-1] += 1
        return change(ids, *given, **named)

    def noted(ids: Sequence[int]) -> list[Example]:
        if getattr(bench.store._local, "depth", 0):
            read.extend(ids)
        else:
            mended.append(0)
        return many(ids)

    monkeypatch.setattr(examples, "change", counted)
    monkeypatch.setattr(examples, "many", noted)
    assert run(bench, only=["personal_data"], fix=True).mended == 120
    assert 0 < next(filter(None, mended)) <= 50 and sum(mended) == 120 and read == []

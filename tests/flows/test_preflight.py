"""What is told before a run starts, what is refused, and that every remedy does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.domain.chats import Turn
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.domain.runs import Metric
from workbench.errors import RefusedError
from workbench.flows import preflight, row_lengths, train
from workbench.flows.bench import Bench
from workbench.flows.train import RunPlan
from workbench.jobs.devices import Device, DeviceUser, training_device

ROOM = Device("cpu", "main memory", 64 * 10**9, 60 * 10**9)


def add(bench: Bench, *letters: int) -> list[int]:
    """Rows whose answers have so many letters; a token has four of them in these tests."""
    ids = []
    for number, count in enumerate(letters):
        content = demonstration((Turn("user", f"q{number:07}"),), "x" * count)
        source = Source(SourceKind.IMPORT, file="a.jsonl", line=number)
        example, _ = bench.store.examples.add("chats", content, source=source, status=Status.ACCEPTED, rater="r")
        ids.append(example.id)
    return ids


def plan(bench: Bench, **knobs: object) -> RunPlan:
    overrides = {"eval_share": "0", **{name: str(value) for name, value in knobs.items()}}
    return train.plan(bench, method="sft", dataset="chats", overrides=overrides)


def test_rows_that_are_cut_or_left_out_are_told_by_number(bench: Bench) -> None:
    ids = add(bench, 40, 400, 4000)
    found = preflight.look(bench, plan(bench, max_length=64), device=ROOM)
    assert found.refusals == ()
    told = f"2 rows are longer than max_length = 64 and cut at the end: examples {ids[1]}, {ids[2]}"
    assert told in found.facts


def test_how_much_of_the_tokens_is_replayed_is_told_where_it_is_another_share_than_that_of_the_rows(
    bench: Bench,
) -> None:
    add(bench, 40, 40, 40, 40)
    for number in range(4):
        content = demonstration((Turn("user", f"old{number}"),), "y" * 4000)
        source = Source(SourceKind.IMPORT, file="b.jsonl", line=number)
        bench.store.examples.add("old", content, source=source, status=Status.ACCEPTED, rater="r")
    planned = plan(bench, max_length=100, replay_dataset="old", replay_share=0.2)
    assert planned.spec.replay_rows == 1 and planned.spec.train_rows == 5
    found = preflight.look(bench, planned, device=ROOM)
    assert found.lengths is not None
    own = sum(one.total for one in found.lengths.longest if one.total <= 100)
    # The long row is cut to the window.
    assert f"what is replayed from old is {100 / (100 + own):.0%} of the tokens" in found.facts
    assert 100 / (100 + own) > 0.5


def test_a_window_that_cuts_nothing_is_advised_where_the_model_has_it(bench: Bench) -> None:
    add(bench, 40, 400)
    (wider,) = preflight.look(bench, plan(bench, max_length=64), device=ROOM).remedies
    again = preflight.look(bench, plan(bench, **wider.knobs), device=ROOM)
    assert again.remedies == () and not any("cut" in fact for fact in again.facts)


def test_a_window_in_which_no_answer_begins_is_refused_and_mended(bench: Bench) -> None:
    content = demonstration((Turn("user", "long " * 40),), "short")
    source = Source(SourceKind.IMPORT, file="a.jsonl", line=1)
    bench.store.examples.add("chats", content, source=source, status=Status.ACCEPTED, rater="r")
    found = preflight.look(bench, plan(bench, max_length=16), device=ROOM)
    (refusal,) = found.refusals
    assert refusal.name == "rows"
    with pytest.raises(RefusedError, match="no row has an answer"):
        found.refuse()
    found.refuse(["rows"])
    assert preflight.look(bench, plan(bench, **refusal.remedies[0].knobs), device=ROOM).refusals == ()


def test_where_answers_are_drawn_the_prompt_and_the_longest_answer_count_not_what_the_rows_hold(
    bench: Bench, tmp_path: Path
) -> None:
    ids = add(bench, 40, 4000)
    reward = tmp_path / "r.py"
    reward.write_text("def reward(completions, **rest):\n    return [1.0]\n")

    def look(window: int) -> preflight.Preflight:
        overrides = {
            "reward": str(reward),
            "include_demonstrations": "true",
            "max_completion_length": "32",
            "max_length": str(window),
            "eval_share": "0",
        }
        return preflight.look(
            bench, train.plan(bench, method="rloo", dataset="chats", overrides=overrides), device=ROOM
        )

    assert any("a prompt" in fact and "up to 32 of each answer" in fact for fact in look(64).facts)
    assert not any("cut" in fact for fact in look(64).facts) and look(64).memory == look(500).memory
    (refusal,) = look(33).refusals
    assert refusal.said == "no prompt leaves room for an answer within max_length = 33 tokens"
    assert f"examples {ids[0]}, {ids[1]}" in look(33).facts[1]
    assert look(int(refusal.remedies[0].knobs["max_length"])).refusals == ()


def test_half_the_window_is_no_remedy_where_it_leaves_no_room_for_an_answer(bench: Bench, tmp_path: Path) -> None:
    add(bench, *[1600] * 30)
    reward = tmp_path / "r.py"
    reward.write_text("def reward(completions, **rest):\n    return [1.0]\n")

    def remedies(drawn: int) -> list[dict[str, str]]:
        overrides = {"reward": str(reward), "include_demonstrations": "true", "eval_share": "0"}
        overrides |= {"max_completion_length": str(drawn), "max_length": "512", "per_device_train_batch_size": "16"}
        heavy = train.plan(bench, method="rloo", dataset="chats", overrides=overrides)
        needed = preflight.look(bench, heavy, device=ROOM).memory
        assert needed is not None
        short = replace(ROOM, free=needed.total - 1)
        return [dict(one.knobs) for one in preflight.look(bench, heavy, device=short).all_remedies]

    assert {"max_length": "256"} not in remedies(400)
    assert remedies(400)


def test_without_a_gpu_a_strategy_that_shares_out_is_told_to_share_nothing(bench: Bench) -> None:
    add(bench, *[40] * 30)
    shared = plan(bench, processes=2, strategy="fsdp")
    assert any(
        "without a GPU fsdp shares nothing out" in fact for fact in preflight.look(bench, shared, device=ROOM).facts
    )
    gpu = replace(ROOM, kind="cuda", name="GPU 0")
    found = preflight.look(bench, shared, device=gpu)
    assert any("whole model in every process" in fact for fact in found.facts)
    (refusal,) = preflight.look(bench, shared, device=replace(ROOM, free=1)).refusals
    assert refusal.name == "memory"
    assert preflight.look(bench, shared, device=replace(gpu, free=1)).refusals == ()


def test_a_strategy_whose_package_is_missing_is_refused_before_the_launch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.jobs.ranks.find_spec", lambda name: None)
    add(bench, *[40] * 30)
    found = preflight.look(bench, plan(bench, processes=2, strategy="zero2"), device=ROOM)
    with pytest.raises(RefusedError, match="strategy=zero2 needs DeepSpeed") as refused:
        found.refuse()
    assert "strategy=fsdp" in refused.value.hint and "--allow deepspeed" in refused.value.hint
    found.refuse(["deepspeed"])  # for a machine that has it
    assert preflight.look(bench, plan(bench, processes=2, strategy="fsdp"), device=ROOM).refusals == ()
    assert preflight.look(bench, plan(bench, strategy="zero2"), device=ROOM).refusals == ()


def test_too_little_memory_is_refused_and_each_remedy_makes_it_fit(bench: Bench) -> None:
    add(bench, *[1600] * 30)
    heavy = plan(bench, per_device_train_batch_size=16, max_length=512)
    half = preflight.look(bench, plan(bench, per_device_train_batch_size=8, max_length=512), device=ROOM).memory
    assert half is not None
    small = replace(ROOM, free=half.total)
    (refusal,) = preflight.look(bench, heavy, device=small).refusals
    assert refusal.name == "memory" and "GB are free on main memory" in refusal.said
    assert refusal.remedies[0].knobs == {"per_device_train_batch_size": "8", "gradient_accumulation_steps": "2"}
    for remedy in refusal.remedies:
        knobs = {"per_device_train_batch_size": "16", "max_length": "512"} | dict(remedy.knobs)
        assert preflight.look(bench, plan(bench, **knobs), device=small).refusals == (), remedy


def test_no_remedy_is_one_that_cannot_be_combined_with_the_rest(bench: Bench) -> None:
    add(bench, *[1600] * 30)
    heavy = plan(bench, adapter="prefix", per_device_train_batch_size=16, max_length=512)
    half = preflight.look(bench, plan(bench, per_device_train_batch_size=8, max_length=512), device=ROOM).memory
    assert half is not None
    (refusal,) = preflight.look(bench, heavy, device=replace(ROOM, free=half.total)).refusals
    assert refusal.remedies
    assert not any("gradient_checkpointing" in remedy.knobs for remedy in refusal.remedies)


def test_without_counting_every_row_is_taken_to_fill_the_window(bench: Bench) -> None:
    add(bench, *[40] * 30)
    one = plan(bench, max_length=512)
    quick, counted = (preflight.look(bench, one, count=count, device=ROOM).memory for count in (False, True))
    assert quick is not None and counted is not None
    assert quick.activations > 10 * counted.activations


def test_a_disk_too_small_for_the_checkpoints_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    add(bench, 40, 50)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    (refusal,) = preflight.look(bench, plan(bench, adapter="full"), device=ROOM).refusals
    assert refusal.name == "disk" and refusal.remedies[0].knobs == {"adapter": "lora"}


def test_the_best_weights_so_far_need_room_beside_the_checkpoints(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench, *[40] * 30)
    monkeypatch.setattr(preflight, "checkpoint_bytes", lambda shape, load: 10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 3 * 10**9}))
    knobs = {"adapter": "full", "eval_share": 0.1}
    assert preflight.look(bench, plan(bench, **knobs), device=ROOM).refusals == ()
    last = plan(bench, **knobs, eval_steps=5, load_best_model_at_end="false")
    assert preflight.look(bench, last, device=ROOM).refusals == ()
    (refusal,) = preflight.look(bench, plan(bench, **knobs, eval_steps=5), device=ROOM).refusals
    assert refusal.name == "disk"


def test_other_users_of_the_gpu_are_told_and_our_own_engine_counts_as_free(bench: Bench) -> None:
    add(bench, 40, 50)
    bench.engine.ensure()
    mine = bench.engine.status().pid
    users = (DeviceUser(999_999, "julia", 3 * 10**9), DeviceUser(mine or 0, "python", 2 * 10**9))
    gpu = Device("cuda", "H100", 80 * 10**9, 70 * 10**9, True, users)
    found = preflight.look(bench, plan(bench), device=gpu)
    assert found.device is not None and found.device.free == (72 if mine else 70) * 10**9
    assert any("also used by julia (999999) 3.0 GB" in fact for fact in found.facts)


def test_the_time_is_told_from_the_last_run_of_the_kind(bench: Bench) -> None:
    add(bench, *[400] * 30)
    before = plan(bench, max_steps=10)
    assert preflight.look(bench, before, device=ROOM).seconds is None
    run = train.launch(bench, before, start_runner=lambda runs: None)
    bench.store.runs.record(run.id, [Metric(3, "tokens_per_second", 50.0)], offset=1)
    found = preflight.look(bench, plan(bench, max_steps=10), device=ROOM)
    rows = 10 * int(before.spec.knobs["per_device_train_batch_size"])
    assert found.seconds == pytest.approx(rows * 102 / 50.0)


def test_a_large_set_is_counted_on_a_share_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_lengths, "LONGEST", 5)
    monkeypatch.setattr(row_lengths, "SPREAD", 5)
    add(bench, *[40] * 30, *[4000] * 7)
    found = preflight.look(bench, plan(bench, max_length=64), device=ROOM)
    assert found.lengths is not None and found.lengths.is_sample
    assert any(fact.startswith("at least") for fact in found.facts)
    assert any("counted on 10 of them" in fact for fact in found.facts)
    true_mean = (30 * 12 + 7 * 64) / 37
    assert found.lengths.mean_tokens(64) == pytest.approx(true_mean, rel=0.5)


def test_what_was_counted_is_not_counted_again_until_a_row_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = row_lengths.token_counts

    def counted(*args: object, **given: object) -> Iterator[object]:
        calls.append(1)
        return real(*args, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(row_lengths, "token_counts", counted)
    add(bench, 40, 50)
    for window in (64, 128):
        preflight.look(bench, plan(bench, max_length=window), device=ROOM)
    assert len(calls) == 1
    add(bench, 60, 70, 80)
    preflight.look(bench, plan(bench), device=ROOM)
    assert len(calls) == 2


def test_this_machine_has_a_device_to_train_on() -> None:
    here = training_device()
    assert here.kind in {"cpu", "cuda"} and 0 < here.free <= here.total


def test_a_container_has_no_more_memory_than_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    monkeypatch.setattr("workbench.jobs.devices._CGROUP", tmp_path)
    monkeypatch.setattr("workbench.jobs.devices.gpus", lambda: ())
    here = training_device()
    assert (here.total, here.free) == (1_000_000, 600_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert training_device().total > 1_000_000


def test_rows_that_no_trainer_begins_with_are_refused_before_they_wait_and_nobody_may_allow_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = row_lengths.token_counts

    def refused(*args: object, **given: object) -> Iterator[object]:
        yield from real(*args, **given)  # type: ignore[arg-type]
        raise RefusedError("example 1: the stop token '</s>' is not in the loss", hint="mend the template")

    monkeypatch.setattr(row_lengths, "token_counts", refused)
    add(bench, *[40] * 30)
    made = plan(bench)
    for _ in range(2):
        found = preflight.look(bench, made, device=ROOM)
        with pytest.raises(RefusedError, match="not in the loss") as error:
            found.refuse(["memory", "disk", "rows", ""])
        assert (error.value.hint, error.value.allow) == ("mend the template", ())
    assert preflight.look_before(bench, made).refusals == ()  # its trainer looks at once
    train.launch(bench, made, start_runner=lambda runs: None)
    assert preflight.look_before(bench, made).refusals != ()  # it would wait for another run
    monkeypatch.setattr(row_lengths, "token_counts", real)
    assert preflight.look_before(bench, made).refusals == ()  # mended, by whatever


def test_what_a_plan_allows_is_not_refused(bench: Bench) -> None:
    add(bench, *[40] * 30)
    short = replace(ROOM, free=10**6)
    allowed = train.plan(bench, method="sft", dataset="chats", allow=["memory"])
    assert allowed.command.endswith("--allow memory")
    found = preflight.look(bench, allowed, device=short)
    assert [refusal.name for refusal in found.refusals] == ["memory"]
    assert found.not_allowed(allowed.allow) == ()
    found.refuse(allowed.allow)


def test_every_row_that_does_not_fit_is_listed_with_what_becomes_of_it(bench: Bench) -> None:
    ids = add(bench, 40, 400, 4000)
    lengths = preflight.look(bench, plan(bench, max_length=64), device=ROOM).lengths
    assert lengths is not None
    told = list(lengths.listed(64))
    assert told == [f"example {ids[1]}: 102 tokens, 38 cut off", f"example {ids[2]}: 1,002 tokens, 938 cut off"]
    assert all("left out, no answer fits" in line for line in lengths.listed(1))

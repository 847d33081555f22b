from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain.queues import (
    DeviceUser,
    Gpu,
    Ticket,
    Wish,
    impossible,
    in_order,
    moved,
    others_on,
    startable,
    wish,
)
from workbench.errors import UsageError

GB = 10**9


def gpu(index: int, free: int = 80, *users: DeviceUser) -> Gpu:
    return Gpu(index, f"GPU-{index}", "H200", 140 * GB, free * GB, True, users)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("auto", Wish(1)),
        ("", Wish(1)),
        ("auto:3", Wish(3)),
        ("0,2", Wish(2, (0, 2))),
        (" 1 ", Wish(1, (1,))),
        ("cpu", Wish(0)),
    ],
)
def test_what_names_gpus_is_understood(text: str, wanted: Wish) -> None:
    assert wish(text) == wanted


@pytest.mark.parametrize("text", ["auto:0", "auto:x", "0,0", "first", "-1", "0;1", "auto,1"])
def test_what_names_no_gpus_is_refused_with_what_would(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        wish(text)
    assert "auto:2" in refused.value.hint


def test_the_freest_gpu_is_taken_first_and_no_gpu_twice() -> None:
    gpus = [gpu(0, 20), gpu(1, 90), gpu(2, 50)]
    started = list(startable([("a", wish("auto")), ("b", wish("auto:2")), ("c", wish("auto"))], gpus, ()))
    assert started == [("a", (gpus[1],)), ("b", (gpus[0], gpus[2]))]


def test_a_run_overtakes_another_only_onto_gpus_that_one_does_not_wait_for() -> None:
    gpus = [gpu(0), gpu(1), gpu(2)]
    waiting = [("wants 0 and 1", wish("0,1")), ("any", wish("auto")), ("wants 1", wish("1"))]
    assert list(startable(waiting, gpus, {"GPU-0"})) == [("any", (gpus[2],))]


def test_without_gpus_runs_train_one_at_a_time() -> None:
    waiting = [("a", wish("auto:4")), ("b", wish("auto"))]
    assert list(startable(waiting, (), ())) == [("a", ())]
    assert list(startable(waiting, (), {"cpu"})) == []


def test_a_run_for_the_cpu_goes_beside_one_on_a_gpu() -> None:
    only = gpu(0)
    assert list(startable([("a", wish("auto")), ("b", wish("cpu"))], [only], ())) == [("a", (only,)), ("b", ())]


def test_a_gpu_that_is_not_there_is_said_at_once() -> None:
    assert impossible(wish("0,5"), [gpu(0), gpu(1)]) == "there is no GPU 5 here, only 0, 1"
    assert impossible(wish("auto:3"), [gpu(0)]) == "it wants 3 GPUs, and there are 1"
    assert impossible(wish("auto:3"), ()) == impossible(wish("auto"), [gpu(0)]) == ""


def test_other_processes_on_a_gpu_are_told_with_what_they_hold() -> None:
    shared = gpu(0, 80, DeviceUser(7, "python", 30 * GB), DeviceUser(8, "ours", GB), DeviceUser(9, "x", None))
    assert others_on([shared], {8}) == "python (7) holds 30.0 GB on GPU 0 (H200); x (9) on GPU 0 (H200)"


@given(st.integers(1, 6), st.data())
def test_moving_changes_the_place_of_one_run_among_the_others_and_nothing_else(count: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    tickets = {f"r{i}": Ticket(place=float(place), gpus=str(i)) for i, place in enumerate(places)}
    before = in_order(list(tickets.items()))
    name = data.draw(st.sampled_from(before))
    steps = data.draw(st.integers(-7, 7))
    changed = moved(list(tickets.items()), name, steps)
    after = in_order(list((tickets | changed).items()))
    assert [one for one in after if one != name] == [one for one in before if one != name]
    assert after.index(name) == min(max(before.index(name) + steps, 0), count - 1)
    assert {one: t.gpus for one, t in (tickets | changed).items()} == {one: t.gpus for one, t in tickets.items()}

"""How the rows of a step are shared out, and the machines of a hosts list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import methods
from workbench.domain.placement import Host, parse_hosts, share_of_batch, shared
from workbench.errors import RefusedError, UsageError

small = st.integers(1, 64)


@given(batch=small, passes=small, processes=st.integers(1, 16))
def test_a_step_of_all_processes_sees_the_rows_of_a_step_of_one(batch: int, passes: int, processes: int) -> None:
    found = share_of_batch(batch, passes, processes)
    if found is None:
        assert batch * passes % processes
        return
    rows, own_passes = found
    assert rows * own_passes * processes == batch * passes
    assert 1 <= rows <= batch


def test_passes_are_shared_out_before_the_rows_of_a_pass() -> None:
    assert share_of_batch(8, 4, 2) == (8, 2)
    assert share_of_batch(8, 1, 2) == (4, 1)
    assert share_of_batch(6, 2, 4) == (3, 1)


def test_a_method_that_compares_rows_of_a_pass_keeps_enough_of_them() -> None:
    kto = methods.get("kto")
    knobs = kto.values("tiny", {"per_device_train_batch_size": "4", "gradient_accumulation_steps": "1"})
    assert shared(kto, knobs, 2)["per_device_train_batch_size"] == 2
    with pytest.raises(RefusedError, match="4 rows of a step cannot be shared out evenly between 4"):
        shared(kto, knobs, 4)


def test_a_hosts_list_is_read_as_other_launchers_write_it() -> None:
    text = "# the rack\n10.0.0.1 slots=8\n\ngpu-2 slots=8  # borrowed\n"
    assert parse_hosts(text) == (Host("10.0.0.1", 8), Host("gpu-2", 8))
    assert parse_hosts("here") == (Host("here", 1),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# none\n", "is empty"),
        ("a slots=two", "line 1"),
        ("a\nb slots=2 fast", "line 2"),
        ("-oProxyCommand=x", "line 1"),
        ("a slots=1\nb slots=2", "same number of slots"),
        ("a\na", "twice"),
    ],
)
def test_a_hosts_list_that_cannot_be_meant_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_hosts(text)

"""What a run does when its batch does not fit."""

from __future__ import annotations

import pytest

from workbench.domain.runs import smaller_batch


@pytest.mark.parametrize("batch", range(2, 65))
def test_a_smaller_batch_leaves_a_step_the_same_rows(batch: int) -> None:
    found = smaller_batch(batch, 3)
    assert found is not None
    rows, passes = found
    assert rows <= batch / 2
    assert rows * passes == batch * 3


@pytest.mark.parametrize(("batch", "fewest"), [(1, 1), (2, 2), (3, 2), (5, 2)])
def test_there_is_none_below_the_fewest_rows_that_the_method_can_work_with(batch: int, fewest: int) -> None:
    assert smaller_batch(batch, 1, fewest=fewest) is None

"""Rows of one sheet taken into another: nothing of them changes, and nothing is copied that need not be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workbench.worker.engine.sheet import Past, Sheet

pytestmark = pytest.mark.ml

LAYERS, HEADS, SIZE = 2, 3, 4


def read(*lengths: int, seed: int = 0) -> Sheet:
    """A sheet whose rows have been read, with random keys and values."""
    import torch

    from workbench.worker.engine.sheet import Past, Sheet

    torch.manual_seed(seed)
    sheet = Sheet(torch.device("cpu"))
    sheet.lay(lengths, 0, [Past()] * len(lengths))
    step(sheet, max(lengths))
    return sheet


def step(sheet: Sheet, new: int = 1) -> None:
    """Let every row grow."""
    import torch

    sheet.reserve(new)
    for number in range(LAYERS):
        sheet.cache.update(*torch.randn(2, len(sheet.firsts), HEADS, new, SIZE).unbind(), number)
    sheet.advance(new)


def kept(past: Past) -> list[Any]:
    return [tensor.clone() for layer in past.layers for tensor in layer]


def same(past: Past, tensors: list[Any]) -> bool:
    import torch

    return all(map(torch.equal, kept(past), tensors)) and len(past.layers) == LAYERS


def addresses(sheet: Sheet) -> list[int]:
    return [tensor.data_ptr() for layer in sheet.cache.layers for tensor in (layer.keys, layer.values)]


def test_a_sheet_without_rows_takes_all_those_of_another_over_as_they_lie() -> None:
    sheet, other = read(1), read(5, 2, 7)
    sheet.drop(0)
    before, lie = [kept(other.past(row)) for row in range(3)], addresses(other)
    sheet.join(other, [0, 1, 2])
    assert addresses(sheet) == lie
    step(sheet)
    assert [sheet.length(row) for row in range(3)] == [6, 3, 8]
    for row, tensors in enumerate(before):
        grown = kept(sheet.past(row))
        assert all((one[:, :-1] == two).all() for one, two in zip(grown, tensors, strict=True))


@pytest.mark.parametrize("rows", [[1], [2, 0], [0, 1, 2], [1, 1, 1, 0]])
@pytest.mark.parametrize("own", [(), (3,), (9, 4)])
def test_rows_join_others_as_they_were(own: tuple[int, ...], rows: list[int]) -> None:
    sheet = read(*own, seed=1) if own else read(1)
    if not own:
        sheet.drop(0)
    other = read(5, 2, 7)
    expected = [kept(sheet.past(row)) for row in range(len(own))] + [kept(other.past(row)) for row in rows]
    sheet.join(other, rows)
    assert [same(sheet.past(row), tensors) for row, tensors in enumerate(expected)] == [True] * len(expected)


def test_room_for_many_that_join_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.worker.engine.sheet import Sheet

    moves, move = [], Sheet._move
    monkeypatch.setattr(Sheet, "_move", lambda sheet, *where: moves.append(where) or move(sheet, *where))
    sheet = read(3)
    sheet.join(read(*range(2, 18)), list(range(16)))
    assert len(sheet.firsts) == 17 and len(moves) == 1


def test_a_batch_that_failed_keeps_no_rows_for_those_that_join_it_then() -> None:
    import torch

    from workbench.worker.engine.batch import Batch
    from workbench.worker.engine.wire import Refusal

    resident: Any = SimpleNamespace(device=torch.device("cpu"))
    batch, ended = Batch(resident, "", lambda row, end: ended.append(end)), list[Any]()
    lane: Any = SimpleNamespace(row=None)
    batch.lanes.append(lane)
    batch._next.append(7)
    batch._take_in(read(3), [0])
    batch.fail(refusal := Refusal("no memory", code="out_of_memory"))
    batch._take_in(read(5, 2), [0, 1])
    assert ended == [refusal] and (batch.lanes, batch._next) == ([], [])
    assert [batch._sheet.length(row) for row in range(len(batch._sheet.firsts))] == [5, 2]

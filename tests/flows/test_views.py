"""Saving a list: what could not be shown again is refused."""

from __future__ import annotations

import pytest

from workbench.domain.queries import View
from workbench.errors import NotFoundError, UsageError
from workbench.flows import views
from workbench.flows.bench import Bench


def test_a_list_is_saved_as_it_is_shown(bench: Bench) -> None:
    bench.store.datasets.ensure("d")
    saved = views.save(bench, " todo ", query="status:pending", dataset="d", order="-words")
    assert saved == View("todo", "d", "status:pending", "-words") == views.view(bench, "todo")
    views.delete(bench, "todo")
    assert views.views(bench) == []


@pytest.mark.parametrize(
    ("given", "error"),
    [({"query": "statu:x"}, UsageError), ({"order": "sideways"}, UsageError), ({"dataset": "gone"}, NotFoundError)],
)
def test_what_cannot_be_shown_is_not_saved(bench: Bench, given: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        views.save(bench, "v", **given)
    assert views.views(bench) == []

"""Views: lists under a name."""

from __future__ import annotations

import pytest

from workbench.domain.queries import View
from workbench.errors import DataError, NotFoundError
from workbench.store.store import Store


def test_a_view_is_kept_replaced_and_forgotten(store: Store) -> None:
    first, second = View("b", "d", "status:pending", "-updated"), View("a")
    store.views.save(first)
    store.views.save(second)
    assert store.views.list() == [second, first]
    changed = View("b", "", "tag:x", "id")
    store.views.save(changed)
    assert store.views.get("b") == changed and len(store.views.list()) == 2
    store.views.delete("b")
    assert store.views.list() == [second]


def test_a_view_that_is_not_there_is_said_by_its_name(store: Store) -> None:
    for act in (store.views.get, store.views.delete):
        with pytest.raises(NotFoundError, match="'none'"):
            act("none")
    with pytest.raises(DataError):
        store.views.save(View("two words"))

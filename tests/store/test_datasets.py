from __future__ import annotations

import pytest

from samples import IMPORTED, demo, pair, thumb
from workbench.domain.decisions import Action
from workbench.domain.examples import Status
from workbench.errors import DataError, NotFoundError, UsageError
from workbench.store.store import Store


def test_a_dataset_is_made_once(store: Store) -> None:
    assert store.datasets.ensure("chats") == store.datasets.ensure("chats")
    assert [dataset.name for dataset in store.datasets.list()] == ["chats"]


def test_a_dataset_counts_its_visible_examples_by_status_and_kind(store: Store) -> None:
    store.datasets.ensure("empty")
    ids = [
        store.examples.add("d", content, source=IMPORTED, status=Status.PENDING, rater="r")[0].id
        for content in (demo(1), demo(2), pair(1), thumb(1))
    ]
    store.examples.change(ids[:2], Action.ACCEPT, rater="r", status=Status.ACCEPTED)
    store.examples.change(ids[2:3], Action.REJECT, rater="r", status=Status.REJECTED)
    store.examples.add("d", demo(3), source=IMPORTED, status=Status.PENDING, rater="other")
    store.examples.undo("other")
    found = store.datasets.get("d")
    assert (found.total, found.pending, found.accepted, found.rejected) == (4, 1, 2, 1)
    assert (found.demonstrations, found.preferences, found.judgements) == (2, 1, 1)
    assert store.datasets.get("empty").total == 0
    assert [dataset.name for dataset in store.datasets.list()] == ["d", "empty"]


def test_a_dataset_is_found_by_name_id_and_unique_start(store: Store) -> None:
    chats, votes = store.datasets.ensure("chats"), store.datasets.ensure("votes")
    store.datasets.ensure("votes-old")
    assert store.datasets.get(chats.id) == store.datasets.get(str(chats.id)) == store.datasets.get("cha") == chats
    assert store.datasets.get("votes") == votes, "the whole name wins over being the start of another"
    with pytest.raises(UsageError, match="votes, votes-old"):
        store.datasets.get("vo")


def test_a_name_comes_before_an_id(store: Store) -> None:
    store.datasets.ensure("2")
    second = store.datasets.ensure("second")
    assert store.datasets.get("2").name == "2"
    assert store.datasets.get(second.id).name == "second"


def test_a_missing_dataset_is_reported_with_the_nearest_name(store: Store) -> None:
    store.datasets.ensure("chats")
    with pytest.raises(NotFoundError) as caught:
        store.datasets.get("chast")
    assert "'chats'" in caught.value.hint
    for address in ("", 99, "99999999999999999999999", "³"):
        with pytest.raises(NotFoundError):
            store.datasets.get(address)


@pytest.mark.parametrize("name", ["", " x", "../x", "a b", "x" * 97, "\x1b[31m"])
def test_a_name_that_cannot_address_a_dataset_is_refused(store: Store, name: str) -> None:
    with pytest.raises(DataError):
        store.datasets.ensure(name)
    assert store.datasets.list() == []

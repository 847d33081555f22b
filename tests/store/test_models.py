from __future__ import annotations

import pytest

from workbench.domain.models import ModelKind
from workbench.errors import NotFoundError, RefusedError
from workbench.store.store import Store


def test_a_model_comes_back_as_it_was_added(store: Store) -> None:
    added = store.models.add("pip", ModelKind.BASE, "/models/pip", sha256="ab", note="small")
    assert store.models.get("pip") == store.models.get(added.id) == store.models.get("pi") == added
    tuned = store.models.add("tuned", ModelKind.ADAPTER, "/runs/1/adapter", base="pip", run_id=1)
    assert (tuned.kind, tuned.base, tuned.run_id) == (ModelKind.ADAPTER, "pip", 1)
    assert store.models.list() == [added, tuned]


def test_a_name_is_given_once(store: Store) -> None:
    store.models.add("pip", ModelKind.BASE, "/a")
    with pytest.raises(RefusedError):
        store.models.add("pip", ModelKind.BASE, "/b")
    assert [model.path for model in store.models.list()] == ["/a"]


def test_a_base_cannot_be_removed_from_under_its_adapters(store: Store) -> None:
    store.models.add("pip", ModelKind.BASE, "/a")
    store.models.add("tuned", ModelKind.ADAPTER, "/b", base="pip")
    with pytest.raises(RefusedError, match="tuned"):
        store.models.remove("pip")
    store.models.remove("tuned")
    assert store.models.remove("pip").name == "pip"
    assert store.models.list() == []


def test_the_default_is_the_base_that_was_first(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.models.default()
    store.models.add("first", ModelKind.BASE, "/a")
    store.models.add("second", ModelKind.BASE, "/b")
    assert store.models.default().name == "first"

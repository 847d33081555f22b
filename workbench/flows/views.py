"""Lists that a person comes back to: saved under a name, opened, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.domain.queries import View, parse_query
from workbench.store.queries import order_by

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


def save(bench: Bench, name: str, *, query: str = "", dataset: str = "", order: str = "id") -> View:
    """Keep what a query finds, in a dataset ("" means all) and in an order, under a name.

    Raises ``UsageError`` for a query or an order that cannot be read, ``NotFoundError`` for an unknown dataset.
    """
    parse_query(query)
    order_by(order)
    if dataset:
        bench.store.datasets.id_of(dataset)
    view = View(name.strip(), dataset, query.strip(), order)
    bench.store.views.save(view)
    return view


def views(bench: Bench) -> list[View]:
    """Every view, by name."""
    return bench.store.views.list()


def view(bench: Bench, name: str) -> View:
    """The view of this name; raises ``NotFoundError``."""
    return bench.store.views.get(name)


def delete(bench: Bench, name: str) -> None:
    """Forget a view, not its examples; raises ``NotFoundError``."""
    bench.store.views.delete(name)

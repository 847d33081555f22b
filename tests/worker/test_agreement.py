"""Coefficients of agreement against published tables; the child process as a bench starts it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from workbench.domain.agreement import Agreement, Judged, RaterPair, agreement_from_dict, is_shared, words
from workbench.jobs.agreement import agreement

pytestmark = pytest.mark.ml  # numpy and scikit-learn take two seconds to load

# Four observers and twelve units: K. Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example C.
TABLE_C = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def computed(judged: Sequence[Judged]) -> Agreement:
    """The same in this process: the libraries are loaded once."""
    from workbench.worker.agreement import agreement as compute

    return agreement_from_dict(compute((one.rater, one.unit, one.label) for one in judged))


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    judged = [
        Judged(f"observer {n}", unit, label)
        for n, row in enumerate(TABLE_C)
        for unit, label in enumerate(row.split())
        if label != "."
    ]
    found = computed(judged)
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert found.units == 11, "of the last unit there is one observation only"
    assert len(found.pairs) == 6


def test_kappa_is_cohens() -> None:
    """Both said yes to 20, both no to 15, and they differed on 5 and 10: (0.7 - 0.5) / (1 - 0.5)."""
    table = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    judged, unit = [], 0
    for (first, second), count in table.items():
        for _ in range(count):
            unit += 1
            judged += [Judged("ann", unit, first), Judged("bob", unit, second)]
    (pair,) = computed(judged).pairs
    assert (pair.a, pair.b, pair.units, pair.observed) == ("ann", "bob", 50, 0.7)
    assert pair.kappa == pytest.approx(0.4)


def test_what_cannot_be_computed_is_none_and_not_a_number() -> None:
    """Asked of a child process, as the results do."""
    judged = [Judged("ann", 1, "a"), Judged("bob", 1, "a"), Judged("eve", 2, "b")]
    assert agreement(judged) == Agreement(None, 1, (RaterPair("ann", "bob", 1, 1.0, None),))


def test_words_and_what_is_shared() -> None:
    assert [words(value) for value in (None, -0.1, 0.1, 0.5, 0.9)] == [
        "not known", "none", "slight", "moderate", "almost perfect",
    ]  # fmt: skip
    assert is_shared([Judged("a", 1, "x"), Judged("b", 1, "y")])
    assert not is_shared([Judged("a", 1, "x"), Judged("b", 2, "y"), Judged("a", 1, "y")])

"""Agreement between raters: Cohen's kappa by scikit-learn, Krippendorff's alpha by ``krippendorff``.

``python -m workbench.worker.agreement`` reads ``[rater, unit, label]`` lines and prints one JSON object. A coefficient
that has no value (a single label, nothing shared) is null.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable
from itertools import combinations
from math import isnan
from typing import Any


def main() -> int:
    """Read, compute, print."""
    print(json.dumps(agreement(json.loads(line) for line in sys.stdin)))
    return 0


def agreement(rows: Iterable[tuple[str, int, str]]) -> dict[str, Any]:
    """The coefficients of what raters said about units; what was said last about a unit holds."""
    said: dict[str, dict[int, str]] = {}
    for rater, unit, label in rows:
        said.setdefault(rater, {})[unit] = label
    pairs = [_pair(a, b, said[a], said[b]) for a, b in combinations(sorted(said), 2)]
    alpha, units = _alpha(said)
    return {"krippendorff_alpha": alpha, "units": units, "pairs": [pair for pair in pairs if pair["units"]]}


def _pair(a: str, b: str, of_a: dict[int, str], of_b: dict[int, str]) -> dict[str, Any]:
    from sklearn.metrics import cohen_kappa_score

    shared = sorted(of_a.keys() & of_b.keys())
    first, second = [of_a[unit] for unit in shared], [of_b[unit] for unit in shared]
    kappa = None
    if len({*first, *second}) > 1:
        kappa = _number(cohen_kappa_score(first, second))
    same = sum(x == y for x, y in zip(first, second, strict=True))
    return {
        "a": a,
        "b": b,
        "units": len(shared),
        "observed": same / len(shared) if shared else 0.0,
        "cohen_kappa": kappa,
    }


def _alpha(said: dict[str, dict[int, str]]) -> tuple[float | None, int]:
    """Alpha for nominal data with gaps, and on how many units more than one rater said something."""
    import krippendorff
    import numpy as np

    units = sorted({unit for ratings in said.values() for unit in ratings})
    labels = sorted({label for ratings in said.values() for label in ratings.values()})
    counts = np.zeros((len(units), len(labels)), dtype=int)
    row, column = {u: n for n, u in enumerate(units)}, {name: n for n, name in enumerate(labels)}
    for ratings in said.values():
        for unit, label in ratings.items():
            counts[row[unit], column[label]] += 1
    counts = counts[counts.sum(axis=1) > 1]
    if len(counts) == 0 or (counts.sum(axis=0) > 0).sum() < 2:
        return None, len(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alpha = krippendorff.alpha(value_counts=counts, value_domain=labels, level_of_measurement="nominal")
    return _number(alpha), len(counts)


def _number(value: float) -> float | None:
    return None if isnan(value) else float(value)


if __name__ == "__main__":
    sys.exit(main())

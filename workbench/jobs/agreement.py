"""The agreement between raters, computed by a child process, because the libraries that know it load numpy."""

from __future__ import annotations

import json
from collections.abc import Iterable

from workbench.domain.agreement import Agreement, Judged, agreement_from_dict
from workbench.jobs.children import converse

MODULE = "workbench.worker.agreement"


def agreement(judged: Iterable[Judged]) -> Agreement:
    """Cohen's kappa and Krippendorff's alpha of what raters said; takes a second or two. Raises ``WorkbenchError``."""
    lines = (json.dumps([one.rater, one.unit, one.label]) for one in judged)
    return agreement_from_dict(json.loads("".join(converse(MODULE, (), lines))))

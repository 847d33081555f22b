"""The metrics of ``eval`` against counts by hand and sacrebleu itself."""

from __future__ import annotations

import pytest
import sacrebleu

from workbench.jobs.metrics import metrics

pytestmark = pytest.mark.ml  # evaluate and datasets in a child: some seconds

PAIRS = [
    ("The cat sat.", "the cat sat"),
    (" two \n", "two"),
    ("nothing like it", "a wholly other text"),
    ("", "word"),
    ("a a b", "a b b"),
    ("...", "?"),
]


def test_the_metrics_are_what_they_say() -> None:
    found = metrics(PAIRS)
    answers, references = [a for a, _ in PAIRS], [r for _, r in PAIRS]
    assert found["rows"] == 6
    assert found["exact_match"] == pytest.approx(1 / 6)  # the second; the first differs in case and a full stop
    assert found["token_f1"] == pytest.approx((1 + 1 + 0 + 0 + 2 * 2 / 6 + 1) / 6)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references]).score)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score)
    assert len(found["signatures"]) == 2

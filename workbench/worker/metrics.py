"""How near answers come to references: exact match, token F1, chrF and BLEU, as metrics of ``evaluate``, offline.

``python -m workbench.worker.metrics`` reads ``[answer, reference]`` lines and prints one JSON object. The metrics are
classes here, because ``evaluate.load`` fetches a script from the hub for each name.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any

import datasets
import evaluate

_WORD = re.compile(r"\w+")


class _TextMetric(evaluate.Metric):
    """A metric on two texts."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="",
            inputs_description="predictions: answers; references: one text each",
            features=datasets.Features({"predictions": text, "references": text}),
        )


class ExactMatch(_TextMetric):
    """The share of answers that are the reference, but for blanks at the ends."""

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        same = sum(a.strip() == b.strip() for a, b in zip(predictions, references, strict=True))
        return {"exact_match": same / len(references)}


class TokenF1(_TextMetric):
    """The mean of the harmonic means of precision and recall of words, without case, as SQuAD counts them.

    Articles are kept: they are English only.
    """

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        pairs = zip(predictions, references, strict=True)
        return {"token_f1": sum(token_f1(answer, reference) for answer, reference in pairs) / len(references)}


class SacreBleu(_TextMetric):
    """Corpus chrF and BLEU by sacrebleu, 0 to 100, with its signatures."""

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        from sacrebleu.metrics import BLEU, CHRF

        chrf, bleu = CHRF(), BLEU(effective_order=len(references) == 1)
        found = {
            "chrf": chrf.corpus_score(predictions, [references]).score,
            "bleu": bleu.corpus_score(predictions, [references]).score,
        }
        return found | {"signatures": [str(chrf.get_signature()), str(bleu.get_signature())]}


def token_f1(answer: str, reference: str) -> float:
    """1 for the same words in any order, 0 for none in common; two texts without words are the same."""
    said, wanted = (Counter(_WORD.findall(text.casefold())) for text in (answer, reference))
    if not said and not wanted:
        return 1.0
    return 2 * (said & wanted).total() / (said.total() + wanted.total())


def metrics(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Every metric on these pairs of answer and reference."""
    combined = evaluate.combine([ExactMatch(), TokenF1(), SacreBleu()])
    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    return combined.compute(predictions=answers, references=references) | {"rows": len(pairs)}


def main() -> int:
    """Read, compute, print."""
    pairs = [tuple(json.loads(line)) for line in sys.stdin]
    print(json.dumps(metrics(pairs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

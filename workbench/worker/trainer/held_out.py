"""The held-out loss, and for preference methods the held-out reward accuracy and margin.

The loss is the sum of the completion tokens' negative log-probabilities over their number, so it does not depend on how
rows are put into batches; ``Trainer.evaluate`` gives a mean of batch means, which does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import datasets
import evaluate
import torch

if TYPE_CHECKING:
    from transformers import Trainer

IGNORED = -100


class CompletionLoss(evaluate.Metric):
    """Token-weighted loss: predictions are a row's summed log-probability, references its number of tokens."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="negative log-probability per completion token",
            citation="",
            inputs_description="predictions: summed log-probability; references: tokens",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        tokens = sum(references)
        loss = -math.fsum(predictions) / tokens
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "tokens": tokens}


class PairedRewards(evaluate.Metric):
    """Accuracy and mean margin of rewards: predictions are those of the better answers, references of the worse.

    Equal rewards count as half right: before training policy and reference are one, which is a coin's accuracy. The
    loss of the pairs is the mean of -log sigmoid(margin), as reward models and DPO learn by it.
    """

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value("float64")
        return evaluate.MetricInfo(
            description="how often, and by how much, the better answer has the higher reward",
            citation="",
            inputs_description="predictions: rewards of the better; references: rewards of the worse",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        margins = [better - worse for better, worse in zip(predictions, references, strict=True)]
        return {
            "accuracy": _share_right(margins),
            "margin": math.fsum(margins) / len(margins),
            "pair_loss": _mean_loss(margins),
        }


class LabelledRewards(evaluate.Metric):
    """Accuracy and margin of single rewards: predictions are rewards, references are labels (1 up, 0 down).

    Right is a reward above zero for a thumb up, below for a thumb down; the margin is the difference of the means, and
    the loss the mean of -log sigmoid(reward), with the reward's sign turned for a thumb down.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="how often the reward has the sign of the label, and how far apart the two are",
            citation="",
            inputs_description="predictions: rewards; references: labels",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        up = [r for r, label in zip(predictions, references, strict=True) if label]
        down = [r for r, label in zip(predictions, references, strict=True) if not label]
        signed = [*up, *(-r for r in down)]
        scores = {"accuracy": _share_right(signed), "pair_loss": _mean_loss(signed)}
        if up and down:
            scores["margin"] = math.fsum(up) / len(up) - math.fsum(down) / len(down)
        return scores


@dataclass(frozen=True, slots=True)
class Batch:
    """One padded batch: row numbers, model inputs ``(sequences, length)``, and labels with -100 outside the loss."""

    rows: list[int]
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    thumbs: list[int] | None


class HeldOut:
    """Measures a trainer's model on its own held-out rows. Draws no random number and leaves the model as it was.

    ``check`` is called between batches and may raise to end a measurement early.
    """

    def __init__(self, trainer: Trainer, *, batch_size: int, beta: float, check: Callable[[], None]) -> None:
        self._trainer = trainer
        self._batch_size = batch_size
        self._beta = beta
        self._check = check
        self._reference: dict[int, list[float]] = {}

    @property
    def rows(self) -> int:
        """How many rows are held out."""
        return len(self._trainer.eval_dataset) if self._trainer.eval_dataset is not None else 0

    def measure(self, *, start: bool = False) -> dict[str, float]:
        """Loss, perplexity, tokens and, for a preference method, accuracy and margin; empty without held-out rows.

        ``start`` measures the model that training starts from.
        """
        if not self.rows:
            return {}
        model = self._trainer.model
        was_training = model.training
        model.eval()
        # A learnt prompt says something before its first step; every other adapter begins without effect.
        untouched = model.disable_adapter() if start and _has_learnt_prompt(model) else nullcontext()
        try:
            with torch.no_grad(), untouched, self._trainer.accelerator.autocast():
                return self._measure()
        finally:
            model.train(was_training)

    def _measure(self) -> dict[str, float]:
        loss = CompletionLoss(keep_in_memory=True, seed=0)
        rewards: evaluate.Metric | None = None
        for batch in self._batches():
            self._check()
            sums, counts = self._log_probs(self._trainer.model, batch)
            liked = _liked(batch, len(sums))
            loss.add_batch(predictions=[sums[i] for i in liked], references=[counts[i] for i in liked])
            gains = self._gains(batch, sums, counts)
            if not gains:
                continue
            rewards = rewards or (LabelledRewards if batch.thumbs else PairedRewards)(keep_in_memory=True, seed=0)
            half = len(gains) // 2
            better, worse = (gains, batch.thumbs) if batch.thumbs else (gains[:half], gains[half:])
            rewards.add_batch(predictions=better, references=worse)
        return self._results(loss, rewards)

    def _results(self, loss: CompletionLoss, rewards: evaluate.Metric | None) -> dict[str, float]:
        has_tokens = len(loss) > 0
        scores = loss.compute() if has_tokens else {}
        return {"rows": self.rows, **scores, **(rewards.compute() if rewards else {})}

    def _gains(self, batch: Batch, sums: list[float], counts: list[int]) -> list[float]:
        """The implicit rewards of the batch's sequences; empty for a method that compares nothing."""
        if not hasattr(self._trainer, "ref_model"):
            return []
        return [self._beta * (p - r) for p, r in zip(sums, self._reference_sums(batch), strict=True)]

    def _batches(self) -> Iterator[Batch]:
        dataset = self._trainer.eval_dataset
        # KTO's mismatched completions serve its training loss only.
        dataset = dataset.remove_columns([c for c in dataset.column_names if c.startswith("KL_")])
        order = sorted(range(len(dataset)), key=lambda i: -_length(dataset[i]))
        for start in range(0, len(order), self._batch_size):
            numbers = order[start : start + self._batch_size]
            yield self._collated(numbers, [dataset[i] for i in numbers])

    def _collated(self, numbers: list[int], rows: list[dict[str, Any]]) -> Batch:
        batch = self._trainer._prepare_inputs(self._trainer.data_collator(rows))
        labels = batch.get("labels")
        if labels is None:
            labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        thumbs = [int(v) for v in batch["label"].tolist()] if "label" in batch else None
        return Batch(numbers, inputs, labels, thumbs)

    def _log_probs(self, model: Any, batch: Batch) -> tuple[list[float], list[int]]:
        return summed_log_probs(model, batch.inputs, batch.labels)

    def _reference_sums(self, batch: Batch) -> list[float]:
        key = batch.rows[0]
        if key not in self._reference:
            self._reference[key] = self._measure_reference(batch)
        return self._reference[key]

    def _measure_reference(self, batch: Batch) -> list[float]:
        trainer = self._trainer
        if trainer.ref_model is not None:
            return self._log_probs(trainer.ref_model, batch)[0]
        from trl.trainer.utils import use_adapter

        model = trainer.accelerator.unwrap_model(trainer.model)
        with use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None):
            return self._log_probs(trainer.model, batch)[0]


def summed_log_probs(
    model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor
) -> tuple[list[float], list[int]]:
    """For each sequence the log-probability of its labelled tokens, summed, and how many those are.

    ``inputs`` and ``labels`` are ``(sequences, length)``; -100 stands where a token does not count. Through the fused
    head that TRL's trainers put on the model: the logits ``(sequences, length, vocab)`` are never whole.
    """
    output = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
    learnt = labels[:, 1:] != IGNORED
    sums = (output.log_probs[:, -learnt.size(1) :].double() * learnt).sum(dim=1)
    return sums.tolist(), learnt.sum(dim=1).tolist()


def _has_learnt_prompt(model: Any) -> bool:
    config = getattr(model, "active_peft_config", None)
    return config is not None and config.is_prompt_learning


def _liked(batch: Batch, sequences: int) -> list[int]:
    """The sequences whose tokens count for the loss: all, a pair's better answers, or the answers with a thumb up."""
    if batch.thumbs is not None:
        return [i for i, up in enumerate(batch.thumbs) if up]
    return list(range(min(sequences, len(batch.rows))))


def _length(row: dict[str, Any]) -> int:
    return sum(len(ids) for name, ids in row.items() if name.endswith("_ids"))


def _share_right(margins: list[float]) -> float:
    return math.fsum(1.0 if m > 0 else 0.5 if m == 0 else 0.0 for m in margins) / len(margins)


def _mean_loss(margins: list[float]) -> float:
    """The mean of -log sigmoid(margin)."""
    return math.fsum(max(-m, 0.0) + math.log1p(math.exp(-abs(m))) for m in margins) / len(margins)

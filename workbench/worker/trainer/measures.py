"""What is measured on held-out rows by methods that have no reference model: pairs compared per token, and scores."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

import torch
from trl.trainer.utils import add_fused_lm_head

from workbench.domain.methods import Measure
from workbench.worker.generating import greedy, prompt_ids
from workbench.worker.trainer.held_out import IGNORED, Batch, CompletionLoss, HeldOut, PairedRewards
from workbench.worker.trainer.rows import stop_ids


class HeldOutPairs(HeldOut):
    """Pairs without a reference: the reward is the mean log-probability of the answer's tokens, times beta."""

    def __init__(self, trainer: Any, **rest: Any) -> None:
        super().__init__(trainer, **rest)
        _fuse_head(trainer)

    def _collated(self, numbers: list[int], rows: list[dict[str, Any]]) -> Batch:
        sequences = [
            (row[f"{name}_input_ids"], row[f"{name}_labels"]) for name in ("chosen", "rejected") for row in rows
        ]
        ids = _padded([ids for ids, _ in sequences], self._trainer.processing_class.pad_token_id or 0)
        labels = _padded([labels for _, labels in sequences], IGNORED)
        mask = _padded([[1] * len(ids) for ids, _ in sequences], 0)
        device = self._trainer.args.device
        return Batch(numbers, {"input_ids": ids.to(device), "attention_mask": mask.to(device)}, labels.to(device), None)

    def _gains(self, batch: Batch, sums: list[float], counts: list[int]) -> list[float]:
        return [self._beta * total / max(1, count) for total, count in zip(sums, counts, strict=True)]


class HeldOutScores(HeldOut):
    """Pairs under a reward model: the loss of the pairs, and how often and how far the better answer is ahead."""

    def _measure(self) -> dict[str, float]:
        rewards = PairedRewards(keep_in_memory=True, seed=0)
        better, worse = [], []
        dataset = self._trainer.eval_dataset
        order = sorted(range(len(dataset)), key=lambda i: -len(dataset[i]["chosen_ids"]))
        for start in range(0, len(order), self._batch_size):
            self._check()
            rows = [dataset[i] for i in order[start : start + self._batch_size]]
            inputs = self._trainer._prepare_inputs(self._trainer.data_collator(rows))
            scores = self._trainer.model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
            ).logits[:, 0]
            better += scores[: len(rows)].double().tolist()
            worse += scores[len(rows) :].double().tolist()
        rewards.add_batch(predictions=better, references=worse)
        scores = rewards.compute()
        return {"rows": self.rows, "loss": scores.pop("pair_loss"), **scores}


class HeldOutTeacher(HeldOut):
    """How far the model is from its teacher along the teacher's own greedy answers to the held-out prompts.

    The loss is the model's on those answers; the divergence is the forward one (Kullback-Leibler, nats per token), and
    the agreement the share of tokens at which both find the same one likeliest.
    """

    def __init__(self, trainer: Any, **rest: Any) -> None:
        super().__init__(trainer, **rest)
        _fuse_head(trainer)
        self._answered: list[tuple[list[int], list[int]]] | None = None

    def _measure(self) -> dict[str, float]:
        trainer = self._trainer
        loss = CompletionLoss(keep_in_memory=True, seed=0)
        model, teacher = (trainer.accelerator.unwrap_model(one) for one in (trainer.model, trainer.teacher_model))
        if self._answered is None:
            self._answered = self._teachers_answers(teacher)
        divergence, same, tokens = 0.0, 0, 0
        for prompt, answer in self._answered:
            self._check()
            told, wanted = (_log_likelihoods(one, prompt, answer) for one in (model, teacher))
            said = torch.tensor(answer, device=told.device)
            loss.add(prediction=told.gather(1, said[:, None]).sum().item(), reference=len(answer))
            divergence += (wanted.exp() * (wanted - told)).sum().item()
            same += int((told.argmax(dim=1) == wanted.argmax(dim=1)).sum())
            tokens += len(answer)
        scores = self._results(loss, None)
        return scores | {"divergence": divergence / tokens, "agreement": same / tokens} if tokens else scores

    def _teachers_answers(self, teacher: Any) -> list[tuple[list[int], list[int]]]:
        trainer, dataset = self._trainer, self._trainer.eval_dataset
        prompts = [prompt_ids(trainer.processing_class, row["prompt"]) for row in dataset]
        # It may end where the learner goes on; what it would say behind its own end is no answer.
        ends = {*trainer.eos_token_ids, *stop_ids(teacher, trainer.processing_class)}
        answers: list[list[int]] = []
        for start in range(0, len(prompts), self._batch_size):
            self._check()
            answers += greedy(
                teacher,
                prompts[start : start + self._batch_size],
                ends=ends,
                filler=trainer.processing_class.pad_token_id,
                max_new_tokens=trainer.max_completion_length,
            )
        return [(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True) if answer]


class HeldOutRewards(HeldOut):
    """The mean reward of the model's own greedy answers to the held-out prompts, and how long those are."""

    def _measure(self) -> dict[str, float]:
        trainer = self._trainer
        tokenizer = trainer.processing_class
        rewards: list[float] = []
        lengths: list[int] = []
        dataset = trainer.eval_dataset
        for start in range(0, len(dataset), self._batch_size):
            self._check()
            rows = [dataset[i] for i in range(start, min(start + self._batch_size, len(dataset)))]
            answers = self._answers(rows)
            turns = [
                [{"role": "assistant", "content": tokenizer.decode(ids, skip_special_tokens=True)}] for ids in answers
            ]
            given = trainer._calculate_rewards(rows, [row["prompt"] for row in rows], turns, answers)
            rewards += [value for value in given[:, 0].double().tolist() if math.isfinite(value)]
            lengths += [len(ids) for ids in answers]
        scores = {"rows": self.rows, "answer_tokens": math.fsum(lengths) / len(lengths)}
        return scores | ({"reward": math.fsum(rewards) / len(rewards)} if rewards else {})

    def _answers(self, rows: list[dict[str, Any]]) -> list[list[int]]:
        trainer = self._trainer
        tokenizer = trainer.processing_class
        return greedy(
            trainer.accelerator.unwrap_model(trainer.model),
            [prompt_ids(tokenizer, row["prompt"]) for row in rows],
            ends=trainer.eos_token_ids,
            filler=tokenizer.pad_token_id,
            max_new_tokens=trainer.max_completion_length,
        )


MEASURES: dict[Measure, type[HeldOut]] = {
    Measure.COMPLETIONS: HeldOut,
    Measure.PAIRS: HeldOutPairs,
    Measure.SCORES: HeldOutScores,
    Measure.REWARDS: HeldOutRewards,
    Measure.TEACHER: HeldOutTeacher,
}


def _fuse_head(trainer: Any) -> None:
    """Give the model the head by which log-probabilities are summed here; not every trainer of TRL does."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    add_fused_lm_head(model.get_base_model() if hasattr(model, "get_base_model") else model)


def _log_likelihoods(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """The log-probability of every token at each place of the answer, ``(answer, vocab)``."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    options = {"logits_to_keep": len(answer) + 1} if "logits_to_keep" in signature(inner.forward).parameters else {}
    ids = torch.tensor([prompt + answer], device=next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False, **options).logits[0]
    return logits[-len(answer) - 1 : -1].float().log_softmax(dim=1)


def _padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=filler)

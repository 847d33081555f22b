"""Short answers to the same few prompts at every measurement: what the figures mean, to read.

Greedy, so that no random number is drawn and two measurements differ by what was learnt alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench import methods
from workbench.domain.examples import Kind
from workbench.domain.methods import Task
from workbench.domain.runs import RunSpec
from workbench.worker.generating import greedy, prompt_ids
from workbench.worker.trainer.reporting import Reporter, say
from workbench.worker.trainer.rows import stop_ids

if TYPE_CHECKING:
    from workbench.worker.trainer.building import Built

ANSWER_TOKENS = 48
PROMPT_TOKENS = 512
_TRIED = 50


class Samples:
    """Answers of a run's model to its first held-out prompts (without any, to the first that it is trained on)."""

    def __init__(self, built: Built, spec: RunSpec) -> None:
        self._built = built
        self._count = int(spec.knobs.get("sample_prompts", 0))
        method = methods.get(spec.method)
        # Of several processes none holds the whole model, or the others would wait; a judge and raw text ask nothing.
        is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if not is_alone or method.task is Task.SCORE or method.kinds[0] is Kind.TEXT:
            self._count = 0
        self._prompts: list[tuple[Sequence[dict[str, Any]], list[int]]] | None = None

    def tell(self, reporter: Reporter, which: str, step: int) -> None:
        """Answer, and write it among the events. A model that cannot generate as it stands says so once."""
        if not self._count:
            return
        try:
            answers = self._answers()
        except (RuntimeError, ValueError, NotImplementedError) as error:
            self._count = 0
            reporter.note(f"no sample answers: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
            return
        if not answers:
            self._count = 0
            return
        reporter.event("sample", step=step, which=which, answers=answers)
        say(f"sample, {which}: {answers[0]['answer'][:80]!r}")

    def _answers(self) -> list[dict[str, str]]:
        trainer, tokenizer = self._built.trainer, self._built.tokenizer
        if self._prompts is None:
            self._prompts = self._chosen()
        if not self._prompts:
            return []
        model = trainer.accelerator.unwrap_model(trainer.model)
        was_training = model.training
        model.eval()
        try:
            with trainer.accelerator.autocast():
                told = greedy(
                    model,
                    [ids for _, ids in self._prompts],
                    ends=stop_ids(model, tokenizer),
                    filler=tokenizer.pad_token_id or 0,
                    max_new_tokens=ANSWER_TOKENS,
                )
        finally:
            model.train(was_training)
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in told]
        asked = [str(turns[-1].get("content") or "") for turns, _ in self._prompts]
        return [{"prompt": prompt, "answer": text} for prompt, text in zip(asked, texts, strict=True)]

    def _chosen(self) -> list[tuple[Sequence[dict[str, Any]], list[int]]]:
        """The first different prompts that leave room for an answer."""
        trainer, tokenizer = self._built.trainer, self._built.tokenizer
        dataset = trainer.eval_dataset if trainer.eval_dataset is not None else trainer.train_dataset
        found: dict[tuple[int, ...], tuple[Sequence[dict[str, Any]], list[int]]] = {}
        for position in range(min(len(dataset), _TRIED)):
            row = dataset[position]
            turns = row.get("prompt_turns") or row.get("prompt")
            if isinstance(turns, list) and turns and isinstance(turns[-1], dict):
                ids = prompt_ids(tokenizer, turns)
                if len(ids) <= PROMPT_TOKENS:
                    found.setdefault(tuple(ids), (turns, ids))
            if len(found) == self._count:
                break
        return list(found.values())

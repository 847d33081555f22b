"""The model that a run learns from: loaded beside the one that learns, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.worker.speaking import tokenizer_of
from workbench.worker.trainer.loading import precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(spec: RunSpec, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The teacher, an adapter merged into its base; raises ``RefusedError`` when its tokens are not the student's."""
    from transformers import AutoModelForCausalLM

    if not spec.teacher_path:
        raise RefusedError("the run does not say whom it learns from")
    path = spec.teacher_base_path or spec.teacher_path
    if tokenizer_of(path).get_vocab() != tokenizer.get_vocab():
        raise RefusedError(
            f"{spec.teacher} and {spec.adapter or spec.base} have different tokens",
            hint="a teacher of the same family, or sft on the teacher's answers",
        )
    model: Any = AutoModelForCausalLM.from_pretrained(
        path, dtype=precision(spec).weights, use_safetensors=True, trust_remote_code=False
    )
    if spec.teacher_base_path:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, spec.teacher_path).merge_and_unload()
    return model.eval().requires_grad_(False)

"""Prompt tuning: learnt embeddings before every prompt, started from tokens of the vocabulary.

Source: Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning" (2021), whose rate of 0.3 is a
thousand times that of LoRA.
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="prompt",
    summary="learnt embeddings before every prompt",
    config="peft:PromptTuningConfig",
    knobs=(_shared.VIRTUAL_TOKENS,),
    fields={"num_virtual_tokens": "num_virtual_tokens"},
    fixed={"prompt_tuning_init": "SAMPLE_VOCAB"},
    rate=100.0,
    told_by={"peft_type": "PROMPT_TUNING"},
)

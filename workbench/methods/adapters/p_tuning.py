"""P-tuning: learnt embeddings before every prompt, made by a small network. Source: Liu et al., "GPT Understands, Too"
(2021).
"""

from __future__ import annotations

from workbench.domain.methods import Adapter, Knob, KnobGroup
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="p-tuning",
    summary="learnt embeddings before every prompt, made by a small network",
    config="peft:PromptEncoderConfig",
    knobs=(
        _shared.VIRTUAL_TOKENS,
        Knob(
            "encoder_hidden_size",
            128,
            "width of the network that makes the embeddings",
            KnobGroup.ADAPTER,
            target="adapter",
            minimum=1,
            maximum=65536,
        ),
    ),
    fields={"num_virtual_tokens": "num_virtual_tokens", "encoder_hidden_size": "encoder_hidden_size"},
    rate=10.0,
    told_by={"peft_type": "P_TUNING"},
)

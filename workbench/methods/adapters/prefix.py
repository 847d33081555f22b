"""Prefix tuning: learnt keys and values before every layer's own; the model stays as it is.

Source: Li and Liang, "Prefix-Tuning" (2021). The cache that carries the prefix has no place under gradient
checkpointing, which is therefore off.
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="prefix",
    summary="learnt keys and values before every layer's own",
    config="peft:PrefixTuningConfig",
    knobs=(_shared.VIRTUAL_TOKENS,),
    fields={"num_virtual_tokens": "num_virtual_tokens"},
    values={"gradient_checkpointing": False},
    rate=20.0,
    told_by={"peft_type": "PREFIX_TUNING"},
)

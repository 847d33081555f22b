"""(IA)³: one learnt factor per channel of keys, values and feed-forward; the smallest adapter there is.

The layers are PEFT's choice for the architecture. Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is
Better and Cheaper than In-Context Learning" (2022), whose rate (3e-3) is far above LoRA's: there is little to move.
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="ia3",
    summary="one factor per channel of keys, values and feed-forward: the smallest adapter",
    config="peft:IA3Config",
    knobs=(_shared.MODULES_TO_SAVE,),
    fields={"modules_to_save": "modules_to_save"},
    rate=20.0,
    told_by={"peft_type": "IA3"},
)

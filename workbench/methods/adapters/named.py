"""The weights whose names fit a pattern learn, the others stay as they are; the result is a model of its own."""

from __future__ import annotations

from workbench.domain.methods import Adapter, Knob, KnobGroup

ADAPTER = Adapter(
    name="named",
    summary="the weights whose names fit a pattern learn; the result is a whole model",
    knobs=(
        Knob(
            "unfreeze",
            "norm",
            "regular expression found in the names of the weights that learn (layers\\.3\\.|norm)",
            KnobGroup.ADAPTER,
            target="adapter",
        ),
    ),
)

"""The last layers of the model learn, the others stay as they are; the result is a model of its own."""

from __future__ import annotations

from workbench.domain.methods import Adapter, Knob, KnobGroup

ADAPTER = Adapter(
    name="last-layers",
    summary="the last layers learn, the others stay; the result is a whole model",
    knobs=(
        Knob(
            "last_layers",
            2,
            "how many layers learn, counted from the end",
            KnobGroup.ADAPTER,
            target="adapter",
            minimum=1,
            maximum=4096,
        ),
    ),
)

"""The trainer as several GPUs would have it, on a CPU: started by ``accelerate launch`` in the place of the real one.

Accelerate shares no model out on a CPU. So it is told here that each process has a device of its own and may; all else,
the launch, the configuration, the run and what the libraries make of it, is as it is on GPUs. DeepSpeed is kept from
compiling its own exchange through shared memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


def main(argv: list[str]) -> int:
    """Train the run directory in ``argv``."""
    os.environ |= {"ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu"}
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    from workbench.worker.trainer import __main__, held_out, loading, ranks

    PartialState._prepare_backend = lambda *args, **rest: ("gloo", DistributedType.MULTI_GPU)
    loading.device_name = lambda: "cuda"
    held_out.HeldOut.measure = _once_in_place(held_out.HeldOut.measure)
    is_zero = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    ranks.strategy = lambda: "zero" if is_zero else "fsdp"
    if is_zero:
        import deepspeed

        deepspeed.ops.__compatible_ops__ = {}
    return __main__.main(argv)


def _once_in_place(measure: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    """On a GPU the rows would be there, and a model that accelerate has not put in place yet would not."""

    def measured(self: Any, **rest: Any) -> dict[str, float]:
        if not self._trainer.accelerator._models:
            raise RuntimeError("the model is not on its device yet")
        return measure(self, **rest)

    return measured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

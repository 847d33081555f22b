"""Full fine-tuning: every weight learns, and the result is a model of its own."""

from __future__ import annotations

from workbench.domain.methods import Adapter

ADAPTER = Adapter(name="full", summary="all weights learn; the result is a whole model")

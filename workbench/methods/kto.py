"""Kahneman-Tversky optimisation: answers with a thumb up become more likely, those with a thumb down less.

Source: Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization" (2024). Its estimate of the drift
from the reference pairs each answer with the prompt of its neighbour in the batch, so the order of rows is fixed when
the run is made and a batch needs at least two rows.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method
from workbench.methods import _shared

METHOD = Method(
    name="kto",
    title="Kahneman-Tversky optimisation",
    summary="learn from single answers with a thumb up or down",
    kinds=(Kind.JUDGEMENT, Kind.PREFERENCE),
    trainer="trl:KTOTrainer",
    config="trl:KTOConfig",
    knobs=_shared.knobs(
        5e-5,
        _shared.beta(0.1, _shared.HELD),
        _shared.number("desirable_weight", 1.0, "weight of the thumbs up; raise it when they are few"),
        _shared.number("undesirable_weight", 1.0, "weight of the thumbs down; raise it when they are few"),
        Knob(
            "include_pairs",
            False,
            "also train on preference pairs, each taken apart into a thumb up and a thumb down",
            KnobGroup.DATA,
            target="workbench",
        ),
        smallest_batch=2,
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.auto(_shared.epochs(1.0, "the second pass moves the model more than it teaches")),
        _shared.tiny(
            _shared.rate(3e-4, _shared.SLOW_TO_MOVE),
            ("beta", 0.3, "a tiny model falls apart sooner, and must be held tighter"),
        ),
        _shared.gentle(
            "one pass, held tightly to the start: style moves, facts stay",
            _shared.rate(1e-5, "a fifth of the default"),
            _shared.epochs(1.0, "each answer once"),
            ("beta", 0.3, "three times as tight as the default"),
        ),
    ),
    sizes=_shared.SIZES,
    fixed={"train_sampling_strategy": "sequential"},
)

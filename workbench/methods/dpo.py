"""Direct preference optimisation: the better answer of each pair becomes more likely than the worse one.

Source: Rafailov et al., "Direct Preference Optimization" (2023). The small SFT term on the better answers keeps their
own likelihood from falling together with that of the worse ones. TRL's discopop is left out: from where a run starts,
its slope leads to the worse answers at usual values of beta.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method
from workbench.methods import _shared

METHOD = Method(
    name="dpo",
    title="Direct preference optimisation",
    summary="learn to prefer the better answer of each pair",
    kinds=(Kind.PREFERENCE,),
    trainer="trl:DPOTrainer",
    config="trl:DPOConfig",
    knobs=_shared.knobs(
        5e-5,
        _shared.beta(0.1, _shared.HELD),
        Knob(
            "loss_type",
            "sigmoid",
            "the form of the loss: sigmoid is DPO's own, sigmoid_norm divides by length, ipo stops at a margin, robust "
            "expects some labels to be wrong (label_smoothing), hinge lets go of pairs that are far enough apart",
            KnobGroup.METHOD,
            choices=(
                "sigmoid",
                "sigmoid_norm",
                "hinge",
                "ipo",
                "robust",
                "exo_pair",
                "nca_pair",
                "bco_pair",
                "sppo_hard",
                "aot",
                "aot_unpaired",
                "apo_zero",
                "apo_down",
            ),
        ),
        Knob(
            "label_smoothing",
            0.0,
            "share of pairs that are expected to be the wrong way round; for robust (0.1) and exo_pair (0.001)",
            KnobGroup.METHOD,
            minimum=0.0,
            maximum=0.49,
        ),
        Knob(
            "sft_weight",
            0.1,
            "weight of a plain likelihood term on the better answers; 0 switches it off",
            KnobGroup.METHOD,
            target="workbench",
            minimum=0.0,
            maximum=100.0,
        ),
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.auto(_shared.epochs(1.0, "the second pass moves the model more than it teaches"), *_shared.PAIRS),
        _shared.tiny(
            _shared.rate(3e-4, _shared.SLOW_TO_MOVE),
            _shared.epochs(2.0, "few pairs make few steps"),
            ("beta", 0.3, "a tiny model falls apart sooner, and must be held tighter"),
            ("sft_weight", 1.0, "keeps the better answers likely while the worse ones fall"),
        ),
        _shared.gentle(
            "one pass, held tightly to the start: style moves, facts stay",
            _shared.rate(1e-5, "a fifth of the default"),
            _shared.epochs(1.0, "each pair once"),
            ("beta", 0.3, "three times as tight as the default"),
            ("sft_weight", 0.2, "the better answers stay likely"),
        ),
    ),
    sizes=_shared.SIZES,
)

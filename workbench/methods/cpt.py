"""Continued pre-training: the model goes on learning from raw text, of a field or a language.

Loss on every token. Texts are packed end to end into whole windows, each closed by the token that ends a text, so that
no step is spent on padding.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method
from workbench.methods import _shared

METHOD = Method(
    name="cpt",
    title="Continued pre-training",
    summary="go on learning from raw text",
    kinds=(Kind.TEXT,),
    trainer="trl:SFTTrainer",
    config="trl:SFTConfig",
    knobs=_shared.knobs(
        5e-5,
        Knob("packing", True, "put texts end to end into full windows; false cuts each at max_length", KnobGroup.DATA),
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.auto(_shared.epochs(1.0, "raw text is learnt by heart when it is seen often")),
        _shared.tiny(
            _shared.rate(5e-4, _shared.SLOW_TO_MOVE),
            _shared.epochs(2.0, "few texts make few steps"),
            ("max_length", 256, "short windows make more steps of few texts"),
        ),
        _shared.gentle(
            "one pass at a low rate: takes up words, keeps what the model could do",
            _shared.rate(
                1e-5, "a base forgets at rates that suit answers: pre-training's own last rates are near this"
            ),
            _shared.epochs(1.0, "each text once"),
        ),
    ),
    sizes=_shared.SIZES,
    fixed={"packing_strategy": "wrapped", "dataset_text_field": "text"},
)

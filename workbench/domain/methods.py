"""Training methods described as data: what rows they take, which trainer runs them, which knobs a person may turn.

A method is one file in ``workbench.methods``; the form, the command line, the README table and the contract tests are
made from this description. Names of knobs are the field's own (TRL, PEFT, transformers).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from workbench.domain.examples import Kind
from workbench.errors import UsageError

KnobValue = int | float | bool | str
SCHEDULE, PLATEAU = "lr_scheduler_type", "reduce_lr_on_plateau"
"""The knob of the learning rate's schedule, and the schedule that goes by measurements on held-out rows."""


class Task(StrEnum):
    """What the trained model gives: text, or one score of a whole answer. Named as PEFT names them."""

    TEXT = "CAUSAL_LM"
    SCORE = "SEQ_CLS"


class Measure(StrEnum):
    """What is measured on held-out rows, beside the loss on them where there is one."""

    COMPLETIONS = "completions"
    """The loss of completions; with a reference model also how often and how far the better answer is ahead of it."""
    PAIRS = "pairs"
    """The same without a reference: which answer of a pair is likelier per token."""
    SCORES = "scores"
    """How often and how far a reward model scores the better answer higher."""
    REWARDS = "rewards"
    """The mean reward of the model's own greedy answers."""
    TEACHER = "teacher"
    """The loss on the teacher's greedy answers, and how far from the teacher the model is along them."""


class KnobGroup(StrEnum):
    """Where a knob belongs in the form."""

    ADAPTER = "adapter"
    OPTIMISER = "optimiser"
    DATA = "data"
    METHOD = "method"
    SAVING = "saving"
    MACHINES = "machines"


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting of a run: its type is the type of its default; bounds are inclusive, None means unbounded.

    ``target`` says whom the value is handed to: the trainer's config class ("trainer"), PEFT ("adapter"), or our own
    code ("workbench").
    """

    name: str
    default: KnobValue
    help: str
    group: KnobGroup
    target: str = "trainer"
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> KnobValue:
        """The value that ``text`` means for this knob; raises ``UsageError`` naming the knob and what it takes."""
        try:
            value = self._convert(text.strip())
        except ValueError:
            raise UsageError(
                f"{self.name} takes {self._takes()}, not {text!r}", hint=self.help, where=self.name
            ) from None
        self.check(value)
        return value

    def check(self, value: KnobValue) -> None:
        """Raise ``UsageError`` when a value of the right type lies outside this knob's bounds or choices."""
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.name} must be one of {', '.join(self.choices)}", where=self.name)
        if isinstance(value, (str, bool)):
            return
        low, high = self.minimum, self.maximum
        if (low is not None and value < low) or (high is not None and value > high) or value != value:
            raise UsageError(f"{self.name} = {value} is outside {low} to {high}", hint=self.help, where=self.name)

    def _convert(self, text: str) -> KnobValue:
        if isinstance(self.default, bool):
            return _truth(text)
        if isinstance(self.default, int):
            return int(text)
        if isinstance(self.default, float):
            return float(text)
        return text

    def _takes(self) -> str:
        if isinstance(self.default, bool):
            return "true or false"
        return {int: "a whole number", float: "a number"}.get(type(self.default), "a text")


def _truth(text: str) -> bool:
    if text.lower() in {"true", "yes", "on", "1"}:
        return True
    if text.lower() in {"false", "no", "off", "0"}:
        return False
    raise ValueError(text)


def knob_text(value: KnobValue) -> str:
    """A knob's value as it is typed: it parses back to the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


@dataclass(frozen=True, slots=True)
class Preset:
    """Values for some knobs that belong together, in which case to take them, and why each is what it is."""

    name: str
    summary: str
    values: Mapping[str, KnobValue]
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sized:
    """Values that a number of rows asks for, from ``least`` on and ``below`` a bound, and why."""

    name: str
    values: Mapping[str, KnobValue]
    reasons: Mapping[str, str]
    least: int = 0
    below: int = 2**62

    def fits(self, rows: int) -> bool:
        """True for a run of so many rows."""
        return self.least <= rows < self.below


@dataclass(frozen=True, slots=True)
class Adapter:
    """What part of a model learns. ``config`` is PEFT's class as ``"module:Class"``, imported by the trainer only; it
    is "" when weights of the model itself learn, and then the whole model is the result.

    ``fields`` are the config's fields by the knob that fills each, ``fixed`` its other fields. ``values`` replace the
    preset's, and ``rate`` is the factor on the preset's learning rate. ``told_by`` are the entries by which a saved
    adapter's ``adapter_config.json`` is known for this kind.
    """

    name: str
    summary: str
    config: str = ""
    knobs: tuple[Knob, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, KnobValue] = field(default_factory=dict)
    values: Mapping[str, KnobValue] = field(default_factory=dict)
    rate: float = 1.0
    told_by: Mapping[str, KnobValue] = field(default_factory=dict)

    @property
    def saves_model(self) -> bool:
        """True when the result is a whole model rather than an adapter on one."""
        return not self.config


@dataclass(frozen=True, slots=True)
class Clash:
    """Settings that cannot be combined: all of them stand in a run, each with one of its values here.

    A setting is a knob, ``method``, or ``start`` (``base``, or ``adapter`` for a run that goes on from one). A knob
    that lists names is in when one of the names is.
    """

    settings: Mapping[str, tuple[KnobValue, ...]]
    reason: str
    hint: str

    def is_in(self, settings: Mapping[str, KnobValue]) -> bool:
        """True when ``settings`` combine what cannot be combined."""
        return all(_listed(settings.get(name)) & set(values) for name, values in self.settings.items())


def _listed(value: KnobValue | None) -> set[KnobValue]:
    if isinstance(value, str):
        return {part.strip() for part in value.split(",")}
    return set() if value is None else {value}


@dataclass(frozen=True, slots=True)
class Method:
    """One way of training. ``trainer`` and ``config`` are ``"module:Class"``, imported by the trainer process only.

    ``kinds`` are the kinds of example it takes; the first is its own, the others are converted to it. ``adapters`` are
    the parts of a model that it can train, the default first. ``sizes`` stand between the preset and what is asked for.
    ``lacks`` are settings of other methods that would mean nothing here: why, and what to take.
    """

    name: str
    title: str
    summary: str
    kinds: tuple[Kind, ...]
    trainer: str
    config: str
    knobs: tuple[Knob, ...]
    presets: tuple[Preset, ...]
    adapters: tuple[Adapter, ...]
    fixed: Mapping[str, KnobValue] = field(default_factory=dict)
    task: Task = Task.TEXT
    measure: Measure = Measure.COMPLETIONS
    sizes: tuple[Sized, ...] = ()
    lacks: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def adapter(self, name: str) -> Adapter:
        """The adapter kind called ``name``; raises ``UsageError`` with the nearest name when there is none."""
        for adapter in self.adapters:
            if adapter.name == name:
                return adapter
        raise UsageError(f"{self.name} has no adapter {name!r}", hint=nearest(name, [a.name for a in self.adapters]))

    def knob(self, name: str) -> Knob:
        """The knob called ``name``; raises ``UsageError`` with the nearest name when there is none."""
        for knob in self.knobs:
            if knob.name == name:
                return knob
        raise UsageError(f"{self.name} has no setting {name!r}", hint=nearest(name, [k.name for k in self.knobs]))

    def preset(self, name: str) -> Preset:
        """The preset called ``name``; raises ``UsageError`` with the names there are."""
        for preset in self.presets:
            if preset.name == name:
                return preset
        raise UsageError(f"{self.name} has no preset {name!r}", hint=nearest(name, [p.name for p in self.presets]))

    def values(self, preset: str, overrides: Mapping[str, str]) -> dict[str, KnobValue]:
        """Every knob's value: default, then the preset's, the adapter's, and ``overrides`` (texts, parsed and checked).

        Raises ``UsageError`` for one that cannot be, also for a setting that the chosen adapter does not have.
        """
        values = {k.name: k.default for k in self.knobs} | dict(self.preset(preset).values)
        given = {name: self.knob(name).parse(text) for name, text in overrides.items()}
        adapter = self.adapter(str(given.get("adapter", values["adapter"])))
        self._refuse_foreign(given, adapter)
        fitted = {"learning_rate": float(f"{float(values['learning_rate']) * adapter.rate:.6g}")}
        return values | fitted | dict(adapter.values) | given

    def _refuse_foreign(self, given: Iterable[str], adapter: Adapter) -> None:
        own = {knob.name for knob in adapter.knobs}
        for name in given:
            if self.knob(name).target == "adapter" and name not in own:
                having = ", ".join(a.name for a in self.adapters if name in {k.name for k in a.knobs})
                raise UsageError(f"{name} is no setting of {adapter.name}", hint=f"{having} have it", where=name)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one, else all of them."""
    names = sorted(map(str, known))  # not the members of an enum, whose repr names the class
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"

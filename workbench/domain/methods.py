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


class KnobGroup(StrEnum):
    """Where a knob belongs in the form."""

    ADAPTER = "adapter"
    OPTIMISER = "optimiser"
    DATA = "data"
    METHOD = "method"
    SAVING = "saving"


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


@dataclass(frozen=True, slots=True)
class Preset:
    """Values for some knobs that belong together, and in which case to take them."""

    name: str
    summary: str
    values: Mapping[str, KnobValue]


@dataclass(frozen=True, slots=True)
class Method:
    """One way of training. ``trainer`` and ``config`` are ``"module:Class"``, imported by the trainer process only.

    ``kinds`` are the kinds of example it takes; the first is its own, the others are converted to it.
    """

    name: str
    title: str
    summary: str
    kinds: tuple[Kind, ...]
    trainer: str
    config: str
    knobs: tuple[Knob, ...]
    presets: tuple[Preset, ...]
    fixed: Mapping[str, KnobValue] = field(default_factory=dict)

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
        """Every knob's value: default, then the preset's, then ``overrides`` (texts, parsed and checked)."""
        values = {k.name: k.default for k in self.knobs} | dict(self.preset(preset).values)
        for name, text in overrides.items():
            values[name] = self.knob(name).parse(text)
        return values


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one, else all of them."""
    names = sorted(map(str, known))  # not the members of an enum, whose repr names the class
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"

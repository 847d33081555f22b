"""Recipes: runs one after another, each from the last one's result, as a person writes them down in TOML.

Owns the form of the file and what is wrong with one, by line. What a setting means is the training method's to say.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from workbench.domain.methods import nearest
from workbench.domain.models import check_name
from workbench.errors import DataError, WorkbenchError

_COMMON = ("method", "dataset", "eval_dataset", "preset", "gpus", "general", "canaries")
_TEXTS = (*_COMMON, "model", "after")
_STAGE = ("name", *_TEXTS, "replay", "set", "allow")
_WHOLE = ("name", "model", "stage", *_COMMON, "replay", "set", "allow")
_REPLAY = ("dataset", "share")
_LINE = re.compile(r"line (\d+)")


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of a recipe. ``after`` is the stage whose result it starts from; "" starts from ``model``.

    ``general`` and ``canaries`` say on what it is measured what the stage forgets. ``settings`` are knobs as typed
    texts. ``line`` is where it stands in the file.
    """

    name: str
    method: str
    dataset: str
    after: str = ""
    model: str = ""
    eval_dataset: str = ""
    preset: str = "auto"
    gpus: str = "auto"
    general: str = ""
    canaries: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named row of stages; each comes behind the one that it starts from. ``where`` is the file."""

    name: str
    stages: tuple[Stage, ...]
    where: str = ""

    def place(self, stage: Stage, key: str = "") -> str:
        """Where a stage stands, for messages: file, line and what of it."""
        return f"{self.where}:{stage.line} (stage {stage.name}{', ' + key if key else ''})"


def parse_recipe(text: str, *, where: str = "recipe") -> Recipe:
    """The recipe in a file's text; raises ``DataError`` with file and line, and the nearest name for a wrong one."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        line = f":{found.group(1)}" if found else ""
        raise DataError(f"the recipe is no TOML: {error}", where=f"{where}{line}") from None
    return _Reader(text, where).recipe(values)


class _Reader:
    """Checks a parsed file against the form, and finds the line of what is wrong in its text."""

    def __init__(self, text: str, where: str) -> None:
        self._lines = text.splitlines()
        self._where = where
        headers = [at for at, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*stage\s*\]\]", line)]
        self._spans = list(pairwise([*headers, len(self._lines)]))
        self._head = (0, headers[0] if headers else len(self._lines))

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        self._known(values, _WHOLE, self._head, "a recipe")
        stages = values.get("stage")
        if not isinstance(stages, list) or not stages:
            raise self._wrong("there is no stage", "a stage begins with [[stage]]", self._head)
        name = self._text(values, "name", self._head)
        if not name:
            raise self._wrong("the recipe has no name", 'name = "company"', self._head)
        self._checked(name, "recipe", self._head)
        common = {key: values[key] for key in _WHOLE if key in values and key not in {"name", "model", "stage"}}
        self._tables(common, self._head)
        read: list[Stage] = []
        for at, one in enumerate(stages):
            span = self._spans[at] if at < len(self._spans) else (0, len(self._lines))
            read.append(self._stage(one, common, read, span))
        first = read[0]
        read[0] = replace(first, model=first.model or self._text(values, "model", self._head))
        return Recipe(name, tuple(read), self._where)

    def _stage(
        self, values: Mapping[str, Any], common: Mapping[str, Any], before: Sequence[Stage], span: tuple[int, int]
    ) -> Stage:
        self._known(values, _STAGE, span, "a stage")
        self._tables(values, span)
        given = {**common, **values}
        texts = {key: self._text(given, key, span) for key in _TEXTS if key in given}
        texts["name"] = self._text(values, "name", span)
        for key in ("name", "method", "dataset"):
            if not texts.get(key):
                raise self._wrong(f"the stage has no {key}", f'{key} = "…"', span)
        self._checked(texts["name"], "stage", span)
        names = [stage.name for stage in before]
        if texts["name"] in names:
            raise self._wrong(f"there are two stages called {texts['name']!r}", "give each its own name", span, "name")
        if texts.get("after") and texts["after"] not in names:
            hint = nearest(texts["after"], names) if names else "the first stage starts from a model"
            raise self._wrong(f"no stage before it is called {texts['after']!r}", hint, span, "after")
        if texts.get("after") and texts.get("model"):
            raise self._wrong("it starts either after a stage or from a model", "leave one out", span, "model")
        if not texts.get("after") and not texts.get("model") and before:
            texts["after"] = before[-1].name
        settings = {**common.get("set", {}), **values.get("set", {})}
        if replay := values.get("replay", common.get("replay")):
            settings |= {f"replay_{key}": value for key, value in replay.items()}
        return Stage(
            **texts,
            settings={key: _typed(value) for key, value in settings.items()},
            allow=tuple(values.get("allow", common.get("allow", ()))),
            line=span[0] + 1,
        )

    def _tables(self, values: Mapping[str, Any], span: tuple[int, int]) -> None:
        for key in ("set", "replay"):
            if not isinstance(values.get(key, {}), dict):
                raise self._wrong(f"{key} is no table", f"[stage.{key}] and then its settings", span, key)
        self._known(values.get("replay", {}), _REPLAY, span, "replay")
        for name, value in values.get("set", {}).items():
            if not isinstance(value, str | int | float | bool):
                raise self._wrong(f"{name} is neither a text nor a number nor true or false", "", span, name)
        allowed = values.get("allow", [])
        if not isinstance(allowed, list) or not all(isinstance(one, str) for one in allowed):
            raise self._wrong("allow is no list of names", 'allow = ["memory"]', span, "allow")

    def _known(self, values: Mapping[str, Any], known: Sequence[str], span: tuple[int, int], what: str) -> None:
        for key in values:
            if key not in known:
                raise self._wrong(f"{what} has no {key!r}", nearest(key, known), span, key)

    def _text(self, values: Mapping[str, Any], key: str, span: tuple[int, int]) -> str:
        value = values.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(f"{key} is no text", f'{key} = "…"', span, key)
        return value

    def _checked(self, name: str, what: str, span: tuple[int, int]) -> None:
        try:
            check_name(name, what=what)
        except WorkbenchError as error:
            raise self._wrong(error.message, error.hint, span, "name") from None

    def _wrong(self, message: str, hint: str, span: tuple[int, int], key: str = "") -> DataError:
        # At the start of its line, as a table's header, or within an inline table.
        named = re.compile(rf"(?:^\s*(?:\[.*\b)?|[{{,]\s*)[\"']?{re.escape(key)}[\"']?\s*[=\].]")
        found = next((at for at in range(*span) if key and named.search(self._lines[at])), span[0])
        return DataError(message, hint=hint, where=f"{self._where}:{found + 1}")


def _typed(value: str | int | float | bool) -> str:
    """A TOML value as a person types it behind ``--set NAME=``."""
    return str(value).lower() if isinstance(value, bool) else str(value)

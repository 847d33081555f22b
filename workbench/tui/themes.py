"""Themes as files: one TOML per theme, its keys the fields of Textual's ``Theme``; a broken file is only reported."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import Theme

from workbench.errors import DataError, NotFoundError
from workbench.paths import shipped, user_themes_folder

DEFAULT_THEME = "workbench-dark"
NO_COLOR_THEME = "ansi-dark"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_FIELDS = {f.name for f in fields(Theme)}
_SHARE = re.compile(r"(\d{1,3}%)?")
_FLAGS = {"dark", "ansi"}
_NUMBERS = {"luminosity_spread", "text_alpha"}


@dataclass(frozen=True, slots=True)
class ThemeProblem:
    """A theme file that could not be used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


def load_themes(folders: Iterable[Path]) -> tuple[list[Theme], list[ThemeProblem]]:
    """Every ``*.toml`` of ``folders``, later folders winning over earlier ones, and what was wrong with the rest."""
    themes: dict[str, Theme] = {}
    problems: list[ThemeProblem] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            try:
                theme = read_theme(path)
            except DataError as error:
                problems.append(ThemeProblem(path, error.message))
            else:
                themes[theme.name] = theme
    return list(themes.values()), problems


def theme_folders() -> list[Path]:
    """Where themes are looked for: those shipped, then the user's own."""
    try:
        return [shipped("themes"), user_themes_folder()]
    except NotFoundError:
        return [user_themes_folder()]


def set_up_themes(app: App[int], wanted: str) -> list[ThemeProblem]:
    """Register every theme with ``app`` and choose one: ``wanted`` when there is such a one, else the default.

    With NO_COLOR an ANSI theme is taken, the only kind with which Textual sends no colours. Returns what is wrong.
    """
    themes, problems = load_themes(theme_folders())
    for theme in themes:
        app.register_theme(theme)
    choice = NO_COLOR_THEME if app.no_color else wanted
    app.theme = choice if choice in app.available_themes else DEFAULT_THEME
    return problems


def read_theme(path: Path) -> Theme:
    """The theme in one file; raises ``DataError`` saying which key is wrong and what it should be."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from None
    if unknown := sorted(set(table) - _FIELDS):
        raise DataError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(_FIELDS))}", where=str(path))
    if not isinstance(name := table.get("name", path.stem), str) or not _NAME.fullmatch(name):
        raise DataError("name must be lower case letters, digits and '-'", where=str(path))
    if "primary" not in table:
        raise DataError("the key 'primary' is missing", where=str(path))
    for key, value in table.items():
        _check(key, value, path)
    variables = dict(table.get("variables", {}))
    if table.get("ansi"):  # Textual's own style sheets use these two, and define them for other themes only
        variables = {"ansi-background": "ansi_black", "ansi-foreground": "ansi_white"} | variables
    _check_variables(Theme(**{**table, "name": name, "variables": {}}), variables, path)
    return Theme(**{**table, "name": name, "variables": variables})


def _check_variables(theme: Theme, variables: Mapping[str, str], path: Path) -> None:
    """A colour that is none would end the app when its style sheet is read."""
    known = theme.to_color_system().generate()
    for name, value in variables.items():
        if _is_colour_value(known.get(name, "")) and not _is_colour_value(value):
            raise DataError(f"variables.{name} must be a colour such as '#4ebf71', not {value!r}", where=str(path))


def _is_colour_value(text: str) -> bool:
    """True for a colour, also with a share behind it (``#ffffff 50%``, ``auto 87%``)."""
    colour, _, share = text.partition(" ")
    return bool(_SHARE.fullmatch(share)) and (colour in {"auto", "transparent"} or _is_colour(colour))


def _check(key: str, value: object, path: Path) -> None:
    if key in _FLAGS:
        wanted, good = "true or false", isinstance(value, bool)
    elif key in _NUMBERS:
        wanted, good = "a number from 0 to 1", isinstance(value, int | float) and 0 <= value <= 1
    elif key == "variables":
        wanted = "a table of texts"
        good = isinstance(value, dict) and all(isinstance(v, str) and "\n" not in v for v in value.values())
    elif key == "name":
        return
    else:
        wanted, good = "a colour such as '#4ebf71'", isinstance(value, str) and _is_colour(value)
    if not good:
        raise DataError(f"{key} must be {wanted}", where=str(path))


def _is_colour(text: str) -> bool:
    try:
        Color.parse(text)
    except ColorParseError:
        return False
    return True

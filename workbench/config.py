"""Settings: what may be chosen, what was chosen where, and writing a choice back into ``config.toml``.

Owns the settings' names, types and bounds, and the order flag > environment > config.toml > default. Knows
neither screens nor themes: whether a theme or a key exists is for the TUI to say, which shows the problem.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType

from workbench import paths
from workbench.domain.chats import Sampling
from workbench.domain.methods import nearest
from workbench.domain.serving import PRECISIONS
from workbench.errors import UsageError

SettingValue = bool | int | float | str
KEYS_GROUP = "keys"


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its dotted key, what it does, and what it takes (the type is that of ``default``)."""

    key: str
    default: SettingValue
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def variable(self) -> str:
        """The environment variable that sets it: ``WORKBENCH_`` and the last part of the key."""
        return "WORKBENCH_" + self.key.rpartition(".")[2].upper()

    def parse(self, text: str) -> SettingValue:
        """The value that ``text`` means; raises ``UsageError`` naming the key and what it takes."""
        word = text.strip()
        if isinstance(self.default, bool):
            truths = {
                "true": True,
                "yes": True,
                "on": True,
                "1": True,
                "false": False,
                "no": False,
                "off": False,
                "0": False,
            }
            if word.lower() not in truths:
                raise self._refuse(text)
            return truths[word.lower()]
        if isinstance(self.default, str):
            return self.check(word)
        try:
            return self.check(float(word) if isinstance(self.default, float) else int(word))
        except ValueError:
            raise self._refuse(text) from None

    def check(self, value: object) -> SettingValue:
        """``value`` itself when it has the right type and lies within bounds; else raises ``UsageError``."""
        if isinstance(self.default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(self.default) or not isinstance(value, (bool, int, float, str)):
            raise self._refuse(value)
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.key} = {value!r} is not one of its values", hint=nearest(str(value), self.choices))
        if isinstance(value, (bool, str)):
            return value
        low, high = self.minimum, self.maximum
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            raise UsageError(f"{self.key} = {value} is outside {low:g} to {high:g}", hint=self.help)
        return value

    def _refuse(self, value: object) -> UsageError:
        takes = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(self.default)]
        return UsageError(f"{self.key} takes {takes}, not {value!r}", hint=self.help)


def _help(text: str, *, choices: tuple[str, ...] = (), minimum: float = 0, maximum: float = 1e9) -> dict[str, object]:
    return {"help": text, "choices": choices, "minimum": minimum, "maximum": maximum}


@dataclass(frozen=True, slots=True)
class Appearance:
    """``[appearance]``: how the terminal is drawn."""

    theme: str = field(default="workbench-dark", metadata=_help("colours: a shipped theme, or a file in themes/"))
    fps: int = field(
        default=0,
        metadata=_help("frames per second; 0 means 10 over SSH and 30 locally", maximum=60),
    )
    unicode: str = field(
        default="full", metadata=_help("full, or ascii: plots and bars with . : | # only", choices=("full", "ascii"))
    )
    cursor_blink: bool = field(default=False, metadata=_help("blinking costs 0.5 kB a second over SSH"))
    mouse: bool = field(default=True, metadata=_help("hold Shift to select text while it is on"))
    bell: bool = field(default=True, metadata=_help("ring once when a run ends or fails"))
    notify: str = field(
        default="auto",
        metadata=_help(
            "tell the desktop too: OSC 9, OSC 777 (next start)",
            choices=("auto", "osc9", "osc777", "off"),
        ),
    )


@dataclass(frozen=True, slots=True)
class ChatDefaults:
    """``[chat]``: what a new chat starts with."""

    model: str = field(default="", metadata=_help("a model's name; empty means the workspace's default"))
    temperature: float = field(default=0.7, metadata=_help("0 is greedy, 0.7 is usual", maximum=5))
    top_p: float = field(
        default=0.9, metadata=_help("share of probability kept; 1 switches it off", minimum=0.001, maximum=1)
    )
    max_tokens: int = field(default=512, metadata=_help("the longest answer, in tokens", minimum=1))

    @property
    def sampling(self) -> Sampling:
        """The sampling of a new chat, with a fresh seed per answer."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)


@dataclass(frozen=True, slots=True)
class Labelling:
    """``[labelling]``: who decides."""

    rater: str = field(default="", metadata=_help("the name decisions are signed with; empty means your login name"))
    repeats: float = field(
        default=0.05,
        metadata=_help("share of blind pairs shown once more, sides swapped: do you agree with yourself?", maximum=1),
    )

    @property
    def rater_name(self) -> str:
        """The rater, with the login name for an empty setting."""
        return self.rater or paths.system_user()


@dataclass(frozen=True, slots=True)
class TrainingDefaults:
    """``[training]``: what is measured beside the task, to see what a run made the model forget."""

    general: str = field(
        default="",
        metadata=_help("general text, a file or dataset, whose loss is measured before and after each run; or none"),
    )
    canaries: str = field(
        default="",
        metadata=_help("prompts, a file or dataset, that are answered before and after each run; or none"),
    )
    retention_limit: float = field(
        default=10.0,
        metadata=_help("percent by which the loss on general text may rise before a run is said to forget"),
    )


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """``[engine]``: the model server."""

    idle_minutes: int = field(
        default=30,
        metadata=_help("minutes without a request after which the engine ends", minimum=1, maximum=10_080),
    )
    precision: str = field(
        default="auto",
        metadata=_help(
            "numbers that bases are loaded in; auto: what the device computes best, fewer bits if that does not fit",
            choices=PRECISIONS,
        ),
    )


@dataclass(frozen=True, slots=True)
class Backups:
    """``[backup]``: what is kept against accidents."""

    daily: int = field(
        default=7,
        metadata=_help("daily backups of the database that are kept, made by the TUI; 0: none", maximum=999),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. ``keys`` maps a binding's id to a comma list of keys.

    ``sources`` says where each dotted key that was set comes from: ``flag``, ``environment`` or ``config``.
    """

    appearance: Appearance = field(default_factory=Appearance)
    chat: ChatDefaults = field(default_factory=ChatDefaults)
    labelling: Labelling = field(default_factory=Labelling)
    engine: EngineDefaults = field(default_factory=EngineDefaults)
    training: TrainingDefaults = field(default_factory=TrainingDefaults)
    backup: Backups = field(default_factory=Backups)
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, key: str) -> SettingValue:
        """The value of a dotted key that ``option`` knows."""
        option(key)
        group, _, name = key.partition(".")
        value = getattr(getattr(self, group), name)
        assert isinstance(value, (bool, int, float, str))
        return value

    def with_value(self, key: str, value: SettingValue | None) -> Settings:
        """These settings with one changed, as after ``set_value``; None is the default. ``keys.<id>`` sets keys."""
        group, _, name = key.partition(".")
        sources = {**self.sources, key: "config"}
        if value is None:
            del sources[key]
        if group == KEYS_GROUP:
            keys = {**self.keys, name: str(value)}
            if value is None:
                del keys[name]
            return replace(self, keys=MappingProxyType(keys))
        checked = option(key).default if value is None else option(key).check(value)
        changed = replace(getattr(self, group), **{name: checked})
        return replace(self, sources=MappingProxyType(sources), **{group: changed})

    def source(self, key: str) -> str:
        """Where a key's value comes from: ``flag``, ``environment``, ``config`` or ``default``."""
        return self.sources.get(key, "default")


_Group = Appearance | ChatDefaults | Labelling | EngineDefaults | TrainingDefaults | Backups
_GROUPS: dict[str, type[_Group]] = {
    "appearance": Appearance,
    "chat": ChatDefaults,
    "labelling": Labelling,
    "engine": EngineDefaults,
    "training": TrainingDefaults,
    "backup": Backups,
}


def options() -> Iterator[Option]:
    """Every setting but the keys, in the order of the groups."""
    for group, kind in _GROUPS.items():
        for item in fields(kind):
            default, meta = item.default, item.metadata
            assert isinstance(default, (bool, int, float, str))
            key = f"{group}.{item.name}"
            yield Option(key, default, meta["help"], meta["choices"], meta["minimum"], meta["maximum"])


def option(key: str) -> Option:
    """The setting with this dotted key; raises ``UsageError`` with the nearest one there is."""
    known = {found.key: found for found in options()}
    if key not in known:
        raise UsageError(f"there is no setting {key!r}", hint=nearest(key, known), where=key)
    return known[key]


def load_settings(flags: Mapping[str, object] | None = None, *, file: Path | None = None) -> Settings:
    """The settings in force. ``flags`` maps dotted keys to values, None meaning "not given".

    Raises ``UsageError`` for an unknown key or a value it cannot have, naming the file or variable at fault.
    """
    path = file or paths.config_file()
    table = read_config(path)
    keys = table.pop(KEYS_GROUP, {})
    values: dict[str, SettingValue] = {}
    sources: dict[str, str] = {}
    _check_names(table, path)
    for found in options():
        group, _, name = found.key.partition(".")
        given = (flags or {}).get(found.key)
        if given is not None:
            values[found.key], sources[found.key] = found.check(given), "flag"
        elif found.variable in os.environ:
            values[found.key] = _located(found, os.environ[found.variable], where=found.variable, text=True)
            sources[found.key] = "environment"
        elif name in table.get(group, {}):
            values[found.key] = _located(found, table[group][name], where=f"{path}: {found.key}")
            sources[found.key] = "config"
    return _build(values, sources, _flat_keys(keys, path))


def _located(found: Option, value: object, *, where: str, text: bool = False) -> SettingValue:
    try:
        return found.parse(str(value)) if text else found.check(value)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint, where=where) from None


def _build(values: Mapping[str, SettingValue], sources: dict[str, str], keys: dict[str, str]) -> Settings:
    def of(group: str) -> dict[str, SettingValue]:
        start = f"{group}."
        return {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}

    # mypy cannot see that _located has checked each value against its own field's type
    groups = {name: kind(**of(name)) for name, kind in _GROUPS.items()}  # type: ignore[arg-type]
    return Settings(keys=MappingProxyType(keys), sources=MappingProxyType(sources), **groups)  # type: ignore[arg-type]


def read_config(path: Path) -> dict[str, dict[str, object]]:
    """The tables of ``config.toml``; empty for a missing file. Raises ``UsageError`` where it is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings cannot be read: {error}", where=str(path)) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"the settings are not TOML: {error}", hint="correct or move the file", where=str(path)
        ) from None
    for name, value in document.items():
        if not isinstance(value, dict):
            raise UsageError(
                f"{name!r} stands outside a table",
                hint=f"tables: {', '.join((*_GROUPS, KEYS_GROUP))}",
                where=f"{path}: {name}",
            )
    return document


def _check_names(table: Mapping[str, Mapping[str, object]], path: Path) -> None:
    known = [found.key for found in options()]
    for group, content in table.items():
        if group not in _GROUPS:
            hint = nearest(group, (*_GROUPS, KEYS_GROUP))
            raise UsageError(f"there is no table [{group}]", hint=hint, where=f"{path}: {group}")
        for name in content:
            if (key := f"{group}.{name}") not in known:
                raise UsageError(f"there is no setting {key!r}", hint=nearest(key, known), where=f"{path}: {key}")


def _flat_keys(table: Mapping[str, object], path: Path, prefix: str = "") -> dict[str, str]:
    """``[keys]`` as id → comma list, whether ids were quoted or written as dotted TOML keys."""
    flat: dict[str, str] = {}
    for name, value in table.items():
        match value:
            case str():
                flat[prefix + name] = value
            case dict():
                flat |= _flat_keys(value, path, f"{prefix}{name}.")
            case _:
                raise UsageError(
                    f"keys.{prefix}{name} takes a text of keys",
                    hint='for example "y,enter"',
                    where=f"{path}: keys.{prefix}{name}",
                )
    return flat


def set_value(key: str, value: SettingValue | None, *, file: Path | None = None) -> Path:
    """Write one setting into ``config.toml`` and return its path; None takes it out, back to the default.

    Comments and order stay, and the file is replaced at once, never half written. ``keys.<binding id>`` sets
    the keys of a binding.
    Raises ``UsageError`` for an unknown setting, a wrong value, or a file that cannot be written.
    """
    import tomlkit  # 20 ms

    path = file or paths.config_file()
    group, _, name = key.partition(".")
    if group != KEYS_GROUP:
        setting = option(key)
        value = None if value is None else setting.check(value)
    read_config(path)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    if group not in document:
        document[group] = tomlkit.table()
    table = document[group]
    assert isinstance(table, dict)
    table, name = _place(table, name)
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value
    try:
        _replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise UsageError(f"the settings cannot be written: {error.strerror}", where=str(path)) from None
    return path


def _place(table: dict[str, object], name: str) -> tuple[dict[str, object], str]:
    """The table and key under which ``name`` stands, written as ``"a.b"`` or as a nested table ``a``."""
    head, dot, tail = name.partition(".")
    inner = table.get(head)
    return _place(inner, tail) if dot and name not in table and isinstance(inner, dict) else (table, name)


def _replace(path: Path, text: str) -> None:
    path = path.resolve()  # config files are often links into a folder of dotfiles: the link stays
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise

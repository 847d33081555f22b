"""Settings: every option with its value and where it comes from, changed in place and written at once; the keys; what
was found out about the terminal.

Owns the order change, write, apply. What an option may be is ``workbench.config``'s rule, what a key may be the
keymap's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from workbench import paths
from workbench.config import Option, SettingValue, option, options, set_value
from workbench.errors import UsageError
from workbench.tui import keymap
from workbench.tui.keymap import Bound, Keymap
from workbench.tui.messages import News, ThemeChosen
from workbench.tui.pane import Pane
from workbench.tui.safety import cell, safe_cell
from workbench.tui.terminal_facts import detected
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, TextDialog
from workbench.tui.widgets.frame import key_sign
from workbench.tui.widgets.listing import Column, Listing, Row

THEME = "appearance.theme"
NEXT_START = {"appearance.fps", "appearance.mouse", "engine.idle_minutes", "engine.precision"}
_COLUMNS = (Column("setting", 24), Column("value", 26), Column("from", 11), Column("what it does", least=100))
_KEY_COLUMNS = (Column("id", 22), Column("keys", 24), Column("where", 12, least=100), Column("what it does"))
_SAMPLES = ("plain", "muted", "accent", "good", "busy", "bad", "cursor")


class SettingsPane(Pane):
    """The options, or (``k``) the keys."""

    title = "Settings"
    letter = "s"
    BINDINGS = [
        Binding("left", "step(-1)", "Change", key_display="‹ ›", id="settings.previous", tooltip="The value before"),
        Binding("right", "step(1)", "Next", show=False, id="settings.next", tooltip="The next value"),
        Binding("d", "default", "Default", id="settings.default", tooltip="Back to the default"),
        Binding("T", "theme", "Theme", id="settings.theme", tooltip="Choose among all themes"),
        Binding("K", "keys", "Keys", id="settings.keys", tooltip="The keys and what they do, and back"),
        Binding("escape", "back", "Back", show=False, id="settings.back", tooltip="Back to the settings"),
    ]

    view: reactive[str] = reactive("options")
    """``options`` or ``keys``."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._bound: list[Bound] = []

    def compose(self) -> ComposeResult:
        """Both lists (one is shown), help for the row, a sample of the theme, and what was detected."""
        yield Listing(_COLUMNS, id="settings-options")
        yield Listing(_KEY_COLUMNS, empty="reading the keys …", id="settings-keys")
        yield Static(id="settings-help", markup=False)
        with Horizontal(id="settings-sample"):
            for name in _SAMPLES:
                yield Static(safe_cell(f" {name} "), classes=f"sample -{name}", markup=False)
        with VerticalScroll(id="settings-facts", can_focus=False):
            yield Static(id="settings-facts-text", markup=False)

    def on_mount(self) -> None:
        """Show what is set."""
        self._draw()
        self.run_flow(partial(keymap.known_bindings, self.workbench), self._keys_known, group="keys")

    @property
    def _listing(self) -> Listing:
        return self.query_one("#settings-keys" if self.view == "keys" else "#settings-options", Listing)

    def first_focus(self) -> Widget:
        """The list that is shown."""
        return self._listing

    def when_shown(self) -> None:
        """Sizes and problems may have changed."""
        self._draw()

    def heard(self, news: News) -> None:
        """The theme was switched from the palette."""
        if isinstance(news, ThemeChosen):
            self._draw()

    def text_to_copy(self) -> str:
        """The path of the settings' file."""
        return str(paths.config_file())

    # --- drawing -----------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        settings = self.workbench.settings
        rows = [
            Row(
                one.key,
                (one.key, self._value(one), settings.source(one.key), one.help),
                _tone(settings.source(one.key)),
            )
            for one in options()
        ]
        self.query_one("#settings-options", Listing).show(rows)
        self.query_one("#settings-keys", Listing).show([self._key_row(one) for one in _unique(self._bound)])
        self._draw_help()
        self.query_one("#settings-facts-text", Static).update(self._facts())

    def _value(self, one: Option) -> str:
        value = self.workbench.settings.get(one.key)
        if one.key == THEME:
            return f"‹ {self.app.theme} ›"
        shown = ("on" if value else "off") if isinstance(value, bool) else f"{value}"
        return f"‹ {shown} ›" if isinstance(value, bool) or one.choices else shown or '""'

    def _key_row(self, bound: Bound) -> Row:
        chosen = self.workbench.settings.keys.get(bound.id)
        refused = {problem.id for problem in self.workbench.keymap_problems}
        own = chosen is not None and bound.id not in refused
        keys = (chosen or "").split(",") if own else bound.keys
        shown = "  ".join(key_sign(key.strip()) for key in keys) + ("  *" if own else "")
        return Row(bound.id, (bound.id, shown, bound.pane or "everywhere", bound.does))

    def _draw_help(self) -> None:
        key = self._listing.key
        if self.view == "keys":
            bound = next((one for one in self._bound if one.id == key), None)
            text = f"{bound.does}. Enter changes its keys, d brings {', '.join(bound.keys)} back." if bound else ""
        else:
            text = option(key).help if key else ""
            text += "  (from the next start on)" if key in NEXT_START else ""
        self.query_one("#settings-help", Static).update(safe_cell(text))

    def _facts(self) -> Text:
        text = Text()
        problems = [f"key {problem}" for problem in self.workbench.keymap_problems]
        problems += [f"theme {problem}" for problem in self.workbench.theme_problems]
        for problem in problems:
            text.append(f"✗ {cell(problem)}\n", "bold")
        file = paths.config_file()
        text.append("file        ", "bold").append(f"{cell(str(file))}{'' if file.exists() else '  (not there yet)'}\n")
        for name, value in detected(self.app.console.color_system, (self.app.size.width, self.app.size.height)):
            text.append(f"{name:<12}", "bold").append(f"{cell(value)}\n")
        return text

    @on(Listing.Moved)
    def _moved(self) -> None:
        self._draw_help()

    def _keys_known(self, found: list[Bound]) -> None:
        self._bound = found
        self._draw()

    def watch_view(self, view: str) -> None:
        """One of the two lists."""
        self.set_class(view == "keys", "-keys")
        if self.is_mounted:
            self._draw_help()

    # --- keys --------------------------------------------------------------------------------------------------

    def action_keys(self) -> None:
        """The keys, and back."""
        self.view = "options" if self.view == "keys" else "keys"
        self._listing.focus()

    def action_back(self) -> None:
        """Escape."""
        if self.view == "keys":
            self.action_keys()

    def action_step(self, steps: int) -> None:
        """The next or previous value of a setting that has a few."""
        if self.view == "keys" or not (key := self._listing.key):
            return
        values = self._values_of(key)
        if not values:
            self.notice("Enter changes this one")
            return
        now = self.app.theme if key == THEME else self.workbench.settings.get(key)
        at = values.index(now) if now in values else -1
        self._set(key, values[(at + steps) % len(values)])

    def _values_of(self, key: str) -> list[SettingValue]:
        one = option(key)
        if key == THEME:
            return [*self._themes()]
        return [False, True] if isinstance(one.default, bool) else list(one.choices)

    def _themes(self) -> list[str]:
        """All themes, our own first."""
        return sorted(self.app.available_themes, key=lambda name: (not name.startswith("workbench"), name))

    @on(Listing.Chosen)
    def action_edit(self) -> None:
        """Enter: a list for a setting that has a few values, else a line to type in."""
        key = self._listing.key
        if self.view == "keys":
            self._edit_keys(key)
        elif key == THEME:
            self.action_theme()
        elif self._values_of(key):
            self.action_step(1)
        else:
            self._type(key)

    def action_theme(self) -> None:
        """All themes, with a filter."""
        choices = [Choice(name, name) for name in self._themes()]

        def chosen(name: str | None) -> None:
            if name is not None:
                self._set(THEME, name)

        self.app.push_screen(ChooseDialog("Theme", choices, current=self.app.theme), chosen)

    def _type(self, key: str, given: str | None = None, problem: str = "") -> None:
        one = option(key)
        value = str(self.workbench.settings.get(key)) if given is None else given

        def typed(text: str | None) -> None:
            if text is None:
                return
            try:
                self._set(key, one.parse(text))
            except UsageError as error:
                self._type(key, text, f"✗ {error.message}")

        self.app.push_screen(TextDialog(key, value=value, text=problem or one.help), typed)

    def action_default(self) -> None:
        """The default again."""
        if not (key := self._listing.key):
            return
        if self.view == "keys":
            self._set(f"keys.{key}", None)
        else:
            self._set(key, None)

    def _set(self, key: str, value: SettingValue | None) -> None:
        """Write it, then use it; what cannot be written is not used either."""
        source = self.workbench.settings.source(key)

        def written(_: object) -> None:
            self._use(key, value)
            if source in {"flag", "environment"}:
                where = option(key).variable if source == "environment" else "the command line"
                self.notice(f"{key} is written, but {where} has the last word at the next start", "warning")
            else:
                later = " from the next start on" if key in NEXT_START else ""
                self.notice(f"{key} is {'the default again' if value is None else _shown(value)}{later}")

        self.run_flow(partial(set_value, key, value), written, group="settings")

    def _use(self, key: str, value: SettingValue | None) -> None:
        app = self.workbench
        app.settings = app.settings.with_value(key, value)
        app.call_when_open(self._tell_bench)
        if key == THEME:
            app.choose_theme(str(app.settings.get(THEME)))
        self._draw()
        if key.startswith("keys."):
            self.run_flow(partial(keymap.checked_keymap, app, app.settings.keys), self._use_keymap, group="keys")

    def _tell_bench(self) -> None:
        self.bench.settings = self.workbench.settings
        self.bench.rater = self.bench.settings.labelling.rater_name

    def _use_keymap(self, found: Keymap) -> None:
        keymap.use_keymap(self.workbench, found)
        self._draw()

    def _edit_keys(self, binding_id: str, given: str | None = None, problem: str = "") -> None:
        settings = self.workbench.settings
        bound = next((one for one in self._bound if one.id == binding_id), None)
        if bound is None:
            return
        value = given if given is not None else settings.keys.get(binding_id, ",".join(bound.keys))
        check: Callable[[str], str] = partial(self._key_problem, binding_id)

        def typed(text: str | None) -> None:
            if text is None:
                return
            if found := check(text):
                self._edit_keys(binding_id, text, f"✗ {found}")
            else:
                self._set(f"keys.{binding_id}", text.strip())

        text = problem or f"{bound.does}\nA comma between keys, for example: x,ctrl+r,f8"
        self.app.push_screen(TextDialog(binding_id, value=value, text=text), typed)

    def _key_problem(self, binding_id: str, text: str) -> str:
        wanted = {**self.workbench.settings.keys, binding_id: text}
        found = keymap.check_keymap(wanted, self._bound)
        return next((problem.reason for problem in found.problems if problem.id == binding_id), "")


def _unique(bound: list[Bound]) -> list[Bound]:
    """One of each id: the keys of lists are the same in several panes."""
    by_id: dict[str, Bound] = {}
    for one in bound:
        first = by_id.setdefault(one.id, one)
        if first.pane != one.pane:
            by_id[one.id] = replace(first, pane="several")
    return list(by_id.values())


def _tone(source: str) -> str:
    return "muted" if source == "default" else "plain"


def _shown(value: SettingValue) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) or "empty"

"""The app: one screen with strip, panes, status line and keys; it opens the bench after the first paint.

Owns what every pane shares: the bench, the pump for streams, the order of decisions, saying things. Knows the panes by
their registry only, and leaves the terminal to its base class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import RenderableType
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.css.query import NoMatches
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Input, TextArea
from textual.worker import Worker, WorkerState

from workbench.config import Settings
from workbench.errors import StoreError, WorkbenchError, disk_full, is_disk_full
from workbench.paths import Workspace
from workbench.tui.commands import WorkbenchCommands
from workbench.tui.crash import write_crash_log
from workbench.tui.keymap import KeyProblem, checked_keymap, use_keymap
from workbench.tui.messages import News, ThemeChosen
from workbench.tui.pane import Pane, Severity
from workbench.tui.panes import PANES, entry, stylesheet_of
from workbench.tui.safekeeping import Safekeeping
from workbench.tui.safety import safe
from workbench.tui.terminal import TerminalApp
from workbench.tui.themes import set_up_themes
from workbench.tui.widgets.frame import MINIMUM_SIZE, JumpStrip, KeyLine, StatusLine, TooSmall
from workbench.tui.widgets.help import HelpDialog, JumpDialog, help_rows
from workbench.tui.widgets.pump import Pump
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

TERMINAL_CHECK_S = 5.0

Framed = TypeVar("Framed", bound=Widget)


class WorkbenchApp(TerminalApp):
    """The terminal workbench. ``source`` is a workspace, or a function that opens a bench (called in a thread)."""

    TITLE = "workbench"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    COMMANDS = {WorkbenchCommands}
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (MINIMUM_SIZE[0], "-narrow"), (120, "-wide"), (150, "-broad")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (MINIMUM_SIZE[1], "-tall")]
    BINDINGS = [
        Binding("ctrl+o", "jump", "Jump", id="app.jump", priority=True, tooltip="Go to a screen by its letter"),
        Binding("ctrl+p", "command_palette", "Cmds", id="app.commands", priority=True, tooltip="Command palette"),
        Binding("f1", "help", "Help", id="app.help", priority=True, tooltip="The keys that work here"),
        Binding("question_mark", "help", "Help", id="app.help_too", show=False, tooltip="The keys that work here"),
        *(
            Binding(one.key, f"go('{one.name}')", one.title, id=f"app.go_{one.name}", show=False, priority=True)
            for one in PANES
        ),
        Binding("ctrl+c", "copy_or_stop", "Copy, or stop a stream", id="app.copy_or_stop", show=False, priority=True),
        Binding("ctrl+y", "copy_item", "Copy the item", id="app.copy_item", show=False),
        Binding("ctrl+z", "suspend_process", "To the shell (fg comes back)", id="app.suspend", show=False),
        Binding("f12", "redraw", "Draw the screen again", id="app.redraw", show=False, priority=True),
        Binding("ctrl+q", "quit", "Quit (runs and the engine go on)", id="app.quit", show=False, priority=True),
    ]

    def __init__(
        self,
        source: Workspace | Callable[[], Bench],
        settings: Settings | None = None,
        *,
        first_pane: str = PANES[0].name,
    ) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.desktop_notices = self.settings.appearance.notify
        self.open_bench = partial(_open, source) if isinstance(source, Workspace) else source
        self.first_pane = first_pane
        self.theme_problems = set_up_themes(self, self.settings.appearance.theme)
        self.keymap_problems: tuple[KeyProblem, ...] = ()
        self.pump = Pump(self)
        self.decisions = ThreadPoolExecutor(1, "decisions")
        self._bench: Bench | None = None
        self._not_open: WorkbenchError | None = None
        self._waiting: list[Callable[[], None]] = []
        self._facts: dict[str, str] = {}
        self._last_focus: dict[str, Widget] = {}
        self._panes: dict[str, Pane] = {}
        self._last_waits: list[Callable[[], object]] = []
        self.safekeeping = Safekeeping(self)

    def compose(self) -> ComposeResult:
        """The frame; panes join the switcher when they are first visited."""
        yield JumpStrip()
        yield ContentSwitcher(id="panes")
        yield StatusLine()
        yield KeyLine()
        yield TooSmall()

    async def on_mount(self) -> None:
        """Take over the signals that would leave the terminal in a mess, and show the home pane."""
        self.watch_over_terminal()
        await self.go(self.first_pane)
        self.call_after_refresh(self._open_in_thread)

    # --- the bench ---------------------------------------------------------------------------------------------

    @property
    def bench(self) -> Bench:
        """The open bench; raises ``StoreError`` until it is, and what went wrong when it cannot be."""
        if self._bench is None:
            raise self._not_open or StoreError("the workspace is still being opened", hint="wait a moment")
        return self._bench

    def call_when_open(self, then: Callable[[], None]) -> None:
        """Call ``then`` in the event loop as soon as the bench is open; say why when it cannot be."""
        if self._bench is not None:
            then()
        elif self._not_open is not None:
            self.report(self._not_open)
        else:
            self._waiting.append(then)

    def _open_in_thread(self) -> None:
        begin(self, self._open, group="open")
        self._say_ignored(self.theme_problems)
        if self.settings.keys:
            begin(self, self._check_keymap, group="keys")

    async def _check_keymap(self) -> None:
        use_keymap(self, await asyncio.to_thread(checked_keymap, self, self.settings.keys))
        self._say_ignored(self.keymap_problems)

    def _say_ignored(self, problems: Iterable[object]) -> None:
        for problem in problems:
            self.say(f"{problem} (ignored)", "warning")

    async def _open(self) -> None:
        try:
            self._bench = await asyncio.to_thread(self.open_bench)
        except WorkbenchError as error:
            self._not_open = error
            raise
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def exit(self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Leave: panes stop what runs now, while they still are there; ``on_unmount`` waits for it."""
        if self._bench is not None and not self._last_waits:
            self.safekeeping.end()
            self._last_waits = [wait for pane in self._panes.values() for wait in pane.closing()]
        super().exit(result, return_code, message)

    async def on_unmount(self) -> None:
        """Stop what streams, let decisions that were taken reach the disk, then close the store."""
        await asyncio.gather(*(asyncio.to_thread(wait) for wait in self._last_waits))
        await asyncio.to_thread(self.decisions.shutdown)
        if self._bench is not None:
            await asyncio.to_thread(self._bench.close)

    # --- panes -------------------------------------------------------------------------------------------------

    @property
    def switcher(self) -> ContentSwitcher:
        """What holds the panes; on the one screen, also while a dialog covers it."""
        return self.screen_stack[0].query_one("#panes", ContentSwitcher)

    @property
    def front(self) -> Pane | None:
        """The pane that is shown, None before the first."""
        found = self.switcher.visible_content
        return found if isinstance(found, Pane) else None

    def pane(self, name: str) -> Pane | None:
        """The pane called ``name`` if it was ever visited."""
        return self._panes.get(name)

    async def go(self, name: str) -> None:
        """Bring a pane to the front, mounting it on the first visit; the focus returns to where it was there."""
        if (front := self.front) is not None and front.id == name:
            return
        pane = self.pane(name)
        if pane is None:
            kind = entry(name).load()
            if (path := stylesheet_of(kind)) is not None:
                self.stylesheet.add_source(path.read_text(encoding="utf-8"), read_from=(str(path), ""))
            pane = self._panes[name] = kind(id=name)
            await self.switcher.add_content(pane)
        screen = self.screen_stack[0]
        if front is not None:
            if screen.focused is not None and front.id is not None:
                self._last_focus[front.id] = screen.focused
            front.when_hidden()
            self.say("")  # what was said there need not be true here
        self.switcher.current = name
        screen.query_one(JumpStrip).current = name
        pane.when_shown()
        target = self._last_focus.get(name)
        screen.set_focus(target if target is not None and target.is_attached else pane.first_focus())
        for delay_s in (0.05, 0.3):
            self.set_timer(delay_s, pane.regain_focus)

    @on(News)
    def _hand_on(self, news: News) -> None:
        for pane in self._panes.values():
            pane.heard(news)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """A blinking cursor costs bytes over SSH, so it is a setting, and off unless it is wanted."""
        if isinstance(event.widget, TextArea | Input):
            event.widget.cursor_blink = self.settings.appearance.cursor_blink

    # --- saying things -----------------------------------------------------------------------------------------

    def say(self, text: str, severity: Severity = "information") -> None:
        """Show a sentence on the status line; an error over a dialog as a toast. Foreign text is welcome."""
        if (line := self._framed(StatusLine)) is None:
            return
        line.severity, line.said = severity, text
        if severity == "error" and len(self.screen_stack) > 1:  # a dialog covers the line
            self.notify(safe(text).plain, severity=severity, timeout=8, markup=False)

    def said(self, text: str) -> None:
        """What the terminal's side has to say."""
        self.say(text)

    def set_fact(self, name: str, text: str) -> None:
        """Set or clear ("") one standing fact of the status line, such as the engine's state."""
        self._facts[name] = text
        if (line := self._framed(StatusLine)) is not None:
            line.facts = tuple(self._facts.values())

    def set_corner(self, text: str) -> None:
        """What stands at the right end of the jump strip."""
        if (strip := self._framed(JumpStrip)) is not None:
            strip.corner = text

    def _framed(self, kind: type[Framed]) -> Framed | None:
        """A widget around the panes; None before it is there, and while the app takes its screens down."""
        try:
            return self.screen_stack[0].query_one(kind)
        except (NoMatches, IndexError):
            return None

    def report(self, error: BaseException) -> None:
        """Say what failed. Our own errors carry plain words; anything else leaves a crash log and goes on."""
        if isinstance(error, OSError) and is_disk_full(error):
            error = disk_full(error)
        if isinstance(error, WorkbenchError):
            where = f"{error.where}: " if error.where else ""
            self.say(f"{where}{error.message}" + (f" ({error.hint})" if error.hint else ""), "error")
            return
        path = write_crash_log(error)
        self.say(f"unexpected {type(error).__name__}; details in {path}", "error")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """The app's own workers (opening the bench, copying) end here when they fail."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.report(event.worker.error)

    # --- keys --------------------------------------------------------------------------------------------------

    async def action_go(self, name: str) -> None:
        """F2 to F9."""
        await self.go(name)

    def action_jump(self) -> None:
        """Ctrl+O, then a letter of the strip."""

        def jumped(name: str | None) -> None:
            if name:
                begin(self, partial(self.go, name), group="go")

        self.push_screen(JumpDialog(), jumped)

    def action_help(self) -> None:
        """The keys that work where the person stands; the same key closes it."""
        if isinstance(self.screen, HelpDialog):
            self.screen.dismiss(None)
        else:
            self.push_screen(HelpDialog(help_rows(self.screen.active_bindings)))

    def action_copy_or_stop(self) -> None:
        """Ctrl+C copies a selection; without one it stops what the pane streams. It never quits."""
        if text := self.selected_text():
            self.copy_to_clipboard(text)
        elif (front := self.front) is not None and front.can_stop():
            front.stop()
        else:
            self.say("nothing to copy or to stop; Ctrl+Q quits")

    def action_copy_item(self) -> None:
        """Copy what the pane points at."""
        if (front := self.front) is not None and (text := front.text_to_copy()):
            self.copy_to_clipboard(text)

    # --- looks -------------------------------------------------------------------------------------------------

    def choose_theme(self, name: str) -> None:
        """Switch the colours now, and tell the panes."""
        self.theme = name
        self.post_message(ThemeChosen(name))


def _open(workspace: Workspace) -> Bench:
    from workbench.flows.bench import Bench  # the store and sqlite-utils, 0.1 s: after the first paint

    return Bench.open(workspace)

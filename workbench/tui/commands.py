"""What the command palette offers: screens, themes, the live keys' actions. All names are escaped: the palette parses
markup in what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape

from workbench.tui.pane import Pane
from workbench.tui.panes import PANES
from workbench.tui.safety import cell, safe_cell
from workbench.tui.widgets.frame import key_sign

Command = tuple[str, str, Callable[[], object]]


class WorkbenchCommands(Provider):
    """Jumps, actions of the pane in front, themes."""

    async def discover(self) -> Hits:
        """Everything but the themes, before anything was typed."""
        for name, help_text, run in self._commands():
            if not name.startswith("Theme"):
                yield DiscoveryHit(escape(cell(name)), run, help=escape(cell(help_text)))

    async def search(self, query: str) -> Hits:
        """Fuzzy matches on names."""
        matcher = self.matcher(query)
        for name, help_text, run in self._commands():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, _shown(name), run, text=cell(name), help=escape(cell(help_text)))

    def _commands(self) -> Iterator[Command]:
        from workbench.tui.app import WorkbenchApp  # not above: the app names this class

        app = self.app
        assert isinstance(app, WorkbenchApp)
        for entry in PANES:
            where = f"{key_sign(entry.key)} or Ctrl+O {entry.letter}"
            yield (
                f"Go to {entry.title}",
                where,
                partial(app.go, entry.name),
            )
        for key, active in self.screen.active_bindings.items():
            binding = active.binding
            is_ours = isinstance(active.node, Pane | WorkbenchApp)
            if is_ours and binding.description and binding.action not in {"command_palette", "quit"}:
                run = partial(app.run_action, binding.action, active.node)
                yield binding.tooltip or binding.description, f"{key_sign(key)}", run
        yield from app.safekeeping.commands()
        for theme in sorted(app.available_themes):
            yield f"Theme {theme}", "switch the colours now", partial(app.choose_theme, theme)
        yield "Quit", "runs and the engine go on", app.exit


def _shown(name: str) -> Content:
    return safe_cell(name)

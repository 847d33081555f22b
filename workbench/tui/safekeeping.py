"""Backups in the TUI: one a day behind everything else, a look after an unclean stop, and the palette's commands.

A restore needs the workspace for itself. So the app ends, and whoever started it restores and starts it again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.domain.counting import size
from workbench.errors import WorkbenchError
from workbench.tui.safety import safe
from workbench.tui.widgets.dialogs import ConfirmDialog, TextDialog
from workbench.tui.widgets.reading import ReadingDialog
from workbench.tui.work import begin

if TYPE_CHECKING:
    from textual.timer import Timer

    from workbench.domain.backups import Contents, Verified
    from workbench.flows.backups import Backup
    from workbench.paths import Workspace
    from workbench.tui.app import WorkbenchApp

FIRST_LOOK_S = 10.0
LOOK_EVERY_S = 3600.0
_SHOWN_EVERY_S = 0.3
LARGE_BYTES = 10_000_000
_TYPED = "restore"

Result = TypeVar("Result")


class Left(WorkbenchError):
    """The app was left while something was being written."""


class Safekeeping:
    """What the app does for the safety of the workspace. ``wanted`` is the restore that the app was left for."""

    def __init__(self, app: WorkbenchApp) -> None:
        self._app = app
        self._over = threading.Event()
        self._doing = ""
        self._timer: Timer | None = None
        self.wanted: tuple[Workspace, Path] | None = None
        self.first_words = ""
        app.call_when_open(self._begin)

    def end(self) -> None:
        """Break off what is being written: no half of it stays."""
        self._over.set()

    def commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """For the palette: a name, a help, what to call."""
        yield "Back up the workspace", "one file; asks where", self.ask_for_backup
        yield "Restore a backup", "in the place of what is here, which is kept", self.ask_for_restore
        yield "Verify the workspace", "is everything as it was written?", self.verify

    def _begin(self) -> None:
        if self.first_words:
            self._app.say(self.first_words)
        self._app.set_timer(FIRST_LOOK_S, self.look_after)
        self._app.set_interval(LOOK_EVERY_S, self.look_after)

    def look_after(self) -> None:
        """Today's backup, and a look at the database after an unclean stop."""
        from workbench.flows import backups, verify  # 10 ms that the first paint need not wait for

        def look() -> tuple[list[str], Backup | None]:
            bench = self._app.bench
            if bench.workspace.unchecked.exists() and (found := self._apart(verify.after_unclean_stop, is_asked=False)):
                return found, None
            return [], self._apart(backups.daily, is_asked=False) if backups.is_due(bench) else None

        def done(said: tuple[list[str], Backup | None]) -> None:
            found, made = said
            if found:
                self._app.say(f"the database is damaged: {found[0]} (Ctrl+P, Restore a backup)", "error")
            elif made is not None:
                self._app.say(f"today's backup: {made.file.name}, {size(made.bytes)}")

        self._run(look, done)

    # --- the palette's commands --------------------------------------------------------------------------------

    def ask_for_backup(self) -> None:
        """Ask for a file, and write it."""
        from workbench.flows import backups

        def given(text: str | None) -> None:
            if text and text.strip():
                work = partial(self._apart, backups.back_up, Path(text.strip()), runs=True, models=True)
                self._run(work, lambda made: self._app.say(made.said.replace("\n", "; ")))

        value = str(backups.default_file(self._app.bench))
        text = "Chats, examples, votes, runs with their last checkpoint, adapters and merged models; no bases."
        self._app.push_screen(TextDialog("Back up the workspace", value=value, text=text, path=True), given)

    def ask_for_restore(self, told: str = "", problem: str = "") -> None:
        """Ask for a backup, show what is in it, and leave the app for it after a yes."""
        folder = self._app.bench.workspace.backups
        newest = max(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime, default=folder / "")

        def given(text: str | None) -> None:
            if text and text.strip():
                self._confirm_restore(Path(text.strip()).expanduser())

        text = problem or "A file that a backup wrote, or a folder that an earlier restore kept."
        self._app.push_screen(TextDialog("Restore a backup", value=told or str(newest), text=text, path=True), given)

    def _confirm_restore(self, file: Path) -> None:
        from workbench.flows import backups

        def answered(yes: bool | None) -> None:
            if yes:
                self.wanted = self._app.bench.workspace, file
                self._app.exit()

        def looked(contents: Contents) -> None:
            text = (
                f"{file}\n{contents.said}\n\nIt goes in the place of {self._app.bench.workspace.root}. What is there "
                "now is kept in backups/. Workbench is left for it and starts again."
            )
            self._app.push_screen(ConfirmDialog(f"Restore {file.name}?", text=text, typed=_TYPED), answered)

        def failed(error: Exception) -> None:
            if not isinstance(error, WorkbenchError):
                raise error
            self.ask_for_restore(str(file), f"✗ {error.message}")

        self._run(partial(backups.look, file), looked, failed=failed)

    def verify(self) -> None:
        """Look at everything, and show what was found."""
        from workbench.flows import verify

        dialog = ReadingDialog("Verify the workspace", waiting="reading the database, rows and weights …")
        self._app.push_screen(dialog)

        def found(verified: Verified) -> None:
            dialog.show_content(safe(verified.said))

        work = partial(self._apart, verify.verify)
        self._run(work, found, failed=lambda error: dialog.show_failure(str(error)))

    # --- running it --------------------------------------------------------------------------------------------

    def _apart(self, flow: Callable[..., Result], *given: object, is_asked: bool = True, **named: object) -> Result:
        """A flow over the whole workspace: of a large one in a process of its own, so that keys stay quick."""
        from workbench.flows import apart

        bench = self._app.bench
        if bench.workspace.database.stat().st_size < LARGE_BYTES:
            return flow(bench, *given, **named, on_progress=self._told)
        try:
            return apart.call(
                flow,
                bench,
                *given,
                **named,
                rows=apart.FEW + 1,
                on_progress=self._told,
                cancelled=self._over,
                is_asked=is_asked,
            )
        except WorkbenchError:
            if self._over.is_set():
                raise Left("left on the way") from None
            raise

    def _told(self, what: str, share: float) -> None:
        """Progress, in the thread of the flow."""
        if self._over.is_set():
            raise Left("left on the way")
        self._doing = f"{what} {share:.0%}" if share else what

    def _run(
        self,
        flow: Callable[[], Result],
        then: Callable[[Result], None],
        *,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        async def work() -> None:
            if self._timer is None:
                self._timer = self._app.set_interval(_SHOWN_EVERY_S, self._show)
            try:
                result = await asyncio.to_thread(flow)
            except Left:
                return
            except Exception as error:
                if failed is None:
                    raise
                failed(error)
                return
            finally:
                self._doing = ""
            then(result)

        begin(self._app, work, group="safekeeping")

    def _show(self) -> None:
        self._app.set_fact("safekeeping", self._doing)
        if not self._doing and self._timer is not None:
            self._timer.stop()
            self._timer = None

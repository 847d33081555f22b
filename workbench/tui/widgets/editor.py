"""Text fields with several lines: the editor of dialogs, and the way out into the person's own ``$EDITOR``.

Owns keys and limits. What is typed is kept by whoever opened the editor.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from textual.app import SuspendNotSupported
from textual.binding import Binding
from textual.events import Key
from textual.widgets import TextArea

LONGEST_LINE = 20_000
"""Above this many characters in one line a key takes longer than 60 ms here; ``$EDITOR`` has no such trouble."""
UNDO_STEPS = 1000


class Editor(TextArea):
    """A plain text area: soft wrap, much undo, Ctrl+X Ctrl+E for ``$EDITOR``."""

    BINDINGS = [Binding("ctrl+x", "external_chord", "Edit in $EDITOR (then ^e)", id="edit.external", show=False)]
    DEFAULT_CSS = """
    Editor { background: $panel; }
    """

    def __init__(self, text: str = "", *, placeholder: str = "", name: str | None = None) -> None:
        super().__init__(
            text,
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            max_checkpoints=UNDO_STEPS,
            placeholder=placeholder,
            name=name,
        )
        self.cursor_blink = False
        self._chord = False

    def on_mount(self) -> None:
        """Stand at the end of what is there; send a monstrous line to the external editor at once."""
        self.move_cursor(self.document.end)
        if max(map(len, self.text.split("\n")), default=0) > LONGEST_LINE:
            self.call_after_refresh(self.edit_externally)

    def action_external_chord(self) -> None:
        """Ctrl+X cuts a selection as everywhere; without one it waits for Ctrl+E."""
        if self.selected_text:
            self.action_cut()
        else:
            self._chord = True

    async def _on_key(self, event: Key) -> None:
        chord, self._chord = self._chord and event.key == "ctrl+e", False
        if chord:
            event.stop()
            event.prevent_default()
            self.edit_externally()
            return
        await super()._on_key(event)

    def edit_externally(self) -> None:
        """Suspend the app, let ``$VISUAL`` or ``$EDITOR`` change the text, and take it back."""
        try:
            with self.app.suspend():
                changed = edit_text(self.text)
        except (OSError, SuspendNotSupported, subprocess.SubprocessError):
            self.app.notify("the external editor could not be started", severity="error", markup=False)
            return
        if changed != self.text:
            self.replace(changed, (0, 0), self.document.end)


def edit_text(text: str) -> str:
    """``text`` after the person's editor had it; raises ``OSError`` when there is no such program."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="workbench-edit-") as folder:
        path = Path(folder) / "text.md"
        path.write_text(text, encoding="utf-8", errors="replace")
        subprocess.run([*command, str(path)], check=False)
        changed = path.read_text(encoding="utf-8", errors="replace")
    # editors end a file with a newline; the text had none
    return changed.removesuffix("\n") if not text.endswith("\n") else changed

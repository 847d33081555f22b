"""Text fields with several lines: the editor of dialogs, and the way out into the person's own ``$EDITOR``.

Owns keys and limits. What is typed is kept by whoever opened the editor.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported
from textual.binding import Binding
from textual.events import Key
from textual.widgets import TextArea

from workbench.errors import RefusedError, WorkbenchError
from workbench.tui.safety import clean

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
            _without_separators(text),
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

    @property
    def written(self) -> str:
        """What stands in the editor, exactly: with the line separators that it came with."""
        return self.text.translate(_SEPARATORS_BACK)

    def write(self, text: str) -> None:
        """Put ``text`` in the place of what is there; Ctrl+Z takes it back."""
        self.replace(_without_separators(text), (0, 0), self.document.end)

    def edit_externally(self) -> None:
        """Suspend the app, let ``$VISUAL`` or ``$EDITOR`` change the text, and take it back."""
        changed = externally_edited(self.app, self.written)
        if changed is not None:
            self.write(changed)


def externally_edited(app: App[Any], text: str) -> str | None:
    """``text`` after the person's editor had it, while the app was suspended; None when it is as it was.

    What goes wrong is said by the app.
    """
    changed, problem = text, ""
    try:
        with app.suspend():
            try:  # inside: an error that leaves the block would leave the app suspended
                changed = edit_text(text)
            except WorkbenchError as error:
                problem = error.message + (f" ({error.hint})" if error.hint else "")
    except SuspendNotSupported:
        problem = "this terminal cannot be left to another editor"
    if problem:
        app.notify(clean(problem), severity="error", markup=False)
    return changed if changed != text else None


def edit_text(text: str) -> str:
    """``text`` after the person's editor had it, in a file of its own that only they can read.

    What was saved counts, also when the editor was killed after it. Raises ``RefusedError`` when there is no such
    program, or when it ends by saying that it failed (as with ``:cq``): then the text is as it was.
    """
    command = _editor()
    with tempfile.TemporaryDirectory(prefix="workbench-edit-") as folder:
        path = Path(folder) / "text.md"
        path.write_bytes(text.encode("utf-8", "replace"))
        try:
            # the terminal is where the app draws: standard output may lead into a file
            with _keys_are_the_editors():
                ended = subprocess.run([*command, str(path)], check=False, stdout=sys.__stderr__)
        except OSError as error:
            raise RefusedError(f"{command[0]} could not be started: {error.strerror}", hint=_CHOOSE) from error
        if ended.returncode > 0:
            raise RefusedError(f"{command[0]} ended with status {ended.returncode}: the text is as it was")
        try:
            changed = path.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise RefusedError(f"{command[0]} left no text: it is as it was") from error
    # editors end a file with a newline; the text had none
    return changed.removesuffix("\n") if not text.endswith("\n") else changed


def _editor() -> list[str]:
    wanted = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = shlex.split(wanted)
    except ValueError:
        command = []
    if not command:
        raise RefusedError(f"{wanted!r} is no command for an editor", hint=_CHOOSE)
    return command


def _without_separators(text: str) -> str:
    """``text`` for a text area, which would end a line at each of these and write its own newline in their place."""
    rest = text.replace("\r\n", "")
    if "\r\n" in text and "\n" not in rest and "\r" not in rest:  # this one it keeps
        return "\r\n".join(line.translate(_SEPARATORS) for line in text.split("\r\n"))
    return text.translate(_SEPARATORS)


@contextmanager
def _keys_are_the_editors() -> Iterator[None]:
    """Ctrl+C and Ctrl+\\ go to the whole foreground group; they are meant for the editor, and would end the app."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_CHOOSE = "$VISUAL or $EDITOR names another"
_SEPARATORS = {ord(separator): 0x10FF00 + at for at, separator in enumerate("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")}
_SEPARATORS_BACK = {stand_in: separator for separator, stand_in in _SEPARATORS.items()}

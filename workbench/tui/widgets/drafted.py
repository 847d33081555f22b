"""The dialog that edits a text which exists: several lines, undo, ``$EDITOR``; what is unsaved becomes a draft.

Owns the editor and when a draft is due. Where drafts live, and what saving means, is for whoever opens it.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.binding import Binding

from workbench.errors import WorkbenchError
from workbench.tui.widgets.dialogs import TextDialog
from workbench.tui.widgets.editor import Editor

DRAFT_EVERY_S = 2.0
_GOES_ON = "This is your draft from before; ^r puts back the text as it is stored."


class DraftedDialog(TextDialog):
    """A text to change. None means that it was left, or saved as it was.

    ``text`` is what one must know to write it. ``check`` raises ``WorkbenchError`` for a text that cannot be saved,
    which is then said in the dialog. ``keep`` is called with a draft every two seconds when there is a new one, and
    when the dialog is left; "" means that there is nothing to keep.
    """

    DEFAULT_CSS = """
    DraftedDialog.-told .dialog--text { max-height: 35vh; }
    DraftedDialog.-told Editor { height: 40vh; }
    """
    BINDINGS = [Binding("ctrl+r", "original", "The stored text", id="edit.original", show=False, priority=True)]

    def __init__(
        self,
        title: str,
        *,
        value: str,
        draft: str,
        check: Callable[[str], None],
        keep: Callable[[str], None],
        text: str = "",
    ) -> None:
        said = "\n".join(part for part in (_GOES_ON if draft else "", text) if part)
        super().__init__(title, value=draft or value, text=said, lines=True)
        self.set_class(bool(text), "-told")
        self._original, self.kept = value, draft
        self._check, self._keep = check, keep

    @property
    def draft(self) -> str:
        """What would be lost; "" when nothing was changed."""
        text = self.query_one(Editor).written
        return text if text != self._original else ""

    def on_mount(self) -> None:
        """A killed terminal loses two seconds of typing at most."""
        self.set_interval(DRAFT_EVERY_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Hand out what is unsaved, if it is not what was handed out last."""
        if self.is_mounted and (draft := self.draft) != self.kept:
            self.kept = draft
            self._keep(draft)

    def action_original(self) -> None:
        """Put the stored text back; Ctrl+Z takes that back."""
        self.query_one(Editor).write(self._original)

    def action_leave(self) -> None:
        """Escape keeps a draft."""
        self.keep_draft()
        super().action_leave()

    def action_accept(self) -> None:
        """Leave with the text, or say why it cannot be saved and stay."""
        text = self.query_one(Editor).written
        if text == self._original:
            self.keep_draft()
            self.dismiss(None)
            return
        try:
            self._check(text)
        except WorkbenchError as error:
            self.show_problem(error.message + (f" ({error.hint})" if error.hint else ""))
            return
        self.keep_draft()  # should the saving fail
        self.dismiss(text)

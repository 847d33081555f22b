"""The longer looks of Curate at the row under the cursor: its tokens, the words that differ, its history.

They read and show; nothing is decided here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workbench.domain.decisions import Decision
from workbench.errors import WorkbenchError
from workbench.flows import curate as flow
from workbench.flows import tokens
from workbench.tui.screens.curate_views import history_content, tokens_content
from workbench.tui.widgets.reading import ReadingDialog
from workbench.tui.word_diff import inline

if TYPE_CHECKING:
    from workbench.tui.screens.curate import CuratePane


class CurateLooks:
    """One method for each look, each a dialog that only shows."""

    def __init__(self, pane: CuratePane) -> None:
        self._pane = pane
        self._no_tokens = threading.Event()

    def stop(self) -> None:
        """Wait for no tokenizer any more."""
        self._no_tokens.set()

    def tokens(self) -> None:
        """The row in the model's tokens: a child process loads the tokenizer, which takes some seconds."""
        pane = self._pane
        if (example := pane.example) is None:
            return
        bench = pane.bench
        dialog = ReadingDialog(f"Tokens of {example.id}", waiting="asking the tokenizer, some seconds …")

        def failed(error: BaseException) -> None:
            if not isinstance(error, WorkbenchError):
                pane.workbench.report(error)
            hint = f" ({error.hint})" if isinstance(error, WorkbenchError) and error.hint else ""
            said = error.message if isinstance(error, WorkbenchError) else type(error).__name__
            dialog.show_failure(f"The tokens cannot be shown: {said}{hint}")

        self._no_tokens = cancelled = threading.Event()
        pane.app.push_screen(dialog, lambda _: cancelled.set())
        pane.run_flow(
            lambda: tokens.view(bench, example.id, cancelled=cancelled),
            lambda view: dialog.show_content(tokens_content(view)),
            group="tokens",
            failed=failed,
        )

    def differ(self) -> None:
        """Chosen against rejected, word by word."""
        pane = self._pane
        if (example := pane.example) is None:
            return
        if not example.content.rejected:
            pane.notice("only a pair has two answers to compare")
            return
        before = "\n".join(turn.shown for turn in example.content.rejected)
        content = inline(before, example.answer_text)
        legend = "Struck out: only in the rejected answer. Underlined: only in the chosen one."
        pane.app.push_screen(ReadingDialog(f"Rejected to chosen, {example.id}", content, text=legend))

    def history(self) -> None:
        """Every decision about the row."""
        pane = self._pane
        if (example := pane.example) is None:
            return
        bench = pane.bench

        def show(decisions: list[Decision]) -> None:
            pane.app.push_screen(ReadingDialog(f"History of {example.id}", history_content(decisions)))

        pane.run_flow(lambda: flow.history(bench, example.id), show)

"""The longer looks of Curate at the row under the cursor: its tokens, the words that differ, its history.

They read and show; nothing is decided here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.content import Content

from workbench.domain.decisions import Decision
from workbench.domain.examples import Content as ExampleContent
from workbench.errors import WorkbenchError
from workbench.flows import curate as flow
from workbench.flows import tokens
from workbench.tui.screens.curate_views import Part, history_content, rewriting, tokens_content
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

    async def tokens(self) -> None:
        """The row in the model's tokens: a child process loads the tokenizer, which takes some seconds."""
        pane = self._pane
        if (example := await pane.current_example()) is None:
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

    async def differ(self) -> None:
        """Word by word: the chosen answer against the rejected one, and what edits have changed since the original."""
        pane = self._pane
        if (example := await pane.current_example()) is None:
            return
        bench = pane.bench

        def show(decisions: list[Decision]) -> None:
            parts = [*_pair(example.content), *_edits(flow.original(decisions), example.content)]
            if not parts:
                pane.notice("nothing to compare: it is no pair, and nobody has edited it")
                return
            legend = "Struck out: only in the first text. Underlined: only in the second."
            content = Content.assemble(*parts)
            pane.app.push_screen(ReadingDialog(f"What differs in {example.id}", content, text=legend))

        pane.run_flow(lambda: flow.history(bench, example.id), show, group="look", exclusive=True)

    async def history(self) -> None:
        """Every decision about the row."""
        pane = self._pane
        if (example := await pane.current_example()) is None:
            return
        bench = pane.bench

        def show(decisions: list[Decision]) -> None:
            pane.app.push_screen(ReadingDialog(f"History of {example.id}", history_content(decisions)))

        pane.run_flow(lambda: flow.history(bench, example.id), show)


def _pair(content: ExampleContent) -> Iterator[Part | Content]:
    if content.rejected:
        yield "rejected to chosen\n", "bold"
        answers = ("\n".join(turn.shown for turn in turns) for turns in (content.rejected, content.chosen))
        yield inline(*answers)
        yield "\n\n", ""


def _edits(original: ExampleContent | None, now: ExampleContent) -> Iterator[Part | Content]:
    if original is not None and original != now:
        yield "original to edited\n", "bold"
        yield from rewriting(original, now)

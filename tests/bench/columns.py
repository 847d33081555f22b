"""Run by ``bench_stream.py`` on a terminal: two columns that stream Markdown side by side, over a composer.

``python -m tests.bench.columns RATE TOKENS SHAPE``: each column gets so many tokens a second through the app's pump.
"""

from __future__ import annotations

import sys
import threading
import time

from textual.app import App, ComposeResult
from textual.containers import Horizontal

from tests.bench.shapes import tokens
from workbench.tui.widgets.composer import Composer
from workbench.tui.widgets.pump import Pump
from workbench.tui.widgets.transcript import Entry, Transcript


class Columns(App[int]):
    """Two transcripts that grow, and a composer that takes the keys."""

    CSS = "Transcript { width: 1fr; height: 1fr; } Horizontal { height: 1fr; }"

    def __init__(self, rate: float, count: int, shape: str) -> None:
        super().__init__()
        self._rate, self._tokens = rate, tokens(shape, count)
        self._pump = Pump(self)

    def compose(self) -> ComposeResult:
        """Left, right, composer."""
        with Horizontal():
            yield Transcript(folds=True, id="left")
            yield Transcript(folds=True, id="right")
        yield Composer()

    def on_mount(self) -> None:
        """Begin when a key says so: the terminal is measured from there."""
        self.query_one(Composer).focus()

    def on_composer_sent(self) -> None:
        """Enter starts both streams."""
        self._pump.start()
        for name in ("left", "right"):
            side = self.query_one(f"#{name}", Transcript)
            side.begin(Entry(-1, name, ""))
            threading.Thread(target=self._feed, args=(side,), daemon=True).start()

    def _feed(self, side: Transcript) -> None:
        begun = time.perf_counter()
        for number, token in enumerate(self._tokens):
            time.sleep(max(0.0, begun + number / self._rate - time.perf_counter()))
            self._pump.feed(side, token)
        time.sleep(0.3)
        self._pump.feed(side, "\n\nTHE END\n")


if __name__ == "__main__":
    Columns(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]).run()

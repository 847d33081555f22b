"""The program with an engine that needs no weights, for the walk through the Arena: ``arena_app.py WORKSPACE``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes import FakeEngine
from workbench.domain.chats import StopReason
from workbench.domain.serving import AnswerEnd, AnswerEvent, ChatRequest, TextPiece
from workbench.flows.bench import Bench
from workbench.paths import Workspace
from workbench.tui.app import WorkbenchApp

PIECE_S = 0.03


class SlowEngine(FakeEngine):
    """Says something about the prompt, a word at a time; the adapter is slower and says more."""

    def stream(
        self, request: ChatRequest, *, cancelled: threading.Event, on_status: object = None
    ) -> Iterator[AnswerEvent]:
        """Words in the time that an answer takes."""
        manner = "briefly" if request.model.base is None else "in some more words than that one"
        words = f"Of {request.turns[-1].content} {manner}".split()
        for word in words:
            time.sleep(PIECE_S)
            if cancelled.is_set():
                yield AnswerEnd(StopReason.CANCELLED, 1, 1, 1, 1)
                return
            yield TextPiece(word + " ")
        yield AnswerEnd(StopReason.STOP, 5, len(words), 1, 100)


if __name__ == "__main__":
    workspace = Workspace(Path(sys.argv[1]))
    WorkbenchApp(lambda: Bench.open(workspace, engine=SlowEngine())).run()

"""What the pilot tests of Chat share: the pane, what gestures made, and a question with its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from showing import until
from textual.pilot import Pilot

from workbench.domain.examples import Example
from workbench.domain.queries import parse_query
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.chat import ChatPane
from workbench.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


def chat_pane(app: WorkbenchApp) -> ChatPane:
    """The pane."""
    return app.query_one(ChatPane)


def examples(bench: Bench) -> list[Example]:
    """Everything that gestures made and did not take back."""
    return bench.store.examples.list(parse_query(""))


async def ask(pilot: Pilot[int], app: WorkbenchApp, question: str) -> None:
    """Type a question, send it, and wait for the whole answer."""
    app.query_one(Composer).load_text(question)
    before = len(bench_tree(app))
    await pilot.press("enter")
    await until(pilot, lambda: len(bench_tree(app)) == before + 2 and not chat_pane(app).live)
    await until(pilot, lambda: len(chat_pane(app).transcript.entries) >= len(chat_pane(app).path()))


def bench_tree(app: WorkbenchApp) -> tuple[int, ...]:
    """The ids of the messages of the chat that is shown."""
    tree = chat_pane(app).chat_tree
    return tuple(tree.messages) if tree else ()

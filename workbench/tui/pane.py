"""What every screen of the strip is: a container that lives in the one ``ContentSwitcher`` of the app.

Owns the way from a key to a flow and back: run it in a thread, show what it says, report what went wrong. Knows no
pane in particular.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, cast

from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from workbench.errors import WorkbenchError
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.messages import News

Severity = Literal["information", "warning", "error"]
Result = TypeVar("Result")


class Pane(Vertical):
    """One screen. Subclasses give ``title`` and ``letter``, compose their widgets and override the ``when_`` hooks."""

    title: ClassVar[str] = ""
    letter: ClassVar[str] = ""

    DEFAULT_CSS = """
    Pane { height: 1fr; width: 1fr; }
    """

    @property
    def workbench(self) -> WorkbenchApp:
        """The app, with its own type."""
        return cast("WorkbenchApp", self.app)

    @property
    def bench(self) -> Bench:
        """The open bench; raises ``StoreError`` until the store is open (use ``app.call_when_open``)."""
        return self.workbench.bench

    def when_shown(self) -> None:
        """Called each time the pane comes to the front (also the first time, after it was mounted)."""

    def when_hidden(self) -> None:
        """Called when another pane comes to the front."""

    def heard(self, news: News) -> None:
        """Called with what other panes report; shown or not."""

    def can_stop(self) -> bool:
        """True while Ctrl+C should stop something of this pane."""
        return False

    def stop(self) -> None:
        """Stop what ``can_stop`` promised; keeps what is there."""

    def closing(self) -> Sequence[Callable[[], object]]:
        """Called once before the bench closes: stop what runs. What is returned is waited for, in threads."""
        return ()

    def text_to_copy(self) -> str:
        """What a copy without a selection takes; "" when there is nothing."""
        return ""

    def first_focus(self) -> Widget | None:
        """The widget that gets the keys when the pane is shown without one having had them before."""
        return next((child for child in self.query("*") if child.focusable), None)

    def regain_focus(self) -> None:
        """Take the keys when nobody in front has them: a widget that is hidden blurs late, and may blur the new one."""
        screens = self.workbench.screen_stack  # empty once the app is on its way out
        if not screens or self.workbench.front is not self:
            return
        focused = screens[0].focused
        if focused is None or self not in focused.ancestors:
            screens[0].set_focus(self.first_focus())

    def on_descendant_focus(self) -> None:
        """A widget of a pane that is hidden gets the focus when its neighbour loses it late: give it to the front."""
        front = self.workbench.front
        if front is not None and front is not self:
            self.call_later(front.regain_focus)

    def notice(self, text: str, severity: Severity = "information") -> None:
        """Say something about this pane: on the status line; an error over a dialog is a toast too."""
        self.workbench.say(text, severity)

    def tell(self, message: Message) -> None:
        """Post news to the app, which hands it on to the other panes."""
        self.app.post_message(message)

    def run_flow(
        self,
        flow: Callable[[], Result],
        then: Callable[[Result], None] | None = None,
        *,
        group: str = "flow",
        exclusive: bool = False,
        failed: Callable[[BaseException], None] | None = None,
    ) -> Worker[None]:
        """Run ``flow`` in a thread, then ``then`` with its result in the event loop.

        ``exclusive`` drops the results of earlier flows of the same ``group`` that are still under way (for searches).
        A failure goes to ``failed`` if given, else to the status line; it never ends the app.
        """

        async def work() -> None:
            try:
                result = await asyncio.to_thread(flow)
            except Exception as error:
                if failed is None:
                    raise
                failed(error)
                return
            if then is not None:
                then(result)

        return begin(self, work, group=group, exclusive=exclusive)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """For an action whose later keys wait for what it reads: a failure ends the block, and is said."""
        try:
            yield
        except WorkbenchError as error:
            self.workbench.report(error)

    def decide(self, flow: Callable[[], Result], then: Callable[[Result], None] | None = None) -> Worker[None]:
        """Like ``run_flow``, but decisions of the whole app run one after another, in the order of their keys."""

        # queued now and shielded: a decision that was taken is committed even if the app is left at once
        future = self.workbench.decisions.submit(flow)

        async def work() -> None:
            result = await asyncio.shield(asyncio.wrap_future(future))
            if then is not None:
                then(result)

        return begin(self, work, group="decisions")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Every worker of a pane ends here when it fails: said, never fatal."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.workbench.report(event.worker.error)

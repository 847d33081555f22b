"""Which rows Curate shows: read as a window at once and then whole, counted, and found again after a restart.

Owns the order in which things are read, so that no key has to wait. What is shown and how is the pane's business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.timer import Timer

from workbench.domain.examples import Status
from workbench.flows import curate as flow
from workbench.flows import unseen

if TYPE_CHECKING:
    from workbench.store.lists import Piece, Window
    from workbench.tui.screens.curate import CuratePane

# The counts are read again at most this often, and never for more than a tenth of the time.
COUNT_EVERY_S = 0.3
REMEMBER_AFTER_S = 0.5
REST_AFTER_S = 0.05


class CurateList:
    """The list of one pane."""

    def __init__(self, pane: CuratePane) -> None:
        self._pane = pane
        self._cancelled = threading.Event()
        self._counting: Timer | None = None
        self._remembering: Timer | None = None
        self._count_took_s = 0.0
        self._count_missed = False
        self.counts: dict[Status, int] = {}
        self.is_reading = True
        self.is_sorting = False  # what stands in the list is still what was there before

    def closing(self) -> Sequence[Callable[[], object]]:
        """Read no further; what is given back keeps the place."""
        self._cancelled.set()
        bench, place = self._pane.bench, self.place
        return () if self.is_reading else (lambda: flow.remember(bench, place),)

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, keep: int | None = None, *, from_top: bool = False) -> None:
        """Show the rows around ``keep``, or the first ones, then all of them; what was being read is dropped.

        ``from_top`` puts the cursor on the first row.
        """
        pane = self._pane
        bench, text, dataset, order = pane.bench, pane.filter, pane.dataset, pane.order
        pane.forget_scores()
        self._cancelled.set()
        self._cancelled = cancelled = threading.Event()
        self.is_reading, self.is_sorting = True, order not in flow.BY_NUMBER
        if self.is_sorting:
            pane.show_lines()
        if self._counting is not None:  # the counts come with the list
            self._counting.stop()
            self._counting = None

        def show(window: Window) -> None:
            if cancelled.is_set():
                return
            if len(window.ids) or window.is_all:
                self.is_sorting = False
                pane.rows.set_ids(window.ids, keep=keep, partial=not window.is_all)
                if from_top:
                    pane.rows.cursor = 0
            if window.is_all:
                self.is_reading = False
                self.count_soon()
            else:  # paint first: the rest takes a core of its own for a while, and slows the painting down
                pane.set_timer(REST_AFTER_S, rest)
            pane.show_lines()

        def rest() -> None:
            if not cancelled.is_set():
                pane.run_flow(every, show_all, group="rows")

        def every() -> Piece:
            return flow.listed(bench, text, dataset=dataset, order=order, cancelled=cancelled)

        def show_all(listed: Piece) -> None:
            if not cancelled.is_set():
                pane.rows.set_ids(listed.ids, keep=pane.rows.current_id if pane.rows.is_partial else keep)
                self.is_reading, self.is_sorting, self.counts = False, False, listed.counts
                if self._count_missed:  # somebody decided while it was read
                    self.count_soon()
                pane.show_lines()

        pane.run_flow(lambda: flow.window(bench, text, dataset=dataset, order=order, around=keep), show, group="rows")

    def tell_unfound(self) -> None:
        """Say how many rows a filter by model does not find, because their names are not to be known yet."""
        pane = self._pane
        bench, text, dataset = pane.bench, pane.filter, pane.dataset or ""

        def show(count: int) -> None:
            if count and pane.filter == text:
                pane.notice(unseen.left_out(count, "rows"))

        def count() -> int:
            return unseen.unfound(bench, unseen.asked(bench, text), dataset=dataset)

        pane.run_flow(count, show, group="unfound", exclusive=True)

    # --- counting ----------------------------------------------------------------------------------------------

    def count_soon(self) -> None:
        """Something was decided: count again, once for all that is decided meanwhile."""
        if self._counting is None:
            self._counting = self._pane.set_timer(max(COUNT_EVERY_S, 10 * self._count_took_s), self._count)

    def _count(self) -> None:
        pane, self._counting = self._pane, None
        self._count_missed = self.is_reading
        if self.is_reading:
            return
        bench, dataset, ids = pane.bench, pane.dataset, pane.rows.ids if pane.filter else None
        cancelled = self._cancelled

        def count() -> tuple[dict[Status, int], float]:
            begun = time.monotonic()
            if ids is None:
                found = flow.counts(bench, dataset, cancelled=cancelled)
            else:
                found = flow.statuses(bench, ids, cancelled=cancelled)
            return found, time.monotonic() - begun

        def show(found: tuple[dict[Status, int], float]) -> None:
            if not cancelled.is_set():
                self.counts, self._count_took_s = found
                pane.show_lines()

        pane.run_flow(count, show, group="counts", exclusive=True)

    # --- the place ---------------------------------------------------------------------------------------------

    @property
    def place(self) -> flow.Place:
        """Where the person is now."""
        pane = self._pane
        return flow.Place(pane.dataset or "", pane.filter, pane.order, pane.rows.current_id)

    def resume(self) -> None:
        """Show what this rater was at, with the cursor where it was."""
        pane = self._pane
        bench = pane.bench

        def show(place: flow.Place) -> None:
            pane.dataset, pane.filter, pane.order = place.dataset or None, place.filter, place.order
            pane.search.value = place.filter
            pane.search.set_class(bool(place.filter), "-open")
            self.read(place.row)

        pane.run_flow(lambda: flow.place(bench), show, group="rows")

    def remember_soon(self) -> None:
        """The cursor moved: write down where it is when it rests. A decision writes it down itself."""
        if self._remembering is None and not self.is_reading:
            self._remembering = self._pane.set_timer(REMEMBER_AFTER_S, self._remember)

    def _remember(self) -> None:
        pane, self._remembering = self._pane, None
        bench, place = pane.bench, self.place
        pane.run_flow(lambda: flow.remember(bench, place), group="place", exclusive=True)

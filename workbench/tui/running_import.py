"""An import on its way: what was asked, how far it is, what came of it. Outlives the dialog that began it.

Knows no widget: a thread works, the screen looks.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.examples import Status
from workbench.flows import exchange
from workbench.tui.figures import meter, thousands

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


@dataclass(frozen=True, slots=True)
class ImportAsked:
    """What a person asked for; empty texts let the file say it. ``mapping`` is a format's column to the file's."""

    path: str
    dataset: str = ""
    format: str = ""
    container: str = ""
    split: str = ""
    text_unit: str = "paragraph"
    entry: str = ""
    status: Status = Status.PENDING
    skip_bad: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path | str:
        """The file or folder, or the hub id."""
        return exchange.as_source(self.path)

    @property
    def options(self) -> exchange.Options:
        """How to look at the source."""
        return exchange.Options(self.container, self.split, self.text_unit)

    def preview(self, bench: Bench) -> exchange.Preview:
        """The first rows as they would be understood; for a thread."""
        how = {"format": self.format, "mapping": self.mapping, "options": self.options, "entry": self.entry}
        return exchange.preview(bench, self.source, **how)

    def command(self) -> str:
        """The command that does the same."""
        named = {
            "--dataset": self.dataset,
            "--format": self.format,
            "--as": self.container,
            "--split": self.split,
            "--entry": self.entry,
            "--text-by": "" if self.text_unit == "paragraph" else self.text_unit,
            "--status": "" if self.status is Status.PENDING else self.status.value,
        }
        words = ["workbench", "import", self.path]
        words += [word for flag, value in named.items() if value for word in (flag, value)]
        words += [word for ours, theirs in self.mapping.items() for word in ("--map", f"{ours}={theirs}")]
        return shlex.join([*words, *(["--skip-bad"] if self.skip_bad else [])])


class RunningImport:
    """One import. ``work`` is for a thread; everything else may be read at any time."""

    def __init__(self, bench: Bench, asked: ImportAsked, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.asked = asked
        self.reports: Sequence[exchange.ImportReport] = ()
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self._bench = bench
        self._clock = clock
        self._cancelled = threading.Event()
        self._progress = exchange.Progress("reading", 0, None)
        self._phase_began = clock()

    def work(self) -> Sequence[exchange.ImportReport]:
        """Import; raises what the flow raises. Nothing is kept of a cancelled one."""
        asked = self.asked
        try:
            self.reports = exchange.import_any(
                self._bench,
                asked.source,
                entry=asked.entry,
                dataset=asked.dataset,
                format=asked.format,
                status=asked.status,
                skip_bad=asked.skip_bad,
                mapping=asked.mapping,
                options=asked.options,
                on_progress=self._hear,
                cancelled=self._cancelled,
            )
        finally:
            self.ended.set()
        return self.reports

    def cancel(self) -> None:
        """Let it end soon, with nothing imported."""
        self._cancelled.set()

    @property
    def is_over(self) -> bool:
        """True when there is a report or an error to show."""
        return bool(self.reports) or self.error is not None

    def _hear(self, progress: exchange.Progress) -> None:
        if progress.phase != self._progress.phase or progress.rows < self._progress.rows:
            self._phase_began = self._clock()
        self._progress = progress

    def line(self, width: int = 16) -> str:
        """How far it is: phase, rows, share of the file, rate."""
        now = self._progress
        seconds = self._clock() - self._phase_began
        parts = [now.phase, f"{now.rows:,} rows"]
        if now.share is not None:
            parts.append(f"{meter(now.share, width)} {now.share:.0%}")
        if now.rows and seconds > 0:
            parts.append(f"{thousands(now.rows / seconds)} rows/s")
        if now.bad:
            parts.append(f"{now.bad:,} bad lines")
        return "  ".join(parts) if not self._cancelled.is_set() else "cancelling, nothing will be kept"

    def fact(self) -> str:
        """The same in a few letters, for the status line."""
        now = self._progress
        return f"{now.phase} {now.rows:,} rows" + (f" {now.share:.0%}" if now.share is not None else "")

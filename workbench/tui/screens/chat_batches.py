"""Batches from Chat: begun by a form, asked by a process of their own, watched on the status line.

What a batch is, and how it goes on, is the flow's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.timer import Timer

from workbench.domain.batches import Batch, BatchState
from workbench.domain.counting import counted
from workbench.errors import UsageError, WorkbenchError
from workbench.flows import batch as flow
from workbench.flows.prompts import prompt_rows
from workbench.tui.messages import ComparisonsChanged
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, Field, FormDialog

if TYPE_CHECKING:
    from workbench.domain.chats import Sampling
    from workbench.flows.bench import Bench
    from workbench.tui.screens.chat import ChatPane

LOOK_S = 2.0
STARTING_LOOKS = 15
"""So often a batch may be found without its process, which takes seconds to begin on a busy machine."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the form."""

    prompts: str
    models: tuple[str, ...]
    limit: int | None

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Asked:
        """The form read back; raises ``UsageError`` naming what cannot be."""
        limit = values["limit"].strip()
        if not values["prompts"].strip():
            raise UsageError("which prompts?", hint="a file, or a dataset's name")
        if limit and (not limit.isdecimal() or int(limit) < 1):
            raise UsageError(f"{limit} is no number of prompts")
        models = tuple(name.strip() for name in values["models"].split(",") if name.strip())
        return cls(values["prompts"].strip(), models, int(limit) if limit else None)


class ChatBatches:
    """Begins batches, stops them and goes on with them; says how far those are that run."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._watched: dict[int, int] = {}
        self._timer: Timer | None = None

    def opened(self) -> None:
        """Say what was left behind, and watch what runs."""

        def look(found: list[Batch]) -> None:
            self._watch(*(batch.id for batch in found if batch.is_running))
            left = [batch for batch in found if batch.state is BatchState.OPEN and not batch.is_running]
            if left:
                self._pane.notice(f"a batch waits, {left[0].said}: m, Batches goes on with it")

        self._pane.run_flow(self._pane.bench.store.batches.list, look, group="batches")

    def ask(self, values: Mapping[str, str] | None = None, problem: str = "") -> None:
        """Which prompts, which models."""
        pane = self._pane
        given = values or {}
        model = given.get("models") or (pane.setup.model if pane.setup else "") or pane.default_model
        fields = [
            Field("prompts", "Prompts", given.get("prompts", ""), "a file, DATASET or DATASET:SPLIT, @chats, @to-fix"),
            Field("models", "Models", model, "one: into a chat; two with a comma: pairs for the Arena"),
            Field("limit", "At most", given.get("limit", ""), "so many prompts; empty: all"),
        ]

        def answered(asked: Asked | None) -> None:
            if asked is not None:
                self._begin(asked)

        pane.app.push_screen(FormDialog("Run prompts through a model", fields, Asked.of, text=problem), answered)

    def _begin(self, asked: Asked) -> None:
        pane = self._pane
        assert pane.setup is not None
        begin = partial(_begun, pane.bench, asked, pane.setup.sampling)

        def failed(error: BaseException) -> None:
            if isinstance(error, WorkbenchError):
                values = {"prompts": asked.prompts, "models": ", ".join(asked.models)}
                values["limit"] = str(asked.limit or "")
                self.ask(values, f"✗ {error.message}" + (f"\n{error.hint}" if error.hint else ""))
            else:
                pane.workbench.report(error)

        def begun(batch: Batch) -> None:
            pane.notice(f"batch {batch.id}: asking {counted(batch.total, 'prompts')}, also when you quit")
            self._watch(batch.id)

        pane.run_flow(begin, begun, group="batches", failed=failed)

    def choose(self) -> None:
        """Every batch: Enter stops it, goes on with it, or goes to its answers."""
        pane = self._pane

        def ask(found: list[Batch]) -> None:
            if not found:
                pane.notice("no batch was run yet")
                return
            by_id = {str(batch.id): batch for batch in found}
            choices = [Choice(key, f"{_verb(one)} {_title(one)}", one.said) for key, one in by_id.items()]
            pane.app.push_screen(ChooseDialog("Batches", choices), lambda key: self._act(by_id[key]) if key else None)

        pane.run_flow(pane.bench.store.batches.list, ask, group="batches")

    def _act(self, batch: Batch) -> None:
        pane = self._pane
        if batch.is_running:
            pane.run_flow(partial(flow.stop, pane.bench, batch.id), lambda one: pane.notice(f"{_title(one)} stops"))
        elif batch.state is BatchState.DONE and not batch.failed:
            self._show(batch)
        else:
            launch = partial(flow.launch, pane.bench, batch.id, retry=bool(batch.failed))
            pane.run_flow(launch, lambda one: pane.notice(f"{_title(one)} goes on"), group="batches")
            self._watch(batch.id)

    def _show(self, batch: Batch) -> None:
        pane = self._pane

        def found(chats: list[int]) -> None:
            if chats:
                pane.open_chat(chats[0])
            else:
                pane.notice("its pairs wait in the Arena (F6)")

        pane.run_flow(lambda: pane.bench.store.batches.chats(batch.id), found, group="batches")

    def _watch(self, *batch_ids: int) -> None:
        self._watched |= dict.fromkeys(batch_ids, STARTING_LOOKS)
        if self._watched and self._timer is None:
            self._timer = self._pane.set_interval(LOOK_S, self._look)

    def _look(self) -> None:
        get = self._pane.bench.store.batches.get
        watched = list(self._watched)
        self._pane.run_flow(lambda: [get(one) for one in watched], self._seen, group="batch-look", exclusive=True)

    def _seen(self, found: list[Batch]) -> None:
        pane = self._pane
        for batch in found:
            left = self._watched.get(batch.id, 0)
            if batch.is_running:
                self._watched[batch.id] = 0
            elif left > 0 and batch.state is BatchState.OPEN and not batch.error:
                self._watched[batch.id] = left - 1  # its process is beginning
            else:
                self._watched.pop(batch.id, None)
                pane.notice(_ended(batch), "warning" if batch.error else "information")
                pane.list.reload()
                pane.tell(ComparisonsChanged())
        running = [batch for batch in found if batch.id in self._watched]
        pane.workbench.set_fact("batch", f"batch {running[0].done:,}/{running[0].total:,}" if running else "")
        if not self._watched and self._timer is not None:
            self._timer.stop()
            self._timer = None


def _begun(bench: Bench, asked: Asked, sampling: Sampling) -> Batch:
    path = Path(asked.prompts).expanduser()
    rows = prompt_rows(bench, path if path.is_file() else asked.prompts)[: asked.limit]
    models = asked.models or ("",)
    batch = flow.begin(
        bench, models, [row.turns for row in rows], source=asked.prompts, sampling=sampling, seed=sampling.seed
    )
    return flow.launch(bench, batch.id)


def _title(batch: Batch) -> str:
    return f"batch {batch.id} ({Path(batch.source).name}, {' and '.join(batch.models)})"


def _ended(batch: Batch) -> str:
    """What came of it, the news first: of two models it is where to vote."""
    if batch.error:
        return f"{_title(batch)}: {batch.said}: {batch.error}"
    where = "; its pairs wait in the Arena (F6)" if len(batch.models) > 1 and batch.done else ""
    return f"batch {batch.id}: {batch.said}{where}"


def _verb(batch: Batch) -> str:
    if batch.is_running:
        return "stop"
    return "show" if batch.state is BatchState.DONE and not batch.failed else "go on with"

"""The open bench: one workspace's store, its engine, its settings and who is deciding. What every flow is handed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from workbench.config import Settings, load_settings
from workbench.domain.chats import Generation, Role, StopReason
from workbench.flows.curves import Curves
from workbench.flows.registry import ensure_embedded
from workbench.paths import Workspace
from workbench.store.store import Store

if TYPE_CHECKING:
    from workbench.jobs.engine import Engine

# What a killed import left is invisible; an opening spends so long on removing it, and the next import does the rest.
SWEEP_SECONDS = 0.3
CHATS_KEPT_DAYS = 30
"""For so long a deleted chat can be brought back."""


class Bench:
    """Everything a flow needs. ``rater`` signs decisions; ``engine`` answers, and is started by its first use."""

    def __init__(self, store: Store, *, engine: Engine, settings: Settings, rater: str) -> None:
        self.store = store
        self.curves = Curves(store.runs)
        self.engine = engine
        self.settings = settings
        self.rater = rater

    @property
    def workspace(self) -> Workspace:
        """The workspace that is open."""
        return self.store.workspace

    @classmethod
    def open(
        cls,
        workspace: Workspace,
        *,
        engine: Engine | None = None,
        rater: str | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """The bench on ``workspace``, made if it is new; its first model is the one shipped with the program.

        Answers that a killed bench had begun become messages; what a killed import left goes, a part at each opening.
        Raises ``StoreError``, ``BusyError`` or ``UsageError`` (settings); starts no process.
        """
        settings = settings or load_settings()
        if engine is None:
            from workbench.jobs.endpoint import RoutedEngine  # not needed where a test brings its own
            from workbench.jobs.engine import EngineClient

            chosen = settings.engine
            local = EngineClient(workspace, idle_minutes=chosen.idle_minutes, precision=chosen.precision)
            engine = RoutedEngine(local)
        store = Store.open(workspace)
        try:
            ensure_embedded(store)
            recover_answers(store)
            store.imports.sweep(seconds=SWEEP_SECONDS)
            store.chats.purge(days_ago_utc(CHATS_KEPT_DAYS))
        except BaseException:
            store.close()
            raise
        return cls(store, engine=engine, settings=settings, rater=rater or settings.labelling.rater_name)

    def close(self) -> None:
        """Close the store. The engine stays: it ends by itself when idle."""
        self.store.close()


def days_ago_utc(days: int) -> str:
    """The moment so many days ago, as times are stored."""
    then = datetime.now(UTC) - timedelta(days=days)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def recover_answers(store: Store) -> int:
    """Turn the text of answers whose process is gone into messages; returns how many there were.

    A lost answer of which nothing had arrived leaves no message. One in a deleted chat waits for the chat.
    """
    if not store.chats.lost_answers():
        return 0
    with store.write():
        lost = store.chats.lost_answers()  # again, under the lock: another bench may have been first
        for answer in lost:
            if answer.text:
                generation = Generation(answer.model, answer.sampling, 0, 0, 0, StopReason.LOST, given=answer.given)
                store.chats.add_message(
                    answer.chat_id,
                    parent_id=answer.parent_id,
                    role=Role.ASSISTANT,
                    content=answer.text,
                    generation=generation,
                    edited_from=answer.edited_from,
                )
            store.chats.finish_answer(answer.id)
    return len(lost)

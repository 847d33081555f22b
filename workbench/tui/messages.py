"""News between panes: past-tense facts with ids and small values. The store holds the truth; a pane re-reads it.

A pane posts news; it bubbles to the app, which hands it to every other mounted pane (``Pane.heard``).
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.message import Message

from workbench.domain.serving import EngineStatus


class News(Message):
    """Something changed in the store or beside it that other panes may show."""


class ExamplesChanged(News):
    """Examples were created, decided on, edited, imported or undone."""

    def __init__(self, example_ids: Sequence[int] = ()) -> None:
        super().__init__()
        self.example_ids = tuple(example_ids)


class ChatsChanged(News):
    """A chat was created, renamed, deleted, or got a message."""

    def __init__(self, chat_id: int | None = None) -> None:
        super().__init__()
        self.chat_id = chat_id


class ModelsChanged(News):
    """A model was added to the registry or removed from it."""


class RunsChanged(News):
    """A run was queued, made progress, or ended."""

    def __init__(self, run_ids: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.run_ids = run_ids


class ComparisonsChanged(News):
    """A comparison was prepared, rated, or its vote taken back."""


class EngineReported(News):
    """The engine said where it stands, or was found dead."""

    def __init__(self, status: EngineStatus) -> None:
        super().__init__()
        self.status = status


class ModelChosen(News):
    """A person asked to chat with a model (from Models or Train); Chat takes it up."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model = model


class ThemeChosen(News):
    """The theme was switched; settings may show it."""

    def __init__(self, theme: str) -> None:
        super().__init__()
        self.theme = theme

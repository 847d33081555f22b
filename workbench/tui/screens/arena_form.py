"""The form for a round in the Arena: which two models, which prompts, how many, and how they are drawn."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Input, Label, Static

from workbench.config import option
from workbench.domain.chats import Sampling, Turn
from workbench.domain.models import Model, ModelKind
from workbench.errors import NotFoundError, UsageError, WorkbenchError
from workbench.flows import compare as flow
from workbench.tui.safety import safe_cell
from workbench.tui.widgets.dialogs import Dialog
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.picker import Picker

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

SAMPLES, TYPED = "sample prompts", "typed below"
LIMIT = 20


@dataclass(frozen=True, slots=True)
class Round:
    """Two models and what to ask them. ``typed`` holds prompts, one a line, used when ``source`` says so."""

    a: str
    b: str
    sampling: Sampling
    source: str = SAMPLES
    typed: str = ""
    limit: int = LIMIT
    seed: int = 0

    def prompts_of(self, bench: Bench) -> list[flow.Prompt]:
        """The prompts, at most ``limit``; raises what ``flows.compare.prompts_from`` raises. For a thread."""
        if self.source == TYPED:
            typed: list[flow.Prompt] = [
                (Turn("user", line.strip()),) for line in self.typed.splitlines() if line.strip()
            ]
            return typed[: self.limit]
        return flow.prompts_from(bench, None if self.source == SAMPLES else self.source)[: self.limit]


def load_round(bench: Bench, a: str = "", b: str = "") -> ArenaForm:
    """The form for this workspace; raises ``NotFoundError`` when there are not two models. For a thread."""
    models = list(bench.store.models.speakers())
    if len(models) < 2:
        raise NotFoundError("there is only one model here", hint="train one (F5), or add one (F7)")
    default_a, default_b = default_pair(models)
    datasets = [dataset.name for dataset in bench.store.datasets.list()]
    chosen = Round(a or default_a, b or default_b, bench.settings.chat.sampling, seed=secrets.randbelow(2**31))
    return ArenaForm(chosen, models=[model.name for model in models], datasets=datasets)


def default_pair(models: list[Model]) -> tuple[str, str]:
    """The newest adapter with its base; without an adapter, the two newest models."""
    if adapters := [model for model in models if model.kind is ModelKind.ADAPTER]:
        return adapters[-1].base, adapters[-1].name
    return models[-2].name, models[-1].name


class ArenaForm(Dialog[Round]):
    """Asks for a round; Ctrl+S starts it."""

    BINDINGS = [Binding("ctrl+s", "accept", "Start", id="form.start", priority=True)]
    DEFAULT_CSS = """
    ArenaForm .arena-form--row { height: 1; }
    ArenaForm .arena-form--row > Label { width: 14; color: $text-muted; }
    ArenaForm .arena-form--row > Picker { width: 40; }
    ArenaForm .arena-form--row > Input { width: 16; height: 1; border: none; background: $panel; }
    ArenaForm .arena-form--row > Input:focus {
        border: none; background: $block-cursor-background; color: $block-cursor-foreground;
    }
    ArenaForm .arena-form--row > Static { width: 1fr; color: $text-muted; padding: 0 0 0 1; }
    ArenaForm Editor { height: 6; margin: 1 0 0 0; display: none; }
    ArenaForm.-typed Editor { display: block; }
    """

    def __init__(self, given: Round, *, models: list[str], datasets: list[str]) -> None:
        super().__init__("Ask two models the same", keys="^s starts · ← → change · Enter lists · Esc cancels")
        self._given, self._models, self._datasets = given, models, datasets

    def compose_body(self) -> ComposeResult:
        """Two models, where the prompts come from, how many, and how the answers are drawn."""
        given = self._given
        for name, value, title in (("a", given.a, "One model"), ("b", given.b, "The other model")):
            with Horizontal(classes="arena-form--row"):
                yield Label("one model" if name == "a" else "the other")
                yield Picker(self._models, value, title=title, id=f"round-{name}")
        with Horizontal(classes="arena-form--row"):
            yield Label("prompts")
            yield Picker([SAMPLES, TYPED, *self._datasets], given.source, title="Prompts", id="round-source")
        numbers = (
            ("limit", str(given.limit), "at most so many prompts"),
            ("temperature", f"{given.sampling.temperature:g}", "0 is greedy; the same seed is used for both"),
            ("max_tokens", str(given.sampling.max_tokens), "the longest answer, in tokens"),
        )
        for name, value, help_text in numbers:
            with Horizontal(classes="arena-form--row"):
                yield Label(safe_cell(name))
                yield Input(value, id=f"round-{name}", compact=True, select_on_focus=False)
                yield Static(safe_cell(help_text), markup=False)
        yield Editor(given.typed)

    @on(Picker.Changed, "#round-source")
    def _source_chosen(self, event: Picker.Changed) -> None:
        self.set_class(event.value == TYPED, "-typed")
        if event.value == TYPED:
            self.query_one(Editor).focus()

    @on(Input.Submitted)
    def action_accept(self) -> None:
        """Leave with the round, or say what is wrong."""
        try:
            self.dismiss(self.chosen())
        except WorkbenchError as error:
            self.show_problem(error.message + (f" ({error.hint})" if error.hint else ""))

    def chosen(self) -> Round:
        """What stands in the form; raises ``UsageError`` or ``DataError`` where it cannot be."""
        a, b = (self.query_one(f"#round-{side}", Picker).value for side in ("a", "b"))
        if a == b:
            raise UsageError("both sides are the same model", hint="choose two different ones")
        source = self.query_one("#round-source", Picker).value
        typed = self.query_one(Editor).text
        if source == TYPED and not typed.strip():
            raise UsageError("no prompt is typed", hint="one prompt a line")
        temperature = option("chat.temperature").parse(self._entered("temperature"))
        max_tokens = option("chat.max_tokens").parse(self._entered("max_tokens"))
        sampling = replace(self._given.sampling, temperature=float(temperature), max_tokens=int(max_tokens))
        return replace(
            self._given, a=a, b=b, sampling=sampling, source=source, typed=typed, limit=_limit(self._entered("limit"))
        )

    def _entered(self, name: str) -> str:
        return self.query_one(f"#round-{name}", Input).value


def _limit(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise UsageError(f"limit takes a whole number of at least 1, not {text!r}")
    return int(text)

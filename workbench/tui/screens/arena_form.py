"""The form for a round in the Arena: which models, which prompts, how many, and how they are drawn and shown."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Input, Label, Static

from workbench.config import option
from workbench.domain.chats import Sampling
from workbench.domain.models import Model, ModelKind
from workbench.domain.rounds import Choosing, PromptRow
from workbench.errors import NotFoundError, UsageError, WorkbenchError
from workbench.flows import choosing, prompts, rounds
from workbench.flows.datasets import shown
from workbench.tui.safety import safe_cell
from workbench.tui.widgets.dialogs import MOVES, Dialog
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.picker import Picker

if TYPE_CHECKING:
    from workbench.domain.rounds import Round
    from workbench.flows.bench import Bench
    from workbench.flows.choosing import OnDraft

SAMPLES, TYPED = "sample prompts", "typed below"
FROM_CHATS, FROM_FIXES = "questions of chats", "to-fix list"
_SOURCES = {SAMPLES: None, FROM_CHATS: prompts.CHATS, FROM_FIXES: prompts.TO_FIX}
HELD_OUT, NOBODY = "held out", "-"
SPLITS = (HELD_OUT, "validation", "test", "train", "none")
CHOICES = {"the first": Choosing.FIRST, "at random": Choosing.RANDOM, "half where they differ": Choosing.DIFFERING}
TOGETHER, LIVE = "both at once", "as they are written"
LIMIT = 20
MOST_MODELS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A round as the form has it: models and what to ask them. ``typed`` holds prompts, one a line."""

    models: tuple[str, ...]
    sampling: Sampling
    source: str = SAMPLES
    split: str = HELD_OUT
    typed: str = ""
    limit: int = LIMIT
    choosing: Choosing = Choosing.FIRST
    seed: int = 0
    live: bool = False

    def prompts(self, bench: Bench) -> list[PromptRow]:
        """Every prompt of the source; raises what ``flows.prompts.prompt_rows`` raises. For a thread."""
        if self.source == TYPED:
            return prompts.typed_rows(self.typed)
        source = _SOURCES.get(self.source, self.source)
        if self.source not in _SOURCES and self.split != HELD_OUT:
            source = f"{self.source}:{self.split}"
        return prompts.prompt_rows(bench, source)

    def begin(
        self, bench: Bench, *, on_draft: OnDraft | None = None, cancelled: threading.Event | None = None
    ) -> Round:
        """Choose the prompts, at most ``limit``, and write the round down; for a thread.

        Raises as ``rounds.check_live`` does when it is to be watched, and as ``choosing.choose``.
        """
        if self.live:
            rounds.check_live(bench, self.models)
        rows = choosing.choose(
            bench,
            self.models,
            self.prompts(bench),
            self.choosing,
            limit=self.limit,
            seed=self.seed,
            on_draft=on_draft,
            cancelled=cancelled,
        )
        return rounds.begin(bench, self.models, rows, sampling=self.sampling, seed=self.seed)


def load_round(bench: Bench, models: Sequence[str] = (), before: Plan | None = None) -> ArenaForm:
    """The form for this workspace, as it was left ``before`` if no models are named and those are still there.

    Raises ``NotFoundError`` when there are not two models. For a thread.
    """
    known = list(bench.store.models.speakers())
    if len(known) < 2:
        raise NotFoundError("there is only one model here", hint="train one (F5), or add one (F8)")
    given = list(dict.fromkeys([*models, *(name for name in default_pair(known) if name not in models)]))
    chosen = tuple(given[: max(2, len(models))])
    datasets = [dataset.name for dataset in shown(bench)]
    plan = Plan(chosen, bench.settings.chat.sampling, seed=secrets.randbelow(2**31))
    if before is not None and not models and {*before.models} <= {model.name for model in known}:
        source = before.source if before.source in {*_SOURCES, TYPED, *datasets} else SAMPLES
        plan = replace(before, seed=plan.seed, source=source)
    return ArenaForm(plan, models=[model.name for model in known], datasets=datasets)


def default_pair(models: list[Model]) -> tuple[str, str]:
    """The newest adapter with its base; without an adapter, the two newest models."""
    if adapters := [model for model in models if model.kind is ModelKind.ADAPTER]:
        return adapters[-1].base, adapters[-1].name
    return models[-2].name, models[-1].name


class ArenaForm(Dialog[Plan]):
    """Asks for a round; Ctrl+S starts it."""

    BINDINGS = [Binding("ctrl+s", "accept", "Start", id="form.start", priority=True), *MOVES]
    DEFAULT_CSS = """
    ArenaForm .arena-form--row { height: 1; }
    ArenaForm .arena-form--row > Static { width: 1fr; color: $text-muted; padding: 0 0 0 1; }
    ArenaForm .arena-form--row > Label { width: 14; padding: 0; color: $text-muted; }
    ArenaForm .arena-form--row > Picker { width: 40; }
    ArenaForm #round-show { width: 27; }
    ArenaForm #round-which { width: 31; }
    ArenaForm .arena-form--row > Input { width: 10; height: 1; border: none; background: $panel; }
    ArenaForm .arena-form--row > Input:focus {
        border: none; background: $block-cursor-background; color: $block-cursor-foreground;
    }
    ArenaForm Editor { height: 6; margin: 1 0 0 0; display: none; }
    ArenaForm.-typed Editor { display: block; }
    ArenaForm .arena-form--split { display: none; }
    ArenaForm.-dataset .arena-form--split { display: block; }
    """

    def __init__(self, given: Plan, *, models: list[str], datasets: list[str]) -> None:
        super().__init__("Ask models the same", keys="^s starts · ↑ ↓ move · ← → change · Enter lists · Esc cancels")
        self._given, self._models, self._datasets = given, models, datasets

    def compose_body(self) -> ComposeResult:
        """The models, where the prompts come from, how many, and how the answers are drawn and shown."""
        given = self._given
        yield from self._model_rows()
        with Horizontal(classes="arena-form--row"):
            yield Label(safe_cell("prompts"))
            yield Picker([*_SOURCES, TYPED, *self._datasets], given.source, title="Prompts", id="round-source")
        with Horizontal(classes="arena-form--row arena-form--split"):
            yield Label(safe_cell("split"))
            yield Picker(SPLITS, given.split, title="Which rows", id="round-split")
        numbers = (
            ("limit", str(given.limit), "at most so many prompts"),
            ("temperature", f"{given.sampling.temperature:g}", "0 is greedy; one seed for both"),
            ("max_tokens", str(given.sampling.max_tokens), "the longest answer, in tokens"),
        )
        for name, value, help_text in numbers:
            with Horizontal(classes="arena-form--row"):
                yield Label(safe_cell(name))
                yield Input(value, id=f"round-{name}", compact=True, select_on_focus=False)
                yield Static(safe_cell(help_text), markup=False)
            if name == "limit":
                yield from self._choosing_row()
        with Horizontal(classes="arena-form--row"):
            yield Label(safe_cell("show"))
            yield Picker([TOGETHER, LIVE], LIVE if given.live else TOGETHER, title="Show answers", id="round-show")
            yield Static("live: one sees who is faster", markup=False)
        yield Editor(given.typed)

    def _choosing_row(self) -> ComposeResult:
        current = next(said for said, how in CHOICES.items() if how is self._given.choosing)
        with Horizontal(classes="arena-form--row"):
            yield Label(safe_cell("which"))
            yield Picker([*CHOICES], current, title="Which prompts of more", id="round-which")
            yield Static("of more than these", markup=False)

    def _model_rows(self) -> ComposeResult:
        labels = ("one model", "the other", "a third", "a fourth")
        for number in range(min(MOST_MODELS, len(self._models))):
            chosen = self._given.models[number] if number < len(self._given.models) else NOBODY
            choices = self._models if number < 2 else [NOBODY, *self._models]
            with Horizontal(classes="arena-form--row"):
                yield Label(safe_cell(labels[number]))
                yield Picker(choices, chosen, title=labels[number].capitalize(), id=f"round-{'abcd'[number]}")

    def on_mount(self) -> None:
        """What belongs to the source that is given."""
        self._show_fields_of(self._given.source)

    def _show_fields_of(self, source: str) -> None:
        self.set_class(source == TYPED, "-typed")
        self.set_class(source in self._datasets, "-dataset")

    @on(Picker.Changed, "#round-source")
    def _source_chosen(self, event: Picker.Changed) -> None:
        self._show_fields_of(event.value)
        if event.value == TYPED:
            self.query_one(Editor).focus()

    @on(Input.Submitted)
    def action_accept(self) -> None:
        """Leave with the round, or say what is wrong."""
        try:
            self.dismiss(self.chosen())
        except WorkbenchError as error:
            self.show_problem(error.message + (f" ({error.hint})" if error.hint else ""))

    def chosen(self) -> Plan:
        """What stands in the form; raises ``UsageError`` or ``DataError`` where it cannot be."""
        models = [picker.value for picker in self.query(Picker) if picker.id in {f"round-{n}" for n in "abcd"}]
        models = [name for name in models if name != NOBODY]
        if len(set(models)) < len(models):
            raise UsageError("both sides are the same model", hint="choose different ones")
        source = self._picked("source")
        typed = self.query_one(Editor).text
        if source == TYPED and not typed.strip():
            raise UsageError("no prompt is typed", hint="one prompt a line")
        temperature = option("chat.temperature").parse(self._entered("temperature"))
        max_tokens = option("chat.max_tokens").parse(self._entered("max_tokens"))
        return replace(
            self._given,
            models=tuple(models),
            sampling=replace(self._given.sampling, temperature=float(temperature), max_tokens=int(max_tokens)),
            source=source,
            split=self._picked("split"),
            typed=typed,
            limit=_limit(self._entered("limit")),
            choosing=CHOICES[self._picked("which")],
            live=self._picked("show") == LIVE,
        )

    def _picked(self, name: str) -> str:
        return self.query_one(f"#round-{name}", Picker).value

    def _entered(self, name: str) -> str:
        return self.query_one(f"#round-{name}", Input).value


def _limit(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise UsageError(f"limit takes a whole number of at least 1, not {text!r}")
    return int(text)

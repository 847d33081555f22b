"""Editing an example in Curate: which of its turns, the editor, the draft of what is unsaved, and then one decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.domain.chats import Role, Turn
from workbench.domain.datasets import refuse_locked
from workbench.domain.examples import PARTS, Content, Example, Kind, Split, turns_of
from workbench.domain.tool_texts import calls_text, tools_text
from workbench.errors import RefusedError
from workbench.flows import curate as flow
from workbench.tui.safety import cell
from workbench.tui.screens.curate_entries import place_of
from workbench.tui.widgets.dialogs import Choice, ChooseDialog
from workbench.tui.widgets.drafted import DraftedDialog

if TYPE_CHECKING:
    from workbench.tui.screens.curate import CuratePane

_DETAIL_WIDTH = 44
_NAMES = {"prompt": "the prompt", "chosen": "the answer", "rejected": "the rejected answer"}


@dataclass(frozen=True, slots=True)
class Place:
    """One text of an example that can be edited; ``turn`` counts from 1, and is 0 for a system turn to be written.

    With ``is_calls`` it is the JSON of the turn's tool calls; the part ``tools`` is the JSON of the offered tools.
    """

    part: str
    turn: int
    name: str
    text: str
    is_system: bool = False
    is_calls: bool = False

    @property
    def key(self) -> str:
        """The place as a word."""
        return f"{self.part}:{self.turn}" + (":calls" if self.is_calls else "")


class CurateEdit:
    """Asks which turn, unless the cursor in the detail stands on one."""

    def __init__(self, pane: CuratePane) -> None:
        self._pane = pane
        self._open: tuple[str, DraftedDialog] | None = None

    async def ask(self) -> None:
        """Edit the turn under the cursor of the detail, or ask which."""
        pane = self._pane
        if pane.is_guarded() or (example := await pane.current_example()) is None:
            return
        if example.split is Split.TEST:
            try:
                refuse_locked(example.id, ["content"])
            except RefusedError as error:
                pane.workbench.report(error)
                return
        places = places_of(example.content)
        # all drafts now: a dialog that opened later would miss the keys typed behind its own
        drafts = await asyncio.to_thread(self._drafts, example, places)
        here = place_of(pane.detail.current_key) if pane.detail.has_focus else None
        under = [place for place in places if (place.part, place.turn) == here]
        if len(under) == 1:
            self._edit(example, under[0], drafts[under[0].key])
        else:
            self._choose(example, under or places, drafts)

    def _drafts(self, example: Example, places: Sequence[Place]) -> dict[str, str]:
        drafts = self._pane.bench.store.drafts
        found = {place.key: drafts.get(_draft_key(example, place)) for place in places}
        return {place.key: found[place.key] if found[place.key] != place.text else "" for place in places}

    def _choose(self, example: Example, places: Sequence[Place], drafts: Mapping[str, str]) -> None:
        by_key = {place.key: place for place in places}
        answers = [place.key for place in places if place.part == "chosen" and not place.is_calls]
        current = answers[-1] if answers else places[-1].key

        def chosen(key: str | None) -> None:
            if key:
                self._edit(example, by_key[key], drafts[key])

        def detail(place: Place) -> str:
            words = cell(" ".join((drafts[place.key] or place.text)[:200].split()) or "(empty)", _DETAIL_WIDTH)
            return f"(your draft) {words}" if drafts[place.key] else words

        choices = [Choice(place.key, place.name, detail(place)) for place in places]
        self._pane.app.push_screen(ChooseDialog("Edit what?", choices, current=current), chosen)

    def _edit(self, example: Example, place: Place, draft: str) -> None:
        pane, drafts, key = self._pane, self._pane.bench.store.drafts, _draft_key(example, place)
        part, turn = (flow.SYSTEM, None) if place.is_system else (place.part, place.turn)

        where: dict[str, Any] = {"part": part, "turn": turn, "calls": place.is_calls}

        def check(text: str) -> None:
            flow.edited(example.content, example.id, text=text, **where)

        def keep(text: str) -> None:
            pane.decide(lambda: drafts.save(key, text) if text else drafts.delete(key))

        def save(text: str) -> flow.Done:
            done = flow.edit(pane.bench, example.id, text=text, **where)
            drafts.delete(key)
            return done

        def edited(text: str | None) -> None:
            left_a_draft = self._open is not None and bool(self._open[1].kept)
            self._open = None
            if text is not None:
                pane.decide_on((example.id,), lambda _: save(text))
            elif left_a_draft:
                pane.notice(f"not saved: e goes on with your draft of {place.name}")

        title = f"{place.name} of {example.id}"
        dialog = DraftedDialog(title, value=place.text, draft=draft, check=check, keep=keep)
        self._open = (key, dialog)
        pane.app.push_screen(dialog, edited)

    def closing(self) -> Sequence[Callable[[], object]]:
        """Keep what stands in the editor when the app is left."""
        if self._open is None or not self._open[1].is_mounted:
            return ()
        key, dialog = self._open
        return (partial(self._pane.bench.store.drafts.save, key, dialog.draft),) if dialog.draft else ()


def _draft_key(example: Example, place: Place) -> str:
    return f"edit:example:{example.id}:{place.key}"


def places_of(content: Content) -> list[Place]:
    """Every text of an example, top to bottom; a system turn is offered also where there is none.

    Where tools are used, they and the calls of each answer can be edited too, also where there are none yet.
    """
    if content.kind is Kind.TEXT:
        return [Place("chosen", 1, "the text", content.chosen[0].content)]
    has_system = content.prompt[0].role == Role.SYSTEM
    with_tools = bool(content.tools) or any(turn.tool_calls for part in PARTS for turn in turns_of(content, part))
    found = [] if has_system else [Place("prompt", 0, "a system turn", "", is_system=True)]
    found += [Place(flow.TOOLS, 1, "the tools that are offered", tools_text(content))] if with_tools else []
    for part in PARTS:
        turns = turns_of(content, part)
        for at in range(1, len(turns) + 1):
            found.append(_place(content.kind, part, turns, at))
            if with_tools and turns[at - 1].role == Role.ASSISTANT:
                name = f"the tool calls of {found[-1].name}"
                found.append(Place(part, at, name, calls_text(turns[at - 1]), is_calls=True))
    return found


def _place(kind: Kind, part: str, turns: Sequence[Turn], at: int) -> Place:
    turn = turns[at - 1]
    if part == "prompt" and turn.role == Role.SYSTEM:
        return Place(part, at, "the system turn", turn.content, is_system=True)
    name = "the chosen answer" if part == "chosen" and kind is Kind.PREFERENCE else _NAMES[part]
    if sum(turn.role != Role.SYSTEM for turn in turns) > 1:
        name += f", turn {at} of {len(turns)} ({turn.role})"
    return Place(part, at, name, turn.content)

"""Writing a better answer than one that lost a vote, from whichever screen shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.chats import Role
from workbench.flows import fixes
from workbench.tui.messages import ExamplesChanged
from workbench.tui.pane import Pane
from workbench.tui.widgets.drafted import DraftedDialog

if TYPE_CHECKING:
    from workbench.flows.chat import Gesture
    from workbench.flows.fixes import ToFix

_TITLES = {"lost": "A better answer than the one that lost", "both-bad": "A better answer than two bad ones"}
_OTHERS = {"lost": "the answer that won", "both-bad": "the other bad answer"}


async def write_better(pane: Pane, fix: ToFix, then: Callable[[], None] | None = None) -> None:
    """Open the editor on the answer; what is saved becomes a pair over it, then ``then`` is called."""
    key = f"fix:{fix.comparison_id}"
    drafts = pane.bench.store.drafts

    def keep(draft: str) -> None:
        pane.decide(lambda: drafts.save(key, draft) if draft else drafts.delete(key))

    def mended(gesture: Gesture) -> None:
        pane.notice(gesture.said)
        pane.tell(ExamplesChanged(tuple(example.id for example in gesture.examples)))
        if then is not None:
            then()

    def saved(text: str | None) -> None:
        if text is not None:
            pane.decide(partial(_mend, pane, fix, text, key), mended)

    draft = await asyncio.to_thread(drafts.get, key)
    check = partial(fixes.check_fix, fix)
    dialog = DraftedDialog(_TITLES[fix.why], value=fix.text, draft=draft, check=check, keep=keep, text=_told(fix))
    pane.app.push_screen(dialog, saved)


def _told(fix: ToFix) -> str:
    """The question, and the answer that is not in the editor."""
    asked = "\n".join(f"{'you' if turn.role == Role.USER else turn.role}: {turn.shown}" for turn in fix.prompt)
    return f"{asked}\n\n{_OTHERS[fix.why]}: {fix.other}"


def _mend(pane: Pane, fix: ToFix, text: str, key: str) -> Gesture:
    made = fixes.mend(pane.bench, fix, text)
    pane.bench.store.drafts.delete(key)
    return made

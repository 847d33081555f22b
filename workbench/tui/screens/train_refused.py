"""What can be done about a run that was refused: a setting, rows left out, or training it all the same.

Owns the question, and trying again with the answer. What is tried is the business of whoever was refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar, assert_never

from textual.dom import DOMNode

from workbench.domain.counting import counted
from workbench.errors import RefusedError, Remedy
from workbench.flows import curate
from workbench.tui.pane import Pane
from workbench.tui.widgets.dialogs import Choice, ChooseDialog

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Allowed:
    """The names of what is not to be refused."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The examples that are to be rejected, so that nothing is trained on them."""

    examples: tuple[int, ...]


Way = Remedy | Allowed | Rejected
EVERY = (Remedy, Rejected, Allowed)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a person chose to change so far of something that was refused."""

    allow: tuple[str, ...] = ()
    knobs: Mapping[str, str] = field(default_factory=dict)


class Refusable(Pane):
    """A pane whose plans may be refused."""

    def run_unless_refused(
        self,
        make: Callable[[Changes], Made],
        then: Callable[[Made], None],
        *,
        group: str,
        kinds: Collection[type] = EVERY,
        changes: Changes | None = None,
    ) -> None:
        """As ``run_flow``; a refusal asks which of the ways out it is to be, and tries again with that.

        ``kinds`` are the ways that ``make`` can take.
        """
        so_far = changes or Changes()
        again = partial(self.run_unless_refused, make, then, group=group, kinds=kinds)

        def mend(way: Way) -> None:
            match way:
                case Allowed(names):
                    again(changes=replace(so_far, allow=(*so_far.allow, *names)))
                case Remedy(_, knobs):
                    again(changes=replace(so_far, knobs={**so_far.knobs, **knobs}))
                case Rejected(examples):
                    reject = partial(curate.reject, self.bench, examples)
                    self.run_flow(reject, lambda _: again(changes=so_far), group=group)
                case _:
                    assert_never(way)

        def failed(error: BaseException) -> None:
            if isinstance(error, RefusedError) and ways_out(error, kinds):
                ask_way_out(self, error, mend, kinds=kinds)
            else:
                self.workbench.report(error)

        self.run_flow(partial(make, so_far), then, group=group, failed=failed)


def ways_out(refused: RefusedError, kinds: Collection[type] = EVERY) -> list[Way]:
    """What can be done by a key, the mildest first; nothing where only a person can help."""
    ways: list[Way] = [*refused.remedies]
    ways += [Rejected(refused.examples)] if refused.examples else []
    ways += [Allowed(refused.allow)] if refused.allow else []
    return [way for way in ways if type(way) in kinds]


def ask_way_out(
    node: DOMNode, refused: RefusedError, then: Callable[[Way], None], *, kinds: Collection[type] = EVERY
) -> None:
    """Ask which of the ways it is to be; ``then`` is called unless the question is left."""
    ways = ways_out(refused, kinds)
    choices = [Choice(str(at), *_said(way, refused)) for at, way in enumerate(ways)]

    def chosen(answer: str | None) -> None:
        if answer is not None:
            then(ways[int(answer)])

    node.app.push_screen(ChooseDialog("Change what?", choices, text=refused.message), chosen)


def setting_of(remedy: Remedy) -> str:
    """The settings of a remedy in a line."""
    return ", ".join(f"{name}={value}" for name, value in remedy.knobs.items())


def _said(way: Way, refused: RefusedError) -> tuple[str, str]:
    match way:
        case Remedy(said):
            return setting_of(way), said
        case Rejected(examples):
            return f"reject {counted(len(examples), 'examples')}", "undo in Curate takes it back"
        case Allowed(names) if refused.examples:
            return "train on them all the same", f"allows {', '.join(names)}"
        case Allowed(names):
            return "start it as it is", f"it may fail; allows {', '.join(names)}"
        case _:
            assert_never(way)

"""The dialog that marks both answers from 1 to 5, criterion by criterion."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from workbench.domain.comparisons import Marks
from workbench.domain.rubrics import FILE, HIGHEST, LOWEST, STANDARD, Criterion
from workbench.tui.safety import safe_cell
from workbench.tui.widgets.dialogs import Dialog


class RubricDialog(Dialog[Marks]):
    """Digits mark the place where ``▶`` stands and go on: left, right, then the next criterion."""

    BINDINGS = [
        *(Binding(str(n), f"mark({n})", "Mark", show=False) for n in range(LOWEST, HIGHEST + 1)),
        Binding("down,j,tab", "move(1)", "Next", show=False),
        Binding("up,k,shift+tab", "move(-1)", "Previous", show=False),
        Binding("0,delete,backspace", "mark(0)", "Clear", show=False),
        Binding("enter,r", "accept", "Take", show=False),
    ]

    def __init__(self, rubric: Sequence[Criterion], given: Marks) -> None:
        own = f"Criteria of your own: {FILE} in the workspace; `workbench rate --rubric` prints one"
        keys = "1-5 mark · ↑ ↓ move · 0 clears · Enter takes · Esc cancels"
        super().__init__("Marks, 1 to 5", text=own if tuple(rubric) == STANDARD else "", keys=keys)
        self._rubric = tuple(rubric)
        self._marks = {(one.name, side): given.get(one.name, (0, 0))[side] for one in rubric for side in (0, 1)}
        self._at = 0

    def compose_body(self) -> ComposeResult:
        """A line for each criterion."""
        yield Static(id="rubric", markup=False)

    def on_mount(self) -> None:
        """The marks that were given."""
        self.query_one("#rubric", Static).update(self._shown())

    def _places(self) -> list[tuple[str, int]]:
        return list(self._marks)

    def _shown(self) -> Content:
        lines: list[Content] = []
        for number, one in enumerate(self._rubric):
            signs = [self._sign(number * 2 + side) for side in (0, 1)]
            lines.append(safe_cell(f"{one.name[:16]:<16} left {signs[0]}  right {signs[1]}  {one.help}", 72))
            if (one.low or one.high) and number == self._at // 2:
                lines.append(safe_cell(f"{'':<16} 1 {one.low or '-'} … 5 {one.high or '-'}", 72))
        return Content("\n").join(lines)

    def _sign(self, place: int) -> str:
        mark = self._marks[self._places()[place]]
        return f"{'▶' if place == self._at else ' '}{mark or '·'}"

    def action_mark(self, mark: int) -> None:
        """A digit; 0 takes the mark away."""
        self._marks[self._places()[self._at]] = mark
        self.action_move(1 if mark else 0)

    def action_move(self, steps: int) -> None:
        """To another place; the ends hold."""
        self._at = min(max(self._at + steps, 0), len(self._marks) - 1)
        self.query_one("#rubric", Static).update(self._shown())

    def action_accept(self) -> None:
        """Leave with the criteria that have both marks; one that has a single mark is said."""
        both = {one.name: (self._marks[one.name, 0], self._marks[one.name, 1]) for one in self._rubric}
        if half := [name for name, marks in both.items() if bool(marks[0]) != bool(marks[1])]:
            self.show_problem(f"{half[0]} has only one mark: mark both answers, or clear it with 0")
            return
        self.dismiss({name: marks for name, marks in both.items() if all(marks)})

"""The keys of Curate: which key calls which action, and which of them are letters that a text field needs itself."""

from __future__ import annotations

from textual.binding import Binding

KEYS = [
    Binding("a", "accept", "Ok", id="label.accept", tooltip="Accept, and go on"),
    Binding("x", "reject", "Reject", id="label.reject", tooltip="Reject, and go on"),
    Binding("space", "skip", "Skip", id="label.skip", tooltip="Skip, and go on"),
    Binding("backspace,u", "undo", "Undo", id="label.undo", tooltip="Undo, as often as you like"),
    Binding("U", "redo", "Redo", id="label.redo", tooltip="Redo", show=False),
    *(
        Binding(str(n), f"rate({n})", "Rate", id=f"label.rate_{n}", show=n == 1, key_display="1-5", tooltip=f"Rate {n}")
        for n in range(1, 6)
    ),
    Binding("e", "edit", "Edit", id="label.edit", tooltip="Edit a turn, or the one under the cursor"),
    Binding("slash", "search", "Find", id="list.find", tooltip="Filter and search"),
    Binding("D", "choose_dataset", "Dataset", id="curate.dataset", tooltip="Show another dataset"),
    Binding("o", "sort", "Sort", id="list.sort", tooltip="Choose the order of the rows", show=False),
    Binding("V", "views", "Views", id="list.views", tooltip="Lists under a name: open, save, delete", show=False),
    Binding("c", "note", "Note", id="label.note", tooltip="Write a note"),
    Binding("t", "tag", "Tag", id="label.tag", tooltip="Add tags, or remove them with a minus"),
    Binding("l", "split", "Split", id="label.split", tooltip="Put into train, validation, test, or none"),
    Binding("f", "flag", "Flag", id="label.flag", tooltip="Flag the row by a name, or with a minus no longer"),
    Binding("C", "checks", "Checks", id="data.check", tooltip="Run the checks, or show the rows with findings"),
    Binding("F", "fix", "Mend", id="label.fix", tooltip="Mend what a check found: in the row, or under the cursor"),
    Binding("B", "unredact", "Bring back", show=False, id="label.unredact", tooltip="Bring back what was redacted"),
    Binding("plus", "thumb(True)", "Good", key_display="+-", id="label.up", tooltip="Judge the answer good, and go on"),
    Binding("minus", "thumb(False)", "Bad", show=False, id="label.down", tooltip="Judge the answer bad, and go on"),
    Binding("w", "swap", "Swap", id="label.swap", tooltip="Exchange chosen and rejected"),
    Binding("v", "tokens", "Tokens", id="curate.tokens", tooltip="The row token by token, as training sees it"),
    Binding(
        "d", "differ", "Diff", id="curate.diff", tooltip="Chosen against rejected, original against edited, by words"
    ),
    Binding("h", "history", "History", id="curate.history", tooltip="What was decided about the row, by whom"),
    Binding("m", "mark", "Mark", id="list.mark", tooltip="Mark the row; gestures are for all marked rows"),
    Binding(
        "r", "mark_range", "Range", id="list.mark_range", tooltip="Mark from the last marked row to here", show=False
    ),
    Binding("M", "mark_all", "Mark all", id="list.mark_all", tooltip="Mark every row, or none", show=False),
    Binding("i", "import_file", "Import", id="data.import", tooltip="Import a file"),
    Binding("X", "export_file", "Export", id="data.export", tooltip="Export what the filter shows"),
    Binding("S", "figures", "Figures", id="data.figures", tooltip="The dataset as a whole: figures, splits"),
    Binding("R", "reload", "Reload", id="list.reload", tooltip="Read the rows again", show=False),
    Binding("y", "copy", "Copy", id="label.copy", tooltip="Copy the answer", show=False),
    Binding("J", "detail(1)", "Detail down", id="curate.detail_down", tooltip="Scroll the example", show=False),
    Binding("K", "detail(-1)", "Detail up", id="curate.detail_up", tooltip="Scroll the example", show=False),
    Binding("escape", "back", "Back", id="curate.back", tooltip="Leave the filter, drop marks", show=False),
]

SINGLE_KEYS = frozenset(
    {"accept", "reject", "skip", "rate", "undo", "redo", "swap", "edit", "note", "tag", "split"}
    | {"mark", "mark_range", "mark_all", "sort", "views"}
    | {"tokens", "differ", "history", "flag", "thumb", "checks", "fix", "unredact"}
)
"""Actions of single letters: they are for the rows and the detail, not for the filter line."""

"""The keys of Chat: which key calls which action, and which of them are letters that the composer needs itself."""

from __future__ import annotations

from textual.binding import Binding

KEYS = [
    Binding(
        "escape",
        "leave_or_stop",
        "Read/Stop",
        id="chat.stop",
        tooltip="Take back what waits; else stop the answer; else to and from the transcript",
    ),
    Binding("e", "gesture('edit')", "Edit", id="chat.edit", tooltip="Edit; the original stays, a pair is made"),
    Binding("c", "gesture('go_on')", "Continue", id="chat.go_on", tooltip="The model goes on where this answer ends"),
    Binding("s", "gesture('keep')", "Save", id="chat.keep", tooltip="Save as a demonstration"),
    Binding("plus", "gesture('up')", "Good", id="chat.up", tooltip="Thumbs up: a judgement, true"),
    Binding("minus", "gesture('down')", "Bad", id="chat.down", tooltip="Thumbs down: a judgement, false"),
    Binding("p", "gesture('pick')", "Pick", id="chat.pick", tooltip="Better than its alternatives: pairs"),
    Binding("left", "sibling(-1)", "Other", id="chat.previous", tooltip="Previous alternative", show=False),
    Binding("right", "sibling(1)", "Other", id="chat.next", tooltip="Next alternative", key_display="← →"),
    Binding("b", "gesture('branch')", "Branch", id="chat.branch", tooltip="Go on from here"),
    *(
        Binding(
            str(n),
            f"several({n})",
            "Several",
            id=f"chat.several_{n}",
            show=n == 4,
            key_display="2-9",
            tooltip="So many other answers at once",
        )
        for n in range(2, 10)
    ),
    Binding("r", "gesture('rank')", "Rank", id="chat.rank", tooltip="Put the alternatives into order: pairs"),
    Binding("t", "tree", "Tree", id="chat.tree", tooltip="Every branch of this chat"),
    Binding("z", "fold", "Fold", id="chat.fold", tooltip="Show thoughts and tool calls, or fold them"),
    Binding("o", "gesture('external')", "Open", id="chat.external", tooltip="Edit in $EDITOR", show=False),
    Binding("slash", "find", "Find", id="chat.find", tooltip="Search all chats"),
    Binding("N", "chats('rename')", "Name", id="chat.rename", tooltip="Name this chat", show=False),
    Binding("Z", "chats('archive')", "Put away", id="chat.archive", tooltip="Put this chat away, or back", show=False),
    Binding("D", "chats('delete')", "Delete", id="chat.delete", tooltip="Delete this chat; u undoes", show=False),
    Binding("m,f11", "menu", "More", id="chat.menu", tooltip="Everything else: presets, files, import, batches"),
    Binding("y", "gesture('copy')", "Copy", id="chat.copy", tooltip="Copy this message"),
    Binding("u", "gesture('undo')", "Undo", id="chat.undo", tooltip="Undo the last gesture"),
    Binding("U", "gesture('redo')", "Redo", id="chat.redo", tooltip="Redo", show=False),
    Binding("i,enter", "to_composer", "Write", id="chat.write", tooltip="Back to writing", show=False),
    Binding(
        "ctrl+r",
        "regenerate",
        "Regen",
        id="chat.regenerate",
        tooltip="Another answer, kept beside this one; stops one that is coming",
    ),
    Binding("ctrl+s", "keep_last", "Save", id="chat.save", tooltip="Save the last answer as a demonstration"),
    Binding("ctrl+t", "tune", "Tune", id="chat.sampling", tooltip="System prompt and sampling"),
    Binding("ctrl+g", "choose_model", "Model", id="chat.model", tooltip="Talk to another model"),
    Binding("ctrl+n", "new", "New", id="chat.new", tooltip="New chat"),
    Binding("ctrl+l", "sessions", "Chats", id="chat.sessions", tooltip="Earlier chats"),
]

IN_TRANSCRIPT = frozenset({"gesture", "sibling", "to_composer", "several", "tree", "fold", "find", "chats"})
"""Actions of single letters: they are for the transcript, not for the composer."""

IN_LIST = frozenset({"find", "chats"})
"""Those of them that are for the list of chats, too; and there ``u`` takes back what was done to a chat."""

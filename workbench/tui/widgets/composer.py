"""Where a message is written: Enter sends, Ctrl+J makes a new line, Escape leaves. Knows no chat."""

from __future__ import annotations

from textual.binding import Binding
from textual.events import Key
from textual.message import Message

from workbench.tui.widgets.editor import Editor


class Composer(Editor):
    """A text field of three to ten lines. What stands in it is a draft until it is sent."""

    BINDINGS = [
        # Shown and remappable here, handled in _on_key: a binding would run after characters typed behind it.
        Binding("enter", "send", "Send", id="chat.send"),
        Binding("ctrl+j", "newline", "New line", id="chat.newline", show=False),
        Binding("alt+up", "earlier(1)", "Earlier", id="chat.earlier", show=False, tooltip="What was said before"),
        Binding("alt+down", "earlier(-1)", "Later", id="chat.later", show=False, tooltip="What was said after that"),
    ]
    DEFAULT_CSS = """
    Composer { height: auto; min-height: 3; max-height: 10; border: none; border-top: solid $panel; padding: 0 1; }
    Composer:focus { border: none; border-top: solid $accent; background: $background; }
    Composer { background: $background; }
    """

    class Sent(Message):
        """The person pressed Enter on a text that is not blank."""

        def __init__(self, composer: Composer, text: str) -> None:
            super().__init__()
            self.composer, self.text = composer, text

        @property
        def control(self) -> Composer:
            """The composer."""
            return self.composer

    class Recalled(Message):
        """The person asked for an earlier (1) or later (-1) message."""

        def __init__(self, composer: Composer, steps: int) -> None:
            super().__init__()
            self.composer, self.steps = composer, steps

        @property
        def control(self) -> Composer:
            """The composer."""
            return self.composer

    class Left(Message):
        """The person pressed Escape, or (``upwards``) went up from an empty text."""

        def __init__(self, composer: Composer, *, upwards: bool) -> None:
            super().__init__()
            self.composer, self.upwards = composer, upwards

        @property
        def control(self) -> Composer:
            """The composer."""
            return self.composer

    async def _on_key(self, event: Key) -> None:
        action = self._action_of(event.key)
        at_top = event.key == "up" and self.cursor_location[0] == 0 and not self.text
        if action is None and not at_top and event.key != "escape":
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        if action == "newline":
            self.insert("\n")
        elif action == "send":
            self.action_send()
        else:
            self.post_message(self.Left(self, upwards=at_top))

    def _action_of(self, key: str) -> str | None:
        # the keymap may have moved these two; the live bindings know
        active = self.screen.active_bindings.get(key) if key.startswith(("ctrl+", "enter", "f", "alt+")) else None
        return active.binding.action if active and active.binding.action in {"send", "newline"} else None

    def action_send(self) -> None:
        """Hand the text over and start anew; a blank one stays where it is."""
        if self.text.strip():
            text = self.text
            self.clear()
            self.post_message(self.Sent(self, text))

    def action_earlier(self, steps: int) -> None:
        """Earlier messages come back."""
        self.post_message(self.Recalled(self, steps))

    def action_newline(self) -> None:
        """A new line at the cursor."""
        self.insert("\n")

    def restore(self, text: str) -> None:
        """Put a draft back, in front of what was typed meanwhile."""
        if text and text != self.text:
            self.load_text(f"{text}\n{self.text}" if self.text else text)
            self.move_cursor(self.document.end)

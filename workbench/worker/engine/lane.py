"""One answer at work: its prompt, its random numbers, the tokens it drew, and the text they make.

Knows nothing of batches and of the model; hears of each token, and says when the answer ends.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from workbench.domain.chats import StopReason
from workbench.domain.serving import TokenChance
from workbench.worker.engine.adapters import Loaded
from workbench.worker.engine.desk import Done, Notice, Piece, Read, Row
from workbench.worker.engine.sheet import Past
from workbench.worker.engine.text import Detokeniser, StopFinder


class Lane:
    """One row at work. ``prompt`` has what goes before the words of the prompt, if the model has learnt such tokens."""

    def __init__(
        self, row: Row, loaded: Loaded, prompt: Sequence[int], context_tokens: int | None, past: Past | None = None
    ) -> None:
        self.row = row
        self.loaded = loaded
        self.prompt = loaded.virtual_ids + list(prompt)
        self.past = past if past is not None and past.tokens > loaded.virtual.tokens else loaded.virtual
        self.drawn: list[int] = []
        self.first_token_ms = 0
        self.limit = row.asked.max_tokens
        if context_tokens is not None:
            self.limit = min(self.limit, context_tokens - len(self.prompt))
        self._generator = torch.Generator().manual_seed(row.asked.seed)
        self._text = Detokeniser(loaded.speaker.decode, prompt if row.asked.go_on else ())
        self._stop = StopFinder(row.asked.stop)
        self._given = 0  # characters given out
        self._chances: list[tuple[int, TokenChance]] = []  # not given out yet, with where their text begins

    @property
    def tokens(self) -> int:
        """How many tokens were drawn so far."""
        return len(self.drawn)

    @property
    def unread(self) -> list[int]:
        """The part of the prompt that is not remembered; never empty."""
        return self.prompt[self.past.tokens :]

    @property
    def remembered(self) -> int:
        """Tokens of the prompt that are not run again."""
        return max(0, self.past.tokens - self.loaded.virtual.tokens)

    def tell_read(self, remaining: int) -> None:
        """Tell how much of the prompt is read, with so many tokens of it still to go."""
        read = len(self.prompt) - min(remaining, len(self.unread)) - self.loaded.virtual.tokens
        self.row.emit(Read(max(0, read), self.remembered))

    def uniform(self) -> float:
        """The row's next random number in [0, 1); the same sequence whatever else is in the batch or on the device."""
        return torch.rand((), generator=self._generator, dtype=torch.float64).item()

    def notice(self, text: str) -> None:
        """Tell who asked something that they should see beside the answer."""
        self.row.emit(Notice(text))

    def take(self, token: int, chance: TokenChance | None = None) -> StopReason | None:
        """Add a drawn token, give out the text it made certain, and say whether the answer ends here."""
        self.drawn.append(token)
        if self.tokens == 1:
            self.first_token_ms = self._elapsed_ms()
        if token in self.loaded.speaker.end_ids:
            self._give(self._stop.push(self._text.flush()) + self._stop.flush(), is_last=True)
            return StopReason.STOP
        if chance is not None:
            self._chances.append((self._given + self._stop.held, chance))
        self._give(self._stop.push(self._text.push(token)))
        if self._stop.found:
            return StopReason.STOP
        if self.tokens >= self.limit:  # half a character at the cut is not given out: it says nothing
            self._give(self._stop.flush(), is_last=True)
            return StopReason.LENGTH
        return None

    def done(self, reason: StopReason) -> Done:
        """The row's last event."""
        virtual = self.loaded.virtual.tokens
        ms = (self.first_token_ms, self._elapsed_ms())
        return Done(reason, len(self.prompt) - virtual, self.tokens, *ms, remembered_tokens=self.remembered)

    def _give(self, text: str, *, is_last: bool = False) -> None:
        """Send text with the tokens whose text has begun in it; those of a stop text are never sent."""
        self._given += len(text)
        ready = [chance for begin, chance in self._chances if begin < self._given or is_last]
        self._chances = [] if is_last else [each for each in self._chances if each[0] >= self._given]
        if text or ready:
            self.row.emit(Piece(text, self.tokens, tuple(ready)))

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self.row.arrived))

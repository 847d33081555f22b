"""Tokens to text while they arrive: no half character, no special token, nothing of a stop string.

``tokenizers.decoders.DecodeStream`` does the first part for fast tokenizers only, and raises on some token sequences
that a whole decode takes ("Invalid prefix encountered"); an answer must not die of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"
WINDOW_TOKENS = 32
CONTEXT_TOKENS = 6
PATIENCE_CHARACTERS = 256


class Detokeniser:
    """Text by token, for any tokenizer with a ``decode`` that skips special tokens.

    Decodes a short window of the last tokens again at each push (tokens join into characters and words), and gives out
    what is new in it. Text that ends in replacement characters may be a character cut in half: it waits.
    ``before`` are tokens of a text that these go on with: at the beginning of a text some tokenizers drop a space.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._window = list(before[-CONTEXT_TOKENS:])
        self._given = len(decode(self._window)) if self._window else 0

    def push(self, token: int) -> str:
        """The text that has become certain with this token, often empty."""
        self._window.append(token)
        text = self._decode(self._window)
        certain = text.rstrip(UNFINISHED)
        if len(text) - len(certain) > PATIENCE_CHARACTERS:  # not a character: the model makes invalid bytes
            certain = text[:-3]
        piece = certain[self._given :]
        self._given = max(self._given, len(certain))
        if len(self._window) > WINDOW_TOKENS and certain == text:
            self._move_window()
        return piece

    def flush(self) -> str:
        """What was held back as half a character, when the model itself ended there: then it is no half."""
        text = self._decode(self._window)
        piece, self._given = text[self._given :], max(self._given, len(text))
        return piece

    def _move_window(self) -> None:
        for context in range(CONTEXT_TOKENS, WINDOW_TOKENS // 2):
            tail = self._window[-context:]
            text = self._decode(tail)
            if not text.startswith(UNFINISHED):  # else the cut went through a character
                self._window, self._given = tail, len(text)
                return


class StopFinder:
    """Passes text through until a stop string appears; holds back what might be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    @property
    def held(self) -> int:
        """How many characters are held back."""
        return len(self._held)

    def push(self, piece: str) -> str:
        """The text that is certainly before any stop string; nothing more once one was found."""
        if self.found:
            return ""
        text = self._held + piece
        starts = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if starts:
            self.found, self._held = True, ""
            return text[: min(starts)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back in vain, at the end of the answer."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop`` (shorter than ``stop`` itself)."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)

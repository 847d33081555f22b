"""Which words differ between two texts, as content for the screen. The comparison is ``difflib``'s, over words.

What differs is marked by a line under or through it as well as by colour, for terminals without colours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from textual.content import Content

from workbench.tui.safety import clean, safe

MAX_WORDS = 4000
"""Above this many words in a text nothing is compared: ``difflib`` takes time by the square of it."""
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_GONE, _COME, _OTHER = "strike $text-error", "underline $text-success", "bold underline $text-accent"

Piece = tuple[str, str, str]  # "equal", "replace", "delete" or "insert"; the text before; the text after


def side_by_side(left: str, right: str) -> tuple[Content, Content]:
    """Both texts, each with the words underlined that the other has not; neither looks better than the other."""
    pieces = _pieces(left, right)
    if pieces is None:
        return safe(left), safe(right)
    return (
        Content.assemble(*((before, _OTHER if how != "equal" else "") for how, before, _ in pieces if before)),
        Content.assemble(*((after, _OTHER if how != "equal" else "") for how, _, after in pieces if after)),
    )


def inline(before: str, after: str) -> Content:
    """One text: what is only in ``before`` struck out, what is only in ``after`` underlined."""
    pieces = _pieces(before, after)
    if pieces is None:
        return Content.assemble("These texts are too long to be compared word by word.")
    return Content.assemble(*(part for piece in pieces for part in _marked(piece)))


def _marked(piece: Piece) -> Iterator[tuple[str, str]]:
    how, before, after = piece
    if how == "equal":
        yield before, ""
        return
    if before:
        yield before, _GONE
    if after:
        yield after, _COME


def _pieces(before: str, after: str) -> list[Piece] | None:
    a, b = _WORDS.findall(clean(before)), _WORDS.findall(clean(after))
    if max(len(a), len(b)) > MAX_WORDS:
        return None
    changes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [(how, "".join(a[low:high]), "".join(b[start:end])) for how, low, high, start, end in changes]

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
ALIKE = 0.4
"""Below this share of common words one text cannot show both: it would be a jumble."""
_WORDS = re.compile(r"\s+|(?:[\u3040-\u9fff]|[^\s\u3040-\u9fff]+)\s*")  # a word with its blanks; CJK by the letter
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
    """One text: what is only in ``before`` struck out, what is only in ``after`` underlined.

    Texts with few words in common stand one after the other, marked the same way.
    """
    pieces = _pieces(before, after)
    if pieces is None:
        return Content.assemble("These texts are too long to be compared word by word.")
    if _share(pieces) < ALIKE:
        gone = [(text, _GONE if how != "equal" else "") for how, text, _ in pieces if text]
        come = [(text, _COME if how != "equal" else "") for how, _, text in pieces if text]
        return Content.assemble(*gone, "\n\n", ("─" * 20, "$text-muted"), "\n\n", *come)
    return Content.assemble(*(part for piece in pieces for part in _marked(piece)))


def _marked(piece: Piece) -> Iterator[tuple[str, str]]:
    how, before, after = piece
    if how == "equal":
        yield after, ""  # the blanks of the text as it is now
        return
    if before:
        yield before, _GONE
    if after:
        yield after, _COME


def _pieces(before: str, after: str) -> list[Piece] | None:
    a, b = _WORDS.findall(clean(before)), _WORDS.findall(clean(after))
    if max(len(a), len(b)) > MAX_WORDS:
        return None
    changes = SequenceMatcher(None, [w.strip() for w in a], [w.strip() for w in b], autojunk=False).get_opcodes()
    return [(how, "".join(a[low:high]), "".join(b[start:end])) for how, low, high, start, end in changes]


def _share(pieces: list[Piece]) -> float:
    """Twice the common characters over all characters: 1.0 for the same texts."""
    common = sum(len(before) + len(after) for how, before, after in pieces if how == "equal")
    return common / (sum(len(before) + len(after) for _, before, after in pieces) or 1)

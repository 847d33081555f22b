"""Texts as models write them, in tokens: prose, one list, one code block, one table, all of these, and a thought."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

SHAPES = ("prose", "list", "code", "table", "mixed", "thought")
_WORDS = [
    "weight",
    "decay",
    "adds",
    "a",
    "small",
    "pull",
    "toward",
    "zero",
    "to",
    "every",
    "weight",
    "at",
    "each",
    "step",
    "so",
    "the",
    "optimiser",
    "must",
    "pay",
    "for",
    "large",
    "weights",
    "and",
    "with",
    "a",
    "decoupled",
    "update",
    "the",
    "pull",
    "is",
    "applied",
    "apart",
    "from",
    "the",
    "gradient",
    "which",
    "keeps",
    "it",
    "independent",
    "of",
    "the",
    "adaptive",
    "step",
    "size",
]


def tokens(shape: str, count: int) -> list[str]:
    """So many tokens of this shape: words with their blanks, signs and line ends."""
    return list(islice(_pieces(shape), count))


def _pieces(shape: str) -> Iterator[str]:
    if shape == "thought":
        yield from ("<think>\n", *_split(_paragraph(300)), "\n</think>\n\n")
        shape = "prose"
    number = 0
    yield from _split({"code": "```python\n", "table": "| name | value | note |\n|---|---|---|\n"}.get(shape, ""))
    while True:
        number += 1
        yield from _split(_block(shape, number))


def _block(shape: str, number: int) -> str:
    if shape == "mixed":
        kinds = ("prose", "list", "fenced", "prose", "rows")
        return _block(kinds[number % len(kinds)], number)
    line = " ".join(_WORDS[(number * 7 + i) % len(_WORDS)] for i in range(11))
    match shape:
        case "list":
            return f"- **{line.split()[0]}** {line}\n"
        case "code":
            return f"    value_{number} = step({line.split()[0]}, lr=1e-{number % 9})  # {line}\n"
        case "table":
            return f"| {line.split()[0]} {number} | {number * 37 % 1000} | {' '.join(line.split()[:4])} |\n"
        case "fenced":
            return "".join(["```python\n", *(_block("code", number + i) for i in range(6)), "```\n\n"])
        case "rows":
            rows = (_block("table", number + i) for i in range(5))
            return "".join(["| name | value | note |\n|---|---|---|\n", *rows, "\n"])
        case _:
            return _paragraph(60, number) + "\n\n"


def _paragraph(words: int, number: int = 0) -> str:
    return " ".join(_WORDS[(number * 13 + i) % len(_WORDS)] for i in range(words))


def _split(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)

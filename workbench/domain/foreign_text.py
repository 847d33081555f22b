"""Foreign text (model output, imports, logs, names) made harmless for a terminal.

Text is stored exactly as it came; it is cleaned here, once, at the moment it is shown: by the TUI's display boundary
and by the command line's plain output. Knows nothing of widgets or markup.
"""

from __future__ import annotations

import re

MAX_LINE_CELLS = 4096
"""A longer line is cut when shown: some renderers need minutes for one unbroken line of 100 kB."""

_CONTROL_PICTURES = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421}
_REPLACED = dict.fromkeys(
    [
        *range(0x80, 0xA0),  # C1 controls: one character can be a whole CSI or OSC introducer
        *(0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF),
        *range(0x202A, 0x202F),  # bidirectional overrides
        *range(0x2066, 0x206A),
        *range(0xFFF9, 0xFFFC),
        *range(0xD800, 0xE000),  # lone surrogates
        *range(0xE0000, 0xE0080),  # tag characters: text that nobody sees
    ],
    0xFFFD,
)
_BLOCK: dict[int, int | str] = {**_CONTROL_PICTURES, **_REPLACED, 9: "    ", 10: "\n"}
_CELL: dict[int, int | str] = {**_CONTROL_PICTURES, **_REPLACED, 9: " ", 10: "⏎"}

CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Every character that must never reach a terminal from foreign text (a newline is for the caller to split at)."""


def clean(text: str) -> str:
    """``text`` for a block of lines: controls as pictures, dangerous format characters as U+FFFD, long lines cut."""
    shown = text.replace("\r\n", "\n").replace("\r", "\n").translate(_BLOCK)
    if len(shown) <= MAX_LINE_CELLS:
        return shown
    return "\n".join(map(_cut, shown.split("\n")))


def cell(text: str, limit: int = MAX_LINE_CELLS) -> str:
    """``text`` for one line: as ``clean``, with newlines shown as a sign."""
    return _cut(text[: limit * 4].replace("\r\n", "\n").replace("\r", "\n").translate(_CELL), limit)


def without_surrogates(text: str) -> str:
    """``text`` with lone surrogates as U+FFFD: what can be stored and encoded as UTF-8."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _cut(line: str, limit: int = MAX_LINE_CELLS) -> str:
    return line if len(line) <= limit else f"{line[: limit - 24]}… ({len(line):,} characters)"

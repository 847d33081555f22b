"""Text that would like to act: on the terminal, on the markup parser, on the layout. One list for all tests."""

from __future__ import annotations

import re

ESCAPES = (
    "title \x1b]0;PWNED\x07 and \x1b]2;PWNED\x1b\\ end",
    "clipboard \x1b]52;c;UFdORUQ=\x07 end",
    "colour \x1b[31;5mred\x1b[0m, clear \x1b[2J\x1b[H, alt \x1b[?1049l, report \x1b[6n end",
    "c1 \x9b31;5m and \x9d0;PWNED\x9c and \x90q\x9c end",
    "nul \x00 bell \x07 backspace a\x08b vt \x0b ff \x0c cr a\rb del \x7f end",
    "charset \x0e line drawing \x0f end, keypad \x1b=, reset \x1bc end",
)
MARKUP = (
    "[/foo]",
    "[@click=app.quit]click me[/]",
    "[bold red]not bold[/bold red] [/] [/bold]",
    "[link=https://example.org]link[/link]",
    "\\[escaped] [[double]] [$primary]x[/] [on $error]y",
    "<script>alert(1)</script> <kbd>x</kbd> <!-- gone? -->",
    "[text](javascript:alert(1)) ![img](file:///etc/passwd) [x]: https://example.org",
)
UNICODE = (
    "bidi \u202egnp.exe\u202c \u2066iso\u2069 \u200frtl",
    "tags \U000e0041\U000e0042 bom \ufeff separators \u2028 \u2029 \ufff9x\ufffa",
    "wide 漢字かな emoji 👩\u200d👩\u200d👧 ❤️ 🏳️\u200d🌈 combining e\u0301\u0301\u0301",
    "nel \x85 fs \x1c gs \x1d",
)
SURROGATES = ("lone \ud800 and \udfff surrogates",)
LONG = ("A" * 1_000_000, "```\n" + "B" * 200_000 + "\n```", "[" * 20_000, "> " * 400 + "deep", "漢" * 10_000)

SHORT = (*ESCAPES, *MARKUP, *UNICODE, *SURROGATES)
"""Those that can stand in one line, a title or a name."""

ALL = (*SHORT, *LONG)

ONE = " ".join(SHORT)
"""All the short ones in a single text."""

# What Textual itself sends: styles, cursor, modes, synchronised output, keyboard protocol, and nothing else.
_ALLOWED = re.compile(
    rb"\x1b\[[0-9;:]*m|\x1b\[[0-9;]*[HJKABCD]|\x1b\[\?[0-9;]+(?:\$p|[hl])|\x1b\[[><=]?[0-9;]*u|\x1b\[\?u"
)
_POINTER = re.compile(rb"\x1b\]22;[a-z-]*\x07")
_NEVER = (
    *(bytes([code]) for code in range(32) if code not in (10, 13, 27)),
    b"\x7f",
    *(chr(code).encode() for code in range(0x80, 0xA0)),
    *(chr(code).encode() for code in (0x61C, 0x200F, 0x2028, 0x2029, 0x202E, 0x2066, 0x2069, 0xFEFF, 0xFFF9, 0xE0041)),
)


def leaks(raw: bytes) -> list[str]:
    """What of the hostile texts acts in the bytes that reached a terminal: unknown sequences and control characters."""
    raw = _POINTER.sub(b"", raw)  # Textual's way to set the shape of the mouse pointer
    found = [f"{bad!r} at {raw.index(bad)}" for bad in _NEVER if bad in raw]
    rest = _ALLOWED.sub(b"", raw)
    found += [f"escape {rest[at.start() : at.start() + 12]!r}" for at in re.finditer(rb"\x1b", rest)]
    blinking = re.search(rb"\x1b\[31;5m", raw)
    return found + (["the payload's own colour"] if blinking else [])

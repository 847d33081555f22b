"""How many of what, in words: ``1 row``, ``2,000 rows``, ``66 MB``, ``an adapter``."""

from __future__ import annotations

_SINGULAR = {"batches": "batch", "entries": "entry", "matches": "match", "replies": "reply"}


def counted(number: int, what: str) -> str:
    """The number and ``what``, which begins with a plural: of one thing, its first word is in the singular."""
    if number != 1:
        return f"{number:,} {what}"
    first, space, rest = what.partition(" ")
    return f"1 {_SINGULAR.get(first, first.removesuffix('s'))}{space}{rest}"


def an(what: str) -> str:
    """``what`` with its article: ``an adapter``, ``a base``."""
    return f"{'an' if what[:1].lower() in tuple('aeio') else 'a'} {what}"


def size(count: int) -> str:
    """``count`` bytes in decimal units, as disks are sold: 66 MB."""
    for limit, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}" if count < 10 * limit else f"{count / limit:.0f} {unit}"
    return f"{count} B"

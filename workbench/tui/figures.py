"""Numbers as a terminal shows them: short, aligned, and never silently wrong (NaN is a word). Knows no widget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import isfinite, isinf, isnan

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = ".:-=+*#@"


def number(value: float | None, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits; "-" for None, "nan" and "inf" as words."""
    if value is None:
        return "-"
    if isnan(value):
        return "nan"
    if isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value:.{digits - 1}e}" if abs(value) >= 1e7 else thousands(value)
    if abs(value) < 0.001:
        return f"{value:.{max(0, digits - 2)}e}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def thousands(value: float) -> str:
    """``value`` with a letter for the power of a thousand: 940, 9.8k, 1.2M."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.1f}{letter}" if abs(value) < 100 * limit else f"{value / limit:.0f}{letter}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """``seconds`` in the two largest units that matter: 42 s, 9m 55s, 1h 04m; "-" for None."""
    if seconds is None or not isfinite(seconds):
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"


def seconds_between(start_utc: str, end_utc: str = "") -> float | None:
    """Seconds from one stored time to another (default: now); None when a time is missing or unreadable."""
    start, end = instant(start_utc), instant(end_utc) if end_utc else datetime.now(UTC)
    return None if start is None or end is None else (end - start).total_seconds()


def instant(stamp_utc: str) -> datetime | None:
    """A stored time (ISO 8601, UTC when it names no zone) as a datetime; None when it is not one."""
    try:
        moment = datetime.fromisoformat(stamp_utc)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """The last ``width`` buckets of ``values`` as a row of bars; a value that is not a number is a ``!``.

    With more values than cells each bar is its bucket's mean, so the strip always spans the whole history.
    """
    if not values or width < 1:
        return ""
    bars = ASCII_BARS if ascii_only else BARS
    buckets = [_mean(bucket) for bucket in _split(values, width)]
    finite = [value for value in buckets if value is not None]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high - low
    return "".join(
        "!" if v is None else bars[round((v - low) / span * (len(bars) - 1))] if span > 0 else bars[0] for v in buckets
    )


def _split(values: Sequence[float], width: int) -> list[Sequence[float]]:
    if len(values) <= width:
        return [values[i : i + 1] for i in range(len(values))]
    edges = [i * len(values) // width for i in range(width + 1)]
    return [values[a:b] for a, b in pairwise(edges)]


def _mean(bucket: Sequence[float]) -> float | None:
    return sum(bucket) / len(bucket) if all(isfinite(v) for v in bucket) else None


def meter(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of ``width`` cells filled to ``share`` (0 to 1, clipped)."""
    filled = round(min(1.0, max(0.0, share)) * width)
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    return full * filled + empty * (width - filled)

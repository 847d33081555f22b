"""Points in time: kept as UTC in one way of writing, shown as the clock on the wall of who looks."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(value: object) -> str:
    """Seconds since 1970 or an ISO 8601 text as ``2026-01-31T12:00:00.000Z``; "" for what is neither."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            at = datetime.fromtimestamp(value, UTC)
        else:
            return ""
    except (ValueError, OverflowError, OSError):
        return ""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def on_the_wall(utc: str) -> str:
    """A kept time as ``2026-01-31 13:00:00`` in the time zone of this machine; what is no time stays as it is."""
    try:
        return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return utc

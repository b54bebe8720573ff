"""Values as SQLite hands them out, made the types that records have. An inspected file may hold anything in any
column.
"""

from datetime import datetime, timedelta

from runs.clock import EPOCH, from_epoch_ms
from runs.sources.base import Value


def text(value: Value) -> str:
    """Any value as text; NULL as none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def optional(value: Value) -> str | None:
    """Text, or None for NULL and for the empty text that Go writes where Python writes NULL."""
    return text(value) or None


def whole(value: Value) -> int | None:
    """A whole number, or None."""
    return value if isinstance(value, int) else None


def instant(value: Value) -> datetime | None:
    """Milliseconds since 1970, as every time in DBOS is stored."""
    return from_epoch_ms(value)


def created(value: Value) -> datetime:
    """created_at, which is never NULL; what is no time is 1970."""
    return from_epoch_ms(value) or EPOCH


def milliseconds(value: Value) -> timedelta | None:
    number = whole(value)
    try:
        return None if number is None else timedelta(milliseconds=number)
    except OverflowError:
        return None


def between(first: datetime | None, last: datetime | None) -> timedelta | None:
    return last - first if first is not None and last is not None else None

"""The one place that says what time it is, and the one reader of every engine's timestamps."""

import os
import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)  # the finest difference between two instants
MILLISECOND = timedelta(milliseconds=1)
# What is taken for an instant. No run was recorded before, none will be due after; and sums of any two of them, in any zone and
# twice as long a window around them, stay within the years that Python can hold.
FIRST = datetime(1800, 1, 1, tzinfo=UTC)
LAST = datetime(3500, 1, 1, tzinfo=UTC)
_FIRST_MS, _LAST_MS = ((instant - EPOCH) // MILLISECOND for instant in (FIRST, LAST))

# T or space, Z or +00 or +00:00 or nothing (then UTC), 0 to 9 fraction digits: all forms both engines write.
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)

# As Obelisk writes nearly all of them: Python's own reader is faster, and understands more than is meant.
_USUAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{6,9}(?:\+00:00|Z)", re.ASCII)


def now() -> datetime:
    """The present instant, aware, in UTC. ``DURASCOPE_NOW`` (RFC 3339) fixes it, so that a file can be seen as of a moment."""
    return parse_instant(os.environ.get("DURASCOPE_NOW")) or datetime.now(UTC)


def is_fixed() -> bool:
    """Whether ``now`` is an instant that somebody chose."""
    return parse_instant(os.environ.get("DURASCOPE_NOW")) is not None


def parse_instant(text: str | None) -> datetime | None:
    """An aware UTC datetime (nanoseconds cut to microseconds), or None where the text is no instant from FIRST to LAST."""
    if isinstance(text, str) and _USUAL.fullmatch(text):
        try:
            return _plausible(datetime.fromisoformat(f"{text[:26]}+00:00"))
        except ValueError:  # day 31 of a month of 30
            return None
    if not isinstance(text, str) or not (match := _TIMESTAMP.fullmatch(text.strip())):
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        instant = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second or 0),
            int((fraction or "0")[:6].ljust(6, "0")), UTC,
        )  # fmt: skip
        if zone and zone != "Z":
            digits = zone[1:].replace(":", "").ljust(4, "0")
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            instant -= offset if zone[0] == "+" else -offset
    except (ValueError, OverflowError):
        return None
    return _plausible(instant)


def from_epoch_ms(value: object) -> datetime | None:
    """An aware UTC datetime from milliseconds since 1970, or None where the value is no number, or not from FIRST to LAST."""
    if type(value) is int:
        # Compared as it is, and made by a product: sooner, and exact.
        return EPOCH + value * MILLISECOND if _FIRST_MS <= value <= _LAST_MS else None
    if type(value) is not float:
        return None
    try:
        return _plausible(EPOCH + timedelta(milliseconds=value))
    except (OverflowError, ValueError):
        return None


def to_epoch_ms(instant: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (instant - EPOCH) // MILLISECOND


def _plausible(instant: datetime) -> datetime | None:
    return instant if FIRST <= instant <= LAST else None


def from_epoch_us(value: int) -> datetime:
    """The instant of microseconds since 1970."""
    return EPOCH + value * MICROSECOND


def to_epoch_us(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - EPOCH) // MICROSECOND


def rfc3339(instant: datetime | None) -> str | None:
    """RFC 3339 in UTC, up to 6 fraction digits, none where they are zero: ``2026-11-22T13:07:29.866Z``."""
    if instant is None:
        return None
    text = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{instant.microsecond:06d}".rstrip("0")
    return f"{text.rjust(19, '0')}{'.' + fraction if fraction else ''}Z"

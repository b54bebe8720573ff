"""Which runs are asked for: parsed from a query string, refused with words where it can't be understood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from runs.clock import parse_instant, rfc3339
from runs.errors import BadFilter
from runs.records import Status

NAMES = ("status", "workflow", "q", "since", "until", "active_at", "version", "queue", "root", "recovered")
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Filter:
    """The runs wanted. ``since`` ≤ created_at < ``until``; ``active_at``: begun and not ended at that instant.

    ``q`` matches the beginning of an id or any part of an error's text. ``root``: True only runs without a parent,
    False only those with one, None both. ``recovered``: True only runs that failed or were cancelled and of which a retry
    has succeeded, False all others, None both.
    """

    statuses: frozenset[Status] = frozenset()
    workflow: str = ""
    q: str = ""
    since: datetime | None = None
    until: datetime | None = None
    active_at: datetime | None = None
    version: str = ""
    queue: str = ""
    root: bool | None = None
    recovered: bool | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]]) -> "Filter":
        """From lists of values by name, as a query string has them; names that are not ours are the caller's affair.

        Raises BadFilter naming the parameter and what it may be.
        """
        return cls(
            statuses=frozenset(_status(value) for value in query.get("status", ()) if value),
            workflow=_text(query, "workflow"),
            q=_text(query, "q").strip(),
            since=_instant(query, "since"),
            until=_instant(query, "until"),
            active_at=_instant(query, "active_at"),
            version=_text(query, "version"),
            queue=_text(query, "queue"),
            root=_flag(query, "root"),
            recovered=_flag(query, "recovered"),
        )

    def to_query(self) -> str:
        """The query string that says the same, in a fixed order."""
        pairs: list[tuple[str, str]] = [("status", status.value) for status in Status if status in self.statuses]
        values = {
            "workflow": self.workflow,
            "q": self.q,
            "since": rfc3339(self.since),
            "until": rfc3339(self.until),
            "active_at": rfc3339(self.active_at),
            "version": self.version,
            "queue": self.queue,
            "root": None if self.root is None else str(self.root).lower(),
            "recovered": None if self.recovered is None else str(self.recovered).lower(),
        }
        return urlencode(pairs + [(name, value) for name, value in values.items() if value])


def _last(query: Mapping[str, Sequence[str]], name: str) -> str:
    values = query.get(name, ())
    return values[-1] if values else ""


def _text(query: Mapping[str, Sequence[str]], name: str) -> str:
    value = _last(query, name)
    if len(value) > MAX_TEXT:
        raise BadFilter(f"{name} is {len(value):,} characters long; the limit is {MAX_TEXT:,}.")
    return value


def _status(value: str) -> Status:
    try:
        return Status(value)
    except ValueError:
        raise BadFilter(f"status={value[:80]!r} is not one of {', '.join(Status)}.") from None


def _instant(query: Mapping[str, Sequence[str]], name: str) -> datetime | None:
    value = _last(query, name)
    if not value:
        return None
    # A plus sign in a query string arrives as a space.
    instant = parse_instant(value) or parse_instant(value.replace(" ", "+"))
    if instant is None:
        raise BadFilter(f"{name}={value[:80]!r} is not an instant like 2026-11-22T03:10:00Z.")
    return instant


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool | None:
    value = _last(query, name)
    if value not in ("", "true", "false"):
        raise BadFilter(f"{name}={value[:80]!r} is neither true nor false.")
    return {"": None, "true": True, "false": False}[value]

"""The audit: who retried what, when, from where and why, what was appended, and how it ended. Added to, never changed.

Each entry holds the SHA-256 of itself with the hash of the one before. Whoever can write the file can write a new chain; what
``verify`` says of its end (number and hash) is worth keeping elsewhere, because it tells such a chain apart.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from runs import clock
from runs.clock import rfc3339
from runs.state.models import Entry, Retry

FIRST = "0" * 64
_FIELDS = tuple(field.attname for field in Entry._meta.concrete_fields)
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a chain stands: its length and the hash at its end; or ``broken``, the first entry that is not as it was written."""

    entries: int
    end: str
    broken: int | None = None
    problem: str = ""


def add(
    event: str,
    retry: Retry,
    outcome: str,
    *,
    rows: object = (),
    before: object = None,
    after: object = None,
    by: tuple[str, str] | None = None,
) -> Entry:
    """Adds an entry to the end of the chain. ``event``: asked, held, appended, refused, failed or unsure. ``by``: who did it, and
    from where, if another than who asked for the retry."""
    who, where = by or (retry.who, retry.where)
    with transaction.atomic():
        last = Entry.objects.order_by("-seq").first()
        entry = Entry(
            seq=last.seq + 1 if last else 1,
            at=rfc3339(clock.now()) or "",
            event=event,
            retry=retry.pk,
            who=who,
            where=where,
            database=retry.database,
            place=retry.place,
            run=retry.run,
            operation=retry.operation,
            reason=retry.reason,
            digest=retry.digest,
            rows=canonical(rows),
            before=canonical(before),
            after=canonical(after),
            outcome=outcome,
            previous=last.hash if last else FIRST,
        )
        entry.hash = hashed(facts(entry))
        entry.save(force_insert=True)
    return entry


@transaction.atomic
def verify() -> Verdict:
    """Reads the whole chain from its beginning, and whether every retry that is recorded has its entries in it."""
    count, end = 0, FIRST
    known: dict[int, str] = {}
    for entry in Entry.objects.order_by("seq").iterator(_BATCH):
        if entry.seq != count + 1:
            return Verdict(count, end, count + 1, f"Entry {count + 1} is missing.")
        if entry.previous != end:
            return Verdict(count, end, entry.seq, f"Entry {entry.seq} does not follow the one before it.")
        if entry.hash != hashed(facts(entry)):
            return Verdict(count, end, entry.seq, f"Entry {entry.seq} is not as it was written.")
        count, end = entry.seq, entry.hash
        known[entry.retry] = entry.event
    for number, progress in Retry.objects.order_by("pk").values_list("pk", "progress").iterator(_BATCH):
        if known.get(number) != progress:
            said = f"Retry {number} is {progress}; the last entry about it"
            problem = f"{said} says {known[number]}." if number in known else f"{said} is missing."
            return Verdict(count, end, count + 1, problem)
    return Verdict(count, end)


def export() -> Iterator[str]:
    """Every entry as one line of JSON, oldest first: with its hash, so that the chain can be checked elsewhere."""
    for entry in Entry.objects.order_by("seq").iterator(_BATCH):
        yield json.dumps({**facts(entry), "hash": entry.hash}, ensure_ascii=True)


def facts(entry: Entry) -> dict[str, Any]:
    """All of an entry but its own hash."""
    return {name: getattr(entry, name) for name in _FIELDS if name != "hash"}


def hashed(content: Mapping[str, Any]) -> str:
    """The hash of an entry: SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON in one way only: keys sorted, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

"""A filter as SQL over ``workflow_status s``, and the places of a list."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runs.clock import to_epoch_ms
from runs.engines.dbos.snapshot import composed
from runs.engines.dbos.vocabulary import STATUSES
from runs.filters import Filter
from runs.records import Cursor, Status
from runs.sources.base import Value

# As literals and in the words of the engine's own partial indexes, (status, created_at) and (queue_name, status, …),
# which a parameter could not prove. What has no index comes last: see listing.page.
_TERMS = {
    Status.RUNNING: "s.status = 'PENDING'",
    Status.SUCCEEDED: "s.status = 'SUCCESS'",
    Status.CANCELLED: "s.status = 'CANCELLED' AND s.status IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')",
    Status.QUEUED: "s.status = 'ENQUEUED' AND s.status IN ('ENQUEUED', 'PENDING')",
    Status.SCHEDULED: "s.status = 'DELAYED'",
    # No index leads to the last of these: where the newest rows are looked through for it, the others are found as well.
    Status.FAILED: "s.status IN ('ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'RETRIES_EXCEEDED')",
}
_UNKNOWN = f"(s.status IS NULL OR s.status NOT IN ({', '.join(repr(native) for native in STATUSES)}))"
_ANY = "1 = 1"

_ROOT = composed("{parent} IS NULL")
_NOT_ROOT = composed("{parent} IS NOT NULL")

# What had begun and not ended. A run that waits in a queue has not begun; one from a queue begins where it was last
# taken up. An end in whole seconds may have come later in that second, so a run counts as active in the instant of
# its end.
_ACTIVE = composed("""s.status NOT IN ('ENQUEUED', 'DELAYED') AND COALESCE(s.started_at_epoch_ms, s.created_at) <=
  :active_at
  AND ({end} IS NULL OR {end} >= :active_at)""")

# What failed or was cancelled and has, forked from it or from one of its forks, a run that succeeded.
_RECOVERED = """((s.status IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'RETRIES_EXCEEDED')) IS TRUE
  AND s.workflow_uuid IN (
    WITH RECURSIVE recovered (id) AS (
      SELECT s.forked_from FROM {schema}workflow_status s WHERE s.forked_from IS NOT NULL AND s.status = 'SUCCESS'
      UNION
      SELECT s.forked_from FROM recovered JOIN {schema}workflow_status s ON s.workflow_uuid = recovered.id
      WHERE s.forked_from IS NOT NULL AND s.status <> 'SUCCESS')
    SELECT recovered.id FROM recovered))"""


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL terms, all of which must hold, and their parameters."""

    terms: tuple[str, ...] = ()
    params: dict[str, Value] = field(default_factory=dict)

    def also(self, term: str, **params: Value) -> "Condition":
        return Condition((*self.terms, term), self.params | params)

    @property
    def sql(self) -> str:
        return " AND ".join(self.terms) or _ANY


def arms(statuses: frozenset[Status]) -> tuple[str, ...]:
    """One SQL term for each status, so that each may use an index in the order of the list."""
    if not statuses:
        return (_ANY,)
    terms = [term for status, term in _TERMS.items() if status in statuses]
    return (*terms, _UNKNOWN) if Status.UNKNOWN in statuses else tuple(terms)


def condition(where: Filter) -> Condition:
    """The filter without its statuses and without q."""
    found = Condition()
    if where.workflow:
        found = found.also("s.name = :workflow", workflow=where.workflow)
    if where.version:
        found = found.also("s.application_version = :version", version=where.version)
    if where.queue:
        found = found.also("s.queue_name = :queue", queue=where.queue)
    if where.since is not None:
        found = found.also("s.created_at >= :since", since=_ceiling(where.since))
    if where.until is not None:
        found = found.also("s.created_at < :until", until=_ceiling(where.until))
    if where.active_at is not None:
        found = found.also(_ACTIVE, active_at=to_epoch_ms(where.active_at))
    if where.root is not None:
        found = found.also(_ROOT if where.root else _NOT_ROOT)
    if where.recovered is not None:
        found = found.also(_RECOVERED if where.recovered else f"NOT {_RECOVERED}")
    return found


def prefixed(found: Condition, prefix: str) -> Condition:
    """And an id that begins so, as a range: the one way that uses the primary key on every database."""
    found = found.also("s.workflow_uuid >= :prefix", prefix=prefix)
    after = _successor(prefix)
    return found if after is None else found.also("s.workflow_uuid < :after_prefix", after_prefix=after)


def beyond(found: Condition, after: Cursor | None) -> Condition:
    """And what comes later in the list: newest first, ties by id."""
    if after is None:
        return found
    return found.also("(s.created_at, s.workflow_uuid) < (:after_at, :after_id)", after_at=after.at, after_id=after.id)


def _ceiling(moment: datetime) -> int:
    """The first whole millisecond that is not before the moment."""
    return to_epoch_ms(moment + timedelta(microseconds=999))


def _successor(prefix: str) -> str | None:
    """The least text above all texts with this prefix, in the order of code points; None if there is none."""
    while prefix:
        point = ord(prefix[-1]) + 1
        if 0xD800 <= point <= 0xDFFF:  # no characters lie there
            point = 0xE000
        if point <= 0x10FFFF:
            return prefix[:-1] + chr(point)
        prefix = prefix[:-1]
    return None

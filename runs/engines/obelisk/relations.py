"""Which rows of a history belong together: a request and the await that took its answer, a lock and its end."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import instant, remembered, snake, text, whole
from runs.sources.base import Value

ENDS = frozenset({"unlocked", "temporarily_failed", "temporarily_timed_out", "finished"})

_INDEX = """SELECT l.version, l.variant, $event_type,
    CASE WHEN $event_type = 'join_set_request' AND $valid(l.json_value)
        THEN $event->'request'->>'delay_id' IS NOT NULL END,
    l.created_at,
    CASE WHEN $event_type LIKE 'join%' AND $valid(l.json_value) THEN $event->>'join_set_id' END,
    CASE WHEN $event_type = 'join_set_request' AND $valid(l.json_value) THEN
        COALESCE($event->'request'->>'child_execution_id', $event->'request'->>'delay_id') END,
    CASE WHEN $event_type LIKE 'join%next%try' AND $valid(l.json_value) THEN
        $event->>'outcome' = 'found' OR COALESCE($event->>'found_response', 0) = 1 END,
    CASE WHEN l.variant = 'locked' AND $valid(l.json_value) THEN $lease END,
    CASE WHEN l.variant = 'locked' AND $valid(l.json_value) THEN $held_until END
FROM {schema}t_execution_log l WHERE l.execution_id = :id ORDER BY l.version"""

_RESPONSES = """SELECT r.join_set_id, COALESCE(r.child_execution_id, r.delay_id)
FROM {schema}t_join_set_response r WHERE r.execution_id = :id ORDER BY $sequence"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row of the log is, without its payloads. ``native`` is what the engine calls it: ``history_event/persist``.

    ``asked`` is the child or delay of a request; ``took`` whether an await took an answer, if there was one.
    """

    version: int
    native: str
    variant: str
    event: str
    sleep: bool
    at: datetime | None
    join_set: str
    asked: str
    took: bool
    lease: str
    expires_at: datetime | None


def index(snapshot: Snapshot, run_id: str) -> list[Entry]:
    """All rows of a run by version."""
    rows = snapshot.rows(_INDEX, {"id": run_id})
    return [
        Entry(
            version=whole(version) or 0,
            native="/".join(word for word in (text(variant), text(event)) if word),
            variant=variant_of(variant),
            event=snake(event),
            sleep=bool(sleep),
            at=instant(at),
            join_set=text(join_set),
            asked=text(asked),
            took=snake(event) == "join_next" or bool(found),
            lease=text(lease),
            expires_at=instant(expires_at),
        )
        for version, variant, event, sleep, at, join_set, asked, found, lease, expires_at in rows
    ]


@remembered
def variant_of(name: Value) -> str:
    """The variant as releases since 0.34 write it."""
    return snake(name).replace("intermittently_", "temporarily_")


def related(snapshot: Snapshot, run_id: str, entries: Sequence[Entry]) -> dict[int, tuple[int, ...]]:
    """By version the versions that belong to it, in order."""
    found: dict[int, set[int]] = defaultdict(set)
    for one, other in (*_leases(entries), *_requests(entries), *_answers(snapshot, run_id, entries)):
        found[one].add(other)
        found[other].add(one)
    return {version: tuple(sorted(others)) for version, others in found.items()}


def _leases(entries: Sequence[Entry]) -> Iterable[tuple[int, int]]:
    """Each lock, extensions too, with the row that ended its lease. A lease that somebody else's lock followed has
    none, nor one that had run out before a waiting run was ended from outside."""
    locks: list[Entry] = []
    recorded = False
    for entry in entries:
        if entry.variant == "locked":
            locks = [*(locks if locks and locks[-1].lease == entry.lease else ()), entry]
            recorded = False
        elif entry.variant == "history_event":
            recorded = True
        elif entry.variant in ENDS and locks:
            until = locks[-1].expires_at
            late = recorded and until is not None and entry.at is not None and entry.at > until
            if entry.variant != "finished" or not late:
                yield from ((lock.version, entry.version) for lock in locks)
            locks = []


def _requests(entries: Sequence[Entry]) -> Iterable[tuple[int, int]]:
    """The creation of each join set with the requests to it."""
    created: dict[str, int] = {}
    for entry in entries:
        if entry.event == "join_set_create":
            created.setdefault(entry.join_set, entry.version)
        elif entry.event == "join_set_request" and entry.join_set in created:
            yield created[entry.join_set], entry.version


def _answers(snapshot: Snapshot, run_id: str, entries: Sequence[Entry]) -> Iterable[tuple[int, int]]:
    """Each request with the await that took its response: the n-th of a join set takes the n-th response to it."""
    if not {"child_execution_id", "delay_id", "id"} <= snapshot.tables.get("t_join_set_response", {}).keys():
        return
    responses: dict[str, list[str]] = defaultdict(list)
    for join_set, source in snapshot.rows(_RESPONSES, {"id": run_id}):
        responses[text(join_set)].append(text(source))
    asked = {entry.asked: entry.version for entry in entries if entry.asked}
    taken: dict[str, int] = defaultdict(int)
    for entry in entries:
        if entry.took:
            place = taken[entry.join_set]
            taken[entry.join_set] += 1
            came = responses.get(entry.join_set, [])
            if place < len(came) and came[place] in asked:
                yield asked[came[place]], entry.version

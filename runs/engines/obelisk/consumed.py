"""A workflow's history as a fork needs it: what it asked for, what it waited for, and which response each wait consumed.

The n-th ``join_next`` or found ``join_next_try`` of a join set consumes the n-th response of that join set.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from runs.engines.obelisk.shapes import instant, text, whole
from runs.sources.base import Reader

_EVENTS = """SELECT l.version, l.variant, l.created_at, l.history_event_type,
    l.json_value->>'$.history_event.event.join_set_id',
    l.json_value->>'$.history_event.event.closing',
    l.json_value->>'$.history_event.event.requested_ffqn',
    l.json_value->>'$.history_event.event.outcome',
    l.json_value->>'$.history_event.event.request.child_execution_id',
    l.json_value->>'$.history_event.event.request.target_ffqn',
    l.json_value->>'$.history_event.event.request.delay_id',
    l.json_value->>'$.history_event.event.request.expires_at',
    l.json_value->>'$.history_event.event.request.paused',
    json_type(l.json_value, '$.history_event.event.request.result.Err') IS NOT NULL,
    l.json_value->>'$.history_event.event.target_execution_id'
FROM {schema}t_execution_log l WHERE l.execution_id = :id ORDER BY l.version"""

_RESPONSES = """SELECT r.id, r.seq, r.join_set_id, r.delay_id, r.delay_success, r.child_execution_id,
    CASE WHEN l.variant <> 'finished' THEN NULL
        WHEN json_type(l.json_value, '$.finished.retval.ok') IS NOT NULL THEN 'ok'
        WHEN json_type(l.json_value, '$.finished.retval.err') IS NOT NULL THEN 'error'
        ELSE l.json_value->>'$.finished.retval.execution_failure.kind' END
FROM {schema}t_join_set_response r
LEFT JOIN {schema}t_execution_log l ON l.execution_id = r.child_execution_id AND l.version = r.finished_version
WHERE r.execution_id = :id ORDER BY r.seq, r.id"""

SEEDED = {"persist": "recorded a value", "schedule": "scheduled another run"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a join set was asked for: a child by its id, or a delay by its id; ``refused``: neither began."""

    version: int
    join_set: str
    child: str
    ffqn: str
    delay: str
    length: timedelta
    paused: bool
    refused: bool

    @property
    def name(self) -> str:
        return self.ffqn if self.child else "sleep"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a request. ``outcome`` of a child: ``ok``, ``error``, a failure's kind, or empty where no
    ``finished`` row says it; of a delay: ``expired`` or ``cancelled``. ``number``: which one it is among the execution's."""

    key: int
    number: int | None
    join_set: str
    delay: str
    child: str
    outcome: str

    @property
    def failed(self) -> bool:
        return bool(self.child) and self.outcome not in ("ok", "")


@dataclass(frozen=True, slots=True)
class Wait:
    """A row that consumed a response, or waits for one. ``tried``: it only looked, and found."""

    version: int
    join_set: str
    closing: bool
    tried: bool
    wanted: str
    response: Response | None


@dataclass(frozen=True, slots=True)
class History:
    """Of one workflow. ``seeded``: versions of events whose values come from the execution's own id, with what they are;
    ``answers``: versions of answers to stubs, with the stub."""

    versions: tuple[int, ...]
    events: tuple[int, ...]
    requests: tuple[Request, ...]
    waits: tuple[Wait, ...]
    responses: tuple[Response, ...]
    seeded: tuple[tuple[int, str], ...]
    answers: tuple[tuple[int, str], ...]
    cancelling: int | None

    def of_child(self) -> Mapping[str, Response]:
        return {response.child: response for response in self.responses if response.child}

    def of_delay(self) -> Mapping[str, Response]:
        return {response.delay: response for response in self.responses if response.delay}


def read(reader: Reader, run_id: str) -> History:
    """The history of this execution."""
    responses = tuple(
        Response(
            key=whole(key) or 0,
            number=whole(number),
            join_set=text(join_set),
            delay=text(delay),
            child=text(child),
            outcome=text(outcome) if child else "expired" if success else "cancelled",
        )
        for key, number, join_set, delay, success, child, outcome in reader.rows(_RESPONSES, {"id": run_id})
    )
    answered: dict[str, list[Response]] = {}
    for response in responses:
        answered.setdefault(response.join_set, []).append(response)
    versions, events, requests, waits, seeded, answers = [], [], [], [], [], []
    counted: Counter[str] = Counter()
    cancelling = None
    for row in reader.rows(_EVENTS, {"id": run_id}):
        version, join_set, kind = whole(row[0]) or 0, text(row[4]), text(row[3])
        versions.append(version)
        if row[1] == "cancellation_requested" and cancelling is None:
            cancelling = version
        if row[1] != "history_event":
            continue
        events.append(version)
        if kind in SEEDED:
            seeded.append((version, SEEDED[kind]))
        elif kind == "stub":
            answers.append((version, text(row[14])))
        elif kind == "join_set_request":
            began, due = instant(row[2]), instant(row[11])
            length = max(due - began, timedelta()) if began and due else timedelta()
            requests.append(
                Request(
                    version, join_set, text(row[8]), text(row[9]), text(row[10]), length, bool(row[12]), bool(row[13])
                )
            )
        elif kind == "join_next" or (kind == "join_next_try" and row[7] == "found"):
            place = counted[join_set]
            counted[join_set] += 1
            of_set = answered.get(join_set, [])
            answer = of_set[place] if place < len(of_set) else None
            waits.append(Wait(version, join_set, bool(row[5]), kind == "join_next_try", text(row[6]), answer))
    return History(
        tuple(versions),
        tuple(events),
        tuple(requests),
        tuple(waits),
        responses,
        tuple(seeded),
        tuple(answers),
        cancelling,
    )

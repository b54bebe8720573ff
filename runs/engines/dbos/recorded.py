"""What DBOS records of a run and never changes, read by ranges of run ids: for comparing databases.

A run's row: what it was made with, and how it succeeded or failed. Left out as progress is what the engine sets to NULL, updates
or deletes later (dequeue, cancel_workflow, resume_workflow, rename_application … in dbos/_sys_db.py 3.4.0): status before the
end, queue, priority, deduplication id, executor, owner, attempts, deadline, attributes, application version and name,
workflow_events (published values as of now), that a message was taken. CANCELLED and MAX_RECOVERY_ATTEMPTS_EXCEEDED are no ends:
resume_workflow goes on from them. Rows of the other tables are inserted once. A value in workflow_events_history may be set again
until its step is recorded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from runs.engines.base import BODY_LIMIT
from runs.engines.dbos.listing import ERROR_LIMIT
from runs.engines.dbos.snapshot import CHUNK, Row, Snapshot, composed
from runs.engines.dbos.values import optional, text
from runs.engines.digesting import EVER, INLINE, PART, SLICE, by_run, digest_of, digest_of_bytes
from runs.sources.base import Value

# A body as bytes, which may be no UTF-8; of a large one its size instead.
BODY = "CASE WHEN octet_length({body}) <= :inline THEN CAST({body} AS BLOB) ELSE octet_length({body}) END"


def _blob(column: str) -> str:
    return f"CAST({column} AS BLOB)"


# What a run was made with: the first three are what was called.
_MADE = (
    *map(_blob, ("s.name", "s.class_name", "s.config_name")),
    *map(_blob, ("s.authenticated_user", "s.assumed_role", "s.authenticated_roles")),
    *map(_blob, ("s.parent_workflow_id", "s.forked_from", "s.schedule_name")),
    *("s.created_at", "s.workflow_timeout_ms"),
)
_CALLED = 3

HEADS = composed(
    """
SELECT {made}, s.workflow_uuid, s.name, s.status, s.created_at, s.serialization, {read_input}, {read_output}, {read_error},
  {end}, {latest_end}, {parent}, s.started_at_epoch_ms, s.application_version, s.deduplication_id, s.is_debounced,
  s.forked_from, s.schedule_name
FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
""".replace("{made}", ", ".join(_MADE))
    .replace("{read_input}", BODY.replace("{body}", "{input}"))
    .replace("{read_output}", BODY.replace("{body}", "{output}"))
    .replace("{read_error}", BODY.replace("{body}", "{error}"))
)
NEXT_HEADS = HEADS + "WHERE s.workflow_uuid > :after AND s.workflow_uuid <= :last ORDER BY s.workflow_uuid LIMIT :limit"
_FULL = """
SELECT max(o.workflow_uuid), count(*) FROM (SELECT o.workflow_uuid FROM {schema}operation_outputs o
  WHERE o.workflow_uuid > :after ORDER BY o.workflow_uuid LIMIT :part) o
"""
HEADS_OF = HEADS + "WHERE s.workflow_uuid IN {ids}"

LARGE = "SELECT substr(CAST({body} AS BLOB), 1, :most), octet_length({body}) FROM {schema}"
_LARGE_OF_RUN = {
    slot: composed(
        LARGE.replace("{body}", f"{{{slot}}}")
        + """workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid = :run"""
    )
    for slot in ("input", "output", "error")
}


class Head(NamedTuple):
    """A run's own row. ``made`` is what it was made with but for its input. ``input`` is a digest, empty where there is none;
    ``output`` and ``error`` are bytes, of large ones digests in hexadecimal digits; ``words`` is the beginning of the error."""

    id: str
    workflow: str
    status: str
    created_at: Value
    made: Row
    serialization: Value
    input: bytes
    output: Value
    error: Value
    words: Value
    end: Value
    cut_after: Value
    parent: str | None
    started_at: Value
    version: str
    dedup: str
    debounced: bool
    forked_from: str | None
    scheduled: bool

    @property
    def created(self) -> Row:
        """What the run was made with. Of a debounced one without the input: until it is due, that is the last call's
        so far (debounce in dbos/_sys_db.py)."""
        return self.made if self.debounced else (*self.made, self.serialization, self.input)

    @property
    def called(self) -> Row:
        """What it is a run of."""
        return self.made[:_CALLED]

    @property
    def settled(self) -> Row:
        """The input that a debounced run is due with, else empty."""
        return (self.serialization, self.input) if self.debounced and self.status != "DELAYED" else ()

    @property
    def ended(self) -> Row:
        """How it succeeded or failed, empty where it has not."""
        return (self.status, self.output, self.error, self.end) if self.status in ("SUCCESS", "ERROR") else ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table of rows that belong to runs. A row is read as its ``keys``, the run's id first, its ``content`` and the ``rest``
    (clocks, ids), texts as bytes, which may be no UTF-8, ``at``, when it was written, in milliseconds, and ``more``. ``bodies`` are
    those of content and rest that are bodies, by their place in a row: of a large one there is the size."""

    kind: str
    name: str
    source: str
    keys: tuple[str, ...]
    content: tuple[str, ...]
    rest: tuple[str, ...]
    at: str
    bodies: tuple[tuple[int, str], ...]
    more: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[slice, slice, int]:
        """Where in a row content, rest and instant are."""
        content = len(self.keys)
        rest = content + len(self.content)
        at = rest + len(self.rest)
        return slice(content, rest), slice(rest, at), at

    def between(self, *, after: bool) -> str:
        """The first rows of a range of runs, or those ``after`` a row."""
        run = self.keys[0]
        begin = f"({', '.join(self.keys)}) > ({self._bound})" if after else f"{run} >= :first"
        return self._sql(f"{begin} AND {run} <= :last")

    def of(self, *, after: bool) -> str:
        """The same of some runs, with ``{ids}``, which are what its index is asked for, not the place."""
        run, *others = self.keys
        begin = f" AND ({', '.join((f'+{run}', *others))}) > ({self._bound})" if after else ""
        return self._sql(f"{run} IN {{ids}}{begin}")

    def large(self, column: str) -> str:
        """One value of a row whose bodies are large."""
        where = " AND ".join(f"{key} = :k{number}" for number, key in enumerate(self.keys))
        return f"{LARGE.replace('{body}', column).replace('{schema}', '')}{self.source} WHERE {where}"

    def key(self, row: Row) -> dict[str, Value]:
        return {f"k{number}": row[number] for number in range(len(self.keys))}

    @property
    def _bound(self) -> str:
        return ", ".join(f":k{number}" for number in range(len(self.keys)))

    def _sql(self, where: str) -> str:
        columns = (*self.keys, *self.content, *self.rest, self.at, *self.more)
        return (
            f"SELECT {', '.join(columns)} FROM {self.source} WHERE {where}"  # noqa: S608
            f" ORDER BY {', '.join(self.keys)} LIMIT :slice"
        )


def _body(column: str) -> str:
    return BODY.replace("{body}", column)


_STEP_AT = "COALESCE(o.completed_at_epoch_ms, o.started_at_epoch_ms)"
STEPS = Table(
    kind="step",
    name="operation_outputs",
    source="{schema}operation_outputs o",
    keys=("o.workflow_uuid", "o.function_id"),
    content=(
        "o.function_id",
        _blob("o.function_name"),
        # The output of a sleep is an instant: no content.
        f"CASE WHEN o.function_name <> 'DBOS.sleep' THEN {_body('o.output')} END",
        _body("o.error"),
        _blob("o.serialization"),
    ),
    rest=(
        _blob("o.child_workflow_id"),
        f"CASE WHEN o.function_name = 'DBOS.sleep' THEN {_body('o.output')} END",
        *("o.started_at_epoch_ms", "o.completed_at_epoch_ms"),
    ),
    at=f"CASE WHEN o.function_name = 'DBOS.sleep' THEN o.started_at_epoch_ms ELSE {_STEP_AT} END",
    bodies=((4, "o.output"), (5, "o.error"), (8, "o.output")),
    more=("substr(CAST(NULLIF(o.error, '') AS BLOB), 1, :inline)",),
)
_OTHERS = (
    Table(
        kind="value",
        name="workflow_events_history",
        source="""{schema}workflow_events_history h
CROSS JOIN {schema}operation_outputs o ON o.workflow_uuid = h.workflow_uuid AND o.function_id = h.function_id""",
        keys=("h.workflow_uuid", "h.function_id", "h.key"),
        content=("h.function_id", _blob("h.key"), _body("h.value"), _blob("h.serialization")),
        rest=(),
        at=_STEP_AT,
        bodies=((5, "h.value"),),
    ),
    Table(
        kind="stream",
        name="streams",
        source="""{schema}streams t
LEFT JOIN {schema}operation_outputs o ON o.workflow_uuid = t.workflow_uuid AND o.function_id = t.function_id
""",
        keys=("t.workflow_uuid", "t.key", 't."offset"'),
        # Rows from before the column came with it get 0 (dbos/_migration.py).
        content=(
            *('t."offset"', "COALESCE(t.function_id, 0)"),
            *(_blob("t.key"), _body("t.value"), _blob("t.serialization")),
        ),
        rest=(),
        at=_STEP_AT,
        bodies=((6, "t.value"),),
    ),
    Table(
        kind="transaction",
        name="transaction_outputs",
        source="{schema}transaction_outputs x",
        keys=("x.workflow_uuid", "x.function_id"),
        content=("x.function_id", _blob("x.function_name"), _body("x.output"), _body("x.error")),
        rest=(_blob("x.txn_id"), _blob("x.txn_snapshot"), "x.created_at"),
        at="x.created_at",
        bodies=((4, "x.output"), (5, "x.error")),
    ),
    Table(
        kind="message",
        name="notifications",
        source="{schema}notifications n",
        keys=("n.destination_uuid", "n.message_uuid"),
        # Who sends a message gives it a new id, and it comes when it comes: no content of a run. recv's output is.
        content=(),
        rest=(
            *(_blob("n.message_uuid"), _blob("n.topic"), _body("n.message"), _blob("n.serialization")),
            "n.created_at_epoch_ms",
        ),
        at="n.created_at_epoch_ms",
        bodies=((4, "n.message"),),
    ),
)


def others(snapshot: Snapshot) -> list[Table]:
    """The tables beside operation_outputs that this file has. Before 2.14, which brought the column, recv deleted what it took."""
    schema = snapshot.schema
    return [
        table
        for table in _OTHERS
        if all(schema.has(table.name, key.partition(".")[2].strip('"')) for key in table.keys)
        and (table.kind != "message" or schema.has("notifications", "consumed"))
    ]


def heads(snapshot: Snapshot, after: str, limit: int) -> tuple[list[Head], bool]:
    """At most ``limit`` runs after an id, in the order of their ids, fewer where their steps fill a part; and whether more follow.

    Texts alone: nothing else is an id of a run.
    """
    ((last, steps),) = snapshot.rows(_FULL, {"after": after, "part": PART})
    full = steps == PART
    params: dict[str, Value] = {"after": after, "limit": limit + 1, "inline": INLINE}
    rows = snapshot.rows(NEXT_HEADS, {**params, "last": last if full else EVER})
    if full and not rows:  # steps without runs
        rows, full = snapshot.rows(NEXT_HEADS, {**params, "last": EVER}), False
    return [_head(snapshot, row) for row in rows[:limit]], full or len(rows) > limit


def heads_of(snapshot: Snapshot, run_ids: Sequence[str]) -> list[Head]:
    """Of those of the runs that there are, in no order."""
    return [_head(snapshot, row) for row in snapshot.rows_of(HEADS_OF, run_ids, {"inline": INLINE})]


def rows_between(snapshot: Snapshot, table: Table, first: Value, last: Value) -> Iterator[tuple[Value, list[Row]]]:
    """The rows of the runs from ``first`` to ``last``, by run: one with very many comes in pieces. Of large bodies there are
    digests, in hexadecimal digits."""

    def read(after: Row | None) -> list[Row]:
        place: dict[str, Value] = {"first": first} if after is None else table.key(after)
        sql = table.between(after=after is not None)
        rows = snapshot.rows(sql, {**place, "last": last, "slice": SLICE, "inline": INLINE})
        return _with_large(snapshot, table, rows)

    return by_run(read)


def rows_of(snapshot: Snapshot, table: Table, run_ids: Sequence[str]) -> Iterator[tuple[Value, list[Row]]]:
    """The same of these runs."""
    for start in range(0, len(run_ids), CHUNK):
        yield from by_run(partial(_rows_of, snapshot, table, run_ids[start : start + CHUNK]))


def _rows_of(snapshot: Snapshot, table: Table, run_ids: Sequence[str], after: Row | None) -> list[Row]:
    left = run_ids if after is None else [run_id for run_id in run_ids if run_id >= text(after[0])]
    place: dict[str, Value] = {} if after is None else table.key(after)
    sql = table.of(after=after is not None)
    rows = list(snapshot.rows_of(sql, left, {**place, "slice": SLICE, "inline": INLINE}))
    return _with_large(snapshot, table, rows)


def _with_large(snapshot: Snapshot, table: Table, rows: list[Row]) -> list[Row]:
    places = [each for each in table.bodies if int in set(map(type, map(itemgetter(each[0]), rows)))]
    for number, row in enumerate(rows) if places else ():
        for place, column in places:
            if type(row[place]) is int:
                found, _ = large(snapshot, table.large(column), table.key(row))
                row = (*row[:place], found.hex(), *row[place + 1 :])
        rows[number] = row
    return rows


def large(snapshot: Snapshot, sql: str, place: dict[str, Value]) -> tuple[bytes, Value]:
    """The digest of a large body, and its first BODY_LIMIT bytes; of more than these, the digest is of them and of the size."""
    data, size = snapshot.rows(sql, {**place, "most": BODY_LIMIT})[0]
    if data is None:
        return b"", None
    found = digest_of_bytes(data)
    return (found if isinstance(size, int) and size <= BODY_LIMIT else digest_of(found, size)), data


def _head(snapshot: Snapshot, row: Row) -> Head:
    made = row[: len(_MADE)]
    run_id, workflow, status, created_at, serialization, input_, output, error, *others = row[len(_MADE) :]
    end, cut_after, parent, started_at, version, dedup, debounced, forked_from, schedule = others
    place = {"run": run_id}
    words = error
    if type(input_) is int:
        input_digest, _ = large(snapshot, _LARGE_OF_RUN["input"], place)
    else:
        input_digest = b"" if input_ is None else digest_of_bytes(input_)
    if type(output) is int:
        output = large(snapshot, _LARGE_OF_RUN["output"], place)[0].hex()
    if type(error) is int:
        found, words = large(snapshot, _LARGE_OF_RUN["error"], place)
        error = found.hex()
    name = run_id if type(run_id) is str else text(run_id)
    return Head(
        name,
        workflow if type(workflow) is str else text(workflow),
        status if type(status) is str else text(status),
        created_at,
        made,
        serialization,
        input_digest,
        output,
        error,
        words[:ERROR_LIMIT] if isinstance(words, bytes) else None,
        end,
        cut_after,
        parent if parent is None else optional(parent),
        started_at,
        version if type(version) is str else text(version),
        dedup if type(dedup) is str else text(dedup),
        bool(debounced),
        forked_from if forked_from is None else optional(forked_from),
        schedule is not None or name.startswith("sched-"),
    )

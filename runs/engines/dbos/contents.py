"""Digests of all payloads of a run and of its steps, in one pass: for comparing two runs without reading what is alike."""

from collections.abc import Collection, Iterator, Mapping

from runs.engines.dbos import bodies, steps
from runs.engines.dbos.details import missing
from runs.engines.dbos.recorded import BODY, LARGE, heads_of, large
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import text, whole
from runs.engines.digesting import INLINE, digest_of_bytes
from runs.sources.base import Value

_BODIES = """
SELECT o.function_id, o.function_name, {output}, {error} FROM {schema}operation_outputs o WHERE o.workflow_uuid = :run
""".replace("{output}", BODY.replace("{body}", "o.output")).replace(
    "{error}", BODY.replace("{body}", "NULLIF(o.error, '')")
)
_OF_STEP = "operation_outputs o WHERE o.workflow_uuid = :run AND o.function_id = :number"
_OUTPUT, _ERROR = (LARGE.replace("{body}", column) + _OF_STEP for column in ("o.output", "o.error"))
# What else a step's payload may be: kind, table, all rows of a run, the column, one row.
_WRITTEN = (
    (
        "value",
        "workflow_events_history",
        "SELECT h.key, h.function_id, {body} FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run",
        "h.value",
        "workflow_events_history h WHERE h.workflow_uuid = :run AND h.function_id = :number AND h.key = :key",
    ),
    (
        "stream",
        "streams",
        'SELECT t.key, t."offset", {body} FROM {schema}streams t WHERE t.workflow_uuid = :run',
        "t.value",
        'streams t WHERE t.workflow_uuid = :run AND t."offset" = :number AND t.key = :key',
    ),
)


def contents(snapshot: Snapshot, run_id: str) -> Mapping[str, bytes]:
    """Digests by the names that the payloads of the run and of its steps have. Raises RunNotFound."""
    run = next(iter(heads_of(snapshot, [run_id])), None)
    if run is None:
        raise missing(run_id)
    found: dict[str, Value] = {"run.output": run.output, "run.error": run.error}
    names: dict[int, str] = {}
    for number, name, output, error in snapshot.rows(_BODIES, {"run": run_id, "inline": INLINE}):
        ordinal = whole(number) or 0
        names[ordinal] = text(name)
        place: dict[str, Value] = {"run": run_id, "number": ordinal}
        found[f"step.{ordinal}.output"] = _read(snapshot, _OUTPUT, place, output)
        found[f"step.{ordinal}.error"] = _read(snapshot, _ERROR, place, error)
    there = {
        number: written.payload.name
        for number, written in steps.written(snapshot, run_id, set(names.values())).items()
        if written.payload and names.get(number, "").startswith("DBOS.")
    }
    for number in there:
        found.pop(f"step.{number}.output", None)
    wanted = set(there.values())
    found |= {name: body for name, body in _elsewhere(snapshot, run_id, wanted) if name in wanted}
    digests_ = {name: _digest(body) for name, body in found.items() if body is not None}
    return digests_ | ({"run.input": run.input} if run.input else {})


def _elsewhere(snapshot: Snapshot, run_id: str, wanted: Collection[str]) -> Iterator[tuple[str, Value]]:
    """What the run published and streamed, by the names of payloads."""
    for kind, table, statement, column, where in _WRITTEN if wanted else ():
        if snapshot.schema.has(table):
            one = LARGE.replace("{body}", column) + where
            for key, number, body in snapshot.rows(
                statement.replace("{body}", BODY.replace("{body}", column)), {"run": run_id, "inline": INLINE}
            ):
                place = {"run": run_id, "number": number, "key": key}
                yield bodies.name_of(kind, text(key), whole(number)), _read(snapshot, one, place, body)


def _read(snapshot: Snapshot, large_one: str, place: dict[str, Value], body: Value) -> Value:
    """The body, or where it is large, its digest in hexadecimal digits."""
    return large(snapshot, large_one, place)[0].hex() if isinstance(body, int) else body


def _digest(body: Value) -> bytes:
    return bytes.fromhex(body) if isinstance(body, str) else digest_of_bytes(body)

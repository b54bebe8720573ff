"""One snapshot of a DBOS file: a reader, and the schema its statements are fitted to. And SQL expressions that
several modules share.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from runs.engines.dbos.schema import Schema
from runs.sources.base import Params, Reader, Value

Row: TypeAlias = tuple[Value, ...]
CHUNK = 400  # ids in one statement

# Expressions over s (workflow_status), o (operation_outputs), f (the same step of the run that s was forked from), i
# and r (the input and output tables). A statement names them in braces; ``composed`` puts them in.
_SHARED = {
    # What a run's own row says of its time: spans.own reads it.
    "own": "s.created_at, s.started_at_epoch_ms, s.updated_at, {end}, {latest_end}, s.forked_from IS NOT NULL",
    # The parent: the column of 2.11, else (older rows) what a child's id says, <parent>-<function_id>, where the
    # parent has such a step: nine digits at most, and the first look tells most ids from such. A child that an older
    # release gave an id of its own has no parent here: no index leads from it to that step.
    "parent": """COALESCE(s.parent_workflow_id, CASE
    WHEN (length(s.workflow_uuid) < 10 OR substr(s.workflow_uuid, length(s.workflow_uuid) - 9) LIKE '%-%')
      AND length({stem}) > 1 AND length(s.workflow_uuid) - length({stem}) BETWEEN 1 AND 9
      AND substr({stem}, length({stem})) = '-'
    THEN (SELECT o.workflow_uuid FROM {schema}operation_outputs o
          WHERE o.workflow_uuid = substr({stem}, 1, length({stem}) - 1)
            AND o.function_id = CAST(substr(s.workflow_uuid, length({stem}) + 1) AS BIGINT)
            AND o.child_workflow_id = s.workflow_uuid) END)""",
    "stem": "rtrim(s.workflow_uuid, '0123456789')",
    # A row that a fork copied. It keeps the times of the original, so it began before the fork was made; within one
    # second that can't be told (the fork's created_at is cut to the second), but then the original has the same
    # times. Rows without times (a child's rows until about 2.29, forks made by 2.4 and older) are copies where the
    # original has the same row.
    "inherited": """s.forked_from IS NOT NULL AND CASE WHEN o.started_at_epoch_ms IS NOT NULL
    THEN o.started_at_epoch_ms < s.created_at OR (f.started_at_epoch_ms = o.started_at_epoch_ms
      AND f.completed_at_epoch_ms IS NOT DISTINCT FROM o.completed_at_epoch_ms)
    ELSE f.function_name = o.function_name AND f.child_workflow_id IS NOT DISTINCT FROM o.child_workflow_id
      AND octet_length(f.output) IS NOT DISTINCT FROM octet_length(o.output)
      AND octet_length(f.error) IS NOT DISTINCT FROM octet_length(o.error) END""",
    # The last millisecond that a run's end may mean: workflow_status has whole seconds on Python before 3.12.
    "latest_end": "({end}) + CASE WHEN ({end}) % 1000 = 0 AND s.created_at % 1000 = 0 THEN 999 ELSE 0 END",
    # When a run ended. completed_at came with 2.23, and rows older than it keep NULL: then the last change of a
    # terminal row.
    "end": """CASE WHEN s.status IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
    'RETRIES_EXCEEDED')
    THEN COALESCE(s.completed_at, s.updated_at) END""",
    # Since 3.0 payloads have tables of their own; rows that are older stay where they were. Go writes an empty error
    # on success.
    "input": "COALESCE(i.inputs, s.inputs)",
    "output": "COALESCE(r.output, s.output)",
    "error": "COALESCE(NULLIF(r.error, ''), NULLIF(s.error, ''))",
}


def composed(sql: str) -> str:
    """The statement with the shared expressions it names: ``{end}``, ``{parent}`` …"""
    for name, expression in _SHARED.items():
        sql = sql.replace(f"{{{name}}}", expression)
    return sql


class Snapshot:
    """What the modules of this engine read through."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.schema = Schema.of(reader.tables)

    def rows(self, sql: str, params: Params | None = None) -> list[Row]:
        """The rows of a statement that names the newest schema's columns."""
        return self.reader.rows(self.schema.fit(sql), params)

    def rows_of(self, sql: str, ids: Sequence[str], params: Params | None = None) -> Iterator[Row]:
        """The rows of a statement with ``IN {ids}``, for any number of ids."""
        for start in range(0, len(ids), CHUNK):
            chunk: dict[str, Value] = {f"id{n}": run_id for n, run_id in enumerate(ids[start : start + CHUNK])}
            names = ", ".join(f":{name}" for name in chunk)
            yield from self.rows(sql.replace("{ids}", f"({names})"), chunk | dict(params or {}))

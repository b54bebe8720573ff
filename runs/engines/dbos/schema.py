"""Which tables and columns a DBOS file has, and SQL fitted to them: what is not there reads as NULL.

Versions decide nothing: Python and Go number their migrations differently below 100, and a file may be ahead of us.
So every statement names the columns of the newest schema, through aliases that mean one table each, and
``Schema.fit`` rewrites it.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from runs.records import Revision
from runs.sources.base import Columns

ALIASES = {
    "s": "workflow_status",
    "p": "workflow_status",  # another run beside s: its child, the one it was forked from
    "i": "workflow_input",
    "r": "workflow_output",
    "o": "operation_outputs",
    "f": "operation_outputs",  # the same step of the run that s was forked from
    "n": "notifications",
    "v": "workflow_events",
    "h": "workflow_events_history",
    "t": "streams",
    "x": "transaction_outputs",
    "w": "workflow_schedules",
    "q": "queues",
    "a": "application_versions",
}
_COLUMN = re.compile(rf'(?<![\w.\'{{])([{"".join(ALIASES)}])\.("?)(\w+)\2')
_JOIN = re.compile(r"^\s*LEFT JOIN \{schema\}(\w+) .*\n?", re.MULTILINE)

KEYS = {
    "dbos_migrations": ("version",),
    "workflow_status": ("workflow_uuid", "status", "created_at"),
    "operation_outputs": ("workflow_uuid", "function_id"),
}
# What migration 1 has and no later one has dropped, as far as it is read here.
NEEDED = {
    "workflow_status": (
        *("name", "executor_id", "updated_at", "started_at_epoch_ms", "recovery_attempts", "inputs", "output", "error"),
        *("application_version", "class_name", "config_name", "queue_name", "deduplication_id", "priority"),
        *("workflow_timeout_ms", "workflow_deadline_epoch_ms"),
    ),
    "operation_outputs": ("function_name", "output", "error", "child_workflow_id"),
    "notifications": ("destination_uuid", "topic", "message", "created_at_epoch_ms", "message_uuid"),
    "workflow_events": ("workflow_uuid", "key", "value"),
    "streams": ("workflow_uuid", "key", "value", "offset"),
}

NEWEST = 125
# The release that first had a column, newest first. 3.4 added indexes only, so there its number tells.
MARKS = (
    ("3.2", "workflow_status", "creator_xid"),
    ("3.1", "notifications", "consumed_by_function_id"),
    ("3.0", "workflow_output", "output"),
    ("2.31", "queues", "partition_concurrency"),
    ("2.30", "workflow_status", "application_name"),
    ("2.29", "workflow_status", "is_debounced"),
    ("2.27", "workflow_status", "debounce_deadline_epoch_ms"),
    ("2.25", "workflow_status", "schedule_name"),
    ("2.23", "workflow_status", "completed_at"),
    ("2.20", "queues", "name"),
    ("2.16", "workflow_status", "was_forked_from"),
    ("2.15", "workflow_schedules", "last_fired_at"),
    ("2.14", "workflow_status", "serialization"),
    ("2.13", "workflow_schedules", "schedule"),
    ("2.11", "workflow_status", "parent_workflow_id"),
    ("2.8", "workflow_status", "owner_xid"),
    ("2.5", "workflow_events_history", "key"),
    ("2.4", "operation_outputs", "started_at_epoch_ms"),
    ("2.2", "workflow_status", "queue_partition_key"),
)
LATEST_BY_NUMBER = (125, "3.4")
FIRST = "1.13"
GO_TABLE = "event_dispatch_kv"
ONLY_1X = "transaction_outputs"


SCHEMAS_KEPT = 64
FITTED_KEPT = 2000  # statements; a list of ids makes one for each of its lengths


class Schema:
    """The tables and columns of one file."""

    _known: ClassVar[dict[int, "Schema"]] = {}

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self.tables = tables
        self._fitted: dict[str, str] = {}

    @classmethod
    def of(cls, tables: Mapping[str, Columns]) -> "Schema":
        """The schema of these tables, with the statements fitted to it so far. A reader gives the same tables for the same
        schema; while they are kept here, nothing else has their identity."""
        found = cls._known.get(id(tables))
        if found is None or found.tables is not tables:
            if len(cls._known) >= SCHEMAS_KEPT:
                cls._known.clear()
            found = cls._known[id(tables)] = cls(tables)
        return found

    @staticmethod
    def recognised(tables: Mapping[str, Columns]) -> bool:
        """Whether the three tables every DBOS release has are there, with their keys."""
        return all(table in tables and all(name in tables[table] for name in names) for table, names in KEYS.items())

    def has(self, table: str, column: str = "") -> bool:
        return table in self.tables and (not column or column in self.tables[table])

    @property
    def is_go(self) -> bool:
        return self.has(GO_TABLE)

    def fit(self, sql: str) -> str:
        """The statement with NULL for each missing column, and without each one-line LEFT JOIN of a missing table."""
        fitted = self._fitted.get(sql)
        if fitted is None:
            fitted = _JOIN.sub(lambda match: match[0] if self.has(match[1]) else "", sql)
            fitted = _COLUMN.sub(lambda match: match[0] if self.has(ALIASES[match[1]], match[3]) else "NULL", fitted)
            if len(self._fitted) >= FITTED_KEPT:
                self._fitted.clear()
            self._fitted[sql] = fitted
        return fitted

    def missing(self) -> list[str]:
        """What migration 1 had and this file has not: ``workflow_status.name``, ``table streams``."""
        found: list[str] = []
        for table, columns in NEEDED.items():
            if not self.has(table):
                found.append(f"table {table}")
            else:
                found.extend(f"{table}.{column}" for column in columns if not self.has(table, column))
        return found

    def release(self, version: int | None) -> str:
        """The first release with these columns: ``3.2``; by number only where columns don't tell."""
        number, newest = LATEST_BY_NUMBER
        found = next((release for release, table, column in MARKS if self.has(table, column)), FIRST)
        if found == MARKS[0][0] and version is not None and version >= number:
            return newest
        return found

    def revision(self, version: object) -> Revision:
        """The revision for the newest number in dbos_migrations."""
        number = version if isinstance(version, int) else None
        release = self.release(number)
        if self.is_go:
            label = f"migration {number}, dbos for Go"
        elif release == FIRST:
            label = f"migration {number}, dbos {'1.x' if self.has(ONLY_1X) else '2.0 or 2.1'}"
        else:
            label = f"migration {number}, dbos {release}"
        problems: list[str] = []
        if number is None:
            problems.append("dbos_migrations names no version.")
        elif number > NEWEST:
            label = f"migration {number}, newer than dbos {LATEST_BY_NUMBER[1]}"
            problems.append(
                f"Migration {number} is newer than {NEWEST}, the newest one known: what is new in it is not shown."
            )
        if missing := self.missing():
            problems.append(f"Missing: {', '.join(missing)}.")
        return Revision(text="" if number is None else str(number), label=label, problem=" ".join(problems))

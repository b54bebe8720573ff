"""Real databases with values in them that no engine writes: in any column of any table, STRICT or not."""

import json
import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

# Whoever forgets to escape makes an element, an attribute, or runs a template of it.
MARK = "\"'><x-pwn data-pwn=1 onclick=pwn()>{{7*191}}{% now 'Y' %}<script>pwn()</script><!--</textarea></title>&amp;`"
CONTROLS = "a\x00b\x1b[31mc\x07\r\n\x7f\x9b2Jd\u2028e"
BIDI = "abc\u202egnp.exe\u2066x\u2069\u200b\ufeff"

TEXTS: Mapping[str, object] = {
    "markup": MARK,
    "control characters": CONTROLS,
    "right to left": BIDI,
    "nothing": "",
    "10 kB": "né/" * 3400,
    "a path": "../../../etc/passwd%2F..%2f%00?x=1#y",
    "no UTF-8": b"caf\xe9 \xff\xfe \xc0\x80 \xf5\x80\x80\x80",  # stored as text
    "half characters": b"\xed\xa0\x80 and \xed\xbf\xbf",
    "digits": "9" * 10_000,
    "not a number": "NaN",
}
NUMBERS: Mapping[str, object] = {
    "year 300,000": 9_404_000_000_000_000,
    "before the year 1": -70_000_000_000_000,
    "one before 1970": -1,
    "the largest": 2**63 - 1,
    "the smallest": -(2**63),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "a fraction": 1763800000000.25,
    "nothing": None,
    "text": "yesterday",
    "bytes": b"\x00\xff" * 20,
    "an instant of the year 300,000": "300000-01-01 00:00:00+00:00",
    "an instant of the last day": "9999-12-31 23:59:59.999999+00:00",
    "an instant of the first day": "0001-01-01 00:00:00+00:00",
}
VALUES = {**TEXTS, **{f"number: {name}": value for name, value in NUMBERS.items()}}

# What makes a row findable at all. The names of runs are fouled by ``foul_ids``.
KEYS = frozenset(
    [
        "workflow_uuid",
        "status",
        "function_id",
        "execution_id",
        "version",
        "variant",
        "state",
        "json_value",
        "id",
        "destination_uuid",
        "child_workflow_id",
        "parent_workflow_id",
        "forked_from",
    ]
)


def columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every column of every table; before, what guards them is taken away."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA writable_schema=1")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'STRICT', '') WHERE type = 'table'")
    connection.execute("PRAGMA writable_schema=RESET")
    connection.execute("PRAGMA ignore_check_constraints=1")
    return connection.execute(
        """SELECT m.name, c.name FROM sqlite_master m, pragma_table_xinfo(m.name) c
           WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND c.hidden = 0 ORDER BY m.name, c.cid"""
    ).fetchall()


def foul(path: Path, value: object) -> int:
    """Puts the value into every column, but those in KEYS; how many columns took it. A long one into some rows."""
    where = "WHERE rowid % 16 = 0" if isinstance(value, str) and len(value) > 1000 else ""
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [(table, column) for table, column in columns(connection) if column not in KEYS]
        return sum(_put(connection, table, column, value, where) for table, column in names)


def foul_some(path: Path, chance: random.Random) -> None:
    """Puts some of VALUES into some rows of some columns, keys too."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, column in chance.choices(columns(connection), k=chance.randint(1, 12)):
            value = chance.choice(list(VALUES.values()))
            _put(connection, table, column, value, f"WHERE rowid % {chance.randint(1, 4)} = 0")


def foul_ids(path: Path, suffix: str) -> None:
    """Appends to every id of a run, wherever it is named."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, column in columns(connection):
            if (
                column in ("execution_id", "child_execution_id", "forked_from")
                or column.endswith("_uuid")
                or column in ("child_workflow_id", "parent_workflow_id")
            ):
                _put(connection, table, column, None, f"WHERE {column} IS NOT NULL", f"{column} || '{suffix}'")


def foul_json(path: Path, value: str) -> None:
    """Every text within the JSON of an Obelisk log, but its words for what happened."""

    def within(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: item if key in ("type", "kind") else within(item) for key, item in found.items()}
        if isinstance(found, list):
            return [within(item) for item in found]
        return value if isinstance(found, str) and not found[:4].isdigit() else found

    with closing(sqlite3.connect(path)) as connection, connection:
        columns(connection)
        connection.create_function("fouled", 1, lambda text: json.dumps(within(json.loads(text))))
        connection.execute("UPDATE t_execution_log SET json_value = fouled(json_value)")


def _put(
    connection: sqlite3.Connection, table: str, column: str, value: object, where: str = "", sql: str = ""
) -> bool:
    text = isinstance(value, bytes) and value in TEXTS.values()
    try:
        connection.execute(
            f'UPDATE OR IGNORE "{table}" SET "{column}" = {sql or ("CAST(:v AS TEXT)" if text else ":v")} {where}',
            {"v": value},
        )
    except (sqlite3.IntegrityError, sqlite3.OperationalError):  # a trigger, an index on an expression: not even SQLite
        return False
    return True

"""Rows as they lie in a table, column by column, for whoever has to see what is really there."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runs.records import Cell, Payload, Section
from runs.sources.base import Params, Reader, Value

COLUMNS = ("column", "stored value", "meaning")
MOST_CHARACTERS = 300  # of one value
MOST_ROWS = 20  # of one table
MOST_COLUMNS = 200

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE = """CASE WHEN typeof(t."{name}") IN ('text', 'blob') THEN substr(t."{name}", 1, :most) ELSE t."{name}" END,
  octet_length(t."{name}")"""
_ROWS = "SELECT {values} FROM {schema}{table} t WHERE {where} LIMIT :rows"

Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Table:
    """Some rows of one table: which they are, and what their columns mean.

    ``where`` is SQL over ``t`` and names the ``keys`` it needs. ``meaning`` is asked for each column with its value, cut
    after 300 characters; ``payload`` with its row and its size in bytes, for the columns that hold bodies.
    """

    name: str
    keys: tuple[str, ...]
    where: str
    meaning: Callable[[str, Value], Cell]
    payload: Callable[[str, Row, int], Payload | None]


def section(reader: Reader, table: Table, params: Params) -> Section | None:
    """The rows of a table; None where the table, a key or such a row is not there."""
    known = reader.tables.get(table.name, {})
    # Names that need more than quotes are no engine's.
    columns = [name for name in known if _NAME.fullmatch(name)][:MOST_COLUMNS]
    if not set(table.keys) <= set(columns):
        return None
    values = ", ".join(_VALUE.replace("{name}", name) for name in columns)
    sql = _ROWS.replace("{values}", values).replace("{table}", table.name).replace("{where}", table.where)
    found = reader.rows(sql, {**params, "most": MOST_CHARACTERS + 1, "rows": MOST_ROWS + 1})
    cells: list[tuple[Cell, ...]] = []
    for number, values_found in enumerate(found[:MOST_ROWS], start=1):
        row = dict(zip(columns, values_found[::2], strict=True))
        for name, size in zip(columns, values_found[1::2], strict=True):
            label = f"{name} ({number})" if len(found) > 1 else name
            cells.append((label, _stored(table, name, row, size), table.meaning(name, row[name])))
    note = f"The first {MOST_ROWS} rows are shown." if len(found) > MOST_ROWS else ""
    return Section(table.name, table.name, COLUMNS, tuple(cells), note) if cells else None


def _stored(table: Table, name: str, row: Row, size: Value) -> Cell:
    """The value as text, NULL as None; a body as the payload that it is."""
    value, length = row[name], size if isinstance(size, int) else 0
    if value is None:
        return None
    if isinstance(value, str | bytes) and (payload := table.payload(name, row, length)):
        return payload
    more = f"… ({length:,} bytes in all)"
    if isinstance(value, bytes):
        shown = value[: MOST_CHARACTERS // 2]
        return f"x'{shown.hex()}'" + (more if len(value) > len(shown) else "")
    if isinstance(value, str):
        return value[:MOST_CHARACTERS] + (more if len(value) > MOST_CHARACTERS else "")
    return repr(value)

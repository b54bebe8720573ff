"""Changes as SQL: as it runs, as a person reads it, as rows of JSON, and as what would take it back. No file is touched here."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.retry import Cell, Change, Clock, Copies, Copy, Delete, Insert, Now, RetryPlan, Update, count
from runs.sources.base import Value

Json = dict[str, object]
Bind = Callable[[Cell], str]  # what turns a cell into SQL

SHOWN = 2000  # characters or bytes of one value that the readable SQL writes out
RECORDED = 128  # of one value that a record of ours keeps as it is; longer ones are bodies
_BODY_STARTS = ("{", "[", '"')
_STATES = frozenset({"workflow_status", "t_state"})  # where the engines write that they took a run up
_TOUCHED = "durascope_touched"  # a table of the connection that takes back, gone with it


@dataclass(frozen=True, slots=True)
class Statement:
    """One change, ready to run. ``columns`` are those of an UPDATE, empty for an INSERT. It must change ``count`` rows."""

    sql: str
    values: Mapping[str, Value]
    table: str
    columns: tuple[str, ...] = ()
    count: int = 1


def statement(change: Change, moment: datetime, key: Sequence[str]) -> Statement:
    """The SQL of a change made at ``moment``. Of each row that it changes it returns the columns ``key``; empty: nothing."""
    bound: dict[str, Value] = {}

    def bind(cell: Cell) -> str:
        name = f"v{len(bound)}"
        bound[name] = cell.at(moment) if isinstance(cell, Now) else cell
        return f":{name}"

    sql = _written(change, bind)
    if key:
        sql = f"{sql} RETURNING {', '.join(map(_name, key))}"
    columns = tuple(change.values) if isinstance(change, Update) else ()
    return Statement(sql, bound, change.table, columns, count([change]))


def deletion(what: Delete, key: Sequence[str]) -> Statement:
    """The SQL that deletes one row, and returns its key."""
    bound: dict[str, Value] = {}

    def bind(cell: Cell) -> str:
        name = f"v{len(bound)}"
        bound[name] = None if isinstance(cell, Now) else cell
        return f":{name}"

    where = _matching(what.where, bind)
    sql = f"DELETE FROM {_name(what.table)} WHERE {where} RETURNING {', '.join(map(_name, key))}"  # noqa: S608
    return Statement(sql, bound, what.table)


def old_values(change: Update) -> tuple[str, Mapping[str, Value]]:
    """A SELECT of what an update is about to replace, in the order of its values."""
    bound: dict[str, Value] = {}

    def bind(cell: Cell) -> str:
        name = f"v{len(bound)}"
        bound[name] = None if isinstance(cell, Now) else cell
        return f":{name}"

    columns = ", ".join(map(_name, change.values))
    return f"SELECT {columns} FROM {_name(change.table)} WHERE {_matching(change.where, bind)}", bound  # noqa: S608


def readable(plan: RetryPlan) -> str:
    """The plan as SQL to copy. It does what the append does, at the moment when it is run, unless a value of it is longer than
    SHOWN: that is cut, and comments at the beginning and beside it say so."""
    if not plan.changes:
        return ""
    cut = any(_is_cut(value) for change in plan.changes for value in _values(change))
    note = [f"-- Only to be read: values longer than {SHOWN:,} characters or bytes are cut."] if cut else []
    lines = [f"{_written(change, _literal, newline=chr(10))};" for change in plan.changes]
    return "\n".join((*note, "BEGIN IMMEDIATE;", *lines, "COMMIT;"))


def rows(plan: RetryPlan) -> dict[str, list[dict[str, Any]]]:
    """What is changed, by table: ``change`` (insert, copy, update), the ``key`` of the row ``of`` a table that is copied or
    updated, its new ``values``, the text that is ``exchanged`` within columns that are copied but for that, and the names of those
    that are ``copied`` as they are. Several that are copied alike are one, with what
    their keys have in common, and the rest of ``each`` key: else there is none in it."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for change in plan.changes:
        tables.setdefault(change.table, []).append(_described(change))
    return tables


def taking_back(done: Sequence[Mapping[str, Any]]) -> str:
    """SQL that takes back what the rows of an append say, newest first; for a person to run. It does nothing once an engine, or
    somebody, has changed what was appended."""
    if not done:
        return ""
    still = f"NOT EXISTS (SELECT 1 FROM {_TOUCHED})"  # noqa: S608 - text for a person
    lines = [
        "-- Looked at before anything is changed: if any of it is not as it was appended, nothing is taken back.",
        f"CREATE TEMP TABLE {_TOUCHED} (yes);",
        *(f"INSERT INTO {_TOUCHED} SELECT 1 WHERE NOT EXISTS ({found});" for found in _left(done)),
    ]
    for row in reversed(done):
        key = _place(row)
        table = _name(str(row["table"]))
        old = row.get("old")
        if isinstance(old, Mapping):
            values = ", ".join(f"{_name(str(name))} = {_plain_literal(value)}" for name, value in old.items())
            lines.append(f"UPDATE {table} SET {values} WHERE {key} AND {still};")  # noqa: S608 - text for a person
        else:
            lines.append(f"DELETE FROM {table} WHERE {key} AND {still};")  # noqa: S608 - text for a person
    return "\n".join(("BEGIN IMMEDIATE;", *lines, f"DROP TABLE temp.{_TOUCHED};", "COMMIT;"))


def new_values(change: Change, moment: datetime) -> dict[str, Value]:
    """The values that a change made at ``moment`` sets itself, by column; those that are copied are not among them."""
    cells = change.changed if isinstance(change, Copy | Copies) else change.values
    return {name: cell.at(moment) if isinstance(cell, Now) else cell for name, cell in cells.items()}


def recorded(value: Value) -> object:
    """A value for a record of ours: numbers and short words as they are, bodies by their size and SHA-256."""
    if isinstance(value, str):
        body = len(value) > RECORDED or value.startswith(_BODY_STARTS)
        return _fingerprint(value.encode("utf-8", "surrogatepass")) if body else value
    return _fingerprint(value) if isinstance(value, bytes) else value


def _fingerprint(data: bytes) -> Json:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def _written(change: Change, bind: Bind, newline: str = " ") -> str:
    table = _name(change.table)
    match change:
        case Insert(values=values):
            columns = ", ".join(map(_name, values))
            return f"INSERT INTO {table} ({columns}){newline}VALUES ({', '.join(map(bind, values.values()))})"
        case Update(where=where, values=values):
            new = ", ".join(f"{_name(name)} = {bind(cell)}" for name, cell in values.items())
            return f"UPDATE {table}{newline}SET {new}{newline}WHERE {_matching(where, bind)}"
        case Copy(key=key, source=source):
            parts = list(_copied(change, bind))
            columns = ", ".join(_name(name) for name, _ in parts)
            selected = ", ".join(expression for _, expression in parts)
            origin = _name(source or change.table)
            original = f"SELECT {selected}{newline}FROM {origin} WHERE {_matching(key, bind)}"
            return f"INSERT INTO {table} ({columns}){newline}{original}"
        case Copies(key=key):
            parts = list(_copied(change, bind))
            columns = ", ".join(_name(name) for name, _ in parts)
            selected = ", ".join(expression for _, expression in parts)
            place = " AND ".join(filter(None, (_matching(key, bind), _between(change, bind))))
            return f"INSERT INTO {table} ({columns}){newline}SELECT {selected}{newline}FROM {table} WHERE {place}"


def _between(change: Copies, bind: Bind) -> str:
    if change.between is None:
        return ""
    name, first, last = change.between
    return f"{_name(name)} BETWEEN {bind(first)} AND {bind(last)}"


def _copied(change: Copy | Copies, bind: Bind) -> Iterator[tuple[str, str]]:
    """Each column of the new row with the expression that makes its value."""
    for name in dict.fromkeys((*change.columns, *change.within)):
        if name in change.changed:
            continue
        column = _name(name)
        if name in change.within:
            old, new = map(bind, change.replaced)
            yield name, f"CASE typeof({column}) WHEN 'text' THEN replace({column}, {old}, {new}) ELSE {column} END"
        else:
            yield name, column
    for name, cell in change.changed.items():
        yield name, bind(cell)


def _matching(where: Mapping[str, Value], bind: Bind) -> str:
    return " AND ".join(f"{_name(name)} IS {bind(value)}" for name, value in where.items())


def _place(row: Mapping[str, Any]) -> str:
    """The condition that names what was changed: one row, or those that were copied together."""
    name, first, last = row.get("between") or ("", None, None)
    between = f"{_name(name)} BETWEEN {_plain_literal(first)} AND {_plain_literal(last)}" if name else ""
    return " AND ".join(filter(None, (_conditions(row["key"]), between)))


def _conditions(key: Mapping[str, object]) -> str:
    return " AND ".join(f"{_name(str(name))} IS {_plain_literal(value)}" for name, value in key.items())


def _left(done: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A SELECT for each row that says where a run stands, which finds it only as it was left. Where no such row was changed, for
    every changed row. What is recorded by its hash alone is not compared."""
    left: dict[str, dict[str, object]] = {}
    for row in [
        row for row in done if row["table"] in _STATES
    ] or done:  # one that was changed twice counts as changed last
        place = f"SELECT 1 FROM {_name(str(row['table']))} WHERE {_place(row)}"  # noqa: S608 - text for a person
        written = row.get("values", {}).items()
        left.setdefault(place, {}).update({name: value for name, value in written if not isinstance(value, Mapping)})
    for place, values in left.items():
        yield f"{place} AND {_conditions(values)}" if values else place


def _described(change: Change) -> Json:
    facts: Json = {"of": change.table, "key": {}, "each": [], "values": {}, "exchanged": None, "copied": []}
    match change:
        case Insert(values=values):
            return {"change": "insert", **facts, "values": _cells(values)}
        case Update(where=where, values=values):
            return {"change": "update", **facts, "key": _cells(where), "values": _cells(values)}
        case Copy(key=key, changed=changed, source=source):
            facts |= {"of": source or change.table, "key": _cells(key), "values": _cells(changed)} | _taken(change)
            return {"change": "copy", **facts}
        case Copies(key=key, names=names, each=each, changed=changed):
            facts |= {"key": _cells(key), "values": _cells(changed)} | _taken(change)
            facts["each"] = [_cells(dict(zip(names, rest, strict=True))) for rest in each]
            return {"change": "copy", **facts}


def _taken(change: Copy | Copies) -> Json:
    """What the new row, or each of the new rows, has of its original."""
    within = [name for name in change.within if name not in change.changed]
    old, new = change.replaced
    return {
        "exchanged": {"within": within, "old": old, "new": new} if within else None,
        "copied": [name for name in change.columns if name not in change.changed and name not in within],
    }


def _cells(values: Mapping[str, Cell]) -> Json:
    return {name: _cell(value) for name, value in values.items()}


def _cell(value: Cell) -> object:
    if isinstance(value, Now):
        template = {"text": value.template} if value.template else {}
        return {"$type": "now", "clock": value.clock.value, "later": value.later.total_seconds(), **template}
    return {"$type": "bytes", **_fingerprint(value)} if isinstance(value, bytes) else value


def _values(change: Change) -> Iterator[Cell]:
    """Every value that the SQL of a change writes out."""
    match change:
        case Insert(values=values):
            yield from values.values()
        case Update(where=where, values=values):
            yield from (*where.values(), *values.values())
        case Copy(key=key, changed=changed):
            yield from (*key.values(), *changed.values())
        case Copies(key=key, changed=changed, between=between):
            yield from (*key.values(), *changed.values(), *(between or ()))


def _is_cut(cell: Cell) -> bool:
    value = cell.template if isinstance(cell, Now) else cell
    return isinstance(value, str | bytes) and len(value) > SHOWN


def _literal(cell: Cell) -> str:
    return _now(cell) if isinstance(cell, Now) else _plain_literal(cell)


def _plain_literal(value: object) -> str:
    """As SQLite reads it back."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        cut = f" /* cut: {len(value):,} bytes in all */" if len(value) > SHOWN else ""
        return f"x'{value[:SHOWN].hex()}'{cut}"
    if isinstance(value, str):
        cut = f" /* cut: {len(value):,} characters in all */" if len(value) > SHOWN else ""
        # NUL would end the text in most clients; a line of a person's terminal must stay one.
        quoted = value[:SHOWN].replace("'", "''").replace("\0", "'||char(0)||'")
        return f"'{quoted}'{cut}"
    return repr(value)


def _now(now: Now) -> str:
    seconds = now.later.total_seconds()
    later = f", '{seconds:+.3f} seconds'" if seconds else ""
    match now.clock:
        case Clock.EPOCH_MS:
            # Not unixepoch(…, 'subsec'): before SQLite 3.42 that is NULL.
            return f"CAST((julianday('now'{later}) - 2440587.5) * 86400000 AS INTEGER)"
        case Clock.COLUMN:
            return f"strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now'{later})"
        case Clock.SECONDS:
            return f"datetime('now'{later})"
        case Clock.TEXT:
            instant = f"strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'{later})"
            return f"replace({_plain_literal(now.template)}, '{{now}}', {instant})"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

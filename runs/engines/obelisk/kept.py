"""The rows of children that ended, with all below them, copied for a fork: as they are, but for the id of the new run.

What belongs to an execution lies together in each table, in the order of the ids, and so does what is derived from it: whatever
is copied between two executions that are not is one statement, however much it is.
"""

from collections.abc import Collection, Iterator
from itertools import groupby

from runs.engines.obelisk import rows
from runs.engines.obelisk.shapes import text, whole
from runs.retry import Change, Copies
from runs.sources.base import Reader, Value

# Derived from the top-level one: '/' follows '.' in ASCII.
_LOG = """SELECT l.execution_id, l.version FROM {schema}t_execution_log l
WHERE l.execution_id > :id || '.' AND l.execution_id < :id || '/' ORDER BY l.execution_id, l.version"""
_STATE = """SELECT s.execution_id FROM {schema}t_state s
WHERE s.execution_id > :id || '.' AND s.execution_id < :id || '/' ORDER BY s.execution_id"""
_RESPONSE = """SELECT r.execution_id, r.id, r.seq, r.child_execution_id FROM {schema}t_join_set_response r
WHERE r.execution_id > :id || '.' AND r.execution_id < :id || '/' ORDER BY r.execution_id, r.seq, r.id"""

_KEYS = {rows.LOG: ("execution_id", "version"), rows.STATE: ("execution_id",), rows.RESPONSE: ("id",)}
_COLUMNS = {
    rows.LOG: (rows.LOG_COLUMNS, rows.WITHIN_LOG),
    rows.STATE: (rows.STATE_COLUMNS, rows.WITHIN_STATE),
    rows.RESPONSE: (rows.RESPONSE_COLUMNS, rows.WITHIN_RESPONSE),
}

Key = tuple[Value, ...]


def copied(reader: Reader, top: str, ids: Collection[str], ulids: tuple[str, str]) -> Iterator[Change]:
    """Every row of these executions, which are derived from ``top``; of their responses those to one another, numbered anew where
    others lie between them."""
    if not ids:
        return
    for table, sql in ((rows.LOG, _LOG), (rows.STATE, _STATE)):
        found = reader.rows(sql, {"id": top})
        for kept, some in groupby(found, lambda row: row[0] in ids):
            if kept:
                yield _together(table, [(text(row[0]), row) for row in some], ulids)
    whole_owners: list[tuple[str, Key]] = []
    for owner, some in groupby(reader.rows(_RESPONSE, {"id": top}), lambda row: text(row[0])):
        answers = [(whole(key) or 0, seq, answered is None or answered in ids) for _, key, seq, answered in some]
        if owner in ids and all(kept and seq == number for number, (_, seq, kept) in enumerate(answers, 1)):
            whole_owners += [(owner, (key,)) for key, _, _ in answers]
            continue
        if whole_owners:
            yield _together(rows.RESPONSE, whole_owners, ulids)
            whole_owners = []
        if owner in ids:
            for number, key in enumerate((key for key, _, kept in answers if kept), 1):
                yield rows.copied_response(key, ulids, number)
    if whole_owners:
        yield _together(rows.RESPONSE, whole_owners, ulids)


def _together(table: str, found: list[tuple[str, Key]], ulids: tuple[str, str]) -> Copies:
    """All rows of the table that belong to the executions from the first to the last of these, given with their keys."""
    columns, within = _COLUMNS[table]
    between = "execution_id", found[0][0], found[-1][0]
    return Copies(table, {}, _KEYS[table], tuple(key for _, key in found), columns, {}, between, within, ulids)

"""Schema and configuration of both files side by side: revision, tables and columns, deployments, versions, queues, schedules."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from runs.compare.records import Setting
from runs.records import Cell, Revision, Section
from runs.sources.base import Columns

# What of a section is configuration; the rest (counts, instants, the newest run) changes by itself.
_CONFIGURED: Mapping[str, tuple[str, ...]] = {
    "components": ("type", "version", "functions"),
    "crons": (),
    "deployments": ("status", "stored by", "description"),
    "migrations": ("name",),
    "queues": ("limits", "application"),
    "schedules": ("workflow", "cron", "time zone", "status", "queue", "application"),
    "versions": ("application",),
}
_THERE = "there"


@dataclass(frozen=True, slots=True)
class Described:
    """What a database says of itself beside its runs."""

    revision: Revision
    tables: Mapping[str, Columns]
    sections: tuple[Section, ...]


def settings(a: Described, b: Described) -> tuple[Setting, ...]:
    """Everything on either side, by kind and name; what is the same on both as well. Columns only of tables that both have."""
    both = a.tables.keys() & b.tables.keys()
    one, other = _settings(a, both), _settings(b, both)
    keys = sorted(
        one.keys() | other.keys(), key=lambda key: (_ORDER.index(key[0]) if key[0] in _ORDER else len(_ORDER), key)
    )
    return tuple(Setting(kind, name, one.get((kind, name), ""), other.get((kind, name), "")) for kind, name in keys)


_ORDER = ("schema", "tables", "columns")


def _settings(described: Described, both: Collection[str]) -> dict[tuple[str, str], str]:
    found = {("schema", "revision"): described.revision.text}
    for table, columns in described.tables.items():
        found["tables", table] = _THERE
        for column, declared in columns.items() if table in both else ():
            found["columns", f"{table}.{column}"] = declared or _THERE
    for section in described.sections:
        if (configured := _CONFIGURED.get(section.key)) is None:
            continue
        places = [place for place, column in enumerate(section.columns) if column in configured]
        for row in _in_force(section):
            words = [f"{section.columns[place]} {text}" for place in places if (text := _text(row[place]))]
            found[section.key, _text(row[0])] = ", ".join(words) or _THERE
    return found


def _in_force(section: Section) -> Sequence[tuple[Cell, ...]]:
    """A component is listed for every deployment that had it: those of the active one, else of the newest, the first."""
    if section.key != "components" or not section.rows:
        return section.rows
    deployment, status = section.columns.index("deployment"), section.columns.index("deployment status")
    active = next((row for row in section.rows if row[status] == "active"), section.rows[0])
    return [row for row in section.rows if row[deployment] == active[deployment]]


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)

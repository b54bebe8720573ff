"""Schema and configuration of both files side by side: revision, tables and columns, deployments, versions, queues, schedules."""

from collections.abc import Mapping
from dataclasses import dataclass

from runs.compare.records import Setting
from runs.records import Cell, Revision, Section
from runs.sources.base import Columns

# What of a section is configuration; the rest (counts, instants, the newest run) changes by itself.
_CONFIGURED: Mapping[str, tuple[str, ...]] = {
    "components": ("type", "version", "functions", "deployment status"),
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
    """Everything on either side, by kind and name; what is the same on both as well."""
    one, other = _settings(a), _settings(b)
    keys = sorted(
        one.keys() | other.keys(), key=lambda key: (_ORDER.index(key[0]) if key[0] in _ORDER else len(_ORDER), key)
    )
    return tuple(Setting(kind, name, one.get((kind, name), ""), other.get((kind, name), "")) for kind, name in keys)


_ORDER = ("schema", "tables", "columns")


def _settings(described: Described) -> dict[tuple[str, str], str]:
    found = {("schema", "revision"): described.revision.text}
    for table, columns in described.tables.items():
        found["tables", table] = _THERE
        for column, declared in columns.items():
            found["columns", f"{table}.{column}"] = declared or _THERE
    for section in described.sections:
        if (configured := _CONFIGURED.get(section.key)) is None:
            continue
        places = [place for place, column in enumerate(section.columns) if column in configured]
        for row in section.rows:
            words = [f"{section.columns[place]} {text}" for place in places if (text := _text(row[place]))]
            found[section.key, _text(row[0])] = ", ".join(words) or _THERE
    return found


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)

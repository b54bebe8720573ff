"""The engines that Durascope can read. Adding one: a folder, and a line here (README.md says how)."""

from collections.abc import Mapping

from runs.engines.base import Engine
from runs.engines.dbos import Dbos
from runs.engines.obelisk import Obelisk
from runs.errors import UnknownSchema
from runs.sources.base import Columns, Reader

ENGINES: tuple[type[Engine], ...] = (Dbos, Obelisk)


def engine_for(reader: Reader) -> Engine:
    """The engine whose schema this is. Raises UnknownSchema naming the tables found."""
    for engine in ENGINES:
        if engine.recognises(reader.tables):
            return engine(reader)
    raise UnknownSchema(
        _found(reader.tables),
        remedy=f"Durascope reads databases of {' and '.join(engine.label for engine in ENGINES)}.",
    )


def _found(tables: Mapping[str, Columns]) -> str:
    if not tables:
        return "It has no tables: the file is empty."
    names = sorted(tables)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"Tables: {', '.join(names[:20])}{more}."

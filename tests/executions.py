"""What the tests of the Obelisk engine share: asking it, and walking what it answers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from runs.engines.obelisk import Obelisk
from runs.filters import Filter
from runs.records import Cursor, Payload, Run
from runs.sources.sqlite import SqliteSource

T = TypeVar("T")
Ask = Callable[[str, Callable[[Obelisk], Any]], Any]  # of a database's name and what to ask
Sql = Callable[..., list[Any]]  # of a database's name, a statement and its parameters

INFINITE = 100_000


def ask(path: Path, work: Callable[[Obelisk], T]) -> T:
    return SqliteSource(path, "db").read(lambda reader: work(Obelisk(reader)))


def every_run(engine: Obelisk, where: Filter | None = None, size: int = 100) -> Iterator[Run]:
    after: Cursor | None = None
    while True:
        page = engine.runs(where or Filter(), after, size)
        yield from page.rows
        after = page.next
        if after is None:
            return


def ids(engine: Obelisk, where: Filter) -> set[str]:
    return {run.id for run in every_run(engine, where)}


def payloads_of(engine: Obelisk, run_id: str) -> Iterator[Payload]:
    slots = [engine.run(run_id).payloads, *(step.payloads for step in engine.steps(run_id))]
    for slot in slots:
        yield from (payload for payload in (slot.input, slot.output, slot.error) if payload)
    yield from (event.payload for event in engine.events(run_id, None, INFINITE).rows if event.payload)
    for section in engine.extras(run_id):
        yield from (cell for row in section.rows for cell in row if isinstance(cell, Payload))

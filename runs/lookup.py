"""From an address to what it asks for: a run id from its segment; a list's filters, place and length from a query."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from runs import filters
from runs.addresses import MAX_ENCODED, decode, encode, is_digest
from runs.engines.base import Engine
from runs.errors import BadCursor, BadFilter, RunNotFound
from runs.filters import Filter
from runs.paging import read_cursor, write_cursor
from runs.records import Cursor

Query = Mapping[str, Sequence[str]]

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_BYTES_A_CHARACTER = 3  # what addresses.encode writes at most for one byte


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list of runs was asked for: which runs, from where, how many."""

    where: Filter
    after: str | None
    limit: int


def run_id(engine: Engine, segment: str) -> str:
    """The run id that an address's segment stands for; whether there is such a run is the engine's to say.

    Raises RunNotFound for a segment that is none of ours, and for a digest that no long id has.
    """
    if is_digest(segment):
        for candidate in engine.long_ids(MAX_ENCODED // _BYTES_A_CHARACTER):
            if encode(candidate) == segment:
                return candidate
        raise RunNotFound("No long run id has this digest.")
    try:
        return decode(segment)
    except ValueError as error:
        raise RunNotFound(f"The address is {error}.") from None


def cursor(engine: Engine, text: str | None) -> Cursor | None:
    """The place in a list of runs that ``write_cursor`` wrote, long ids included; None for empty. Raises BadCursor."""
    try:
        return read_cursor(text, lambda segment: run_id(engine, segment))
    except RunNotFound:
        raise BadCursor("The run it names has gone.", remedy="Start again from the first page.") from None


def list_query(query: Query, *, also: Collection[str] = ()) -> ListQuery:
    """The filters, place and length of a list of runs; ``also`` names further parameters that the caller reads itself.

    Raises BadFilter naming the parameter that is unknown or can't be understood.
    """
    refuse_unknown(query, (*filters.NAMES, "limit", "after", *also))
    return ListQuery(
        where=Filter.from_query(query),
        after=last(query, "after"),
        limit=page_length(query),
    )


def page_length(query: Query) -> int:
    """How many rows a list was asked for. Raises BadFilter."""
    return whole_number(query, "limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)


def refuse_unknown(query: Query, known: Collection[str]) -> None:
    """Raises BadFilter naming the first parameter that isn't known, and those that are."""
    for name in query:
        if name not in known:
            raise BadFilter(
                f"There is no parameter {name[:80]!r} here.",
                remedy=f"Known: {', '.join(known)}." if known else "None is known.",
            )


def whole_number(query: Query, name: str, *, default: int, least: int, most: int) -> int:
    """A parameter's number, or the default where it isn't given. Raises BadFilter for anything but least to most."""
    text = last(query, name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise BadFilter(f"{name}={text[:80]!r} is not a whole number from {least:,} to {most:,}.")
    return int(text)


def last(query: Query, name: str) -> str | None:
    """The last value given for a parameter; None where there is none, or only an empty one."""
    values = query.get(name, ())
    return (values[-1] or None) if values else None


def read_position(text: str | None) -> int | None:
    """The position that ``write_position`` wrote; None for empty. Raises BadCursor for anything else."""
    place = read_cursor(text)
    if place is None:
        return None
    if not isinstance(place.at, int) or place.id:
        raise BadCursor(remedy="Start again from the first page.")
    return place.at


def write_position(place: Cursor | None) -> str | None:
    """The place in a run's history as opaque text; None stays None."""
    return None if place is None else write_cursor(Cursor(at=place.at, id=""))

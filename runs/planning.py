"""What may be retried here, and what a retry would append: the plan as a person sees it. Nothing is written.

Whether a database's runs may be retried is said by ``DURASCOPE_RETRY`` alone.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from runs import appending, engine_servers
from runs.catalogue import Database
from runs.errors import BadFilter, NotAllowed
from runs.retry import Operation, Options, RetryPlan
from runs.sources.base import Opened, Reader
from runs.sources.files import look
from runs.sources.openers import Openers, openers

PIN_LENGTH = 200
STARTS = ("auto", "failed-only")
CHILDREN = ("deep", "whole")


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan as a person sees it. ``digest`` is what is confirmed: the plan, and which file it is for.

    ``opened`` is how the database was read; ``held_by`` the processes that have it open, None where that can't be told.
    """

    plan: RetryPlan
    digest: str
    allowed: bool
    opened: Opened
    held_by: Openers | None


def allowed(slug: str) -> bool:
    """Whether this process may retry runs of the database."""
    return slug in (name.strip() for name in os.environ.get("DURASCOPE_RETRY", "").split(","))


def require_allowed(slug: str) -> None:
    """Raises NotAllowed."""
    if not allowed(slug):
        raise NotAllowed(f"Retrying is off for {slug}.", remedy=f"Start Durascope with --allow-retry {slug}.")


def options(operation: str = "", start: str = "", children: str = "", pin: str = "") -> Options:
    """Options from words; an empty one is its default. Raises BadFilter."""
    if operation not in ("", "auto", *Operation):
        raise BadFilter(f"operation={operation[:40]!r} is not one of auto, {', '.join(Operation)}.")
    if start not in ("", *STARTS) and not (start.isascii() and start.isdecimal() and len(start) < 10):
        raise BadFilter(f"from={start[:40]!r} is not one of {', '.join(STARTS)}, nor a step's number.")
    if children not in ("", *CHILDREN):
        raise BadFilter(f"children={children[:40]!r} is not one of {', '.join(CHILDREN)}.")
    if len(pin) > PIN_LENGTH:
        raise BadFilter(f"pin is {len(pin):,} characters long; the limit is {PIN_LENGTH}.")
    return Options(
        operation=None if operation in ("", "auto") else Operation(operation),
        start=start or "auto",
        children=children or "deep",
        pin=pin,
    )


def fitted(database: Database, chosen: Options) -> Options:
    """The options for this database: held back where the server is known that can check it."""
    return replace(chosen, held=engine_servers.address_of(database.slug) is not None)


def plan(database: Database, run_id: str, chosen: Options) -> Planned:
    """What a retry would append, or why there can be none. Nothing is written. Raises RunNotFound, Unreadable."""
    found, digest, opened = made(database, run_id, fitted(database, chosen))
    return Planned(found, digest, allowed(database.slug), opened, openers(Path(database.source.place)))


def confirmable(database: Database, found: RetryPlan, opened: Opened) -> tuple[RetryPlan, str]:
    """The plan that was made of what was read in this way, not eligible where its file can't be appended to; and what is confirmed:
    the plan, and which file it is for. Raises Unreadable."""
    path = Path(database.source.place)
    reason = appending.unwritable(path)
    if opened is Opened.COPY:
        reason = (
            "What was read is a recovered copy of the file. Start its engine, or recover the file with SQLite, first."
        )
    if found.eligible and reason:
        found = replace(found, eligible=False, reason=reason)
    return found, appending.confirmation(found, look(path).identity)


def made(database: Database, run_id: str, chosen: Options) -> tuple[RetryPlan, str, Opened]:
    """The plan with these very options, what is confirmed of it, and how the database was read. Raises RunNotFound, Unreadable."""

    def work(reader: Reader) -> tuple[RetryPlan, Opened]:
        return appending.plan_by(reader, run_id, chosen), reader.opened

    found, opened = database.source.read(work)
    return *confirmable(database, found, opened), opened

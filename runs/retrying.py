"""Retries from first look to last: plan, append, follow. What pages, the JSON interface, the command and jobs all go through.

Whether a database's runs may be retried is said by ``DURASCOPE_RETRY`` alone. Whatever is confirmed is recorded before it is
appended (runs.state), and appended by a process of its own (runs.appending).
"""

import os
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from errno import ENOSPC
from pathlib import Path

from runs import appending, clock, engine_servers, errors, releasing
from runs.appending import Appender
from runs.catalogue import Database
from runs.engines.base import Engine
from runs.errors import (
    AlreadyRetried,
    AppendRefused,
    AppendUnsure,
    BadFilter,
    BadReason,
    CopyNotSaved,
    DiskFull,
    DurascopeError,
    NotAllowed,
    NotEligible,
)
from runs.home import folder
from runs.records import Run
from runs.retry import FollowUp, Operation, Options, Retryable, RetryPlan
from runs.sources.backups import save
from runs.sources.base import Opened, Reader
from runs.sources.files import look
from runs.sources.openers import openers
from runs.state import retries, waiting
from runs.state.models import Progress, Retry
from runs.state.place import is_kept

REASON_LENGTH = 2000
COPIES = "copies"  # the folder of saved databases, in our state
STARTS = ("auto", "failed-only")
CHILDREN = ("deep", "whole")
_ANSWER_BY = timedelta(seconds=appending.SECONDS + 15)  # a process that has not answered by then never will


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan as a person sees it. ``digest`` is what is confirmed: the plan, and which file it is for.

    ``opened`` is how the database was read; ``held_by`` the processes that have it open (id, name), None where that can't be told.
    """

    plan: RetryPlan
    digest: str
    allowed: bool
    opened: Opened
    held_by: tuple[tuple[int, str], ...] | None


@dataclass(frozen=True, slots=True)
class Followed:
    """How an appended retry fares: the run that goes on, and whether the engine took it up."""

    retry: Retry
    run: Run | None
    follow_up: FollowUp


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

    chosen = fitted(database, chosen)

    def work(reader: Reader) -> tuple[RetryPlan, Opened]:
        return appending.plan_by(reader, run_id, chosen), reader.opened

    found, opened = database.source.read(work)
    found, digest = confirmable(database, found, opened)
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


def append(
    database: Database,
    run_id: str,
    chosen: Options,
    digest: str,
    reason: str,
    who: str,
    where: str,
    *,
    key: str = "",
    by_owner: bool = False,
    resumes: bool = False,
    appender: Appender | None = None,
) -> Retry:
    """Appends the confirmed plan and records it; the same ``key`` gives the first answer again. In a terminal,
    whoever has the file at hand (``by_owner``) needs no permission of a server. ``resumes``: no other process can be
    answering the same key, so that one which was begun was interrupted. ``appender``: the database's, where one is kept.

    Raises NotAllowed, BadReason, KeyUsed, AlreadyRetried, AppendRefused (changed meanwhile), NotEligible, DatabaseLocked, DiskFull,
    Unreadable: nothing was appended then. AppendUnsure: it may have been.
    """
    if not by_owner:
        require_allowed(database.slug)
    chosen = fitted(database, chosen)
    asked = retries.Request(
        database=database.slug,
        place=database.source.place,
        run=run_id,
        options=chosen,
        digest=digest,
        reason=reason_of(reason),
        who=who,
        where=where,
        key=key,
    )
    retry, is_new = retries.begin(asked)
    if resumes and not is_new and retry.progress == Progress.ASKED:
        retry = _settled(database, retry)
        if retry.progress == Progress.FAILED:
            retry, is_new = retries.begin(asked)
    done = _appended(database, retry, chosen, appender) if is_new else _first_answer(retry)
    return _released(database, done) if is_new or resumes else done


def release(database: Database, held: Retry, who: str, where: str, *, by_owner: bool = False) -> Retry:
    """Has the engine's replay check a retry that waits, and releases it, or deletes it again; whatever else it is, it stays.
    Raises NotAllowed."""
    if not by_owner:
        require_allowed(database.slug)
    return releasing.go_on(database, held, (who, where))


def reason_of(text: str) -> str:
    """A reason as it is recorded. Raises BadReason."""
    reason = text.strip()
    if not reason:
        raise BadReason("Say why, for those who read the audit.")
    if len(reason) > REASON_LENGTH:
        raise BadReason(f"This one has {len(reason):,} characters; {REASON_LENGTH:,} are kept.")
    return reason


def retry(number: int, database: Database | None = None) -> Retry:
    """A recorded retry; with its database, one whose process was killed is looked into first. Raises RetryNotFound."""
    found = retries.retry_of(number)
    if database and found.progress == Progress.ASKED and found.asked_at < clock.now() - _ANSWER_BY:
        return _settled(database, found)
    return releasing.settled(database, found) if database else found


def follow(database: Database, found: Retry) -> Followed:
    """How a retry fares now. Raises Unreadable where its database can't be read."""
    appended_at = found.released_at or found.appended_at
    if found.progress not in retries.THERE or appended_at is None:
        return Followed(found, None, FollowUp(why_not=found.detail or "Nothing was appended."))
    held = found.progress == Progress.HELD

    def work(engine: Engine) -> tuple[Run, FollowUp]:
        fares = FollowUp(why_not="Durascope only reads this engine.")
        if held:
            fares = FollowUp(why_not=f"It is paused, and waits for its release. {found.detail}".strip())
        elif isinstance(engine, Retryable):
            fares = engine.follow(found.run, found.new_run, appended_at)
        return engine.run(found.new_run), fares

    run, follow_up = database.read(work)
    return Followed(found, run, follow_up)


def retries_of(slug: str, run_id: str) -> list[Retry]:
    """What was appended for this run, newest first; empty where nothing is kept here."""
    return retries.of_run(slug, run_id) if is_kept() else []


def that_made(slug: str, run_id: str) -> Retry | None:
    """The retry after which this run goes on; None where none is known here."""
    return retries.that_made(slug, run_id) if is_kept() else None


def save_copy(database: Database) -> Path:
    """Saves a whole copy of the database in our state folder, and says where. Raises Unreadable, DiskFull, CopyNotSaved."""
    home = folder() / COPIES
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return save(Path(database.source.place), home / f"{database.slug}-{clock.now():%Y%m%dT%H%M%S%f}.sqlite")
    except OSError as problem:
        if problem.errno == ENOSPC:
            raise DiskFull(f"There is no room for a copy in {home}.") from problem
        raise CopyNotSaved(
            f"{home}: {problem.strerror}.", remedy="Name another folder with DURASCOPE_STATE."
        ) from problem


def copy_named(slug: str, name: str) -> tuple[Path, int] | None:
    """The copy of the database that save_copy gave this name, without its suffix, and its bytes; None where there is none."""
    if not re.fullmatch(rf"{re.escape(slug)}-[0-9]{{8}}T[0-9]{{12}}", name, re.ASCII):
        return None
    path = folder() / COPIES / f"{name}.sqlite"
    try:
        return path, path.stat().st_size
    except OSError:
        return None


def _appended(database: Database, begun: Retry, chosen: Options, appender: Appender | None) -> Retry:
    asked = (begun.run, chosen, begun.digest)
    try:
        done = appender.append(*asked) if appender else appending.append(Path(database.source.place), *asked)
    except AppendUnsure as problem:
        settled = _settled(database, begun)
        if settled.progress in retries.THERE:
            return settled
        raise _problem(settled) from problem
    except (AppendRefused, NotEligible) as problem:
        retries.ended(begun, Progress.REFUSED, problem, in_the_way=getattr(problem, "run", ""))
        raise
    except DurascopeError as problem:
        # It may be tried again with the same key: nothing spoke against the retry itself.
        retries.ended(begun, Progress.FAILED, problem, keep_key=False)
        raise
    except OSError as problem:
        failure = DurascopeError(f"The process that appends could not be started: {problem.strerror}.")
        retries.ended(begun, Progress.FAILED, failure, keep_key=False)
        raise failure from problem
    return waiting.held(begun, done) if done.held else retries.appended(begun, done)


def _released(database: Database, appended: Retry) -> Retry:
    """A retry that was appended; where it waits, its second step at once. Raises ReplayDiverged: it was deleted again."""
    if appended.progress == Progress.HELD:
        appended = releasing.go_on(database, appended, (appended.who, appended.where))
    if appended.progress == Progress.REFUSED:
        raise _problem(appended)
    return appended


def _settled(database: Database, begun: Retry) -> Retry:
    """Ends a retry whose process did not answer, by what the database says: where the very same plan can be made again, it was not
    appended, for every append changes its plan; where a retry nobody else recorded stands in the way of a new one, it was."""
    try:
        now = plan(database, begun.run, retries.options_of(begun))
    except DurascopeError as problem:
        return retries.ended(begun, Progress.UNSURE, AppendUnsure(str(problem), remedy="Look at the run."))
    if now.digest == begun.digest:
        failure = DurascopeError("Nothing was appended: the process that appends ended early.")
        return retries.ended(begun, Progress.FAILED, failure, keep_key=False)
    if now.plan.earlier and retries.that_made(database.slug, now.plan.earlier) is None:
        new_run = now.plan.earlier
        held = releasing.found(database, begun, new_run) if retries.options_of(begun).held else None
        return held or retries.found_appended(begun, new_run)
    return retries.ended(begun, Progress.UNSURE, AppendUnsure("It changed meanwhile.", remedy="Look at the run."))


def _first_answer(first: Retry) -> Retry:
    if first.progress in retries.THERE:
        return first
    if first.progress == Progress.ASKED:
        raise AppendRefused("The same request is being answered at this moment.", remedy="Ask for its retry.")
    raise _problem(first)


def _problem(ended: Retry) -> DurascopeError:
    """The error that a retry ended with, again."""
    kind = getattr(errors, ended.error)
    detail = ended.detail.removeprefix(kind().title).strip()
    if kind is AlreadyRetried:
        return AlreadyRetried(detail, run=ended.in_the_way)
    error: DurascopeError = kind(detail)
    return error

"""Retries that are recorded: how one fares, and what became of one whose process was killed. What the database says decides."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from runs import appending, clock, errors, links, planning, releasing
from runs.catalogue import Database
from runs.clock import from_epoch_ms, to_epoch_ms
from runs.engines.base import Engine
from runs.errors import AlreadyRetried, AppendUnsure, DurascopeError, RunNotFound
from runs.records import Run
from runs.retry import FollowUp, Retryable
from runs.state import retries
from runs.state.models import Progress, Retry
from runs.state.place import is_kept

_ANSWER_BY = timedelta(seconds=appending.SECONDS + 15)  # a process that has not answered by then never will


@dataclass(frozen=True, slots=True)
class Followed:
    """How an appended retry fares: the run that goes on, and whether the engine took it up."""

    retry: Retry
    run: Run | None
    follow_up: FollowUp


def retry(number: int, database: Database | None = None) -> Retry:
    """A recorded retry; with its database, one whose process was killed is looked into first. Raises RetryNotFound."""
    found = retries.retry_of(number)
    if database and found.progress == Progress.ASKED and is_overdue(found):
        return settled(database, found)
    return releasing.settled(database, found) if database else found


def follow(database: Database, found: Retry) -> Followed:
    """How a retry fares now. Raises Unreadable where its database can't be read."""
    appended_at = found.released_at or found.appended_at
    if found.progress not in retries.THERE or appended_at is None:
        return Followed(found, None, FollowUp(why_not=found.detail or "Nothing was appended."))
    held = found.progress == Progress.HELD

    def work(engine: Engine) -> tuple[Run | None, FollowUp]:
        fares = FollowUp(why_not="Durascope only reads this engine.")
        if held:
            fares = FollowUp(why_not=f"It is paused, and waits for its release. {found.detail}".strip())
        elif isinstance(engine, Retryable):
            fares = engine.follow(found.run, found.new_run, appended_at)
        try:
            return engine.run(found.new_run), fares
        except RunNotFound:
            return None, fares  # taken back, or deleted by its engine: the engine's words say so

    run, follow_up = database.read(work)
    return Followed(found, run, follow_up)


def retries_of(database: Database, run_id: str) -> list[Retry]:
    """What was appended for this run, newest first; empty where nothing is kept here."""
    return retries.of_run(database.slug, database.source.place, run_id) if is_kept() else []


def that_made(database: Database, run_id: str) -> Retry | None:
    """The retry after which this run goes on; None where none is known here."""
    return retries.that_made(database.slug, database.source.place, run_id) if is_kept() else None


def settled(database: Database, begun: Retry) -> Retry:
    """Ends a retry whose process did not answer, by what the database says: where the very same plan can be made again, it was not
    appended, for every append changes its plan; where the run that was expected is there, made at the very moment that this retry
    was given, it was. Somebody else's, another Durascope's among them, has another moment."""
    try:
        found, digest, _ = planning.made(database, begun.run, retries.options_of(begun))
    except DurascopeError as problem:
        return retries.ended(begun, Progress.UNSURE, AppendUnsure(str(problem), remedy="Look at the run."))
    if digest == begun.digest:
        failure = DurascopeError("Nothing was appended: the process that appends ended early.")
        return retries.ended(begun, Progress.FAILED, failure, keep_key=False)
    # Nothing was expected where the database was busy when the retry began: then what stands in the way may be its own.
    new_run = begun.expected or found.earlier
    if new_run and database.read(lambda engine: _was_made_at(engine, new_run, begun.asked_at)):
        held = releasing.found(database, begun, new_run) if retries.options_of(begun).held else None
        return held or retries.found_appended(begun, new_run)
    if found.earlier and new_run != begun.run:  # what is appended to the run itself bears no moment of its own
        another = AlreadyRetried(
            f"{found.earlier} was appended by somebody else, as by another Durascope.", run=found.earlier
        )
        return retries.ended(begun, Progress.REFUSED, another, in_the_way=found.earlier)
    return retries.ended(begun, Progress.UNSURE, AppendUnsure("It changed meanwhile.", remedy="Look at the run."))


def is_overdue(begun: Retry) -> bool:
    """Whether the process that was to append it must be gone."""
    return begun.asked_at < clock.now() - _ANSWER_BY


def first_answer(first: Retry) -> Retry:
    """What the first request with a key came to. Raises what that raised; AppendUnsure while it is being answered."""
    if first.progress in retries.THERE:
        return first
    if first.progress == Progress.ASKED:
        raise AppendUnsure(
            "The same request is being answered at this moment.", remedy=f"Look at {links.retry_page(first.pk)}."
        )
    raise error_of(first)


def error_of(ended: Retry) -> DurascopeError:
    """The error that a retry ended with, again."""
    kind = getattr(errors, ended.error)
    detail = ended.detail.removeprefix(kind().title).strip()
    if kind is AlreadyRetried:
        return AlreadyRetried(detail, run=ended.in_the_way)
    error: DurascopeError = kind(detail)
    return error


def _was_made_at(engine: Engine, run_id: str, moment: datetime) -> bool:
    """Whether the run is there, and its rows carry that moment, as exactly as its engine writes one."""
    try:
        return engine.run(run_id).created_at in (moment, from_epoch_ms(to_epoch_ms(moment)))
    except RunNotFound:
        return False

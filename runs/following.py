"""Retries that are recorded: how one fares, and what became of one whose process was killed. What the database says decides."""

from dataclasses import dataclass
from datetime import timedelta

from runs import appending, clock, errors, links, planning, releasing
from runs.catalogue import Database
from runs.engines.base import Engine
from runs.errors import AlreadyRetried, AppendRefused, AppendUnsure, DurascopeError, RunNotFound
from runs.records import Run
from runs.retry import FollowUp, Operation, Retryable, Trace
from runs.sources.writing import REPLACED
from runs.state import jobs, retries
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
        asked = found.progress == Progress.ASKED
        words = "It is not known yet whether it was appended." if asked else "Nothing was appended."
        return Followed(found, None, FollowUp(why_not=found.detail or words))
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
    """Ends a retry whose process did not answer, by what the database says. Every retry's rows carry the moment that was recorded
    for it alone: where they do, it was appended; where none does, it was not, and can be tried again if its plan is still the
    same. What can't be told is said to be so; while the database can't be read, nothing is, and the retry stays as it is."""
    found = _settled(database, begun)
    if found.progress != Progress.ASKED:
        jobs.told(found)
    return found


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


def _settled(database: Database, begun: Retry) -> Retry:
    try:
        trace = database.read(lambda engine: _trace(engine, begun))
        if trace.new_run:
            held = releasing.found(database, begun, trace.new_run) if retries.options_of(begun).held else None
            return held or retries.found_appended(begun, trace.new_run, trace.operation)
        found, digest, _ = planning.made(database, begun.run, retries.options_of(begun))
    except RunNotFound as problem:
        return _unsure(begun, str(problem))
    except DurascopeError:
        return _unsure(begun, REPLACED) if _is_replaced(database, begun) else begun
    if digest == begun.digest:  # every append changes its plan
        failure = DurascopeError("Nothing was appended: the process that appends ended early.")
        return retries.ended(begun, Progress.FAILED, failure, keep_key=False)
    if appending.file_of(digest) != appending.file_of(begun.digest):
        return _unsure(begun, REPLACED)
    if trace.unsure:
        return _unsure(begun, trace.unsure)
    if found.earlier:
        another = AlreadyRetried(
            f"{found.earlier} was appended by somebody else, as by another Durascope.", run=found.earlier
        )
        return retries.ended(begun, Progress.REFUSED, another, in_the_way=found.earlier)
    changed = AppendRefused(f"It changed meanwhile. {found.reason}".rstrip(), remedy=appending.LOOK_AGAIN)
    return retries.ended(begun, Progress.REFUSED, changed)


def _trace(engine: Engine, begun: Retry) -> Trace:
    if not isinstance(engine, Retryable):
        return Trace(unsure=f"Durascope only reads {engine.label}.")
    operation = Operation(begun.operation) if begun.operation else None
    return engine.trace(begun.run, operation, begun.asked_at)


def _is_replaced(database: Database, begun: Retry) -> bool:
    """Whether another file lies there, as far as can be seen without reading it."""
    try:
        return appending.mark_at(database.source.place) != appending.file_of(begun.digest)
    except DurascopeError:
        return False


def _unsure(begun: Retry, words: str) -> Retry:
    return retries.ended(begun, Progress.UNSURE, AppendUnsure(words, remedy="Look at the run."))

"""A confirmed retry, appended: recorded first (runs.state), then appended by a process of its own (runs.appending); and what was
appended paused, released. What pages, the JSON interface, the command and jobs all go through.
"""

from dataclasses import dataclass
from pathlib import Path

from runs import appending, engine_servers, following, links, planning, releasing
from runs.appending import Appender
from runs.catalogue import Database
from runs.errors import AppendRefused, AppendUnsure, BadReason, DurascopeError, NotEligible, RunNotFound
from runs.retry import Options
from runs.state import retries, waiting
from runs.state.models import Progress, Retry

REASON_LENGTH = 2000
CLIENT_KEY = "client-"  # how a client's keys are kept, apart from those of jobs


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was decided when a job was recorded: ``server`` is that of the engine, None where none was known."""

    server: str | None = None


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
    resumes: Resumed | None = None,
    appender: Appender | None = None,
) -> Retry:
    """Appends the confirmed plan and records it; the same ``key`` gives the first answer again. In a terminal,
    whoever has the file at hand (``by_owner``) needs no permission of a server. ``resumes``: it is of a job, which was permitted
    when it was recorded, with these very options; and no other process can be answering the same key, so that one which was begun
    was interrupted. ``appender``: the database's, where one is kept.

    Raises NotAllowed, RunNotFound, BadReason, KeyUsed, AlreadyRetried, AppendRefused (changed meanwhile), NotEligible,
    DatabaseLocked, DiskFull, Unreadable: nothing was appended then. AppendUnsure: it may have been, or the same key is being
    answered.
    """
    if not by_owner and not resumes:
        planning.require_allowed(database.slug)
    if not resumes:
        chosen = planning.fitted(database, chosen)
    asked = retries.Request(
        database=database.slug,
        place=database.source.place,
        run=run_id,
        options=chosen,
        digest=digest,
        reason=reason_of(reason),
        who=who,
        where=where,
        key=key if resumes or not key else f"{CLIENT_KEY}{key}",
        operation=_operation(database, run_id, chosen, digest, begun=resumes is not None),
    )
    retry, is_new = retries.begin(asked)
    if not is_new and retry.progress == Progress.ASKED and (resumes or following.is_overdue(retry)):
        retry = following.settled(database, retry)
        if retry.progress == Progress.FAILED:
            retry, is_new = retries.begin(asked)
    done = _appended(database, retry, chosen, appender) if is_new else following.first_answer(retry)
    return _released(database, done, resumes) if is_new or resumes else done


def release(database: Database, held: Retry, who: str, where: str, *, by_owner: bool = False) -> Retry:
    """Has the engine's replay check a retry that waits, and releases it, or deletes it again; whatever else it is, it stays.
    Raises NotAllowed."""
    if not by_owner:
        planning.require_allowed(database.slug)
    return releasing.go_on(database, held, (who, where), engine_servers.address_of(database.slug))


def reason_of(text: str) -> str:
    """A reason as it is recorded. Raises BadReason."""
    reason = text.strip()
    if not reason:
        raise BadReason("Say why, for those who read the audit.")
    if len(reason) > REASON_LENGTH:
        raise BadReason(f"This one has {len(reason):,} characters; {REASON_LENGTH:,} are kept.")
    return reason


def _appended(database: Database, begun: Retry, chosen: Options, appender: Appender | None) -> Retry:
    asked = (begun.run, chosen, begun.digest, begun.asked_at)
    try:
        done = appender.append(*asked) if appender else appending.append(Path(database.source.place), *asked)
    except AppendUnsure as problem:
        settled = following.settled(database, begun)
        if settled.progress == Progress.ASKED:
            # The database can't be read at this moment: it is settled when somebody looks, and it can.
            raise AppendUnsure(problem.detail, remedy=f"Look at {links.retry_page(begun.pk)}.") from problem
        if settled.progress in retries.THERE:
            return settled
        raise following.error_of(settled) from problem
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


def _operation(database: Database, run_id: str, chosen: Options, digest: str, *, begun: bool) -> str:
    """What the confirmed plan does; where the plan is another by now, or can't be made, what was chosen. Raises RunNotFound, unless
    it may have ``begun``: then it is recorded what became of it."""
    try:
        found, confirmed, _ = planning.made(database, run_id, chosen)
    except RunNotFound:
        if not begun:
            raise
        return chosen.operation or ""
    except DurascopeError:
        return chosen.operation or ""  # whatever it is, the process that appends meets it too
    return (found.operation if confirmed == digest else chosen.operation) or ""


def _released(database: Database, appended: Retry, resumed: Resumed | None) -> Retry:
    """A retry that was appended; where it waits, its second step at once. Raises ReplayDiverged: it was deleted again."""
    if appended.progress == Progress.HELD:
        address = resumed.server if resumed else engine_servers.address_of(database.slug)
        appended = releasing.go_on(database, appended, (appended.who, appended.where), address)
    if appended.progress == Progress.REFUSED:
        raise following.error_of(appended)
    return appended

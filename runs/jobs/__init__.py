"""Several retries, appended one after another by a process of their own, which goes on where it was when it is killed.

A job is recorded whole before it starts. ``durable`` runs it as a workflow on DBOS, in the process runs.jobs_process. Web workers
only record a job and wake that process: its database is shown on our own pages, so whoever reads it must not write it.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runs import engine_servers, planning, retrying, selection
from runs.addresses import PATTERN, encode
from runs.catalogue import Database, served
from runs.errors import BadBody, BadCount, JobNotFound
from runs.jobs.waking import is_working, wake
from runs.retry import Options
from runs.selection import Reference
from runs.state import jobs as recorded
from runs.state import place
from runs.state.models import Item, Job
from runs.state.retries import options_of
from runs.wording import plural

PLAN_ADDRESS = re.compile(rf"/api/v1/databases/(?P<slug>[A-Za-z0-9_.~-]+)/runs/(?P<run>{PATTERN})/(?:retry/)?")

_BEGINS = 10.0  # seconds in which a jobs process has begun, or has ended again
_looked_after = [-_BEGINS]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One run of several, and the digest of its plan."""

    database: str
    run: str
    options: Options
    digest: str


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a job to be planned once more, and how many runs are not: options were chosen for them, or another file is
    served under their database's name."""

    references: tuple[Reference, ...]
    left_out: int


def start(chosen: Sequence[Chosen], reason: str, count: int, who: str, where: str, *, key: str = "") -> Job:
    """Records a job and has it done; the same ``key`` gives the same job again.

    Raises NotAllowed for the first database that may not be retried, BadReason, BadCount where ``count``, typed by whoever
    confirms, is not how many they are, and BadBody where they are none, or one is among them twice.
    """
    for slug in dict.fromkeys(one.database for one in chosen):
        planning.require_allowed(slug)
    if not chosen:
        raise BadBody("No run is given.")
    if count != len(chosen):
        raise BadCount(f"{count:,} was given; {plural(len(chosen), 'run is', 'runs are')} to be retried.")
    if len({(one.database, one.run) for one in chosen}) < len(chosen):
        raise BadBody("A run is given twice.")
    databases = {slug: served().database(slug) for slug in {one.database for one in chosen}}
    rows = [_row(databases[one.database], one) for one in chosen]
    job = recorded.begin(rows, retrying.reason_of(reason), who, where, key)
    wake()
    return job


def resume() -> None:
    """Has the jobs go on that are not at their end: their process may have been killed. Where none of their databases may be
    retried here, they are left to the server that recorded them."""
    if any(map(planning.allowed, recorded.unfinished_in())):
        wake()
    recorded.release()


def look_after(job: Job) -> None:
    """Has a job go on whose process was killed, for whoever waits for its end. As ``resume``, and not more often than it can
    begin."""
    if job.finished_at is None and time.monotonic() > _looked_after[-1] + _BEGINS and not is_working():
        _looked_after[:] = [time.monotonic()]
        resume()


def cancel(job: Job) -> Job:
    """Has it stop before its next run; what is appended stays."""
    cancelled = recorded.cancel(job)
    if cancelled.finished_at is None:
        wake()  # where its process was killed, nobody else would end it
    return cancelled


def _row(database: Database, one: Chosen) -> recorded.Row:
    """What is decided now: the process that does it may be woken by a server with another environment."""
    slug = database.slug
    options = planning.fitted(database, one.options)
    return slug, database.source.place, one.run, options, one.digest, engine_servers.address_of(slug) or ""


def job_of(number: int) -> Job:
    """Raises JobNotFound."""
    if not place.is_kept():
        raise JobNotFound(remedy="Retrying is off in this process.")
    return recorded.job_of(number)


def named(text: str) -> Job:
    """The job of that number, as somebody wrote it. Raises JobNotFound."""
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise JobNotFound(f"{text[:40]!r} is none.")
    return job_of(int(text))


def rest_of(job: Job) -> Rest:
    """Its runs of which nothing is known to have been appended."""
    places = {database.slug: database.source.place for database in served().databases()}
    items = recorded.rest_of(job)
    alike = [item for item in items if item.place == places.get(item.database) and _is_plain(item)]
    return Rest(tuple(Reference(item.database, encode(item.run)) for item in alike), len(items) - len(alike))


def _is_plain(item: Item) -> bool:
    """Whether nothing was chosen for it but what fits it best, as several that are planned at once."""
    return replace(options_of(item), held=selection.CHOSEN.held) == selection.CHOSEN

"""Several retries, appended one after another by a process of their own, which goes on where it was when it is killed.

A job is recorded whole before it starts. ``durable`` runs it as a workflow on DBOS, in the process runs.jobs_process. Web workers
only record a job and wake that process: its database is shown on our own pages, so whoever reads it must not write it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runs import retrying
from runs.addresses import PATTERN
from runs.catalogue import served
from runs.errors import BadBody
from runs.jobs.waking import wake
from runs.retry import Options
from runs.state import jobs as recorded
from runs.state.models import Job

PLAN_ADDRESS = re.compile(rf"/api/v1/databases/(?P<slug>[A-Za-z0-9_.~-]+)/runs/(?P<run>{PATTERN})/(?:retry/)?")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One run of several, and the digest of its plan."""

    database: str
    run: str
    options: Options
    digest: str


def start(chosen: Sequence[Chosen], reason: str, count: int, who: str, where: str, *, key: str = "") -> Job:
    """Records a job and has it done; the same ``key`` gives the same job again.

    Raises NotAllowed for the first database that may not be retried, BadReason, and BadBody where ``count``, typed by whoever
    confirms, is not how many they are, or one is among them twice.
    """
    for slug in dict.fromkeys(one.database for one in chosen):
        retrying.require_allowed(slug)
    if count != len(chosen):
        raise BadBody(f"count is {count}, but {len(chosen)} runs are given.")
    if len({(one.database, one.run) for one in chosen}) < len(chosen):
        raise BadBody("A run is given twice.")
    places = {slug: served().database(slug).source.place for slug in {one.database for one in chosen}}
    rows = [(one.database, places[one.database], one.run, one.options, one.digest) for one in chosen]
    job = recorded.begin(rows, retrying.reason_of(reason), who, where, key)
    wake()
    return job


def resume() -> None:
    """Has the jobs go on that are not at their end: their process may have been killed."""
    if recorded.unfinished():
        wake()
    recorded.release()


def cancel(job: Job) -> Job:
    """Has it stop before its next run; what is appended stays."""
    return recorded.cancel(job)


def job_of(number: int) -> Job:
    """Raises JobNotFound."""
    return recorded.job_of(number)

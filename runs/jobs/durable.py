"""A job as a workflow on DBOS: one step a run, each of which may be done again without anything being appended twice. And a
comparison of two large databases: what was read of them is kept, so that its step goes on where it was.

Only the jobs process imports this: DBOS takes its time to load, and its database must be written by that process alone.
"""

import time
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID

from runs import retrying
from runs.appending import Appender
from runs.catalogue import Database
from runs.compare import tasks
from runs.errors import AppendRefused, DurascopeError, NotEligible
from runs.home import JOBS
from runs.retrying import Resumed
from runs.sources.sqlite import SqliteSource
from runs.state import jobs as recorded
from runs.state.models import Item, Progress
from runs.state.retries import JOB_KEY, newest_with, options_of

VERSION = "1"  # of the workflow below: a job that was interrupted goes on with a newer Durascope too
MOST_PATIENCE = 86_400.0  # seconds that a comparison waits for another process that makes it
PAUSES = 0.01, 1.0  # seconds between two runs, at least and at most
ATTEMPTS = 3  # of a job whose workflow ended with an error
STOP_AFTER = 5  # failures: whatever is wrong is not about one run

_appenders: dict[str, Appender] = {}  # by place: starting one takes far longer than an append


def launch(home: Path) -> None:
    """Starts DBOS on the jobs' own database; what was interrupted goes on at once."""
    config: DBOSConfig = {
        "name": "durascope-jobs",
        "system_database_url": f"sqlite:///{home / JOBS}",
        "application_version": VERSION,
        "executor_id": "jobs",
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    DBOS.launch()


def finish(number: int) -> None:
    """Does a job to its end, from wherever it is. A workflow that an error ended, as where our state could not be written, keeps
    that error for ever: the job, whose runs may each be done again, then goes on as another one; after ATTEMPTS it ends, and says
    why."""
    problem: Exception | None = None
    for attempt in range(1, ATTEMPTS + 1):
        with SetWorkflowID(f"job-{number}" if attempt == 1 else f"job-{number}-{attempt}"):
            handle = DBOS.start_workflow(append_all, number)
        try:
            handle.get_result()
        except Exception as raised:
            problem = raised
        else:
            return
    try:
        recorded.finish(number, f"It stopped: {problem}")
    finally:
        recorded.release()


def compare(folder: Path, key: str) -> None:
    """Makes a comparison that is asked for, from wherever it is."""
    with SetWorkflowID(f"compare-{key}-{tasks.asked_at(folder, key)}"):
        handle = DBOS.start_workflow(make_comparison, str(folder), key)
    handle.get_result()


def stop() -> None:
    """Ends DBOS, and the processes that append."""
    DBOS.destroy()
    while _appenders:
        _appenders.popitem()[1].close()


@DBOS.workflow()
def append_all(number: int) -> str:
    """Every run of the job, in its order; why it ended before its end, empty where it came to it."""
    failures = 0
    stopped = ""
    for position in range(count_items(number)):
        word = append_item(number, position)
        failures += word == "failed"
        if word == "cancelled":
            stopped = "It was cancelled."
        elif failures >= STOP_AFTER:
            stopped = f"It stopped after {failures} failures."
        if stopped:
            break
    finish_job(number, stopped)
    return stopped


@DBOS.workflow()
def make_comparison(folder: str, key: str) -> str:
    """How it ended, in a word. How far it is lies beside what is asked, where every web worker can see it."""
    return compare_all(folder, key)


@DBOS.step()
def compare_all(folder: str, key: str) -> str:
    return tasks.make(Path(folder), key, patience=MOST_PATIENCE)


@DBOS.step()
def count_items(number: int) -> int:
    try:
        return recorded.items(number)
    finally:
        recorded.release()


@DBOS.step()
def append_item(number: int, position: int) -> str:
    """One run: done, held, skipped, failed; or cancelled, where nothing more is to be appended.

    It pauses for half as long as it took. The lock is held for a part of that only, so beside an idle engine it is quick and leaves
    the file free most of the time; an engine at work, for whose lock an append waits, is left alone for longer.
    """
    try:
        item = recorded.item_of(number, position)
        if item.result:
            return item.result  # the process was killed after it was recorded here, before it was recorded there
        if item.job.cancelled_at:
            return "cancelled"
        began = time.monotonic()
        word = _append(item)
        least, most = PAUSES
        time.sleep(min(max((time.monotonic() - began) / 2, least), most))
        return word
    finally:
        recorded.release()


@DBOS.step()
def finish_job(number: int, stopped: str) -> None:
    try:
        recorded.finish(number, stopped)
    finally:
        recorded.release()


def _append(item: Item) -> str:
    # Not from the catalogue: that looks into every file that is served, our own jobs among them.
    database = Database(SqliteSource(Path(item.place), item.database))
    job = item.job
    key = f"{JOB_KEY}{job.pk}-{item.position}"
    try:
        done = retrying.append(
            database,
            item.run,
            options_of(item),
            item.digest,
            job.reason,
            job.who,
            f"{job.where}, job {job.pk}",
            key=key,
            resumes=Resumed(item.server or None),
            appender=_appenders.setdefault(item.place, Appender(Path(item.place))),
        )
    except (AppendRefused, NotEligible) as problem:
        return recorded.result(item, "skipped", str(problem), retry=newest_with(key))
    except DurascopeError as problem:
        return recorded.result(item, "failed", str(problem), retry=newest_with(key))
    if done.progress == Progress.HELD:
        return recorded.result(item, recorded.HELD, done.detail, retry=done)
    return recorded.result(item, "done", retry=done)

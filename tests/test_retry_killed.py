"""Retries of every kind whose process, or server, is killed right before or right after the commit: what became of them is found
out from the rows, and they are tried again, or followed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs import appending, following, planning, retrying
from runs.catalogue import Database
from runs.errors import AppendRefused, AppendUnsure, DatabaseLocked, DurascopeError
from runs.retry import Operation, Options
from runs.retrying import Resumed
from runs.sources.sqlite import SqliteSource
from runs.sources.writing import REPLACED
from runs.state import audit
from runs.state.models import Item, Job, Progress, Retry
from tests.bulk import differences, is_sound

ROOT = Path(__file__).parent.parent
CHOSEN = Options()
LATER = "2026-11-22T15:31:00Z"  # nobody who was asked for the retry can be at work any more
KEY = "job-1-0"

# One of each kind of retry: the database and the run, by its label where it is Obelisk's.
KINDS = {
    Operation.RETRY_NOW: ("shop-staging", "backoff"),
    Operation.UNPAUSE: ("shop-staging", "paused-new"),
    Operation.SKIP_DELAY: ("shop-staging", "blocked-on-delay"),
    Operation.RUN_AGAIN: ("shop-staging", "retries-exhausted"),
    Operation.FORK: ("shop-staging", "restock-failed"),
    "fork of DBOS": ("zoo-3.4.0", "wf-declined"),
}
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
ITSELF = [Operation.RETRY_NOW, Operation.UNPAUSE, Operation.SKIP_DELAY]  # that append to the run

Open = Callable[[Any], tuple[Database, str]]


@pytest.fixture
def opened(
    fresh: Callable[[str], Path],
    oracle: Callable[[str], Any],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Open:
    """``opened(kind)``: a database that may be retried, and a run that is retried like that."""

    def get(kind: Any) -> tuple[Database, str]:
        name, run_id = KINDS[kind]
        monkeypatch.setenv("DURASCOPE_NOW", oracle("shop-staging")["read_at"])
        monkeypatch.setenv("DURASCOPE_RETRY", "it")
        run_id = oracle(name)["scenarios"][run_id] if name.startswith("shop") else run_id
        return Database(SqliteSource(fresh(name), "it")), run_id

    return get


def appends(moment: str, *, with_server: bool = False) -> str:
    """The program of a process that appends until it is killed, right before or right after its commit; ``with_server``: whoever
    asked it is killed first."""
    return (
        "import os, signal, sys\n"
        "from runs import appending\n"
        "from runs.sources.writing import Writing\n"
        "real = Writing.commit\n"
        "def commit(self):\n"
        f"    {'real(self)' if moment == 'after' else 'pass'}\n"
        f"    {'os.kill(os.getppid(), signal.SIGKILL)' if with_server else 'pass'}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Writing.commit = commit\n"
        "sys.exit(appending.main())\n"
    )


def retry(database: Database, run_id: str, **more: Any) -> Retry:
    digest = planning.plan(database, run_id, CHOSEN).digest
    return retrying.append(database, run_id, CHOSEN, digest, "mended", "ada", "/", **more)


SERVER = """
import sys
from pathlib import Path
import django
django.setup()
from runs import appending, planning, retrying
from runs.catalogue import Database
from runs.retry import Options
from runs.sources.sqlite import SqliteSource
from runs.state import place
place.prepare()
path, run_id, program = sys.argv[1:]
appending.COMMAND = (sys.executable, "-P", "-c", program)
database = Database(SqliteSource(Path(path), "it"))
digest = planning.plan(database, run_id, Options()).digest
retrying.append(database, run_id, Options(), digest, "mended", "ada", "/")
"""


def killed(database: Database, run_id: str, moment: str) -> Retry:
    """A retry that is recorded as begun, by a process of its own that was killed with the one that it had append."""
    program = [sys.executable, "-c", SERVER, database.source.place, run_id, appends(moment, with_server=True)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "inspector.settings"}
    done = subprocess.run(program, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    begun = Retry.objects.get()
    assert begun.progress == Progress.ASKED
    return begun


def locked(*_: object) -> None:
    raise DatabaseLocked


def do(database: Database, statement: str, *params: object) -> None:
    """As the engine, or somebody else, writes it."""
    with closing(sqlite3.connect(database.source.place)) as connection, connection:
        assert connection.execute(statement, params).rowcount == 1


def appended_as_planned(before: Path, database: Database) -> bool:
    return bool(differences(before, Path(database.source.place))) and is_sound(Path(database.source.place))


@EACH_KIND
@pytest.mark.parametrize("moment", ["before", "after"])
def test_where_the_process_that_appends_is_killed_it_is_said_at_once(
    kind: Any, moment: str, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run_id = opened(kind)
    before = Path(shutil.copy(database.source.place, tmp_path / "before.sqlite"))
    with monkeypatch.context() as patched:
        patched.setattr(appending, "COMMAND", (sys.executable, "-P", "-c", appends(moment)))
        if moment == "before":
            with pytest.raises(DurascopeError, match="Nothing was appended"):
                retry(database, run_id, key="k")
            assert Retry.objects.get().progress == Progress.FAILED
            assert differences(before, Path(database.source.place)) == {}
        else:
            done = retry(database, run_id, key="k")
    if moment == "before":
        done = retry(database, run_id, key="k")
    assert done.progress == Progress.APPENDED
    assert (done.new_run == run_id) == (kind in ITSELF)
    assert appended_as_planned(before, database)
    assert audit.verify().broken is None


@EACH_KIND
@pytest.mark.parametrize("moment", ["before", "after"])
def test_where_the_server_is_killed_it_is_found_out_when_somebody_looks(
    kind: Any, moment: str, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run_id = opened(kind)
    before = Path(shutil.copy(database.source.place, tmp_path / "before.sqlite"))
    begun = killed(database, run_id, moment)
    assert begun.operation == getattr(kind, "value", "fork")
    assert following.retry(begun.pk, database).progress == Progress.ASKED  # it may be at work
    monkeypatch.setenv("DURASCOPE_NOW", LATER)
    found = following.retry(begun.pk, database)
    if moment == "before":
        assert (found.progress, differences(before, Path(database.source.place))) == (Progress.FAILED, {})
        assert "Nothing was appended" in found.detail
        found = retry(database, run_id)
    assert found.progress == Progress.APPENDED
    assert appended_as_planned(before, database)
    followed = following.follow(database, found)
    assert followed.run is not None
    assert (followed.run.id, followed.run.id == run_id) == (found.new_run, kind in ITSELF)
    assert followed.follow_up.taken_up_after is None
    assert following.retries_of(database, run_id) == [found]
    assert audit.verify().broken is None


@EACH_KIND
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_job_goes_on_with_one_that_was_killed_and_appends_it_once(
    kind: Any, moment: str, opened: Open, tmp_path: Path
) -> None:
    database, run_id = opened(kind)
    before = Path(shutil.copy(database.source.place, tmp_path / "before.sqlite"))
    begun = killed(database, run_id, moment)
    Retry.objects.update(key=KEY, operation="")  # as where the database was busy when it was recorded
    asked = (run_id, CHOSEN, begun.digest, "mended", "ada", "/")
    done = retrying.append(database, *asked, key=KEY, resumes=Resumed())
    assert (done.progress, done.pk == begun.pk) == (Progress.APPENDED, moment == "after")
    changes = differences(before, Path(database.source.place))
    assert retrying.append(database, *asked, key=KEY, resumes=Resumed()).pk == done.pk
    assert differences(before, Path(database.source.place)) == changes
    assert is_sound(Path(database.source.place))


@EACH_KIND
def test_what_is_found_out_after_its_job_went_on_is_the_result_there(
    kind: Any, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run_id = opened(kind)
    begun = killed(database, run_id, "after")
    Retry.objects.update(operation="")
    job = Job.objects.create(reason="mended", who="ada", where="/", asked_at=begun.asked_at)
    Item.objects.create(
        job=job, position=0, database="it", run=run_id, retry=begun, result="failed", detail="Not known."
    )
    monkeypatch.setenv("DURASCOPE_NOW", LATER)
    found = following.retry(begun.pk, database)
    assert found.progress == Progress.APPENDED
    assert found.operation == getattr(kind, "value", "fork")
    assert Item.objects.values_list("result", "detail").get() == ("done", "")


def test_while_the_database_cannot_be_read_it_stays_as_it_is_unless_it_is_another(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run_id = opened(Operation.FORK)
    place, aside = Path(database.source.place), tmp_path / "aside.sqlite"
    with monkeypatch.context() as patched:
        patched.setattr(appending, "COMMAND", (sys.executable, "-P", "-c", appends("after")))
        patched.setattr(Database, "read", locked)
        with pytest.raises(AppendUnsure, match=r"Look at /retries/1/\."):
            retry(database, run_id)
    begun = Retry.objects.get()
    assert begun.progress == Progress.ASKED
    monkeypatch.setenv("DURASCOPE_NOW", LATER)
    place.rename(aside)
    assert following.retry(begun.pk, database).progress == Progress.ASKED
    place.write_bytes(b"no database" * 100)
    replaced = following.retry(begun.pk, database)
    assert (replaced.progress, REPLACED in replaced.detail) == (Progress.UNSURE, True)


@pytest.mark.parametrize("kind", ITSELF)
def test_what_was_not_appended_and_has_changed_since_is_refused(
    kind: Operation, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run_id = opened(kind)
    begun = killed(database, run_id, "before")
    retry(database, run_id)  # by somebody else, a moment later
    monkeypatch.setenv("DURASCOPE_NOW", LATER)
    do(database, *moved(kind, run_id))
    found = following.retry(begun.pk, database)
    assert (found.progress, found.error) == (Progress.REFUSED, AppendRefused.__name__)
    assert "It changed meanwhile." in found.detail


def moved(kind: Operation, run_id: str) -> tuple[str, str]:
    """The other one's moment: the clock of a test stands still."""
    later = "2026-11-22 15:29:23.500000+00:00"
    if kind is Operation.SKIP_DELAY:
        return f"UPDATE t_delay SET expires_at = '{later}' WHERE execution_id = ?", run_id
    newest = "version = (SELECT max(version) FROM t_execution_log WHERE execution_id = ?1)"
    return f"UPDATE t_execution_log SET created_at = '{later}' WHERE execution_id = ?1 AND {newest}", run_id


@pytest.mark.parametrize(
    ("moment", "ended_at", "expired", "progress", "words"),
    [
        # It ended by itself before the retry was asked for: then that met nothing to skip.
        ("before", "2026-11-22 15:29:22.900000+00:00", 1, Progress.REFUSED, "It changed meanwhile."),
        ("after", "2026-11-22 15:29:23.400000+00:00", 1, Progress.UNSURE, "Its delay was skipped, by this retry or"),
        ("after", "2026-11-23 15:29:23.400000+00:00", 1, Progress.UNSURE, "when it was over anyway"),
        ("after", "2026-11-22 15:29:23.400000+00:00", 0, Progress.UNSURE, "Its delay was cancelled at 2026-11-22"),
    ],
    ids=["before it was asked for", "before its time", "at its time", "cancelled"],
)
def test_once_a_delay_has_ended_its_row_is_gone_and_only_what_is_known_is_said(
    moment: str, ended_at: str, expired: int, progress: str, words: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run_id = opened(Operation.SKIP_DELAY)
    begun = killed(database, run_id, moment)
    do(
        database,
        "INSERT INTO t_join_set_response (created_at, execution_id, join_set_id, delay_id, delay_success, seq)"
        " SELECT ?, execution_id, join_set_id, delay_id, ?, 99 FROM t_delay WHERE execution_id = ?",
        ended_at,
        expired,
        run_id,
    )
    do(database, "DELETE FROM t_delay WHERE execution_id = ?", run_id)
    monkeypatch.setenv("DURASCOPE_NOW", LATER)
    found = following.retry(begun.pk, database)
    assert found.progress == progress
    assert words in found.detail
    assert (found.error == AppendUnsure.__name__) == (progress == Progress.UNSURE)

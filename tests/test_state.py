"""What we keep ourselves: every retry with its reason, in a chain that shows when somebody changed it; never a body."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError

from runs import appending, following, planning, retrying, saving
from runs.catalogue import Database
from runs.clock import to_epoch_ms
from runs.errors import (
    AlreadyRetried,
    AppendUnsure,
    BadConfiguration,
    BadReason,
    DurascopeError,
    KeyUsed,
    NotAllowed,
)
from runs.retry import Options
from runs.retrying import Resumed
from runs.sources.openers import Openers
from runs.sources.sqlite import SqliteSource
from runs.state import audit, place, retries
from runs.state.models import Entry, Progress, Retry
from runs.views.retry import held as words_of

Make = Callable[..., Path]
CHOSEN = Options()


@pytest.fixture
def database(notes: Make, state: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("DURASCOPE_RETRY", "notes")
    return Database(SqliteSource(notes(), "notes"))


def retry(database: Database, run_id: str = "n1", reason: str = "the disk was full", **more: Any) -> Retry:
    digest = planning.plan(database, run_id, CHOSEN).digest
    return retrying.append(database, run_id, CHOSEN, digest, reason, "ada", "/db/notes/", **more)


def entries(state: Path) -> list[dict[str, Any]]:
    """The audit as the file holds it, by Python's own SQLite."""
    with closing(sqlite3.connect(state / "durascope.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM state_entry ORDER BY seq")]


def edit(state: Path, *statements: str) -> None:
    """As somebody who can write the file does, triggers or not."""
    with closing(sqlite3.connect(state / "durascope.sqlite")) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_not_changed")
        connection.execute("DROP TRIGGER audit_is_not_shortened")
        for statement in statements:
            connection.execute(statement)


def test_a_retry_is_recorded_before_and_after_it_is_appended(database: Database, state: Path) -> None:
    done = retry(database)

    assert (done.progress, done.new_run, done.who, done.reason) == (
        "appended",
        "n1.retry-1",
        "ada",
        "the disk was full",
    )
    asked, appended = entries(state)
    assert (asked["event"], appended["event"]) == ("asked", "appended")
    assert {asked["digest"], appended["digest"]} == {done.digest}
    assert appended["where"] == "/db/notes/"
    rows = json.loads(appended["rows"])
    assert len(rows) == 41
    assert rows[0]["key"] == {"id": "n1.retry-1"}
    assert json.loads(appended["before"])["status"] == "ERROR"
    assert "4111" not in (state / "durascope.sqlite").read_bytes().decode("latin-1")


def test_the_chain_is_that_of_the_stored_entries(database: Database, state: Path) -> None:
    retry(database)
    retry(database, "n3")
    previous = "0" * 64
    for entry in entries(state):
        found = entry.pop("hash")
        assert entry["previous"] == previous
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert found == hashlib.sha256(text.encode()).hexdigest()
        previous = found
    assert audit.verify() == audit.Verdict(4, previous)
    assert [json.loads(line)["seq"] for line in audit.export()] == [1, 2, 3, 4]


def test_the_database_itself_refuses_to_change_the_audit(database: Database) -> None:
    retry(database)
    with pytest.raises(DatabaseError, match="only ever added to"):
        Entry.objects.update(reason="none")
    with pytest.raises(DatabaseError, match="only ever added to"):
        Entry.objects.all().delete()


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE state_entry SET reason = 'another' WHERE seq = 2", 2),
        ("UPDATE state_entry SET rows = '[]' WHERE seq = 4", 4),
        ("DELETE FROM state_entry WHERE seq = 1", 1),
        ("DELETE FROM state_entry WHERE seq = 3", 3),
        ("DELETE FROM state_entry WHERE seq = 4", 4),
        ("UPDATE state_entry SET hash = previous WHERE seq = 1", 1),
    ],
)
def test_the_first_entry_that_is_not_as_written_is_named(
    database: Database, state: Path, statement: str, broken: int
) -> None:
    retry(database)
    retry(database, "n3")
    edit(state, statement)
    verdict = audit.verify()
    assert verdict.broken == broken
    assert verdict.problem


def test_without_permission_nothing_is_recorded_or_appended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURASCOPE_RETRY", "other,notes2")
    with pytest.raises(NotAllowed, match="--allow-retry notes"):
        retry(database)
    assert not Retry.objects.exists()
    assert not Entry.objects.exists()


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 2001])
def test_a_reason_is_needed(database: Database, reason: str) -> None:
    with pytest.raises(BadReason):
        retry(database, reason=reason)
    assert not Retry.objects.exists()


def test_the_same_key_gives_the_first_answer_again(database: Database) -> None:
    first = retry(database, key="k")
    again = retrying.append(database, "n1", CHOSEN, first.digest, "again", "bob", "/", key="k")
    assert again.pk == first.pk
    assert Retry.objects.count() == 1
    with pytest.raises(KeyUsed):
        retry(database, "n3", key="k")


def test_a_refusal_is_recorded_and_given_again_for_its_key(database: Database) -> None:
    digest = planning.plan(database, "n1", CHOSEN).digest
    retry(database)
    for _ in range(2):
        with pytest.raises(AlreadyRetried) as refused:
            retrying.append(database, "n1", CHOSEN, digest, "again", "bob", "/", key="k")
        assert refused.value.run == "n1.retry-1"
    last = Retry.objects.get(key="client-k")
    assert (last.progress, last.error, last.in_the_way) == ("refused", "AlreadyRetried", "n1.retry-1")
    assert audit.verify().broken is None
    assert [found.new_run for found in following.retries_of(database, "n1")] == ["n1.retry-1"]


def test_what_may_be_tried_again_does_not_use_up_its_key(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES_PAGES", "6")
    with pytest.raises(DurascopeError, match="disk is full"):
        retry(database, key="k")
    monkeypatch.delenv("NOTES_PAGES")
    assert retry(database, key="k").progress == Progress.APPENDED


def test_a_killed_append_is_looked_for_in_the_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed_before(*_: object) -> appending.Appended:
        raise AppendUnsure

    real = appending.append

    def killed_after(*given: Any) -> appending.Appended:
        real(*given)
        raise AppendUnsure

    monkeypatch.setattr(appending, "append", killed_before)
    with pytest.raises(DurascopeError, match="Nothing was appended"):
        retry(database)
    monkeypatch.setattr(appending, "append", killed_after)
    found = retry(database)
    assert (found.progress, found.new_run) == ("appended", "n1.retry-1")
    assert audit.verify().broken is None


def begun(database: Database, operation: str = "fork", key: str = "") -> Retry:
    """A retry that was recorded, and whose server was killed before it was appended."""
    place, digest = database.source.place, planning.plan(database, "n1", CHOSEN).digest
    facts = ("notes", place, "n1", CHOSEN, digest, "why", "ada", "/")
    return retries.begin(retries.Request(*facts, operation=operation, key=key))[0]


def long_ago(retry: Retry) -> None:
    retry.asked_at -= timedelta(hours=1)
    Retry.objects.filter(pk=retry.pk).update(asked_at=retry.asked_at)


def test_one_that_was_begun_by_a_killed_server_goes_on_only_when_told_to(database: Database) -> None:
    first = begun(database, key="client-k")
    digest = first.digest
    with pytest.raises(AppendUnsure, match=f"at this moment.*/retries/{first.pk}/"):
        retrying.append(database, "n1", CHOSEN, digest, "why", "ada", "/", key="k")
    of_job = begun(database, key="job-1-0")
    done = retrying.append(database, "n1", CHOSEN, digest, "why", "ada", "/", key="job-1-0", resumes=Resumed())
    assert done.pk > of_job.pk
    assert (done.progress, done.new_run) == ("appended", "n1.retry-1")
    assert Retry.objects.filter(progress=Progress.FAILED).count() == 1


def test_once_its_process_must_be_gone_the_same_key_is_answered_anew(database: Database) -> None:
    first = begun(database, key="client-k")
    long_ago(first)
    done = retrying.append(database, "n1", CHOSEN, first.digest, "why", "ada", "/", key="k")
    assert (done.progress, done.new_run) == ("appended", "n1.retry-1")
    assert retrying.append(database, "n1", CHOSEN, first.digest, "why", "ada", "/", key="k").pk == done.pk
    assert following.retry(first.pk, database).progress == Progress.FAILED
    assert audit.verify().broken is None


def add(database: Database, name: str, made_at: int, status: str = "QUEUED") -> None:
    """A note that somebody made of n1."""
    with closing(sqlite3.connect(database.source.place)) as connection, connection:
        connection.execute("INSERT INTO note VALUES (?, ?, '{}', ?, 'n1')", (name, status, made_at))


@pytest.mark.parametrize("operation", ["fork", ""], ids=["known", "the database was busy when it began"])
@pytest.mark.parametrize(
    ("name", "later", "progress"),
    [("n1.retry-1", 0, "appended"), ("n1.retry-1", 1, "refused"), ("by-a-colleague", 0, "refused")],
)
def test_only_a_retry_that_was_made_at_that_moment_is_taken_for_its_own(
    database: Database, name: str, later: int, progress: str, operation: str
) -> None:
    first = begun(database, operation)
    long_ago(first)
    add(database, name, to_epoch_ms(first.asked_at) + later)
    found = following.retry(first.pk, database)
    assert found.progress == progress
    assert (following.that_made(database, name) is not None) == (progress == "appended")
    if progress == "refused":
        assert (found.error, found.in_the_way) == ("AlreadyRetried", name)
        assert f"{name} was appended by somebody else" in found.detail


def test_what_changed_and_bears_nothing_of_the_moment_was_not_appended(database: Database) -> None:
    first = begun(database)
    long_ago(first)
    add(database, "n1.retry-1", 9, status="ERROR")
    found = following.retry(first.pk, database)
    assert (found.progress, found.error) == ("refused", "AppendRefused")
    assert "Nothing was appended. It changed meanwhile." in found.detail


def test_what_the_rows_do_not_tell_stays_unsure_in_the_engines_words(database: Database) -> None:
    first = begun(database, operation="unpause")
    long_ago(first)
    add(database, "by-a-colleague", 9)
    found = following.retry(first.pk, database)
    assert (found.progress, found.error) == ("unsure", "AppendUnsure")
    assert "Nothing of it bears a moment." in found.detail


def test_of_another_file_nothing_is_concluded(database: Database, tmp_path: Path) -> None:
    first = begun(database)
    long_ago(first)
    shutil.copy(database.source.place, tmp_path / "equal.sqlite")
    (tmp_path / "equal.sqlite").replace(database.source.place)
    found = following.retry(first.pk, database)
    assert (found.progress, found.error) == ("unsure", "AppendUnsure")
    assert "Another file" in found.detail


def test_while_the_database_cannot_be_read_it_stays_open(database: Database, tmp_path: Path) -> None:
    first = begun(database)
    long_ago(first)
    away = Path(database.source.place).rename(tmp_path / "away.sqlite")
    left = following.retry(first.pk, database)
    assert left.progress == Progress.ASKED
    assert following.follow(database, left).follow_up.why_not == "It is not known yet whether it was appended."
    away.rename(database.source.place)
    found = following.retry(first.pk, database)
    assert (found.progress, found.error) == ("failed", "DurascopeError")
    assert audit.verify().broken is None


def test_of_two_durascopes_with_states_of_their_own_the_killed_one_leaves_the_others_retry_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(database, key="client-k")
    here = os.environ["DURASCOPE_STATE"]
    script = (
        "import sys; sys.path[:0] = [sys.argv[2]]; from tests import notes; notes.known(); from runs.state import place;"
        "place.prepare(); from runs import appending, planning, retrying; from runs.catalogue import Database;"
        "from runs.retry import Options; from runs.sources.sqlite import SqliteSource; from pathlib import Path;"
        "appending.COMMAND = (sys.executable, '-P', notes.__file__);"
        "d = Database(SqliteSource(Path(sys.argv[1]), 'notes')); plan = planning.plan(d, 'n1', Options());"
        "print(retrying.append(d, 'n1', Options(), plan.digest, 'why', 'bob', '/').new_run)"
    )
    there = {**os.environ, "DURASCOPE_STATE": str(tmp_path / "there")}
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script, database.source.place, root],
        env=there,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), os.environ["DURASCOPE_STATE"]) == ("n1.retry-1", here)
    long_ago(first)
    with pytest.raises(AlreadyRetried, match="another Durascope"):
        retrying.append(database, "n1", CHOSEN, first.digest, "why", "ada", "/", key="k")
    assert following.that_made(database, "n1.retry-1") is None
    assert audit.verify().broken is None


def test_a_job_goes_on_whatever_the_server_that_wakes_it_may_do(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = planning.plan(database, "n1", CHOSEN).digest
    monkeypatch.setenv("DURASCOPE_RETRY", "other")
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", "notes=http://127.0.0.1:1")  # there, it would be appended paused
    done = retrying.append(database, "n1", CHOSEN, digest, "why", "ada", "/", key="job-1-0", resumes=Resumed())
    assert (done.progress, done.options["held"]) == ("appended", False)


def test_it_follows_the_run_that_goes_on(database: Database) -> None:
    done = retry(database)
    waiting = following.follow(database, done)
    assert waiting.run is not None
    assert (waiting.run.id, waiting.follow_up.why_not) == ("n1.retry-1", "No worker reads notes.")
    with closing(sqlite3.connect(database.source.place)) as connection, connection:
        connection.execute("UPDATE note SET status = 'SUCCESS' WHERE id = 'n1.retry-1'")
    taken = following.follow(database, done)
    assert taken.follow_up.taken_up_after is not None


def test_a_copy_is_saved_whole_and_for_nobody_else(database: Database, state: Path) -> None:
    copy = saving.save_copy(database)
    assert copy.parent == state / "copies"
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM line").fetchall() == [(160,)]


def test_the_state_is_for_its_owner_alone(state: Path) -> None:
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "durascope.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "file" / "below"))
    with pytest.raises(BadConfiguration, match="can't be written"):
        place.prepare()


def test_a_plan_says_who_has_the_file_open(database: Database) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc")
    from writers import writing

    held = planning.plan(database, "n1", CHOSEN).held_by
    assert held is not None
    assert held.processes == ()
    path = Path(database.source.place)
    alias = path.with_name("as-in-a-container.sqlite")  # another name of the same file
    os.link(path, alias)
    with writing(alias) as engine:
        engine.do("SELECT 1 FROM note")
        held = planning.plan(database, "n1", CHOSEN).held_by
    assert held is not None
    ((pid, _),) = held.processes
    assert pid != os.getpid()


def test_where_not_everybody_can_be_looked_into_nobody_is_not_claimed() -> None:
    assert words_of(Openers((), all_seen=True)).startswith("Nobody has the file open")
    assert words_of(Openers((), all_seen=False)).startswith("No process that this account can look into has")


def test_what_was_appended_to_another_file_of_that_name_is_not_taken_for_its_own(
    database: Database, notes: Make, tmp_path: Path
) -> None:
    done = retry(database)
    assert [one.pk for one in following.retries_of(database, "n1")] == [done.pk]
    elsewhere = Path(shutil.copy(database.source.place, tmp_path / "elsewhere.sqlite"))
    other = Database(SqliteSource(elsewhere, "notes"))
    assert (following.retries_of(other, "n1"), following.that_made(other, done.new_run)) == ([], None)


def test_a_failed_retry_of_a_job_is_not_listed_as_one_by_itself(database: Database) -> None:
    for key in ("job-1-0", "client-job-1-0"):
        retries.ended(begun(database, key=key), Progress.FAILED, DurascopeError("no"), keep_key=False)
    assert [retry.pk for retry in retries.newest_alone(10)] == [2]

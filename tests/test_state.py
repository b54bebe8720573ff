"""What we keep ourselves: every retry with its reason, in a chain that shows when somebody changed it; never a body."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError

from runs import appending, retrying
from runs.catalogue import Database
from runs.errors import (
    AlreadyRetried,
    AppendRefused,
    AppendUnsure,
    BadConfiguration,
    BadReason,
    DurascopeError,
    KeyUsed,
    NotAllowed,
)
from runs.retry import Options
from runs.sources.sqlite import SqliteSource
from runs.state import audit, place, retries
from runs.state.models import Entry, Progress, Retry

Make = Callable[..., Path]
CHOSEN = Options()


@pytest.fixture
def database(notes: Make, state: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("DURASCOPE_RETRY", "notes")
    return Database(SqliteSource(notes(), "notes"))


def retry(database: Database, run_id: str = "n1", reason: str = "the disk was full", **more: Any) -> Retry:
    digest = retrying.plan(database, run_id, CHOSEN).digest
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
    digest = retrying.plan(database, "n1", CHOSEN).digest
    retry(database)
    for _ in range(2):
        with pytest.raises(AlreadyRetried) as refused:
            retrying.append(database, "n1", CHOSEN, digest, "again", "bob", "/", key="k")
        assert refused.value.run == "n1.retry-1"
    last = Retry.objects.get(key="k")
    assert (last.progress, last.error, last.in_the_way) == ("refused", "AlreadyRetried", "n1.retry-1")
    assert audit.verify().broken is None
    assert [found.new_run for found in retrying.retries_of("notes", "n1")] == ["n1.retry-1"]


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


def test_one_that_was_begun_by_a_killed_server_goes_on_only_when_told_to(database: Database) -> None:
    digest = retrying.plan(database, "n1", CHOSEN).digest
    request = retries.Request("notes", database.source.place, "n1", CHOSEN, digest, "why", "ada", "/", key="k")
    retries.begin(request)
    with pytest.raises(AppendRefused, match="at this moment"):
        retrying.append(database, "n1", CHOSEN, digest, "why", "ada", "/", key="k")
    done = retrying.append(database, "n1", CHOSEN, digest, "why", "ada", "/", key="k", resumes=True)
    assert (done.progress, done.new_run) == ("appended", "n1.retry-1")
    assert Retry.objects.filter(progress=Progress.FAILED).count() == 1


def test_it_follows_the_run_that_goes_on(database: Database) -> None:
    done = retry(database)
    waiting = retrying.follow(database, done)
    assert waiting.run is not None
    assert (waiting.run.id, waiting.follow_up.why_not) == ("n1.retry-1", "No worker reads notes.")
    with closing(sqlite3.connect(database.source.place)) as connection, connection:
        connection.execute("UPDATE note SET status = 'SUCCESS' WHERE id = 'n1.retry-1'")
    taken = retrying.follow(database, done)
    assert taken.follow_up.taken_up_after is not None


def test_a_copy_is_saved_whole_and_for_nobody_else(database: Database, state: Path) -> None:
    copy = retrying.save_copy(database)
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
    assert retrying.plan(database, "n1", CHOSEN).held_by in ((), None)
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc")
    from writers import writing

    with writing(Path(database.source.place)) as engine:
        engine.do("SELECT 1 FROM note")
        held = retrying.plan(database, "n1", CHOSEN).held_by
    assert held is not None
    assert len(held) == 1
    assert held[0][0] != os.getpid()

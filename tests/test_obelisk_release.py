"""Forks that are appended paused: the server's replay follows them, then they are released, or deleted again."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from django.test import Client
from serving import run, served

from runs import appending, engine_servers, following, holding, jobs, planning, releasing, retrying
from runs.appending import Appender
from runs.catalogue import Database
from runs.engines.obelisk import replay
from runs.errors import AppendUnsure, NotAllowed, NotEligible, ReplayDiverged
from runs.retry import Operation, Options
from runs.sources.sqlite import SqliteSource
from runs.state import audit
from runs.state import jobs as recorded
from runs.state.models import Entry, Progress, Retry
from tests.obelisk_rules import complaints, expected_cut, family, fork_complaints, log_of, rows, state_of
from tests.replaying import Replayer, blocked, diverges, hangs, huge, replayer, says
from tests.test_obelisk_retry_forks import redo_race

CHOSEN = Options()
BY = ("bob", "/retries/1/release/")


@pytest.fixture(scope="module")
def running() -> Iterator[Replayer]:
    with replayer() as server:
        yield server


@pytest.fixture
def server(running: Replayer) -> Replayer:
    running.answers = blocked
    running.asked.clear()
    running.headers.clear()
    return running


@pytest.fixture
def database(
    fresh: Callable[[str], Path],
    oracle: Callable[[str], Any],
    server: Replayer,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Database:
    monkeypatch.setenv("DURASCOPE_NOW", oracle("shop-staging")["read_at"])
    monkeypatch.setenv("DURASCOPE_RETRY", "shop")
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"shop={server.url}")
    return Database(SqliteSource(fresh("shop-staging"), "shop"))


@pytest.fixture
def run_id(database: Database) -> str:
    """A workflow that failed in a child's child."""
    with closing(sqlite3.connect(database.source.place)) as connection:
        found = rows(
            connection,
            "SELECT execution_id FROM t_state WHERE component_type = 'workflow' AND NOT is_top_level"
            " AND result_kind LIKE '%error%'",
        )
        child = next(row["execution_id"] for row in found if expected_cut(connection, row["execution_id"]))
    return str(child).partition(".")[0]


def retry(database: Database, run_id: str, options: Options = CHOSEN) -> Retry:
    digest = planning.plan(database, run_id, options).digest
    return retrying.append(database, run_id, options, digest, "mended", "ada", "/db/shop/")


def unreachable(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", "shop=http://127.0.0.1:1")


def waiting(database: Database, run_id: str, monkeypatch: pytest.MonkeyPatch, server: Replayer) -> Retry:
    """A retry whose server could not be reached, but can be now."""
    unreachable(database, monkeypatch)
    held = retry(database, run_id)
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"shop={server.url}")
    assert held.progress == Progress.HELD
    return held


def everything(path: str) -> dict[str, set[str]]:
    """Every row of every table, as text."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: set(map(repr, connection.execute(f"SELECT rowid, * FROM {table}")))
            for table in tables
            if table != "sqlite_sequence"
        }


def added(before: dict[str, set[str]], path: str) -> list[str]:
    """The rows that were added; nothing else is different."""
    after = everything(path)
    assert before.keys() == after.keys()
    assert all(before[table] <= after[table] for table in before)
    return [row for table in after for row in after[table] - before[table]]


def let_go(path: str, new_run: str) -> None:
    """The same fork as if it had never been held back: without those rows, to compare with the rules of any fork."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for each in family(connection, new_run):
            state, log = state_of(connection, each), log_of(connection, each)
            ours = [row["version"] for row in log[-2:] if row["variant"] in ("paused", "unpaused")]
            if state["state"] != "finished":
                assert ours
                connection.execute(
                    "DELETE FROM t_execution_log WHERE execution_id = ? AND version >= ?", (each, ours[0])
                )
                connection.execute(
                    "UPDATE t_state SET lifecycle = 'active', corresponding_version = ? WHERE execution_id = ?",
                    (ours[0] - 1, each),
                )


def sound(database: Database, held: Retry) -> None:
    """As the rules for every fork want it, its holding left aside."""
    with closing(sqlite3.connect(database.source.place)) as connection:
        assert list(complaints(connection, family(connection, held.new_run), ours=False)) == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    let_go(database.source.place, held.new_run)
    with closing(sqlite3.connect(database.source.place)) as connection:
        assert list(complaints(connection, family(connection, held.new_run))) == []
        assert list(fork_complaints(connection, held.run, held.new_run, held.asked_at)) == []


def lifecycles(database: Database, new_run: str) -> dict[str, tuple[str, list[str]]]:
    """Of each execution that has not ended its lifecycle, and what of its log holds it back or lets it go."""
    with closing(sqlite3.connect(database.source.place)) as connection:
        found = {each: state_of(connection, each) for each in family(connection, new_run)}
        return {
            each: (
                state["lifecycle"],
                [row["variant"] for row in log_of(connection, each) if row["variant"] in ("paused", "unpaused")],
            )
            for each, state in found.items()
            if state["state"] != "finished"
        }


def test_it_is_appended_paused_checked_level_by_level_and_released(
    database: Database, run_id: str, server: Replayer
) -> None:
    before = everything(database.source.place)
    planned = planning.plan(database, run_id, CHOSEN).plan
    assert planned.held
    assert any("appended paused" in words for words in planned.effects)
    seen: list[dict[str, tuple[str, list[str]]]] = []

    def looks(handler: Any, asked: str) -> None:
        seen.append(lifecycles(database, asked.partition(".")[0]))
        blocked(handler, asked)

    server.answers = looks
    done = retry(database, run_id)
    assert (done.progress, done.detail) == (Progress.APPENDED, "")
    assert done.released_at is not None
    assert server.asked[0] == done.new_run
    assert [each.count(".") for each in server.asked] == [0, 1, 2]
    assert all(each.startswith(done.new_run) for each in server.asked)
    assert len(seen[0]) > 3  # those that go on, and what runs again below the last of them
    assert set(map(repr, seen[0].values())) == {repr(("paused", ["paused"]))}
    assert set(map(repr, lifecycles(database, done.new_run).values())) == {repr(("active", ["paused", "unpaused"]))}
    assert all(done.new_run[2:] in row for row in added(before, database.source.place))
    events = [entry.event for entry in Entry.objects.order_by("seq")]
    assert events == ["asked", "held", "appended"]
    released = [row["key"] for row in done.rows if row["table"] == "t_execution_log"][-3:]
    order = [key["execution_id"] for key in released]
    assert order == sorted(order, key=lambda each: -each.count("."))
    assert audit.verify().broken is None
    sound(database, done)


def test_a_replay_that_diverges_deletes_every_row_again(database: Database, run_id: str, server: Replayer) -> None:
    before = everything(database.source.place)
    server.answers = diverges
    with pytest.raises(ReplayDiverged, match="key does not match"):
        retry(database, run_id)
    assert everything(database.source.place) == before
    refused = Retry.objects.get()
    assert (refused.progress, refused.error) == (Progress.REFUSED, "ReplayDiverged")
    events = list(Entry.objects.order_by("seq"))
    assert [entry.event for entry in events] == ["asked", "held", "held", "refused"]
    deleted = json.loads(events[-1].rows)
    assert {row["change"] for row in deleted} == {"delete"}
    assert holding.keys(holding.named(deleted)) == holding.keys(holding.named(refused.rows))
    assert audit.verify().broken is None
    assert planning.plan(database, run_id, CHOSEN).plan.eligible


def test_a_child_whose_replay_diverges_is_reason_enough(database: Database, run_id: str, server: Replayer) -> None:
    server.answers = lambda handler, asked: (diverges if "." in asked else blocked)(handler, asked)
    with pytest.raises(ReplayDiverged):
        retry(database, run_id)
    assert not lifecycles(database, server.asked[0])


ANSWERS = {
    "error": (says(503, {"err": "database error"}), "status 503: database error"),
    "unknown": (says(404, {"err": "execution not found"}), "is it the one of this database?"),
    "transient": (says(422, {"err": "Replay error: executor closing"}), "executor closing"),
    "denied": (says(401, {}), "OBELISK_API_TOKEN"),
    "nonsense": (says(200, ["blocked"]), "status 200"),
    "conflict": (says(409, {"err": "conflict"}), "status 409"),
    "huge": (huge, "more than 4 MiB"),
    "hangs": (hangs, "did not answer in time"),
}


def test_whatever_else_the_server_says_the_retry_waits(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SECONDS", 2.0)
    held = waiting(database, run_id, monkeypatch, server)
    assert "can't be reached" in held.detail
    path = Path(database.source.place)
    before = path.read_bytes()
    for answer, words in ANSWERS.values():
        server.answers = answer
        held = retrying.release(database, held, *BY)
        assert (held.progress, words in held.detail) == (Progress.HELD, True), held.detail
    with replayer() as elsewhere:
        server.answers = says(307, {}, Location=f"{elsewhere.url}/v1/executions/{held.new_run}/replay")
        held = retrying.release(database, held, *BY)
        assert "not followed" in held.detail
        assert elsewhere.asked == []
    assert path.read_bytes() == before
    followed = following.follow(database, following.retry(held.pk, database))
    assert "waits for its release" in followed.follow_up.why_not
    monkeypatch.delenv("DURASCOPE_ENGINE_URL")
    assert "--engine-url shop=URL" in retrying.release(database, held, *BY).detail
    assert audit.verify().broken is None
    sound(database, held)


@pytest.mark.parametrize("words", ["Replay failed: NondeterminismDetected", "nondeterminism_detected"])
def test_releases_before_say_that_it_diverges_in_other_words(words: str, server: Replayer) -> None:
    server.answers = says(422, {"err": words})
    assert replay.ask(server.url, "E_1") == replay.Verdict(replay.Outcome.DIVERGES, words)
    server.answers = says(200, {"ok": "replayed"})
    assert replay.ask(server.url, "E_1").outcome is replay.Outcome.FITS


def test_no_proxy_is_asked_and_the_token_stays_on_this_machine(
    server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("OBELISK_API_TOKEN", "secret")
    assert replay.ask(server.url, "E_1.g:a/b_1").outcome is replay.Outcome.FITS
    assert server.asked == ["E_1.g:a/b_1"]
    assert server.headers[0]["Authorization"] == "Bearer secret"
    monkeypatch.setattr(replay, "_is_loopback", lambda _: False)
    replay.ask(server.url, "E_1")
    assert "Authorization" not in server.headers[1]


def test_a_sleep_does_not_run_out_while_it_waits(
    database: Database, oracle: Callable[[str], Any], server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = oracle("shop-staging")["scenarios"]["race-timeout"]
    redo_race(Path(database.source.place), run_id, 0)
    held = waiting(database, run_id, monkeypatch, server)
    with closing(sqlite3.connect(database.source.place)) as connection:
        (delay,) = rows(connection, "SELECT * FROM t_delay WHERE execution_id = ?", held.new_run)
    assert delay["is_paused"] == 1
    later = "2027-01-01T00:00:00Z"
    monkeypatch.setenv("DURASCOPE_NOW", later)
    done = retrying.release(database, held, *BY)
    assert done.progress == Progress.APPENDED
    with closing(sqlite3.connect(database.source.place)) as connection:
        (delay,) = rows(connection, "SELECT * FROM t_delay WHERE execution_id = ?", held.new_run)
    assert delay["is_paused"] == 0
    assert delay["expires_at"] > "2027-01-01 00:00:00"
    sound(database, done)


def test_other_code_than_the_runs_is_eligible_with_a_replay_only(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(database.source.place)) as connection, connection:
        connection.execute(
            "UPDATE t_state SET component_id_input_digest = zeroblob(32) WHERE execution_id = ?", (run_id,)
        )
    with_server = planning.plan(database, run_id, CHOSEN).plan
    assert (with_server.operation, with_server.eligible) == (Operation.FORK, True)
    assert any("000000000000" in words for words in with_server.warnings)
    monkeypatch.delenv("DURASCOPE_ENGINE_URL")
    without = planning.plan(database, run_id, CHOSEN).plan
    assert without.operation is Operation.RUN_AGAIN
    asked_for = planning.plan(database, run_id, Options(operation=Operation.FORK)).plan
    assert "--engine-url" in asked_for.reason
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"shop={server.url}")
    done = retry(database, run_id)
    assert done.progress == Progress.APPENDED
    with closing(sqlite3.connect(database.source.place)) as connection:
        assert state_of(connection, done.new_run)["component_id_input_digest"] == bytes(32)
    sound(database, done)


def test_without_a_server_everything_is_as_it_was(
    database: Database, run_id: str, monkeypatch: pytest.MonkeyPatch, server: Replayer
) -> None:
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"other={server.url}")
    done = retry(database, run_id)
    assert (done.progress, done.released_at, server.asked) == (Progress.APPENDED, None, [])
    assert {lifecycle for lifecycle, _ in lifecycles(database, done.new_run).values()} == {"active"}


def killed(step: str) -> str:
    """The command of a process that is killed right before, or right after, it commits."""
    return (
        "import os, signal, sys\n"
        "from runs import holding\n"
        "from runs.sources.writing import Writing\n"
        "real = Writing.commit\n"
        "def commit(self):\n"
        f"    {'real(self)' if step == 'after' else 'pass'}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Writing.commit = commit\n"
        "sys.exit(holding.main())\n"
    )


@pytest.mark.parametrize("answer", [blocked, diverges], ids=["released", "deleted"])
@pytest.mark.parametrize("step", ["before", "after"])
def test_whoever_is_killed_at_the_second_step_it_is_done_once(
    step: str, answer: Any, database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(database.source.place)
    held = waiting(database, run_id, monkeypatch, server)
    server.answers = answer
    with monkeypatch.context() as patched:
        patched.setattr(holding, "COMMAND", (sys.executable, "-P", "-c", killed(step)))
        left = retrying.release(database, held, *BY)
    if step == "before":
        assert left.progress == Progress.HELD
        left = retrying.release(database, left, *BY)
    assert left.progress == (Progress.APPENDED if answer is blocked else Progress.REFUSED)
    again = retrying.release(database, left, *BY)
    assert again.progress == left.progress
    if answer is blocked:
        assert {kinds for _, kinds in ((a, tuple(b)) for a, b in lifecycles(database, held.new_run).values())} == {
            ("paused", "unpaused")
        }
        sound(database, left)
    else:
        assert "key does not match" in left.detail
        assert everything(database.source.place) == before
    assert audit.verify().broken is None


def test_the_server_of_durascope_killed_between_append_and_release_goes_on_when_it_is_asked_to(
    database: Database, run_id: str, server: Replayer, state: Path
) -> None:
    """A real process that is killed while the replay is asked, before anything but the append is recorded."""
    asked = threading.Event()

    def waits(handler: Any, _: str) -> None:
        asked.set()
        server.over.wait(20)

    server.answers = waits
    command = [sys.executable, "-m", "inspector.cli", "retry", f"shop={database.source.place}", run_id]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    del environment["DURASCOPE_NOW"]  # a real process writes when it appends
    process = subprocess.Popen(
        [*command, "--yes", "--reason", "mended", "--engine-url", f"shop={server.url}"],
        env=environment,
        stdout=subprocess.PIPE,
    )
    assert asked.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    held = Retry.objects.get()
    assert held.progress == Progress.HELD
    assert {lifecycle for lifecycle, _ in lifecycles(database, held.new_run).values()} == {"paused"}
    server.answers = blocked
    released = subprocess.run(
        [*command, "--release", "--engine-url", f"shop={server.url}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (released.returncode, released.stderr) == (0, "")
    assert f"Appended: {held.new_run} goes on" in released.stdout
    done = Retry.objects.get()
    assert done.progress == Progress.APPENDED
    sound(database, done)


def test_an_append_whose_answer_was_lost_is_found_and_waits(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = appending.append

    def lost(*given: Any) -> Any:
        real(*given)
        raise AppendUnsure

    monkeypatch.setattr(appending, "append", lost)
    done = retry(database, run_id)
    assert done.progress == Progress.APPENDED
    assert [entry.event for entry in Entry.objects.order_by("seq")] == ["asked", "held", "appended"]
    assert {lifecycle for lifecycle, _ in lifecycles(database, done.new_run).values()} == {"active"}


def test_two_who_release_at_once_release_it_once(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has the replay's verdict already when the first one releases it."""
    held = waiting(database, run_id, monkeypatch, server)
    first: list[Retry] = []

    def overtaken(handler: Any, asked: str) -> None:
        server.answers = blocked
        first.append(holding.take(Path(database.source.place), "release", releasing._of(held), guard(database)))
        blocked(handler, asked)

    server.answers = overtaken
    done = retrying.release(database, held, *BY)
    assert first
    assert done.progress == Progress.APPENDED
    assert retrying.release(database, held, *BY).progress == Progress.APPENDED  # of one that was looked up before
    kinds = [tuple(each) for _, each in lifecycles(database, held.new_run).values()]
    assert set(kinds) == {("paused", "unpaused")}
    assert [entry.event for entry in Entry.objects.order_by("seq")].count("appended") == 1
    sound(database, done)


@pytest.mark.parametrize("answer", [blocked, diverges], ids=["released", "deleted"])
def test_whoever_did_it_is_recorded_though_its_page_was_read_in_between(
    answer: Any, database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = waiting(database, run_id, monkeypatch, server)
    server.answers = answer
    real = holding.take
    seen: list[str] = []

    def read_in_between(*given: Any) -> holding.Stepped:
        done = real(*given)
        seen.append(following.retry(held.pk, database).progress)
        return done

    monkeypatch.setattr(holding, "take", read_in_between)
    done = retrying.release(database, held, *BY)
    assert seen == [done.progress]
    last = Entry.objects.order_by("-seq")[0]
    assert (last.event, last.who, last.where) == (done.progress, *BY)
    assert json.loads(last.rows)
    assert audit.verify().broken is None
    if answer is blocked:
        assert done.released_at is not None
        assert len(done.rows) == len(held.rows) + len(json.loads(last.rows))


def test_what_waits_for_its_release_is_not_unpaused_unchecked(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = waiting(database, run_id, monkeypatch, server)
    for each in lifecycles(database, held.new_run):
        plan = planning.plan(database, each, CHOSEN).plan
        assert (plan.operation, plan.eligible) == (Operation.UNPAUSE, False)
        assert "waits for its release" in plan.reason
    before = everything(database.source.place)
    with pytest.raises(NotEligible, match="waits for its release"):
        retry(database, held.new_run)
    assert everything(database.source.place) == before
    assert following.retry(held.pk, database).progress == Progress.HELD


def test_what_somebody_paused_later_can_be_unpaused(
    database: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DURASCOPE_ENGINE_URL")
    done = retry(database, run_id)
    with closing(sqlite3.connect(database.source.place)) as connection, connection:  # as the engine pauses it
        connection.execute(
            "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant)"
            " SELECT execution_id, '2026-11-23 10:00:00+00:00', '\"paused\"', version + 1, 'paused' FROM t_execution_log"
            " WHERE execution_id = ? ORDER BY version DESC LIMIT 1",
            (done.new_run,),
        )
        connection.execute(
            "UPDATE t_state SET lifecycle = 'paused', corresponding_version = corresponding_version + 1"
            " WHERE execution_id = ?",
            (done.new_run,),
        )
    plan = planning.plan(database, done.new_run, CHOSEN).plan
    assert (plan.operation, plan.eligible) == (Operation.UNPAUSE, True), plan.reason


@pytest.mark.parametrize(("answer", "result"), [(blocked, "done"), (diverges, "skipped")])
def test_in_a_job_one_that_waits_is_not_done_until_it_is_released(
    answer: Any,
    result: str,
    database: Database,
    run_id: str,
    server: Replayer,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[..., Asker],
) -> None:
    """By the server that was known when the job was recorded, whatever the process that does it is told."""
    from runs.jobs import durable

    get = ask(f"shop={database.source.place}")
    monkeypatch.setattr(jobs, "wake", lambda: None)
    digest = planning.plan(database, run_id, CHOSEN).digest
    job = jobs.start([jobs.Chosen("shop", run_id, CHOSEN, digest)], "mended", 1, *BY)
    monkeypatch.setenv("DURASCOPE_RETRY", "other")
    monkeypatch.delenv("DURASCOPE_ENGINE_URL")
    server.answers = says(503, {"err": "database error"})
    with closing(Appender(Path(database.source.place))) as appender:
        monkeypatch.setattr(durable, "_appenders", {database.source.place: appender})
        assert durable._append(recorded.item_of(job.pk, 0)) == "held"
    recorded.finish(job.pk, "")
    assert server.asked
    page = Client().get(f"/retries/jobs/{job.pk}/").content.decode()
    assert "0 of 1 run are retried, 1 was appended paused and waits for its release." in page
    assert "status 503: database error" in page
    assert get(f"/api/v1/jobs/{job.pk}/")["counts"] == {"held": 1}
    server.answers = answer
    monkeypatch.setenv("DURASCOPE_RETRY", "shop")
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"shop={server.url}")
    retrying.release(database, Retry.objects.get(), *BY)
    (item,) = get(f"/api/v1/jobs/{job.pk}/")["items"]
    assert (item["result"], "key does not match" in item["detail"]) == (result, answer is diverges)


def test_only_a_server_that_may_retry_them_has_jobs_go_on(
    database: Database, run_id: str, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Asker]
) -> None:
    ask(f"shop={database.source.place}")
    woken: list[str] = []
    monkeypatch.setattr(jobs, "wake", lambda: woken.append(os.environ["DURASCOPE_RETRY"]))
    jobs.start([jobs.Chosen("shop", run_id, CHOSEN, "x")], "mended", 1, *BY)
    monkeypatch.setenv("DURASCOPE_RETRY", "other")
    jobs.resume()
    monkeypatch.setenv("DURASCOPE_RETRY", "other,shop")
    jobs.resume()
    assert woken == ["shop", "other,shop"]


def guard(database: Database) -> str:
    with closing(sqlite3.connect(database.source.place)) as connection:
        ((found,),) = connection.execute("SELECT deployment_id FROM t_deployment WHERE status = 'active'")
    return str(found)


TOUCHED = {
    "unpaused": "UPDATE t_state SET lifecycle = 'active' WHERE execution_id = :id",
    "a row more": "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant)"
    " SELECT execution_id, created_at, '\"unpaused\"', version + 1, 'unpaused' FROM t_execution_log"
    " WHERE execution_id = :id ORDER BY version DESC LIMIT 1",
    "an answer": "INSERT INTO t_join_set_response (created_at, execution_id, join_set_id, delay_id, delay_success, seq)"
    " VALUES ('2026-11-22 10:00:00+00:00', :id, 'g:9', 'Delay_x', 1, 99)",
}


@pytest.mark.parametrize("how", TOUCHED)
def test_what_somebody_took_up_is_not_deleted(
    how: str, database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = waiting(database, run_id, monkeypatch, server)

    def meanwhile(handler: Any, asked: str) -> None:
        with closing(sqlite3.connect(database.source.place)) as connection, connection:
            connection.execute(TOUCHED[how], {"id": held.new_run})
        diverges(handler, asked)

    server.answers = meanwhile
    before = len(held.rows)
    left = retrying.release(database, held, *BY)
    assert left.progress in (Progress.HELD, Progress.APPENDED)
    with closing(sqlite3.connect(database.source.place)) as connection:
        found = sum(
            connection.execute(
                f"SELECT count(*) FROM {table} WHERE execution_id GLOB ? || '*'", (held.new_run,)
            ).fetchone()[0]
            for table in ("t_execution_log", "t_state", "t_join_set_response", "t_delay")
        )
    assert found >= before


def test_another_deployment_asks_for_another_replay(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = waiting(database, run_id, monkeypatch, server)

    def deploys(handler: Any, asked: str) -> None:
        with closing(sqlite3.connect(database.source.place)) as connection, connection:
            connection.execute("UPDATE t_deployment SET status = 'inactive' WHERE status = 'active'")
        blocked(handler, asked)

    server.answers = deploys
    left = retrying.release(database, held, *BY)
    assert (left.progress, "Another deployment" in left.detail) == (Progress.HELD, True)


def test_taken_back_by_the_sql_of_its_page_it_is_refused(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs.statements import taking_back

    before = everything(database.source.place)
    held = waiting(database, run_id, monkeypatch, server)
    with closing(sqlite3.connect(database.source.place)) as connection:
        connection.executescript(taking_back(held.rows))
    assert everything(database.source.place) == before
    seen = following.retry(held.pk, database)
    assert (seen.progress, "took it back" in seen.detail) == (Progress.REFUSED, True)
    again = waiting(database, run_id, monkeypatch, server)
    done = retrying.release(database, again, *BY)
    with closing(sqlite3.connect(database.source.place)) as connection:
        connection.executescript(taking_back(done.rows))
    assert everything(database.source.place) == before


def test_nobody_releases_without_permission(
    database: Database, run_id: str, server: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = waiting(database, run_id, monkeypatch, server)
    monkeypatch.setenv("DURASCOPE_RETRY", "other")
    with pytest.raises(NotAllowed):
        retrying.release(database, held, *BY)
    assert server.asked == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shop", "NAME=URL"),
        ("=http://127.0.0.1", "NAME=URL"),
        ("sh op=http://127.0.0.1", "NAME=URL"),
        ("shop=", "http or https URL"),
        ("shop=127.0.0.1:5005", "http or https URL"),
        ("shop=ftp://127.0.0.1", "http or https URL"),
        ("shop=http://", "http or https URL"),
        ("shop=http://user:word@host", "http or https URL"),
        ("shop=http://host:0", "http or https URL"),
        ("shop=http://host:99999", "http or https URL"),
        ("shop=http://host/?a=b", "http or https URL"),
        ("shop=http://ho st", "http or https URL"),
        ("shop=http://host\r\nX: y", "http or https URL"),
        ("shop=http://a,shop=http://b", "has two"),
    ],
)
def test_a_server_is_a_plain_url_by_name(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        engine_servers.pairs(text)


def test_servers_are_found_by_their_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", "a=http://127.0.0.1:5005/, b=https://h.example/obelisk")
    assert engine_servers.address_of("a") == "http://127.0.0.1:5005"
    assert engine_servers.address_of("b") == "https://h.example/obelisk"
    assert engine_servers.address_of("c") is None


def test_its_page_says_what_it_waits_for_and_releases_it(
    database: Database,
    run_id: str,
    server: Replayer,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[..., Asker],
) -> None:
    get = ask(f"shop={database.source.place}")
    held = waiting(database, run_id, monkeypatch, server)
    client = Client(enforce_csrf_checks=True)
    page = client.get(f"/retries/{held.pk}/").content.decode()
    for words in (
        "Appended paused, not released yet.",
        "can&#x27;t be reached",
        "Check again and release",
        "Take it back",
    ):
        assert words in page
    fares = get(f"/api/v1/retries/{held.pk}/")
    assert (fares["retry"]["progress"], fares["retry"]["released_at"]) == ("held", None)
    assert "waits for its release" in fares["why_not"]
    address = f"/retries/{held.pk}/release/"
    assert client.post(address).status_code == 403
    assert client.get(address).status_code == 405
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    sent = client.post(address, {"csrfmiddlewaretoken": token[1]})
    assert (sent.status_code, sent.headers["Location"]) == (302, f"/retries/{held.pk}/")
    page = client.get(f"/retries/{held.pk}/").content.decode()
    assert "Check again and release" not in page
    assert "Appended, not taken up yet." in page
    fares = get(f"/api/v1/retries/{held.pk}/")
    assert (fares["retry"]["progress"], fares["retry"]["detail"]) == ("appended", "")
    assert fares["retry"]["released_at"] is not None
    released = Entry.objects.order_by("-seq")[0]
    assert (released.who, released.where) == ("127.0.0.1", address)


def test_a_plan_that_diverges_is_a_conflict_for_clients(
    database: Database, run_id: str, server: Replayer, ask: Callable[..., Asker]
) -> None:
    get = ask(f"shop={database.source.place}")
    address = f"/api/v1/databases/shop/runs/{run_id}/retry/"
    server.answers = diverges
    body = {"digest": get(address)["digest"], "reason": "mended"}
    said = Client().post(address, json.dumps(body), content_type="application/json")
    assert (said.status_code, said.json()["error"]) == (409, "ReplayDiverged")
    assert "key does not match" in said.json()["detail"]
    assert get(address)["retry"] is None


def test_the_command_takes_the_servers_address_and_refuses_what_is_none(
    fresh: Callable[[str], Path], state: Path
) -> None:
    path = f"shop={fresh('shop-staging')}"
    for command in (("serve", path, "--port", "0"), ("retry", path, "E_none")):
        done = run(*command, "--engine-url", "shop=ftp://127.0.0.1", DURASCOPE_STATE=str(state))
        assert (done.returncode, "http or https URL" in done.stderr) == (1, True), done.stderr
    none = run("retry", path, "E_none", "--release", DURASCOPE_STATE=str(state))
    assert (none.returncode, "waits for its release" in none.stderr) == (1, True)
    with served("serve", path, "--engine-url", "shoop=http://127.0.0.1:1", DURASCOPE_STATE=str(state)) as durascope:
        durascope.stop()
    assert "no database is called shoop yet" in durascope.errors

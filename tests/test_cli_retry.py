"""``durascope retry``, ``durascope audit`` and ``--allow-retry``, as processes, over real databases."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from serving import run, served

from inspector.cli import main

Fresh = Callable[[str], Path]
FAILED = "wf-declined-fork"


def retries(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT workflow_uuid FROM workflow_status WHERE forked_from = ?", (FAILED,)
        ).fetchall()
    return sorted(row[0] for row in rows if ".retry-" in row[0])


def test_it_prints_the_plan_and_appends_only_with_yes_and_a_reason(fresh: Fresh, tmp_path: Path) -> None:
    zoo, state = fresh("zoo-3.4.0"), str(tmp_path / "state")
    before = zoo.read_bytes()

    plan = run("retry", str(zoo), FAILED, DURASCOPE_STATE=state)
    assert (plan.returncode, plan.stderr) == (0, "")
    assert f"fork {FAILED} → {FAILED}.retry-1" in plan.stdout
    assert 'INSERT INTO "workflow_status"' in plan.stdout
    dry = run("retry", str(zoo), FAILED, "--dry-run", "--yes", "--reason", "why", DURASCOPE_STATE=state)
    assert dry.returncode == 0
    without = run("retry", str(zoo), FAILED, "--yes", DURASCOPE_STATE=state)
    assert without.returncode == 2
    assert "A retry needs a reason." in without.stderr
    assert (zoo.read_bytes(), Path(state).exists()) == (before, False)

    done = run("retry", str(zoo), FAILED, "--yes", "--reason", "the bank is back", DURASCOPE_STATE=state)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Appended: {FAILED}.retry-1" in done.stdout
    assert retries(zoo) == [f"{FAILED}.retry-1"]
    again = run("retry", str(zoo), FAILED, "--yes", "--reason", "again", DURASCOPE_STATE=state)
    assert again.returncode == 1
    assert "It can't be retried" in again.stdout


def test_the_audit_is_verified_and_exported(fresh: Fresh, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    nothing = run("audit", "verify", DURASCOPE_STATE=state)
    assert (nothing.returncode, Path(state).exists()) == (1, False)
    assert "There is no audit" in nothing.stderr
    run("retry", str(fresh("zoo-3.4.0")), FAILED, "--yes", "--reason", "why not", DURASCOPE_STATE=state)

    fine = run("audit", "verify", DURASCOPE_STATE=state)
    assert fine.returncode == 0
    assert fine.stdout.startswith("2 entries")
    exported = [json.loads(line) for line in run("audit", "export", DURASCOPE_STATE=state).stdout.splitlines()]
    assert [entry["event"] for entry in exported] == ["asked", "appended"]
    assert exported[1]["reason"] == "why not"
    assert exported[1]["hash"] in fine.stdout

    with closing(sqlite3.connect(Path(state) / "durascope.sqlite")) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_not_changed")
        connection.execute("UPDATE state_entry SET who = 'nobody' WHERE seq = 2")
    broken = run("audit", "verify", DURASCOPE_STATE=state)
    assert broken.returncode == 1
    assert "broken at entry 2" in broken.stderr


def test_a_run_that_is_none_and_options_that_are_none_are_said(fresh: Fresh) -> None:
    zoo = str(fresh("zoo-3.4.0"))
    assert run("retry", zoo, "no-such-run").returncode == 1
    wrong = run("retry", zoo, FAILED, "--operation", "undo")
    assert wrong.returncode == 2
    assert "run_again" in wrong.stderr


def test_it_is_served_where_it_is_allowed_and_nowhere_else(fresh: Fresh, tmp_path: Path) -> None:
    zoo, state = fresh("zoo-3.4.0"), tmp_path / "state"
    address = f"/api/v1/databases/zoo-3.4.0/runs/{FAILED}/retry/"
    with served("serve", str(zoo), cwd=tmp_path, DURASCOPE_STATE=str(state)) as durascope:
        assert json.loads(durascope.get(address).text)["allowed"] is False
        assert json.loads(durascope.get("/api/v1/retries/").text)["retries"] == []
        assert durascope.get(address, method="POST", Content_Type="application/json").status == 422
    assert not state.exists()
    with served("serve", str(zoo), "--allow-retry", "zoo-3.4.0", DURASCOPE_STATE=str(state)) as durascope:
        assert json.loads(durascope.get(address).text)["allowed"] is True
        assert durascope.get(address, method="POST").status == 415
        durascope.stop()
    assert durascope.errors == ""
    assert (state / "durascope.sqlite").exists()


def test_beyond_this_machine_it_is_refused(fresh: Fresh, tmp_path: Path) -> None:
    zoo = str(fresh("zoo-3.4.0"))
    done = run(
        "serve", zoo, "--host", "0.0.0.0", "--port", "0", "--allow-retry", "x", DURASCOPE_STATE=str(tmp_path / "s")
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "--allow-retry is refused on 0.0.0.0" in done.stderr
    assert not (tmp_path / "s").exists()


def test_while_the_clock_is_fixed_nothing_is_appended(fresh: Fresh, tmp_path: Path) -> None:
    zoo = fresh("zoo-3.4.0")
    before = zoo.read_bytes()
    fixed = {"DURASCOPE_NOW": "2026-11-22T15:00:00Z", "DURASCOPE_STATE": str(tmp_path / "s")}
    serving = run("serve", str(zoo), "--port", "0", "--allow-retry", "zoo-3.4.0", **fixed)
    assert (serving.returncode, serving.stdout) == (1, "")
    assert "--allow-retry is refused while DURASCOPE_NOW fixes the clock" in serving.stderr
    done = run("retry", str(zoo), FAILED, "--yes", "--reason", "why", **fixed)
    assert done.returncode == 1
    assert "DURASCOPE_NOW fixes the clock" in done.stderr
    assert (zoo.read_bytes(), (tmp_path / "s").exists()) == (before, False)


def test_without_a_place_for_the_audit_it_does_not_start(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = str(tmp_path / "file" / "state")
    done = run("serve", str(fresh("zoo-3.4.0")), "--port", "0", "--allow-retry", "zoo-3.4.0", DURASCOPE_STATE=state)
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_no_database_has_is_said(fresh: Fresh, tmp_path: Path) -> None:
    zoo = str(fresh("zoo-3.4.0"))
    with served("serve", zoo, "--allow-retry", "zoo", DURASCOPE_STATE=str(tmp_path)) as durascope:
        durascope.stop()
    assert "no database is called zoo yet" in durascope.errors
    assert run("serve", zoo, "--allow-retry", "a b").returncode == 1


def test_the_help_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(
        word in said for word in ("durascope retry PATH", "durascope audit", "DURASCOPE_RETRY", "DURASCOPE_STATE")
    )
    assert os.environ.get("DURASCOPE_RETRY") is None

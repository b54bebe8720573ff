"""Retries taken up by a live DBOS application: each runs what its plan said, nothing before it, and succeeds."""

import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOSClient

from runs.retry import RetryPlan
from tests.dbos_files import column, sql
from tests.engines import application, build_go, executed, output, release, wait_until_ended
from tests.retrying import Done, everything, follow, plan, retry

pytestmark = pytest.mark.live

Options = dict[str, Any]
Steps = dict[str, list[str]]
# What each run of the application is retried with, and the steps that then run, of it and of the runs below it.
CASES: dict[str, tuple[Options, Steps]] = {
    "step": ({}, {"step.retry-1": ["charge", "ship"]}),
    "again": ({"start": "1"}, {"again.retry-1": ["reserve", "charge", "ship"]}),
    "body": ({}, {}),
    "caught": ({}, {"caught.retry-1": ["caught", "decline"]}),
    "parent": ({}, {"parent-2.retry-1": ["charge", "ship"], "parent.retry-1": ["ship"]}),
    "whole": (
        {"children": "whole"},
        {"whole.retry-1-2": ["reserve", "charge", "ship"], "whole.retry-1": ["ship"]},
    ),
    "grandparent": ({}, {"grandparent-1-2.retry-1": ["charge", "ship"], "grandparent-1.retry-1": ["ship"]}),
    "receives": ({"start": "2"}, {"receives.retry-1": ["charge"]}),
    "publishes": ({}, {"publishes.retry-1": ["charge"]}),
    "portable": ({}, {"portable.retry-1": ["decline"]}),
    "instance": ({}, {"instance.retry-1": ["charge", "ship"]}),
    "gathered": ({"start": "failed-only"}, {"gathered.retry-1": ["count-3"]}),
    "gathered-all": ({}, {"gathered-all.retry-1": ["count-3", "count-4", "count-5"]}),
    "late": ({}, {"late.retry-1": ["wait_long", "ship"]}),
}
OUTPUTS = {
    "step": "shipped a box",
    "body": "reserved",
    "parent": "shipped shipped a child's box",
    "receives": "received hello",
    "gathered": 15,
    "instance": "shipped corner",
    "portable": "paid",
    "late": "shipped late",
}
GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
OLD = ("1.13.0", "2.0.0", "2.5.0", "2.14.0", "2.20.0", "2.25.0", "2.30.0", "3.0.0")


@dataclass
class Retried:
    """All cases, retried while the application ran, and what came of it."""

    database: Path
    plans: dict[str, RetryPlan] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    executed: Steps = field(default_factory=dict)


def fail_everything(folder: Path, python: str = sys.executable) -> None:
    """The database of an application in which every case failed, and that was stopped."""
    with application(folder, python=python) as running:
        running.ask("start")


def mend(folder: Path) -> None:
    """From now on everything succeeds, and only what runs from now on is written down."""
    (folder / "executed").unlink()
    (folder / "mended").touch()


def retry_everything(folder: Path, cases: dict[str, tuple[Options, Steps]], python: str = sys.executable) -> Retried:
    mend(folder)
    with application(folder, python=python) as running:
        found = Retried(running.database)
        for run, (options, _) in cases.items():
            found.plans[run] = plan(found.database, run, **options)
            found.done[run] = retry(found.database, run, **options)
        new_runs = {run: done.new_run for run, done in found.done.items()}
        ended = wait_until_ended(found.database, list(new_runs.values()))
    found.statuses = {run: ended[new_run] for run, new_run in new_runs.items()}
    found.executed = executed(folder)
    return found


def ran(found: Retried, run: str) -> Steps:
    """What ran of a retry and of the runs below it, in no order where steps ran beside each other."""
    mine = {new: steps for new, steps in found.executed.items() if new.split("-", 1)[0].split(".")[0] == run}
    if run.startswith("gathered"):
        mine = {new: sorted(steps) for new, steps in found.executed.items() if new == f"{run}.retry-1"}
    return mine


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failed")
    fail_everything(folder)
    return folder


@pytest.fixture(scope="module")
def retried(failed: Path, tmp_path_factory: pytest.TempPathFactory) -> Retried:
    folder = tmp_path_factory.mktemp("retried") / "copy"
    shutil.copytree(failed, folder)
    return retry_everything(folder, CASES)


@pytest.fixture
def broken(failed: Path, tmp_path: Path) -> Path:
    """A copy of the folder in which everything has failed, mended, while no application runs."""
    folder = tmp_path / "copy"
    shutil.copytree(failed, folder)
    mend(folder)
    return folder


@pytest.mark.parametrize("run", CASES)
def test_a_retry_runs_only_what_its_plan_said_and_succeeds(retried: Retried, run: str) -> None:
    assert retried.statuses[run] == "SUCCESS"
    assert ran(retried, run) == CASES[run][1]
    kept = {(part.run, part.name) for part in retried.plans[run].kept}
    for new_run, steps in ran(retried, run).items():
        original = new_run.removesuffix(".retry-1")
        assert not {(original, step) for step in steps} & kept
    if run in OUTPUTS:
        assert output(retried.database, retried.done[run].new_run) == OUTPUTS[run]


@pytest.mark.parametrize("run", CASES)
def test_it_is_known_when_a_retry_was_taken_up(retried: Retried, run: str) -> None:
    found = follow(retried.database, retried.done[run])
    assert found.taken_up_after is not None
    assert found.taken_up_after >= timedelta()
    assert found.why_not == ""


def test_the_originals_are_as_the_engine_left_them(retried: Retried, failed: Path) -> None:
    for table, key in (("workflow_status", "workflow_uuid"), ("operation_outputs", "workflow_uuid"), ("streams", "workflow_uuid"),
                       ("workflow_output", "workflow_uuid"), ("notifications", "destination_uuid")):  # fmt: skip
        everything = f"SELECT * FROM {table} WHERE {key} NOT LIKE '%.retry-%' ORDER BY 1, 2, 3"
        assert sql(retried.database, everything) == sql(failed / "live.sqlite", everything)
    assert sql(retried.database, "PRAGMA integrity_check") == [("ok",)]
    assert sql(retried.database, "PRAGMA foreign_key_check") == []


def test_values_and_streams_of_a_retry_go_on_from_those_before_it(retried: Retried) -> None:
    new_run = retried.done["publishes"].new_run
    count = 'SELECT count(*), max("offset") FROM streams WHERE workflow_uuid = ?'
    assert sql(retried.database, count, new_run) == [(3, 2)]
    history = "SELECT function_id FROM workflow_events_history WHERE workflow_uuid = ? ORDER BY 1"
    assert column(retried.database, history, new_run) == [1, 4]


def test_the_timeout_is_not_inherited(retried: Retried) -> None:
    timeouts = "SELECT workflow_timeout_ms, workflow_deadline_epoch_ms FROM workflow_status WHERE workflow_uuid = ?"
    assert sql(retried.database, timeouts, "late.retry-1") == [(None, None)]
    assert any("not inherited" in words for words in retried.plans["late"].effects)


def later(monkeypatch: pytest.MonkeyPatch, database: Path, done: Done) -> str:
    """Why a retry is not taken up, as it is said some seconds after it was appended."""
    with monkeypatch.context() as patch:
        patch.setenv("DURASCOPE_NOW", (done.at + timedelta(seconds=6)).isoformat())
        found = follow(database, done)
    assert found.taken_up_after is None
    return found.why_not


def test_a_retry_appended_while_no_application_runs_is_taken_up_when_it_starts(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = broken / "live.sqlite"
    done = retry(database, "parent")
    assert "No worker seems to be running" in later(monkeypatch, database, done)
    with application(broken):
        assert wait_until_ended(database, [done.new_run]) == {done.new_run: "SUCCESS"}
    assert executed(broken) == CASES["parent"][1]


def test_after_a_step_back_to_an_older_version_the_retry_waits_and_says_so_until_it_is_pinned(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = broken / "live.sqlite"
    with application(broken, version="v2"):
        pass
    with application(broken, version="v1") as running:
        assert any("pin v1" in words for words in plan(database, "step").warnings)
        waiting = retry(database, "step")
        running.ask("one")
        words = later(monkeypatch, database, waiting)
        assert "newest version, v2" in words
        assert "pinned to v1" in words
        client = DBOSClient(system_database_url=f"sqlite:///{database}")
        client.cancel_workflow(waiting.new_run)
        client.destroy()
        pinned = retry(database, "step", pin="v1")
        assert wait_until_ended(database, [pinned.new_run]) == {"step.retry-2": "SUCCESS"}


def test_an_application_of_another_name_does_not_take_it_up_and_that_is_said(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = broken / "live.sqlite"
    with application(broken, name="stranger", version="v1b") as running:
        done = retry(database, "step")
        running.ask("one")
        words = later(monkeypatch, database, done)
    assert "the application shop" in words
    assert "stranger" in words


def test_a_run_that_the_engine_gave_up_goes_on_after_its_last_step(tmp_path: Path) -> None:
    database = tmp_path / "live.sqlite"
    status = "SELECT status FROM workflow_status WHERE workflow_uuid = 'crashes'"
    for _ in range(5):
        # Each start finds it unfinished, begins it again, and is ended by it, until the engine gives it up.
        with suppress(AssertionError), application(tmp_path) as running:
            running.ask("crash")
        if column(database, status) == [GIVEN_UP]:
            break
    assert column(database, status) == [GIVEN_UP]
    mend(tmp_path)
    with application(tmp_path):
        found = plan(database, "crashes")
        assert [part.name for part in found.kept] == ["reserve"]
        assert any("given up" in words for words in found.warnings)
        done = retry(database, "crashes")
        assert wait_until_ended(database, [done.new_run]) == {"crashes.retry-1": "SUCCESS"}
    assert executed(tmp_path) == {"crashes.retry-1": ["fall", "ship"]}
    assert column(database, status) == [GIVEN_UP]


def old_cases(version: str) -> dict[str, tuple[Options, Steps]]:
    """What a release can do. 1.x hangs where it replays a stream. Before 2.11 steps that end beside each other meet a locked
    database, and not all are recorded; so there is no telling which of a fan-out failed. Before 2.14 a message is gone when it
    was received."""
    cases = dict(CASES)
    number = tuple(int(part) for part in version.split("."))
    if number < (2,):
        del cases["publishes"]
    if number < (2, 11):
        del cases["gathered"]
    if number < (2, 14):
        cases["receives"] = ({}, {"receives.retry-1": ["charge"]})
    return cases


@pytest.mark.engines
@pytest.mark.parametrize("version", OLD)
def test_every_case_on_another_release(version: str, tmp_path: Path) -> None:
    python = release(version)
    fail_everything(tmp_path, python)
    cases = old_cases(version)
    found = retry_everything(tmp_path, cases, python)
    assert set(found.statuses.values()) == {"SUCCESS"}, found.statuses
    for run, (_, steps) in cases.items():
        if run == "late" and any(part.name == "wait_long" for part in found.plans[run].kept):
            steps = {"late.retry-1": ["ship"]}  # a step that ends after the timeout is recorded before 3.x
        if run == "gathered-all":
            kept = {f"count-{part.ordinal}" for part in found.plans[run].kept}
            steps = {new: [f"count-{n}" for n in range(1, 6) if f"count-{n}" not in kept] for new in steps}
        assert ran(found, run) == steps
        if run in OUTPUTS:
            assert output(found.database, found.done[run].new_run) == OUTPUTS[run]
    assert sql(found.database, "PRAGMA foreign_key_check") == []


@pytest.mark.engines
@pytest.mark.parametrize("version", ["2.0.0", "2.20.0"])
def test_what_failed_on_an_older_release_goes_on_with_the_one_it_was_upgraded_to(version: str, tmp_path: Path) -> None:
    fail_everything(tmp_path, release(version))
    with application(tmp_path):
        pass
    cases = {run: CASES[run] for run in ("step", "body", "caught", "parent", "whole", "grandparent", "instance")}
    found = retry_everything(tmp_path, cases)
    assert set(found.statuses.values()) == {"SUCCESS"}, found.statuses
    for run, (_, steps) in cases.items():
        assert ran(found, run) == steps


GO_CASES: Steps = {
    "step": ["charge", "ship"],
    "body": [],
    "parent": ["ship"],
}


@pytest.mark.engines
@pytest.mark.skipif(shutil.which("go") is None, reason="no go was found")
def test_an_application_in_go_takes_each_up(tmp_path: Path) -> None:
    program = build_go()
    with application(tmp_path, program=program) as running:
        running.ask("start")
    mend(tmp_path)
    database = tmp_path / "live.sqlite"
    before = everything(database)
    with application(tmp_path, program=program):
        done = {run: retry(database, run) for run in GO_CASES}
        new_runs = [one.new_run for one in done.values()]
        assert wait_until_ended(database, new_runs) == dict.fromkeys(new_runs, "SUCCESS")
    assert output(database, done["parent"].new_run) == "shipped shipped a child's box"
    assert follow(database, done["step"]).taken_up_after is not None
    expected = {f"{run}.retry-1": steps for run, steps in GO_CASES.items() if steps}
    assert executed(tmp_path) == {**expected, "parent-1.retry-1": ["charge", "ship"]}
    after = everything(database)
    for table in ("workflow_status", "workflow_output", "operation_outputs"):
        assert [row for row in after[table] if ".retry-" not in row["workflow_uuid"]] == before[table]
    assert sql(database, "PRAGMA integrity_check") == [("ok",)]
    assert sql(database, "PRAGMA foreign_key_check") == []

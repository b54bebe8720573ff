"""Several retries at once, by the real command: never double and never half, whoever is killed and whoever else is at work."""

import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import bulk, serving
from tests.dbos_files import ZOO, column, sql
from tests.engines import ROOT, application, wait_until_ended

BUSY = ROOT / "tests" / "live" / "dbos" / "busy.py"
Fresh = Callable[[str], Path]


def inserts(runs: list[str]) -> Counter[tuple[str, str]]:
    """What retries of these runs add to the file, row by row."""
    kept = sum(bulk.kept(run) for run in runs)
    count = len(runs)
    return Counter(
        {
            ("workflow_status", "INSERT"): count,
            ("workflow_input", "INSERT"): count,
            ("operation_outputs", "INSERT"): kept,
        }
    )


def recorded(state: Path) -> list[str]:
    """The runs of which a retry is recorded as appended, each as often as it is; the audit's chain is whole."""
    audit = serving.run("audit", "verify", DURASCOPE_STATE=str(state))
    assert audit.returncode == 0, audit.stderr
    with closing(sqlite3.connect(state / "durascope.sqlite")) as connection:
        return [
            run for (run,) in connection.execute("SELECT run FROM state_retry WHERE progress = 'appended' ORDER BY 1")
        ]


def test_500_are_appended_each_once_and_nothing_else_is_changed(fresh: Fresh, tmp_path: Path) -> None:
    path, state = fresh(ZOO), tmp_path / "state"
    runs = bulk.multiply(path, 500)
    before = Path(shutil.copy(path, tmp_path / "before.sqlite"))
    with bulk.server(path, state) as api:
        job = api.finished(api.start(api.body(path, runs)))
    assert (job["counts"], job["stopped"]) == ({"done": 500}, "")
    assert bulk.retried_once(path, runs)
    assert bulk.differences(before, path) == inserts(runs)
    assert bulk.is_sound(path)
    assert recorded(state) == sorted(runs)


def killed(path: Path, state: Path, runs: list[str], kills: int, dice: random.Random) -> tuple[Any, list[int]]:
    """The job that retries these runs while everything of its server is killed that often, and how many were done each time. Every
    other time it is killed at work, else whenever: while it starts, or has just begun to look what is left."""
    job, done = "", []
    for number in range(kills):
        with bulk.server(path, state) as api:
            job = job or api.start(api.body(path, runs))
            if number % 2 == 0:
                seen = len(bulk.retries(path))
                assert serving.eventually(lambda seen=seen: len(bulk.retries(path)) > seen)
                time.sleep(dice.uniform(0, 0.4))
            else:
                time.sleep(dice.uniform(0, 3))
            # What appends may outlive the others for as long as it takes to see that nobody waits for it.
            bulk.kill(bulk.processes(state, appending=dice.random() < 0.5))
        done.append(len(bulk.retries(path)))
        assert bulk.is_sound(path)
        assert bulk.retried_once(path, [run.removesuffix(".retry-1") for run in bulk.retries(path)])
    with bulk.server(path, state) as api:
        return api.finished(job), done


def prove_kills(path: Path, folder: Path, count: int, kills: int, seed: int) -> None:
    state = folder / "state"
    runs = bulk.multiply(path, count)
    before = Path(shutil.copy(path, folder / "before.sqlite"))
    job, done = killed(path, state, runs, kills, random.Random(seed))
    assert any(0 < at < count for at in done), "one of them struck while it was at work"
    assert job["counts"] == {"done": count}
    assert bulk.retried_once(path, runs)
    assert bulk.differences(before, path) == inserts(runs)
    assert bulk.is_sound(path)
    assert recorded(state) == sorted(runs)


def test_killed_whole_at_random_moments_it_goes_on_until_each_is_retried_once(fresh: Fresh, tmp_path: Path) -> None:
    prove_kills(fresh(ZOO), tmp_path, count=60, kills=4, seed=5)


@pytest.mark.soak
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
@pytest.mark.parametrize("seed", range(10))
def test_killed_again_and_again(fresh: Fresh, tmp_path: Path, seed: int, journal: str) -> None:
    path = fresh(ZOO)
    sql(path, f"PRAGMA journal_mode={journal}")
    prove_kills(path, tmp_path, count=200, kills=12, seed=seed)


@pytest.mark.parametrize("shared", [True, False], ids=["one state", "a state each"])
def test_of_two_servers_and_two_users_one_retries_a_run_and_the_other_is_told(
    fresh: Fresh, tmp_path: Path, shared: bool
) -> None:
    path = fresh(ZOO)
    runs = bulk.multiply(path, 40)
    alone, together = runs[:8], runs[8:]
    before = Path(shutil.copy(path, tmp_path / "before.sqlite"))
    states = [tmp_path / "ada", tmp_path / ("ada" if shared else "bob")]
    with bulk.server(path, states[0]) as ada, bulk.server(path, states[1]) as bob, ThreadPoolExecutor(2) as at_once:
        digests = bulk.digests(path, alone)
        for run, digest in zip(alone, digests, strict=True):
            body = {"digest": digest, "reason": "both of us saw it"}
            answers = list(at_once.map(lambda api, run=run, body=body: api(api.plan(run), body), (ada, bob)))
            (won,) = [said for status, said in answers if status == 201]
            (lost,) = [said for status, said in answers if status == 409]
            assert won["retry"]["run"]["id"] == lost["run"]["id"] == f"{run}.retry-1"
            assert lost["error"] == "AlreadyRetried"
        body = ada.body(path, together)
        jobs = list(at_once.map(lambda api: api.finished(api.start(body)), (ada, bob)))
    results = [[item["result"] for item in job["items"]] for job in jobs]
    assert {tuple(sorted(pair)) for pair in zip(*results, strict=True)} == {("done", "skipped")}
    assert all("retry-1" in item["detail"] for job in jobs for item in job["items"] if item["result"] == "skipped")
    assert bulk.retried_once(path, runs)
    assert bulk.differences(before, path) == inserts(runs)
    assert bulk.is_sound(path)
    assert sorted(run for state in set(states) for run in recorded(state)) == sorted(runs)


@pytest.mark.live
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_an_engine_at_full_speed_loses_no_commit_and_takes_each_retry_up(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "live.sqlite"
    sql(path, f"PRAGMA journal_mode={journal}")
    with application(tmp_path, program=BUSY) as engine:
        engine.ask("fail")
        runs = column(path, "SELECT workflow_uuid FROM workflow_status WHERE status = 'ERROR' ORDER BY 1")
        engine.ask("work")
        with bulk.server(path, tmp_path / "state") as api:
            job = api.finished(api.start(api.body(path, runs)))
            ended = wait_until_ended(path, [f"{run}.retry-1" for run in runs])
        engine.ask("rest")
    assert (tmp_path / "problems").read_text() == ""
    assert job["counts"] == {"done": 50}
    assert list(ended.values()) == ["SUCCESS"] * 50
    forks = "SELECT count(*) FROM workflow_status WHERE forked_from IS NOT NULL"
    assert column(path, forks) == [50]
    told = int((tmp_path / "ticks").read_text())
    kept = "SELECT count(*) FROM workflow_status s JOIN operation_outputs o USING (workflow_uuid) WHERE s.name LIKE '%tick'"
    assert told > 100
    assert column(path, f"{kept} AND s.status = 'SUCCESS' AND o.error IS NULL") == [told]
    assert bulk.is_sound(path)

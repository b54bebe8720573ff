"""``durascope demo`` as a person starts it: the shipped databases, a live one that moves, nothing left afterwards."""

import json
import os
import signal
from pathlib import Path

import pytest
from serving import Served, eventually, served

SHIPPED = {"go-1.8.0", "mini-1.13.0", "mini-2.20.0", "shop", "shop-staging", "zoo-3.4.0"}
LIVE = "live-shop"

pytestmark = pytest.mark.live


def databases(durascope: Served) -> dict[str, dict[str, object]]:
    answer = json.loads(durascope.get("/api/v1/databases/").text)
    return {item["slug"]: item for item in answer["databases"]}


def live_runs(durascope: Served) -> dict[str, int]:
    found = databases(durascope).get(LIVE)
    counts = found["runs"] if found else {}
    assert isinstance(counts, dict)
    return counts


def application(temporary: Path) -> list[int]:
    """The processes whose command line names the temporary folder: the live application."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(temporary) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_the_demo_shows_both_engines_and_moves(tmp_path: Path) -> None:
    with served("demo", TMPDIR=str(tmp_path)) as durascope:
        assert set(databases(durascope)) >= SHIPPED
        assert {item["engine"] for item in databases(durascope).values() if item["problem"] is None} == {
            "dbos",
            "obelisk",
        }
        assert eventually(lambda: live_runs(durascope).get("succeeded", 0) >= 1)
        before = sum(live_runs(durascope).values())
        assert eventually(lambda: sum(live_runs(durascope).values()) > before)
        runs = json.loads(durascope.get(f"/api/v1/databases/{LIVE}/runs/").text)["runs"]
        assert "fulfil_order" in {run["workflow"] for run in runs}
        assert len(application(tmp_path)) == 1
        assert durascope.stop() == 0
    assert durascope.errors == ""
    assert eventually(lambda: durascope.gone)
    assert application(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_application_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    with served("demo", TMPDIR=str(tmp_path)) as durascope:
        assert eventually(lambda: live_runs(durascope))
        assert application(tmp_path)
        durascope.stop(signal.SIGKILL)
    assert eventually(lambda: application(tmp_path) == [])


def test_an_application_that_cannot_start_is_said_and_the_rest_is_served(tmp_path: Path) -> None:
    broken, temporary = tmp_path / "broken", tmp_path / "temporary"
    broken.mkdir()
    temporary.mkdir()
    (broken / "dbos.py").write_text("raise ImportError('this engine needs a newer SQLite')\n")
    with served("demo", path_first=broken, TMPDIR=str(temporary)) as durascope:
        assert eventually(lambda: application(temporary) == [])
        assert set(databases(durascope)) == SHIPPED
        durascope.stop()
    assert "the live application did not start: ImportError('this engine needs a newer SQLite')" in durascope.errors
    assert list(temporary.iterdir()) == []

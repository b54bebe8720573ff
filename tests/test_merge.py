"""The runs of all databases as one list: each exactly once, in one order, whatever happens to a database in between."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker

from runs.engines.dbos import search

Unpacked = Callable[[str], Path]
Ask = Callable[..., Asker]

OBELISK_ORDER = "SELECT created_at, execution_id FROM t_state"
DBOS_ORDER = (
    "SELECT strftime('%Y-%m-%d %H:%M:%S', created_at / 1000, 'unixepoch') || printf('.%03d', created_at % 1000), "
    "workflow_uuid FROM workflow_status"
)


def recorded(path: Path, slug: str, sql: str) -> list[tuple[str, str, str]]:
    """(created_at to the microsecond, slug, id) of every run, by Python's own SQLite on a copy."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(sql).fetchall()
    return [(at.removesuffix("+00:00")[:26].ljust(26, "0"), slug, run_id) for at, run_id in found]


def shown(rows: list[Any]) -> list[tuple[str, str, str]]:
    """The same of the rows of an answer."""
    found = []
    for run in rows:
        whole, _, fraction = run["created_at"].rstrip("Z").replace("T", " ").partition(".")
        found.append((f"{whole}.{fraction.ljust(6, '0')}", run["database"], run["id"]))
    return found


def newest_first(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Newest first, at the same instant by slug, then by id, descending."""
    by_id = sorted(rows, key=lambda row: row[2].encode(), reverse=True)
    return sorted(sorted(by_id, key=lambda row: row[1]), key=lambda row: row[0], reverse=True)


@pytest.mark.no_cover  # the same lines again and again
@pytest.mark.parametrize("limit", [37, 250])
def test_runs_of_both_engines_appear_exactly_once_in_one_order(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked, limit: int
) -> None:
    # shop-early is a true beginning of shop-fork: 429 runs have a namesake of the same instant in the other.
    names = ["shop-early", "shop-fork", "zoo-3.4.0", "go-1.8.0"]
    expected = [
        row
        for name in names
        for row in recorded(fresh(name), name, OBELISK_ORDER if name.startswith("shop") else DBOS_ORDER)
    ]

    found = ask(*(unpacked(name) for name in names)).pages("/api/v1/runs/", "runs", limit=limit)

    assert len(expected) == 429 + 859 + 52 + 17
    assert sorted(shown(found)) == sorted(expected)
    # What is finer than a microsecond is not in an answer: such rows are compared by what is.
    assert [row[:2] for row in shown(found)] == [row[:2] for row in newest_first(expected)]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_runs_of_one_second_in_several_databases_appear_exactly_once(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked, limit: int
) -> None:
    zoo = unpacked("zoo-3.4.0")
    copies = [zoo.with_name("zoo-3.4.0.sqlite"), fresh("zoo-3.4.0")]
    get = ask(f"b={copies[0]}", f"a={copies[1]}")
    expected = recorded(copies[1], "a", DBOS_ORDER) + recorded(copies[1], "b", DBOS_ORDER)

    assert shown(get.pages("/api/v1/runs/", "runs", limit=limit)) == newest_first(expected)


def test_only_the_databases_asked_for_are_merged(ask: Ask, unpacked: Unpacked) -> None:
    get = ask(unpacked("zoo-3.4.0"), unpacked("go-1.8.0"), unpacked("mini-3.4.0"))

    def slugs(**parameters: Any) -> set[str]:
        return {run["database"] for run in get("/api/v1/runs/", limit=500, **parameters)["runs"]}

    assert slugs() == {"zoo-3.4.0", "go-1.8.0", "mini-3.4.0"}
    assert slugs(db=["go-1.8.0", "mini-3.4.0"]) == {"go-1.8.0", "mini-3.4.0"}
    refused = get("/api/v1/runs/", db="nope", expect=400)
    assert refused["error"] == "BadFilter"
    assert "nope" in refused["detail"]


def test_filters_hold_for_every_database_and_on_every_page(ask: Ask, unpacked: Unpacked) -> None:
    get = ask(unpacked("zoo-3.4.0"), unpacked("go-1.8.0"), unpacked("shop-early"))

    found = get.pages("/api/v1/runs/", "runs", limit=5, status="failed", root="true", since="2026-11-22T13:07:30Z")

    one_by_one = [
        run
        for slug in ("zoo-3.4.0", "go-1.8.0", "shop-early")
        for run in get.pages(
            f"/api/v1/databases/{slug}/runs/",
            "runs",
            limit=500,
            status="failed",
            root="true",
            since="2026-11-22T13:07:30Z",
        )
    ]
    assert sorted(shown(found)) == sorted(shown(one_by_one))
    assert {run["status"] for run in found} == {"failed"}
    until = get.pages("/api/v1/runs/", "runs", limit=5, until="2026-11-22T13:07:31Z")
    assert {run["created_at"] for run in until} == {"2026-11-22T13:07:29Z", "2026-11-22T13:07:30Z"}


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
@pytest.mark.parametrize("q", ["w", "error", "insufficient"])
def test_a_bounded_search_of_one_database_leaves_out_no_run_of_any(
    ask: Ask, unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch, q: str, limit: int
) -> None:
    asker = ask(unpacked("zoo-3.4.0"), unpacked("go-1.8.0"), unpacked("shop-early"))
    everything = shown(asker.pages("/api/v1/runs/", "runs", q=q, limit=50))
    assert {slug for _, slug, _ in everything} >= {"zoo-3.4.0", "shop-early" if q != "w" else "go-1.8.0"}
    monkeypatch.setattr(search, "CANDIDATES", 2)
    monkeypatch.setattr(search, "BATCH", 2)
    assert shown(asker.pages("/api/v1/runs/", "runs", q=q, limit=limit)) == everything


def test_a_database_that_cannot_be_read_is_named_and_keeps_nothing_back(
    ask: Ask, unpacked: Unpacked, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    get = ask(broken, unpacked("zoo-3.4.0"))

    first = get("/api/v1/runs/", limit=20)

    assert len(first["runs"]) == 20
    assert [problem["database"] for problem in first["problems"]] == ["broken"]
    assert len(get.pages("/api/v1/runs/", "runs", limit=20)) == 52


def test_paging_goes_on_when_the_cursors_own_run_or_database_has_gone(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked
) -> None:
    path = fresh("zoo-3.4.0")
    get = ask(f"a={path}", f"b={unpacked('zoo-3.4.0')}", unpacked("go-1.8.0"))
    everything = shown(get.pages("/api/v1/runs/", "runs", limit=500))
    # Somewhere within the runs of one second: what comes next is told by id alone.
    place = next(
        number
        for number in range(20, len(everything))
        if len({row[:2] for row in everything[number - 2 : number + 1]}) == 1 and everything[number][1] == "a"
    )
    first = get("/api/v1/runs/", limit=place)

    # The run that the cursor names is deleted.
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM workflow_status WHERE workflow_uuid = ?", (first["runs"][-1]["id"],))
    rest = shown(get.pages("/api/v1/runs/", "runs", limit=500, after=first["next"]))
    assert shown(first["runs"]) + rest == everything

    # And its whole database.
    get = ask(f"b={unpacked('zoo-3.4.0')}", unpacked("go-1.8.0"))
    rest = shown(get.pages("/api/v1/runs/", "runs", limit=500, after=first["next"]))
    assert rest == [row for row in everything[place:] if row[1] != "a"]


def test_a_run_that_starts_while_a_client_pages_moves_no_other(ask: Ask, unpacked: Unpacked, fresh: Unpacked) -> None:
    path = fresh("zoo-3.4.0")
    get = ask(f"a={path}", f"b={unpacked('zoo-3.4.0')}")
    everything = shown(get.pages("/api/v1/runs/", "runs", limit=500))
    first = get("/api/v1/runs/", limit=37)

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO workflow_status(workflow_uuid, status, name, created_at, updated_at) "
            "VALUES ('new', 'PENDING', 'happy', 1795352999000, 1795352999000)"
        )

    rest = get.pages("/api/v1/runs/", "runs", limit=4, after=first["next"])
    assert shown(first["runs"]) + shown(rest) == everything
    assert get("/api/v1/runs/", limit=1)["runs"][0]["id"] == "new"

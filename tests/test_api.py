"""The JSON interface on real databases, against counts and rows read with another SQLite."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from django.test import Client
from writers import writing

from runs.addresses import encode

Unpacked = Callable[[str], Path]
Ask = Callable[..., Asker]

DATABASE_KEYS = {
    "slug", "href", "page", "engine", "revision", "opened", "size_bytes", "modified_at", "last_event_at", "runs", "problem",
}  # fmt: skip
RUN_KEYS = {
    "id", "href", "page", "database", "workflow", "status", "native_status", "created_at", "started_at", "finished_at",
    "duration", "attempts", "error", "parent", "version", "forked_from", "retries", "recovered",
}  # fmt: skip
STEP_KEYS = {
    "ordinal", "kind", "name", "status", "started_at", "finished_at", "duration", "attempts", "child", "inherited",
    "payloads",
}  # fmt: skip


def rows(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Independent SQL, on a copy that may be written: Python's own SQLite."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def ids(found: Iterable[Any]) -> list[str]:
    return [run["id"] for run in found]


def test_every_database_is_listed_with_its_schema_its_sizes_and_its_runs_by_status(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked
) -> None:
    shop, zoo = ask(unpacked("shop"), unpacked("zoo-3.4.0"))("/api/v1/databases/")["databases"]

    assert shop.keys() == zoo.keys() == DATABASE_KEYS
    assert (shop["slug"], shop["engine"], shop["revision"], shop["problem"]) == ("shop", "obelisk", "V17", None)
    assert (zoo["slug"], zoo["engine"], zoo["revision"], zoo["problem"]) == ("zoo-3.4.0", "dbos", "125", None)
    assert (shop["opened"], shop["size_bytes"]) == ("closed", unpacked("shop").stat().st_size)
    assert sum(shop["runs"].values()) == rows(fresh("shop"), "SELECT count(*) FROM t_state")[0][0] == 962
    assert zoo["runs"] == {
        "failed": 8, "running": 2, "queued": 5, "scheduled": 1, "cancelled": 2, "succeeded": 34,
    }  # fmt: skip
    assert zoo["last_event_at"] == "2026-11-22T13:07:42.566Z"  # DBOS wrote its last step then


def test_a_database_alone_is_the_same_object_as_in_the_list(ask: Ask, unpacked: Unpacked) -> None:
    get = ask(unpacked("shop"), unpacked("zoo-3.4.0"))
    for database in get("/api/v1/databases/")["databases"]:
        assert get(database["href"]) == database


def test_databases_that_cannot_be_read_are_listed_with_the_reason_and_disturb_no_other(
    ask: Ask, unpacked: Unpacked, tmp_path: Path
) -> None:
    text, other = tmp_path / "notes.sqlite", tmp_path / "other.sqlite"
    text.write_text("not a database at all, but long enough to have a header" * 10)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE tasks(id)")
    get = ask(text, other, tmp_path / "gone.sqlite", unpacked("zoo-3.4.0"))

    found = get("/api/v1/databases/")["databases"]

    problems = [(database["slug"], (database["problem"] or {}).get("error")) for database in found]
    assert problems == [
        ("notes", "NotSQLite"), ("other", "UnknownSchema"), ("gone", "FileMissing"), ("zoo-3.4.0", None),
    ]  # fmt: skip
    assert "tasks" in found[1]["problem"]["detail"]
    assert [(database["engine"], database["runs"]) for database in found[:3]] == [(None, {})] * 3
    assert get("/api/v1/databases/notes/runs/", expect=503)["error"] == "NotSQLite"
    assert get("/api/v1/databases/other/runs/", expect=422)["error"] == "UnknownSchema"
    assert get("/api/v1/databases/gone/runs/x/", expect=503)["error"] == "FileMissing"
    assert not [database["href"] for database in found if str(tmp_path) in database["href"] + database["page"]]


def test_all_runs_of_an_obelisk_database_are_listed_once_newest_first(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked
) -> None:
    get = ask(unpacked("shop"))
    expected = rows(fresh("shop"), "SELECT execution_id FROM t_state ORDER BY created_at DESC, execution_id DESC")

    found = get.pages("/api/v1/databases/shop/runs/", "runs", limit=137)

    assert ids(found) == [run_id for (run_id,) in expected]
    assert all(run.keys() == RUN_KEYS for run in found)
    top = get.pages("/api/v1/databases/shop/runs/", "runs", limit=500, root="true")
    assert len(top) == 291
    assert all(run["parent"] is None for run in top)
    assert len(get.pages("/api/v1/databases/shop/runs/", "runs", limit=500, root="false")) == 962 - 291


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_all_runs_of_a_dbos_database_are_listed_once_newest_first(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked, limit: int
) -> None:
    expected = rows(
        fresh("zoo-3.4.0"),
        "SELECT workflow_uuid, parent_workflow_id, forked_from, name, status FROM workflow_status "
        "ORDER BY created_at DESC, workflow_uuid DESC",
    )

    found = ask(unpacked("zoo-3.4.0")).pages("/api/v1/databases/zoo-3.4.0/runs/", "runs", limit=limit)

    assert len(found) == 52
    assert expected == [
        (
            run["id"],
            run["parent"] and run["parent"]["id"],
            run["forked_from"] and run["forked_from"]["id"],
            run["workflow"],
            run["native_status"],
        )
        for run in found
    ]


@pytest.mark.no_cover  # the same lines again and again
def test_every_run_has_its_steps_in_order_and_every_link_leads_on(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked
) -> None:
    get = ask(unpacked("zoo-3.4.0"))
    recorded = Counter[str]()
    expected: dict[str, list[int]] = {}
    for run_id, ordinal in rows(
        fresh("zoo-3.4.0"), "SELECT workflow_uuid, function_id FROM operation_outputs ORDER BY function_id"
    ):
        expected.setdefault(run_id, []).append(ordinal)

    for run in get.pages("/api/v1/databases/zoo-3.4.0/runs/", "runs", limit=500):
        detail = get(run["href"])
        assert detail["run"] == run
        assert [step["ordinal"] for step in detail["steps"]] == expected.get(run["id"], [])
        for reference in (run["parent"], run["forked_from"], *(step["child"] for step in detail["steps"])):
            assert reference is None or get(reference["href"])["run"]["id"] == reference["id"]
        for owner in (detail, *detail["steps"]):
            for payload in owner["payloads"].values():
                assert payload is None or get(payload["href"])["size_bytes"] == payload["size_bytes"]
        recorded.update(step["kind"] for step in detail["steps"])
        assert all(step.keys() == STEP_KEYS for step in detail["steps"])
    assert recorded.total() == 91


def test_the_scenarios_of_an_obelisk_database_have_the_history_that_the_engine_reports(
    ask: Ask, unpacked: Unpacked, oracle: Callable[[str], Any]
) -> None:
    get = ask(unpacked("shop"))
    for run_id, told in oracle("shop")["details"].items():
        detail = get(f"/api/v1/databases/shop/runs/{encode(run_id)}/")
        link = get.client.get(detail["run"]["href"]).headers["Link"]
        assert link == f'<{detail["run"]["href"]}events/>; rel="events"'
        events = get.pages(link[1 : link.index(">")], "events", limit=100)
        assert [event["position"] for event in events] == [event["version"] for event in told["events"]]
        for event, original in zip(events, told["events"], strict=True):
            assert original["created_at"].startswith(event["at"].rstrip("Z"))
            small = event["data"] if isinstance(event["data"], dict) else {}
            assert small.get("$type") == "payload" or same(event["data"], original["event"])


def same(written: Any, original: Any) -> bool:
    """Whether a value as the interface writes it says what the original says: integers beyond 2^53 are marked."""
    if isinstance(written, dict) and written.get("$type") == "int":
        return isinstance(original, int) and written["value"] == str(original) and abs(original) > 2**53
    if isinstance(written, dict) and isinstance(original, dict):
        return list(written) == list(original) and all(same(written[key], original[key]) for key in written)
    if isinstance(written, list) and isinstance(original, list):
        return len(written) == len(original) and all(map(same, written, original))
    return type(written) is type(original) and bool(written == original)


FILTERS = [
    ("status=failed", "status IN ('ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')"),
    ("status=running&status=queued", "status IN ('PENDING', 'ENQUEUED')"),
    ("status=paused", "FALSE"),
    ("workflow=happy", "name = 'happy'"),
    ("q=wf-par", "workflow_uuid GLOB 'wf-par*'"),
    ("q=wf-unicode-%D0%BA%D0%BB%D1%8E%D1%87-%F0%9F%8E%89%2F", "workflow_uuid GLOB 'wf-unicode-*'"),
    ("q=%25", "FALSE"),
    ("since=2026-11-22T13:07:36Z", "created_at >= 1795352856000"),
    ("since=2026-11-22T13:07:36.000001Z", "created_at > 1795352856000"),
    ("until=2026-11-22T13:07:36Z", "created_at < 1795352856000"),
    ("until=2026-11-22T13:07:36.000001Z", "created_at <= 1795352856000"),
    ("since=2026-11-22T14:07:32%2B01:00&until=2026-11-22T13:07:33Z", "created_at = 1795352852000"),
    ("version=zoo-v0", "application_version = 'zoo-v0'"),
    ("queue=q2", "queue_name = 'q2'"),
    ("root=true", "parent_workflow_id IS NULL"),
    ("root=false", "parent_workflow_id IS NOT NULL"),
    ("root=true&status=failed&version=zoo-v1", "parent_workflow_id IS NULL AND status = 'ERROR'"),
]


@pytest.mark.parametrize(("query", "where"), FILTERS)
def test_a_filter_shows_the_runs_that_the_same_condition_selects(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked, query: str, where: str
) -> None:
    order = "ORDER BY created_at DESC, workflow_uuid DESC"
    expected = rows(fresh("zoo-3.4.0"), f"SELECT workflow_uuid FROM workflow_status WHERE {where} {order}")
    get = ask(unpacked("zoo-3.4.0"))

    assert ids(get(f"/api/v1/databases/zoo-3.4.0/runs/?limit=500&{query}")["runs"]) == [
        run_id for (run_id,) in expected
    ]
    assert ids(get(f"/api/v1/runs/?limit=500&{query}")["runs"]) == [run_id for (run_id,) in expected]


def test_active_at_shows_what_had_begun_and_not_ended(ask: Ask, unpacked: Unpacked) -> None:
    get = ask(unpacked("zoo-3.4.0"))
    # The process died after its last step; two runs were PENDING then, all others had ended or not begun.
    after_the_end = get("/api/v1/databases/zoo-3.4.0/runs/", active_at="2026-11-22T13:07:43Z")["runs"]
    assert ids(after_the_end) == ["wf-pending", "wf-blocker"]
    before = get("/api/v1/databases/zoo-3.4.0/runs/", active_at="2026-11-22T13:07:00Z")["runs"]
    assert before == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limt=5", "limt"), ("tz=utc", "tz"), ("db=zoo-3.4.0", "db"), ("status=done", "done"), ("status=FAILED", "FAILED"),
        ("since=yesterday", "yesterday"), ("until=2026-13-01", "2026-13-01"), ("root=1", "root"), ("limit=0", "limit"),
        ("limit=501", "limit"), ("limit=-1", "limit"), ("limit=1e2", "limit"), ("limit=%D9%A3", "limit"),
        (f"q={'x' * 2001}", "q is"),
    ],
)  # fmt: skip
def test_an_unknown_parameter_or_value_is_refused_by_name(ask: Ask, unpacked: Unpacked, query: str, named: str) -> None:
    answer = ask(unpacked("zoo-3.4.0"))(f"/api/v1/databases/zoo-3.4.0/runs/?{query}", expect=400)
    assert answer["error"] == "BadFilter"
    assert named in answer["detail"]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "W10", "WzEsMl0", "WzEsImEiXQ*", "é", "A" * 4001, "WzEsWyJ-fiJdXQ"])
@pytest.mark.parametrize("address", ["databases/zoo-3.4.0/runs/", "runs/", "databases/zoo-3.4.0/runs/wf-happy/events/"])
def test_a_cursor_that_is_none_of_ours_is_refused(ask: Ask, unpacked: Unpacked, address: str, cursor: str) -> None:
    answer = ask(unpacked("zoo-3.4.0"))(f"/api/v1/{address}", expect=400, after=cursor)
    assert answer["error"] == "BadCursor"


ODD_IDS = [
    "..", ".", "%2F", "%252F", "a/../b", "line\nbreak", "tab\t and \x01", "nul\x00byte", "ключ-🎉/?#&<b>", "~~", "~2e", " ",
    "x" * 5000, "y" * 5000, "日本" * 300, "'; DROP TABLE workflow_status; --", "<script>alert(1)</script>", "wf:a.b_c-d",
    "~~" + "0" * 64, "",
]  # fmt: skip


def test_every_id_that_a_database_can_hold_has_an_address_that_leads_to_it(ask: Ask, fresh: Unpacked) -> None:
    path = fresh("zoo-3.4.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM workflow_status")
        connection.executemany(
            "INSERT INTO workflow_status(workflow_uuid, status, name, created_at, updated_at) "
            "VALUES (?, 'SUCCESS', 'odd', 1795352849000, 1795352849000)",
            [(run_id,) for run_id in ODD_IDS],
        )
    get = ask(path)
    expected = sorted(ODD_IDS, key=lambda run_id: run_id.encode(), reverse=True)

    for address in ("/api/v1/databases/zoo-3.4.0/runs/", "/api/v1/runs/"):
        for limit in (1, 4, 500):
            assert ids(get.pages(address, "runs", limit=limit)) == expected
    for run in get("/api/v1/runs/", limit=500)["runs"]:
        assert run["href"].isascii()
        assert len(run["href"]) < 1600
        assert get(run["href"])["run"]["id"] == run["id"]
        assert get(f"{run['href']}events/")["events"][0]["type"] == "created"


def test_an_obelisk_id_with_colons_and_dots_leads_to_its_run(ask: Ask, unpacked: Unpacked) -> None:
    get = ask(unpacked("shop"))
    children = get("/api/v1/databases/shop/runs/", root="false", limit=5)["runs"]
    for run in children:
        assert ":" in run["id"]
        assert "." in run["id"]
        assert get(run["href"])["run"] == run
        assert run["page"] == run["href"].replace("/api/v1/databases/", "/db/")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("databases/nope/", "DatabaseNotFound"),
        ("databases/nope/runs/", "DatabaseNotFound"),
        ("databases/zoo-3.4.0/runs/nope/", "RunNotFound"),
        ("databases/zoo-3.4.0/runs/nope/events/", "RunNotFound"),
        ("databases/zoo-3.4.0/runs/nope/payloads/run.input/", "RunNotFound"),
        ("databases/zoo-3.4.0/runs/wf%0Ahappy/", "RunNotFound"),
        ("databases/zoo-3.4.0/runs/~2/", "RunNotFound"),
        ("databases/zoo-3.4.0/runs/~77f-happy/", "RunNotFound"),
        (f"databases/zoo-3.4.0/runs/~~{'0' * 64}/", "RunNotFound"),
        ("databases/zoo-3.4.0/runs/wf-happy/payloads/run.nothing/", "PayloadNotFound"),
        ("databases/zoo-3.4.0/runs/wf-happy/payloads/step.999999999999999999999.output/", "PayloadNotFound"),
        ("databases/zoo-3.4.0/runs/wf-happy/payloads/%0A/", "PayloadNotFound"),
        ("nope/", "AddressNotFound"),
        ("databases/zoo-3.4.0/nope/", "AddressNotFound"),
        ("", "AddressNotFound"),
    ],
)
def test_what_is_not_there_is_said_in_one_form(ask: Ask, unpacked: Unpacked, address: str, error: str) -> None:
    assert ask(unpacked("zoo-3.4.0"))(f"/api/v1/{address}", expect=404)["error"] == error


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_only_reading_is_answered(ask: Ask, unpacked: Unpacked, method: str) -> None:
    client = ask(unpacked("zoo-3.4.0")).client
    answer = getattr(client, method)("/api/v1/databases/", "{not json", content_type="text/plain")
    assert answer.status_code == 405
    assert answer.json().keys() == {"error", "detail"}
    assert answer.headers["Allow"] == "GET, HEAD"


def test_head_answers_as_get_without_a_body(ask: Ask, unpacked: Unpacked) -> None:
    client = ask(unpacked("zoo-3.4.0")).client
    for address in ("/api/v1/databases/", "/api/v1/runs/", "/api/v1/databases/zoo-3.4.0/runs/wf-happy/", "/healthz"):
        answer = client.head(address)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Type"] == client.get(address).headers["Content-Type"]


def test_an_answer_that_did_not_change_is_not_sent_again(ask: Ask, fresh: Unpacked) -> None:
    path = fresh("zoo-3.4.0")
    client = ask(path).client
    first = client.get("/api/v1/databases/zoo-3.4.0/runs/")
    tag = {"If-None-Match": first.headers["ETag"]}

    assert client.get("/api/v1/databases/zoo-3.4.0/runs/", headers=tag).status_code == 304
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE workflow_status SET status = 'CANCELLED' WHERE workflow_uuid = 'wf-pending'")
    assert client.get("/api/v1/databases/zoo-3.4.0/runs/", headers=tag).status_code == 200


def test_a_database_that_another_process_has_locked_answers_423(ask: Ask, fresh: Unpacked) -> None:
    path = fresh("zoo-3.4.0")
    get = ask(path)
    with writing(path) as writer:
        writer.do("BEGIN EXCLUSIVE")
        assert get("/api/v1/databases/zoo-3.4.0/runs/", expect=423)["error"] == "DatabaseLocked"
        assert get("/api/v1/runs/")["problems"][0]["error"] == "DatabaseLocked"
        writer.do("ROLLBACK")
        assert len(get("/api/v1/runs/", limit=500)["runs"]) == 52


def test_health_is_told_even_where_no_database_can_be_read(ask: Ask, tmp_path: Path) -> None:
    client: Client = ask(tmp_path / "gone.sqlite").client
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")

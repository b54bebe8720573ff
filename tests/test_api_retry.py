"""Retries by JSON: the plan, the one write with everything that is refused, what became of it, and several at once."""

import fcntl
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker, faults
from django.test import Client
from serving import eventually
from writers import writing

from runs import jobs, retrying
from runs.catalogue import served
from runs.jobs import waking

Make = Callable[..., Path]
PLAN = "/api/v1/databases/notes/runs/n1/retry/"


class Poster:
    """``post(address, {…})``: a client that checks each answer against what the document declares for it."""

    def __init__(self, ask: Asker) -> None:
        self.ask = ask
        self.client = Client(raise_request_exception=False)

    def __call__(self, address: str, body: Any, *, expect: int, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.post(address, json.dumps(body), content_type="application/json", headers=sent)
        said = answer.json()
        assert answer.status_code == expect, said
        document = self.ask.document
        path = address.partition("?")[0]
        (template,) = (one for one in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), path))
        declared = document["paths"][template]["post"]["responses"][str(expect)]["content"]["application/json"]
        assert faults(said, declared["schema"], document) == []
        return said


@pytest.fixture
def path(notes: Make) -> Path:
    return notes()


@pytest.fixture
def get(ask: Callable[..., Asker], path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Asker:
    monkeypatch.setenv("DURASCOPE_RETRY", "notes")
    return ask(path)


@pytest.fixture
def post(get: Asker) -> Poster:
    return Poster(get)


def confirmation(get: Asker, address: str = PLAN) -> dict[str, str]:
    return {"digest": get(address)["digest"], "reason": "the disk was full"}


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM note").fetchone()[0])


def test_a_plan_says_everything_and_writes_nothing(get: Asker, path: Path) -> None:
    before = path.read_bytes()
    plan = get(PLAN)
    assert (plan["eligible"], plan["operation"], plan["new_run"], plan["allowed"]) == (True, "fork", "n1.retry-1", True)
    assert [part["ordinal"] for part in plan["again"]] == [41]
    assert len(plan["kept"]) == 40
    assert len(plan["rows"]["line"]) == 40
    assert plan["rows"]["note"][0]["key"] == {"id": "n1"}
    assert plan["sql"].startswith("BEGIN IMMEDIATE;")
    assert path.read_bytes() == before
    refused = get("/api/v1/databases/notes/runs/n2/retry/")
    assert (refused["eligible"], refused["reason"]) == (False, "It is SUCCESS: nothing failed.")


@pytest.mark.parametrize("query", ["operation=undo", "from=first", "from=-1", "children=all", "step=1"])
def test_options_that_are_none_are_refused(get: Asker, query: str) -> None:
    name, _, value = query.partition("=")
    get(PLAN, expect=400, **{name: value})


def test_confirmed_it_is_appended_and_followed(get: Asker, post: Poster, path: Path) -> None:
    made = post(PLAN, confirmation(get), expect=201)["retry"]
    assert made["run"]["id"] == "n1.retry-1"
    assert made["run"]["forked_from"]["id"] == "n1"
    assert count(path) == 6
    fares = get(made["href"])
    assert (fares["run"]["id"], fares["taken_up_after"], fares["why_not"]) == (
        "n1.retry-1",
        None,
        "No worker reads notes.",
    )
    listed = get("/api/v1/retries/")
    assert [one["id"] for one in listed["retries"]] == [made["id"]]
    assert get("/api/v1/retries/", db="other") == {"retries": [], "next": None}
    assert get(PLAN)["retry"]["id"] == "n1.retry-1"


def test_a_second_operator_gets_the_first_ones_retry(get: Asker, post: Poster, path: Path) -> None:
    sent = confirmation(get)
    made = post(PLAN, sent, expect=201)["retry"]
    refused = post(PLAN, sent, expect=409)
    assert (refused["error"], refused["retry"]["id"]) == ("AlreadyRetried", made["id"])
    assert refused["run"]["id"] == "n1.retry-1"
    assert count(path) == 6


def test_what_changed_meanwhile_is_a_conflict(get: Asker, post: Poster, path: Path) -> None:
    sent = confirmation(get)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE note SET status = 'RUNNING' WHERE id = 'n1'")
    refused = post(PLAN, sent, expect=409)
    assert (refused["error"], refused["retry"]) == ("AppendRefused", None)
    assert count(path) == 5


def test_a_run_that_is_not_there_is_not_found_and_nothing_recorded(get: Asker, post: Poster) -> None:
    address = "/api/v1/databases/notes/runs/nobody/retry/"
    assert post(address, confirmation(get), expect=404)["error"] == "RunNotFound"
    assert get("/api/v1/retries/")["retries"] == []


def test_a_digest_of_no_plan_is_said_to_be_none(post: Poster, path: Path) -> None:
    refused = post(PLAN, {"digest": "nonsense", "reason": "why"}, expect=409)
    assert "no digest of a plan" in refused["detail"]
    assert count(path) == 5


def test_the_same_idempotency_key_gives_the_first_answer(get: Asker, post: Poster, path: Path) -> None:
    sent = confirmation(get)
    first = post(PLAN, sent, expect=201, Idempotency_Key="k")
    assert post(PLAN, sent, expect=201, Idempotency_Key="k") == first
    assert post(PLAN, {**sent, "digest": "other"}, expect=422, Idempotency_Key="k")["error"] == "KeyUsed"
    assert count(path) == 6


@pytest.mark.parametrize(
    "body",
    [{}, [], "x", None, {"digest": "a"}, {"digest": "a", "reason": 1}, {"digest": "a", "reason": " "},
     {"digest": "a", "reason": "why", "more": 1}, {"digest": "x" * 101, "reason": "why"}],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(post: Poster, path: Path, body: Any) -> None:
    post(PLAN, body, expect=422)
    assert count(path) == 5


def test_a_run_that_cannot_be_retried_is_refused_with_the_reason(get: Asker, post: Poster) -> None:
    address = "/api/v1/databases/notes/runs/n2/retry/"
    assert "nothing failed" in post(address, confirmation(get, address), expect=422)["detail"]


def test_where_it_is_not_allowed_the_server_refuses(
    get: Asker, post: Poster, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = confirmation(get)
    monkeypatch.delenv("DURASCOPE_RETRY")
    assert "--allow-retry notes" in post(PLAN, sent, expect=403)["detail"]
    assert get(PLAN)["allowed"] is False
    assert count(path) == 5


def test_a_full_disk_and_a_held_lock_have_words_of_their_own(
    get: Asker, post: Poster, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = confirmation(get)
    monkeypatch.setenv("NOTES_PAGES", "6")
    assert post(PLAN, sent, expect=507)["error"] == "DiskFull"
    monkeypatch.delenv("NOTES_PAGES")
    monkeypatch.setenv("NOTES_BUSY", "0.2")
    # A process of its own: in this one, the plan's reading would take the lock away.
    with writing(path) as engine:
        engine.do("BEGIN IMMEDIATE")
        assert post(PLAN, sent, expect=423)["error"] == "DatabaseLocked"
    post(PLAN, sent, expect=201)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://testserver:81"},
        {"Origin": "https://testserver"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
def test_a_page_of_another_site_cannot_do_it(get: Asker, post: Poster, path: Path, headers: dict[str, str]) -> None:
    refused = post(
        PLAN, confirmation(get), expect=403, **{name.replace("-", "_"): value for name, value in headers.items()}
    )
    assert "another site" in refused["detail"]
    assert count(path) == 5


def test_a_page_of_our_own_can(get: Asker, post: Poster) -> None:
    post(PLAN, confirmation(get), expect=201, Origin="http://testserver", Sec_Fetch_Site="same-origin")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
def test_only_json_is_accepted(get: Asker, path: Path, kind: str) -> None:
    sent = json.dumps(confirmation(get))
    answer = get.client.post(PLAN, sent, content_type=kind)
    assert (answer.status_code, answer.json()["error"]) == (415, "WrongMediaType")
    assert count(path) == 5


@pytest.mark.parametrize(
    "address", ["/", "/db/notes/runs/n1/", "/api/v1/databases/", "/api/v1/databases/notes/runs/n1/"]
)
def test_every_other_address_is_only_read(get: Asker, address: str) -> None:
    answer = get.client.post(address, "{}", content_type="application/json")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert get.client.delete(PLAN)["Allow"] == "GET, HEAD, POST"


def test_a_form_without_a_token_is_refused(get: Asker) -> None:
    answer = Client(enforce_csrf_checks=True).post("/db/notes/runs/n1/retry/", {"reason": "x"})
    assert answer.status_code == 403


@pytest.mark.parametrize("address", ["/api/v1/retries/1/", "/api/v1/retries/x/", "/api/v1/jobs/1/"])
def test_what_is_not_recorded_is_not_found(get: Asker, address: str) -> None:
    get(address, expect=404)


def test_without_a_state_there_are_no_retries(ask: Callable[..., Asker], path: Path) -> None:
    get = ask(path)
    assert get("/api/v1/retries/") == {"retries": [], "next": None}
    get("/api/v1/retries/1/", expect=404)
    get("/api/v1/jobs/1/", expect=404)
    assert get(PLAN)["allowed"] is False


def test_the_list_goes_on_page_by_page(get: Asker, post: Poster) -> None:
    for run in ("n1", "n3", "n4"):
        address = f"/api/v1/databases/notes/runs/{run}/retry/"
        post(address, confirmation(get, address), expect=201)
    found = get.pages("/api/v1/retries/", "retries", limit=2)
    assert [one["of"]["id"] for one in found] == ["n4", "n3", "n1"]


# Several at once


@pytest.fixture
def several(get: Asker) -> Iterator[Callable[..., dict[str, Any]]]:
    def body(*runs: str, reason: str = "all of them") -> dict[str, Any]:
        addresses = [f"/api/v1/databases/notes/runs/{run}/retry/" for run in runs]
        chosen = [{"href": address, "digest": get(address)["digest"]} for address in addresses]
        return {"runs": chosen, "reason": reason, "count": len(runs)}

    yield body
    for process in waking._started:
        process.kill()
        process.wait()
    waking._started.clear()


def finished(get: Asker, href: str) -> Any:
    assert eventually(lambda: get(href)["finished_at"] is not None, 60)
    return get(href)


def test_a_job_retries_each_and_says_what_became_of_it(
    get: Asker, post: Poster, path: Path, several: Callable[..., Any]
) -> None:
    sent = several("n1", "n3", "n4")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE note SET status = 'RUNNING' WHERE id = 'n3'")
    started = post("/api/v1/retries/", sent, expect=202, Idempotency_Key="k")["job"]
    assert post("/api/v1/retries/", sent, expect=202, Idempotency_Key="k")["job"] == started
    job = finished(get, started["href"])
    assert [(item["of"]["id"], item["result"]) for item in job["items"]] == [
        ("n1", "done"),
        ("n3", "skipped"),
        ("n4", "done"),
    ]
    assert "changed meanwhile" in job["items"][1]["detail"]
    assert (job["counts"], job["stopped"]) == ({"done": 2, "skipped": 1}, "")
    assert count(path) == 7


def test_our_own_jobs_are_a_database_like_any_other(get: Asker, post: Poster, several: Callable[..., Any]) -> None:
    finished(get, post("/api/v1/retries/", several("n1"), expect=202)["job"]["href"])
    for process in waking._started:
        process.wait()
    assert eventually(lambda: "durascope-jobs" in [database.slug for database in served().databases()])
    (run,) = get("/api/v1/databases/durascope-jobs/runs/", root="true")["runs"]
    assert (run["id"], run["status"]) == ("job-1", "succeeded")


def test_a_job_stops_after_some_failures(
    get: Asker, post: Poster, several: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = several("n1", "n3", "n4", "n5")
    monkeypatch.setenv("NOTES_STOP", "2")
    monkeypatch.setenv("NOTES_PAGES", "6")
    job = finished(get, post("/api/v1/retries/", sent, expect=202)["job"]["href"])
    assert [item["result"] for item in job["items"]] == ["failed", "failed", "", ""]
    first, second, *waiting = (item["retry"] for item in job["items"])
    assert [get(f"/api/v1/retries/{number}/")["retry"]["of"]["id"] for number in (first, second)] == ["n1", "n3"]
    assert "disk is full" in get(f"/api/v1/retries/{first}/")["why_not"]
    assert waiting == [None, None]
    assert "2 failures" in job["stopped"]


def test_a_job_that_cannot_be_recorded_ends_and_stands_in_nobodys_way(
    get: Asker, post: Poster, several: Callable[..., Any], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as asleep:
        asleep.setattr(jobs, "wake", lambda: None)
        first, second = (post("/api/v1/retries/", several(run), expect=202)["job"]["href"] for run in ("n1", "n3"))
    with closing(sqlite3.connect(state / "durascope.sqlite")) as connection, connection:
        connection.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON state_item WHEN old.job_id = 1"
            " BEGIN SELECT RAISE(ABORT, 'the state is full'); END"
        )
    jobs.resume()
    assert finished(get, second)["counts"] == {"done": 1}
    job = finished(get, first)
    assert (job["stopped"], job["counts"]) == ("It stopped: the state is full", {"waiting": 1})


def test_a_job_goes_on_after_an_error_of_the_state(
    get: Asker, post: Poster, several: Callable[..., Any], path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as asleep:
        asleep.setattr(jobs, "wake", lambda: None)
        href = post("/api/v1/retries/", several("n1", "n3"), expect=202)["job"]["href"]
    with closing(sqlite3.connect(state / "durascope.sqlite")) as connection, connection:
        # Once: what FAIL leaves in place is that it has struck.
        connection.executescript(
            "CREATE TABLE struck (at INTEGER);"
            "CREATE TRIGGER broken BEFORE UPDATE ON state_item WHEN (SELECT count(*) FROM struck) < 1"
            " BEGIN INSERT INTO struck VALUES (1); SELECT RAISE(FAIL, 'the state is full'); END"
        )
    jobs.resume()
    job = finished(get, href)
    assert (job["stopped"], job["counts"]) == ("", {"done": 2})
    assert count(path) == 7
    with closing(sqlite3.connect(state / "durascope.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM struck").fetchone() == (1,)


def test_a_job_whose_process_is_gone_goes_on_when_somebody_looks(
    get: Asker, post: Poster, several: Callable[..., Any], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []
    monkeypatch.setattr(jobs, "wake", lambda: woken.append(None))
    href = post("/api/v1/retries/", several("n1"), expect=202)["job"]["href"]
    page = f"/retries/jobs/{href.rstrip('/').rpartition('/')[2]}/"
    woken.clear()
    monkeypatch.setattr(jobs, "_looked_after", [-100.0])
    with (state / "jobs.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the process that does it
        assert get.client.get(page).status_code == 200
    assert woken == []
    for _ in range(3):
        get.client.get(page)
    assert woken == [None]


def test_a_key_of_a_job_is_good_for_the_same_runs_alone(
    post: Poster, several: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "wake", lambda: None)
    first, other = several("n1", "n3"), several("n1", "n4")
    made = post("/api/v1/retries/", first, expect=202, Idempotency_Key="k")["job"]
    assert post("/api/v1/retries/", other, expect=422, Idempotency_Key="k")["error"] == "KeyUsed"
    assert post("/api/v1/retries/", first, expect=202, Idempotency_Key="k")["job"] == made


def test_a_clients_key_is_never_that_of_a_job(get: Asker, post: Poster) -> None:
    post(PLAN, confirmation(get), expect=201, Idempotency_Key="job-1-0")
    assert "/retries/1/" in get.client.get("/retries/").content.decode()


def test_what_was_appended_is_said_although_it_cannot_be_read_back(
    get: Asker, post: Poster, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = retrying.append
    with closing(sqlite3.connect(path)) as engine:

        def locked_after(*given: Any, **named: Any) -> Any:
            done = real(*given, **named)
            engine.execute("BEGIN EXCLUSIVE")
            return done

        monkeypatch.setattr(retrying, "append", locked_after)
        made = post(PLAN, confirmation(get), expect=201)["retry"]
    assert (made["progress"], made["run"]["id"]) == ("appended", "n1.retry-1")
    assert count(path) == 6


def test_a_cancelled_job_stops_before_its_next_run(
    get: Asker, post: Poster, several: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "wake", lambda: None)
    started = post("/api/v1/retries/", several("n1", "n3"), expect=202)["job"]
    assert post(f"{started['href']}cancel/", {}, expect=200)["cancelled_at"] is not None
    monkeypatch.undo()


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"count": "two"},
        {"runs": []},
        {"reason": ""},
        {"runs": [{"href": "/etc/passwd", "digest": "x"}], "count": 1},
    ],
)
def test_several_are_confirmed_by_how_many_they_are(
    post: Poster, several: Callable[..., Any], change: dict[str, Any], path: Path
) -> None:
    post("/api/v1/retries/", {**several("n1", "n3"), **change}, expect=422)
    assert count(path) == 5


def test_the_same_run_twice_is_refused(post: Poster, several: Callable[..., Any]) -> None:
    assert "twice" in post("/api/v1/retries/", several("n1", "n1"), expect=422)["detail"]

"""Pages of two databases side by side: what they say of real pairs, checked against the files themselves."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.test import Client
from writers import writing

from runs.catalogue import served

Compare = Callable[..., Client]
PAIRS = {"shop": "shop", "fork": "shop-fork", "early": "shop-early", "staging": "shop-staging", "zoo": "zoo-3.4.0"}
TABS = ("", "runs/", "lone/", "steps/", "errors/", "settings/", "integrity/", "export/")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def client(unpacked: Callable[[str], Path], kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Of pages about the pairs of databases; what was compared is kept for the module."""
    yield from serving({slug: unpacked(name) for slug, name in PAIRS.items()}, kept, monkeypatch)


def serving(databases: dict[str, Path], state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-22T16:00:00Z")  # of that day's instants pages show the time alone
    monkeypatch.setenv("DURASCOPE_STATE", str(state))
    monkeypatch.setenv("DURASCOPE_PATHS", "\n".join(f"{slug}={path}" for slug, path in databases.items()))
    served.cache_clear()
    yield Client(headers={"host": "127.0.0.1"})
    served.cache_clear()


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return answer.content.decode()


def words(html: str) -> str:
    """The text of the page's main part, on one line."""
    main = html[html.index("<main") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)).replace("&amp;", "&")


def ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT execution_id FROM t_state")}


def test_without_two_databases_the_page_asks_for_them(client: Client) -> None:
    html = page(client, "/compare/")
    for slug in PAIRS:
        assert html.count(f">{slug}</option>") == 2
    assert "needs two databases" in page(client, "/compare/runs/?a=shop", 400)
    assert "unknown" in page(client, "/compare/?a=shop&b=nothing", 404)


def test_a_prefix_is_an_earlier_copy_and_says_how_far_the_other_is_ahead(
    client: Client, unpacked: Callable[[str], Path]
) -> None:
    text = words(page(client, "/compare/?a=shop&b=early"))
    assert "B is an earlier copy of A." in text
    new = len(ids(unpacked("shop")) - ids(unpacked("shop-early")))
    assert f"{new} new runs" in text
    assert "No event was rewritten." in text


def test_a_fork_names_what_each_side_has_and_what_diverged(client: Client, unpacked: Callable[[str], Path]) -> None:
    text = words(page(client, "/compare/?a=shop&b=fork"))
    both = ids(unpacked("shop")) & ids(unpacked("shop-fork"))
    assert "each went on by itself" in text
    assert f"run id {len(both)}" in text
    assert "Alike until 15:26:4" in text


def test_swapping_the_sides_swaps_what_is_said_of_them(client: Client) -> None:
    html = page(client, "/compare/runs/?a=shop&b=early&tolerance=5%25,10ms")
    assert 'href="/compare/runs/?a=early&amp;b=shop' in html.replace("b=shop&amp;a=early", "a=early&amp;b=shop")
    assert "A is an earlier copy of B." in words(page(client, "/compare/?a=early&b=shop"))


def test_a_rewritten_past_is_an_alarm_on_the_page_with_the_place(
    fresh: Callable[[str], Path], unpacked: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = fresh("shop-early")
    with closing(sqlite3.connect(changed)) as connection, connection:
        run, version = connection.execute(
            "SELECT execution_id, version FROM t_execution_log WHERE json_value LIKE '%refused%' OR version = 0 LIMIT 1"
        ).fetchone()
        connection.execute(
            "UPDATE t_execution_log SET json_value = replace(json_value, '\"params\":[', '\"params\":[ ') "
            "WHERE execution_id = ? AND version = ?",
            (run, version),
        )
        assert connection.total_changes == 1
    for client in serving({"a": unpacked("shop-early"), "b": changed}, tmp_path / "state", monkeypatch):
        html = page(client, "/compare/?a=a&b=b")
        assert 'role="alert"' in html
        assert "The recorded past differs. 1 run rewritten." in words(html)
        assert run in page(client, "/compare/integrity/?a=a&b=b")


def test_the_past_is_compared_of_runs_that_are_in_both_and_of_no_others(
    client: Client, unpacked: Callable[[str], Path]
) -> None:
    both = ids(unpacked("shop")) & ids(unpacked("shop-fork"))
    for match in ("auto", "input"):  # however runs were matched
        text = words(page(client, f"/compare/integrity/?a=shop&b=fork&match={match}"))
        found = {
            name: int(re.search(rf"{name} (\d+)", text)[1])
            for name in ("same", "went on in A", "went on in B", "diverged", "rewritten")
        }  # type: ignore[index]
        assert found["same"] > 700
        assert sum(found.values()) == len(both)
    text = words(page(client, "/compare/integrity/?a=shop&b=staging"))
    assert "no run is in both files" in text
    assert "byte by byte" not in text


def test_pairs_are_filtered_and_paged_and_each_leads_to_both_runs(client: Client) -> None:
    html = page(client, "/compare/runs/?a=shop&b=fork&verdict=diverged")
    rows = re.findall(r'href="(/compare/run/\?a=shop&amp;a_run=[^"]+)"', html)
    assert rows
    seen: list[str] = []
    address: str | None = "/compare/runs/?a=shop&b=fork&limit=100"
    while address:
        html = page(client, address)
        seen += re.findall(r'class="key m1"><a href="(/compare/run/[^"]+)"', html)
        onward = re.search(r'rel="next" href="([^"]+)"', html)
        address = onward[1].replace("&amp;", "&") if onward else None
    total = re.search(r"all <data>([\d,]+)</data>", html)
    assert total
    assert len(seen) == len(set(seen)) == int(total[1].replace(",", ""))


def test_runs_without_a_counterpart_are_those_that_the_other_file_lacks(
    client: Client, unpacked: Callable[[str], Path]
) -> None:
    listed: set[str] = set()
    for presence in ("only", "outside", "ambiguous", "scheduled"):
        after: str | None = "0"
        while after:
            html = page(client, f"/compare/lone/?a=shop&b=early&side=a&presence={presence}&limit=500&after={after}")
            listed |= set(re.findall(r'<span class="id" title="([^"]+)"', html))
            onward = re.search(r'rel="next" href="[^"]*after=(\d+)', html)
            after = onward[1] if onward else None
    assert listed == ids(unpacked("shop")) - ids(unpacked("shop-early"))


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize(("a", "b"), [("shop", "staging"), ("shop", "zoo"), ("zoo", "zoo")])
def test_every_page_answers_for_twins_other_engines_and_a_file_with_itself(
    client: Client, a: str, b: str, tab: str
) -> None:
    html = page(client, f"/compare/{tab}?a={a}&b={b}")
    assert f">{a}</option>" in html or tab == "export/"
    assert html.rstrip().endswith("</html>")


def test_a_file_compared_with_itself_is_the_same(client: Client) -> None:
    assert "Both hold the same." in words(page(client, "/compare/?a=zoo&b=zoo"))


def test_the_export_needs_no_server_and_no_script(client: Client, unpacked: Callable[[str], Path]) -> None:
    answer = client.get("/compare/export/?a=shop&b=fork")
    html = answer.content.decode()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="shop-and-fork.html"'
    assert "each went on by itself" in html
    assert "--ink" in html
    for outside in ("<script", "<link", 'href="/', 'src="', "url(/", "@import"):
        assert outside not in html
    for side, mine, other in (("A", "shop", "shop-fork"), ("B", "shop-fork", "shop")):
        lost = re.findall(rf'>only {side}</td>.*?class="id">([^<]+)<', html)
        assert len(lost) == len(set(lost)) > 100
        assert set(lost) <= ids(unpacked(mine)) - ids(unpacked(other))


@pytest.mark.parametrize(
    "query",
    ["match=magic", "match=path", "path=order_id", "tolerance=much", "ignore=%24%5B", "limit=0", "verdict=odd&x=1"],
)
def test_what_can_not_be_understood_is_refused_in_words(client: Client, query: str) -> None:
    html = page(client, f"/compare/runs/?a=shop&b=fork&{query}", 400)
    assert 'class="note' in html


def test_only_our_own_pages_can_cancel_or_compare_again(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True, headers={"host": "127.0.0.1"})
    page(client, "/compare/?a=shop&b=fork")
    for name in ("again", "cancel"):
        assert strict.post(f"/compare/{name}/?a=shop&b=fork").status_code == 403
        assert client.get(f"/compare/{name}/?a=shop&b=fork").status_code == 405
        foreign = client.post(f"/compare/{name}/?a=shop&b=fork", headers={"origin": "http://127.0.0.1:9"})
        assert foreign.status_code == 403
    assert client.post("/compare/again/?a=shop&b=fork").status_code == 302


def test_failed_runs_of_one_named_side_lead_to_the_plan_of_their_retry(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "/compare/runs/?a=shop&b=staging&verdict=differs&a_status=failed"
    assert "Plan a retry" not in page(client, address)
    monkeypatch.setenv("DURASCOPE_RETRY", "shop")
    html = page(client, address)
    assert re.findall(r"shown, in (\w): (\w+)</button>", html) == [("A", "shop")]
    chosen = re.findall(r'name="run" value="([^"]+)"', html)
    listed = re.findall(r'class="m3"><a href="/db/shop/runs/([^/]+)/', html)
    assert chosen == [f"shop/{segment}" for segment in listed]
    plan = client.post("/retries/plan/", {"run": chosen})
    assert plan.status_code == 200
    assert "Nothing is written before you confirm" in plan.content.decode()


def test_runs_started_by_the_clock_are_told_apart_from_missing_ones(
    fresh: Callable[[str], Path], unpacked: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = fresh("zoo-3.4.0")
    with closing(sqlite3.connect(without)) as connection, connection:
        clock = {row[0] for row in connection.execute("SELECT workflow_uuid FROM workflow_status WHERE name = 'sched'")}
        connection.execute("DELETE FROM workflow_status WHERE name = 'sched'")
    assert clock
    for client in serving({"a": unpacked("zoo-3.4.0"), "b": without}, tmp_path / "state", monkeypatch):
        text = words(page(client, "/compare/?a=a&b=b"))
        assert f"{len(clock)} started by the clock, not counted as missing" in text
        assert "only A 0" in text
        html = page(client, "/compare/lone/?a=a&b=b&presence=scheduled")
        assert set(re.findall(r'<span class="id" title="([^"]+)"', html)) == clock


def test_a_side_that_can_not_be_read_is_named_with_what_to_do(
    fresh: Callable[[str], Path], unpacked: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.sqlite").touch()
    with closing(sqlite3.connect(tmp_path / "odd.sqlite")) as connection:
        connection.execute("CREATE TABLE something (a)")
    (tmp_path / "text.sqlite").write_text("These are no runs at all." * 40)
    sides = {"zoo": unpacked("zoo-3.4.0"), "odd": tmp_path / "odd.sqlite", "text": tmp_path / "text.sqlite"}
    locked = fresh("zoo-3.4.0")
    monkeypatch.setenv("DURASCOPE_QUERY_SECONDS", "0.2")
    with writing(locked) as holder:
        holder.do("BEGIN EXCLUSIVE")
        for client in serving({**sides, "locked": locked}, tmp_path / "state", monkeypatch):
            for slug, status, said in (
                ("odd", 422, "SQLite of an unknown schema. Database odd: Tables: something."),
                ("text", 503, "Not a SQLite database. Database text:"),
                ("locked", 423, "The database is locked by another process. Database locked:"),
            ):
                html = page(client, f"/compare/?a=zoo&b={slug}", status)
                assert said in words(html)
                assert f"<option selected>{slug}</option>" in html
                problem = client.get(f"/api/v1/compare/?a=zoo&b={slug}")
                assert problem.status_code == status
                assert said in problem.json()["detail"]


def test_a_schema_that_is_not_understood_leaves_distributions_and_says_so(
    fresh: Callable[[str], Path], unpacked: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = fresh("shop")
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("INSERT INTO refinery_schema_history VALUES (99, 'future', '2026-11-22T16:00:00Z', '1')")
    for client in serving({"shop": unpacked("shop"), "newer": newer}, tmp_path / "state", monkeypatch):
        text = words(page(client, "/compare/?a=shop&b=newer"))
        assert "Only distributions can be compared. The schema of B is not known:" in text
        assert "not matched" in text
        assert "none missing" not in text


def test_without_a_side_or_a_reason_the_first_list_that_is_not_empty_is_shown(client: Client) -> None:
    text = words(page(client, "/compare/lone/?a=early&b=shop"))
    assert "in B 533" in text
    assert "shown of 533 runs" in text
    assert "No run is only in A." in words(page(client, "/compare/lone/?a=early&b=shop&side=a&presence=only"))


def test_filters_are_chips_in_words(client: Client) -> None:
    html = page(client, "/compare/runs/?a=shop&b=staging&verdict=differs&cause=different_code&rung=ordinal&q=E_")
    chips = [
        " ".join(re.sub(r"<[^>]+>", "", chip).split()) for chip in re.findall(r'class="pill"[^>]*>(.*?)</a>', html)
    ]
    said = [chip.removesuffix(" ×, remove filter") for chip in chips]
    assert said == ["differs", "different code version", "matched by parent and place in it", "“E_”"]

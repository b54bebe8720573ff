"""Pages as text, without a browser: what they say of real files, and of files made larger or odder by SQL."""

import gzip
import html
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client

from runs import links
from runs.catalogue import served
from runs.engines.dbos import search

FULFIL = "E_01M81XSJH7Q9S93ZCP6H3RFST7"  # shop: failed in a child
Serve = Callable[..., Client]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """``serve(shop=path)``: a client of pages about these databases."""

    def start(**databases: Path) -> Client:
        monkeypatch.setenv("DURASCOPE_PATHS", "\n".join(f"{slug}={path}" for slug, path in databases.items()))
        served.cache_clear()
        return Client(headers={"host": "127.0.0.1"})

    yield start
    served.cache_clear()


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return answer.content.decode()


def long_run(path: Path, steps: int) -> str:
    """A run of that many steps in a DBOS file, each a millisecond long; the one before the last failed."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            """INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at, completed_at)
               VALUES ('wf-long', 'ERROR', 'long', 1795352849123, 1795352949123, 1795352949123)"""
        )
        connection.executemany(
            """INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, error,
               started_at_epoch_ms, completed_at_epoch_ms, serialization, retention_timestamp)
               VALUES ('wf-long', ?, ?, ?, ?, ?, ?, 'portable_json', 0)""",
            (
                (
                    number,
                    f"step_{number}",
                    "1",
                    '{"name": "Boom", "message": "it failed"}' if number == steps - 1 else None,
                    1795352849123 + number * 2,
                    1795352849124 + number * 2,
                )
                for number in range(1, steps + 1)
            ),
        )
        connection.execute(
            """INSERT INTO workflow_output (workflow_uuid, error, retention_timestamp)
               VALUES ('wf-long', '{"name": "Boom", "message": "it failed"}', 0)"""
        )
    connection.close()
    return "wf-long"


@pytest.mark.no_cover  # the same lines again and again
def test_a_long_run_is_shown_in_windows_with_what_failed_in_view(serve: Serve, fresh: Callable[[str], Path]) -> None:
    path = fresh("mini-3.4.0")
    run_id = long_run(path, 10_000)
    client = serve(long=path)
    address = links.run_page("long", run_id)
    text = page(client, address)
    assert "Failed at step 9999" in text
    shown = re.findall(r'id="r(\d+)"', text)
    assert len(shown) == 200
    assert "9999" in shown
    assert "10,001 rows" in text
    assert "All 10,001 rows" in text
    assert len(gzip.compress(text.encode())) < 40_000
    assert re.findall(r'id="r(\d+)"', page(client, f"{address}?step=5000"))[:1] == ["4900"]
    assert len(re.findall(r'id="r(\d+)"', page(client, f"{address}?rows=all"))) == 10_000
    first = re.findall(r'id="r(\d+)"', page(client, f"{address}?rows=0"))
    assert first[:1] == ["1"]


def test_a_run_of_two_thousand_rows_is_shown_whole(serve: Serve, fresh: Callable[[str], Path]) -> None:
    path = fresh("mini-3.4.0")
    text = page(serve(long=path), links.run_page("long", long_run(path, 1999)))
    assert len(re.findall(r'id="r(\d+)"', text)) == 1999
    assert text.count('<div class="tl-block">') == 20


@pytest.mark.no_cover  # the same lines again and again
def test_every_view_of_every_kind_of_run_opens(serve: Serve, unpacked: Callable[[str], Path]) -> None:
    client = serve(
        zoo=unpacked("zoo-3.4.0"), go=unpacked("go-1.8.0"), shop=unpacked("shop"), old=unpacked("old-0.38.3")
    )
    for slug in ("zoo", "go", "shop", "old"):
        page(client, f"/db/{slug}/")
        listed = page(client, f"/db/{slug}/runs/?limit=500&children=show")
        addresses = re.findall(rf'<th[^>]*><a href="(/db/{slug}/runs/[^/"]+/)"', listed)
        assert addresses
        for address in addresses[:: max(1, len(addresses) // 10)]:
            for view in ("", "table/", "history/", "payloads/", "family/", "logs/", "details/", "raw/", "markdown/"):
                page(client, address + view)


def test_a_run_as_markdown_says_what_failed_and_escapes_what_it_quotes(
    serve: Serve, unpacked: Callable[[str], Path]
) -> None:
    client = serve(shop=unpacked("shop"), zoo=unpacked("zoo-3.4.0"))
    text = page(client, links.run_page("shop", FULFIL) + "markdown/")
    assert text.startswith("## shop:orders/workflow.fulfil-order: failed (`finished: error`)")
    assert "**Failed at step 21 `shop:shipping/workflow.ship-parcel`: error.**" in text
    assert "| 21 | `shop:shipping/workflow.ship-parcel` | failed |" in text
    odd = page(client, links.run_page("zoo", "wf-unicode-ключ-🎉/?#&<b>") + "markdown/")
    assert "`wf-unicode-ключ-🎉/?#&<b>`" in odd


def test_the_unfinished_of_a_stale_file_are_shown_as_of_its_last_event(
    serve: Serve, unpacked: Callable[[str], Path]
) -> None:
    client = serve(zoo=unpacked("zoo-3.4.0"))
    assert "was running when last written" in page(client, links.run_page("zoo", "wf-pending"))
    assert "zoo was last written" in page(client, "/db/zoo/runs/?status=running")


def test_the_columns_of_a_list_count_its_runs(serve: Serve, unpacked: Callable[[str], Path]) -> None:
    client = serve(zoo=unpacked("zoo-3.4.0"), shop=unpacked("shop"))
    text = page(client, "/db/zoo/runs/?children=show&status=failed")
    (window,) = set(re.findall(r'href="([^"]*since=[^"]*)" tabindex="-1"', text)[:1])
    page(client, window.replace("&amp;", "&"))
    slices = re.findall(r'href="([^"]*since=[^"]*)" tabindex="-1"', text)
    assert len(slices) == 48
    found = sum(
        len(re.findall(r'<span class="st c-fail">', page(client, address.replace("&amp;", "&")))) for address in slices
    )
    assert found == len(re.findall(r'<span class="st c-fail">', text)) == 8


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/db/nope/", 404, "No database has this name."),
        ("/db/zoo/runs/nope/", 404, "The database has no run with this id."),
        ("/db/zoo/runs/wf-happy/?step=99", 404, "The run has no such step."),
        ("/db/zoo/runs/wf-happy/nonsense/", 404, "There is no page at this address."),
        ("/db/zoo/runs/wf-happy/payloads/run.nonsense/", 404, "The run has no such payload."),
        ("/db/zoo/runs/?status=nonsense", 400, "is not one of failed, retrying"),
        ("/db/zoo/runs/?since=yesterday", 400, "is not an instant like"),
        ("/db/zoo/runs/?nonsense=1", 400, "nonsense"),
        ("/db/zoo/runs/?after=nonsense", 400, "Start again from the first page."),
        ("/db/zoo/runs/wf-happy/?from=soon", 400, "is not an instant like"),
        ("/nonsense/", 404, "There is no page at this address."),
    ],
)
def test_a_wrong_address_says_what_is_wrong(
    serve: Serve, unpacked: Callable[[str], Path], path: str, status: int, words: str
) -> None:
    text = page(serve(zoo=unpacked("zoo-3.4.0")), path, status)
    assert words in text.replace("&#x27;", "'")
    assert "Traceback" not in text


def test_a_child_that_the_database_no_longer_holds_is_no_error(serve: Serve, fresh: Callable[[str], Path]) -> None:
    path = fresh("zoo-3.4.0")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM workflow_status WHERE workflow_uuid = 'wf-parent-1'")
    connection.close()
    client = serve(zoo=path)
    text = page(client, "/db/zoo/runs/wf-parent/?open=1&step=1")
    assert 'id="s1"' in text
    page(client, "/db/zoo/runs/wf-parent-1/", 404)


def test_an_id_leads_to_its_run_wherever_it_is_and_anything_else_to_a_list(
    serve: Serve, unpacked: Callable[[str], Path]
) -> None:
    client = serve(shop=unpacked("shop"), early=unpacked("shop-early"), zoo=unpacked("zoo-3.4.0"))
    assert client.get("/search/?q=wf-happy").headers["location"] == "/db/zoo/runs/wf-happy/"
    for link in (
        "http://127.0.0.1:8080/execution/wf-happy/logs?x=1#y",
        "https://engine.example/#/workflows/wf-happy?tab=1",
    ):
        found = client.get("/search/", {"q": link})
        assert found.headers["location"] == "/db/zoo/runs/wf-happy/"
    assert client.get("/search/", {"q": "http://[1"}).headers["location"] == "/runs/?q=http%3A%2F%2F%5B1"
    both = page(client, f"/search/?q={FULFIL}")
    assert f"/db/shop/runs/{FULFIL}/" in both
    assert f"/db/early/runs/{FULFIL}/" in both
    assert client.get("/search/?q=wf-happ").headers["location"] == "/runs/?q=wf-happ"
    cut = f"{FULFIL[:11]}…{FULFIL[-6:]}"  # as lists show it
    assert cut in page(client, f"/db/shop/runs/?q={FULFIL}")
    both = page(client, f"/search/?q={cut}")
    assert f"/db/shop/runs/{FULFIL}/" in both
    assert f"/db/early/runs/{FULFIL}/" in both
    for other in (f"{cut[:-1]}0", "…", f"{FULFIL[:11]}…"):
        assert client.get("/search/", {"q": other}).headers["location"].startswith("/runs/?q=")


def test_a_search_that_found_nothing_so_far_leads_on_to_the_older_ones(
    serve: Serve, unpacked: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CANDIDATES", 2)
    monkeypatch.setattr(search, "BATCH", 2)
    client = serve(zoo=unpacked("zoo-3.4.0"))
    text = page(client, "/db/zoo/runs/?q=nowhere")
    assert "No run matches so far" in text
    assert "An id is found by its beginning, an error by any part of its text." in text
    pages = 1
    while older := re.search(r'rel="next" href="([^"]+)"', text):
        text = page(client, "/db/zoo/runs/" + html.unescape(older[1]).removeprefix("/db/zoo/runs/"))
        pages += 1
    assert pages > 1
    assert "No run matches here" in text
    assert ">Newest</a>" in text

"""Every empty, busy and error state that a reader can meet, each brought about on a real file and seen on its page."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from writers import writing

from tests.browsing import NEEDS_CHROMIUM, page, scrolls_sideways
from tests.serving import Served, served

pytestmark = NEEDS_CHROMIUM

NOW = "2026-11-22T17:08:00Z"  # four hours after the zoo's last event
LIMIT = 64 * 1024 * 1024  # bytes of one payload that are read


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def not_sqlite(path: Path) -> None:
    path.write_text("order;amount\n1;2\n" * 20)


def packed(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(400))


def nothing_in_it(path: Path) -> None:
    path.write_bytes(b"")


def unknown_schema(path: Path) -> None:
    path.unlink()
    change(path, "CREATE TABLE accounts (id)", "CREATE TABLE postings (id)")


def no_tables(path: Path) -> None:
    path.unlink()
    change(path, "PRAGMA user_version = 3")


def newer_schema(path: Path) -> None:
    change(path, "UPDATE dbos_migrations SET version = 999", "ALTER TABLE workflow_status ADD COLUMN mood TEXT")


def no_runs(path: Path) -> None:
    change(path, "DELETE FROM operation_outputs", "DELETE FROM workflow_status")


def damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'workflow_status'")
        ((size,),) = connection.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


def left_over_wal(path: Path) -> None:
    with writing(path) as writer:
        writer.do(
            "PRAGMA journal_mode=WAL", "UPDATE workflow_status SET name = 'only in the -wal' WHERE name = 'happy'"
        )
    Path(f"{path}-shm").unlink()


def hot_journal(path: Path) -> None:
    with writing(path) as writer:
        # A cache of ten pages: the change reaches the file long before it is committed.
        writer.do(
            "PRAGMA cache_size=10",
            "BEGIN",
            "UPDATE workflow_status SET name = 'undone'",
            "UPDATE operation_outputs SET function_name = 'undone' || hex(randomblob(400))",
        )
    assert Path(f"{path}-journal").stat().st_size > 0


def worse_payloads(path: Path) -> None:
    change(
        path,
        "UPDATE operation_outputs SET output = 'gARjb3MK' WHERE workflow_uuid = 'wf-happy' AND function_id = 1",
        "UPDATE operation_outputs SET serialization = 'portable_json',"
        f" output = '[\"' || replace(hex(zeroblob({LIMIT // 2 + 50})), '0', 'a') || '\"]'"
        " WHERE workflow_uuid = 'wf-happy' AND function_id = 2",
    )


def long_history(path: Path) -> None:
    change(
        path,
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 2599)"
        " INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, started_at_epoch_ms,"
        " completed_at_epoch_ms, retention_timestamp)"
        " SELECT 'wf-pending', i, 'poll', 1795352862000 + i, 1795352862001 + i, 0 FROM n",
    )


STATES = (
    not_sqlite,
    packed,
    nothing_in_it,
    unknown_schema,
    no_tables,
    newer_schema,
    no_runs,
    damaged,
    left_over_wal,
    hot_journal,
    worse_payloads,
    long_history,
)


@pytest.fixture(scope="module")
def states(unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One command over a copy of the zoo in each state, a file that is not there, and one that is well."""
    folder = tmp_path_factory.mktemp("states")
    specs = [f"fine={unpacked('mini-3.4.0')}", f"missing={folder / 'gone.sqlite'}"]
    for bring_about in STATES:
        path = folder / f"{bring_about.__name__}.sqlite"
        shutil.copy(unpacked("zoo-3.4.0"), path)
        bring_about(path)
        specs.append(f"{bring_about.__name__}={path}")
    with served(*specs, DURASCOPE_NOW=NOW) as running:
        yield running


@pytest.mark.parametrize(
    ("slug", "words"),
    [
        ("missing", "File missing. There is nothing at"),
        ("not_sqlite", "Not a SQLite database. It begins with 6f 72 64 65"),
        (
            "packed",
            "Not a SQLite database. It begins as a gzip file does. Unpack it and point Durascope at the result.",
        ),
        ("nothing_in_it", "Not a SQLite database. The file is empty: an engine may not have written to it yet."),
        (
            "unknown_schema",
            "SQLite of an unknown schema. Tables: accounts, postings. Durascope reads databases of DBOS",
        ),
        ("no_tables", "SQLite of an unknown schema. It has no tables: the file is empty."),
        ("damaged", "The database is damaged."),
    ],
)
def test_a_file_that_can_not_be_read_says_why_everywhere(
    browser: Browser, states: Served, slug: str, words: str
) -> None:
    title = words.partition(".")[0]
    with page(browser, states.url, quiet=False) as shown:
        shown.goto("/")
        row = shown.locator("tr").filter(has=shown.get_by_role("link", name=slug, exact=True))
        expect(row).to_contain_text(words)
        expect(shown.locator("tr", has_text="fine")).to_contain_text("DBOS")
        row.get_by_role("link", name=slug).click()
        expect(shown.get_by_role("heading", level=1)).to_have_text(slug)
        expect(shown.get_by_role("main")).to_contain_text(words)
        expect(shown).to_have_title(f"{slug} · Durascope")
        for address in (f"/db/{slug}/runs/", f"/db/{slug}/runs/wf-happy/"):
            shown.goto(address)
            expect(shown.get_by_role("main")).to_contain_text(title)
            assert not scrolls_sideways(shown)
        # In the merged list the others are still there.
        shown.goto(f"/runs/?db=fine&db={slug}")
        expect(shown.get_by_role("main")).to_contain_text(f"{slug}: {title}")
        expect(shown.locator("tbody tr")).not_to_have_count(0)


def test_a_newer_schema_is_read_as_far_as_it_is_known(browser: Browser, states: Served) -> None:
    with page(browser, states.url) as shown:
        shown.goto("/db/newer_schema/")
        expect(shown.get_by_role("main")).to_contain_text("Migration 999 is newer than 125, the newest one known")
        shown.goto("/db/newer_schema/runs/wf-declined/")
        expect(shown.locator(".say")).to_contain_text("Failed at step 3 declined: PaymentDeclined.")


def test_a_database_without_runs_says_so(browser: Browser, states: Served) -> None:
    with page(browser, states.url) as shown:
        shown.goto("/db/no_runs/")
        expect(shown.get_by_role("main")).to_contain_text("all 0")
        shown.goto("/db/no_runs/runs/")
        expect(shown.get_by_role("heading", name="No run matches")).to_be_visible()
        shown.get_by_role("link", name="Show them too").click()
        expect(shown.get_by_role("main")).to_contain_text("Remove a filter: children too")


@pytest.mark.parametrize(("slug", "name"), [("left_over_wal", "only in the -wal"), ("hot_journal", "happy")])
def test_what_a_dead_writer_left_is_read_from_a_recovered_copy(
    browser: Browser, states: Served, slug: str, name: str
) -> None:
    with page(browser, states.url) as shown:
        shown.goto("/")
        expect(shown.locator("tr").filter(has=shown.get_by_role("link", name=slug, exact=True))).to_contain_text(
            "recovered copy"
        )
        shown.goto(f"/db/{slug}/runs/wf-happy/")
        expect(shown.get_by_role("heading", level=1)).to_have_text(name)
        expect(shown.locator(".row").nth(1)).to_contain_text("add")


def test_a_locked_file_says_that_it_is_and_is_read_when_it_is_free(
    browser: Browser, fresh: Callable[[str], Path]
) -> None:
    path = fresh("zoo-3.4.0")
    with served(f"zoo={path}") as site, page(browser, site.url, quiet=False) as shown, writing(path) as writer:
        writer.do("BEGIN EXCLUSIVE")
        for address in ("/", "/db/zoo/runs/wf-happy/"):
            shown.goto(address)
            expect(shown.get_by_role("main")).to_contain_text("The database is locked by another process.")
            expect(shown.get_by_role("main")).to_contain_text("Try again in a moment.")
        writer.do("COMMIT")
        shown.goto("/db/zoo/runs/wf-happy/")
        expect(shown.get_by_role("heading", level=1)).to_have_text("happy")


def test_nothing_served_shows_the_commands_and_what_was_looked_for(browser: Browser, tmp_path: Path) -> None:
    with served(str(tmp_path)) as site, page(browser, site.url) as shown:
        shown.goto("/")
        expect(shown.get_by_role("heading", name="No database is served yet")).to_be_visible()
        expect(shown.get_by_role("main")).to_contain_text("durascope serve PATH")
        expect(shown.get_by_role("main")).to_contain_text("durascope demo")
        expect(shown.get_by_role("main")).to_contain_text(str(tmp_path))
        shown.goto("/runs/")
        expect(shown.get_by_role("heading", name="No run matches")).to_be_visible()


def test_no_match_offers_each_filter_to_be_removed(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/db/zoo/runs/?status=failed&workflow=happy&q=no-such-words")
        empty = shown.locator(".empty")
        expect(empty).to_contain_text("No run matches")
        for removed, left in (("no-such-words", 2), ("workflow happy", 1)):
            empty.get_by_role("link", name=removed).click()
            expect(shown.locator(".filt .pill", has_text="remove filter")).to_have_count(left)
        expect(shown.locator("tbody tr")).not_to_have_count(0)
        assert shown.url.endswith("/db/zoo/runs/?status=failed")


def test_a_payload_that_can_not_be_decoded_shows_its_bytes(browser: Browser, states: Served) -> None:
    stored = hashlib.sha256(b"gARjb3MK").hexdigest()
    with page(browser, states.url) as shown:
        shown.goto("/db/worse_payloads/runs/wf-happy/payloads/step.1.output/")
        told = shown.get_by_role("main")
        expect(told).to_contain_text("Can’t be decoded.")
        expect(told).to_contain_text("py_pickle")
        expect(told.locator(f"[title='{stored}']")).to_be_visible()
        expect(told).to_contain_text("67 41 52 6a 62 33 4d 4b")  # gARjb3MK
        shown.goto("/db/worse_payloads/runs/wf-happy/?step=1")
        expect(shown.locator(".step")).to_contain_text("Can’t be decoded.")


def test_a_payload_that_is_cut_can_not_be_taken_for_the_whole(browser: Browser, states: Served) -> None:
    with page(browser, states.url) as shown:
        shown.goto("/db/worse_payloads/runs/wf-happy/payloads/step.2.output/")
        expect(shown.locator(".trunc")).to_contain_text("were read")
        expect(shown.locator(".trunc .bar").first).to_be_visible()
        assert not scrolls_sideways(shown)


def test_a_stale_file_says_what_was_so_when_it_was_last_written(browser: Browser, states: Served) -> None:
    with page(browser, states.url) as shown:
        shown.goto("/db/newer_schema/runs/wf-pending/")
        expect(shown.locator(".head")).to_contain_text("was running when last written, 4 h ago")
        expect(shown.locator("[data-live-control]")).to_have_count(0)
        shown.goto("/db/newer_schema/runs/?status=running")
        expect(shown.get_by_role("main")).to_contain_text("newer_schema was last written 4 h ago.")


def test_a_history_of_thousands_is_shown_in_parts(browser: Browser, states: Served) -> None:
    with page(browser, states.url) as shown:
        shown.goto("/db/long_history/runs/wf-pending/")
        rows = shown.locator(".row")
        expect(rows).to_have_count(200)
        everything = shown.get_by_role("link", name="All 2,5")
        expect(everything).to_be_visible()
        shown.get_by_role("link", name="Later", exact=True).last.click()
        expect(shown.get_by_text("Rows 201 to 400 of")).to_be_visible()
        everything.click()
        expect(rows).to_have_count(_rows_of_pending())


def _rows_of_pending() -> int:
    return 2500 + 1 + 2  # what was added, the run itself, and what the zoo's run recorded


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nowhere/", 404, "There is no page at this address."),
        ("/db/nowhere/", 404, "'nowhere' is unknown. Served here: zoo, go, shop, shop-live, old."),
        ("/db/zoo/runs/nobody/", 404, "The database has no run with this id."),
        ("/db/zoo/runs/wf-happy/?step=999", 404, "The run has no such step."),
        ("/db/zoo/runs/wf-happy/nonsense/", 404, "A run has the views timeline, table"),
        ("/db/zoo/runs/wf-happy/payloads/run.nothing/", 404, "The run has no such payload."),
        ("/runs/?status=wrong", 400, "What was asked for can't be understood."),
        ("/runs/?within=2y", 400, "What was asked for can't be understood."),
        ("/db/zoo/runs/?since=yesterday", 400, "What was asked for can't be understood."),
        ("/db/zoo/runs/?after=x", 400, "The place to go on from can't be understood."),
        ("/db/zoo/runs/wf-happy/?from=noon", 400, "is not an instant like 2026-11-22T03:10:00Z."),
    ],
)
def test_an_address_that_means_nothing_says_what_is_wrong(
    browser: Browser, site: Served, address: str, status: int, words: str
) -> None:
    with page(browser, site.url, width=360, quiet=False) as shown:
        answer = shown.goto(address)
        assert answer is not None
        assert answer.status == status
        expect(shown.get_by_role("main")).to_contain_text(words)
        expect(shown.get_by_role("heading", level=1)).to_be_visible()
        assert not scrolls_sideways(shown)
        leads_back(shown)


def leads_back(shown: Page) -> None:
    shown.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Fleet").click()
    expect(shown.get_by_role("heading", level=1)).to_have_text("Fleet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_who_needs_the_right(browser: Browser, fresh: Callable[[str], Path]) -> None:
    path = fresh("mini-3.4.0")
    path.chmod(0)
    with served(str(path)) as site, page(browser, site.url) as shown:
        shown.goto("/")
        expect(shown.locator("tbody tr")).to_contain_text("The database may not be read.")
        expect(shown.locator("tbody tr")).to_contain_text("the right to read it")

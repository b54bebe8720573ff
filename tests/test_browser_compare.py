"""Two databases side by side in Chromium: every tab, light and dark, wide and narrow; the way through them; without scripts."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from comparisons import database
from playwright.sync_api import Browser, Page, expect

from runs.compare import making, tasks
from runs.compare.records import Options
from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.serving import Served, served

pytestmark = NEEDS_CHROMIUM

DATABASES = {
    "shop": "shop", "shop-fork": "shop-fork", "shop-early": "shop-early", "shop-staging": "shop-staging", "zoo": "zoo-3.4.0",
}  # fmt: skip
FORK, STAGING = "a=shop&b=shop-fork", "a=shop&b=shop-staging"
PAGES = {
    "choose": "/compare/",
    "overview": f"/compare/?{STAGING}",
    "runs": f"/compare/runs/?{STAGING}&limit=20",
    "runs, none": f"/compare/runs/?{STAGING}&q=nothing",
    "lone": "/compare/lone/?a=shop&b=shop-early&limit=20",
    "steps": f"/compare/steps/?{STAGING}",
    "errors": f"/compare/errors/?{FORK}",
    "settings": f"/compare/settings/?{STAGING}",
    "integrity": f"/compare/integrity/?{FORK}",
    "two engines": "/compare/?a=shop&b=zoo",
    "settings of two engines": "/compare/settings/?a=shop&b=zoo&all=on",
    "empty": "/compare/?a=zoo&b=empty",
    "damaged": "/compare/?a=zoo&b=damaged",
}
Unpacked = Callable[[str], Path]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def large(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two copies of one database that are too large to be compared while a page is awaited."""
    copies = tuple(tmp_path_factory.mktemp("large") / f"large-{letter}.sqlite" for letter in "ab")
    for copy in copies:
        with closing(sqlite3.connect(copy)) as connection, closing(sqlite3.connect(unpacked("zoo-3.4.0"))) as source:
            source.backup(connection)
            connection.execute("CREATE TABLE filler (bytes BLOB)")
            connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (making.SMALL,))
            connection.commit()
    return copies[0], copies[1]


@pytest.fixture(scope="module")
def site(
    unpacked: Unpacked, large: tuple[Path, Path], state: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("bad")
    for name in ("empty", "damaged"):
        (folder / f"{name}.sqlite").write_bytes(unpacked("zoo-3.4.0").read_bytes())
    with closing(sqlite3.connect(folder / "empty.sqlite")) as connection:
        connection.executescript("DELETE FROM operation_outputs; DELETE FROM workflow_status")
    with (folder / "damaged.sqlite").open("r+b") as damaged:
        damaged.seek(3 * 4096)
        damaged.write(b"\xff" * 1_000_000)
    named = {slug: unpacked(name) for slug, name in DATABASES.items()}
    named |= {path.stem: path for path in (*large, *folder.iterdir())}
    with served(*(f"{slug}={path}" for slug, path in named.items()), DURASCOPE_STATE=str(state)) as running:
        yield running


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways_and_axe_finds_nothing(browser: Browser, site: Served, name: str) -> None:
    # The policy forbids every script but the page's own, so axe is let in here, and only here.
    with page(browser, site.url, quiet=name != "damaged", bypass_csp=True, reduced_motion="reduce") as shown:
        shown.goto(PAGES[name])
        for theme, width in (("light", 1440), ("dark", 360)):
            shown.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            shown.set_viewport_size({"width": width, "height": 900})
            picture(shown, f"compare-{name}-{theme}-{width}".replace(" ", "-").replace(",", ""))
            assert not scrolls_sideways(shown), (theme, width)
            found = Axe().run(shown)
            assert found.violations_count == 0, (theme, width, found.generate_report())


@pytest.mark.parametrize("javascript", [True, False], ids=["with scripts", "without"])
def test_two_are_chosen_compared_swapped_and_a_pair_opened(browser: Browser, site: Served, javascript: bool) -> None:
    with page(browser, site.url, javascript=javascript) as shown:
        shown.goto("/compare/")
        shown.get_by_label("Database A").select_option("shop")
        shown.get_by_label("Database B").select_option("shop-fork")
        shown.get_by_role("button", name="Compare", exact=True).click()
        expect(shown.locator(".say")).to_contain_text("each went on by itself")
        expect(shown.locator(".say")).to_contain_text("A has 238 new runs")
        shown.get_by_role("link", name="Swap A and B").click()
        expect(shown.locator(".say")).to_contain_text("B has 238 new runs")
        shown.get_by_role("link", name="Swap A and B").click()

        shown.get_by_role("link", name="only A 231").click()
        expect(shown.locator(".pager")).to_contain_text("50 shown of 231 runs")
        shown.get_by_role("link", name="matched 731").click()
        expect(shown.locator(".pager")).to_contain_text("50 shown of 731 pairs")
        shown.get_by_role("link", name="diverged 2").click()
        expect(shown.locator("tbody tr")).to_have_count(2)
        shown.locator("tbody").get_by_role("link", name="refund", exact=True).click()
        expect(shown.locator(".say")).to_contain_text("First difference")
        shown.go_back()
        expect(shown.locator("tbody tr")).to_have_count(2)
        shown.get_by_role("link", name="remove filter").click()
        expect(shown.locator(".pager")).to_contain_text("731 pairs")


def test_pairs_are_filtered_by_workflow_and_cause_and_paged(browser: Browser, site: Served) -> None:
    with page(browser, site.url, javascript=False) as shown:
        shown.goto(f"/compare/runs/?{STAGING}&limit=20")
        first = _rows(shown)
        shown.get_by_role("link", name="More").click()
        assert not set(first) & set(_rows(shown))
        shown.get_by_role("link", name="First").click()
        assert _rows(shown) == first
        shown.get_by_label("Workflow", exact=True).select_option("shop:shipping/workflow.route-parcel")
        shown.get_by_role("button", name="Filter").click()
        assert set(shown.locator("tbody th").all_inner_texts()) == {"route-parcel"}
        # Of few pairs that differ, the first differences of all are looked for.
        shown.goto(f"/compare/runs/?{FORK}")
        shown.get_by_label("Cause", exact=True).select_option("different_result")
        shown.get_by_role("button", name="Filter").click()
        assert set(shown.locator("tbody th").all_inner_texts()) == {"approve-refund", "refund"}
        for words in shown.locator("tbody td.fill").all_inner_texts():
            assert "different result" in words
        shown.goto(f"/compare/runs/?{STAGING}")
        shown.get_by_role("link", name="workflow and input 200").click()
        expect(shown.locator("tbody tr").first).to_contain_text("workflow and input")


def test_a_side_s_new_runs_are_a_plain_list(browser: Browser, site: Served, unpacked: Unpacked) -> None:
    with closing(sqlite3.connect(unpacked("shop-early"))) as early, closing(sqlite3.connect(unpacked("shop"))) as shop:
        known = {row[0] for row in early.execute("SELECT execution_id FROM t_state")}
        new = {row[0] for row in shop.execute("SELECT execution_id FROM t_state")} - known
    with page(browser, site.url, javascript=False) as shown:
        shown.goto("/compare/?a=shop&b=shop-early")
        shown.get_by_role("link", name="runs of A since B ended").click()
        expect(shown.locator("h1")).to_contain_text("Runs")
        assert "/db/shop/runs/?since=" in shown.url
        seen: set[str] = set()
        while True:
            seen |= set(shown.locator("tbody tr [title^=E_]").evaluate_all("all => all.map((one) => one.title)"))
            onward = shown.locator("a[rel=next]")
            if not onward.count():
                break
            shown.goto(str(onward.first.get_attribute("href")))
        assert seen == new
        shown.goto(f"/compare/?{FORK}")
        assert shown.get_by_role("link", name="since they parted").count() == 2


def test_the_compare_page_suggests_pairs_of_one_engine(browser: Browser, site: Served) -> None:
    with page(browser, site.url, javascript=False) as shown:
        shown.goto("/compare/")
        named = shown.locator("tbody th").all_inner_texts()
        assert named[:3] == ["shop and shop-early", "shop and shop-fork", "shop and shop-staging"]
        assert not any("shop" in words and "zoo" in words for words in named)
        shown.get_by_role("link", name="shop and shop-early").click()
        expect(shown.locator(".say")).to_contain_text("B is an earlier copy of A.")


def test_the_keys_g_c_lead_there(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/")
        shown.keyboard.press("g")
        shown.keyboard.press("c")
        expect(shown.locator("h1")).to_have_text("Compare")


def test_the_export_opens_from_a_disk_and_asks_nobody(browser: Browser, site: Served, tmp_path: Path) -> None:
    with page(browser, site.url) as shown:
        shown.goto(f"/compare/?{STAGING}")
        with shown.expect_download() as download:
            shown.get_by_role("link", name="Export HTML").click()
        assert download.value.suggested_filename == "shop-and-shop-staging.html"
        file = tmp_path / "ticket.html"
        download.value.save_as(file)
    with page(browser, site.url, alone=True) as shown:
        asked: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(file.as_uri())
        picture(shown, "compare-export")
        expect(shown.locator("h1")).to_have_text("shop and shop-staging")
        expect(shown.get_by_role("heading", name="By step")).to_be_visible()
        expect(shown.locator("dl.facts")).to_contain_text("2026-11-22 15:27:25")
        assert asked == [file.as_uri()]
        for width in (1440, 360):
            shown.set_viewport_size({"width": width, "height": 900})
            assert not scrolls_sideways(shown), width


def test_a_comparison_in_the_background_is_followed_cancelled_and_begun_again(
    browser: Browser, site: Served, large: tuple[Path, Path], state: Path
) -> None:
    folder = state / "comparisons"
    folder.mkdir(exist_ok=True)
    key = making.key(database(large[0]), database(large[1]), Options())
    with page(browser, site.url) as shown:
        with tasks._alone(folder, key) as alone:  # as another process that is at work has it
            assert alone
            shown.goto("/compare/?a=large-a&b=large-b")
            expect(shown.locator(".say")).to_contain_text("It goes on when this page is closed")
            picture(shown, "compare-progress")
            assert not scrolls_sideways(shown)
            shown.get_by_role("button", name="Cancel").click()
        expect(shown.locator(".note")).to_contain_text("The comparison was cancelled.")
        shown.get_by_role("button", name="Compare again").click()
        expect(shown.locator(".say")).to_contain_text("Both hold the same.")


def test_what_can_not_be_compared_is_said_in_words_and_the_choice_stays(browser: Browser, site: Served) -> None:
    with page(browser, site.url, quiet=False, javascript=False) as shown:
        answer = shown.goto("/compare/?a=zoo&b=damaged")
        assert answer is not None
        assert answer.status == 503
        expect(shown.locator(".note")).to_contain_text("The database is damaged. Database damaged:")
        shown.get_by_label("Database B").select_option("zoo")
        shown.get_by_role("button", name="Compare", exact=True).click()
        expect(shown.locator(".say")).to_contain_text("Both hold the same.")
        shown.goto("/compare/?a=shop&b=zoo")
        expect(shown.locator(".say")).to_have_text(
            "Only distributions can be compared. A is a database of Obelisk, B of DBOS."
        )
        expect(shown.get_by_role("link", name="Integrity")).to_have_count(0)
        shown.goto("/compare/?a=zoo&b=empty")
        expect(shown.locator(".say")).to_contain_text("empty holds no runs.")


def _rows(shown: Page) -> list[str]:
    found: list[str] = shown.locator("tbody th a").evaluate_all("all => all.map((one) => one.href)")
    return found

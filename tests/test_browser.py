"""The main path in Chromium on the real command: fleet, runs, a filter, a run, a step, a payload."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.serving import Served, served

pytestmark = NEEDS_CHROMIUM

FULFIL = "E_01M81XSRV51QV02BEC46G4C8W8"  # shop: ok-fulfil
EXHAUSTED = "E_01M81XSRVXAH4GFECC8TYW89TA"  # shop: retries-exhausted


@pytest.mark.parametrize(
    ("width", "theme", "javascript"),
    [(360, "light", True), (1440, "dark", True), (360, "dark", False), (1440, "light", False)],
)
def test_a_person_finds_the_failing_step_and_reads_its_error(
    browser: Browser, site: Served, width: int, theme: str, javascript: bool
) -> None:
    name = f"{theme}-{width}{'' if javascript else '-nojs'}"
    with page(browser, site.url, width=width, theme=theme, javascript=javascript) as shown:
        shown.goto("/")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Fleet")
        picture(shown, f"fleet-{name}")
        shown.get_by_role("link", name="zoo", exact=True).click()
        shown.get_by_role("link", name="Runs", exact=True).last.click()
        expect(shown.get_by_role("row")).not_to_have_count(0)
        picture(shown, f"runs-{name}")
        shown.get_by_label("Id or error text").fill("insufficient funds")
        shown.get_by_role("button", name="Filter").click()
        expect(shown.locator("tbody tr")).to_have_count(_failed_with_insufficient_funds())
        shown.locator("tbody tr", has_text="fails_declined").last.get_by_role("link").first.click()
        expect(shown.locator(".say")).to_contain_text("Failed at step 3 declined: PaymentDeclined.")
        shown.locator(".say").get_by_role("link").click()
        expect(shown.locator(".step")).to_contain_text("insufficient funds")
        assert not scrolls_sideways(shown)
        picture(shown, f"run-{name}")
        shown.locator(".step").get_by_role("link", name="open alone").click()
        expect(shown.locator(".json")).to_contain_text("PaymentDeclined")
        assert not scrolls_sideways(shown)
        picture(shown, f"payload-{name}")


def _failed_with_insufficient_funds() -> int:
    # The README of the zoo: wf-declined, its fork, wf-parent-fail, its child, and wf-portable-fail fail this way.
    return 5


def test_children_open_in_place_to_any_depth(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(f"/db/shop/runs/{FULFIL}/")
        rows = shown.locator(".row")
        before = rows.count()
        shown.get_by_role("link", name="Open child run shop:shipping/workflow.ship-parcel").click()
        expect(shown.locator("#r20\\.3")).to_be_visible()
        shown.get_by_role("link", name="Open child run shop:shipping/workflow.route-parcel").click()
        expect(shown.locator("[id^='r20.3.']").first).to_be_visible()
        assert rows.count() > before + 2
        picture(shown, "children")
        shown.get_by_role("link", name="Fold child run shop:shipping/workflow.ship-parcel").click()
        expect(rows).to_have_count(before)


def test_attempts_and_their_back_off_are_drawn_and_listed(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(f"/db/shop/runs/{EXHAUSTED}/")
        expect(shown.locator(".say")).to_contain_text("Failed after 4 attempts: error.")
        expect(shown.locator(".tries tbody tr")).to_have_count(4)
        expect(shown.locator(".tl-block rect.b6")).to_have_count(3)
        expect(shown.locator(".tl-block rect.box.c-retry")).to_have_count(3)
        picture(shown, "attempts")


def test_a_pasted_id_or_link_opens_its_run_in_whichever_database_has_it(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        for pasted in (EXHAUSTED, f"http://127.0.0.1:8080/execution/{EXHAUSTED}/events"):
            shown.goto("/")
            shown.get_by_role("searchbox").fill(pasted)
            shown.get_by_role("searchbox").press("Enter")
            # shop-live is a prefix of shop: the run is in both, and a person chooses.
            shown.get_by_role("link", name="shop", exact=True).click()
            expect(shown.get_by_role("heading", level=1)).to_have_text("charge-card")
        shown.get_by_role("searchbox").fill("wf-unicode-ключ-🎉/?#&<b>")
        shown.get_by_role("searchbox").press("Enter")
        expect(shown.locator("main .id").first).to_have_attribute("title", "wf-unicode-ключ-🎉/?#&<b>")


def test_keys_move_through_rows_and_open_them(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/db/zoo/runs/?status=failed")
        shown.keyboard.press("j")
        shown.keyboard.press("j")
        shown.keyboard.press("k")
        first = shown.locator("tbody .key a").first
        expect(first).to_be_focused()
        wanted = first.get_attribute("href") or ""
        shown.keyboard.press("Enter")
        shown.wait_for_url(f"**{wanted}")
        shown.keyboard.press("g")
        shown.keyboard.press("f")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Fleet")
        shown.keyboard.press("/")
        expect(shown.get_by_role("searchbox")).to_be_focused()


def _slugs(shown: Page) -> list[str]:
    return shown.locator("tbody .key").all_inner_texts()


def test_a_database_that_appears_or_cannot_be_read_is_a_row(
    browser: Browser, fresh: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "notes.sqlite").write_text("not a database")
    missing = tmp_path / "gone.sqlite"
    with (
        served(str(folder), str(folder / "notes.sqlite"), str(missing)) as running,
        page(browser, running.url) as shown,
    ):
        shown.goto("/")
        assert sorted(_slugs(shown)) == ["gone", "notes"]
        expect(shown.locator("tr", has_text="notes")).to_contain_text("Not a SQLite database.")
        expect(shown.locator("tr", has_text="gone")).to_contain_text("File missing.")
        fresh("mini-3.4.0").rename(folder / "mini.sqlite")
        # The page is live: the new file appears by itself.
        expect(shown.locator("tbody .key", has_text="mini")).to_be_visible()

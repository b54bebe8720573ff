"""Two runs side by side in Chromium: both themes, two widths, axe, keys, rows that open in place, and all without scripts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.serving import Served, served

pytestmark = NEEDS_CHROMIUM

LIGHTER = "/compare/run/?a=pairs&a_run=plain&b=pairs&b_run=lighter"
LONG = "/compare/run/?a=pairs&a_run=long-tea&b=pairs&b_run=long-changed"
REFUND = "E_01M81XSX41YVM28F5AWRW2T345"
PAGES = {
    "lighter": f"{LIGHTER}&open=1&open=end",
    "parent": "/compare/run/?a=pairs&a_run=parent&b=pairs&b_run=parent-2&open=0&open=input",
    "dice": "/compare/run/?a=pairs&a_run=plain&b=pairs&b_run=dice",
    "long": LONG,
    "refund": f"/compare/run/?a=shop&a_run={REFUND}&b=fork&b_run={REFUND}&open=0",
    "with": "/compare/run/?a=pairs&a_run=lighter",
}


@pytest.fixture(scope="module")
def site(pairs: Path, unpacked: Callable[[str], Path]) -> Iterator[Served]:
    with served(f"pairs={pairs}", f"shop={unpacked('shop')}", f"fork={unpacked('shop-fork')}") as running:
        yield running


def test_nothing_scrolls_sideways_and_axe_finds_nothing(browser: Browser, site: Served) -> None:
    for name, address in PAGES.items():
        for theme, width in (("light", 1440), ("dark", 360)):
            # The policy forbids every script but the page's own, so axe is let in here, and only here.
            with page(browser, site.url, theme=theme, width=width, bypass_csp=True, reduced_motion="reduce") as shown:
                shown.goto(address)
                picture(shown, f"compare-run-{name}-{theme}-{width}")
                assert not scrolls_sideways(shown), (name, width)
                found = Axe().run(shown)
                assert found.violations_count == 0, (name, theme, width, found.generate_report())


def test_a_row_opens_and_closes_in_place(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(LIGHTER)
        row = shown.locator("#d1")
        row.get_by_role("link", name="weigh").click()
        expect(row).to_contain_text("weight_g: 4200")
        expect(row.get_by_role("link", name="weigh")).to_be_focused()
        assert "open=" not in shown.url
        row.get_by_role("link", name="weigh").click()
        expect(row).not_to_contain_text("weight_g")


def test_n_and_p_lead_from_one_difference_to_the_next(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(LONG)
        seen = []
        for key in ("n", "n", "p"):
            shown.keyboard.press(key)
            seen.append(shown.evaluate("document.activeElement.closest('tbody')?.id"))
        assert seen == ["d700", "d900", "d700"]
        shown.keyboard.press("j")
        assert shown.evaluate("document.activeElement.closest('tbody')?.id") == "d701"


def test_without_scripts_a_row_opens_by_its_address(browser: Browser, site: Served) -> None:
    with page(browser, site.url, javascript=False) as shown:
        shown.goto(LIGHTER)
        shown.locator("#d1").get_by_role("link", name="weigh").click()
        expect(shown.locator("#d1")).to_contain_text("weight_g: 4200")
        shown.get_by_role("link", name="Swap A and B").click()
        expect(shown.locator(".say")).to_contain_text("$.weight_g is 0 in A and 4200 in B.")
        shown.goto(LONG)
        shown.get_by_role("link", name="698 identical steps").click()
        assert shown.locator("tbody[id]").count() > 200


def test_a_run_s_page_leads_to_a_comparison(browser: Browser, site: Served) -> None:
    with page(browser, site.url, javascript=False) as shown:
        shown.goto("/db/pairs/runs/lighter/")
        shown.get_by_role("link", name="Compare with…").click()
        shown.get_by_label("Run id", exact=True).fill("plain")
        shown.get_by_role("button", name="Compare", exact=True).click()
        expect(shown.locator(".say")).to_contain_text("First difference")

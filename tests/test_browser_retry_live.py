"""A retry from failure to success in Chromium, taken up by a live DBOS application: by mouse, by keyboard, without scripts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture
from tests.engines import application, executed
from tests.serving import Served, eventually, served

pytestmark = [pytest.mark.live, *NEEDS_CHROMIUM]

WAIT = 30_000  # milliseconds for the engine to take it up and end it, on a machine that does much else
REASON = "the bank is open again"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an application in which everything failed, and which has been mended since."""
    folder = tmp_path_factory.mktemp("live")
    with application(folder) as running:
        running.ask("start")
    (folder / "executed").unlink()
    (folder / "mended").touch()
    return folder


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[Served]:
    """The command over its database, while the application runs again."""
    with (
        application(folder),
        served(
            f"shop={folder / 'live.sqlite'}", "--allow-retry", "shop", DURASCOPE_STATE=str(folder / "state")
        ) as site,
    ):
        yield site


def statuses(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT workflow_uuid, status FROM workflow_status"))


def test_by_mouse_it_is_planned_copied_confirmed_and_followed_to_its_success(
    browser: Browser, shop: Served, folder: Path
) -> None:
    before = statuses(folder / "live.sqlite")
    with page(browser, shop.url) as shown:
        shown.goto("/db/shop/runs/?status=failed")
        shown.get_by_role("row").filter(has=shown.get_by_text("step", exact=True)).get_by_role("link").first.click()
        shown.get_by_role("link", name="Plan a retry").click()
        expect(shown.locator(".say")).to_contain_text("1 step is kept, 1 runs again in a new run")
        shown.get_by_role("button", name="Save a copy first").click()
        expect(shown.locator(".saved")).to_contain_text("A copy is saved")
        copy = Path(shown.locator(".saved code").inner_text())
        shown.get_by_label("Reason").fill(REASON)
        shown.get_by_role("button", name="Append").click()
        expect(shown.locator(".say")).to_contain_text("succeeded", timeout=WAIT)  # nothing is loaded anew by hand
        expect(shown.locator(".say")).to_contain_text("taken up")
        picture(shown, "retry-succeeded")
        shown.get_by_role("link", name="step", exact=True).click()
        expect(shown.locator(".head")).to_contain_text("retried → succeeded")
        expect(shown.locator(".facts")).to_contain_text("step.retry-1")
        shown.get_by_role("link", name="step.retry-1").click()
        expect(shown.locator(".facts")).to_contain_text(f"of 127.0.0.1: {REASON}")
        shown.goto("/db/shop/runs/?status=failed")
        mark = shown.locator("a.mark[title='step.retry-1']")
        expect(mark).to_have_text("retried → succeeded")
        shown.get_by_role("link", name="recovered failures shown").click()
        expect(mark).to_have_count(0)
        expect(shown.get_by_text("recovered failures left out")).to_be_visible()
    assert executed(folder)["step.retry-1"] == ["charge", "ship"]
    assert copy.parent == folder / "state" / "copies"
    assert statuses(copy) == before


def focus(shown: Page, name: str) -> None:
    """Tab after Tab until what has this name has the focus: what a keyboard can't reach ends the test."""
    for _ in range(150):
        shown.keyboard.press("Tab")
        focused = shown.evaluate(
            "() => { const e = document.activeElement; return (e.labels?.[0] ?? e).textContent.trim() }"
        )
        if focused.startswith(name):
            return
    raise AssertionError(f"{name} is not reached")


def test_by_keyboard_alone(browser: Browser, shop: Served, folder: Path) -> None:
    with page(browser, shop.url) as shown:
        shown.goto("/db/shop/runs/portable/")
        focus(shown, "Plan a retry")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Plan a retry")
        focus(shown, "Reason")
        shown.keyboard.type(REASON)
        focus(shown, "Append")
        shown.keyboard.press("Enter")
        expect(shown.locator(".say")).to_contain_text("succeeded", timeout=WAIT)
    assert executed(folder)["portable.retry-1"] == ["decline"]


def test_without_javascript_by_loading_the_page_again(browser: Browser, shop: Served, folder: Path) -> None:
    with page(browser, shop.url, javascript=False) as shown:
        shown.goto("/db/shop/runs/publishes/")
        shown.get_by_role("link", name="Plan a retry").click()
        shown.get_by_label("Reason").fill(REASON)
        shown.get_by_role("button", name="Append").click()
        expect(shown.locator(".say")).to_contain_text("Appended")

        def ended() -> bool:
            shown.reload()
            return "succeeded" in shown.locator(".say").inner_text()

        assert eventually(ended)
    assert executed(folder)["publishes.retry-1"] == ["charge"]


def test_a_page_of_another_origin_can_neither_retry_nor_save_a_copy(
    browser: Browser, shop: Served, folder: Path
) -> None:
    """Its form carries everything that may be known: only the token and the origin are not a stranger's to have."""
    before = statuses(folder / "live.sqlite")
    copies = {path.name for path in (folder / "state" / "copies").glob("*")}
    mine = f"{shop.url}db/shop/runs/caught/retry/"
    with page(browser, shop.url) as shown:
        shown.goto(mine)
        digest = shown.locator("input[name=digest]").input_value()
    with page(browser, "about:blank", quiet=False, alone=True) as foreign:
        foreign.route(
            "http://stranger.example/**",
            lambda route: route.fulfill(
                content_type="text/html",
                body=f"""<form method="post" action="{mine}"><input name="digest" value="{digest}">
                    <input name="reason" value="mine"><button>first</button>
                    <button formaction="{mine}copy/">second</button></form>""",
            ),
        )
        for name in ("first", "second"):
            foreign.goto("http://stranger.example/")
            with foreign.expect_navigation() as sent:
                foreign.get_by_role("button", name=name).click()
            assert sent.value is not None
            assert sent.value.status == 403
    assert statuses(folder / "live.sqlite") == before
    assert {path.name for path in (folder / "state" / "copies").glob("*")} == copies

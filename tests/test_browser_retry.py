"""A retry in Chromium on the real command: planned, confirmed, followed; refused to pages of others."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.dbos_files import sql
from tests.serving import Served, served
from tests.test_browser_pages import AXE, THEMES

pytestmark = NEEDS_CHROMIUM


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_a_failed_run_is_planned_confirmed_and_followed(
    browser: Browser, fresh: Callable[[str], Path], tmp_path: Path, javascript: bool
) -> None:
    zoo = fresh("zoo-3.4.0")
    with (
        served(f"zoo={zoo}", "--allow-retry", "zoo", DURASCOPE_STATE=str(tmp_path / "state")) as running,
        page(browser, running.url, javascript=javascript) as shown,
    ):
        shown.goto("/db/zoo/runs/wf-declined/")
        shown.get_by_role("link", name="Plan a retry").click()
        expect(shown.locator(".say")).to_contain_text("2 steps are kept, 1 runs again in a new run")
        expect(shown.locator(".tl-block rect.ghost")).to_have_count(2)
        expect(shown.locator(".diff")).to_contain_text("wf-declined.retry-1")
        picture(shown, f"retry-plan{'' if javascript else '-nojs'}")
        assert not scrolls_sideways(shown)
        shown.get_by_label("Reason").fill("the provider is back")
        shown.get_by_role("button", name="Append").click()
        expect(shown.get_by_role("heading", level=1)).to_have_text("Retry 1")
        expect(shown.locator(".say")).to_contain_text("not taken up yet")
        expect(shown.locator("pre")).to_contain_text("DELETE FROM")
        picture(shown, f"retry-followed{'' if javascript else '-nojs'}")
        shown.goto("/db/zoo/runs/wf-declined/")
        expect(shown.locator(".facts")).to_contain_text("wf-declined.retry-1")
        shown.get_by_role("link", name="Plan a retry").click()
        expect(shown.locator(".say")).to_contain_text("It is already being retried")
        expect(shown.get_by_role("button", name="Append")).to_have_count(0)


def test_without_permission_a_plan_is_shown_and_nothing_can_be_confirmed(
    browser: Browser, fresh: Callable[[str], Path]
) -> None:
    zoo = fresh("zoo-3.4.0")
    before = zoo.read_bytes()
    with served(f"zoo={zoo}") as running, page(browser, running.url) as shown:
        shown.goto("/db/zoo/runs/wf-declined/retry/")
        expect(shown.locator("main")).to_contain_text("--allow-retry zoo")
        expect(shown.get_by_role("button", name="Append")).to_have_count(0)
    assert zoo.read_bytes() == before


def test_a_page_of_another_origin_cannot_retry(browser: Browser, fresh: Callable[[str], Path], tmp_path: Path) -> None:
    zoo = fresh("zoo-3.4.0")
    before = zoo.read_bytes()
    with (
        served(f"zoo={zoo}", "--allow-retry", "zoo", DURASCOPE_STATE=str(tmp_path / "state")) as running,
        served(f"other={fresh('mini-3.4.0')}") as other,
    ):
        context = browser.new_context()
        foreign = context.new_page()
        foreign.goto(other.url)
        status = foreign.evaluate(
            """async (url) => {
                const body = new URLSearchParams({ reason: "mine", digest: "x" });
                try { return (await fetch(url, { method: "POST", body, mode: "no-cors" })).type } catch { return "refused" }
            }""",
            f"{running.url}db/zoo/runs/wf-declined/retry/",
        )
        assert status in ("opaque", "refused")
        context.close()
        answer = running.get("/db/zoo/runs/wf-declined/retry/", method="POST", Origin=other.url.rstrip("/"))
        assert answer.status == 403
    assert zoo.read_bytes() == before


SHOP = "/db/shop/runs/E_01M81X"
# name → address: the plan of each operation, refusals, and what became of each.
LOOKS = {
    "plan of a fork": "/db/zoo/runs/wf-parent-fail/retry/",
    "plan of a fork of Obelisk": f"{SHOP}VVWJ3QRRYJBDQ1156MJT/retry/",
    "plan to run again": f"{SHOP}VVWJ3QRRYJBDQ1156MJT~2eg~3a1_1/retry/",
    "plan to retry now": f"{SHOP}SVJRZ49SP0SGFKZY40HN~2eo~3a2-sync-tracking_1/retry/",
    "plan to skip a delay": f"{SHOP}SW6W13956KXRE9MECZDP/retry/",
    "refused": f"{SHOP}SWZFBAZZVDYJDFHRQBW2/retry/",
    "refused for an earlier one": "/db/zoo/runs/wf-declined/retry/",
    "retries": "/retries/",
    "followed, succeeded": "/retries/1/",
    "followed, waiting": "/retries/2/",
    "followed, failed": "/retries/3/",
    "what was retried": "/db/zoo/runs/wf-declined/",
    "what was unpaused": f"{SHOP}SVVB70VEGXBWHFGFSJ4F/",
    "a list": "/db/zoo/runs/?status=failed",
}


@pytest.fixture(scope="module")
def retried(
    browser: Browser, unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Both engines' files with three retries: one succeeded, one waits for an engine, one failed. No engine runs: SQL ends them."""
    folder = tmp_path_factory.mktemp("retried")
    zoo, shop = folder / "zoo.sqlite", folder / "shop.sqlite"
    zoo.write_bytes(unpacked("zoo-3.4.0").read_bytes())
    shop.write_bytes(unpacked("shop").read_bytes())
    sql(
        shop,
        "UPDATE t_state SET pending_expires_finished = '2099-01-01 00:00:00+00:00' WHERE execution_id = ?",
        "E_01M81XSVJRZ49SP0SGFKZY40HN.o:2-sync-tracking_1",
    )
    with served(
        f"zoo={zoo}",
        f"shop={shop}",
        "--allow-retry",
        "zoo",
        "--allow-retry",
        "shop",
        DURASCOPE_STATE=str(folder / "state"),
    ) as running:
        with page(browser, running.url) as shown:
            for address in ("/db/zoo/runs/wf-declined/", f"{SHOP}SVVB70VEGXBWHFGFSJ4F/", "/db/zoo/runs/wf-body-error/"):
                shown.goto(f"{address}retry/")
                shown.get_by_label("Reason").fill("a-reason-without-a-break-" * 8)
                shown.get_by_role("button", name="Append").click()
                expect(shown.locator(".say")).to_contain_text("Appended")
        for run_id, status in (("wf-declined.retry-1", "SUCCESS"), ("wf-body-error.retry-1", "ERROR")):
            sql(
                zoo,
                """UPDATE workflow_status SET status = ?, started_at_epoch_ms = created_at + 800,
                   updated_at = created_at + 900, completed_at = created_at + 900 WHERE workflow_uuid = ?""",
                status,
                run_id,
            )
        yield running


@pytest.mark.parametrize("name", LOOKS)
def test_every_page_of_a_retry_fits_any_width_and_theme_and_axe_finds_nothing(
    browser: Browser, retried: Served, name: str
) -> None:
    wide: list[tuple[int, str]] = []
    found: dict[str, list[str]] = {}
    # The policy forbids every script but the page's own, so axe is let in here.
    with page(browser, retried.url, bypass_csp=True, reduced_motion="reduce") as shown:
        shown.goto(LOOKS[name])
        expect(shown.get_by_role("heading", level=1)).to_be_visible()
        for width, theme in product((1440, 360), THEMES):
            shown.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            shown.set_viewport_size({"width": width, "height": 900})
            if scrolls_sideways(shown):
                wide.append((width, theme))
            if (width == 360) == (theme == "dark"):
                violations = Axe().run(shown, options=AXE).response["violations"]
                found |= {
                    f"{one['id']} at {width}": [node["html"][:160] for node in one["nodes"][:3]] for one in violations
                }
    assert (wide, found) == ([], {})

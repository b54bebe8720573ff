"""A retry in Chromium on the real command: planned, confirmed, followed; refused to pages of others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.serving import served

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

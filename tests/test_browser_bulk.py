"""Several retries in Chromium on the real command: chosen by mouse or by keys alone, planned, confirmed, watched to their end."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.bulk import KINDS, multiply
from tests.dbos_files import sql
from tests.serving import Served, served
from tests.test_browser_pages import AXE

pytestmark = NEEDS_CHROMIUM

LOOKS = ((360, "dark"), (1440, "light"))  # what a width spoils, it spoils in any theme
COPIES = 6  # of each kind of run: each test retries a kind of its own


@pytest.fixture(scope="module")
def zoo(unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(unpacked("zoo-3.4.0"), tmp_path_factory.mktemp("bulk") / "zoo.sqlite"))
    multiply(path, COPIES * len(KINDS))
    return path


@pytest.fixture(scope="module")
def running(zoo: Path) -> Iterator[Served]:
    with served(f"zoo={zoo}", "--allow-retry", "zoo", DURASCOPE_STATE=str(zoo.parent / "state")) as server:
        yield server


def listed(kind: str) -> str:
    return f"/db/zoo/runs/?status=failed&q={kind}-copy"


def retried(zoo: Path, kind: str) -> list[str]:
    """By plain SQL: of which runs of a kind there is a retry with its input, and what it kept; named once for each retry."""
    found = sql(
        zoo,
        "SELECT s.forked_from FROM workflow_status s JOIN workflow_input i USING (workflow_uuid) WHERE s.forked_from LIKE ?"
        " AND (SELECT count(*) FROM operation_outputs o WHERE o.workflow_uuid = s.workflow_uuid) = ? ORDER BY 1",
        f"{kind}-copy-%",
        KINDS[kind],
    )
    return [run for (run,) in found]


def focus_by_tab(shown: Page, selector: str) -> None:
    for _ in range(80):
        if shown.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        shown.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


def run_ids(shown: Page) -> list[str]:
    return [box.get_attribute("value") or "" for box in shown.locator(".pick input").all()]


def test_by_keys_alone(browser: Browser, running: Served, zoo: Path) -> None:
    with page(browser, running.url, quiet=False) as shown:
        shown.goto(listed("wf-declined"))
        runs = [value.removeprefix("zoo/") for value in run_ids(shown)]
        expect(shown.get_by_role("button", name="Plan a retry")).to_be_disabled()
        for key in ("j", "x", "j", "j", "x", "k", "x", "x"):
            shown.keyboard.press(key)
        expect(shown.locator("[data-selected]")).to_have_text("2 selected")
        picture(shown, "bulk-list")
        shown.keyboard.press("r")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Plan 2 retries")
        focus_by_tab(shown, "#why")
        shown.keyboard.type("the bank is back")
        focus_by_tab(shown, "#howmany")
        shown.keyboard.type("3")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("alert")).to_contain_text("3 was given; 2 runs are to be retried.")
        expect(shown.locator("#why")).to_have_value("the bank is back")
        assert retried(zoo, "wf-declined") == []
        picture(shown, "bulk-refused")
        focus_by_tab(shown, "#howmany")
        shown.keyboard.type("2")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("heading", level=1)).to_have_text(re.compile("^Job"))
        expect(shown.locator(".say")).to_contain_text("Finished. 2 of 2 runs are retried.", timeout=60_000)
        expect(shown.locator("main")).not_to_have_attribute("data-live", re.compile("."))
        expect(shown.get_by_role("button", name="Cancel the rest")).to_have_count(0)
        picture(shown, "bulk-job")
        shown.get_by_role("link", name=f"{runs[0]}.retry-1").click()
        expect(shown.get_by_role("heading", level=1)).to_contain_text("fails_declined")
    assert retried(zoo, "wf-declined") == sorted([runs[0], runs[2]])


def test_by_mouse_and_what_is_chosen_stays_so_when_the_page_renews_itself(
    browser: Browser, running: Served, zoo: Path
) -> None:
    with page(browser, running.url) as shown:
        shown.goto(listed("wf-body-error"))
        runs = [value.removeprefix("zoo/") for value in run_ids(shown)]
        shown.get_by_role("link", name="Select all 6").click()
        shown.locator(".pick label").nth(1).click()
        expect(shown.locator("[data-selected]")).to_have_text("5 selected")
        tag = shown.locator("main").get_attribute("data-live") or ""
        with closing(sqlite3.connect(zoo)) as connection, connection:
            connection.execute("UPDATE workflow_status SET status = 'SUCCESS' WHERE workflow_uuid = ?", (runs[2],))
        expect(shown.locator(".pick input")).to_have_count(5)
        expect(shown.locator("main")).not_to_have_attribute("data-live", tag)
        expect(shown.locator("[data-selected]")).to_have_text("4 selected")
        expect(shown.locator(".pick input:not(:checked)")).to_have_attribute("value", f"zoo/{runs[1]}")
        shown.get_by_role("button", name="Plan a retry").click()
        expect(shown.locator(".say")).to_contain_text("4 runs will be retried: 4 fork.")
        shown.get_by_label("Reason").fill("the bank is back")
        shown.get_by_label("How many").fill("4")
        shown.get_by_role("button", name="Retry 4 runs").click()
        expect(shown.locator(".say")).to_contain_text("Finished. 4 of 4 runs are retried.", timeout=60_000)
    assert retried(zoo, "wf-body-error") == sorted(run for run in runs if run not in (runs[1], runs[2]))


def test_without_a_script(browser: Browser, running: Served, zoo: Path) -> None:
    with page(browser, running.url, javascript=False) as shown:
        shown.goto(listed("wf-portable-fail"))
        shown.get_by_role("link", name="Select all 6").click()
        expect(shown.locator(".pick input:checked")).to_have_count(6)
        shown.locator(".pick input").first.uncheck()
        shown.get_by_role("button", name="Plan a retry").click()
        shown.get_by_label("Reason").fill("the bank is back")
        shown.get_by_label("How many").fill("5")
        shown.get_by_role("button", name="Retry 5 runs").click()
        expect(shown.get_by_role("heading", level=1)).to_have_text(re.compile("^Job"))
        for _ in range(60):
            if "Finished." in shown.locator(".say").inner_text():
                break
            shown.wait_for_timeout(500)
            shown.reload()
        expect(shown.locator(".say")).to_contain_text("5 of 5 runs are retried.")
    assert len(retried(zoo, "wf-portable-fail")) == 5


def test_a_page_of_another_origin_cannot_confirm(
    browser: Browser, running: Served, unpacked: Callable[[str], Path]
) -> None:
    with served(f"other={unpacked('mini-3.4.0')}") as other:
        context = browser.new_context()
        foreign = context.new_page()
        foreign.goto(f"{running.url}retries/plan/?run=zoo/wf-declined")
        fields = {
            name: foreign.locator(f"form [name={name}]").first.input_value()
            for name in ("csrfmiddlewaretoken", "planned", "key")
        }
        foreign.goto(other.url)
        answer = foreign.evaluate(
            """async ([url, fields]) => {
                const body = new URLSearchParams({ ...fields, reason: "mine", count: "1" });
                try { return (await fetch(url, { method: "POST", body, mode: "no-cors", credentials: "include" })).type }
                catch { return "refused" }
            }""",
            [f"{running.url}retries/plan/", fields],
        )
        assert answer in ("opaque", "refused")
        foreign.goto(f"{running.url}retries/")
        expect(foreign.locator("main")).not_to_contain_text("mine")
        context.close()


def test_the_pages_look_right_in_both_themes_and_widths(browser: Browser, running: Served) -> None:
    kind = "wf-retry-exhausted"
    with page(browser, running.url) as shown:
        shown.goto(listed(kind) + "&select=shown")
        shown.get_by_role("button", name="Plan a retry").click()
        shown.get_by_label("Reason").fill("to look at")
        shown.get_by_label("How many").fill("6")
        shown.get_by_role("button", name="Retry 6 runs").click()
        expect(shown.locator(".say")).to_contain_text("Finished.", timeout=60_000)
        job = shown.url
    pages = {
        "list": "/runs/?status=failed&select=shown&limit=8",
        "plan": "/retries/plan/?run=zoo/wf-body-error&run=zoo/wf-declined&run=zoo/wf-happy",
        "job": job,
        "retries": "/retries/",
    }
    found = {}
    # The policy forbids every script but the page's own, so axe is let in here, and only here.
    with page(browser, running.url, bypass_csp=True, reduced_motion="reduce") as shown:
        for name, address in pages.items():
            shown.goto(address)
            for width, theme in LOOKS:
                shown.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                shown.set_viewport_size({"width": width, "height": 900})
                violations = Axe().run(shown, options=AXE).response["violations"]
                if violations or scrolls_sideways(shown):
                    found[f"{name} at {width} {theme}"] = [
                        f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in violations
                    ]
            picture(shown, f"bulk-look-{name}")
    assert found == {}

"""Live pages over a file that another process changes: they follow it, and the reader loses neither focus nor place."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, Route, expect
from writers import Writer, writing

from tests.browsing import NEEDS_CHROMIUM, PATIENCE, page
from tests.serving import eventually, served

pytestmark = NEEDS_CHROMIUM

PENDING = "wf-pending"  # zoo: a run that is not over
RUN = f"/db/zoo/runs/{PENDING}/"


class Counted:
    """The answers to what a page asks of itself: by status."""

    def __init__(self, shown: Page) -> None:
        self.statuses: list[int] = []
        shown.on("response", self._note)

    def _note(self, answer: Response) -> None:
        if "durascope-tag" in answer.request.headers:
            self.statuses.append(answer.status)

    def wait(self, shown: Page, more: int) -> None:
        """Until the page has asked so many times more."""
        wanted = len(self.statuses) + more
        until = time.monotonic() + PATIENCE / 1000
        while len(self.statuses) < wanted:
            assert time.monotonic() < until, "the page does not ask"
            shown.clock.run_for(500)
            shown.wait_for_timeout(100)


def pass_time(shown: Page) -> None:
    """Ten of the page's seconds, in which it would ask five times, and the time that an answer takes."""
    shown.clock.run_for(10_000)
    shown.wait_for_timeout(500)


@contextmanager
def watched(browser: Browser, path: Path, address: str) -> Iterator[tuple[Page, Counted, Writer]]:
    """A page over a database, and another process that writes to it. Its present is just after the newest event, so
    that its runs are still running."""
    now = "2026-11-22T13:08:00Z"
    with (
        served(f"zoo={path}", DURASCOPE_NOW=now) as site,
        page(browser, site.url, reduced_motion="reduce", alone=True) as shown,
        writing(path) as writer,
    ):
        counted = Counted(shown)
        shown.clock.install()  # its time can be made to pass
        shown.goto(address)
        yield shown, counted, writer


def fail(run: str, error: str) -> str:
    """What the engine writes when a run ends in an error, in its JSON."""
    stored = json.dumps({"name": "Timeout", "message": error, "code": None, "data": None}).replace("'", "''")
    return (
        "UPDATE workflow_status SET status = 'ERROR', serialization = 'portable_json', updated_at = 1795352870000,"
        f" completed_at = 1795352870000, error = '{stored}' WHERE workflow_uuid = '{run}'"
    )


def step(run: str, ordinal: int, name: str) -> str:
    return (
        "INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, started_at_epoch_ms,"
        f" completed_at_epoch_ms, serialization, retention_timestamp) VALUES ('{run}', {ordinal}, '{name}', '7',"
        f" {1795352863000 + 10 * ordinal}, {1795352863005 + 10 * ordinal}, 'portable_json', 0)"
    )


def test_a_list_follows_the_file_and_focus_stays_on_its_row(browser: Browser, fresh: Callable[[str], Path]) -> None:
    with watched(browser, fresh("zoo-3.4.0"), "/db/zoo/runs/") as (shown, _, writer):
        link = shown.locator("tbody tr", has_text="wf-enq-1").get_by_role("link")
        link.focus()
        shown.keyboard.press("Shift")  # focus by keyboard, as a reader has it
        place = shown.evaluate("scrollY")
        row = shown.locator("tbody tr", has_text=PENDING)
        expect(row).to_contain_text("running")
        writer.do(fail(PENDING, "the carrier did not answer"))
        expect(row).to_contain_text("the carrier did not answer")
        expect(row).to_contain_text("failed")
        expect(link).to_be_focused()
        assert shown.evaluate("scrollY") == place
        expect(shown.get_by_role("navigation", name="Status")).to_contain_text("failed 8")  # 7 before


def test_a_run_grows_under_a_reader_who_stays_where_he_is(browser: Browser, fresh: Callable[[str], Path]) -> None:
    path = fresh("zoo-3.4.0")
    with writing(path) as earlier:
        earlier.do(*(step(PENDING, ordinal, f"early_{ordinal}") for ordinal in range(100, 160)))
        earlier.stop()
    with watched(browser, path, RUN) as (shown, counted, writer):
        focused = shown.locator("#r140 > a.name")
        focused.focus()
        focused.scroll_into_view_if_needed()
        shown.evaluate("scrollTo(0, 600)")
        writer.do(step(PENDING, 160, "just_recorded"))
        expect(shown.locator("#r160")).to_be_visible()
        expect(focused).to_be_focused()
        assert shown.evaluate("scrollY") == 600
        # The end of a run ends the asking.
        writer.do(fail(PENDING, "over"))
        expect(shown.locator(".say")).to_contain_text("Timeout")
        asked = len(counted.statuses)
        pass_time(shown)
        assert len(counted.statuses) == asked
        expect(shown.locator("[data-live-control]").first).to_be_hidden()


def test_what_a_reader_opened_stays_open(browser: Browser, fresh: Callable[[str], Path]) -> None:
    with watched(browser, fresh("zoo-3.4.0"), f"{RUN}history/") as (shown, _, writer):
        opened = shown.locator("tbody details").first
        opened.locator("summary").click()
        expect(opened).to_have_attribute("open", "")
        rows = shown.locator("tbody tr").count()
        writer.do(step(PENDING, 50, "another"))
        expect(shown.locator("tbody tr")).not_to_have_count(rows)
        expect(opened).to_have_attribute("open", "")
        expect(opened.locator("summary")).to_be_focused()


def test_a_page_that_has_not_changed_is_not_sent_again(browser: Browser, fresh: Callable[[str], Path]) -> None:
    with watched(browser, fresh("zoo-3.4.0"), "/") as (shown, counted, writer):
        # A file written at this very moment has no lasting mark: the first answers may be whole.
        counted.wait(shown, 3)
        assert counted.statuses[-2:] == [204, 204]
        writer.do(fail(PENDING, "now"))
        assert eventually_whole(shown, counted)
        counted.wait(shown, 2)
        assert counted.statuses[-1] == 204


def eventually_whole(shown: Page, counted: Counted) -> bool:
    before = len(counted.statuses)

    def whole() -> bool:
        shown.wait_for_timeout(50)
        return 200 in counted.statuses[before:]

    return eventually(whole, PATIENCE / 1000)


def test_pause_stops_the_asking_until_it_is_ended(browser: Browser, fresh: Callable[[str], Path]) -> None:
    with watched(browser, fresh("zoo-3.4.0"), "/db/zoo/runs/?status=running") as (shown, counted, writer):
        counted.wait(shown, 1)
        shown.get_by_role("button", name="Pause").click()
        expect(shown.get_by_text("Paused", exact=True).first).to_be_visible()
        shown.wait_for_timeout(300)  # what was asked before the click may still be answered
        asked = len(counted.statuses)
        writer.do(fail(PENDING, "unseen"))
        pass_time(shown)
        assert len(counted.statuses) == asked
        expect(shown.locator("tbody")).to_contain_text(PENDING)
        shown.get_by_role("button", name="Go on").click()
        expect(shown.locator("tbody")).not_to_contain_text(PENDING)


def test_a_tab_that_nobody_sees_does_not_ask(browser: Browser, fresh: Callable[[str], Path]) -> None:
    with watched(browser, fresh("zoo-3.4.0"), "/") as (shown, counted, _):
        counted.wait(shown, 1)
        # Headless Chromium never hides a page, so the page is told that it is hidden, as a browser would tell it.
        hide = """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
        shown.evaluate(hide, True)
        shown.wait_for_timeout(300)
        asked = len(counted.statuses)
        pass_time(shown)
        assert len(counted.statuses) == asked
        shown.evaluate(hide, False)
        counted.wait(shown, 1)


def test_however_long_an_answer_took_a_page_asks_again_within_a_minute(
    browser: Browser, fresh: Callable[[str], Path]
) -> None:
    with watched(browser, fresh("zoo-3.4.0"), "/db/zoo/runs/?status=running") as (shown, counted, _):
        counted.wait(shown, 1)
        held: list[Route] = []
        shown.route("**/*", lambda route: held.append(route))
        shown.clock.run_for(3000)
        assert eventually(lambda: held or shown.wait_for_timeout(50))
        shown.clock.fast_forward("00:50")
        shown.unroute("**/*")  # which lets go what was held
        shown.wait_for_timeout(500)
        shown.clock.fast_forward("01:00")
        counted.wait(shown, 1)


@pytest.mark.parametrize("address", ["/db/zoo/runs/wf-happy/", "/keys/"])
def test_what_can_not_change_is_not_asked_for(browser: Browser, fresh: Callable[[str], Path], address: str) -> None:
    with watched(browser, fresh("zoo-3.4.0"), address) as (shown, counted, _):
        pass_time(shown)
        assert counted.statuses == []

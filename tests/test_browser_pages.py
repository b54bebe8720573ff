"""Every page in Chromium: both themes, four widths, axe-core, the policy; and without a browser: no link that leads nowhere."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import product
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browsing import NEEDS_CHROMIUM, page, scrolls_sideways
from tests.serving import Served

pytestmark = NEEDS_CHROMIUM

WIDTHS = (360, 768, 1440, 2560)
THEMES = ("light", "dark")
AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
CRAWLED = 250

FULFIL = "E_01M81XSRV51QV02BEC46G4C8W8"  # shop: ok-fulfil, children three levels deep
EXHAUSTED = "E_01M81XSRVXAH4GFECC8TYW89TA"  # shop: retries-exhausted, four attempts
TRAP = "E_01M81XSS0YFTB703R42BHXT92F"  # shop: trap, an execution failure
LONG = "E_01M81XSTJVTVC2X6JN4T9GG9Y2"  # shop: long-history, 263 rows
MANY = "E_01M81XSTVFAJGFPPEZT10SXXSV"  # shop: many-children, 72 in one join set
BACKOFF = "E_01M81XSVH7Z3WVFYPSQEH9V26Z"  # shop: backoff, not finished
BIG = "E_01M81XSTB3B45WKSJWKG1F0DX2"  # shop: big-payload, 260 kB of params

# name → address; the names of those that are looked at in both themes and at two widths by axe begin with a star.
PAGES = {
    "*fleet": "/",
    "*runs": "/runs/?limit=20",
    "runs of one database": "/db/shop/runs/?limit=20",
    "runs, filtered": "/db/zoo/runs/?status=failed&status=cancelled&children=show&workflow=parent_of_failure",
    "runs, none": "/runs/?q=no-such-thing&within=1h",
    "database": "/db/shop/",
    "database of dbos": "/db/zoo/",
    "database of go": "/db/go/",
    "database, old": "/db/old/",
    "database, live": "/db/shop-live/",
    "*run": "/db/zoo/runs/wf-parent-fail/",
    "*run with an opened step": "/db/zoo/runs/wf-retry-exhausted/?step=1",
    "run with children open": f"/db/shop/runs/{FULFIL}/?open=20&open=20.3",
    "run with attempts": f"/db/shop/runs/{EXHAUSTED}/",
    "run that failed": f"/db/shop/runs/{TRAP}/",
    "run of a fork": "/db/zoo/runs/wf-declined-fork/",
    "run of go": "/db/go/runs/order-o3/",
    "run that is not over": f"/db/shop/runs/{BACKOFF}/",
    "run with many children": f"/db/shop/runs/{MANY}/",
    "run with a long history": f"/db/shop/runs/{LONG}/",
    "run, zoomed": "/db/zoo/runs/wf-sleep/?gaps=show",
    "table": f"/db/shop/runs/{FULFIL}/table/",
    "history": f"/db/shop/runs/{FULFIL}/history/",
    "history of dbos": "/db/zoo/runs/wf-events/history/",
    "payloads": "/db/zoo/runs/wf-payloads/payloads/",
    "family": f"/db/shop/runs/{FULFIL}/family/",
    "logs": f"/db/shop/runs/{FULFIL}/logs/",
    "details": f"/db/shop/runs/{FULFIL}/details/",
    "*payload": "/db/zoo/runs/wf-payloads/payloads/step.1.output/",
    "payload, large": f"/db/shop/runs/{BIG}/payloads/run.input/",
    "payload as stored": "/db/zoo/runs/wf-payloads/payloads/step.1.output/?as=stored",
    "payload of go": "/db/go/runs/order-o3/payloads/run.input/",
    "keys": "/keys/",
    "api": "/api/v1/docs",
    "search": f"/search/?{urlencode({'q': FULFIL})}",
    "error": "/db/nowhere/",
}


@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways_at_any_width(browser: Browser, site: Served, name: str) -> None:
    with page(browser, site.url, theme=_theme(name), quiet=name != "error") as shown:
        answer = shown.goto(PAGES[name])
        assert answer is not None
        assert answer.status == (404 if name == "error" else 200)
        for width in WIDTHS:
            shown.set_viewport_size({"width": width, "height": 900})
            assert not scrolls_sideways(shown), f"at {width}: " + ", ".join(_too_wide(shown))


def _theme(name: str) -> str:
    """One of both for a page: themes differ in colours alone."""
    return THEMES[len(name) // 2 % 2]


def _too_wide(shown: Page) -> list[str]:
    found: list[str] = shown.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
            .map((one) => one.outerHTML.slice(0, 100)).slice(0, 5)"""
    )
    return found


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser: Browser, site: Served, name: str) -> None:
    main = name.startswith("*")
    one = (WIDTHS[2 * (len(name) % 2)], _theme(name))
    looks = product((1440, 360), THEMES) if main else [one]
    found = {}
    # The policy forbids every script but the page's own, so axe is let in here, and only here.
    with page(browser, site.url, quiet=name != "error", bypass_csp=True, reduced_motion="reduce") as shown:
        shown.goto(PAGES[name])
        for width, theme in looks:
            shown.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            shown.set_viewport_size({"width": width, "height": 900})
            results = Axe().run(shown, options=AXE).response
            for violation in results["violations"]:
                nodes = [node["html"][:160] + " " + node["failureSummary"][:200] for node in violation["nodes"][:3]]
                found[f"{violation['id']} at {width} {theme}"] = nodes
    assert found == {}


class Links(HTMLParser):
    """What a person without JavaScript can follow or send from a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: set[str] = set()
        self._action: str | None = None
        self._fields: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.add(given["id"] or "")
        if tag == "a":
            self.found.append(given.get("href") or "")
        elif tag == "form":
            self._action, self._fields = given.get("action") or "", []
        elif tag in ("input", "select") and self._action is not None and given.get("name"):
            self._fields.append((given["name"] or "", given.get("value") or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._action is not None:
            self.found.append(f"{self._action}?{urlencode(self._fields)}")
            self._action = None


def test_every_link_and_form_leads_somewhere_without_javascript(site: Served) -> None:
    """From the fleet and the main pages outwards: a page of each kind before another of the same."""
    waiting: dict[str, list[str]] = {}  # by kind
    visits: Counter[str] = Counter()
    seen: set[str] = {PAGES["error"]}
    broken: list[str] = []

    def meet(address: str) -> None:
        if address not in seen:
            seen.add(address)
            waiting.setdefault(_kind(address), []).append(address)

    for address in PAGES.values():
        meet(address)
    while waiting and visits.total() < CRAWLED:
        kind = min(waiting, key=lambda kind: visits[kind])
        visits[kind] += 1
        address = waiting[kind].pop(0)
        if not waiting[kind]:
            del waiting[kind]
        answer = site.get(address)
        if answer.status in (301, 302):
            meet(urljoin(address, answer.headers["location"]))
        elif answer.status != 200:
            broken.append(f"{answer.status} {address}")
        elif answer.headers["content-type"].startswith("text/html"):
            for link in Links(answer.text).found:
                target = urlsplit(urljoin(f"http://here{address}", link))
                if target.netloc == "here":
                    meet(target._replace(scheme="", netloc="", fragment="").geturl())
    assert broken == []
    assert visits.total() == CRAWLED


def _kind(address: str) -> str:
    """Which page it is, whatever it shows: ``/db/*/runs/*/?step``."""
    parts = urlsplit(address)
    path = re.sub(r"^/db/[^/]+", "/db/*", parts.path)
    path = re.sub(r"/runs/[^/]+", "/runs/*", path)
    path = re.sub(r"/payloads/[^/]+", "/payloads/*", path)
    names = sorted({pair.partition("=")[0] for pair in parts.query.split("&") if pair})
    return f"{path}?{'&'.join(names)}"


@pytest.mark.parametrize("name", PAGES)
def test_a_link_to_a_part_of_the_page_finds_that_part(site: Served, name: str) -> None:
    address = PAGES[name]
    answer = site.get(address)
    if answer.status == 302:
        answer = site.get(answer.headers["location"])
    page_ = Links(answer.text)
    parts = [link[1:] for link in page_.found if link.startswith("#") and len(link) > 1]
    assert [part for part in parts if part not in page_.ids] == []
    assert "main" in parts

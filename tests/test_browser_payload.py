"""The payload viewer in Chromium: parts that load in place, the search, copying, keys, and looking with others in the room."""

import base64
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.conftest import unpack
from tests.serving import Served, served
from tests.storing import png, store, store_json, store_pickle

pytestmark = NEEDS_CHROMIUM

ORDER = {
    "order_id": "ord-2026-11-22-018422",
    "amount": Decimal("184.90"),
    "idempotency_key": 9007199254740993,
    "lines": tuple({"sku": f"KB-{number}", "deep": {"tags": ["a", {"b": [number]}]}} for number in range(1000)),
    "photo": png(180, 40, 60, 64),
    "text": base64.b64encode(png(40, 60, 180, 64)).decode(),
    "note": "Leave with the neighbour at number 14, the bell is out of order. " * 60,
    "trace": 'Traceback (most recent call last):\n  File "shop.py", line 3, in <module>\n    pay()\nTimeoutError: no answer',
    ("eu", 3): "a key that JSON can't have",
    "it's": "🎉/?#&<b>",
}


@pytest.fixture(scope="module")
def site(unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = unpack("mini-3.4.0", tmp_path_factory.mktemp("payloads"))
    store_pickle(path, "order", {"args": [ORDER], "kwargs": {"capture": True}})
    store_json(path, "nested", {"rows": [[{"id": number, "in": {"x": 1}}] * 10 for number in range(400)]})
    store_json(path, "long", "0123456789" * 20_000)
    store(path, "cut", '{"a": [1, 2, {"b": "unfinished', "portable_json")
    store(path, "junk", b"\x00\x01\xff\xfe not a pickle" * 100, "py_pickle")
    with served(f"db={path}", f"zoo={unpacked('zoo-3.4.0')}", f"shop={unpacked('shop')}") as running:
        yield running


def output(run: str, query: str = "") -> str:
    return f"/db/db/runs/{run}/payloads/run.output/{query}"


def clipboard(shown: Page) -> str:
    return str(shown.evaluate("navigator.clipboard.readText()"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_state_fits_every_width(browser: Browser, site: Served, theme: str) -> None:
    views = {
        "tree": output("order"),
        "found": output("order", "?find=kb-99"),
        "text": output("long"),
        "cut": output("cut"),
        "undecodable": output("junk"),
        "stored": output("order", "?as=stored"),
        "hex": output("order", "?as=hex&at=0.0.4"),
        "picture": output("order", "?as=picture&at=0.0.4"),
        "hidden": output("order", "?hide=on"),
    }
    with page(browser, site.url, theme=theme) as shown:
        for name, address in views.items():
            shown.goto(address)
            expect(shown.get_by_role("heading", level=1)).to_have_text("Output")
            for width in (360, 1440):
                shown.set_viewport_size({"width": width, "height": 900})
                assert not scrolls_sideways(shown), f"{name} at {width}"
                picture(shown, f"payload-{name}-{theme}-{width}")


def test_more_loads_in_place_and_takes_the_focus_with_it(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(output("order"))
        shown.locator("summary", has_text="lines: [").click()
        lines = shown.locator("li[data-at='0.0.3'] > details > ul > li")
        expect(lines).to_have_count(101)
        shown.get_by_role("link", name="show 900 more").click()
        expect(lines).to_have_count(201)
        expect(shown.locator("li[data-at='0.0.3.100'] > details > summary")).to_be_focused()
        shown.get_by_role("link", name="show 800 more").press("Enter")
        expect(lines).to_have_count(301)
        assert shown.url.endswith(output("order"))


def test_what_is_not_drawn_loads_in_place_to_any_depth(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(output("nested"))
        row = shown.locator("li[data-at='0.7']")
        row.locator("summary").first.click()
        link = row.locator("a[hx-get]").first
        link.click()
        expect(row.locator("[data-at='0.7.0'] > details[open]")).to_be_visible()
        expect(row.locator("[data-at='0.7.0'] > details > summary")).to_be_focused()
        expect(row.locator("[data-at='0.7.0.1.0']")).to_contain_text("x: 1")
        assert shown.url.endswith(output("nested"))


def test_a_long_text_goes_on_in_place(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(output("long"))
        expect(shown.locator(".json .text")).to_have_count(1)
        shown.get_by_role("link", name="show 65,536 characters more").click()
        expect(shown.locator(".json .text")).to_have_count(2)
        whole = "".join(shown.locator(".json .text").all_text_contents())
        assert whole == ("0123456789" * 20_000)[: 2 * 65_536]


def test_in_an_opened_step_parts_load_in_place_too(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/db/db/runs/order/payloads/")
        shown.locator("summary", has_text="lines: [").click()
        before = shown.locator("main").locator("h1").inner_text()
        shown.locator("a.more", has_text="more").first.click()
        expect(shown.locator("li[data-at='0.0.3.100'], li[data-at='0.0.3.50']").first).to_be_visible()
        assert shown.locator("main").locator("h1").inner_text() == before


def test_without_javascript_the_same_links_are_pages(browser: Browser, site: Served) -> None:
    with page(browser, site.url, javascript=False) as shown:
        shown.goto(output("order"))
        expect(shown.get_by_role("button", name="Copy")).to_have_count(0)
        shown.locator("summary", has_text="lines: [").click()
        shown.get_by_role("link", name="show 900 more").click()
        expect(shown.locator(".way")).to_contain_text("whole › args › 0 › lines from no. 100 on")
        expect(shown.locator("[data-at='0.0.3.199']")).to_be_visible()
        shown.get_by_label("Find in this payload").fill("kb-999")
        shown.get_by_role("button", name="Find").click()
        expect(shown.locator(".found")).to_contain_text("“kb-999” in 1 place")
        shown.locator(".found li a").click()
        expect(shown.locator("li.hit mark")).to_be_visible()


def test_a_search_leads_to_each_place_open_and_marked(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(output("order"))
        shown.get_by_label("Find in this payload").fill("neighbour")
        shown.get_by_label("Find in this payload").press("Enter")
        expect(shown.locator(".found h2")).to_have_text("“neighbour” in 1 place")
        shown.locator(".found li a").click()
        mark = shown.locator(".hit .text mark").first
        expect(mark).to_be_in_viewport()
        shown.get_by_role("link", name="End the search").click()
        expect(shown.locator("mark")).to_have_count(0)


def test_values_paths_and_the_whole_can_be_copied_and_it_is_said(browser: Browser, site: Served) -> None:
    with page(browser, site.url, permissions=["clipboard-read", "clipboard-write"]) as shown:
        shown.goto(output("order"))
        line = shown.locator("li[data-at='0.0.0']")
        line.hover()
        line.get_by_role("button", name="Copy path").click()
        expect(shown.locator("#announce")).to_have_text("Path $.args[0].order_id copied")
        assert clipboard(shown) == "$.args[0].order_id"
        line.get_by_role("button", name="Copy value").click()
        expect(shown.locator("#announce")).to_have_text("Value copied")
        assert clipboard(shown) == "ord-2026-11-22-018422"
        last = shown.locator("li[data-at='0.0.9']")
        last.hover()
        last.get_by_role("button", name="Copy path").click()
        expect(shown.locator("#announce")).to_contain_text("it")
        assert clipboard(shown) == r"$.args[0]['it\'s']"
        # A key that JSON can't have has no path.
        odd = shown.locator("li[data-at='0.0.8']")
        odd.hover()
        expect(odd.get_by_role("button")).to_have_text(["Copy value"])
        shown.get_by_role("button", name="Copy output as JSON").click()
        expect(shown.locator("#announce")).to_have_text("output as JSON copied")
        copied = json.loads(clipboard(shown))
        assert copied["args"][0]["entries"][0] == ["order_id", "ord-2026-11-22-018422"]


def test_a_container_is_copied_by_keys_alone_and_does_not_fold(browser: Browser, site: Served) -> None:
    with page(browser, site.url, permissions=["clipboard-read", "clipboard-write"]) as shown:
        shown.goto(output("order", "?at=1"))
        summary = shown.locator(".json summary").first
        summary.focus()
        shown.keyboard.press("Tab")
        expect(shown.get_by_role("button", name="Copy value")).to_be_focused()
        shown.keyboard.press("Enter")
        expect(shown.locator("#announce")).to_have_text("Value copied")
        assert json.loads(clipboard(shown)) == {"capture": True}
        expect(shown.locator(".json details")).to_have_attribute("open", "")


def test_arrow_keys_go_from_line_to_line(browser: Browser, site: Served) -> None:
    with page(browser, site.url, permissions=["clipboard-read", "clipboard-write"]) as shown:
        shown.goto(output("order"))
        shown.locator(".json summary").first.focus()
        for _ in range(3):
            shown.keyboard.press("ArrowDown")
        leaf = shown.locator("li[data-at='0.0.0'] > span")
        expect(leaf).to_be_focused()
        shown.keyboard.press("Tab")
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")
        expect(shown.locator("#announce")).to_have_text("Path $.args[0].order_id copied")
        leaf.focus()
        shown.keyboard.press("ArrowUp")
        expect(shown.locator("li[data-at='0.0'] > details > summary")).to_be_focused()


def test_a_picture_is_drawn_only_when_asked_for(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        asked: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(output("order"))
        assert not [url for url in asked if "image" in url]
        shown.get_by_role("link", name="show as picture, PNG").first.click()
        drawn = shown.get_by_role("img", name="The PNG picture that is stored here")
        expect(drawn).to_be_visible()
        assert drawn.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [
            64,
            64,
        ]


SECRETS = {
    "/db/db/runs/order/payloads/run.output/": "ord-2026-11-22-018422",
    "/db/db/runs/order/payloads/": "ord-2026-11-22-018422",
    "/db/zoo/runs/?q=insufficient": "insufficient funds",
    "/db/zoo/runs/wf-declined/": "insufficient funds",
    "/db/zoo/runs/wf-declined/?step=3": "insufficient funds",
    "/db/zoo/runs/wf-declined/table/": "insufficient funds",
    "/db/zoo/runs/wf-declined/history/": "insufficient funds",
}


@pytest.mark.parametrize("address", SECRETS)
def test_with_others_in_the_room_no_page_shows_a_value_or_a_message(
    browser: Browser, site: Served, address: str
) -> None:
    secret = SECRETS[address]
    with page(browser, site.url) as shown:
        shown.goto(address)
        shown.get_by_role("link", name="Payloads and messages: shown. Hide them").click()
        expect(shown.get_by_role("link", name="Payloads and messages: hidden. Show them")).to_be_visible()
        shown.goto(address)
        assert secret not in shown.locator("main").inner_html()
        picture(shown, f"hidden-{address.strip('/').replace('/', '-').partition('?')[0]}")
        shown.get_by_role("link", name="Payloads and messages: hidden. Show them").click()
        expect(shown.get_by_role("link", name="Payloads and messages: shown. Hide them")).to_be_visible()

"""Without a mouse, on paper, without motion, in forced colours, at 400 % zoom: the pages as some people need them."""

import io
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from tests.browsing import NEEDS_CHROMIUM, page, picture, scrolls_sideways
from tests.serving import Served

pytestmark = NEEDS_CHROMIUM

FULFIL = "E_01M81XSRV51QV02BEC46G4C8W8"  # shop: ok-fulfil
CHARGED = "E_01M81XSRVXAH4GFECC8TYW89TA"  # shop: retries-exhausted
WHITE = "rgb(255, 255, 255)"
MOST_TABS = 150
FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one), place = one.getBoundingClientRect();
  return {
    text: (one.getAttribute("aria-label") ?? one.innerText ?? "").trim().replace(/\\s+/g, " "),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: place.width > 0 && place.bottom > 0 && place.top < innerHeight && place.right > 0,
  };
}"""
# Words that are painted over other words. A text counts as far as what cuts it lets it be seen.
OVERLAPPING = """() => {
  const texts = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("svg, script, option, .vh, .skip, .copies") || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const line of range.getClientRects()) {
      let { left, right, top, bottom } = line;
      for (let around = parent; around !== document.body; around = around.parentElement) {
        if (getComputedStyle(around).overflow === "visible") continue;
        const box = around.getBoundingClientRect();
        left = Math.max(left, box.left); right = Math.min(right, box.right);
        top = Math.max(top, box.top); bottom = Math.min(bottom, box.bottom);
      }
      if (right - left > 1 && bottom - top > 1) texts.push({ left, right, top, bottom, node });
    }
  }
  texts.sort((one, other) => one.top - other.top);
  const found = [];
  texts.forEach((one, position) => {
    for (const other of texts.slice(position + 1)) {
      if (other.top > one.bottom - 4) break;
      const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      if (one.node === other.node || across <= 2 || Math.min(one.bottom, other.bottom) - other.top <= 4) continue;
      found.push(`${one.node.data} / ${other.node.data}`);
    }
  });
  return found;
}"""
LOOKED_AT = {
    "fleet": "/",
    "runs": "/runs/?limit=20",
    "database": "/db/shop/",
    "run": "/db/zoo/runs/wf-retry-exhausted/?step=2",
    "run with children open": f"/db/shop/runs/{FULFIL}/?open=20&open=20.3",
    "run with gaps": "/db/go/runs/sleeper-cancelled/",
    "table": f"/db/shop/runs/{FULFIL}/table/",
    "history": f"/db/shop/runs/{FULFIL}/history/",
    "family": f"/db/shop/runs/{FULFIL}/family/",
    "logs": f"/db/shop/runs/{FULFIL}/logs/",
    "details": f"/db/shop/runs/{FULFIL}/details/",
    "payloads": "/db/zoo/runs/wf-payloads/payloads/",
    "payload": "/db/zoo/runs/wf-payloads/payloads/step.2.output/",
    "keys": "/keys/",
    "api": "/api/v1/docs",
}


def tab_to(shown: Page, words: str) -> None:
    """Presses Tab until what has the focus is called so. Each stop on the way can be seen, and that it has the focus."""
    for _ in range(MOST_TABS):
        shown.keyboard.press("Tab")
        stop = shown.evaluate(FOCUSED)
        assert stop["outlined"], stop
        assert stop["seen"], stop
        if re.search(words, stop["text"]):
            return
    raise AssertionError(f"Tab never came to {words!r}")


def test_from_the_fleet_to_a_payload_by_tab_and_enter(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/")
        tab_to(shown, "^zoo$")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("heading", level=1)).to_have_text("zoo")
        tab_to(shown, "^failed 8$")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Runs")
        tab_to(shown, "^fails_in_body$")
        shown.keyboard.press("Enter")
        expect(shown.locator(".say")).to_contain_text("Raised in workflow body")
        tab_to(shown, "^Payloads [0-9]")
        shown.keyboard.press("Enter")
        shown.wait_for_url("**/payloads/")
        tab_to(shown, "^open alone$")
        shown.keyboard.press("Enter")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Input")


def test_the_skip_link_is_first_and_skips(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/db/zoo/runs/")
        tab_to(shown, "^Skip to content$")
        shown.keyboard.press("Enter")
        expect(shown.locator("#main")).to_be_focused()
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.querySelector('#main').contains(document.activeElement)")


def test_keys_go_from_the_list_to_the_failed_step_and_back(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto("/keys/")
        for key in ("g", "r"):
            shown.keyboard.press(key)
        shown.wait_for_url("**/runs/")
        shown.goto("/db/zoo/runs/")
        shown.keyboard.press("n")
        first = shown.locator("tbody tr", has_text="failed").first.get_by_role("link")
        expect(first).to_be_focused()
        shown.keyboard.press("n")
        shown.keyboard.press("p")
        expect(first).to_be_focused()
        shown.keyboard.press("Enter")
        expect(shown.locator(".say")).to_contain_text("Failed at step 3")
        shown.keyboard.press("n")  # the run's own row
        shown.keyboard.press("n")
        row = shown.locator("#r3 > a.name")
        expect(row).to_be_focused()
        shown.keyboard.press("Enter")
        expect(shown.locator("#s3")).to_contain_text("insufficient funds")
        shown.keyboard.press("Escape")
        expect(shown.locator("#s3")).to_have_count(0)
        expect(row).to_be_focused()
        shown.keyboard.press("?")
        expect(shown.get_by_role("heading", level=1)).to_have_text("Keys")


def test_keys_open_children_go_up_zoom_and_change_the_theme(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(f"/db/shop/runs/{FULFIL}/")
        shown.locator("#r20 > a.name").focus()
        shown.keyboard.press("o")
        expect(shown.locator("#r20\\.3")).to_be_visible()
        shown.keyboard.press("+")
        shown.wait_for_url("**from=*")
        shown.keyboard.press("0")
        expect(shown.get_by_role("link", name="Whole run")).to_have_count(0)
        shown.keyboard.press("t")
        expect(shown.locator("html")).to_have_attribute("data-theme", "dark")
        shown.goto("/db/zoo/runs/wf-parent-1/")
        shown.keyboard.press("u")
        shown.wait_for_url("**/runs/wf-parent/")
        shown.keyboard.press("/")
        shown.keyboard.type("gn?")  # letters, while one types
        expect(shown.get_by_role("searchbox")).to_have_value("gn?")
        shown.keyboard.press("Escape")
        expect(shown.get_by_role("searchbox")).not_to_be_focused()


def test_every_key_is_listed_and_every_listed_key_works(site: Served) -> None:
    listed = set(
        re.findall(r"<kbd>([^<]+)</kbd>", site.get("/keys/").text.partition("<main")[2].partition("</main>")[0])
    )
    script = site.get("/static/js/keys.js").text
    known = {
        words or plain for words, plain in re.findall(r'^  (?:"([^"]+)"|(\w+)): (?:\(\)|async)', script, re.MULTILINE)
    }
    names = {"Escape": "Esc", "ArrowLeft": "←", "ArrowRight": "→"}
    go = set(re.findall(r"(\w): \"/", script))
    assert {names.get(key, key) for key in known} | go | {"g"} == listed - {"Enter"}  # Enter is the browser's own


def test_a_printed_run_has_every_row_and_is_light(browser: Browser, site: Served) -> None:
    with page(browser, site.url, theme="dark") as shown:
        shown.goto(f"/db/shop/runs/{FULFIL}/?theme=dark&open=20")
        names = shown.locator(".row > .name > span:first-child").all_inner_texts()
        took = shown.locator(".row > .d").all_inner_texts()
        shown.emulate_media(media="print", color_scheme="dark")
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == WHITE
        expect(shown.locator(".top")).to_be_hidden()
        picture(shown, "print")
        paper = PdfReader(io.BytesIO(shown.pdf(format="A4", landscape=True, print_background=True)))
        words = " ".join(sheet.extract_text() for sheet in paper.pages)
        assert len(names) > 10
        for wanted in {*names, *took, "fulfil-order", "succeeded", "in children"}:
            assert re.sub(r"\s", "", wanted) in re.sub(r"\s", "", words), wanted


def test_nothing_moves_for_those_who_asked_for_that(browser: Browser, site: Served) -> None:
    moving = "document.getAnimations().length"
    with page(browser, site.url) as shown:
        shown.goto("/")
        assert shown.evaluate(moving) > 0  # the light beside "Live"
    with page(browser, site.url, reduced_motion="reduce") as shown:
        for address in ("/", "/runs/", "/db/zoo/runs/wf-payloads/payloads/step.2.output/"):
            shown.goto(address)
            assert shown.evaluate(moving) == 0


def test_forced_colours_leave_the_glyph_and_the_word(browser: Browser, site: Served) -> None:
    with page(browser, site.url, forced_colors="active", theme="dark") as shown:
        for name, address in (("forced-runs", "/runs/?limit=20"), ("forced-run", f"/db/shop/runs/{CHARGED}/")):
            shown.goto(address)
            for chip in shown.locator(".st").all()[:20]:
                expect(chip).to_have_text(re.compile(r"\w+"))
                colour, ground = chip.locator("svg").evaluate(
                    "(glyph) => [getComputedStyle(glyph).color, getComputedStyle(document.body).backgroundColor]"
                )
                assert colour != ground
                assert (chip.locator("svg").bounding_box() or {})["width"] >= 12
            picture(shown, name)


def test_a_log_line_keeps_its_lines(browser: Browser, site: Served) -> None:
    with page(browser, site.url) as shown:
        shown.goto(f"/db/shop/runs/{FULFIL}/logs/?level=debug")
        assert shown.locator(".logs code").inner_text() == "customer note: Ring twice\nthen wait 5 minutes"


def _sizes() -> Iterator[tuple[int, int]]:
    yield 320, 256  # 1280 × 1024 at 400 %
    yield 360, 780
    yield 1024, 768
    yield 1440, 900


@pytest.mark.parametrize("name", LOOKED_AT)
def test_no_words_are_painted_over_others_down_to_400_percent_zoom(browser: Browser, site: Served, name: str) -> None:
    with page(browser, site.url) as shown:
        shown.goto(LOOKED_AT[name])
        for width, height in _sizes():
            shown.set_viewport_size({"width": width, "height": height})
            assert shown.evaluate(OVERLAPPING) == [], f"at {width}"
            assert not scrolls_sideways(shown), f"at {width}"
            if width == 320:
                picture(shown, f"zoom-{name.replace(' ', '-')}")

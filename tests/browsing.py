"""Chromium on the real command: pages that complain to nobody, and pictures for a person to look at."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
)
NEEDS_CHROMIUM = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found")]
# What the command serves to most browser tests: slug → database.
SITE = {"zoo": "zoo-3.4.0", "go": "go-1.8.0", "shop": "shop", "shop-live": "shop-live", "old": "old-0.38.3"}
WITH_PICTURES = False  # set by --pictures
SCREENSHOTS = Path(__file__).parent / "screenshots"  # ignored by git


PATIENCE = 30_000  # milliseconds that what is expected may take, on a machine that does much else


def start(playwright: Playwright) -> Browser:
    expect.set_options(timeout=PATIENCE)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))


# By browser and by what they were opened with: pages that tests are done with. A new one costs more than all that most
# tests do with it, for a browser starts processes and loads every style and script again.
_IDLE: WeakKeyDictionary[Browser, dict[str, tuple[Page, list[str]]]] = WeakKeyDictionary()
MOST_IDLE = 4
STILL = "/keys/"  # where they wait: it never changes, so nothing asks for it again


@contextmanager
def page(
    browser: Browser,
    url: str,
    *,
    width: int = 1440,
    height: int = 900,
    theme: str = "light",
    javascript: bool = True,
    quiet: bool = True,
    alone: bool = False,
    **options: Any,
) -> Iterator[Page]:
    """A page without cookies, as in a browser of its own. At the end: no error was logged, no policy violated.

    ``quiet`` False: the pages answer with errors, which Chromium logs; nothing else may be.
    ``alone`` True: no other test gets this page, because it can't be put back as it was.
    """
    options |= {"base_url": url, "java_script_enabled": javascript, "timezone_id": "Europe/Berlin"}
    idle = _IDLE.setdefault(browser, {})
    kind = repr(sorted(options.items()))
    shown, said = idle.pop(kind, None) if not alone and kind in idle else _opened(browser, options)
    shown.context.clear_cookies()
    shown.emulate_media(media="null", color_scheme=theme)  # type: ignore[arg-type]
    shown.set_viewport_size({"width": width, "height": height})
    said.clear()
    kept = False
    try:
        yield shown
        complaints = [words for words in said if quiet or not words.startswith("Failed to load resource")]
        assert complaints == [], complaints
        kept = not alone and shown.context.pages == [shown]
    finally:
        if kept:
            shown.goto(STILL)
            idle[kind] = shown, said
        else:
            shown.context.close()
        while len(idle) > MOST_IDLE:
            oldest, _ = idle.pop(next(iter(idle)))
            oldest.context.close()


def _opened(browser: Browser, options: dict[str, Any]) -> tuple[Page, list[str]]:
    """A page in a context of its own, and what it will complain of."""
    shown = browser.new_context(**options).new_page()
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: said.append(str(error)))
    return shown, said


def picture(shown: Page, name: str) -> None:
    """For a person to look at, who asked with ``--pictures``; nothing compares it."""
    if not WITH_PICTURES:
        return
    SCREENSHOTS.mkdir(exist_ok=True)
    shown.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def scrolls_sideways(shown: Page) -> bool:
    return bool(shown.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

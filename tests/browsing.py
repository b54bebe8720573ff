"""Chromium on the real command: pages that complain to nobody, and pictures for a person to look at."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright

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
SCREENSHOTS = Path(__file__).parent / "screenshots"  # ignored by git


def start(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))


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
    **options: object,
) -> Iterator[Page]:
    """A page of its own context. At the end: no error was logged, no policy violated.

    ``quiet`` False: the pages answer with errors, which Chromium logs; nothing else may be.
    """
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        color_scheme=theme,
        java_script_enabled=javascript,
        timezone_id="Europe/Berlin",
        **options,  # type: ignore[arg-type]
    )
    shown = context.new_page()
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: said.append(str(error)))
    try:
        yield shown
        assert [words for words in said if quiet or not words.startswith("Failed to load resource")] == []
    finally:
        context.close()


def picture(shown: Page, name: str) -> None:
    """For a person to look at; nothing compares it."""
    SCREENSHOTS.mkdir(exist_ok=True)
    shown.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def scrolls_sideways(shown: Page) -> bool:
    return bool(shown.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

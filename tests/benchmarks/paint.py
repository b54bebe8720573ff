"""When a person sees something of a page: first paint, in the Chromium that the browser tests use."""

import statistics
from collections.abc import Iterator, Sequence

from playwright.sync_api import sync_playwright

from tests import browsing

PAINTED = """() => new Promise((resolve) => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.name === 'first-contentful-paint') resolve(entry.startTime);
}).observe({ type: 'paint', buffered: true }))"""


def first_paints(urls: Sequence[str], times: int = 7) -> Iterator[float | None]:
    """Milliseconds from asking for each page until something of it is painted, what the server takes among them: the median, with
    nothing in the browser's cache. None where there is no Chromium."""
    if browsing.CHROMIUM is None:
        yield from (None for _ in urls)
        return
    with sync_playwright() as playwright:
        browser = browsing.start(playwright)
        for url in urls:
            took: list[float] = []
            for _ in range(times):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                page = context.new_page()
                page.goto(url, wait_until="commit")
                took.append(float(page.evaluate(PAINTED)))
                context.close()
            yield statistics.median(took)
        browser.close()

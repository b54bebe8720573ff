"""Bars where the recorded times put them: x and width recomputed from plain SQL, and measured where Chromium painted them."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from runs import addresses
from runs.timeline.scale import LEFT, RIGHT
from tests.browsing import NEEDS_CHROMIUM, page
from tests.serving import Served

pytestmark = NEEDS_CHROMIUM

SAMPLE = 50
OF_ONE_RUN = 6
SEED = 20261122
TOLERANCE = 0.05  # per cent of the track
INSTANT = 0.12  # what is narrower is drawn as a mark of 3 px that begins 1 px before its x
# Per cent of the track by row and by what is drawn: from the attributes, and from what was painted.
MEASURE = """() => {
  const rows = {};
  if (document.querySelector(".tl-head .gapbg")) return rows;
  for (const block of document.querySelectorAll(".tl-block")) {
    const track = block.querySelector(":scope > svg"), whole = track.getBoundingClientRect();
    const all = [...block.querySelectorAll(".row")];
    all.forEach((row, position) => {
      const middle = 100 * (position + 0.5) / all.length;
      const bars = [...track.querySelectorAll(":scope > :is(rect.b10, svg)")]
        .filter((one) => Math.abs(parseFloat(one.getAttribute("y")) - middle) < 0.01);
      rows[row.id] = bars.map((one) => {
        const painted = one.getBoundingClientRect();
        return {
          mark: one.tagName === "svg",
          x: parseFloat(one.getAttribute("x")), width: parseFloat(one.getAttribute("width") ?? "0"),
          left: 100 * (painted.left - whole.left) / whole.width, right: 100 * (painted.right - whole.left) / whole.width,
        };
      });
    });
  }
  return rows;
}"""


@dataclass(frozen=True)
class Timed:
    """A step as the database has it: instants in microseconds, of the step and of the run that it is drawn in."""

    slug: str
    run: str
    ordinal: int
    start: int
    end: int
    first: int
    last: int

    @property
    def x(self) -> float:
        return self._x(self.start)

    @property
    def width(self) -> float:
        return self._x(self.end) - self._x(self.start)

    def _x(self, instant: int) -> float:
        return LEFT + (RIGHT - LEFT) * (instant - self.first) / (self.last - self.first)


# Runs that are over and no fork, and those of their steps that stand for themselves: one bar each.
DBOS_STEPS = """
SELECT s.workflow_uuid, o.function_id, 1000 * o.started_at_epoch_ms, 1000 * o.completed_at_epoch_ms,
       1000 * s.created_at,
       1000 * (SELECT min(started_at_epoch_ms) FROM operation_outputs WHERE workflow_uuid = s.workflow_uuid),
       1000 * max(s.completed_at,
                  (SELECT max(completed_at_epoch_ms) FROM operation_outputs WHERE workflow_uuid = s.workflow_uuid))
FROM workflow_status AS s JOIN operation_outputs AS o USING (workflow_uuid)
WHERE s.status IN ('SUCCESS', 'ERROR') AND s.forked_from IS NULL AND o.child_workflow_id IS NULL
  AND o.started_at_epoch_ms IS NOT NULL
"""
# Activities that were taken up once and ended at once, as children of workflows that are over.
OBELISK_STEPS = """
SELECT parent.execution_id, asked.version, locked.created_at, done.created_at, began.created_at, ended.created_at
FROM t_state AS parent
JOIN t_execution_log AS began ON began.execution_id = parent.execution_id AND began.version = 0
JOIN t_execution_log AS ended ON ended.execution_id = parent.execution_id AND ended.variant = 'finished'
JOIN t_execution_log AS asked ON asked.execution_id = parent.execution_id
                              AND asked.history_event_type = 'join_set_request'
JOIN t_state AS child ON child.execution_id
                       = json_extract(asked.json_value, '$.history_event.event.request.child_execution_id')
JOIN t_execution_log AS locked ON locked.execution_id = child.execution_id AND locked.variant = 'locked'
JOIN t_execution_log AS done ON done.execution_id = child.execution_id AND done.variant = 'finished'
WHERE child.component_type = 'activity' AND done.version = 2 AND done.created_at <= ended.created_at
"""


def asked(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def dbos(slug: str, path: Path) -> Iterator[Timed]:
    for run, ordinal, start, end, created, first_step, last in asked(path, DBOS_STEPS):
        # Where the engine's own clock is whole seconds, a run begins with its first step within that second.
        coarse = created % 1_000_000 == 0
        first = first_step if coarse and 0 <= first_step - created < 1_000_000 else min(created, first_step)
        yield Timed(slug, run, ordinal, start, end, first, last)


def obelisk(slug: str, path: Path) -> Iterator[Timed]:
    for run, ordinal, *instants in asked(path, OBELISK_STEPS):
        start, end, first, last = map(microseconds, instants)
        yield Timed(slug, run, ordinal, start, end, first, last)


def microseconds(text: str) -> int:
    """``2026-11-22 15:25:37.510438216+00:00``, cut."""
    whole, _, fraction = text.removesuffix("+00:00").partition(".")
    seconds = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0") or "0")


def sampled(steps: Iterator[Timed]) -> dict[str, list[Timed]]:
    """By the run's address, a few steps of each run, in an order that is the same every time."""
    chance = random.Random(SEED)
    runs: dict[str, list[Timed]] = {}
    for step in sorted(steps, key=lambda step: (step.slug, step.run, step.ordinal)):
        if step.last > step.first:
            runs.setdefault(f"/db/{step.slug}/runs/{addresses.encode(step.run)}/", []).append(step)
    mixed = chance.sample(sorted(runs), len(runs))
    return {address: chance.sample(runs[address], min(OF_ONE_RUN, len(runs[address]))) for address in mixed}


@pytest.mark.parametrize(
    ("read", "databases"),
    [(dbos, {"zoo": "zoo-3.4.0", "go": "go-1.8.0"}), (obelisk, {"shop": "shop", "old": "old-0.38.3"})],
    ids=["dbos", "obelisk"],
)
def test_a_bar_is_where_the_recorded_times_put_it(
    browser: Browser,
    site: Served,
    fresh: Callable[[str], Path],
    read: Callable[[str, Path], Iterator[Timed]],
    databases: dict[str, str],
) -> None:
    steps = (step for slug, name in databases.items() for step in read(slug, fresh(name)))
    checked = drawn = 0
    with page(browser, site.url, javascript=False) as shown:
        for address, of_run in sampled(steps).items():
            if checked >= SAMPLE:
                break
            shown.goto(address)
            rows = measured(shown)
            for step in of_run:
                if bars := rows.get(f"r{step.ordinal}"):
                    check(step, bars[0])
                    checked += 1
                    drawn += not bars[0]["mark"]
    assert checked >= SAMPLE
    assert drawn >= SAMPLE / 2, "too many of the sample are too short to have a width"


def measured(shown: Page) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = shown.evaluate(MEASURE)
    return rows


def check(step: Timed, bar: dict[str, Any]) -> None:
    near = lambda value: pytest.approx(value, abs=TOLERANCE)  # noqa: E731 - said once, used in every line below
    assert bar["x"] == near(step.x), step
    if bar["mark"]:
        assert step.width < INSTANT, step
        return
    assert bar["width"] == near(step.width), step
    # The outline of a hatched box is one pixel, half of it outside.
    pixel = 0.1
    assert bar["left"] == pytest.approx(step.x, abs=TOLERANCE + pixel), step
    assert bar["right"] == pytest.approx(step.x + step.width, abs=TOLERANCE + pixel), step

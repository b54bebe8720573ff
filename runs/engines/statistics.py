"""What both engines count alike: usual durations, and runs in equal parts of a window."""

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

from runs.records import Usual

NEWEST = 500  # steps of one name, or runs of one workflow, that say what is usual
FEWEST = 20  # fewer steps say nothing
NAMES = 50  # names that one answer looks up at most

WORKFLOWS = 200  # of more of them, or of more runs, no durations are shown
RUNS = 500_000
RUNS_SEARCHED = 100_000  # newest ones of the outcome that is looked for
RUNS_MEASURED = 10_000  # of all workflows together


def percentile(ordered: Sequence[timedelta], share: float) -> timedelta | None:
    """The least of the ordered durations that at least this share of them does not pass; None where there are none."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def usual(durations: Iterable[timedelta]) -> Usual | None:
    """What these durations say; None where they are too few."""
    ordered = sorted(durations)
    half, most = percentile(ordered, 0.5), percentile(ordered, 0.95)
    if half is None or most is None or len(ordered) < FEWEST:
        return None
    return Usual(count=len(ordered), p50=half, p95=most)


def spread(counted: Iterable[tuple[object, int, int]], parts: int) -> tuple[tuple[int, int], ...]:
    """(all, failed) for each part of a window, from rows of (part, all, failed).

    The end of a window belongs to its last part. A run whose creation is no time, which may have no part, to the first.
    """
    found = [(0, 0)] * parts
    for part, number, failed in counted:
        place = min(max(part if isinstance(part, int) else 0, 0), parts - 1)
        found[place] = (found[place][0] + number, found[place][1] + failed)
    return tuple(found)


def too_many(workflows: int, runs: int) -> str:
    """Why the durations and errors of so many are left out; empty where they are not."""
    if workflows > WORKFLOWS:
        return f"Without durations and errors: there are more than {WORKFLOWS} of them."
    return f"Without durations and errors: there are more than {RUNS:,} runs." if runs > RUNS else ""


def newest_of_each(workflows: int) -> int:
    """How many runs of each of so many workflows are measured."""
    return min(NEWEST, RUNS_MEASURED // max(workflows, 1))


def durations_note(newest: int, runs: int) -> str:
    """Of which runs the durations are."""
    among = f", among the newest {RUNS_SEARCHED:,}" if runs > RUNS_SEARCHED else ""
    return f"p50 and p95 are of the newest {newest} of each that succeeded{among}."

"""Failures by what went wrong: runs whose error is the same but for numbers and ids are one group."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from runs.clock import from_epoch_us
from runs.compare.records import Change, ErrorGroup, Errors
from runs.compare.statistics import compare_rates, rate
from runs.digests import RunDigest
from runs.records import ErrorSummary, Status

MOST = 500  # groups that are told apart; errors beyond are one group
REST = ErrorSummary("other errors", f"beyond the first {MOST} kinds")
# Ids first, since they hold numbers: UUIDs, ULIDs, hexadecimal of at least 8 digits; then numbers with their fraction.
_VARIES = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![^\W_])[0-9A-HJKMNP-TV-Z]{26}\b|\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+(?:[.,:]\d+)*",
    re.ASCII | re.IGNORECASE,
)


@dataclass(slots=True)
class _Found:
    """One error on both sides, while it is counted."""

    workflow: str
    error: ErrorSummary
    counts: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    examples: dict[str, str] = field(default_factory=lambda: {"a": "", "b": ""})
    first: int | None = None
    last: int | None = None


def pattern(message: str) -> str:
    """The message with ``#`` for whatever differs from one time to the next: ``Timeout after # ms for order #``."""
    return _VARIES.sub("#", message)


def errors(a: Iterable[RunDigest], b: Iterable[RunDigest]) -> Errors:
    """Failed runs of both sides by workflow and error. ``more`` and ``fewer`` are asked of the finished runs of that workflow."""
    found: dict[str, _Found] = {}
    finished: dict[tuple[str, str], int] = {}
    for side, runs in (("a", a), ("b", b)):
        for run in runs:
            if run.status.finished:
                finished[side, run.workflow] = finished.get((side, run.workflow), 0) + 1
            if run.status is Status.FAILED:
                _count(found, side, run)
    groups: dict[str, list[ErrorGroup]] = {"new": [], "gone": [], "more": [], "fewer": [], "same": []}
    for key, each in found.items():
        group = ErrorGroup(
            fingerprint=key,
            workflow=each.workflow,
            error=each.error,
            a_count=each.counts["a"],
            b_count=each.counts["b"],
            a_example=each.examples["a"],
            b_example=each.examples["b"],
            first_at=None if each.first is None else from_epoch_us(each.first),
            last_at=None if each.last is None else from_epoch_us(each.last),
        )
        totals = (finished.get((side, each.workflow), 0) for side in ("a", "b"))
        groups[_change(group, *totals)].append(group)
    for each_list in groups.values():
        each_list.sort(key=lambda group: (-group.a_count - group.b_count, group.fingerprint))
    return Errors(**{name: tuple(each_list) for name, each_list in groups.items()})


def _count(found: dict[str, _Found], side: str, run: RunDigest) -> None:
    error = run.error or ErrorSummary("", "no error is recorded")
    workflow = run.workflow
    key = _fingerprint(workflow, error)
    if key not in found and len(found) >= MOST:
        workflow, error = "", REST
        key = _fingerprint(workflow, error)
    group = found.setdefault(key, _Found(workflow, error))
    group.counts[side] += 1
    group.examples[side] = group.examples[side] or run.id
    at = run.finished_at or run.last_at or run.created_at
    group.first = at if group.first is None else min(group.first, at)
    group.last = at if group.last is None else max(group.last, at)


def _fingerprint(workflow: str, error: ErrorSummary) -> str:
    text = "\x1f".join((workflow, error.type, pattern(error.message)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _change(group: ErrorGroup, of_a: int, of_b: int) -> str:
    if not group.a_count:
        return "new"
    if not group.b_count:
        return "gone"
    change, _ = compare_rates(
        rate(group.a_count, max(of_a, group.a_count)), rate(group.b_count, max(of_b, group.b_count))
    )
    return {Change.WORSE: "more", Change.BETTER: "fewer"}.get(change, "same")

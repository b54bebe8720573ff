"""What a comparison is asked to fail on: ``rewritten``, ``new-errors``, ``missing``, ``p95>1.5x`` and the like."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runs.clock import MICROSECOND
from runs.compare import words
from runs.compare.records import Change, Comparison, Relation, Verdict
from runs.compare.statistics import FEWEST
from runs.errors import BadFilter
from runs.wording import duration, plural

_SLOWER = re.compile(r"(p50|p95)\s*>\s*([0-9]{1,4}(?:\.[0-9]{1,4})?)\s*x")


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition and what it found; none found: it holds."""

    condition: str
    found: tuple[str, ...]


def findings(comparison: Comparison, conditions: Sequence[str]) -> tuple[Finding, ...]:
    """Each condition with what fails it, in the order given. Raises BadFilter for one that is unknown."""
    return tuple(Finding(condition, tuple(_check(condition)(comparison))) for condition in conditions)


def conditions(text: str) -> tuple[str, ...]:
    """The conditions of ``rewritten,p95>1.5x``. Raises BadFilter for one that is unknown."""
    given = tuple(part.strip() for part in text.split(",") if part.strip())
    for condition in given:
        _check(condition)
    return given


def _check(condition: str) -> Callable[[Comparison], list[str]]:
    if slower := _SLOWER.fullmatch(condition):
        share, factor = slower[1], float(slower[2])
        return lambda comparison: _slower(comparison, share, factor)
    if condition not in _CONDITIONS:
        raise BadFilter(
            f"--fail-on {condition[:40]!r} is unknown.", remedy=f"Known: {', '.join(_CONDITIONS)}, p50>1.5x, p95>1.5x."
        )
    return _CONDITIONS[condition]


def _slower(comparison: Comparison, share: str, factor: float) -> list[str]:
    found = []
    for group in comparison.workflows:
        one, other = getattr(group.a_took, share), getattr(group.b_took, share)
        # Below that many, a percentile is one run's luck.
        enough = min(group.a_took.count, group.b_took.count) >= FEWEST
        if enough and one is not None and other is not None and other > one * factor:
            found.append(f"{group.name}: {share} {duration(one * MICROSECOND)} → {duration(other * MICROSECOND)}")
    return found


def _rewritten(comparison: Comparison) -> list[str]:
    return [f"{each.run} at {each.position}" for each in comparison.rewritten]


def _diverged(comparison: Comparison) -> list[str]:
    number = comparison.counts.verdicts.get(Verdict.DIVERGED, 0)
    return [f"{plural(number, 'run')} diverged"] if number else []


def _missing(comparison: Comparison) -> list[str]:
    counts = comparison.counts
    sides = ((counts.only_a, "A"), (counts.only_b, "B"))
    return [f"{plural(number, 'run')} only in {side}" for number, side in sides if number]


def _different(comparison: Comparison) -> list[str]:
    return [] if comparison.relation is Relation.SAME else [words.relation(comparison)]


def _new_errors(comparison: Comparison) -> list[str]:
    return [
        f"{group.workflow}: {group.error.type} {group.error.message} ({group.b_count:,})"
        for group in comparison.errors.new
    ]


def _more_errors(comparison: Comparison) -> list[str]:
    return [
        f"{group.workflow}: {group.error.type} {group.error.message} ({group.a_count:,} → {group.b_count:,})"
        for group in comparison.errors.more
    ]


def _failures(comparison: Comparison) -> list[str]:
    return [f"{group.name}: {group.evidence}" for group in comparison.workflows if group.failures is Change.WORSE]


def _durations(comparison: Comparison) -> list[str]:
    return [f"{group.name}: {group.evidence}" for group in comparison.workflows if group.durations is Change.WORSE]


_CONDITIONS: Mapping[str, Callable[[Comparison], list[str]]] = {
    "rewritten": _rewritten,
    "diverged": _diverged,
    "missing": _missing,
    "different": _different,
    "new-errors": _new_errors,
    "more-errors": _more_errors,
    "failures": _failures,
    "slower": _durations,
}

"""Both databases by workflow and by step: how many, how many failed, how long they took, and what the difference is worth."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runs.compare.records import Change, Group, Tolerance
from runs.compare.statistics import FEWEST, compare_durations, compare_rates, rate, spread
from runs.digests import RunDigest, StepSample
from runs.records import Status

MOST = 1000  # workflows or names of steps that are told apart


@dataclass(slots=True)
class _Sample:
    """What one side has of one name. ``measured`` are durations in microseconds, of runs that succeeded."""

    count: int = 0
    finished: int = 0
    failed: int = 0
    retried: int = 0
    measured: list[int] = field(default_factory=list)

    def add(self, other: "_Sample") -> None:
        self.count += other.count
        self.finished += other.finished
        self.failed += other.failed
        self.retried += other.retried
        self.measured += other.measured


def workflows(
    a: Iterable[RunDigest], b: Iterable[RunDigest], matched: Mapping[str, int], tolerance: Tolerance
) -> tuple[Group, tuple[Group, ...]]:
    """All runs as one group, and one for each workflow, the greatest differences first. ``matched`` counts pairs by workflow."""
    of_a, of_b = _by_workflow(a), _by_workflow(b)
    whole = _group("", _all(of_a), _all(of_b), sum(matched.values()), tolerance)
    names = _names(
        {name: sample.count for name, sample in of_a.items()}, {name: sample.count for name, sample in of_b.items()}
    )
    groups = (
        _group(name, of_a.get(name, _Sample()), of_b.get(name, _Sample()), matched.get(name, 0), tolerance)
        for name in names
    )
    return whole, tuple(sorted(groups, key=_weight))


def steps(a: Mapping[str, StepSample], b: Mapping[str, StepSample], tolerance: Tolerance) -> tuple[Group, ...]:
    """One group for each name of a step, the greatest differences first."""
    names = _names({name: found.count for name, found in a.items()}, {name: found.count for name, found in b.items()})
    groups = (_group(name, _sampled(a.get(name)), _sampled(b.get(name)), 0, tolerance) for name in names)
    return tuple(sorted(groups, key=_weight))


def _by_workflow(runs: Iterable[RunDigest]) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for run in runs:
        sample = samples.setdefault(run.workflow, _Sample())
        sample.count += 1
        sample.finished += run.status.finished
        sample.failed += run.status is Status.FAILED
        if run.status is Status.SUCCEEDED and run.duration is not None:
            sample.measured.append(run.duration)
    return samples


def _all(samples: Mapping[str, _Sample]) -> _Sample:
    whole = _Sample()
    for sample in samples.values():
        whole.add(sample)
    return whole


def _sampled(found: StepSample | None) -> _Sample:
    if found is None:
        return _Sample()
    return _Sample(found.count, found.count, found.failed, found.retried, list(found.durations))


def _names(a: Mapping[str, int], b: Mapping[str, int]) -> list[str]:
    """The names of both sides, the most frequent first, no more than ``MOST``."""
    names = a.keys() | b.keys()
    return sorted(names, key=lambda name: (-a.get(name, 0) - b.get(name, 0), name))[:MOST]


def _group(name: str, a: _Sample, b: _Sample, matched: int, tolerance: Tolerance) -> Group:
    a_failed, b_failed = rate(a.failed, a.finished), rate(b.failed, b.finished)
    failures, about_failures = compare_rates(a_failed, b_failed)
    durations, about_durations = compare_durations(a.measured, b.measured, tolerance)
    return Group(
        name=name,
        a_count=a.count,
        b_count=b.count,
        matched=matched,
        a_failed=a_failed,
        b_failed=b_failed,
        a_took=spread(a.measured),
        b_took=spread(b.measured),
        failures=failures,
        durations=durations,
        evidence=_evidence(a, b, failures, about_failures, durations, about_durations),
        a_retried=a.retried,
        b_retried=b.retried,
    )


def _evidence(
    a: _Sample, b: _Sample, failures: Change, about_failures: str, durations: Change, about_durations: str
) -> str:
    if failures is durations is Change.TOO_FEW:
        return f"{a.finished:,} finished in A, {b.finished:,} in B: {FEWEST} are needed"
    told = ((failures, about_failures), (durations, about_durations))
    # What changed stands first: a narrow column shows the beginning.
    return "; ".join(words for _, words in sorted(told, key=lambda each: each[0] in (Change.SAME, Change.TOO_FEW)))


def _weight(group: Group) -> tuple[int, int, str]:
    """What got worse first, then what got better; within these, and among the rest, the most frequent."""
    changes = {group.failures, group.durations}
    place = 0 if Change.WORSE in changes else 1 if Change.BETTER in changes else 2
    return place, -group.a_count - group.b_count, group.name

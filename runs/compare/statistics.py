"""What a difference between two samples is worth. Nothing is said on too few, and no arrow is drawn on noise.

Rates have Wilson's interval; two rates differ where Newcombe's interval of their difference leaves out zero. Durations are
compared by rank, whatever their distribution: the middle by Mann and Whitney's test, the tail by the intervals of its order
statistics. Both are asked for 99 %, since a page makes dozens of such comparisons at once.

Sources: E. B. Wilson 1927; R. G. Newcombe, Statistics in Medicine 17 (1998) 873, method 10; H. B. Mann, D. R. Whitney 1947 with
the correction for ties; order statistics: W. J. Conover, Practical Nonparametric Statistics, 3.2.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import NormalDist

from runs.clock import MICROSECOND
from runs.compare.records import Change, Rate, Spread, Tolerance
from runs.wording import duration

FEWEST = 20  # on each side
_SHOWN = NormalDist().inv_cdf(0.975)  # the interval that is shown with a rate
_SURE = NormalDist().inv_cdf(0.995)  # what a difference must pass
_TAIL = 0.95


def rate(failed: int, of: int) -> Rate:
    """The share with its 95 % Wilson interval; 0 to 1 where there are none."""
    low, high = _wilson(failed, of, _SHOWN)
    return Rate(failed, of, low, high)


def spread(durations: Sequence[int]) -> Spread:
    """Of durations in microseconds, in any order: the least that half, and 95 %, of them do not pass."""
    ordered = sorted(durations)
    return Spread(len(ordered), _percentile(ordered, 0.5), _percentile(ordered, _TAIL))


def compare_rates(a: Rate, b: Rate) -> tuple[Change, str]:
    """Whether more fail in B, or fewer; and in words what that rests on."""
    if min(a.of, b.of) < FEWEST:
        return Change.TOO_FEW, f"failures: {_too_few(a.of, b.of)}"
    low, high = _difference(a, b, _SURE)
    if low <= 0 <= high:
        return Change.SAME, "failures: no more than noise" if a.value != b.value else "failures alike"
    words = f"failed {_percent(a)} → {_percent(b)}, 99 % interval of the difference {_points(low)} to {_points(high)} points"
    return Change.WORSE if low > 0 else Change.BETTER, words


def compare_durations(a: Sequence[int], b: Sequence[int], tolerance: Tolerance) -> tuple[Change, str]:
    """Whether B is slower or faster, in its middle or in its tail, beyond the tolerance; and in words what that rests on."""
    if min(len(a), len(b)) < FEWEST:
        return Change.TOO_FEW, f"durations: {_too_few(len(a), len(b))}"
    first, second = sorted(a), sorted(b)
    shifts = {
        share: _beyond(_percentile(first, share) or 0, _percentile(second, share) or 0, tolerance)
        for share in (0.5, _TAIL)
    }
    if shifts[0.5] and _rank_test(first, second) < 0.01:
        return _changed(shifts[0.5]), _words("p50", first, second, 0.5, "rank test, p < 0.01")
    if shifts[_TAIL] and _apart(first, second):
        return _changed(shifts[_TAIL]), _words("p95", first, second, _TAIL, "99 % intervals lie apart")
    if any(shifts.values()):
        return Change.SAME, "durations: no more than noise"
    return Change.SAME, "durations: inside the tolerance"


def _too_few(a: int, b: int) -> str:
    return f"too few to tell, {a:,} in A and {b:,} in B, {FEWEST} are needed"


def _wilson(part: int, of: int, z: float) -> tuple[float, float]:
    if not of:
        return 0.0, 1.0
    share, squared = part / of, z * z
    middle = share + squared / (2 * of)
    reach = z * math.sqrt(share * (1 - share) / of + squared / (4 * of * of))
    return max((middle - reach) / (1 + squared / of), 0.0), min((middle + reach) / (1 + squared / of), 1.0)


def _difference(a: Rate, b: Rate, z: float) -> tuple[float, float]:
    """Newcombe's interval of B's rate less A's."""
    share_a, share_b = a.failed / a.of, b.failed / b.of
    (low_a, high_a), (low_b, high_b) = _wilson(a.failed, a.of, z), _wilson(b.failed, b.of, z)
    between = share_b - share_a
    return (
        between - math.hypot(share_b - low_b, high_a - share_a),
        between + math.hypot(high_b - share_b, share_a - low_a),
    )


def _percentile(ordered: Sequence[int], share: float) -> int | None:
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def _beyond(a: int, b: int, tolerance: Tolerance) -> int:
    """1 where B is longer by more than both bounds, -1 where shorter, else 0."""
    least = max(tolerance.floor // MICROSECOND, int(tolerance.ratio * a))
    return (b - a > least) - (a - b > least)


def _changed(shift: int) -> Change:
    return Change.WORSE if shift > 0 else Change.BETTER


def _rank_test(a: Sequence[int], b: Sequence[int]) -> float:
    """The probability that two samples of one kind differ in rank as much as these: Mann and Whitney's test, two-sided."""
    ranks_of_a, ties, passed = 0.0, 0, 0
    marked = sorted([(value, 1) for value in a] + [(value, 0) for value in b])
    for _, group in groupby(marked, key=lambda each: each[0]):
        of_a = [is_a for _, is_a in group]
        size = len(of_a)
        ranks_of_a += sum(of_a) * (passed + (size + 1) / 2)
        ties += size**3 - size
        passed += size
    n, m = len(a), len(b)
    both = n + m
    variance = n * m / 12 * (both + 1 - ties / (both * (both - 1)))
    if variance <= 0:
        return 1.0
    distance = abs(ranks_of_a - n * (n + 1) / 2 - n * m / 2) - 0.5
    return 2 * NormalDist().cdf(-max(distance, 0) / math.sqrt(variance))


def _apart(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether the intervals of both 95th percentiles have nothing in common."""
    (low_a, high_a), (low_b, high_b) = _tail(a), _tail(b)
    return high_a < low_b or high_b < low_a


def _tail(ordered: Sequence[int]) -> tuple[float, float]:
    """Between which values the 95th percentile lies; without bound above where the sample is too small to have one."""
    count = len(ordered)
    reach = _SURE * math.sqrt(count * _TAIL * (1 - _TAIL))
    low, high = math.floor(count * _TAIL - reach), math.ceil(count * _TAIL + reach)
    return ordered[max(low - 1, 0)], ordered[high - 1] if high <= count else math.inf


def _words(name: str, a: Sequence[int], b: Sequence[int], share: float, why: str) -> str:
    one, other = _percentile(a, share) or 0, _percentile(b, share) or 0
    ratio = f" ({other / one:.2f}×)" if one > 0 else ""
    return f"{name} {duration(one * MICROSECOND)} → {duration(other * MICROSECOND)}{ratio}, {why}"


def _percent(found: Rate) -> str:
    return f"{100 * (found.value or 0):.1f} %"


def _points(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(100 * share):.1f}"

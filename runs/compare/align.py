"""Which step of one run is which of the other: by names, branch by branch, so that how branches interleave is no difference.

Common ends are trimmed; between them Myers' O(ND) finds the longest common order, with a bounded number of differences. Beyond
the bound, the k-th step of a name is taken for the k-th of that name, and the alignment says that it is coarse.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

MOST_DIFFERENCES: Final = 1000

Places = list[tuple[int, int]]
T = TypeVar("T", str, bytes)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is aligned: a name, in the branch that it belongs to (empty: the main line)."""

    branch: str
    name: str


@dataclass(frozen=True, slots=True)
class Match:
    """Positions in A and B; None where the other has no such unit. ``moved``: both have it, in another order."""

    a: int | None
    b: int | None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Alignment:
    """Every unit of both, once, in reading order. ``coarse``: the two differ too much to be aligned exactly."""

    matches: tuple[Match, ...]
    coarse: bool


def align(a: Sequence[Unit], b: Sequence[Unit]) -> Alignment:
    """Swapping the sides mirrors the pairs."""
    first, second = _by_branch(a, b), _by_branch(b, a)
    found: dict[int, int] = {}
    coarse = False
    for branch in first.keys() & second.keys():
        here, there = first[branch], second[branch]
        pairs, rough = common([a[place].name for place in here], [b[place].name for place in there])
        coarse = coarse or rough
        found.update({here[i]: there[j] for i, j in pairs})
    moved = _left_over(a, b, found)
    return Alignment(tuple(_in_order(len(a), len(b), found, moved)), coarse)


def common(a: Sequence[T], b: Sequence[T], most: int = MOST_DIFFERENCES) -> tuple[Places, bool]:
    """The positions of what both have in one order, and whether that was found in the coarse way."""
    if (len(a), list(a)) > (len(b), list(b)):  # both ways round alike, so that swapping the sides mirrors
        found, coarse = common(b, a, most)
        return [(i, j) for j, i in found], coarse
    numbers: dict[T, int] = {}
    x = [numbers.setdefault(item, len(numbers)) for item in a]
    y = [numbers.setdefault(item, len(numbers)) for item in b]
    return _common(x, y, most)


def _common(a: Sequence[int], b: Sequence[int], most: int) -> tuple[Places, bool]:
    start, end = 0, 0
    shorter = min(len(a), len(b))
    while start < shorter and a[start] == b[start]:
        start += 1
    while end < shorter - start and a[-1 - end] == b[-1 - end]:
        end += 1
    ends = [(i, i) for i in range(start)], [(len(a) - end + i, len(b) - end + i) for i in range(end)]
    # What the other side has nowhere can't be part of it.
    shared = set(a[start : len(a) - end]) & set(b[start : len(b) - end])
    here = [i for i in range(start, len(a) - end) if a[i] in shared]
    there = [j for j in range(start, len(b) - end) if b[j] in shared]
    x, y = [a[i] for i in here], [b[j] for j in there]
    middle = _myers(x, y, most)
    coarse = middle is None
    return [
        *ends[0],
        *((here[i], there[j]) for i, j in (_occurrences(x, y) if middle is None else middle)),
        *ends[1],
    ], coarse


def _myers(a: Sequence[int], b: Sequence[int], most: int) -> Places | None:
    """A longest common order; None where more than ``most`` items would have to go or to come."""
    n, m = len(a), len(b)
    if abs(n - m) > most:
        return None
    middle = most + 1
    furthest = [-1] * (2 * most + 3)  # by diagonal, x - y: how far along A
    furthest[middle + 1] = 0
    trail: list[list[int]] = []
    for d in range(min(most, n + m) + 1):
        trail.append(furthest[middle - d - 1 : middle + d + 2])
        for k in range(-d + 2 * max(0, d - m), d - 2 * max(0, d - n) + 1, 2):
            left, right = furthest[middle + k - 1], furthest[middle + k + 1]
            x = right if k == -d or (k != d and left < right) else left + 1
            y = x - k
            while x < n and y < m and a[x] == b[y]:
                x += 1
                y += 1
            furthest[middle + k] = x
            if x >= n and y >= m:
                return _followed_back(trail, n, m)
    return None


def _followed_back(trail: Sequence[Sequence[int]], x: int, y: int) -> Places:
    found: Places = []
    for d in range(len(trail) - 1, -1, -1):
        row = trail[d]
        k = x - y
        down = k == -d or (k != d and row[d + k] < row[d + k + 2])
        before = k + 1 if down else k - 1
        from_x = row[d + 1 + before]
        from_y = from_x - before
        while x > max(from_x, 0) and y > max(from_y, 0) and (x > from_x + (not down) or d == 0):
            x, y = x - 1, y - 1
            found.append((x, y))
        x, y = from_x, from_y
    return found[::-1]


def _occurrences(a: Sequence[int], b: Sequence[int]) -> Places:
    """The k-th of an item is the k-th of it; of these pairs a longest row that is in one order."""
    pairs = _counted(a, b)
    tails: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        place = bisect_left(tails, j)
        tails[place : place + 1] = [j]
        last[place : place + 1] = [number]
        before.append(last[place - 1] if place else -1)
    found: Places = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _counted(a: Iterable[Hashable], b: Iterable[Hashable]) -> Places:
    where: dict[Hashable, list[int]] = defaultdict(list)
    for j, item in enumerate(b):
        where[item].append(j)
    seen: Counter[Hashable] = Counter()
    pairs: Places = []
    for i, item in enumerate(a):
        if seen[item] < len(where.get(item, ())):
            pairs.append((i, where[item][seen[item]]))
        seen[item] += 1
    return pairs


def _by_branch(a: Sequence[Unit], b: Sequence[Unit]) -> dict[str, list[int]]:
    """The positions of A by branch. A branch of one unit on both sides is no branch: only waiting for several at once makes one."""
    sizes = Counter(unit.branch for unit in a), Counter(unit.branch for unit in b)
    found: dict[str, list[int]] = defaultdict(list)
    for place, unit in enumerate(a):
        several = max(count[unit.branch] for count in sizes) > 1
        found[unit.branch if several else ""].append(place)
    return found


def _left_over(a: Sequence[Unit], b: Sequence[Unit], found: dict[int, int]) -> set[int]:
    """Pairs what is left by name, k-th with k-th, into ``found``; returns the places in A of those that have moved: in one branch,
    their order is another; in two branches of other names, no order is lost."""
    taken = set(found.values())
    here = [i for i in range(len(a)) if i not in found]
    there = [j for j in range(len(b)) if j not in taken]
    moved: set[int] = set()
    for i, j in _counted([a[i].name for i in here], [b[j].name for j in there]):
        found[here[i]] = there[j]
        if a[here[i]].branch == b[there[j]].branch or not a[here[i]].branch or not b[there[j]].branch:
            moved.add(here[i])
    return moved


def _in_order(n: int, m: int, found: dict[int, int], moved: set[int]) -> list[Match]:
    """By position in A; what only B has comes after what it follows there."""
    where = {j: i for i, j in found.items()}
    matches = [((i, 0), Match(i, found.get(i), i in moved)) for i in range(n)]
    after = -1
    for j in range(m):
        i = where.get(j)
        if i is None:
            matches.append(((after, j + 1), Match(None, j)))
        elif i not in moved:
            after = i
    return [match for _, match in sorted(matches, key=lambda entry: entry[0])]

"""Which run of one database is which of the other: a ladder, surest rung first, and every run in exactly one place.

    id        the same id
    ordinal   children at the same place of matched parents
    dedup     what the caller gave to tell a run from others
    path      what a path chosen by the person leads to in the input
    input     the same workflow with the same input

Several runs with one key are paired in time, the k-th with the k-th; what then remains on one side is ambiguous. A rung that is
forced pairs the runs at the top alone, and children follow their parents by ordinal; ``id`` is strictly alone.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runs.clock import MICROSECOND
from runs.compare.reading import Progress, Reading
from runs.compare.records import Options, Presence, Rung, Tolerance, Verdict
from runs.compare.values import at, canonical, canonical_tree, parse_path, read_value
from runs.digests import RunDigest
from runs.payloads import Node, Scalar
from runs.records import Body
from runs.wording import plural

InputsOf = Callable[[Sequence[str]], Iterator[tuple[str, Body]]]
AUTO = "auto"
_KEY_LENGTH = 200  # characters of a key that are told

Runs = dict[str, RunDigest]


class Match(NamedTuple):
    """Two runs, by what they were matched, and which of several alike they are."""

    rung: Rung
    key: str
    a: RunDigest
    b: RunDigest
    nth: int = 1
    alike: int = 1


@dataclass(frozen=True, slots=True)
class Matched:
    """Every run of both sides, once: in a pair, newest first, or alone on its side."""

    pairs: Sequence[Match]
    lone: Sequence[tuple[str, Presence, RunDigest]]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Side:
    """One side while it is matched."""

    name: str
    all: Mapping[str, RunDigest]
    inputs: InputsOf
    left: Runs
    ambiguous: set[str] = field(default_factory=set)
    children: dict[str, list[RunDigest]] = field(default_factory=dict)

    def top(self, run: RunDigest) -> bool:
        return run.parent is None or run.parent not in self.all

    def at_top(self, run_id: str) -> bool:
        return run_id in self.all and self.top(self.all[run_id])


def match(
    a: Reading, b: Reading, options: Options, a_inputs: InputsOf, b_inputs: InputsOf, progress: Progress
) -> Matched:
    """Every run of two databases of one engine. Raises BadFilter for a path that is none, and what reading inputs raises."""
    ladder = _Ladder(a, b, options, a_inputs, b_inputs, progress)
    ladder.climb_down()
    lone = [
        (side.name, _presence(run, side, window), run)
        for side, window in ((ladder.a, _window(a, b)), (ladder.b, _window(a, b)))
        for run in sorted(side.left.values(), key=lambda run: (-run.created_at, run.id))
    ]
    ladder.pairs.sort(key=lambda pair: (-max(pair.a.created_at, pair.b.created_at), pair.a.id))
    return Matched(ladder.pairs, lone, tuple(ladder.notes()))


def alone(a: Reading, b: Reading) -> Matched:
    """Nothing is matched: the two are of different kinds, and nothing counts as missing."""
    lone = [
        (name, Presence.OUTSIDE, run)
        for name, side in (("a", a), ("b", b))
        for run in sorted(side.runs.values(), key=lambda run: (-run.created_at, run.id))
    ]
    return Matched((), lone, ())


def verdict(a: RunDigest, b: RunDigest, tolerance: Tolerance) -> Verdict:
    """What became of two runs that were not matched by id, or have no event in common."""
    if a.content != b.content or a.status is not b.status:
        return Verdict.DIFFERS
    if a.duration is None or b.duration is None:
        return Verdict.SAME
    between = abs(a.duration - b.duration)
    beyond = between > tolerance.floor // MICROSECOND and between > tolerance.ratio * min(a.duration, b.duration)
    return Verdict.TIMING if beyond else Verdict.SAME


class _Ladder:
    """The ladder at work."""

    def __init__(
        self, a: Reading, b: Reading, options: Options, a_inputs: InputsOf, b_inputs: InputsOf, progress: Progress
    ) -> None:
        self.a = _Side("a", a.runs, a_inputs, dict(a.runs))
        self.b = _Side("b", b.runs, b_inputs, dict(b.runs))
        self.pairs: list[Match] = []
        self._options = options
        self._path = parse_path(options.path) if options.path else None
        self._progress = progress
        self._decoded: dict[str, dict[bytes, bytes]] = {"a": {}, "b": {}}  # the canonical of a stored input
        self._keys: dict[str, list[int]] = {
            "a": [0, 0, 0],
            "b": [0, 0, 0],
        }  # inputs with one, several, no value at the path

    def climb_down(self) -> None:
        wanted = self._options.match
        if wanted in (AUTO, Rung.ID):
            self._by_id(self.a.left)
        if wanted == Rung.ORDINAL:
            self._by_id([run_id for run_id in self.a.left if all(side.at_top(run_id) for side in (self.a, self.b))])
        if wanted == Rung.ID or not (self.a.left and self.b.left):
            return
        for side in (self.a, self.b):
            for run in side.left.values():
                if run.parent is not None and run.parent in side.all:
                    side.children.setdefault(run.parent, []).append(run)
        self._descend(self.pairs)
        if wanted in (AUTO, Rung.DEDUP):
            self._by_key(Rung.DEDUP, lambda side, found: {r.id: (r.dedup, r.dedup) for r in found if r.dedup})
        if self._path and wanted in (AUTO, Rung.PATH):
            self._by_key(Rung.PATH, self._at_path)
        if wanted in (AUTO, Rung.INPUT):
            while self._by_input():
                pass

    def notes(self) -> Iterator[str]:
        if self._path:
            for name, (one, several, none) in self._keys.items():
                looked = one + several + none
                if looked and not (one or several):
                    yield f"{self._path.text} leads nowhere in any of the {looked:,} inputs of {name.upper()} it was asked of."
                elif several:
                    yield (
                        f"{self._path.text} leads to several values in {plural(several, 'input')} of {name.upper()}: "
                        "all of them together are the key."
                    )
        if remain := len(self.a.ambiguous) + len(self.b.ambiguous):
            yield (
                f"{plural(remain, 'run')} {'is' if remain == 1 else 'are'} ambiguous: more runs of one side than of the other have"
                " the same in common; they were paired in time, and these remain."
            )

    def _by_id(self, ids: Iterable[str]) -> None:
        for run_id in [run_id for run_id in ids if run_id in self.b.left]:
            self._pair(Rung.ID, run_id, self.a.left[run_id], self.b.left[run_id])

    def _by_key(
        self, rung: Rung, keys: Callable[[_Side, Sequence[RunDigest]], Mapping[str, tuple[Hashable, str]]]
    ) -> None:
        """Runs at the top first: their children are surer matched by their place in them."""
        for top_only in (True, False):
            found = [
                [run for run in side.left.values() if run.id not in side.ambiguous and side.top(run) is top_only]
                for side in (self.a, self.b)
            ]
            if all(found):
                known = keys(self.a, found[0]), keys(self.b, found[1])
                keyed = [
                    [((run.workflow, each[run.id][0]), run) for run in some if run.id in each]
                    for each, some in zip(known, found, strict=True)
                ]
                self._group(rung, keyed[0], keyed[1], lambda run, told=known[0]: told[run.id][1])  # type: ignore[misc]

    def _by_input(self) -> bool:
        """Runs at the top, and children of matched parents that stand elsewhere in them now. Whether any were matched."""
        scopes = self._scopes()
        found = [
            [
                (run, scope)
                for run in side.left.values()
                if run.id not in side.ambiguous
                and (scope := "" if side.top(run) else known.get(run.parent or "")) is not None
            ]
            for side, known in zip((self.a, self.b), scopes, strict=True)
        ]
        before = len(self.pairs)
        remaining: list[tuple[set[str], set[str]]] = []
        # The stored bytes first: where they are the same, nothing need be decoded.
        for canonically in (False, True):
            rest = [
                [(run, scope) for run, scope in some if run.id in side.left]
                for some, side in zip(found, (self.a, self.b), strict=True)
            ]
            both = {(scope, run.workflow) for run, scope in rest[0]} & {(scope, run.workflow) for run, scope in rest[1]}
            rest = [[(run, scope) for run, scope in some if (scope, run.workflow) in both] for some in rest]
            keyed = []
            for side, some in zip((self.a, self.b), rest, strict=True):
                known_inputs = self._canonical(side, [run for run, _ in some]) if canonically else {}
                keyed.append(
                    [((scope, run.workflow, known_inputs.get(run.input, run.input)), run) for run, scope in some]
                )
            remaining.append(self._group(Rung.INPUT, keyed[0], keyed[1], lambda _: "", settle=canonically))
        for side, some_left in zip((self.a, self.b), remaining[0], strict=True):
            side.ambiguous |= some_left & side.left.keys()
        return len(self.pairs) > before

    def _scopes(self) -> tuple[dict[str, str], dict[str, str]]:
        """By parent, among which runs counterparts of its children are looked for: those of its own counterpart."""
        parents = [{run.parent for run in side.left.values()} for side in (self.a, self.b)]
        found: tuple[dict[str, str], dict[str, str]] = {}, {}
        for pair in self.pairs:
            if pair.a.id in parents[0]:
                found[0][pair.a.id] = pair.a.id
            if pair.b.id in parents[1]:
                found[1][pair.b.id] = pair.a.id
        return found

    def _group(
        self,
        rung: Rung,
        a_runs: Iterable[tuple[Hashable, RunDigest]],
        b_runs: Iterable[tuple[Hashable, RunDigest]],
        words: Callable[[RunDigest], str],
        *,
        settle: bool = True,
    ) -> tuple[set[str], set[str]]:
        """Pairs what has one key, the k-th with the k-th in time. The ids on each side that remain where it has more of them:
        ambiguous, if no other way is left to ``settle`` them."""
        groups: dict[Hashable, tuple[list[RunDigest], list[RunDigest]]] = defaultdict(lambda: ([], []))
        for number, found in enumerate((a_runs, b_runs)):
            for key, run in found:
                groups[key][number].append(run)
        before = len(self.pairs)
        remaining: tuple[set[str], set[str]] = set(), set()
        for ones, others in groups.values():
            if not ones or not others:
                continue
            alike = max(len(ones), len(others))
            for nth, (one, other) in enumerate(_in_time(ones, others), 1):
                self._pair(rung, words(one), one, other, nth, alike)
            least = min(len(ones), len(others))
            for ids, some in zip(remaining, (ones, others), strict=True):
                ids.update(run.id for run in some[least:])
        if settle:
            self.a.ambiguous |= remaining[0]
            self.b.ambiguous |= remaining[1]
        self._descend(self.pairs[before:])
        return remaining

    def _descend(self, pairs: Sequence[Match]) -> None:
        """Children at the same place of matched parents, however deep."""
        waiting = list(pairs)
        while waiting:
            found = waiting.pop()
            ones, others = self.a.children.get(found.a.id, ()), self.b.children.get(found.b.id, ())
            if not ones or not others:
                continue
            places: dict[tuple[str, str], tuple[list[RunDigest], list[RunDigest]]] = defaultdict(lambda: ([], []))
            for number, (side, some) in enumerate(((self.a, ones), (self.b, others))):
                for run in some:
                    if run.ordinal and run.id in side.left:
                        places[run.workflow, run.ordinal][number].append(run)
            for first, second in places.values():
                for one, other in _in_time(first, second):
                    waiting.append(self._pair(Rung.ORDINAL, f"{found.a.id} {one.ordinal}", one, other))

    def _pair(self, rung: Rung, key: str, a: RunDigest, b: RunDigest, nth: int = 1, alike: int = 1) -> Match:
        made = Match(rung, key[:_KEY_LENGTH], a, b, nth, alike)
        self.pairs.append(made)
        del self.a.left[a.id], self.b.left[b.id]
        return made

    def _canonical(self, side: _Side, found: Sequence[RunDigest]) -> Mapping[bytes, bytes]:
        """The canonical inputs of these runs, by the digest of what is stored: each of them is decoded once."""
        known = self._decoded[side.name]
        stored = {run.input: run.id for run in found if run.input and run.input not in known}
        by_id = {run_id: each for each, run_id in stored.items()}
        for done, (run_id, body) in enumerate(side.inputs(list(by_id)), 1):
            if not body.truncated:
                known[by_id[run_id]] = canonical(body.payload.encoding, body.data, self._options.ignore)
            if done % 500 == 0:
                self._progress(f"reading inputs of {side.name.upper()}", done, len(by_id))
        return known

    def _at_path(self, side: _Side, found: Sequence[RunDigest]) -> dict[str, tuple[Hashable, str]]:
        """What the path leads to in the input of these runs, by id."""
        keys: dict[str, tuple[Hashable, str]] = {}
        counts = self._keys[side.name]
        ids = [run.id for run in found if run.input]
        for done, (run_id, body) in enumerate(side.inputs(ids), 1):
            encoding = body.payload.encoding
            tree = read_value(encoding, body.data, truncated=body.truncated).tree
            nodes = at(tree, self._path) if tree is not None and self._path else ()
            counts[0 if len(nodes) == 1 else 1 if nodes else 2] += 1
            if nodes:
                keys[run_id] = b"".join(canonical_tree(node, encoding) for node in nodes), _told(nodes)
            if done % 500 == 0:
                self._progress(f"reading inputs of {side.name.upper()}", done, len(ids))
        return keys


def _in_time(ones: list[RunDigest], others: list[RunDigest]) -> Iterator[tuple[RunDigest, RunDigest]]:
    """The k-th of the one with the k-th of the other; both are put in order."""
    for some in (ones, others):
        some.sort(key=lambda run: (run.created_at, run.id))
    return zip(ones, others, strict=False)


def _told(nodes: Sequence[Node]) -> str:
    return ", ".join(str(node.value) if isinstance(node, Scalar) else "…" for node in nodes)


def _window(a: Reading, b: Reading) -> tuple[int, int]:
    """From when to when both recorded. Of one that was written while it was read, until reading began."""
    bounds = [
        (side.first_at, min(side.last_at, side.began_at) if side.changed else side.last_at)
        for side in (a, b)
        if side.first_at is not None and side.last_at is not None
    ]
    if len(bounds) < 2:
        return 1, 0
    return max(first for first, _ in bounds), min(last for _, last in bounds)


def _presence(run: RunDigest, side: _Side, window: tuple[int, int]) -> Presence:
    if run.id in side.ambiguous and not run.scheduled:
        return Presence.AMBIGUOUS
    if not window[0] <= run.created_at <= window[1]:
        return Presence.OUTSIDE
    return Presence.SCHEDULED if run.scheduled else Presence.ONLY

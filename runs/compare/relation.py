"""How two databases are related: exact over every run that is in both. Equal digests of the unchanging history tell most; where
they differ, the recorded events themselves decide.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from runs.clock import MICROSECOND, from_epoch_us, rfc3339, to_epoch_us
from runs.compare.reading import Progress, Reading
from runs.compare.records import Lead, Relation, Rewrite, Verdict
from runs.digests import Mark, RunDigest
from runs.records import Status
from runs.wording import plural

MarksOf = Callable[[Sequence[str]], Mapping[str, tuple[Mark, ...]]]

AT_ONCE = 200  # runs whose events are read at once
EVENTS = 5000  # that these have, but for those of the last
MOST_REWRITES = 1000  # that are told one by one; all of them are pairs
_BEGUN = frozenset({Status.RUNNING, Status.WAITING, Status.RETRYING, Status.PAUSED})


@dataclass(frozen=True, slots=True)
class Parting:
    """How two recordings of one run compare. ``position`` is the first that differs, ``at`` its instant, and ``a`` and ``b`` what
    each side has there. ``shared`` counts equal events that have an instant, ``a_more`` and ``b_more`` those that the other lacks
    or has otherwise."""

    verdict: Verdict
    position: str = ""
    at: int | None = None
    a: Mark | None = None
    b: Mark | None = None
    shared: int = 0
    a_more: int = 0
    b_more: int = 0


@dataclass(frozen=True, slots=True)
class Related:
    """The relation of two databases. ``shared`` counts the runs that are in both, ``partings`` are of those that are not the
    same, by id. ``apart``: runs that are called the same but have nothing in common: they were created twice."""

    relation: Relation
    shared: int
    evidence: tuple[str, ...]
    notes: tuple[str, ...]
    alike_until: int | None
    a_lead: Lead
    b_lead: Lead
    partings: Mapping[str, Parting]
    rewritten: tuple[Rewrite, ...]
    apart: bool


@dataclass(slots=True)
class _New:
    """The runs that only one side has. ``removed``: it is the other side that had them too, and removed them when they were old."""

    new: list[RunDigest]
    removed: list[RunDigest]


def relate(a: Reading, b: Reading, a_marks: MarksOf, b_marks: MarksOf, progress: Progress) -> Related:
    """The relation of two databases of one engine. Raises what reading the events raises."""
    shared = [run_id for run_id in a.runs if run_id in b.runs]
    partings = dict(_partings(a, b, shared, a_marks, b_marks, progress))
    apart = bool(shared) and all(
        run_id in partings and not partings[run_id].shared and partings[run_id].verdict is Verdict.DIVERGED
        for run_id in shared
    )
    if not shared or apart:
        return _independent(a, b, partings if apart else {})
    of_a, of_b = _new(a, b), _new(b, a)
    verdicts = [parting.verdict for parting in partings.values()]
    rewrites = _rewrites(a.runs, partings)
    a_ahead = bool(of_a.new) or Verdict.A_AHEAD in verdicts
    b_ahead = bool(of_b.new) or Verdict.B_AHEAD in verdicts
    if Verdict.REWRITTEN in verdicts:
        relation = Relation.REWRITTEN
    elif Verdict.DIVERGED in verdicts or (a_ahead and b_ahead):
        relation = Relation.FORKED
    elif a_ahead or b_ahead:
        relation = Relation.A_EXTENDS_B if a_ahead else Relation.B_EXTENDS_A
    else:
        relation = Relation.SAME
    alike_until = _alike_until(a, b, shared, partings, (*of_a.new, *of_b.new))
    return Related(
        relation=relation,
        shared=len(shared),
        evidence=tuple(_evidence(len(shared), partings, of_a, of_b, alike_until)),
        notes=tuple(_notes(a, b, of_a, of_b, partings, relation)),
        alike_until=alike_until,
        a_lead=_lead(a, b, of_a.new, partings, Verdict.A_AHEAD),
        b_lead=_lead(b, a, of_b.new, partings, Verdict.B_AHEAD),
        partings=partings,
        rewritten=rewrites,
        apart=False,
    )


def unrelated(why: str) -> Related:
    """Two databases of which only distributions can be compared."""
    nothing = Lead(0, 0, 0, None)
    return Related(Relation.INDEPENDENT, 0, (why,), (), None, nothing, nothing, {}, (), apart=True)


def parting(a: Sequence[Mark], b: Sequence[Mark]) -> Parting:
    """How two recordings of one run compare, event by event."""
    in_a = {mark.position: (order, mark) for order, mark in enumerate(a)}
    in_b = {mark.position: (order, mark) for order, mark in enumerate(b)}
    equal = [position for position in in_a if position in in_b and _same(in_a[position][1], in_b[position][1])]
    known = frozenset(equal)
    other = [position for position in in_a if position in in_b and position not in known]
    only_a = [position for position in in_a if position not in in_b]
    only_b = [position for position in in_b if position not in in_a]
    differing = (*other, *only_a, *only_b)
    if not differing:
        return Parting(Verdict.SAME, shared=_dated(equal, in_a))
    dated = [in_a[position] for position in equal if in_a[position][1].at is not None]
    newest = max((mark.at for _, mark in dated if mark.at is not None), default=None)
    later = _Later(newest, [(place, in_b[mark.position][0]) for place, mark in dated])
    rewritten = [position for position in other if later.than(in_a[position], in_b[position])]
    if rewritten:
        verdict = Verdict.REWRITTEN
    elif other or (only_a and only_b):
        verdict = Verdict.DIVERGED
    else:
        verdict = Verdict.A_AHEAD if only_a else Verdict.B_AHEAD
    places = {position: _place(position, in_a, in_b) for position in differing}
    first = min(rewritten or differing, key=lambda position: (places[position], position))
    return Parting(
        verdict,
        first,
        min((at for at, _ in places.values() if at >= 0), default=None),
        in_a[first][1] if first in in_a else None,
        in_b[first][1] if first in in_b else None,
        _dated(equal, in_a),
        len(other) + len(only_a),
        len(other) + len(only_b),
    )


_Placed = Mapping[str, tuple[int, Mark]]


def _same(a: Mark, b: Mark) -> bool:
    """Whether both recorded one event, not only the same at two times."""
    return a.digest == b.digest and a.at == b.at


def _place(position: str, a: _Placed, b: _Placed) -> tuple[int, int]:
    """Where a position stands in time, then by its place in the recording; -1 where no instant is recorded."""
    found = [marks[position] for marks in (a, b) if position in marks]
    instants = [to_epoch_us(mark.at) for _, mark in found if mark.at is not None]
    return min(instants, default=-1), min(place for place, _ in found)


def _dated(positions: Sequence[str], marks: _Placed) -> int:
    return sum(marks[position][1].at is not None for position in positions)


@dataclass(frozen=True, slots=True)
class _Later:
    """Of the equal events that have an instant, the newest, and the places of all in both recordings. What has no instant is no
    evidence: two executions may well record the same."""

    newest: datetime | None
    places: Sequence[tuple[int, int]]

    def than(self, a: tuple[int, Mark], b: tuple[int, Mark]) -> bool:
        """Whether both sides recorded what differs at one instant, or recorded one event after it."""
        (place_a, one), (place_b, two) = a, b
        if one.at is None or two.at is None:
            return any(of_a > place_a and of_b > place_b for of_a, of_b in self.places)
        return one.at == two.at or (self.newest is not None and self.newest > max(one.at, two.at))


def _partings(
    a: Reading, b: Reading, shared: Sequence[str], a_marks: MarksOf, b_marks: MarksOf, progress: Progress
) -> Iterator[tuple[str, Parting]]:
    differing = []
    for run_id in shared:
        one, two = a.runs[run_id], b.runs[run_id]
        if one.history != two.history:
            differing.append(run_id)
        elif one.status is not two.status:
            found = _by_progress(one, two)
            if found.verdict is not Verdict.SAME:
                yield run_id, found
    done = 0
    for some in _in_parts(differing, lambda run_id: max(a.runs[run_id].events, b.runs[run_id].events)):
        of_a, of_b = a_marks(some), b_marks(some)
        for run_id in some:
            one, two = a.runs[run_id], b.runs[run_id]
            found = (
                parting(of_a[run_id], of_b[run_id])
                if run_id in of_a and run_id in of_b
                else Parting(Verdict.A_AHEAD if one.events >= two.events else Verdict.B_AHEAD)  # removed meanwhile
            )
            if found.verdict is Verdict.SAME:  # written between its digest and now
                found = _by_progress(one, two)
            if found.verdict is not Verdict.SAME:
                yield run_id, found
        done += len(some)
        progress("looking at what differs", done, len(differing))


def _in_parts(run_ids: Sequence[str], events: Callable[[str], int]) -> Iterator[list[str]]:
    """The runs in the same order, as many at once as may be read in a moment."""
    part: list[str] = []
    held = 0
    for run_id in run_ids:
        part.append(run_id)
        held += events(run_id)
        if len(part) >= AT_ONCE or held >= EVENTS:
            yield part
            part, held = [], 0
    if part:
        yield part


def _by_progress(a: RunDigest, b: RunDigest) -> Parting:
    """How two recordings compare whose unchanging events are the same: what an engine changes later is progress."""
    ends = [run.finished_at for run in (a, b) if run.finished_at is not None]
    earlier = min((a, b), key=lambda run: run.finished_at or 0)
    stages = [2 if run.status.finished else 1 if run.status in _BEGUN else 0 for run in (a, b)]
    if stages[0] != stages[1]:
        verdict = Verdict.A_AHEAD if stages[0] > stages[1] else Verdict.B_AHEAD
    elif stages[0] < 2 or a.status is b.status:
        verdict = Verdict.SAME
    elif len(ends) == 2 and ends[0] != ends[1] and earlier.status is not Status.SUCCEEDED:
        verdict = Verdict.B_AHEAD if earlier is a else Verdict.A_AHEAD  # resumed after it had failed or was cancelled
    else:
        verdict = Verdict.DIVERGED
    return Parting(verdict, "end", min(ends, default=None), shared=a.events)


def _new(mine: Reading, other: Reading) -> _New:
    """The runs that only ``mine`` has: new ones, or old ones that the other, being later, no longer has."""
    only = [run for run_id, run in mine.runs.items() if run_id not in other.runs]
    kept_since = min((run.created_at for run in other.runs.values() if run.status.finished), default=0)
    if not only or (other.last_at or 0) < (mine.last_at or 0):
        return _New(only, [])
    new: list[RunDigest] = []
    removed: list[RunDigest] = []
    for run in only:  # instants of one second may be one
        (removed if run.status.finished and run.created_at <= kept_since else new).append(run)
    return _New(new, removed)


def _alike_until(
    a: Reading, b: Reading, shared: Sequence[str], partings: Mapping[str, Parting], new: Sequence[RunDigest]
) -> int | None:
    """The newest instant that both recorded before the first that differs."""
    differing = [run.created_at for run in new]
    differing += [parting.at for parting in partings.values() if parting.at is not None]
    until = min(differing, default=None)
    newest = None
    for run_id in shared:
        for run in (a.runs[run_id], b.runs[run_id]) if run_id in partings else (a.runs[run_id],):
            for at in (run.last_at, run.created_at):
                if at is not None and (until is None or at < until) and (newest is None or at > newest):
                    newest = at
    return newest


def _lead(
    mine: Reading, other: Reading, new: Sequence[RunDigest], partings: Mapping[str, Parting], ahead: Verdict
) -> Lead:
    went_on = [parting for parting in partings.values() if parting.verdict in (ahead, Verdict.DIVERGED)]
    is_a = ahead is Verdict.A_AHEAD
    events = sum(run.events for run in new) + sum(each.a_more if is_a else each.b_more for each in went_on)
    mine_at, other_at = mine.last_at, other.last_at
    later = mine_at is not None and other_at is not None and mine_at > other_at
    time = (mine_at - other_at) * MICROSECOND if later and mine_at is not None and other_at is not None else None
    return Lead(len(new), len(went_on), events, time)


def _rewrites(digests: Mapping[str, RunDigest], partings: Mapping[str, Parting]) -> tuple[Rewrite, ...]:
    found = (
        Rewrite(run_id, digests[run_id].workflow, each.position, _words(each.a), _words(each.b))
        for run_id, each in partings.items()
        if each.verdict is Verdict.REWRITTEN
    )
    return tuple(islice(found, MOST_REWRITES))


def _words(mark: Mark | None) -> str:
    if mark is None:
        return ""
    at = rfc3339(mark.at)
    return " ".join(part for part in (mark.name, f"at {at}" if at else "", f"({mark.digest.hex()[:8]})") if part)


def _independent(a: Reading, b: Reading, partings: Mapping[str, Parting]) -> Related:
    if partings:
        why = (
            f"{plural(len(partings), 'run')} have the same id in both, but no event in common: each was created twice."
        )
    elif a.runs and b.runs:
        why = f"None of the {len(a.runs):,} runs of A is among the {len(b.runs):,} of B."
    else:
        empty = " and ".join(name for name, side in (("A", a), ("B", b)) if not side.runs)
        why = f"{empty} {'hold' if ' ' in empty else 'holds'} no run."
    found = unrelated(why)
    return replace(found, partings=partings)


def _evidence(
    shared: int, partings: Mapping[str, Parting], of_a: _New, of_b: _New, alike_until: int | None
) -> Iterator[str]:
    verdicts = [each.verdict for each in partings.values()]
    same = shared - len(verdicts)
    yield f"{plural(shared, 'run')} {'is' if shared == 1 else 'are'} in both; {same:,} recorded the very same."
    for verdict, words in (
        (Verdict.A_AHEAD, "went on in A alone"),
        (Verdict.B_AHEAD, "went on in B alone"),
        (Verdict.DIVERGED, "went on in both, each in its own way"),
        (Verdict.REWRITTEN, "recorded another past"),
    ):
        if count := verdicts.count(verdict):
            yield f"{plural(count, 'run')} {words}."
    for name, side in (("A", of_a), ("B", of_b)):
        if side.new:
            since = rfc3339(from_epoch_us(min(run.created_at for run in side.new)))
            yield f"{plural(len(side.new), 'run id')} only in {name}, the first created at {since}."
    for name, other, side in (("A", "B", of_a), ("B", "A", of_b)):
        if side.removed:
            until = rfc3339(from_epoch_us(max(run.created_at for run in side.removed)))
            yield (
                f"{plural(len(side.removed), 'finished run')} of {name} created until {until} {other} no longer has: none is"
                " newer than its oldest, as after a clean-up."
            )
    if alike_until is not None:
        yield f"Both recorded the same up to {rfc3339(from_epoch_us(alike_until))}."


def _notes(
    a: Reading, b: Reading, of_a: _New, of_b: _New, partings: Mapping[str, Parting], relation: Relation
) -> Iterator[str]:
    count = len(partings)
    rewritten = sum(each.verdict is Verdict.REWRITTEN for each in partings.values())
    if rewritten > MOST_REWRITES:
        yield f"{rewritten:,} runs were rewritten; the first {MOST_REWRITES:,} are listed, all of them are pairs."
    vanished = sum(1 for each in partings.values() if not each.position)
    if vanished:
        yield f"{vanished:,} of {plural(count, 'run')} that differ were removed while they were read."
    if relation is Relation.FORKED:
        return
    for name, mine, other_name, other in (("A", of_a, "B", b), ("B", of_b, "A", a)):
        early = [run for run in mine.new if (other.first_at or 0) <= run.created_at < _end(other)]
        if early:
            yield (
                f"{plural(len(early), 'run')} of {name} began before the last event of {other_name}, which does not have them:"
                " rows are missing there, or the clocks disagree."
            )


def _end(reading: Reading) -> int:
    return reading.last_at or 0

"""What became of each step that two runs were aligned by: a verdict, and words for what changed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from runs.compare.records import Tolerance
from runs.records import NO_PAYLOADS, Payload, Payloads, Run, Status, Step, StepKind


class RowVerdict(StrEnum):
    """What became of one step."""

    SAME = "same"
    CHANGED = "changed"
    ONLY_A = "only_a"
    ONLY_B = "only_b"
    MOVED = "reordered"
    TIMING = "timing"

    @property
    def sign(self) -> str:
        """One character for it."""
        return _SIGNS[self]

    @property
    def words(self) -> str:
        """In words, where nothing better is known."""
        return _WORDS[self]


_SIGNS: Final = {
    RowVerdict.SAME: "=",
    RowVerdict.CHANGED: "~",
    RowVerdict.ONLY_A: "−",
    RowVerdict.ONLY_B: "+",
    RowVerdict.MOVED: "⇅",
    RowVerdict.TIMING: "⏱",
}
_WORDS: Final = {
    RowVerdict.SAME: "same",
    RowVerdict.CHANGED: "changed",
    RowVerdict.ONLY_A: "only A",
    RowVerdict.ONLY_B: "only B",
    RowVerdict.MOVED: "reordered",
    RowVerdict.TIMING: "time",
}
SOFT: Final = frozenset({"attempts", "time"})  # what says nothing of what a run did, only of how it went
SLOTS: Final = ("input", "result", "error")


@dataclass(frozen=True, slots=True)
class Slot:
    """One payload of both sides, ``input``, ``result`` or ``error``. ``note`` says how it was compared if not by its value."""

    name: str
    a: Payload | None
    b: Payload | None
    same: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of both runs, or of one. ``changed`` names what differs: input, kind, status, result, message, error, attempts, key,
    time."""

    number: int
    a: Step | None
    b: Step | None
    verdict: RowVerdict
    changed: tuple[str, ...] = ()
    slots: tuple[Slot, ...] = ()

    @property
    def step(self) -> Step:
        """The step of A, else of B."""
        found = self.a or self.b
        assert found is not None  # noqa: S101 - a row is of one step at least
        return found

    @property
    def differs(self) -> bool:
        return self.verdict is not RowVerdict.SAME

    @property
    def hard(self) -> bool:
        """Whether what the run did differs, not only how long it took or how often it was tried."""
        soft = self.verdict in (RowVerdict.SAME, RowVerdict.TIMING) or SOFT.issuperset(self.changed)
        return not (soft and self.a and self.b and self.verdict is not RowVerdict.MOVED)

    @property
    def words(self) -> str:
        """The verdict in words: ``error, attempts, time``."""
        named = ", ".join(self.changed)
        if self.verdict is RowVerdict.MOVED:
            return f"{RowVerdict.MOVED.words}{', ' if named else ''}{named}"
        return named or self.verdict.words

    @property
    def notes(self) -> tuple[str, ...]:
        """How payloads were compared that were not compared by value."""
        return tuple(dict.fromkeys(f"{slot.name} {slot.note}" for slot in self.slots if slot.note))


class Comparer(Protocol):
    """Compares two payloads, the first of run A, the second of run B."""

    def __call__(self, a: Payload, b: Payload) -> tuple[bool, str]:
        """Whether they say the same, and how that was found if not by value."""


def shown(steps: Iterable[Step]) -> list[Step]:
    """The steps that have a row of their own."""
    return [step for step in steps if step.folded_into is None]


def stored(steps: Iterable[Step]) -> Mapping[int, Payloads]:
    """By ordinal what is stored of a step that has a row: its own payloads, else those of the steps that its row shows."""
    found: dict[int, Payloads] = {}
    for step in steps:
        if step.payloads is NO_PAYLOADS:
            continue
        own, known = step.payloads, found.get(step.folded_into if step.folded_into is not None else step.ordinal)
        if known is not None:
            own = Payloads(known.input or own.input, known.output or own.output, known.error or own.error)
        found[step.folded_into if step.folded_into is not None else step.ordinal] = own
    return found


def pairs_of(a: Payloads, b: Payloads) -> Iterator[tuple[str, Payload | None, Payload | None]]:
    """The slots that either side has."""
    for name, one, two in ((SLOTS[0], a.input, b.input), (SLOTS[1], a.output, b.output), (SLOTS[2], a.error, b.error)):
        if one is not None or two is not None:
            yield name, one, two


def slots_of(a: Payloads, b: Payloads, same: Comparer) -> tuple[Slot, ...]:
    """The slots, compared."""
    found = []
    for name, one, two in pairs_of(a, b):
        equal, note = same(one, two) if one is not None and two is not None else (False, "")
        found.append(Slot(name, one, two, equal, note))
    return tuple(found)


def judge(
    number: int, a: Step, b: Step, slots: tuple[Slot, ...], tolerance: Tolerance, *, moved: bool = False
) -> StepRow:
    """The row of a step that both runs have."""
    changed = (*_changes(a, b, slots), *(("time",) if slower(a.duration, b.duration, tolerance) else ()))
    if moved:
        verdict = RowVerdict.MOVED
    elif changed == ("time",):
        verdict = RowVerdict.TIMING
    else:
        verdict = RowVerdict.CHANGED if changed else RowVerdict.SAME
    return StepRow(number, a, b, verdict, changed, slots)


def changed_ends(a: Run, b: Run, slots: Sequence[Slot], tolerance: Tolerance) -> tuple[str, ...]:
    """What differs of two runs themselves."""
    named = [slot.name for slot in slots if not slot.same]
    if a.status is not b.status and not _told(a.status, b.status, named):
        named.append("status")
    # Where a run's own clock is whole seconds, a second more or less says nothing.
    blur = timedelta(seconds=1) if a.coarse or b.coarse else timedelta()
    if slower(a.duration, b.duration, replace(tolerance, floor=tolerance.floor + blur)):
        named.append("time")
    return tuple(named)


def slower(a: timedelta | None, b: timedelta | None, tolerance: Tolerance) -> bool:
    """Whether two durations differ beyond the tolerance: by more than both its floor and its share of the shorter."""
    if a is None or b is None:
        return False
    return abs(a - b) > tolerance.floor and abs(a - b) > min(a, b) * tolerance.ratio


def _changes(a: Step, b: Step, slots: Sequence[Slot]) -> Iterator[str]:
    named = [slot.name for slot in slots if not slot.same]
    if "error" in named and {a.status, b.status} == {Status.FAILED, Status.SUCCEEDED}:
        named = [name for name in named if name != "result"]  # who has an error has no result
    if "input" in named:
        yield "input"
    if a.kind is not b.kind:
        yield "kind"
    if a.status is not b.status and not _told(a.status, b.status, named):
        yield "status"
    if "result" in named:
        yield "message" if a.kind is StepKind.MESSAGE else "result"
    if "error" in named or ("error" not in [slot.name for slot in slots] and a.error != b.error):
        yield "error"
    if (a.attempt_count or 1) != (b.attempt_count or 1):
        yield "attempts"
    if a.kind is StepKind.VALUE and a.detail != b.detail and "result" not in named:
        yield "key"


def _told(a: Status, b: Status, named: Sequence[str]) -> bool:
    """Whether an error on one side says already why the statuses differ."""
    return "error" in named and {a, b} == {Status.FAILED, Status.SUCCEEDED}

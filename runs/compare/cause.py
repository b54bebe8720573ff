"""Where two runs first part, and why: by rule, with evidence, the surest first. Nothing is blamed that is not recorded.

another input · another result of a step · another version of the code · the same code and results and yet another step · only
timing. A run that merely got further has not parted; one whose recorded past differs was rewritten.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runs.compare.difference import Edit
from runs.compare.records import Cause
from runs.compare.verdicts import RowVerdict, Slot, StepRow
from runs.records import Run, Status, Step
from runs.wording import duration, plural, short_id, visible

EditOf = Callable[[Slot], Edit | None]
RESULTS: Final = frozenset({"result", "message", "error", "status", "key"})
_STEP_WORDS: Final = {
    "result": "another result",
    "message": "another message",
    "error": "another outcome",
    "status": "another status",
    "input": "another input",
    "kind": "another kind of step",
    "key": "another key",
    "attempts": "tried more often",
    "time": "another duration",
}


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference. ``row`` is its row's number, None where it is of the run itself; ``position`` names it in a few words
    (``step 13``, ``input``, ``end``), ``what`` says what differs there. No ``cause`` where it can't be told; ``evidence`` are
    sentences."""

    row: int | None
    position: str
    ordinal: int | None
    what: str
    cause: Cause | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """The two runs themselves: what is stored of them, compared, and words for what differs. ``resumed`` is the
    side, A or B, whose recording is the beginning of the other's: the same run, before it went on."""

    a: Run
    b: Run
    slots: tuple[Slot, ...]
    changed: tuple[str, ...]
    resumed: str = ""

    def slot(self, name: str) -> Slot | None:
        """One of them that differs."""
        return next((slot for slot in self.slots if slot.name == name and not slot.same), None)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """The first event of one run that two databases recorded otherwise."""

    position: str
    a: str
    b: str


def find_cause(
    ends: Ends, rows: Sequence[StepRow], edit: EditOf, rewriting: Rewriting | None = None, *, payloads: bool = True
) -> Divergence | None:
    """The first difference of two runs; None where there is none, not even in their timing. ``edit`` finds the first change within
    a payload. Without ``payloads`` (two engines) no cause is looked for."""
    first = next((row for row in rows if row.hard), None)
    if rewriting is not None:
        return _rewritten(rewriting, rows)
    if not payloads:
        return _uncaused(ends, first)
    if "input" in ends.changed:
        slot = ends.slot("input")
        why = _edited(slot, edit) or "Their inputs differ."
        return Divergence(None, "input", None, "another input", Cause.INPUT, (why,))
    if first is None:
        return _at_the_end(ends, rows, edit)
    if (progress := _progress(ends, rows)) is not None:
        return _at(first, _what(first), Cause.PROGRESS, (progress,))
    before = rows[: first.number]
    if first.a and first.b and first.verdict is not RowVerdict.MOVED and not {"input", "kind"} & set(first.changed):
        return _at(first, _what(first), Cause.RESULT, (*_results(first, edit), _same_before(ends, before)))
    seen, order = _commanded(first, edit), _other_order(before)
    if _other_code(ends):
        return _at(first, _what(first), Cause.CODE, (seen, _versions(ends), order or ""))
    if order is not None:
        return _at(first, _what(first), Cause.RESULT, (order,))
    return _at(first, _what(first), Cause.NONDETERMINISM, (seen, _blame(ends, before)))


def blast(rows: Sequence[StepRow], first: Divergence | None) -> Mapping[RowVerdict, int]:
    """How many rows after the first difference differ, by verdict."""
    start = 0 if first is None or first.row is None else first.row + 1
    return Counter(row.verdict for row in rows[start:] if row.differs)


def blast_words(counts: Mapping[RowVerdict, int]) -> str:
    """``1 step changed after it, 2 are only in B.``"""
    said: list[str] = []
    for verdict, words in (
        (RowVerdict.CHANGED, "changed"),
        (RowVerdict.MOVED, "moved"),
        (RowVerdict.ONLY_A, "only in A"),
        (RowVerdict.ONLY_B, "only in B"),
        (RowVerdict.TIMING, "took another time"),
    ):
        if count := counts.get(verdict, 0):
            said.append(f"{plural(count, 'step') if not said else f'{count:,}'} {words}")
    return f"After it: {', '.join(said)}." if said else ""


def place_of(row: StepRow) -> str:
    """``step 13``; where a step has another place in B, ``step 13, in B 15``."""
    if row.a and row.b and row.a.ordinal != row.b.ordinal:
        return f"step {row.a.ordinal}, in B {row.b.ordinal}"
    return f"step {row.step.ordinal}"


def _at(row: StepRow, what: str, cause: Cause | None, evidence: tuple[str, ...]) -> Divergence:
    return Divergence(row.number, place_of(row), row.step.ordinal, what, cause, tuple(filter(None, evidence)))


def _what(row: StepRow) -> str:
    if row.verdict in (RowVerdict.ONLY_A, RowVerdict.ONLY_B):
        return f"only in {'A' if row.a else 'B'}"
    if row.verdict is RowVerdict.MOVED:
        return "in another order"
    return _STEP_WORDS[row.changed[0]] if row.changed else "the same"


def _rewritten(rewriting: Rewriting, rows: Sequence[StepRow]) -> Divergence:
    number = rewriting.position.rpartition(" ")[2]
    row = next((row for row in rows if row.differs and str(row.step.ordinal) == number), None)
    why = f"At {rewriting.position} A recorded {rewriting.a or 'nothing'}, B {rewriting.b or 'nothing'}."
    rule = "An engine never changes what it has recorded there: one of the files was changed by something else."
    ordinal = row.step.ordinal if row else None
    return Divergence(
        row.number if row else None, rewriting.position, ordinal, "another past", Cause.REWRITTEN, (why, rule)
    )


def _uncaused(ends: Ends, first: StepRow | None) -> Divergence | None:
    why = ("They ran on two engines: no cause was looked for.",)
    if first is not None:
        return _at(first, _what(first), None, why)
    return Divergence(None, "end", None, "another status", None, why) if "status" in ends.changed else None


def _at_the_end(ends: Ends, rows: Sequence[StepRow], edit: EditOf) -> Divergence | None:
    """All steps say the same: what the runs came to, then how long things took."""
    differing = [name for name in ("error", "result", "status") if name in ends.changed]
    if not differing:
        return _timing(ends, rows)
    slot = ends.slot(differing[0])
    both = slot is not None and slot.a is not None and slot.b is not None
    why = _edited(slot, edit) if both else f"A {_ended(ends.a)}, B {_ended(ends.b)}."
    what = _STEP_WORDS[differing[0]]
    if (stopped := _stopped(ends)) is not None:
        return Divergence(None, "end", None, what, Cause.PROGRESS, (stopped,))
    if not rows:
        return Divergence(None, "end", None, what, Cause.RESULT, (why, "No steps are recorded of either."))
    if _other_code(ends):
        return Divergence(None, "end", None, what, Cause.CODE, (why, _versions(ends)))
    return Divergence(None, "end", None, what, Cause.NONDETERMINISM, (why, _blame(ends, rows)))


def _timing(ends: Ends, rows: Sequence[StepRow]) -> Divergence | None:
    slow = next((row for row in rows if row.differs), None)
    if slow is not None and slow.a and slow.b:
        if "time" in slow.changed:
            why = f"{_name(slow)} took {duration(slow.a.duration)} in A and {duration(slow.b.duration)} in B."
        else:
            why = (
                f"{_name(slow)} was tried {slow.a.attempt_count or 1} times in A and {slow.b.attempt_count or 1} in B."
            )
        return _at(slow, _what(slow), Cause.TIMING, (why, "Inputs, results and the order of steps are the same."))
    if "time" in ends.changed:
        why = f"A took {duration(ends.a.duration)}, B {duration(ends.b.duration)}, and no single step tells why."
        return Divergence(None, "end", None, "another duration", Cause.TIMING, (why,))
    return None


def _progress(ends: Ends, rows: Sequence[StepRow]) -> str | None:
    """Why only one of them went on: every difference is a step that one side has not reached, or not ended."""
    for behind, ahead, only in (("A", "B", RowVerdict.ONLY_B), ("B", "A", RowVerdict.ONLY_A)):
        run, other = (ends.a, ends.b) if behind == "A" else (ends.b, ends.a)
        if not _left_off(run, other, resumed=ends.resumed == behind):
            continue
        if all(row.verdict is only or _not_ended(row, behind) for row in rows if row.hard):
            done = sum(1 for row in rows if row.verdict is only)
            more = f", {plural(done, 'step')} further" if done else ""
            return f"{behind} {_state(run)}; {ahead} went on{more}. Up to there they are the same."
    return None


def _left_off(run: Run, other: Run, *, resumed: bool) -> bool:
    """Whether a run ended where it did for no reason of its own code."""
    stopped = run.status is Status.CANCELLED and other.status is not Status.CANCELLED
    return resumed or stopped or not run.status.finished


def _not_ended(row: StepRow, side: str) -> bool:
    step, other = (row.a, row.b) if side == "A" else (row.b, row.a)
    if step is None or other is None or row.verdict is RowVerdict.MOVED or {"input", "kind"} & set(row.changed):
        return False
    return not step.status.finished or (step.status is Status.CANCELLED and other.status is not Status.CANCELLED)


def _stopped(ends: Ends) -> str | None:
    for name, other_name, run, other in (("A", "B", ends.a, ends.b), ("B", "A", ends.b, ends.a)):
        if _left_off(run, other, resumed=ends.resumed == name):
            return f"{name} {_state(run)}; {other_name} {_state(other)}. Their steps are the same."
    return None


def _state(of: Run | Step) -> str:
    return {
        Status.FAILED: "failed",
        Status.SUCCEEDED: "succeeded",
        Status.CANCELLED: "was cancelled",
        Status.UNKNOWN: f"is {visible(of.native_status)}",
    }.get(of.status, f"is {of.status}")


def _results(row: StepRow, edit: EditOf) -> tuple[str, ...]:
    a, b = row.a, row.b
    said = []
    for slot in row.slots:
        if not slot.same and slot.a is not None and slot.b is not None and (words := _edited(slot, edit)):
            said.append(words)
    if not said and a and b:
        said.append(f"It {_ended(a)} in A and {_ended(b)} in B.")
    return tuple(said)


def _ended(of: Run | Step) -> str:
    """``failed (TimeoutError: no answer)``."""
    error = f" ({visible(': '.join(filter(None, (of.error.type, of.error.message))))[:200]})" if of.error else ""
    return _state(of) + error


def _edited(slot: Slot | None, edit: EditOf) -> str:
    found = edit(slot) if slot is not None and slot.a is not None and slot.b is not None else None
    if found is not None:
        return f"{found.sentence}."
    return f"The {slot.name} differs{f' ({slot.note})' if slot.note else ''}." if slot is not None else ""


def _commanded(row: StepRow, edit: EditOf) -> str:
    """What the code did at the first row that its results don't explain."""
    if row.verdict is RowVerdict.MOVED:
        return f"{_name(row)} comes in another order."
    if row.a and row.b:
        return next((_edited(slot, edit) for slot in row.slots if slot.name == "input" and not slot.same), "")
    return f"{'A' if row.a else 'B'} went on with {_name(row)} here, {'B' if row.a else 'A'} did not."


def _other_order(before: Sequence[StepRow]) -> str | None:
    """Whether the same results came in another order, to which code may answer in another way."""
    both = [(row.a.finished_at, row.b.finished_at, row) for row in before if row.a and row.b]
    timed = [(a, b, row) for a, b, row in both if a is not None and b is not None]
    in_a = [row for _, _, row in sorted(timed, key=lambda entry: (entry[0], entry[2].number))]
    in_b = [row for _, _, row in sorted(timed, key=lambda entry: (entry[1], entry[2].number))]
    for one, two in zip(in_a, in_b, strict=True):
        if one is not two:
            return (
                "The results before it are the same but came in another order: "
                f"{_name(one)} ({place_of(one)}) before {_name(two)} ({place_of(two)}) in A, after it in B."
            )
    return None


def _same_code(ends: Ends) -> bool:
    return ends.a.version is not None and ends.a.version == ends.b.version


def _other_code(ends: Ends) -> bool:
    return ends.a.version is not None and ends.b.version is not None and ends.a.version != ends.b.version


def _versions(ends: Ends) -> str:
    return f"The code is {short_id(ends.a.version or '')} in A and {short_id(ends.b.version or '')} in B."


def _same_before(ends: Ends, before: Sequence[StepRow]) -> str:
    if not before:
        return "It is the first step."
    if _same_code(ends):
        return f"Code and {_count(before)} before it are the same."
    return f"{_count(before).capitalize()} before it {'is' if len(before) == 1 else 'are'} the same."


def _blame(ends: Ends, before: Sequence[StepRow]) -> str:
    same = f"input{f', code ({short_id(ends.a.version)})' if ends.a.version and _same_code(ends) else ''}"
    same += f" and {_count(before)} before it" if before else ""
    said = f"{same[:1].upper()}{same[1:]} {'are' if ' ' in same else 'is'} the same"
    if not _same_code(ends):
        return f"{said}. No version of the code is recorded of both: it may be another."
    return f"{said}: what the code does next depends on something that is not recorded."


def _count(before: Sequence[StepRow]) -> str:
    return "the one result" if len(before) == 1 else f"all {len(before):,} results"


def _name(row: StepRow) -> str:
    return visible(row.step.name)[:120]

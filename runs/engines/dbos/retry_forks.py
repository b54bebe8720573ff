"""One fork, and below it the forks of the failed children whose results it reads again: all are appended together.

A child's result is read by its id. So the copied step that started it names the child's fork instead, and the step that read
its result goes again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runs.engines.dbos import retry_facts
from runs.engines.dbos.retry_checks import is_first
from runs.engines.dbos.retry_facts import Origin, StepRow
from runs.engines.dbos.retry_rows import STREAMING, rows
from runs.engines.dbos.retry_start import AUTO, Choice, NoChoice, choose
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import whole
from runs.engines.dbos.vocabulary import GET_RESULT
from runs.records import Status
from runs.retry import Change, Options, Part

DEEP, WHOLE = "deep", "whole"
DEEPEST = 50  # runs below each other that are forked together
_SHOWN = 5  # numbers named in one sentence

_STREAMED = "SELECT DISTINCT t.function_id FROM {schema}streams t WHERE t.workflow_uuid = :run"


@dataclass(frozen=True, slots=True)
class Fork:
    """``children`` replaces ids of child runs in the steps that are copied; ``below`` are the forks made for that."""

    run: Origin
    new_id: str
    steps: Sequence[StepRow]
    choice: Choice
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    children: Mapping[str, str] = field(default_factory=dict)
    below: tuple["Fork", ...] = ()

    def all(self) -> Iterator["Fork"]:
        """This one, and all below it."""
        yield self
        for fork in self.below:
            yield from fork.all()

    def parts(self, *, again: bool) -> Iterator[Part]:
        """The steps that go again or are kept. Where no recorded one goes again, the run's body does."""
        found = [step for step in self.steps if self.choice.again(step.ordinal) is again]
        if again and not found:
            yield Part(None, self.run.name, self.run.id)
        for step in found:
            yield Part(step.ordinal, step.name, self.run.id)


@dataclass(slots=True)
class _Children:
    replaced: dict[str, str] = field(default_factory=dict)
    below: list[Fork] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def fork(snapshot: Snapshot, run: Origin, options: Options, above: tuple[str, ...] = ()) -> Fork:
    """The fork of a run that has ended. Raises NoChoice where the options, or the run, allow none."""
    if run.id in above or len(above) >= DEEPEST:
        raise NoChoice(
            "Its children wait for each other, or lie too deep to be retried together: retry the lowest first."
        )
    if not run.input_row and not run.input_column:
        raise NoChoice(f"The input of {run.id} is no longer recorded: start the workflow anew.")
    steps = retry_facts.steps(snapshot, run.id)
    if any(step.ordinal < 0 for step in steps):
        raise NoChoice(f"A step of {run.id} has no number: retry it with the engine's own tools.")
    first = 0 if snapshot.schema.is_go else 1
    choice = choose(run, steps, options.start, first, lambda step: retry_facts.error_of(snapshot, run.id, step))
    if options.children == WHOLE:
        choice = _with_children(run, steps, choice)
    _require_replayable(snapshot, run, steps, choice)
    children = _children(snapshot, run, steps, choice, options, (*above, run.id))
    new_id = retry_facts.next_id(snapshot, run.id)
    written = rows(snapshot, run, new_id, steps, choice.again, children.replaced, options.pin)
    return Fork(
        run=run,
        new_id=new_id,
        steps=steps,
        choice=choice,
        changes=written.changes,
        warnings=(*choice.warnings, *children.warnings, *written.warnings, *_holes(run, steps, choice, first)),
        children=children.replaced,
        below=tuple(children.below),
    )


def _read_again(run: Origin, steps: Sequence[StepRow], choice: Choice) -> list[StepRow]:
    """The kept steps that started a child whose result is read again. A run that was cut short may have been waiting for
    any child whose result it has not recorded."""
    again = {step.child for step in steps if step.name == GET_RESULT and choice.again(step.ordinal)}
    read = {step.child for step in steps if step.name == GET_RESULT}
    return [
        step
        for step in steps
        if step.starts_child
        and not choice.again(step.ordinal)
        and (step.child in again or (run.native != "ERROR" and step.child not in read))
    ]


def _ended_badly(step: StepRow) -> bool:
    return step.child_status in (Status.FAILED, Status.CANCELLED)


def _with_children(run: Origin, steps: Sequence[StepRow], choice: Choice) -> Choice:
    """The same from the steps that started the failed children: each is started anew, under a new id."""
    while found := [
        step for step in _read_again(run, steps, choice) if _ended_badly(step) or step.child_native is None
    ]:
        for step in found:
            if not _generated(step):
                raise NoChoice(
                    f"The child {step.child} was given its id by the workflow, so it is not started anew: choose "
                    "children=deep, which goes on with it where it failed."
                )
        choice = choice.wider([step.ordinal for step in found])
    return choice


def _generated(step: StepRow) -> bool:
    """Whether the engine gave the child its id, ``<parent>-<ordinal>``: then the retry's has another."""
    return (step.child or "").endswith(f"-{step.ordinal}")


def _require_replayable(snapshot: Snapshot, run: Origin, steps: Sequence[StepRow], choice: Choice) -> None:
    if is_first(snapshot.schema) and any(step.name in STREAMING and not choice.again(step.ordinal) for step in steps):
        raise NoChoice(
            "It wrote to a stream before the step it would go on from, and dbos 1.x hangs when it meets that again: "
            "choose a step before that, or update dbos."
        )
    if choice.only is not None and snapshot.schema.has("streams", "function_id"):
        streamed = {whole(number) for (number,) in snapshot.rows(_STREAMED, {"run": run.id})}
        if loud := sorted(choice.only & streamed):
            raise NoChoice(
                f"Only the failed steps can't be run again: step {loud[0]} wrote to a stream, which would lack that. "
                "Choose auto, or a step."
            )


def _children(
    snapshot: Snapshot,
    run: Origin,
    steps: Sequence[StepRow],
    choice: Choice,
    options: Options,
    above: tuple[str, ...],
) -> _Children:
    found = _Children()
    waited_for = _read_again(run, steps, choice)
    for step in waited_for:
        child = step.child or ""
        if child in found.replaced:
            continue
        if step.child_native is None:
            raise NoChoice(
                f"Its child {child} is no longer in the database: choose children=whole, or step {step.ordinal}."
            )
        if not step.child_status or not step.child_status.finished:
            found.warnings.append(
                f"It waits for its child {child}, which is {step.child_native} and goes on by itself."
            )
        elif _ended_badly(step):
            _replace(snapshot, child, options, above, found)
    known = {step.child for step in steps if step.starts_child}
    for step in steps:
        if step.name == GET_RESULT and choice.again(step.ordinal) and step.child not in known and _ended_badly(step):
            found.warnings.append(
                f"Step {step.ordinal} reads the result of {step.child}, which {run.id} did not start: it reads the same "
                "failure again."
            )
        if step.starts_child and choice.again(step.ordinal) and not _generated(step) and step.child_native:
            found.warnings.append(
                f"Step {step.ordinal} starts {step.child}, an id that is taken: it is not run again, what it came to "
                f"({step.child_native}) is read."
            )
    read = {step.child for step in steps if step.name == GET_RESULT}
    found.warnings += [
        f"Its child {step.child} ended with {step.child_native} and nothing shows that it was waited for: it stays as it is."
        for step in steps
        if step.starts_child and not choice.again(step.ordinal) and step not in waited_for and step.child not in read
        and _ended_badly(step)
    ]  # fmt: skip
    return found


def _replace(snapshot: Snapshot, child: str, options: Options, above: tuple[str, ...], found: _Children) -> None:
    """The child's place is taken by its fork: one that there is already, unless that failed too."""
    if standing := retry_facts.standing(snapshot, child):
        found.replaced[child] = standing[0]
        found.warnings.append(f"Its child {child} was already retried: the result of {standing[0]} is used.")
        return
    run = retry_facts.origin(snapshot, child)
    if run is None:
        raise NoChoice(f"Its child {child} is no longer in the database: choose children=whole.")
    below = fork(snapshot, run, Options(start=AUTO, children=DEEP, pin=options.pin), above)
    found.replaced[child] = below.new_id
    found.below.append(below)


def _holes(run: Origin, steps: Sequence[StepRow], choice: Choice, first: int) -> tuple[str, ...]:
    """Numbers before the start that no row has: steps that had not ended, or transactions kept in another database."""
    missing: list[int] = []
    expected = first
    for step in steps:
        if choice.again(step.ordinal) and choice.only is None:
            break
        missing += range(expected, min(step.ordinal, expected + _SHOWN + 1))
        expected = step.ordinal + 1
    if not missing:
        return ()
    shown = ", ".join(str(number) for number in missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
    plural = len(missing) > 1
    return (
        f"Step{'s' if plural else ''} {shown} of {run.id} {'are' if plural else 'is'} not recorded here (not ended then, or a "
        "transaction kept in another database) and may run again.",
    )

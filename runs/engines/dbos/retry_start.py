"""Which steps of a run go again, from what is recorded. Pure: nothing is read here.

A fork keeps what came before its start step and runs the rest again. ``failed-only`` keeps everything but the failed steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from runs.engines.dbos.retry_facts import Origin, StepRow, Told
from runs.engines.dbos.vocabulary import GET_RESULT, SLEEP, WAITS
from runs.records import Status

AUTO = "auto"
FAILED_ONLY = "failed-only"


@dataclass(frozen=True, slots=True)
class Choice:
    """Every step from ``start`` on goes again, or, where ``only`` is given, those alone. ``why`` says so in words."""

    start: int
    why: str
    only: frozenset[int] | None = None
    warnings: tuple[str, ...] = ()

    def again(self, ordinal: int) -> bool:
        return ordinal >= self.start if self.only is None else ordinal in self.only

    def wider(self, ordinals: Sequence[int]) -> "Choice":
        """The same with these steps going again too."""
        if self.only is not None:
            return replace(self, only=self.only | set(ordinals))
        return replace(self, start=min(self.start, *ordinals))


class NoChoice(Exception):
    """The choice can't be followed; the text says why and what to do."""


def choose(
    run: Origin, steps: Sequence[StepRow], start: str, first: int, error_of: Callable[[int], Told | None]
) -> Choice:
    """What goes again. ``first`` is the number of a run's first step: 1 in Python, 0 in Go. Raises NoChoice."""
    after = max((step.ordinal for step in steps), default=first - 1) + 1
    if start == AUTO:
        return _automatic(run, steps, after, error_of)
    if start == FAILED_ONLY:
        return Choice(after, "only the steps that failed go again", only=_failed_only(run, steps))
    if not start.isascii() or not start.isdigit() or len(start) > 9:
        raise NoChoice(f"{start[:50]!r} is no step: give auto, failed-only or a step's number.")
    return _chosen(run, steps, int(start), first, after)


def _automatic(run: Origin, steps: Sequence[StepRow], after: int, error_of: Callable[[int], Told | None]) -> Choice:
    if run.status is Status.CANCELLED:
        return Choice(
            after, "it was cancelled: it goes on after its last recorded step", warnings=_cut_short(run, steps)
        )
    if run.native != "ERROR":
        return Choice(
            after, "it was given up: it goes on after its last recorded step", warnings=_cut_short(run, steps)
        )
    failed = _fatal(run, steps, error_of)
    if failed is None:
        return Choice(
            after, "the error was raised in its body, after its last recorded step", warnings=_body_only(steps)
        )
    start = _with_siblings(steps, failed)
    if start is failed:
        return Choice(start.ordinal, f"step {start.ordinal}, {start.name}, failed it")
    why = f"step {failed.ordinal}, {failed.name}, failed it, while step {start.ordinal}, {start.name}, was failing too"
    return Choice(start.ordinal, why)


def _fatal(run: Origin, steps: Sequence[StepRow], error_of: Callable[[int], Told | None]) -> StepRow | None:
    """The step whose error became the run's: by its bytes; else the last one, where it says the same. A portable run writes
    its error in another form than its steps do, with a message that only the error's own class could make of theirs."""
    same = [step for step in steps if step.fatal]
    if same:
        return same[-1]
    if not steps or not steps[-1].failed or steps[-1].transaction or run.error is None:
        return None
    told = error_of(steps[-1].ordinal)
    if told is None or told.summary.type != run.error.summary.type:
        return None
    return steps[-1] if told.summary == run.error.summary or told.form != run.error.form else None


def _body_only(steps: Sequence[StepRow]) -> tuple[str, ...]:
    if steps and steps[-1].failed:
        step = f"step {steps[-1].ordinal}, {steps[-1].name}"
        return (f"Its last step failed too, and is kept: if that is why, choose {step}, to have it run again.",)
    return ("No step failed it: only its body goes again, and fails alike unless code or data changed.",)


def _with_siblings(steps: Sequence[StepRow], failed: StepRow) -> StepRow:
    """The first of the failed steps that ran beside this one: kept, its error would fail the retry in the same way.
    One that had ended before this one began was caught by the workflow, and stays."""
    start = failed
    for step in reversed([step for step in steps if step.failed and step.ordinal < failed.ordinal]):
        if step.completed_at and start.started_at and step.completed_at >= start.started_at:
            start = step
    return start


def _failed_only(run: Origin, steps: Sequence[StepRow]) -> frozenset[int]:
    failed = [step for step in steps if step.failed]
    if run.native != "ERROR" or not failed:
        raise NoChoice("Only the failed steps can't be run again: it did not fail, or no step of it did. Choose auto.")
    instead = "Choose auto, or a step."
    for step in failed:
        for other in steps:
            if other.ordinal == step.ordinal:
                continue
            if other.started_at is None or step.completed_at is None:
                raise NoChoice(
                    "Only the failed steps can't be run again: not every step has its times recorded, so a later one "
                    f"may have built on the failure. {instead}"
                )
            if other.started_at > step.completed_at:
                raise NoChoice(
                    f"Only the failed steps can't be run again: step {other.ordinal}, {other.name}, began after step "
                    f"{step.ordinal}, {step.name}, had failed, and may have built on that. {instead}"
                )
    return frozenset(step.ordinal for step in failed)


def _chosen(run: Origin, steps: Sequence[StepRow], start: int, first: int, after: int) -> Choice:
    names = {step.ordinal: step.name for step in steps}
    if start not in names and start != after:
        raise NoChoice(f"It has no step {start}: choose one from {first} to {after}, which is after its last one.")
    if names.get(start) == SLEEP and names.get(start - 1) in WAITS:
        start -= 1  # the timeout of a recv or getEvent goes with it
    warnings = [
        f"Step {step.ordinal}, {step.name}, which failed the run, is kept: its error is raised again."
        for step in steps
        if step.fatal and step.ordinal < start and step.name != GET_RESULT
    ]
    why = f"from step {start}, as chosen" if start in names else "after its last recorded step, as chosen"
    if run.native != "ERROR":
        warnings += _cut_short(run, steps)
    return Choice(start, why, warnings=tuple(warnings))


def _cut_short(run: Origin, steps: Sequence[StepRow]) -> tuple[str, ...]:
    word = "was cancelled" if run.status is Status.CANCELLED else "was given up"
    warnings = [f"{run.id} {word}: whatever it was doing then is not recorded, and goes again."]
    if steps and steps[-1].name == SLEEP:
        warnings.append(f"Step {steps[-1].ordinal}, a sleep or a timeout, keeps its wake-up time.")
    return tuple(warnings)

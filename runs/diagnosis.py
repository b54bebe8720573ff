"""What happened to a run, in words: the first thing a person reads. Pure; says only what the records hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs import clock, wording
from runs.records import Run, Status, Step, StepKind
from runs.timeline.spans import Tone, tone

STALE = timedelta(minutes=5)  # an unfinished run in a file without newer events was "running when last written"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``lead`` + the named step + ``after`` is one bold sentence; ``rest`` follows it. ``step`` is None where none is to blame."""

    tone: Tone
    lead: str
    step: Step | None = None
    after: str = ""
    rest: str = ""


def known_until(run: Run, newest: datetime | None) -> tuple[datetime, bool]:
    """The last instant that is known about a run, and whether its file is stale: now while somebody writes it, its ``newest``
    recorded event once nobody did for a while; for a finished run its own last instant."""
    own = max(moment for moment in (run.last_event_at, run.finished_at, run.created_at) if moment is not None)
    if run.status.finished:
        return own, False
    present, seen = clock.now(), max(own, newest or own)
    return (seen, True) if present - seen > STALE else (max(present, seen), False)


def failing_step(run: Run, steps: Sequence[Step]) -> Step | None:
    """The step whose failure became the run's: the last one that failed with the run's own error, or with one that the run's
    error quotes; else the step that ended last, if it failed. None for an error of the workflow's own code, and for a failure
    that was caught."""
    if run.status is not Status.FAILED:
        return None
    shown = [step for step in steps if step.folded_into is None and not step.inherited]
    failed = [step for step in shown if step.status is Status.FAILED]
    message = run.error.message if run.error else ""
    for quotes in (str.__eq__, str.__contains__):
        same = [
            step
            for step in failed
            if message and step.error and step.error.message and quotes(message, step.error.message)
        ]
        if same:
            return same[-1]
    last = max(
        shown, key=lambda step: (step.finished_at or step.started_at or run.created_at, step.ordinal), default=None
    )
    return last if last in failed else None


def diagnose(run: Run, steps: Sequence[Step], as_of: datetime) -> Diagnosis | None:
    """The run in one or two sentences, or None where there is nothing to say beyond its status."""
    describe = {
        Status.FAILED: _failed,
        Status.SUCCEEDED: _succeeded,
        Status.CANCELLED: _cancelled,
        Status.RETRYING: _retrying,
    }.get(run.status, _unfinished)
    return describe(run, steps, as_of)


def _failed(run: Run, steps: Sequence[Step], as_of: datetime) -> Diagnosis:
    error = run.error
    words = f": {error.type}." if error else "."
    message = _sentence(error.message) if error else ""
    step = failing_step(run, steps)
    if step is not None:
        tried = f" after {step.attempt_count} attempts" if (step.attempt_count or 0) > 1 else ""
        return Diagnosis(Tone.FAIL, f"Failed at step {step.ordinal}", step, tried + words, _join(message, run.reason))
    if not steps:
        tried = f" after {run.attempts} attempts" if run.tries and (run.attempts or 0) > 1 else ""
        return Diagnosis(Tone.FAIL, f"Failed{tried}{words}", rest=_join(message, run.reason))
    last = max(steps, key=lambda step: step.ordinal)
    where = f"Failed in the workflow’s own code, after step {last.ordinal}"
    return Diagnosis(Tone.FAIL, where, last, words, _join(message, run.reason))


def _succeeded(run: Run, steps: Sequence[Step], as_of: datetime) -> Diagnosis | None:
    again = [step for step in steps if (step.attempt_count or 0) > 1 and not step.inherited]
    caught = [
        step for step in steps if step.status is Status.FAILED and not step.inherited and step.folded_into is None
    ]
    if again:
        worst = max(again, key=lambda step: step.attempt_count or 0)
        more = (
            f" {wording.plural(len(again) - 1, 'other step')} needed more than one as well." if len(again) > 1 else ""
        )
        return Diagnosis(
            Tone.RETRY,
            f"Succeeded, but only after {worst.attempt_count} attempts of step {worst.ordinal}",
            worst,
            ".",
            more.strip(),
        )
    if caught:
        step = caught[-1]
        words = (
            f" with {step.error.type}, which the workflow went on from."
            if step.error
            else ", which the workflow went on from."
        )
        return Diagnosis(Tone.OK, f"Succeeded. Step {step.ordinal}", step, f" failed{words}")
    if run.tries and (run.attempts or 0) > 1:
        return Diagnosis(Tone.RETRY, f"Succeeded after {run.attempts} attempts.")
    return Diagnosis(Tone.OK, _capital(run.reason)) if run.reason else None


def _cancelled(run: Run, steps: Sequence[Step], as_of: datetime) -> Diagnosis:
    busy = [step for step in steps if step.status is Status.CANCELLED and not step.inherited]
    if busy:
        step = busy[-1]
        return Diagnosis(Tone.QUIET, f"Cancelled during step {step.ordinal}", step, ".", _sentence(run.reason))
    done = max((step.ordinal for step in steps), default=None)
    lead = "Cancelled before any step." if done is None else f"Cancelled after step {done}."
    return Diagnosis(Tone.QUIET, lead, rest=_sentence(run.reason))


def _retrying(run: Run, steps: Sequence[Step], as_of: datetime) -> Diagnosis:
    failed = run.error
    times = f" {run.attempts} times" if (run.attempts or 0) > 1 else ""
    lead = f"Failed{times}: {failed.type}." if failed else f"Failed{times}."
    due = ""
    if run.due_at is not None:
        wait = run.due_at - as_of
        due = (
            f"The next attempt is due in {wording.duration(wait)}."
            if wait > timedelta()
            else "The next attempt is due: it needs only an engine."
        )
    return Diagnosis(Tone.RETRY, lead, rest=_join(_sentence(failed.message) if failed else "", due, run.reason))


def _unfinished(run: Run, steps: Sequence[Step], as_of: datetime) -> Diagnosis | None:
    waiting = [
        step
        for step in steps
        if step.status
        in (Status.RUNNING, Status.WAITING, Status.RETRYING, Status.QUEUED, Status.SCHEDULED, Status.PAUSED)
        and not step.inherited
        and step.folded_into is None
    ]
    if run.status is Status.UNKNOWN:
        return Diagnosis(
            Tone.QUIET, f"The engine says {run.native_status!r}, a word that is not known here.", rest=run.reason
        )
    if waiting:
        step = waiting[-1]
        others = f" and {wording.plural(len(waiting) - 1, 'other step')}" if len(waiting) > 1 else ""
        verb = {
            StepKind.SLEEP: "Asleep at step",
            StepKind.CHILD_RUN: "Waiting for child at step",
            StepKind.MESSAGE: "Waiting for a message at step",
        }.get(step.kind, "At step")
        since = f", since {wording.duration(as_of - step.started_at)}" if step.started_at else ""
        return Diagnosis(tone(run.status), f"{verb} {step.ordinal}", step, f"{others}{since}.", _join(run.reason))
    return Diagnosis(tone(run.status), _capital(_sentence(run.reason))) if run.reason else None


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?…:" else f"{text}."


def _capital(text: str) -> str:
    # Only a word begins a sentence: a name such as shipping_failed stays as it was recorded.
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() else text


def _join(*parts: str) -> str:
    return " ".join(_capital(_sentence(part)) for part in parts if part)

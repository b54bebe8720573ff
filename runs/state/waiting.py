"""Retries that were appended paused, as they are recorded: until they are released, or deleted again.

Each change is made only where the retry still waits: whoever comes second, another server or another person, finds it done. Whoever
did it, and says which rows, is recorded even where somebody has seen it done, and recorded that, in between.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from runs.appending import Appended
from runs.errors import DurascopeError
from runs.retry import Operation
from runs.state import audit, jobs, retries
from runs.state.models import Progress, Retry

By = tuple[str, str]  # who, and from where


def held(retry: Retry, done: Appended) -> Retry:
    """A retry that was appended paused."""
    retries.describe(retry, done)
    retry.progress = Progress.HELD
    outcome = f"{done.count:,} rows were appended, paused; {done.new_run} waits for its release."
    with transaction.atomic():
        retry.save()
        audit.add(Progress.HELD, retry, outcome, rows=done.rows, before=done.before, after=done.after)
    return retry


def found_held(retry: Retry, new_run: str, rows: Sequence[Any]) -> Retry:
    """A retry whose process was killed after it had appended it; its rows are those that the database tells."""
    retry.progress = Progress.HELD
    retry.new_run = new_run
    retry.operation = Operation.FORK
    retry.appended_at = retry.asked_at
    retry.rows = list(rows)
    with transaction.atomic():
        retry.save()
        outcome = f"The process ended early; {new_run} was found afterwards, and waits for its release."
        audit.add(Progress.HELD, retry, outcome, rows=rows)
    return retry


def waits(retry: Retry, words: str, by: By, *, error: str = "") -> Retry:
    """It goes on waiting, and why; ``error`` names what it is about to end with."""
    return _change(retry, Progress.HELD, words, by, detail=words, error=error)


def released(retry: Retry, words: str, by: By, at: datetime, rows: Sequence[Any]) -> Retry:
    """It goes on: ``rows`` were changed for that."""
    both = [*retry.rows, *rows]
    return _change(retry, Progress.APPENDED, words, by, rows, detail="", error="", released_at=at, rows=both)


def found_released(retry: Retry, by: By) -> Retry:
    """It goes on; nobody recorded when, nor by which rows: so there is no SQL that would take it back."""
    words = "It is not paused any more: it was found released."
    return _change(retry, Progress.APPENDED, words, by, detail="", error="", rows=[])


def withdrawn(retry: Retry, problem: DurascopeError, words: str, by: By, rows: Sequence[Any] = ()) -> Retry:
    """What was appended is not there any more, because of that problem."""
    return _change(retry, Progress.REFUSED, words, by, rows, detail=words, error=type(problem).__name__)


def _change(
    retry: Retry, progress: Progress, outcome: str, by: By, done: Sequence[Any] = (), **values: object
) -> Retry:
    with transaction.atomic():
        found = Retry.objects.get(pk=retry.pk)
        if done or found.progress == Progress.HELD:
            found.progress = progress
            for name, value in values.items():
                setattr(found, name, value)
            found.save()
            audit.add(progress, found, outcome, rows=done, by=by)
            jobs.told(found)
    return found

"""Retries as they are recorded: begun before anything is appended, ended with what became of it; each with its entry of the audit.

One that stays ``asked`` belongs to a process that was killed between the two: runs.following finds out what it did.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q

from runs import clock
from runs.appending import Appended
from runs.errors import DurascopeError, KeyUsed, RetryNotFound
from runs.retry import Operation, Options
from runs.state import audit, place
from runs.state.models import Item, Progress, Retry

THERE = (Progress.HELD, Progress.APPENDED)  # whose rows are in the database

JOB_KEY = "job-"  # how the keys of retries begin that a job makes


@dataclass(frozen=True, slots=True)
class Request:
    """What a person confirmed. ``key``: a client's Idempotency-Key, empty for none. ``operation``: what the plan does, where it was
    still the confirmed one."""

    database: str
    place: str
    run: str
    options: Options
    digest: str
    reason: str
    who: str
    where: str
    key: str = ""
    operation: str = ""


def begin(request: Request) -> tuple[Retry, bool]:
    """A new retry with its entry; or the one that the same key began, and False. Raises KeyUsed where that was another."""
    facts = asdict(request) | {"options": options_object(request.options), "key": request.key or None}
    retry = Retry(**facts, asked_at=clock.now())
    try:
        with place.recording(), transaction.atomic():
            retry.save(force_insert=True)
            audit.add(Progress.ASKED, retry, "Confirmed; about to be appended.")
    except IntegrityError:
        known = Retry.objects.get(key=request.key)
        if (known.database, known.run, known.digest) != (request.database, request.run, request.digest):
            raise KeyUsed(remedy="Use a new key for each retry.") from None
        return known, False
    return retry, True


def appended(retry: Retry, done: Appended) -> Retry:
    """Ends a retry with what was appended."""
    describe(retry, done)
    retry.progress = Progress.APPENDED
    outcome = f"{done.count:,} rows were changed; {done.new_run} goes on."
    with transaction.atomic():
        retry.save()
        audit.add(Progress.APPENDED, retry, outcome, rows=done.rows, before=done.before, after=done.after)
    return retry


def describe(retry: Retry, done: Appended) -> None:
    """Gives the retry what is known once it was appended; not saved yet."""
    retry.new_run = done.new_run
    retry.operation = done.operation
    retry.appended_at = done.at
    retry.plan = done.plan
    retry.rows = list(done.rows)


def found_appended(retry: Retry, new_run: str, operation: Operation | None) -> Retry:
    """Ends a retry whose process was killed after it had appended; which rows, only the database tells."""
    retry.progress = Progress.APPENDED
    retry.operation = operation or retry.operation
    retry.new_run = new_run
    retry.appended_at = retry.asked_at
    with transaction.atomic():
        retry.save()
        audit.add(Progress.APPENDED, retry, f"The process ended early; {new_run} was found afterwards.")
    return retry


def ended(
    retry: Retry, progress: Progress, problem: DurascopeError, *, in_the_way: str = "", keep_key: bool = True
) -> Retry:
    """Ends a retry of which nothing was appended, or nothing is known. Without ``keep_key`` the same key may try again."""
    retry.progress = progress
    retry.error = type(problem).__name__
    retry.detail = str(problem)
    retry.in_the_way = in_the_way
    if not keep_key:
        # One of a job stays known as such.
        retry.key = f"{retry.key}-{retry.pk}" if (retry.key or "").startswith(JOB_KEY) else None
    with transaction.atomic():
        retry.save()
        audit.add(progress, retry, str(problem))
    return retry


def retry_of(number: int) -> Retry:
    """Raises RetryNotFound."""
    found = Retry.objects.filter(pk=number).first()
    if found is None:
        raise RetryNotFound(f"{number} is none.")
    return found


def newest_with(key: str) -> Retry | None:
    """The newest retry that a job began with this key; None where none could be recorded."""
    return Retry.objects.filter(Q(key=key) | Q(key__startswith=f"{key}-")).order_by("-pk").first()


def of_run(slug: str, place: str, run_id: str) -> list[Retry]:
    """What was appended for this run, newest first. Another file may have been served under the same name."""
    return list(Retry.objects.filter(database=slug, place=place, run=run_id, progress__in=THERE).order_by("-pk"))


def that_made(slug: str, place: str, new_run: str) -> Retry | None:
    """The newest retry after which this run goes on."""
    found = Retry.objects.filter(database=slug, place=place, new_run=new_run, progress__in=THERE)
    return found.order_by("-pk").first()


def newest(after: int | None, limit: int, slugs: Sequence[str] = ()) -> list[Retry]:
    """Retries of every outcome, newest first, from the one after the number ``after``."""
    chosen = Retry.objects.order_by("-pk")
    if after is not None:
        chosen = chosen.filter(pk__lt=after)
    if slugs:
        chosen = chosen.filter(database__in=slugs)
    return list(chosen[:limit])


def newest_alone(limit: int) -> list[Retry]:
    """Retries that are of no job, of every outcome, newest first."""
    return list(Retry.objects.filter(item=None).exclude(key__startswith=JOB_KEY).order_by("-pk")[:limit])


def options_object(options: Options) -> dict[str, str]:
    """Options as they are stored."""
    return {**asdict(options), "operation": options.operation or ""}


def options_of(confirmed: Retry | Item) -> Options:
    """The options that were confirmed."""
    stored = confirmed.options
    return Options(**{**stored, "operation": Operation(stored["operation"]) if stored["operation"] else None})

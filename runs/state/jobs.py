"""Jobs as they are recorded: whole before they start, then a result for each of their runs."""

from collections.abc import Sequence

from django.db import IntegrityError, connection, transaction
from django.db.models import Count

from runs import clock
from runs.errors import JobNotFound, KeyUsed
from runs.retry import Options
from runs.state import place
from runs.state.models import Item, Job, Progress, Retry
from runs.state.retries import options_object

Row = tuple[str, str, str, Options, str, str]  # slug, place, run, options, digest, the engine's server

_CONFIRMED = ("database", "run", "digest")  # what makes a run of one job that of another
HELD = "held"  # the result of a run whose retry was appended paused, and waits for its release
_RESULTS = {Progress.APPENDED: "done", Progress.HELD: HELD, Progress.REFUSED: "skipped"}


def begin(rows: Sequence[Row], reason: str, who: str, where: str, key: str) -> Job:
    """A new job with its runs; or the one that the same key began. Raises KeyUsed where that was of other runs."""
    try:
        with place.recording(), transaction.atomic():
            job = Job.objects.create(reason=reason, who=who, where=where, key=key or None, asked_at=clock.now())
            Item.objects.bulk_create(
                Item(
                    job=job,
                    position=position,
                    database=slug,
                    place=place,
                    run=run,
                    options=options_object(options),
                    digest=digest,
                    server=server,
                )
                for position, (slug, place, run, options, digest, server) in enumerate(rows)
            )
    except IntegrityError:
        known = Job.objects.get(key=key)
        if list(known.items.values_list(*_CONFIRMED)) != [(slug, run, digest) for slug, _, run, _, digest, _ in rows]:
            raise KeyUsed(remedy="Use a new key for each job.") from None
        return known
    return job


def job_of(number: int) -> Job:
    """Raises JobNotFound."""
    found = Job.objects.filter(pk=number).first()
    if found is None:
        raise JobNotFound(f"{number} is none.")
    return found


def cancel(job: Job) -> Job:
    """Marks a job that has not finished; it is looked at before each of its runs."""
    Job.objects.filter(pk=job.pk, finished_at=None, cancelled_at=None).update(cancelled_at=clock.now())
    job.refresh_from_db()
    return job


def unfinished() -> list[int]:
    """The jobs that are not at their end, oldest first."""
    return list(Job.objects.filter(finished_at=None).order_by("pk").values_list("pk", flat=True))


def unfinished_in() -> frozenset[str]:
    """The databases of the jobs that are not at their end."""
    return frozenset(Item.objects.filter(job__finished_at=None).values_list("database", flat=True))


def newest(limit: int) -> list[Job]:
    """Jobs, newest first."""
    return list(Job.objects.order_by("-pk")[:limit])


def counts(job: Job) -> dict[str, int]:
    """How many of its runs have each result; those that wait have the empty one."""
    found = job.items.order_by().values_list("result").annotate(count=Count("pk"))
    return {str(result): int(count) for result, count in found}


def items_of(job: Job) -> list[Item]:
    """The runs of a job, each with its retry."""
    return list(job.items.select_related("retry"))


def rest_of(job: Job) -> list[Item]:
    """The runs of a job of which nothing is known to have been appended: not tried, skipped or failed."""
    return list(job.items.exclude(result__in=("done", HELD)))


def items(number: int) -> int:
    """How many runs a job has."""
    return Item.objects.filter(job_id=number).count()


def item_of(number: int, position: int) -> Item:
    """One run of a job, with the job."""
    return Item.objects.select_related("job").get(job_id=number, position=position)


def result(item: Item, word: str, detail: str = "", retry: Retry | None = None) -> str:
    """Records what became of one run."""
    item.result, item.detail, item.retry = word, detail, retry
    item.save(update_fields=("result", "detail", "retry"))
    return word


def told(retry: Retry) -> None:
    """A run of a job whose retry came to something afterwards gets that as its result."""
    word = _RESULTS.get(Progress(retry.progress), "failed")
    Item.objects.filter(retry=retry).update(result=word, detail=retry.detail)


def finish(number: int, stopped: str) -> None:
    """Ends a job; ``stopped`` is why before its end, empty where it came to it."""
    Job.objects.filter(pk=number, finished_at=None).update(finished_at=clock.now(), stopped=stopped)


def release() -> None:
    """Closes this thread's connection."""
    connection.close()

"""What is sent and answered about retries; runs.api.retry_shapes makes the keys."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from runs.api.schemas import Href, Instant, Next, PageAddress, Problem, Reference, Run, Seconds, Shape
from runs.retry import Operation

Json = dict[str, Any]


class Sent(BaseModel):
    """What a client sends: exactly these keys."""

    model_config = ConfigDict(extra="forbid", str_max_length=4000)


class Nothing(Sent):
    """``{}``: there is nothing to say."""


class Part(Shape):
    """A step that runs again, or is kept."""

    ordinal: int | None
    name: str
    run: str


class Exchanged(Shape):
    """A text that gives way to another one wherever it stands within some columns."""

    within: list[str]
    old: str
    new: str


class RowChange(Shape):
    """One row that is added or changed, or several that are copied alike."""

    change: Annotated[str, Field(description="insert, copy or update.")]
    of: Annotated[str, Field(description="The table that the key is of.")]
    key: Annotated[Json, Field(description="Names the row that is copied or updated.")]
    each: Annotated[
        list[Json],
        Field(
            description="Of several rows that are copied alike the rest of each one's key; empty where it is one row."
        ),
    ]
    values: Annotated[Json, Field(description='New values; {"$type": "now", …} is the instant of the append.')]
    exchanged: Annotated[
        Exchanged | None,
        Field(
            description="Of columns that are copied but for that: the run's own id, which they hold in a longer text."
        ),
    ]
    copied: Annotated[list[str], Field(description="Columns that are copied, with their bodies, as they are.")]


class Plan(Shape):
    """What a retry would append, and what would run again. Nothing is written by asking."""

    eligible: bool
    reason: Annotated[str, Field(description="Why it can't be retried, and what to do instead; empty where it can.")]
    operation: Operation | None
    new_run: Annotated[str, Field(description="The id of the run that will go on.")]
    again: Annotated[list[Part], Field(description="What runs again.")]
    kept: Annotated[list[Part], Field(description="What is kept, with its result.")]
    rows: Annotated[dict[str, list[RowChange]], Field(description="What is added or changed, by table.")]
    sql: Annotated[str, Field(description="The same as SQL to read or copy.")]
    guards: Annotated[list[str], Field(description="The facts that the plan relies on.")]
    effects: Annotated[list[str], Field(description="What may happen twice, in plain words.")]
    warnings: list[str]
    allowed: Annotated[bool, Field(description="Whether this server may retry runs of this database.")]
    held_by: Annotated[
        list[str] | None,
        Field(description="Processes that have the file open; null where that can't be told."),
    ]
    retry: Annotated[Reference | None, Field(description="A retry that is unfinished, or has succeeded.")]
    digest: Annotated[str, Field(description="What is confirmed: this plan, for this very file.")]


class Confirmation(Sent):
    """A plan, confirmed."""

    digest: Annotated[str, Field(min_length=1, max_length=100)]
    reason: Annotated[str, Field(description="Why, for those who read the audit.")]


class Retry(Shape):
    """One confirmed retry, and what became of it."""

    id: str
    href: Href
    page: PageAddress
    database: Annotated[str, Field(description="The slug.")]
    operation: Operation | None
    of: Annotated[Reference, Field(description="The run that was retried.")]
    progress: Annotated[
        str,
        Field(
            description="asked, held (appended paused, waiting for its release), appended, refused, failed or unsure."
        ),
    ]
    detail: Annotated[str, Field(description="Why nothing was appended, or what it waits for; else empty.")]
    reason: str
    who: str
    where: str
    asked_at: Instant
    appended_at: Instant | None
    released_at: Annotated[Instant | None, Field(description="When one that was appended paused was released.")]


class ListedRetry(Retry):
    """A retry of a list."""

    run: Annotated[Reference | None, Field(description="The run that goes on; null where nothing was appended.")]


class NewRetry(Retry):
    """A retry that was just appended."""

    run: Annotated[
        Run | Reference | None,
        Field(description="The run that goes on; only where it is where the database could not be read again at once."),
    ]


class Answer(Shape):
    """What was appended."""

    retry: NewRetry


class Conflict(Problem):
    """Nothing was appended; ``retry`` is the one that stands in the way."""

    retry: Annotated[
        ListedRetry | None, Field(description="Null where it changed meanwhile, or was retried elsewhere.")
    ]
    run: Annotated[Reference | None, Field(description="The run that goes on already.")]


class Retries(Shape):
    """Some retries, newest first."""

    retries: list[ListedRetry]
    next: Next


class FollowUp(Shape):
    """How a retry fares."""

    retry: ListedRetry
    run: Run | None
    taken_up_after: Annotated[
        Seconds | None, Field(description="Seconds until the engine took it up; null until then.")
    ]
    why_not: Annotated[str, Field(description="What it seems to wait for; empty where it was taken up.")]


class Chosen(Sent):
    """One run of several, with its plan's digest."""

    href: Annotated[str, Field(description="The address of its plan, options included, or of the run.")]
    digest: Annotated[str, Field(min_length=1, max_length=100)]


class Several(Sent):
    """Several plans, confirmed at once."""

    runs: Annotated[list[Chosen], Field(min_length=1, max_length=5000)]
    reason: str
    count: Annotated[int, Field(description="How many they are, typed by whoever confirms.")]


class JobReference(Shape):
    """Where a job can be watched."""

    id: str
    href: Href


class Started(Shape):
    """The job that appends them."""

    job: JobReference


class Item(Shape):
    """One run of a job."""

    of: Reference
    database: str
    result: Annotated[
        str,
        Field(
            description="done, held (appended paused, waiting for its release), skipped (it changed meanwhile), failed;"
            " empty while it waits for its turn."
        ),
    ]
    detail: str
    retry: Annotated[str | None, Field(description="The id of its retry.")]


class Job(Shape):
    """Several retries, appended one after another."""

    id: str
    href: Href
    reason: str
    who: str
    asked_at: Instant
    finished_at: Instant | None
    cancelled_at: Instant | None
    stopped: Annotated[str, Field(description="Why it ended before its end; empty where it did not.")]
    counts: Annotated[dict[str, int], Field(description="Runs by result; waiting for those that wait.")]
    items: list[Item]

"""What the answers look like: each is checked against these, and the OpenAPI document is made of them.

The keys are made in runs.api.shapes; a key that one of the two lacks is an error, not a silent difference.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from runs.records import Status, StepKind
from runs.sources.base import Opened

Instant = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$",
        description="RFC 3339 in UTC, up to 6 fraction digits.",
        json_schema_extra={"format": "date-time"},
        examples=["2026-11-22T13:07:29.866Z"],
    ),
]
Seconds = Annotated[float, Field(description="Seconds.")]
Href = Annotated[str, Field(description="Its address here.", json_schema_extra={"format": "uri-reference"})]
PageAddress = Annotated[
    str, Field(description="Its address for a browser.", json_schema_extra={"format": "uri-reference"})
]
Next = Annotated[
    str | None,
    Field(description="Opaque: give it as after to go on; null at the end. The Link header says it whole."),
]


class Shape(BaseModel):
    """An object with exactly these keys."""

    model_config = ConfigDict(extra="forbid")


class Problem(Shape):
    """Every answer of 400 and above."""

    error: Annotated[str, Field(description="The kind of error, in one word.", examples=["RunNotFound"])]
    detail: Annotated[str, Field(description="What happened, in words.")]


class DatabaseProblem(Shape):
    """Why a database, or a part of it, can't be shown."""

    error: Annotated[
        str,
        Field(
            description="The kind of error, in one word; PartlyRead where the rest is shown.",
            examples=["NotSQLite", "UnknownSchema", "PartlyRead"],
        ),
    ]
    detail: Annotated[str, Field(description="What happened, in words.")]


class NamedProblem(DatabaseProblem):
    """The problem of one of the databases that were asked."""

    database: Annotated[str, Field(description="The slug.")]


class Reference(Shape):
    """Another run of the same database."""

    id: str
    href: Href
    page: PageAddress


class Error(Shape):
    """An error in one line, cut to 500 characters."""

    type: str
    message: str


class Database(Shape):
    """One database."""

    slug: str
    href: Href
    page: PageAddress
    engine: Annotated[str | None, Field(description="dbos or obelisk; null where the database can't be read.")]
    revision: Annotated[str | None, Field(description="The schema found.", examples=["125", "V17"])]
    opened: Annotated[
        Opened | None,
        Field(description="live: an engine has it open. closed: nobody writes it. copy: a private copy was read."),
    ]
    size_bytes: Annotated[int | None, Field(description="With its -wal; null where there is no file.")]
    modified_at: Annotated[Instant | None, Field(description="When the file was last modified.")]
    last_event_at: Annotated[Instant | None, Field(description="The newest recorded, not projected instant.")]
    runs: Annotated[
        dict[Status, int], Field(description="Runs by status, children included; only words with at least one run.")
    ]
    problem: DatabaseProblem | None


class Databases(Shape):
    """All databases, by slug."""

    databases: list[Database]


class Retried(Reference):
    """A run that was forked from another or began anew in its place, or in that of one of its retries."""

    status: Status


class Run(Shape):
    """One execution, a child or an activity as well."""

    id: Annotated[str, Field(description="Any text; addresses are in href and page.")]
    href: Href
    page: PageAddress
    database: Annotated[str, Field(description="The slug.")]
    workflow: str
    status: Status
    native_status: Annotated[str, Field(description="The engine's own word.")]
    created_at: Instant
    started_at: Annotated[
        Instant | None, Field(description="When it was first (Obelisk) or last (DBOS) taken up, where recorded.")
    ]
    finished_at: Instant | None
    duration: Annotated[
        Seconds | None,
        Field(description="Seconds from the first to the last recorded instant; null while unfinished."),
    ]
    attempts: int | None
    error: Error | None
    parent: Reference | None
    version: Annotated[str | None, Field(description="The version of the application's code.")]
    forked_from: Reference | None
    retries: Annotated[
        list[Retried],
        Field(description="Newest first, 5 at most, read from the file itself; one that succeeded is among them."),
    ]
    recovered: Annotated[bool, Field(description="It failed or was cancelled, and a retry has succeeded since.")]


class Runs(Shape):
    """Some runs, newest first."""

    runs: list[Run]
    next: Next
    problems: Annotated[
        list[NamedProblem], Field(description="Databases that could not be asked, or not searched through.")
    ]


class PayloadReference(Shape):
    """Where a payload lies."""

    encoding: Annotated[str, Field(examples=["json", "wit", "py_pickle", "portable_json", "DBOS_GOB"])]
    size_bytes: Annotated[int, Field(description="As stored.")]
    href: Href


class PayloadSlots(Shape):
    """The payloads of a run or a step; null where nothing is stored."""

    input: PayloadReference | None
    output: PayloadReference | None
    error: PayloadReference | None


class Attempt(Shape):
    """One try of a step, where the engine records tries."""

    started_at: Instant | None
    finished_at: Instant | None
    status: Status
    error: Error | None
    until: Annotated[Instant | None, Field(description="The end of the back-off after a failure.")]


class Step(Shape):
    """One recorded unit inside a run."""

    ordinal: Annotated[int, Field(description="function_id (DBOS) or the event's version (Obelisk).")]
    kind: StepKind
    name: str
    status: Status
    started_at: Instant | None
    finished_at: Annotated[Instant | None, Field(description="In the future for a sleep that lasts.")]
    duration: Seconds | None
    attempts: list[Attempt]
    child: Annotated[Reference | None, Field(description="The run that this step started.")]
    inherited: Annotated[bool, Field(description="Copied from the run that this one was forked from.")]
    payloads: PayloadSlots


class Detail(Shape):
    """One run whole, without payload bodies."""

    run: Run
    payloads: PayloadSlots
    steps: list[Step]


class Event(Shape):
    """One immutable fact of a run's history."""

    position: int
    at: Instant | None
    type: str
    native: Annotated[str, Field(description="The engine's own word.")]
    data: Annotated[
        Any,
        Field(
            description="Its JSON value, written like a payload's; "
            '{"$type": "payload", "encoding", "size_bytes", "href"} where it was left out for its size.'
        ),
    ]


class Events(Shape):
    """Some events, oldest first."""

    events: list[Event]
    next: Next


class Payload(Shape):
    """One payload, decoded. Nothing in it is ever executed."""

    encoding: str
    size_bytes: Annotated[int, Field(description="As stored.")]
    truncated: Annotated[
        bool, Field(description="Whether the value lacks something for its size; what is left out is marked elided.")
    ]
    value: Annotated[
        Any,
        Field(
            description="Plain JSON where it can be. What JSON has not is "
            '{"$type": name, "value" | "fields" | "entries": …}; a repeat or a cycle {"$ref": n}, where n is the '
            '"$id" of an object before it; an integer beyond 2^53 {"$type": "int", "value": "…"}; '
            'what was left out {"$type": "elided", "value": why}. Null, with a problem, where it can\'t be decoded.'
        ),
    ]
    problem: Annotated[str | None, Field(description="What is wrong with the payload, or left out of it, in words.")]

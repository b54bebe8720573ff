"""What is answered about two runs that are compared; runs.compare.pair_shapes makes the keys."""

from typing import Annotated

from pydantic import Field

from runs.api.schemas import Instant, Seconds, Shape
from runs.compare.records import Cause
from runs.compare.verdicts import RowVerdict
from runs.records import Status, StepKind


class ComparedRun(Shape):
    """One of the two runs."""

    database: str
    engine: str
    run: str
    href: str
    workflow: str
    status: Status
    version: str | None
    created_at: Instant
    seconds: Seconds | None


class PairOptions(Shape):
    """How the two were compared."""

    ignore: list[str]
    tolerance: str


class FirstDivergence(Shape):
    """Where the two first part, and why."""

    ordinal: Annotated[
        int | None, Field(description="The step's, in A if it is there; null where it is of the run itself.")
    ]
    position: Annotated[str, Field(examples=["step 13", "input", "end"])]
    what: Annotated[str, Field(description="What differs there, in words.")]
    cause: Annotated[Cause | None, Field(description="null where it can't be told: two engines.")]
    evidence: list[str]


class ComparedStep(Shape):
    """A step on one side."""

    ordinal: int
    status: Status
    attempts: int | None
    seconds: Seconds | None
    error: str | None
    child: str | None


class ComparedRow(Shape):
    """A step of both runs, or of one."""

    verdict: RowVerdict
    changed: Annotated[
        list[str], Field(description="input, kind, status, result, message, error, attempts, key, time.")
    ]
    name: str
    kind: StepKind
    a: ComparedStep | None
    b: ComparedStep | None
    notes: Annotated[list[str], Field(description="How payloads were compared that were not compared by value.")]


class RunComparison(Shape):
    """Two runs, compared."""

    a: ComparedRun
    b: ComparedRun
    options: PairOptions
    first_divergence: Annotated[FirstDivergence | None, Field(description="null where nothing differs.")]
    after: Annotated[dict[RowVerdict, int], Field(description="Rows after it that differ.")]
    differing: Annotated[int, Field(description="Rows that are not the same.")]
    ends: Annotated[
        list[str], Field(description="What differs of the runs themselves: input, result, error, status, time.")
    ]
    coarse: Annotated[bool, Field(description="They differ too much to be aligned exactly.")]
    notes: list[str]
    rows: list[ComparedRow]

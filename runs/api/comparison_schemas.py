"""What is answered about two databases that are compared; runs.compare.shapes makes the keys."""

from typing import Annotated

from pydantic import Field

from runs.api.schemas import Instant, Seconds, Shape
from runs.compare.records import Change, Relation, Rung, Verdict

Share = Annotated[float, Field(description="A fraction of 1.")]


class Ahead(Shape):
    """How far a side is ahead of the other."""

    new_runs: int
    went_on: Annotated[int, Field(description="Runs of both that have more events there.")]
    events: int
    seconds: Annotated[Seconds | None, Field(description="Between the last events of both.")]


class ComparedSide(Shape):
    """One of the two databases."""

    slug: str
    engine: str
    schema_: Annotated[str, Field(alias="schema")]
    runs: int
    events: int
    first_at: Instant | None
    last_at: Instant | None
    ahead: Ahead


class ComparedOptions(Shape):
    """How they were compared."""

    match: str
    path: str | None
    ignore: list[str]
    tolerance: str


class ComparedRuns(Shape):
    """How many runs were matched, by what, and what became of the pairs."""

    a: int
    b: int
    matched: int
    by: dict[Rung, int]
    only_a: int
    only_b: int
    outside_a: Annotated[int, Field(description="Began outside the time that both files cover: not missing.")]
    outside_b: int
    ambiguous: int
    scheduled: Annotated[int, Field(description="Started by the clock: not counted as missing.")]
    advanced: int
    diverged: int
    rewritten: int
    verdicts: dict[Verdict, int]


class Rewritten(Shape):
    """The first place where a run's recorded past differs."""

    run: str
    position: str
    a: str | None
    b: str | None


class Sample(Shape):
    """One side of a workflow or a step. The rate's interval is Wilson's, 95 %; durations are of what succeeded."""

    count: int
    finished: int
    failed: int
    failed_low: Share
    failed_high: Share
    retried: int
    measured: int
    p50: Seconds | None
    p95: Seconds | None


class ComparedGroup(Shape):
    """A workflow, or the steps of one name."""

    name: str
    matched: int
    a: Sample
    b: Sample
    failures: Change
    durations: Change
    evidence: str


class ComparedError(Shape):
    """Failed runs with the same error."""

    fingerprint: str
    workflow: str
    type: str
    message: str
    a: int
    b: int
    a_example: str | None
    b_example: str | None
    first_at: Instant | None
    last_at: Instant | None


class ComparedErrors(Shape):
    """By what became of them from A to B."""

    new: list[ComparedError]
    gone: list[ComparedError]
    more: list[ComparedError]
    fewer: list[ComparedError]
    same: list[ComparedError]


class ComparedSetting(Shape):
    """A difference of schema or configuration."""

    kind: str
    name: str
    a: str | None
    b: str | None


class Comparison(Shape):
    """Two databases, compared."""

    relation: Relation
    summary: str
    evidence: list[str]
    alike_until: Instant | None
    a: ComparedSide
    b: ComparedSide
    options: ComparedOptions
    runs: ComparedRuns
    rewritten: list[Rewritten]
    all_runs: ComparedGroup
    workflows: list[ComparedGroup]
    steps: list[ComparedGroup]
    errors: ComparedErrors
    settings: list[ComparedSetting]
    notes: list[str]


class Comparing(Shape):
    """A comparison that is being made: ask again."""

    stage: str
    done: Annotated[int, Field(description="Runs.")]
    total: Annotated[int, Field(description="0 while it is not known.")]
    cancelled: bool
    problem: str

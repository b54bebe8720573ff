"""Two runs, compared, as JSON. Without payload bodies: what evidence quotes of them is cut to a line."""

from typing import Any

from runs.clock import rfc3339
from runs.compare.asking import tolerance_text
from runs.compare.pair import RunComparison, Taken
from runs.compare.verdicts import StepRow
from runs.links import run_href
from runs.records import Step


def run_comparison_object(found: RunComparison) -> dict[str, Any]:
    """The whole of it: every step of both runs once, in reading order. Durations are seconds."""
    first = found.first
    return {
        "a": _side(found.a),
        "b": _side(found.b),
        "options": {"ignore": list(found.options.ignore), "tolerance": tolerance_text(found.options.tolerance)},
        "first_divergence": None
        if first is None
        else {
            "ordinal": first.ordinal,
            "position": first.position,
            "what": first.what,
            "cause": first.cause.value if first.cause else None,
            "evidence": list(first.evidence),
        },
        "after": {verdict.value: count for verdict, count in found.after.items()},
        "differing": found.differing,
        "ends": list(found.ends.changed),
        "coarse": found.coarse,
        "notes": list(found.notes),
        "rows": [_row(row) for row in found.rows],
    }


def _side(taken: Taken) -> dict[str, Any]:
    run = taken.run
    return {
        "database": taken.slug,
        "engine": taken.engine,
        "run": run.id,
        "href": run_href(taken.slug, run.id),
        "workflow": run.workflow,
        "status": run.status.value,
        "version": run.version,
        "created_at": rfc3339(run.created_at),
        "seconds": run.duration.total_seconds() if run.duration is not None else None,
    }


def _row(row: StepRow) -> dict[str, Any]:
    return {
        "verdict": row.verdict.value,
        "changed": list(row.changed),
        "name": row.step.name,
        "kind": row.step.kind.value,
        "a": _step(row.a),
        "b": _step(row.b),
        "notes": list(row.notes),
    }


def _step(step: Step | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {
        "ordinal": step.ordinal,
        "status": step.status.value,
        "attempts": step.attempt_count,
        "seconds": step.duration.total_seconds() if step.duration is not None else None,
        "error": step.error.type if step.error else None,
        "child": step.child,
    }

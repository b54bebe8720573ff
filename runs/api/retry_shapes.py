"""Plans, retries and jobs as the objects of the JSON interface."""

from dataclasses import asdict

from runs import links, statements
from runs.api.shapes import Json, run_object
from runs.clock import rfc3339
from runs.following import Followed
from runs.planning import Planned
from runs.records import Run
from runs.sources.openers import Openers
from runs.state.models import Job, Retry
from runs.state.retries import THERE


def plan_object(slug: str, planned: Planned) -> Json:
    """What a retry would append."""
    plan = planned.plan
    return {
        "eligible": plan.eligible,
        "reason": plan.reason,
        "operation": plan.operation.value if plan.operation else None,
        "new_run": plan.new_run,
        "again": [asdict(part) for part in plan.again],
        "kept": [asdict(part) for part in plan.kept],
        "rows": statements.rows(plan),
        "sql": statements.readable(plan),
        "guards": list(plan.guards),
        "effects": list(plan.effects),
        "warnings": list(plan.warnings),
        "allowed": planned.allowed,
        "held_by": _holders(planned.held_by),
        "retry": _reference(slug, plan.earlier),
        "digest": planned.digest,
    }


def retry_object(retry: Retry, run: Run | None = None) -> Json:
    """One retry; with the run that goes on in full where it is given."""
    return {
        "id": str(retry.pk),
        "href": links.retry_href(retry.pk),
        "page": links.retry_page(retry.pk),
        "database": retry.database,
        "operation": retry.operation or None,
        "of": _reference(retry.database, retry.run),
        "progress": retry.progress,
        "detail": retry.detail,
        "reason": retry.reason,
        "who": retry.who,
        "where": retry.where,
        "asked_at": rfc3339(retry.asked_at),
        "appended_at": rfc3339(retry.appended_at),
        "released_at": rfc3339(retry.released_at),
        "run": run_object(retry.database, run) if run else _going_on(retry),
    }


def follow_up_object(followed: Followed) -> Json:
    """How a retry fares."""
    after = followed.follow_up.taken_up_after
    return {
        "retry": retry_object(followed.retry),
        "run": run_object(followed.retry.database, followed.run) if followed.run else None,
        "taken_up_after": None if after is None else after.total_seconds(),
        "why_not": followed.follow_up.why_not,
    }


def conflict_object(slug: str, error: str, detail: str, retry: Retry | None, run: str) -> Json:
    """Why nothing was appended, and what stands in the way."""
    found = retry_object(retry) if retry and retry.progress in THERE else None
    return {"error": error, "detail": detail, "retry": found, "run": _reference(slug, run)}


def job_object(job: Job) -> Json:
    """A job with all its runs."""
    items = list(job.items.all())
    counts: dict[str, int] = {}
    for item in items:
        counts[item.result or "waiting"] = counts.get(item.result or "waiting", 0) + 1
    return {
        "id": str(job.pk),
        "href": links.job_href(job.pk),
        "reason": job.reason,
        "who": job.who,
        "asked_at": rfc3339(job.asked_at),
        "finished_at": rfc3339(job.finished_at),
        "cancelled_at": rfc3339(job.cancelled_at),
        "stopped": job.stopped,
        "counts": counts,
        "items": [
            {
                "of": _reference(item.database, item.run),
                "database": item.database,
                "result": item.result,
                "detail": item.detail,
                "retry": str(item.retry_id) if item.retry_id else None,
            }
            for item in items
        ],
    }


def _going_on(retry: Retry) -> Json | None:
    """The run that goes on, where it is in the database: one that was appended paused may have been deleted again."""
    return _reference(retry.database, retry.new_run) if retry.progress in THERE else None


def _holders(found: Openers | None) -> list[str] | None:
    """None as well where nobody was found, but not every process could be looked into."""
    if found is None or not (found.processes or found.all_seen):
        return None
    return [f"{name} ({pid})" for pid, name in found.processes]


def _reference(slug: str, run_id: str) -> Json | None:
    if not run_id:
        return None
    return {"id": run_id, "href": links.run_href(slug, run_id), "page": links.run_page(slug, run_id)}

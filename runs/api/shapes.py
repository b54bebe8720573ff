"""Records as the objects of the JSON interface: pure, without Django, so that the terminal's ``--json`` says the same.

Times are RFC 3339 text in UTC, durations seconds; a key without a value is null, never left out. ``href`` leads on
within the interface, ``page`` to the same thing for a browser.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from runs import links
from runs.clock import rfc3339
from runs.errors import DurascopeError
from runs.fleet import Entry
from runs.payloads import tree
from runs.payloads.plain import escaped, to_json
from runs.records import Attempt, ErrorSummary, Event, Payload, Payloads, Retried, Run, Status, Step

Json = dict[str, object]

# The "error" of a problem where a database was read, but not all of it was understood or searched.
PARTLY_READ = "PartlyRead"


def database_object(entry: Entry) -> Json:
    """One database. Where it can't be read, ``engine``, ``revision``, ``opened`` are null; ``problem`` says why."""
    contents = entry.contents
    readable = None if isinstance(contents, DurascopeError) else contents
    return {
        "slug": entry.slug,
        "href": links.database_href(entry.slug),
        "page": links.database_page(entry.slug),
        "engine": readable.engine if readable else None,
        "revision": readable.revision.text if readable else None,
        "opened": readable.opened.value if readable else None,
        "size_bytes": entry.facts.size_bytes if entry.facts else None,
        "modified_at": rfc3339(entry.facts.modified_at) if entry.facts else None,
        "last_event_at": rfc3339(readable.overview.last_event_at) if readable else None,
        "runs": _counts(readable.overview.runs) if readable else {},
        "problem": _database_problem(entry),
    }


def problem_object(error: DurascopeError) -> Json:
    """Why something can't be read, as every error of the interface is said."""
    return {"error": type(error).__name__, "detail": str(error)}


def run_object(slug: str, run: Run) -> Json:
    """One run of a list, of the database ``slug``."""
    return {
        "id": run.id,
        "href": links.run_href(slug, run.id),
        "page": links.run_page(slug, run.id),
        "database": slug,
        "workflow": run.workflow,
        "status": run.status.value,
        "native_status": run.native_status,
        "created_at": rfc3339(run.created_at),
        "started_at": rfc3339(run.started_at),
        "finished_at": rfc3339(run.finished_at),
        "duration": _seconds(run.duration),
        "attempts": run.attempts,
        "error": _error(run.error),
        "parent": _reference(slug, run.parent),
        "version": run.version,
        "forked_from": _reference(slug, run.forked_from),
        "retries": [_retried(slug, retry) for retry in run.retries],
        "recovered": run.recovered,
    }


def detail_object(slug: str, run: Run, steps: Sequence[Step]) -> Json:
    """One run with where its payloads lie, and its steps by ordinal."""
    return {
        "run": run_object(slug, run),
        "payloads": _payloads(slug, run.payloads),
        "steps": [_step(slug, step) for step in steps],
    }


def event_object(slug: str, event: Event) -> Json:
    """One event. ``data`` is written as payload values are; where it was left out for its size, it is
    ``{"$type": "payload", …}`` with the address of the whole."""
    data = to_json(_node(event.data))
    if event.payload is not None:
        data = {"$type": "payload", **payload_object(slug, event.payload)}
    return {
        "position": event.position,
        "at": rfc3339(event.at),
        "type": event.type,
        "native": event.native,
        "data": data,
    }


def payload_object(slug: str, payload: Payload) -> Json:
    """Where a payload lies and how large it is as stored; its value is at ``href``."""
    return {
        "encoding": payload.encoding,
        "size_bytes": payload.size_bytes,
        "href": links.payload_href(slug, payload.run_id, payload.name),
    }


def _counts(runs: Mapping[Status, int]) -> Json:
    return {status.value: runs[status] for status in Status if runs.get(status)}


def _database_problem(entry: Entry) -> Json | None:
    if isinstance(entry.contents, DurascopeError):
        return problem_object(entry.contents)
    found = (entry.contents.revision.problem, *entry.contents.overview.problems)
    detail = " ".join(problem for problem in found if problem)
    return {"error": PARTLY_READ, "detail": detail} if detail else None


def _step(slug: str, step: Step) -> Json:
    return {
        "ordinal": step.ordinal,
        "kind": step.kind.value,
        "name": step.name,
        "status": step.status.value,
        "started_at": rfc3339(step.started_at),
        "finished_at": rfc3339(step.finished_at),
        "duration": _seconds(step.duration),
        "attempts": [_attempt(attempt) for attempt in step.attempts],
        "child": _reference(slug, step.child),
        "inherited": step.inherited,
        "payloads": _payloads(slug, step.payloads),
    }


def _attempt(attempt: Attempt) -> Json:
    return {
        "started_at": rfc3339(attempt.started_at),
        "finished_at": rfc3339(attempt.finished_at),
        "status": attempt.status.value,
        "error": _error(attempt.error),
        "until": rfc3339(attempt.until),
    }


def _payloads(slug: str, payloads: Payloads) -> Json:
    return {
        "input": payload_object(slug, payloads.input) if payloads.input else None,
        "output": payload_object(slug, payloads.output) if payloads.output else None,
        "error": payload_object(slug, payloads.error) if payloads.error else None,
    }


def _reference(slug: str, run_id: str | None) -> Json | None:
    if run_id is None:
        return None
    return {"id": run_id, "href": links.run_href(slug, run_id), "page": links.run_page(slug, run_id)}


def _retried(slug: str, retry: Retried) -> Json:
    return {
        "id": retry.id,
        "href": links.run_href(slug, retry.id),
        "page": links.run_page(slug, retry.id),
        "status": retry.status.value,
    }


def _error(error: ErrorSummary | None) -> Json | None:
    return None if error is None else {"type": escaped(error.type), "message": escaped(error.message)}


def _node(data: object) -> tree.Node:
    """Parsed JSON as a tree, so that it is written by the one writer that loses nothing."""
    if isinstance(data, dict):
        return tree.Mapping([(tree.Scalar(str(key)), _node(value)) for key, value in data.items()])
    if isinstance(data, list | tuple):
        return tree.Sequence([_node(value) for value in data])
    return tree.Scalar(data if isinstance(data, int | float | str | None) else str(data))


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()

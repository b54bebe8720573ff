"""Who would take a retry up, as far as a file shows it: nothing in it says that a worker is alive, only what was taken up last.

A live engine claims what is ENQUEUED on the internal queue, of its own version, or of none where its own is the newest that is
registered, and of its application's name or of none (dbos 3.4, _sys_db.py: start_queued_workflows).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs import clock
from runs.engines.base import earliest, latest
from runs.engines.dbos.retry_checks import is_first
from runs.engines.dbos.retry_facts import Origin
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import instant, optional, text
from runs.engines.dbos.vocabulary import INTERNAL_QUEUE, status_of
from runs.records import Status
from runs.retry import FollowUp

PATIENCE = timedelta(seconds=5)  # what a live engine needs at most, and more: it polls every second
LATELY = timedelta(minutes=10)  # before the newest run: what was taken up then shows the workers there are

_TAKEN_UP = """
SELECT s.application_version, s.application_name, s.created_at, s.started_at_epoch_ms, s.updated_at
FROM {schema}workflow_status s
WHERE s.status NOT IN ('ENQUEUED', 'DELAYED') AND s.workflow_uuid <> :run
ORDER BY s.created_at DESC LIMIT 100
"""
_NEWEST_VERSION = """
SELECT a.version_name FROM {schema}application_versions a
WHERE :application IS NULL OR a.application_name IS NULL OR a.application_name = :application
ORDER BY a.version_timestamp DESC, a.version_name DESC LIMIT 1
"""
_VERSION = """
SELECT 1 FROM {schema}application_versions a WHERE a.version_name = :version
UNION ALL SELECT 1 FROM (SELECT 1 FROM {schema}workflow_status s WHERE s.application_version = :version LIMIT 1) AS seen
"""
_INPUT = """
SELECT 1 FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid = :run AND substr(COALESCE(i.inputs, s.inputs), 1, length(:begins)) = :begins
"""
# jsonpickle, as 1.x wrote every input; from 2.0 on it is read as a pickle, and that fails.
_INPUT_1X = '{"args": {"py/tuple"'
_RETRY = """
SELECT s.status, s.queue_name, s.application_version, s.application_name, s.started_at_epoch_ms, s.updated_at,
  (SELECT min(o.started_at_epoch_ms) FROM {schema}operation_outputs o
   WHERE o.workflow_uuid = s.workflow_uuid AND o.started_at_epoch_ms >= s.created_at)
FROM {schema}workflow_status s WHERE s.workflow_uuid = :run
"""


@dataclass(frozen=True, slots=True)
class Workers:
    """What took runs up lately: versions and names of applications, newest first, and when a run was last begun or ended."""

    versions: tuple[str, ...]
    applications: tuple[str, ...]
    last_at: datetime | None


def workers(snapshot: Snapshot, without: str, since: datetime | None = None) -> Workers:
    """As seen from the newest runs, one left aside: from those begun since then, where there are any."""
    found: list[tuple[datetime, str | None, str | None]] = []
    active: list[datetime | None] = []
    for version, application, created_at, started_at, updated_at in snapshot.rows(_TAKEN_UP, {"run": without}):
        began = latest(instant(created_at), instant(started_at))
        active += [began, instant(updated_at)]
        if began is not None:
            found.append((began, optional(version), optional(application)))
    found.sort(key=lambda row: row[0], reverse=True)
    late = [row for row in found if row[0] >= found[0][0] - LATELY]
    if since is not None:
        # A run's beginning may be recorded in whole seconds.
        late = [row for row in late if row[0] >= since.replace(microsecond=0)] or late
    return Workers(
        versions=tuple(dict.fromkeys(version for _, version, _ in late if version)),
        applications=tuple(dict.fromkeys(application for _, _, application in late if application)),
        last_at=latest(*active),
    )


def warnings(snapshot: Snapshot, run: Origin, pin: str) -> tuple[str, ...]:
    """Why, by what the file shows, no worker may take the retry up, and what to do."""
    seen = workers(snapshot, run.id)
    found: list[str] = []
    if pin:
        if not snapshot.rows(_VERSION, {"version": pin}):
            found.append(f"Nothing ran with version {pin} yet: the retry waits until a worker of it starts.")
        elif seen.versions and pin not in seen.versions:
            found.append(f"Pinned to version {pin}, but the newest runs were taken up by {_any(seen.versions)}.")
    else:
        newest = newest_version(snapshot, run.application)
        if newest and seen.versions and newest not in seen.versions:
            found.append(
                f"Only a worker of the newest version, {newest}, takes it up, but the newest runs were taken up by "
                f"{_any(seen.versions)}. Start a worker of {newest}, or pin {seen.versions[0]}."
            )
    replayed_by = pin or newest_version(snapshot, run.application)
    if replayed_by and run.version and replayed_by != run.version:
        found.append(
            f"It ran with version {run.version}; {replayed_by} goes on with it: where the workflow's steps changed, "
            "it fails as soon as a kept step no longer fits."
        )
    if run.application and seen.applications and run.application not in seen.applications:
        found.append(
            f"It belongs to the application {run.application}, but the newest runs were taken up by "
            f"{_any(seen.applications)}: only a worker named {run.application} takes it up."
        )
    if not is_first(snapshot.schema) and snapshot.rows(_INPUT, {"run": run.id, "begins": _INPUT_1X}):
        found.append("Its input was written by dbos 1.x: a newer release can't read it, and the retry fails at once.")
    return tuple(found)


def newest_version(snapshot: Snapshot, application: str | None) -> str:
    """The newest version registered for that application; empty before 2.14, when none were registered."""
    if not snapshot.schema.has("application_versions"):
        return ""
    rows = snapshot.rows(_NEWEST_VERSION, {"application": application})
    return text(rows[0][0]) if rows else ""


def follow(snapshot: Snapshot, new_run: str, appended_at: datetime) -> FollowUp:
    """When the retry was taken up, or what it seems to wait for."""
    rows = snapshot.rows(_RETRY, {"run": new_run})
    if not rows:
        return FollowUp(None, f"{new_run} is no longer in the database.")
    native, queue, version, application, started_at, updated_at, first_step = rows[0]
    if status_of(text(native)) not in (Status.QUEUED, Status.SCHEDULED):
        # Cancelling it erases when it was taken up.
        taken_up = instant(started_at) or earliest(instant(first_step), instant(updated_at)) or appended_at
        return FollowUp(max(taken_up - appended_at, timedelta()))
    waited = clock.now() - appended_at
    if waited < PATIENCE:
        return FollowUp()
    seen = workers(snapshot, new_run, appended_at)
    reasons = _reasons(snapshot, optional(queue), optional(version), optional(application), seen)
    if seen.last_at is None or seen.last_at < appended_at:
        reasons.append(
            "No worker seems to be running: nothing was taken up or ended since. It is taken up when the application starts."
        )
    elif not reasons:
        reasons.append("Other runs go on, so a worker is there: it may be busy, or of another version or name.")
    return FollowUp(None, " ".join(reasons))


def _reasons(
    snapshot: Snapshot, queue: str | None, version: str | None, application: str | None, seen: Workers
) -> list[str]:
    found: list[str] = []
    if queue != INTERNAL_QUEUE:
        found.append(f"It is on the queue {queue}, which a worker must listen to.")
    if version and version not in seen.versions:
        found.append(
            f"It waits for a worker of version {version}"
            + (f"; the newest runs were taken up by {_any(seen.versions)}." if seen.versions else ".")
        )
    newest = newest_version(snapshot, application)
    if not version and newest and seen.versions and newest not in seen.versions:
        found.append(
            f"It waits for a worker of the newest version, {newest}; the newest runs were taken up by {_any(seen.versions)}. "
            f"Start one of {newest}; or cancel it, and retry pinned to {seen.versions[0]}."
        )
    if application and seen.applications and application not in seen.applications:
        found.append(
            f"It waits for a worker of the application {application}; the newest runs were taken up by "
            f"{_any(seen.applications)}."
        )
    return found


def _any(names: Sequence[str]) -> str:
    """``v1``, ``v1 and v2``, at most three of them."""
    shown = list(names[:3]) + (["others"] if len(names) > 3 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

"""What a DBOS file says beside its runs, in DBOS's own words: workflows, queues, schedules, application versions,
migrations.
"""

from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import instant, optional, text, whole
from runs.records import Cell, Section
from runs.sources.base import Value

MOST = 500  # rows of a section

_WORKFLOWS = """
SELECT s.name, s.class_name, count(*),
  sum(CASE WHEN s.status IN ('ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'RETRIES_EXCEEDED') THEN 1 ELSE 0 END),
  max(s.created_at)
FROM {schema}workflow_status s GROUP BY s.name, s.class_name ORDER BY count(*) DESC, s.name, s.class_name LIMIT :limit
"""
# Runs that wait or run are few and have an index; a queue that is not registered is listed too where runs wait in it.
_DEPTHS = """
SELECT s.queue_name,
  sum(CASE WHEN s.status = 'ENQUEUED' THEN 1 ELSE 0 END),
  sum(CASE WHEN s.status = 'PENDING' THEN 1 ELSE 0 END),
  min(CASE WHEN s.status = 'ENQUEUED' THEN s.created_at END)
FROM {schema}workflow_status s WHERE s.status IN ('ENQUEUED', 'PENDING') AND s.queue_name IS NOT NULL
GROUP BY s.queue_name ORDER BY s.queue_name LIMIT :limit
"""
_QUEUES = """
SELECT q.name, q.concurrency, q.worker_concurrency, q.rate_limit_max, q.rate_limit_period_sec, q.priority_enabled,
  q.partition_queue, q.application_name
FROM {schema}queues q ORDER BY q.name LIMIT :limit
"""
_SCHEDULES = """
SELECT w.schedule_name, w.workflow_name, w.schedule, w.cron_timezone, w.status, w.last_fired_at, w.queue_name,
  w.application_name
FROM {schema}workflow_schedules w ORDER BY w.schedule_name LIMIT :limit
"""
_VERSIONS = """
SELECT a.version_name, a.version_timestamp, a.created_at, a.application_name
FROM {schema}application_versions a ORDER BY a.version_timestamp DESC, a.version_name LIMIT :limit
"""
_RUNS_BY_VERSION = """
SELECT s.application_version, count(*), max(s.created_at) FROM {schema}workflow_status s
GROUP BY s.application_version ORDER BY count(*) DESC, s.application_version LIMIT :limit
"""
_MIGRATIONS = "SELECT version FROM {schema}dbos_migrations ORDER BY version"


def sections(snapshot: Snapshot) -> tuple[Section, ...]:
    """Those that have rows."""
    found = (_workflows(snapshot), _queues(snapshot), _schedules(snapshot), _versions(snapshot), _migrations(snapshot))
    return tuple(section for section in found if section.rows)


def _workflows(snapshot: Snapshot) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (text(name), text(class_name), whole(runs), whole(failed), instant(newest))
        for name, class_name, runs, failed, newest in snapshot.rows(_WORKFLOWS, {"limit": MOST})
    ]
    return Section(
        "workflows", "Workflows", ("workflow", "class", "runs", "failed", "newest run"), tuple(rows), _note(rows)
    )


def _queues(snapshot: Snapshot) -> Section:
    depths = {text(row[0]): row[1:] for row in snapshot.rows(_DEPTHS, {"limit": MOST})}
    registered = snapshot.rows(_QUEUES, {"limit": MOST}) if snapshot.schema.has("queues") else []
    rows: list[tuple[Cell, ...]] = []
    for name, concurrency, worker, rate, period, priority, partitioned, application in registered:
        limits = _words(
            f"{text(concurrency)} at once" if concurrency is not None else "",
            f"{text(worker)} a worker" if worker is not None else "",
            f"{text(rate)} in {text(period)} s" if rate is not None else "",
            "by priority" if priority else "",
            "partitioned" if partitioned else "",
        )
        rows.append((text(name), *_depth(depths.pop(text(name), ())), limits, text(application)))
    for name, depth in depths.items():
        rows.append((name, *_depth(depth), "not registered" if registered else "", ""))
    columns = ("queue", "enqueued", "pending", "oldest enqueued", "limits", "application")
    return Section("queues", "Queues", columns, tuple(rows), _note(rows))


def _schedules(snapshot: Snapshot) -> Section:
    rows: list[tuple[Cell, ...]] = []
    if snapshot.schema.has("workflow_schedules"):
        for row in snapshot.rows(_SCHEDULES, {"limit": MOST}):
            rows.append(tuple(optional(value) for value in row))
    columns = ("schedule", "workflow", "cron", "time zone", "status", "last fired", "queue", "application")
    return Section("schedules", "Schedules", columns, tuple(rows), _note(rows))


def _versions(snapshot: Snapshot) -> Section:
    counts = {text(row[0]): row[1:] for row in snapshot.rows(_RUNS_BY_VERSION, {"limit": MOST})}
    rows: list[tuple[Cell, ...]] = []
    if snapshot.schema.has("application_versions"):
        for name, timestamp, made, application in snapshot.rows(_VERSIONS, {"limit": MOST}):
            runs, newest = counts.pop(text(name), (0, None))
            rows.append(
                (text(name), whole(runs), instant(newest), instant(timestamp), instant(made), text(application))
            )
    rows.extend((name, whole(runs), instant(newest), None, None, "") for name, (runs, newest) in counts.items() if name)
    columns = ("version", "runs", "newest run", "made latest", "registered", "application")
    return Section("versions", "Application versions", columns, tuple(rows), _note(rows))


def _migrations(snapshot: Snapshot) -> Section:
    rows: list[tuple[Cell, ...]] = [(whole(version),) for (version,) in snapshot.rows(_MIGRATIONS)]
    return Section("migrations", "Migrations", ("version",), tuple(rows))


def _depth(depth: tuple[Value, ...]) -> tuple[Cell, Cell, Cell]:
    return (whole(depth[0]), whole(depth[1]), instant(depth[2])) if depth else (0, 0, None)


def _words(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _note(rows: list[tuple[Cell, ...]]) -> str:
    return f"The first {MOST:,} are shown." if len(rows) >= MOST else ""

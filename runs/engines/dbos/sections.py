"""What a DBOS file says beside its runs, in DBOS's own words: workflows, queues, schedules, application versions,
migrations.
"""

from runs.clock import parse_instant
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import instant, optional, text, whole
from runs.engines.dbos.workflows import workflows
from runs.records import Cell, RunRef, Section
from runs.sources.base import Value

MOST = 500  # rows of a section

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
  q.partition_queue, q.application_name, q.partition_concurrency, q.partition_worker_concurrency,
  q.partition_rate_limit_max, q.partition_rate_limit_period_sec
FROM {schema}queues q ORDER BY q.name LIMIT :limit
"""
_SCHEDULES = """
SELECT w.schedule_name, w.workflow_name, w.schedule, w.cron_timezone, w.status, w.last_fired_at, w.queue_name,
  w.application_name
FROM {schema}workflow_schedules w ORDER BY w.schedule_name LIMIT :limit
"""
# A scheduled run's id ends in the instant it was due: the greatest is the newest, and the primary key has it.
_NEWEST_SCHEDULED = """
SELECT s.workflow_uuid FROM {schema}workflow_status s WHERE s.workflow_uuid >= :first AND s.workflow_uuid < :after
ORDER BY s.workflow_uuid DESC LIMIT 1
"""
_VERSIONS = """
SELECT a.version_name, a.version_timestamp, a.created_at, a.application_name
FROM {schema}application_versions a ORDER BY a.version_timestamp DESC, a.version_name LIMIT :limit
"""
_RUNS_BY_VERSION = """
SELECT s.application_version, count(*), sum(CASE WHEN s.status IN ('PENDING', 'ENQUEUED', 'DELAYED') THEN 1 ELSE 0 END),
  max(s.created_at) FROM {schema}workflow_status s
GROUP BY s.application_version ORDER BY count(*) DESC, s.application_version LIMIT :limit
"""
_MIGRATIONS = "SELECT version FROM {schema}dbos_migrations ORDER BY version"


def sections(snapshot: Snapshot) -> tuple[Section, ...]:
    """Those that have rows."""
    of_runs = workflows(snapshot)
    return (*((of_runs,) if of_runs.rows else ()), *configuration(snapshot))


def configuration(snapshot: Snapshot) -> tuple[Section, ...]:
    """Those that say how it is set up, not what ran."""
    found = (_queues(snapshot), _schedules(snapshot), _versions(snapshot), _migrations(snapshot))
    return tuple(section for section in found if section.rows)


def _queues(snapshot: Snapshot) -> Section:
    depths = {text(row[0]): row[1:] for row in snapshot.rows(_DEPTHS, {"limit": MOST})}
    registered = snapshot.rows(_QUEUES, {"limit": MOST}) if snapshot.schema.has("queues") else []
    rows: list[tuple[Cell, ...]] = []
    for name, concurrency, worker, rate, period, priority, partitioned, application, *of_partition in registered:
        limits = _words(
            _limits(concurrency, worker, rate, period),
            "by priority" if priority else "",
            "partitioned" if partitioned else "",
            f"each partition {each}" if (each := _limits(*of_partition)) else "",
        )
        rows.append((text(name), *_depth(depths.pop(text(name), ())), limits, text(application)))
    for name, depth in depths.items():
        rows.append((name, *_depth(depth), "not registered" if registered else "", ""))
    columns = ("queue", "enqueued", "pending", "oldest enqueued", "limits", "application")
    return Section("queues", "Queues", columns, tuple(rows), _note(rows))


def _schedules(snapshot: Snapshot) -> Section:
    rows: list[tuple[Cell, ...]] = []
    if snapshot.schema.has("workflow_schedules"):
        for name, workflow, cron, zone, status, fired, queue, application in snapshot.rows(_SCHEDULES, {"limit": MOST}):
            newest = snapshot.rows(
                _NEWEST_SCHEDULED, {"first": f"sched-{text(name)}-0", "after": f"sched-{text(name)}-:"}
            )
            last = parse_instant(text(fired)) or optional(fired)
            run = RunRef(text(newest[0][0])) if newest else None
            words = (optional(value) for value in (name, workflow, cron, zone, status))
            rows.append((*words, last, run, optional(queue), optional(application)))
    columns = (
        *("schedule", "workflow", "cron", "time zone", "status", "last fired", "newest run", "queue", "application"),
    )
    return Section("schedules", "Schedules", columns, tuple(rows), _note(rows))


def _versions(snapshot: Snapshot) -> Section:
    counts = {text(row[0]): row[1:] for row in snapshot.rows(_RUNS_BY_VERSION, {"limit": MOST})}
    rows: list[tuple[Cell, ...]] = []
    if snapshot.schema.has("application_versions"):
        for name, timestamp, made, application in snapshot.rows(_VERSIONS, {"limit": MOST}):
            runs, unfinished, newest = counts.pop(text(name), (0, 0, None))
            latest = (instant(newest), instant(timestamp), instant(made))
            rows.append((text(name), whole(runs), whole(unfinished), *latest, text(application)))
    rows.extend(
        (name, whole(runs), whole(unfinished), instant(newest), None, None, "")
        for name, (runs, unfinished, newest) in counts.items()
        if name
    )
    columns = ("version", "runs", "unfinished", "newest run", "made latest", "registered", "application")
    return Section("versions", "Application versions", columns, tuple(rows), _note(rows))


def _migrations(snapshot: Snapshot) -> Section:
    rows: list[tuple[Cell, ...]] = [(whole(version),) for (version,) in snapshot.rows(_MIGRATIONS)]
    return Section("migrations", "Migrations", ("version",), tuple(rows))


def _depth(depth: tuple[Value, ...]) -> tuple[Cell, Cell, Cell]:
    return (whole(depth[0]), whole(depth[1]), instant(depth[2])) if depth else (0, 0, None)


def _limits(concurrency: Value, worker: Value, rate: Value, period: Value) -> str:
    return _words(
        f"{text(concurrency)} at once" if concurrency is not None else "",
        f"{text(worker)} a worker" if worker is not None else "",
        f"{text(rate)} in {text(period)} s" if rate is not None else "",
    )


def _words(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _note(rows: list[tuple[Cell, ...]]) -> str:
    return f"The first {MOST:,} are shown." if len(rows) >= MOST else ""

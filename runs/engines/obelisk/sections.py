"""What the database says beside its runs: functions, deployments, components, upgrades, crons, migrations."""

from collections.abc import Iterator, Mapping
from typing import Any

from runs.engines.obelisk.runs import present, some
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import Unparsed, hexadecimal, instant, mapping, parse, text, whole
from runs.engines.obelisk.states import DIGEST_SHOWN
from runs.engines.obelisk.workflows import workflows
from runs.records import Cell, RunRef, Section
from runs.sources.base import Value

UPGRADES_SEARCHED = 2_000  # newest workflow runs: nothing indexes the log by its variants alone
MOST_EXPORTS = 4 * 1024 * 1024  # bytes of JSON that are counted through

_DEPLOYMENTS = """SELECT p.deployment_id, p.status, p.created_at, p.last_active_at, p.obelisk_version, $description
FROM {schema}t_deployment p ORDER BY p.created_at DESC, p.deployment_id DESC"""

_ON_DEPLOYMENTS = """SELECT $deployment, count(*), sum(CASE WHEN $state <> 'finished' THEN 1 ELSE 0 END),
    sum(CASE WHEN $status = 'failed' THEN 1 ELSE 0 END)
FROM {schema}t_state s GROUP BY 1"""

_COMPONENTS = """SELECT c.component_name, c.component_type, c.component_digest, c.deployment_id, p.status,
    CASE WHEN octet_length(m.exports_json) <= :most THEN m.exports_json END
FROM {schema}t_deployment_component c
JOIN {schema}t_deployment p ON p.deployment_id = c.deployment_id
LEFT JOIN {schema}t_component_metadata m ON m.component_digest = c.component_digest
ORDER BY p.created_at DESC, c.component_type, c.component_name"""

_UPGRADES = """SELECT s.execution_id, l.created_at, CASE WHEN octet_length(l.json_value) <= $small THEN l.json_value END
FROM (SELECT t.execution_id FROM {schema}t_state t WHERE t.component_type = 'workflow'
      ORDER BY t.created_at DESC LIMIT :searched) s
JOIN {schema}t_execution_log l ON l.execution_id = s.execution_id AND l.variant = 'component_upgrade_finished'
ORDER BY l.created_at DESC, s.execution_id"""

_CRONS = """SELECT s.execution_id, CASE WHEN $state = 'pending_at' THEN s.pending_expires_finished END
FROM {schema}t_state s WHERE s.component_type = 'cron'"""

_LAST_FIRED = """SELECT l.execution_id, max(l.created_at), count(*) FROM {schema}t_execution_log l
WHERE l.execution_id IN ($ids) AND l.variant = 'history_event' AND $event_type = 'schedule' GROUP BY l.execution_id"""

_MIGRATIONS = "SELECT h.version, h.name, h.applied_on FROM {schema}refinery_schema_history h ORDER BY h.version"


def sections(snapshot: Snapshot) -> tuple[Section, ...]:
    """Those that this schema has; empty ones are left out, but not the functions."""
    return (workflows(snapshot), *configuration(snapshot))


def configuration(snapshot: Snapshot) -> tuple[Section, ...]:
    """Those that say how it is set up, not what ran."""
    found: list[Section] = []
    tables = snapshot.tables
    if "t_deployment" in tables:
        found.append(_deployments(snapshot))
    if {"t_deployment", "t_deployment_component", "t_component_metadata"} <= tables.keys():
        found.append(_components(snapshot))
    if "component_type" in tables["t_state"] and "created_at" in tables["t_state"]:
        found += [_crons(snapshot), _upgrades(snapshot)]
    if "version" in tables.get("refinery_schema_history", {}):
        found.append(_migrations(snapshot))
    return tuple(section for section in found if section.rows)


def _deployments(snapshot: Snapshot) -> Section:
    description = "p.description" if "description" in snapshot.tables["t_deployment"] else "NULL"
    on = {text(row[0]): row[1:] for row in snapshot.rows(_ON_DEPLOYMENTS, present(snapshot))}
    columns = (
        *("deployment", "status", "created", "last active", "stored by", "description", "runs", "unfinished", "failed"),
    )
    rows = tuple(
        (
            text(key),
            text(status),
            instant(created),
            instant(active),
            f"Obelisk {text(version)}",
            _words(about),
            *(whole(number) for number in on.get(text(key), (0, 0, 0))),
        )
        for key, status, created, active, version, about in snapshot.rows(_DEPLOYMENTS, description=description)
    )
    return Section("deployments", "Deployments", columns, rows)


def _components(snapshot: Snapshot) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (text(name), text(kind), hexadecimal(digest)[:DIGEST_SHOWN], _exported(exports), text(deployment), text(status))
        for name, kind, digest, deployment, status, exports in snapshot.rows(_COMPONENTS, {"most": MOST_EXPORTS})
    ]
    columns = ("component", "type", "version", "functions", "deployment", "deployment status")
    return Section("components", "Components", columns, tuple(rows))


def _exported(exports: Value) -> int | None:
    """How many functions it offers, without the companions that the engine generates."""
    try:
        functions = parse(exports)
    except Unparsed:
        return None
    return sum(mapping(each).get("extension") is None for each in functions) if isinstance(functions, list) else None


def _crons(snapshot: Snapshot) -> Section:
    due = {text(run_id): instant(at) for run_id, at in snapshot.rows(_CRONS)}
    runs = some(snapshot, list(due))
    fired: dict[str, tuple[Value, ...]] = {}
    if runs:
        params: dict[str, Value] = {f"id{number}": run.id for number, run in enumerate(runs)}
        ids = ", ".join(f":{name}" for name in params)
        fired = {text(row[0]): row for row in snapshot.rows(_LAST_FIRED, params, ids=ids)}
    rows = tuple(
        (run.workflow, RunRef(run.id), run.status, instant(last), whole(times), due.get(run.id))
        for run in runs
        for _, last, times in (fired.get(run.id, (None, None, 0)),)
    )
    return Section("crons", "Crons", ("function", "run", "status", "last fired", "times", "next"), rows)


def _upgrades(snapshot: Snapshot) -> Section:
    rows = tuple(_upgrade(values) for values in snapshot.rows(_UPGRADES, {"searched": UPGRADES_SEARCHED}))
    columns = ("run", "at", "outcome", "how or why", "to version", "deployment")
    note = f"Of the newest {UPGRADES_SEARCHED:,} workflow runs."
    return Section("upgrades", "Upgrades of running workflows", columns, rows, note)


def _upgrade(values: tuple[Value, ...]) -> tuple[Cell, ...]:
    run_id, created_at, source = values
    try:
        content = mapping(mapping(parse(source)).get("component_upgrade_finished"))
    except Unparsed:
        content = {}
    outcome = mapping(content.get("outcome"))
    cause = outcome.get("reason")
    words = cause if isinstance(cause, str) else ", ".join(_causes(mapping(cause)))
    version = hexadecimal(content.get("component_digest"))[:DIGEST_SHOWN]
    return (
        RunRef(text(run_id)),
        instant(created_at),
        text(outcome.get("type")),
        words,
        version,
        text(content.get("deployment_id")),
    )


def _causes(cause: Mapping[str, Any]) -> Iterator[str]:
    if kind := text(cause.get("type")):
        yield kind
    if cause.get("force") is True:
        yield "forced"


def _migrations(snapshot: Snapshot) -> Section:
    rows = tuple((f"V{whole(number)}", text(name), instant(at)) for number, name, at in snapshot.rows(_MIGRATIONS))
    return Section("migrations", "Schema migrations", ("version", "name", "applied"), rows)


def _words(value: Value) -> str | None:
    return text(value) or None

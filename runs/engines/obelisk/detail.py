"""One run whole: its facts, its attempts, and where its payloads lie."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runs.engines.base import latest
from runs.engines.obelisk.attempts import attempts, count
from runs.engines.obelisk.history import LogRow, lives
from runs.engines.obelisk.runs import one
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import hexadecimal, instant, mapping, text, whole
from runs.engines.obelisk.states import DIGEST_SHOWN, Row
from runs.records import NO_PAYLOADS, Fact, Payload, Payloads, Run, RunRef, Status

_TRACING = "tracing:"  # what the engine itself writes into metadata

_AWAITED = """SELECT c.ffqn, count(*) FROM {schema}t_state c
WHERE c.execution_id >= :first AND c.execution_id < :last AND c.state <> 'finished'
    AND c.execution_id NOT LIKE :deeper ESCAPE '\\'
GROUP BY c.ffqn ORDER BY 2 DESC, 1 LIMIT 4"""


def run(snapshot: Snapshot, run_id: str) -> Run:
    """The run with facts, tries and payloads. Raises RunNotFound."""
    found, row = one(snapshot, run_id)
    rows = lives(snapshot, [run_id])[run_id]
    created = next((item for item in rows if item.variant == "created"), None)
    finished = next((item for item in reversed(rows) if item.variant == "finished"), None)
    tries = attempts(rows, text(row.lease) if row.state == "locked" else None)
    metadata = mapping(created.content.get("metadata")) if created else {}
    return replace(
        found,
        attempts=count(tries, text(row.component_type)) if row.component_type else found.attempts,
        last_event_at=latest(found.last_event_at, *(item.at for item in rows)),
        reason=_reason(snapshot, row, found.reason),
        parent=_parent(created) or found.parent,
        forked_from=text(metadata.get("retry-of")) or None,
        tries=tries,
        facts=tuple(_facts(row, rows, created, metadata)),
        payloads=run_payloads(run_id, created, finished),
    )


def run_payloads(run_id: str, created: LogRow | None, finished: LogRow | None) -> Payloads:
    """The three slots of a run: its parameters, and its return value as output or as error."""
    entry = created.body_size if created else None
    result = returned(run_id, "run", finished)
    return replace(result, input=Payload(run_id, "run.input", "json", entry) if entry is not None else None)


def returned(run_id: str, prefix: str, finished: LogRow | None) -> Payloads:
    """The return value that a ``finished`` row holds, named ``<prefix>.output`` or ``<prefix>.error``."""
    if finished is None or finished.body_size is None:
        return NO_PAYLOADS
    if finished.outcome[0] is Status.SUCCEEDED:
        return Payloads(output=Payload(run_id, f"{prefix}.output", "wit", finished.body_size))
    return Payloads(error=Payload(run_id, f"{prefix}.error", "wit", finished.body_size))


def _parent(created: LogRow | None) -> str | None:
    parent = created.content.get("parent") if created else None
    return text(parent[0]) or None if isinstance(parent, list) and parent else None


def _reason(snapshot: Snapshot, row: Row, words: str) -> str:
    """With the functions that a join set still waits for."""
    if row.state != "blocked_by_join_set":
        return words
    prefix = f"{row.id}.{text(row.join_set_id)}_"
    like = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    waited = snapshot.rows(_AWAITED, {"first": prefix, "last": prefix + "\U0010ffff", "deeper": f"{like}%.%"})
    names = [text(ffqn) if number == 1 else f"{text(ffqn)} ×{whole(number)}" for ffqn, number in waited]
    if row.delay_due is not None:
        names.append("a sleep")
    return f"{words}: {', '.join(names)}" if names else words


def _facts(row: Row, rows: Sequence[LogRow], created: LogRow | None, metadata: Mapping[str, Any]) -> list[Fact]:
    content = created.content if created else {}
    component = mapping(content.get("component_id"))
    lock = next((item for item in reversed(rows) if item.variant == "locked"), None)
    parent = content.get("parent")
    facts = [
        Fact("component", text(component.get("name")) or None),
        Fact("component type", text(row.component_type) or text(component.get("component_type")) or None),
        Fact("component digest", f"sha256:{hexadecimal(row.digest)}" if row.digest else None),
        Fact("deployment", text(row.deployment) or None),
        Fact("join set", text(parent[1]) if isinstance(parent, list) and len(parent) > 1 else None),
        Fact("scheduled by", RunRef(by) if (by := text(content.get("scheduled_by"))) else None),
        Fact("scheduled for", _scheduled_for(row, content)),
        Fact("executor", lock.executor if lock else None),
        Fact("lock expires", instant(row.pending_expires_finished) if row.state == "locked" else None),
        *_retry_facts(lock),
        Fact("waits for an upgrade from", _digest(row.incompatible)),
        *(Fact("upgrade", _upgrade(item.content)) for item in rows if item.variant == "component_upgrade_finished"),
    ]
    own = {key: value for key, value in metadata.items() if not key.startswith(_TRACING)} or metadata
    facts += [Fact(f"metadata {key}", text(value) or str(value)) for key, value in own.items()]
    return [fact for fact in facts if fact.value is not None]


def _scheduled_for(row: Row, content: Mapping[str, Any]) -> Any:
    due, created_at = instant(content.get("scheduled_at")), instant(row.created_at)
    return due if due and created_at and due > created_at else None


def _retry_facts(lock: LogRow | None) -> list[Fact]:
    config = mapping(lock.content.get("retry_config")) if lock else {}
    limit = whole(config.get("max_retries"))
    backoff = mapping(config.get("retry_exp_backoff"))
    seconds = (whole(backoff.get("secs")) or 0) + (whole(backoff.get("nanos")) or 0) / 1e9
    return [Fact("max retries", limit), Fact("first back-off", f"{seconds:g} s" if limit is not None else None)]


def _digest(value: Any) -> str | None:
    return hexadecimal(value)[:DIGEST_SHOWN] or None


def _upgrade(content: Mapping[str, Any]) -> str:
    """``success, manual, to fb6af12d81fc`` or ``failed: nondeterminism detected, to …``."""
    result = mapping(content.get("outcome"))
    cause = result.get("reason")
    words = f": {cause}" if isinstance(cause, str) else f", {text(mapping(cause).get('type'))}" if cause else ""
    if mapping(cause).get("force") is True:
        words += ", forced"
    return f"{text(result.get('type'))}{words}, to {_digest(content.get('component_digest'))}"

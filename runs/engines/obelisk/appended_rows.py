"""The shape of single rows that a retry appended: everything that is known to stop an Obelisk executor is refused.

A malformed row stops not only its own run but all of its function, or all delays of the server. Written apart from what
makes the rows, so that a mistake there meets this before COMMIT.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from runs.engines.obelisk.executions import DERIVED, EXECUTION_ID, ULID
from runs.engines.obelisk.shapes import Unparsed, parse
from runs.errors import AppendRefused

COLUMN_INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.(\d{3}|\d{6}|\d{9}))?\+00:00", re.ASCII)
JSON_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
SECONDS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
DEPLOYMENT_ID = re.compile(f"Dep_{ULID}", re.ASCII)
DELAY_ID = re.compile(rf"Delay_{ULID}{DERIVED}+", re.ASCII)
DIGEST = re.compile("sha256:[0-9a-f]{64}")

BARE = frozenset({"paused", "unpaused", "cancellation_requested"})
VARIANTS = BARE | {
    "created",
    "locked",
    "unlocked",
    "component_upgrade_finished",
    "temporarily_failed",
    "temporarily_timed_out",
    "finished",
    "history_event",
}
COMPONENT_TYPES = frozenset({"activity", "activity_stub", "workflow", "webhook_endpoint", "cron"})
OUTCOMES = frozenset({"ok", "err", "execution_failure"})
FAILURES = frozenset({"timed_out", "nondeterminism_detected", "out_of_fuel", "cancelled", "uncategorized"})
# Events whose join set is in the column as well; join_next_try and join_next_too_many have it in their JSON alone.
IN_JOIN_SET = frozenset({"join_set_create", "join_set_request", "join_next"})
EVENTS = IN_JOIN_SET | {"persist", "join_next_try", "join_next_too_many", "schedule", "stub"}


def demand(holds: bool, words: str) -> None:
    """Raises AppendRefused with the words unless it holds."""
    if not holds:
        raise AppendRefused(words)


def log_row(run_id: str, version: int, created_at: str, source: str, variant: str, join_set: str | None) -> Any:
    """The content of a row of the log. Raises AppendRefused where the engine could not read it."""
    where = f"Row {version} of {run_id}"
    demand(EXECUTION_ID.fullmatch(run_id) is not None, f"{run_id!r} is no execution id.")
    demand(column_instant(created_at), f"{where}: created_at is {created_at!r}.")
    demand(variant in VARIANTS, f"{where} has the unknown variant {variant!r}.")
    demand(
        (version == 0) == (variant == "created"), f"{where} is {variant!r}: the first row, and no other, is 'created'."
    )
    try:
        value = parse(source)
    except Unparsed:
        raise AppendRefused(f"{where} is not JSON.") from None
    if variant in BARE:
        demand(value == variant, f"{where} does not hold the text {variant!r}.")
        demand(join_set is None, f"{where} has a join set.")
        return value
    demand(isinstance(value, dict) and list(value) == [variant], f"{where} does not hold the one key {variant!r}.")
    content = value[variant]
    demand(isinstance(content, dict), f"{where}: {variant} is no object.")
    if variant == "created":
        _created(where, run_id, content, join_set)
    elif variant == "history_event":
        _event(where, run_id, content.get("event"), join_set)
    else:
        demand(join_set is None, f"{where} has a join set.")
        _OTHERS[variant](where, content)
    return content


def state_row(row: Mapping[str, Any]) -> None:
    """A row of t_state: its columns, and that they go together."""
    where = f"The state of {row['execution_id']}"
    demand(
        row["is_top_level"] == int("." not in row["execution_id"]), f"{where}: is_top_level is {row['is_top_level']}."
    )
    digest, incompatible = row["component_id_input_digest"], row["incompatible_digest"]
    demand(isinstance(digest, bytes) and len(digest) == 32, f"{where}: its component digest has not 32 bytes.")
    demand(incompatible is None or len(incompatible) == 32, f"{where}: incompatible_digest has not 32 bytes.")
    demand(row["component_type"] in COMPONENT_TYPES, f"{where}: component_type is {row['component_type']!r}.")
    demand(
        DEPLOYMENT_ID.fullmatch(row["deployment_id"]) is not None,
        f"{where}: deployment_id is {row['deployment_id']!r}.",
    )
    for name in "created_at", "first_scheduled_at", "pending_expires_finished":
        demand(column_instant(row[name]), f"{where}: {name} is {row[name]!r}.")
    demand(SECONDS.fullmatch(row["updated_at"]) is not None, f"{where}: updated_at is {row['updated_at']!r}.")
    demand(row["intermittent_event_count"] >= 0, f"{where}: intermittent_event_count is negative.")
    demand(row["lifecycle"] in ("active", "paused", "cancelling"), f"{where}: lifecycle is {row['lifecycle']!r}.")
    filled = {name for name in _TOGETHER if row[name] is not None}
    found = _ALLOWED.get(row["state"])
    demand(found is not None, f"{where}: state is {row['state']!r}.")
    demand(found is not None and found(row, filled), f"{where}: {row['state']} does not go with {sorted(filled)}.")


def delay_row(run_id: str, join_set: str, delay_id: str, expires_at: str, is_paused: int) -> None:
    """A row of t_delay."""
    where = f"The delay {delay_id!r}"
    demand(DELAY_ID.fullmatch(delay_id) is not None, f"{where} has no id that the engine can read.")
    demand(_derived_from(delay_id, f"Delay_{run_id.removeprefix('E_')}", join_set), f"{where} is none of {run_id}.")
    demand(column_instant(expires_at), f"{where} expires at {expires_at!r}.")
    demand(is_paused in (0, 1), f"{where}: is_paused is {is_paused}.")


def column_instant(value: object) -> bool:
    """Whether it is an instant as the engine's columns have it: it compares them as text."""
    return isinstance(value, str) and COLUMN_INSTANT.fullmatch(value) is not None


_TOGETHER = (
    "max_retries",
    "retry_exp_backoff_millis",
    "last_lock_version",
    "executor_id",
    "run_id",
    "join_set_id",
    "join_set_closing",
    "result_kind",
)
_LEASE = frozenset({"executor_id", "run_id"})
_RETRIES = frozenset({"max_retries", "retry_exp_backoff_millis"})

_ALLOWED: Mapping[str, Callable[[Mapping[str, Any], set[str]], bool]] = {
    "pending_at": lambda _, filled: filled in (set(), _LEASE),
    "locked": lambda row, filled: filled - _RETRIES == _LEASE | {"last_lock_version"} and row["lifecycle"] != "paused",
    "blocked_by_join_set": lambda row, filled: (
        filled - _LEASE == {"join_set_id", "join_set_closing"}
        and filled & _LEASE in (set(), _LEASE)
        and row["join_set_closing"] in (0, 1)
    ),
    "finished": lambda row, filled: filled == {"result_kind"} and row["lifecycle"] == "active",
}


def _created(where: str, run_id: str, content: Mapping[str, Any], join_set: str | None) -> None:
    parent, _, derived = run_id.rpartition(".")
    expected = derived.rpartition("_")[0] or None if parent else None
    demand(isinstance(content.get("ffqn"), str), f"{where} names no function.")
    demand(isinstance(content.get("params"), list), f"{where}: params is no array.")
    demand(
        content.get("parent", "") == ([parent, expected] if parent else None), f"{where}: its parent is not {parent!r}."
    )
    demand(join_set == expected, f"{where}: its join set is {join_set!r}, not {expected!r}.")
    demand(_json_instant(content.get("scheduled_at")), f"{where}: scheduled_at is {content.get('scheduled_at')!r}.")
    _component(where, content)
    metadata = content.get("metadata")
    demand(isinstance(metadata, dict), f"{where} has no metadata.")
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    demand(texts, f"{where}: metadata may hold only texts.")
    scheduled_by = content.get("scheduled_by")
    known = scheduled_by is None or (isinstance(scheduled_by, str) and EXECUTION_ID.fullmatch(scheduled_by) is not None)
    demand(known, f"{where}: scheduled_by is {scheduled_by!r}.")


def _component(where: str, content: Mapping[str, Any]) -> None:
    component = content.get("component_id")
    sound = (
        isinstance(component, dict)
        and component.get("component_type") in COMPONENT_TYPES
        and isinstance(component.get("name"), str)
        and _matches(DIGEST, component.get("component_digest"))
    )
    demand(sound, f"{where}: its component_id is malformed.")
    demand(_matches(DEPLOYMENT_ID, content.get("deployment_id")), f"{where}: its deployment_id is malformed.")


def _event(where: str, run_id: str, event: Any, join_set: str | None) -> None:
    demand(isinstance(event, dict) and event.get("type") in EVENTS, f"{where} is an unknown event.")
    kind, named = event["type"], event.get("join_set_id")
    demand(join_set == (named if kind in IN_JOIN_SET else None), f"{where}: its column says join set {join_set!r}.")
    if kind in IN_JOIN_SET | {"join_next_try", "join_next_too_many"}:
        demand(isinstance(named, str) and named[:2] in ("o:", "n:", "g:"), f"{where}: its join set is {named!r}.")
    if kind == "join_next":
        demand(isinstance(event.get("closing"), bool), f"{where}: closing is no boolean.")
        demand(_json_instant(event.get("run_expires_at")), f"{where}: run_expires_at is malformed.")
    if kind == "join_set_request":
        request = event.get("request")
        demand(isinstance(request, dict), f"{where} requests nothing.")
        if request.get("type") == "child_execution_request":
            child = request.get("child_execution_id")
            demand(_derived_from(child, run_id, str(named)), f"{where}: the child {child!r} is none of it.")
            demand(isinstance(request.get("params"), list), f"{where}: params is no array.")
        else:
            demand(request.get("type") == "delay_request", f"{where} requests {request.get('type')!r}.")
            delay = request.get("delay_id")
            prefix = f"Delay_{run_id.removeprefix('E_')}"
            demand(_derived_from(delay, prefix, str(named)), f"{where}: the delay {delay!r} is none of it.")
            demand(_json_instant(request.get("expires_at")), f"{where}: expires_at is malformed.")


def _locked(where: str, content: Mapping[str, Any]) -> None:
    _component(where, content)
    demand(_matches(re.compile(f"Exr_{ULID}"), content.get("executor_id")), f"{where}: its executor_id is malformed.")
    demand(_matches(re.compile(f"Run_{ULID}"), content.get("run_id")), f"{where}: its run_id is malformed.")
    demand(_json_instant(content.get("lock_expires_at")), f"{where}: lock_expires_at is malformed.")
    demand(isinstance(content.get("retry_config"), dict), f"{where} has no retry_config.")


def _put_back(where: str, content: Mapping[str, Any]) -> None:
    demand(_json_instant(content.get("backoff_expires_at")), f"{where}: backoff_expires_at is malformed.")


def _put_back_because(where: str, content: Mapping[str, Any]) -> None:
    _put_back(where, content)
    demand(isinstance(content.get("reason"), str), f"{where} gives no reason.")


def _upgraded(where: str, content: Mapping[str, Any]) -> None:
    demand(_matches(DIGEST, content.get("component_digest")), f"{where}: its component_digest is malformed.")
    demand(_matches(DEPLOYMENT_ID, content.get("deployment_id")), f"{where}: its deployment_id is malformed.")
    demand(isinstance(content.get("outcome"), dict), f"{where} has no outcome.")


def _finished(where: str, content: Mapping[str, Any]) -> None:
    retval = content.get("retval")
    demand(isinstance(retval, dict) and len(retval) == 1 and retval.keys() <= OUTCOMES, f"{where} has no return value.")
    failure = retval.get("execution_failure") if isinstance(retval, dict) else None
    if failure is not None:
        demand(
            isinstance(failure, dict) and failure.get("kind") in FAILURES, f"{where}: its failure is of no known kind."
        )


_OTHERS: Mapping[str, Callable[[str, Mapping[str, Any]], None]] = {
    "locked": _locked,
    "unlocked": _put_back_because,
    "temporarily_failed": _put_back_because,
    "temporarily_timed_out": _put_back,
    "component_upgrade_finished": _upgraded,
    "finished": _finished,
}


def _derived_from(derived: object, parent: str, join_set: str) -> bool:
    prefix = f"{parent}.{join_set}_"
    return isinstance(derived, str) and derived.startswith(prefix) and derived[len(prefix) :].isdecimal()


def _json_instant(value: object) -> bool:
    return _matches(JSON_INSTANT, value)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None

"""Rows that are known to stop an Obelisk executor never get as far as COMMIT: each is made by hand inside the transaction."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs.errors import AppendRefused
from tests.retrying import plan, retry_here

NEW = "execution_id = '{new}'"
CHILD = "execution_id = '{new}.n:restock_2'"
STATE, LOG = "UPDATE t_state SET ", "UPDATE t_execution_log SET "
CREATED = LOG + "json_value = json_set(json_value, "
AT_0 = " AND version = 0"

# Of a run that is begun again: what is done to its rows, and the words of the refusal.
RUN_AGAIN = {
    "no metadata": (LOG + "json_value = json_remove(json_value, '$.created.metadata') WHERE " + NEW, "no metadata"),
    "metadata that is no text": (CREATED + "'$.created.metadata.retry', 7) WHERE " + NEW, "only texts"),
    "another first row": (
        LOG + "variant = 'unlocked', json_value = json_object('unlocked', 1) WHERE " + NEW,
        "the first row, and no other",
    ),
    "an unknown variant": (LOG + "variant = 'begun' WHERE " + NEW, "unknown variant"),
    "two keys": (LOG + "json_value = json_set(json_value, '$.more', 1) WHERE " + NEW, "the one key"),
    "params that are no list": (CREATED + "'$.created.params', 1) WHERE " + NEW, "params is no array"),
    "a parent": (CREATED + "'$.created.parent', json_array('{new}', 'o:1-a')) WHERE " + NEW, "its parent is not"),
    "a join set of nobody": (LOG + "join_set_id = 'o:1-a' WHERE " + NEW, "join set"),
    "a due time in JSON that is none": (CREATED + "'$.created.scheduled_at', 'soon') WHERE " + NEW, "scheduled_at"),
    "a deployment in JSON": (
        CREATED + "'$.created.deployment_id', 'Dep_oops') WHERE " + NEW,
        "deployment_id is malformed",
    ),
    "a component in JSON": (
        CREATED + "'$.created.component_id.component_type', 'thing') WHERE " + NEW,
        "component_id is malformed",
    ),
    "a digest in JSON": (
        CREATED + "'$.created.component_id.component_digest', 'sha256:12') WHERE " + NEW,
        "component_id is malformed",
    ),
    "a row created whenever": (LOG + "created_at = 'yesterday' WHERE " + NEW, "created_at is 'yesterday'"),
    "a digest of five bytes": (STATE + "component_id_input_digest = x'0102030405' WHERE " + NEW, "not 32 bytes"),
    "an incompatible digest": (STATE + "incompatible_digest = x'01' WHERE " + NEW, "not 32 bytes"),
    "a digest that is incompatible": (STATE + "incompatible_digest = zeroblob(32) WHERE " + NEW, "never be taken up"),
    "a deployment": (STATE + "deployment_id = 'Dep_oops' WHERE " + NEW, "deployment_id is 'Dep_oops'"),
    "a due time": (STATE + "pending_expires_finished = 'soon' WHERE " + NEW, "pending_expires_finished is 'soon'"),
    "a due time as in JSON": (
        STATE + "pending_expires_finished = '2026-11-22T14:58:34.632819Z' WHERE " + NEW,
        "pending_expires_finished",
    ),
    "a beginning": (STATE + "created_at = '2026-11-22' WHERE " + NEW, "created_at is '2026-11-22'"),
    "a first due time": (STATE + "first_scheduled_at = '' WHERE " + NEW, "first_scheduled_at"),
    "a change": (STATE + "updated_at = '2026-11-22 14:58:34.5' WHERE " + NEW, "updated_at"),
    "a component type": (STATE + "component_type = 'thing' WHERE " + NEW, "component_type is 'thing'"),
    "an executor without its lease": (
        STATE + "executor_id = 'Exr_01M81XWFPPZH5AFRNPNDB2JH3V' WHERE " + NEW,
        "does not go with",
    ),
    "a result while pending": (STATE + "result_kind = '\"ok\"' WHERE " + NEW, "does not go with"),
    "a lock while pending": (STATE + "last_lock_version = 0 WHERE " + NEW, "does not go with"),
    "locked by nobody": (STATE + "state = 'locked' WHERE " + NEW, "does not go with"),
    "blocked by nothing": (STATE + "state = 'blocked_by_join_set' WHERE " + NEW, "does not go with"),
    "finished without a result": (STATE + "state = 'finished' WHERE " + NEW, "does not go with"),
    "an unknown state": (STATE + "state = 'dozing' WHERE " + NEW, "state is 'dozing'"),
    "another function": (STATE + "ffqn = 'a:b/c.d' WHERE " + NEW, "another function"),
    "a version too high": (STATE + "corresponding_version = 1 WHERE " + NEW, "not at the newest version"),
    "not top-level": (STATE + "is_top_level = 0 WHERE " + NEW, "is_top_level"),
    "no state": ("DELETE FROM t_state WHERE " + NEW, "no state|were planned"),
    "no rows": ("DELETE FROM t_execution_log WHERE " + NEW, "were planned"),
    "a row too many": (
        "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant)"
        " VALUES ('{new}', '2026-11-22 14:58:34+00:00', '\"paused\"', 1, 'paused')",
        "were planned",
    ),
    "something elsewhere": (
        STATE + "updated_at = '2026-11-22 14:58:34' WHERE execution_id = '{old}'",
        "rows were changed",
    ),
}

# Of restock-failed: three children were asked for, the second failed; the wait for it is row {cut}.
RESPONSE = "UPDATE t_join_set_response SET "
OF = " WHERE execution_id = '{new}'"
FORK = {
    "a response without a number": (RESPONSE + "seq = NULL" + OF + " AND seq = 1", "are numbered"),
    "a gap in the numbers": (RESPONSE + "seq = 9" + OF + " AND seq = 2", "are numbered"),
    "a response too few": ("DELETE FROM t_join_set_response" + OF + " AND seq = 2", "were planned"),
    "a response of a stranger": (
        RESPONSE + "child_execution_id = '{old}.n:x_1'" + OF + " AND seq = 1",
        "has a response of",
    ),
    "a response of another row": (RESPONSE + "finished_version = 0" + OF + " AND seq = 1", "has no finished row"),
    "a response of child and delay": (RESPONSE + "delay_id = 'Delay_x'" + OF + " AND seq = 1", "is malformed"),
    "a response created whenever": (RESPONSE + "created_at = 'then'" + OF + " AND seq = 1", "was created at 'then'"),
    "a kept child that has not ended": (
        "UPDATE t_execution_log SET variant = 'paused', json_value = '\"paused\"' WHERE execution_id LIKE '{new}.%'"
        " AND variant = 'finished'",
        "is finished, its log is not|no finished row",
    ),
    "a missing row of history": (
        LOG + "version = 99 WHERE " + NEW + " AND version = 2",
        "newest version",
    ),
    "blocked by another join set": (STATE + "join_set_id = 'n:other' WHERE " + NEW, "blocked by another join set"),
    "pending though nobody answered": (
        STATE + "state = 'pending_at', join_set_id = NULL, join_set_closing = NULL WHERE " + NEW,
        "has no response",
    ),
    "closing": (STATE + "join_set_closing = 1 WHERE " + NEW, "blocked by another join set"),
    "a child without its join set": (LOG + "join_set_id = NULL WHERE " + CHILD + AT_0, "its join set is None"),
    "a child of another parent": (
        CREATED + "'$.created.parent[0]', '{old}') WHERE " + CHILD + AT_0,
        "its parent is not",
    ),
    "a child at the top": (STATE + "is_top_level = 1 WHERE " + CHILD, "is_top_level"),
    "a request for another's child": (
        LOG
        + "json_value = replace(json_value, '{new}', '{old}') WHERE "
        + NEW
        + " AND json_value LIKE '%child_execution_id%'",
        "is none of it",
    ),
    "the old id somewhere": (
        LOG
        + "json_value = json_set(json_value, '$.history_event.event.more', '{old}') WHERE "
        + NEW
        + " AND version = 2",
        "still names",
    ),
    "an event nobody knows": (
        LOG
        + "json_value = json_set(json_value, '$.history_event.event.type', 'nap') WHERE "
        + NEW
        + " AND version = 2",
        "unknown event",
    ),
    "a join set in JSON alone": (LOG + "join_set_id = NULL WHERE " + NEW + " AND version = 2", "column says join set"),
    "a wait without an end": (
        LOG
        + "json_value = json_set(json_value, '$.history_event.event.run_expires_at', 'x') WHERE "
        + NEW
        + " AND variant ="
        " 'history_event' AND history_event_type = 'join_next'",
        "run_expires_at is malformed",
    ),
    "a kept result that is another": (
        STATE + "result_kind = '{{\"err\":\"error\"}}' WHERE execution_id = '{new}.n:restock_1'",
        "result_kind is not what its log says",
    ),
    "a result of no kind": (
        LOG + "json_value = '{{\"finished\":{{}}}}' WHERE execution_id = '{new}.n:restock_1' AND variant = 'finished'",
        "no return value",
    ),
    "a lock without a lease": (
        LOG + "json_value = json_remove(json_value, '$.locked.run_id') WHERE " + NEW + " AND variant = 'locked'",
        "run_id is malformed",
    ),
}

DELAYS = {
    "a delay of no id": ("delay_id = 'oops'", "no id that the engine can read"),
    "a delay of another run": ("delay_id = 'Delay_01M81XWFPPZH5AFRNPNDB2JH3V.n:race_1'", "is none of"),
    "a due time": ("expires_at = 'soon'", "expires at 'soon'"),
    "a due time as in JSON": ("expires_at = '2026-11-22T14:58:34.632819Z'", "expires at"),
    "neither paused nor not": ("is_paused = 7", "is_paused is 7"),
}

CHANGED = {
    "given back as nothing": ("backoff", LOG + "json_value = '{{}}' WHERE {newest}", "the one key"),
    "given back later": (
        "backoff",
        LOG
        + "json_value = json_set(json_value, '$.unlocked.backoff_expires_at', '2030-01-01T00:00:00Z') WHERE {newest}",
        "its log says",
    ),
    "given back for no reason": (
        "backoff",
        LOG + "json_value = json_remove(json_value, '$.unlocked.reason') WHERE {newest}",
        "no reason",
    ),
    "due some time": (
        "backoff",
        STATE + "pending_expires_finished = 'now' WHERE " + NEW,
        "pending_expires_finished is 'now'",
    ),
    "due as in JSON": (
        "backoff",
        STATE + "pending_expires_finished = '2026-11-22T15:29:22Z' WHERE " + NEW,
        "pending_expires_finished",
    ),
    "not at its version": ("backoff", STATE + "corresponding_version = 9 WHERE " + NEW, "not at the newest version"),
    "blocked instead": (
        "backoff",
        STATE + "state = 'blocked_by_join_set', join_set_id = 'n:a', join_set_closing = 0 WHERE " + NEW,
        "is not pending",
    ),
    "half a lease": ("backoff", STATE + "run_id = NULL WHERE " + NEW, "does not go with"),
    "unpaused as an object": (
        "paused-new",
        LOG + "json_value = '{{\"unpaused\":{{}}}}' WHERE {newest}",
        "does not hold the text",
    ),
    "unpaused but paused": ("paused-new", STATE + "lifecycle = 'paused' WHERE " + NEW, "is not active"),
    "another function": ("paused-new", STATE + "ffqn = 'a:b/c.d' WHERE " + NEW, "another function"),
    "a delay due as in JSON": (
        "blocked-on-delay",
        "UPDATE t_delay SET expires_at = '2026-11-22T15:29:22Z' WHERE " + NEW,
        "expires at",
    ),
    "no delay any more": ("blocked-on-delay", "DELETE FROM t_delay WHERE " + NEW, "is not there"),
    "another execution": (
        "blocked-on-delay",
        STATE + "updated_at = '2026-11-22 14:58:34' WHERE execution_id <> '{new}'",
        "rows were changed",
    ),
}


@pytest.fixture
def shop(
    fresh: Callable[[str], Path], oracle: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, str]]:
    """A copy of shop-staging at the moment when the engine was asked about it, and its labelled executions."""
    monkeypatch.setenv("DURASCOPE_NOW", oracle("shop-staging")["read_at"])
    return fresh("shop-staging"), oracle("shop-staging")["scenarios"]


def refuses(path: Path, run_id: str, spoil: str, words: str) -> None:
    """The plan is appended and spoiled: the check refuses it with these words, and nothing is kept."""
    found = plan(path, run_id)
    assert found.eligible
    newest = (
        "execution_id = '{new}' AND version = (SELECT max(version) FROM t_execution_log WHERE execution_id = '{new}')"
    )
    names = {"new": found.new_run, "old": found.run}
    with pytest.raises(AppendRefused, match=words):
        retry_here(path, run_id, spoil=spoil.format(newest=newest.format(**names), **names))
    assert plan(path, run_id).digest == found.digest


@pytest.mark.parametrize("label", RUN_AGAIN)
def test_a_malformed_new_run_is_refused(label: str, shop: tuple[Path, dict[str, str]]) -> None:
    path, scenarios = shop
    refuses(path, scenarios["retries-exhausted"], *RUN_AGAIN[label])


@pytest.mark.parametrize("label", FORK)
def test_a_malformed_fork_is_refused(label: str, shop: tuple[Path, dict[str, str]]) -> None:
    path, scenarios = shop
    refuses(path, scenarios["restock-failed"], *FORK[label])


@pytest.mark.parametrize("label", DELAYS)
def test_a_malformed_delay_is_refused(label: str, shop: tuple[Path, dict[str, str]]) -> None:
    path, scenarios = shop
    with closing(sqlite3.connect(path)) as connection, connection:
        # As if the child of the race had failed first.
        child = f"{scenarios['race-timeout']}.n:race_1"
        failed = '{"finished":{"retval":{"err":null},"http_client_traces":null}}'
        connection.execute(
            "UPDATE t_execution_log SET json_value = ? WHERE execution_id = ? AND variant = 'finished'", (failed, child)
        )
        connection.execute(
            "UPDATE t_join_set_response SET seq = -seq WHERE execution_id = ?", (scenarios["race-timeout"],)
        )
    spoil, words = DELAYS[label]
    refuses(path, scenarios["race-timeout"], f"UPDATE t_delay SET {spoil} WHERE execution_id = '{{new}}'", words)


@pytest.mark.parametrize("label", CHANGED)
def test_a_malformed_change_is_refused(label: str, shop: tuple[Path, dict[str, str]]) -> None:
    path, scenarios = shop
    scenario, spoil, words = CHANGED[label]
    refuses(path, scenarios[scenario], spoil, words)

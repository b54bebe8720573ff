"""What comparing reads of DBOS databases, against plain SQL on the same files."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from runs.clock import EPOCH
from runs.digests import Mark, RunDigest, StepSample
from runs.engines.base import Engine
from runs.engines.dbos import Dbos
from runs.errors import RunNotFound, Unreadable
from runs.records import Status
from tests.conftest import DBOS
from tests.dbos_files import ZOO, Unpacked, column, read, sql

MICROSECOND = timedelta(microseconds=1)
PROGRESS = {
    "workflow_status": {
        *(
            "queue_name",
            "priority",
            "deduplication_id",
            "queue_partition_key",
            "executor_id",
            "owner_xid",
            "creator_xid",
        ),
        *(
            "recovery_attempts",
            "started_at_epoch_ms",
            "workflow_deadline_epoch_ms",
            "delay_until_epoch_ms",
            "attributes",
        ),
        *("application_version", "application_name", "was_forked_from", "rate_limited", "updated_at"),
        "debounce_deadline_epoch_ms",
    },
    "workflow_events": {"value", "serialization"},
    "notifications": {"consumed", "consumed_by_function_id"},
    "operation_outputs": {"application_name", "retention_timestamp"},
    "workflow_input": {"retention_timestamp"},
    "workflow_output": {"retention_timestamp"},
}
UNCHANGING = {
    "workflow_status": (
        *(
            "name",
            "class_name",
            "config_name",
            "created_at",
            "authenticated_user",
            "assumed_role",
            "authenticated_roles",
        ),
        *("workflow_timeout_ms", "parent_workflow_id", "forked_from", "schedule_name", "serialization", "completed_at"),
    ),
    "workflow_input": ("inputs",),
    "workflow_output": ("output", "error"),
    "operation_outputs": (
        *("function_id", "function_name", "output", "error", "child_workflow_id", "serialization"),
        *("started_at_epoch_ms", "completed_at_epoch_ms"),
    ),
    "workflow_events_history": ("key", "value", "serialization"),
    "streams": ("key", "offset", "value", "function_id", "serialization"),
    "notifications": ("topic", "message", "created_at_epoch_ms", "serialization"),
}
RUN = {"notifications": "destination_uuid"}


def parts(engine: Engine, limit: int) -> tuple[list[RunDigest], dict[str, tuple[int, ...]]]:
    """All digests, and of the steps by name how many, failed, retried, with durations, and the sum of these."""
    found: list[RunDigest] = []
    samples: dict[str, list[StepSample]] = {}
    after, more = "", True
    while more:
        part = engine.digests(after, limit)
        assert len(part.runs) <= limit
        found += part.runs
        for name, sample in part.steps.items():
            samples.setdefault(name, []).append(sample)
        after, more = (part.runs[-1].id if part.runs else after), part.more
    summed: dict[str, tuple[int, ...]] = {
        name: (
            sum(each.count for each in some),
            sum(each.failed for each in some),
            sum(each.retried for each in some),
            sum(len(each.durations) for each in some),
            sum(sum(each.durations) for each in some),
        )
        for name, some in samples.items()
    }
    return found, summed


def digests(path: Path) -> dict[str, RunDigest]:
    return read(path, lambda engine: {run.id: run for run in parts(engine, 1000)[0]})


def histories(path: Path) -> dict[str, bytes]:
    return {run_id: run.history for run_id, run in digests(path).items()}


def altered(before: dict[str, bytes], path: Path) -> set[str]:
    after = histories(path)
    return {run_id for run_id in before.keys() | after.keys() if before.get(run_id) != after.get(run_id)}


@pytest.mark.parametrize("name", DBOS)
def test_every_run_has_one_digest_whatever_the_size_of_a_part(unpacked: Unpacked, name: str) -> None:
    path = unpacked(name)
    expected = column(path, "SELECT workflow_uuid FROM workflow_status ORDER BY CAST(workflow_uuid AS BLOB)")
    whole, samples = read(path, lambda engine: parts(engine, 1000))
    assert [run.id for run in whole] == expected
    for limit in (1, 2, 7, len(expected), len(expected) + 1):
        assert read(path, lambda engine, limit=limit: parts(engine, limit)) == (whole, samples)


@pytest.mark.parametrize("name", DBOS)
def test_a_digest_says_what_the_run_says(unpacked: Unpacked, name: str) -> None:
    def work(engine: Dbos) -> None:
        for found in parts(engine, 1000)[0]:
            run = engine.run(found.id)
            assert (found.workflow, found.status, found.error) == (
                run.workflow, run.status, run.error if run.status is Status.FAILED else None,
            )  # fmt: skip
            assert (found.parent, found.forked_from, found.version) == (run.parent, run.forked_from, run.version or "")
            assert found.created_at == (run.created_at - EPOCH) // MICROSECOND
            assert found.finished_at == (run.finished_at and (run.finished_at - EPOCH) // MICROSECOND)
            assert found.duration == (None if run.duration is None else run.duration // MICROSECOND)
            assert found.scheduled == found.id.startswith("sched-")
            body = engine.payload(found.id, "run.input").data if run.payloads.input else None
            assert found.input == (hashlib.sha256(body).digest()[:16] if body is not None else b"")

    read(unpacked(name), work)


@pytest.mark.parametrize("name", DBOS)
def test_marks_are_what_is_stored_and_equal_where_histories_are(unpacked: Unpacked, name: str) -> None:
    path = unpacked(name)
    found = digests(path)
    marks: dict[str, tuple[Mark, ...]] = read(path, lambda engine: engine.marks(found))
    ended = set(column(path, "SELECT workflow_uuid FROM workflow_status WHERE status IN ('SUCCESS', 'ERROR')"))
    digest_sets = set()
    for run_id, its in marks.items():
        positions = [mark.position for mark in its]
        assert len(set(positions)) == len(positions) == found[run_id].events
        assert positions[0] == "created"
        assert (positions[-1] == "end") == (run_id in ended)
        steps = column(path, "SELECT function_id FROM operation_outputs WHERE workflow_uuid = ?", run_id)
        assert {position for position in positions if position.isdigit()} == {str(number) for number in steps}
        newest = max(mark.at for mark in its if mark.at)
        assert found[run_id].last_at == (newest - EPOCH) // MICROSECOND
        digest_sets.add((found[run_id].history, tuple((mark.position, mark.digest) for mark in its)))
    assert len({history for history, _ in digest_sets}) == len({each for _, each in digest_sets}) == len(digest_sets)


@pytest.mark.parametrize("name", DBOS)
def test_contents_are_of_exactly_the_payloads_of_a_run_and_its_steps(unpacked: Unpacked, name: str) -> None:
    def work(engine: Dbos) -> None:
        for run in parts(engine, 1000)[0]:
            slots = [engine.run(run.id).payloads, *(step.payloads for step in engine.steps(run.id))]
            names = {each.name for slot in slots for each in (slot.input, slot.output, slot.error) if each}
            contents = engine.contents(run.id)
            assert contents.keys() == names
            for payload in names:
                assert contents[payload] == hashlib.sha256(engine.payload(run.id, payload).data).digest()[:16]
            inputs = engine.inputs([run.id, "no such run"])
            assert inputs == ({run.id: engine.payload(run.id, "run.input")} if run.input else {})
        with pytest.raises(RunNotFound):
            engine.contents("no such run")
        assert engine.marks(["no such run"]) == {}

    read(unpacked(name), work)


@pytest.mark.parametrize("name", DBOS)
def test_step_samples_count_the_steps_that_did_work(unpacked: Unpacked, name: str) -> None:
    waits = {"DBOS.sleep", "DBOS.getResult", "DBOS.recv", "DBOS.send", "DBOS.send_bulk", "DBOS.getEvent"}

    def expected(engine: Dbos) -> dict[str, tuple[int, ...]]:
        found: dict[str, list[int]] = {}
        for run in parts(engine, 1000)[0]:
            for step in engine.steps(run.id):
                if step.name in waits or step.inherited or not step.status.finished:
                    continue
                sums = found.setdefault(step.name, [0, 0, 0, 0, 0])
                sums[0] += 1
                sums[1] += step.status is Status.FAILED
                sums[2] += len(step.attempts) > 1
                if step.duration is not None:
                    sums[3] += 1
                    sums[4] += step.duration // MICROSECOND
        return {step: tuple(sums) for step, sums in found.items()}

    path = unpacked(name)
    assert read(path, lambda engine: parts(engine, 3))[1] == read(path, expected)


@pytest.mark.parametrize("name", DBOS)
def test_the_place_of_a_child_is_the_number_of_the_step_that_started_it(unpacked: Unpacked, name: str) -> None:
    path = unpacked(name)
    starts = sql(
        path,
        """SELECT child_workflow_id, workflow_uuid, CAST(min(function_id) AS TEXT) FROM operation_outputs
        WHERE child_workflow_id IS NOT NULL AND function_name NOT LIKE 'DBOS.%' GROUP BY 1, 2""",
    )
    expected = {(child, parent): number for child, parent, number in starts}
    for limit in (1, 1000):
        for run in read(path, lambda engine, limit=limit: parts(engine, limit)[0]):
            assert run.ordinal == (expected.get((run.id, run.parent), "") if run.parent else "")


def _change(path: Path, table: str, name: str, row: int) -> None:
    value = sql(path, f'SELECT "{name}" FROM "{table}" WHERE rowid = ?', row)[0][0]
    if isinstance(value, int):
        new: object = value + 1
    elif isinstance(value, str) and value:
        new = value[:-1] + ("A" if value[-1] != "A" else "B")
    else:
        new = 1 if name.endswith(("_ms", "_at")) else "x"
    sql(path, f'UPDATE "{table}" SET "{name}" = ? WHERE rowid = ?', new, row)


@pytest.mark.parametrize("table", UNCHANGING)
def test_one_byte_changed_in_what_is_never_changed_alters_exactly_that_history(
    fresh: Callable[[str], Path], table: str
) -> None:
    path = fresh(ZOO)
    before = histories(path)
    key = RUN.get(table, "workflow_uuid")
    succeeded = f"{key} IN (SELECT workflow_uuid FROM workflow_status WHERE status IN ('SUCCESS', 'ERROR'))"
    row, run_id = sql(path, f'SELECT rowid, "{key}" FROM "{table}" WHERE {succeeded} ORDER BY rowid DESC LIMIT 1')[0]
    for name in UNCHANGING[table]:
        saved = sql(path, f'SELECT "{name}" FROM "{table}" WHERE rowid = ?', row)[0][0]
        _change(path, table, name, row)
        assert altered(before, path) == {run_id}, name
        sql(path, f'UPDATE "{table}" SET "{name}" = ? WHERE rowid = ?', saved, row)
    assert histories(path) == before


@pytest.mark.parametrize("table", PROGRESS)
def test_what_the_engine_changes_later_alters_no_history(fresh: Callable[[str], Path], table: str) -> None:
    path = fresh(ZOO)
    before = histories(path)
    for name in PROGRESS[table]:
        unique = name in ("queue_name", "deduplication_id")
        sql(path, f'UPDATE "{table}" SET "{name}" = {"NULL" if unique else f"""COALESCE("{name}", 0) + 7"""}')
    assert not altered(before, path)


def test_an_end_that_the_engine_may_undo_is_no_mark(fresh: Callable[[str], Path]) -> None:
    path = fresh(ZOO)
    before = histories(path)
    (run_id, *_) = column(path, "SELECT workflow_uuid FROM workflow_status WHERE status = 'CANCELLED'")
    sql(path, "UPDATE workflow_status SET status = 'PENDING', completed_at = NULL WHERE workflow_uuid = ?", run_id)
    assert not altered(before, path)


def test_a_debounced_run_gets_its_input_when_it_is_due(fresh: Callable[[str], Path]) -> None:
    """Until then each call replaces it (debounce in dbos/_sys_db.py)."""
    path = fresh(ZOO)
    (run_id, *_) = column(path, "SELECT workflow_uuid FROM workflow_status WHERE status = 'DELAYED'")
    sql(path, "UPDATE workflow_status SET is_debounced = 1 WHERE workflow_uuid = ?", run_id)
    before = histories(path)
    sql(path, "UPDATE workflow_input SET inputs = 'other' WHERE workflow_uuid = ?", run_id)
    assert not altered(before, path)
    first = read(path, lambda engine: engine.marks([run_id])[run_id])
    sql(path, "UPDATE workflow_status SET status = 'ENQUEUED' WHERE workflow_uuid = ?", run_id)
    assert [mark.position for mark in first] == ["created"]
    later = read(path, lambda engine: engine.marks([run_id])[run_id])
    assert later[: len(first)] == first
    assert [mark.position for mark in later] == ["created", "input"]


def test_rows_of_an_id_that_only_a_file_of_its_own_takes_for_the_same_belong_to_no_run(
    fresh: Callable[[str], Path],
) -> None:
    path = fresh("mini-3.4.0")
    (run_id,) = column(path, "SELECT workflow_uuid FROM operation_outputs ORDER BY rowid LIMIT 1")
    before = read(path, lambda engine: engine.marks([run_id]))
    (made,) = column(path, "SELECT sql FROM sqlite_master WHERE name = 'operation_outputs'")
    sql(path, "ALTER TABLE operation_outputs RENAME TO plain")
    sql(path, re.sub(r"(workflow_uuid \w+)", r"\1 COLLATE NOCASE", made, count=1))
    sql(path, "INSERT INTO operation_outputs SELECT * FROM plain")
    sql(path, "UPDATE plain SET workflow_uuid = upper(workflow_uuid), function_id = function_id + 1000")
    sql(path, "INSERT INTO operation_outputs SELECT * FROM plain")
    assert read(path, lambda engine: engine.marks([run_id])) == before


def test_of_a_run_with_two_inputs_the_first_is_read(fresh: Callable[[str], Path]) -> None:
    path = fresh("mini-3.4.0")
    run_id = column(path, "SELECT workflow_uuid FROM workflow_input ORDER BY rowid")[0]
    before = read(path, lambda engine: engine.contents(run_id))
    sql(path, "ALTER TABLE workflow_input RENAME TO plain")
    sql(path, "CREATE TABLE workflow_input AS SELECT * FROM plain")
    sql(path, "INSERT INTO workflow_input SELECT * FROM plain")
    assert read(path, lambda engine: engine.contents(run_id)) == before


@pytest.mark.parametrize(
    "name", ["function_name", "output", "error", "child_workflow_id", "serialization", "completed_at_epoch_ms"]
)
def test_what_is_stored_counts_as_it_is_stored(fresh: Callable[[str], Path], name: str) -> None:
    """Bytes that are no UTF-8, the same digits as a number and as text, nothing and an empty text: each is another past."""
    path = fresh("mini-3.4.0")
    row, run_id = sql(path, "SELECT rowid, workflow_uuid FROM operation_outputs ORDER BY rowid LIMIT 1")[0]
    values = [
        "CAST(x'61ff' AS TEXT)",
        "CAST(x'61fe' AS TEXT)",
        "''",
        "'7x'",
        *(["NULL"] if name != "function_name" else []),
    ]
    if name.endswith("_ms"):
        values = ["NULL", "7", "7.5", "'7x'", "''"]
    seen = []
    for value in values:
        sql(path, f"UPDATE operation_outputs SET {name} = {value} WHERE rowid = {row}")
        seen.append(histories(path))
    assert len({each[run_id] for each in seen}) == len(values)
    assert {tuple(history for each, history in sorted(found.items()) if each != run_id) for found in seen} == {
        tuple(history for each, history in sorted(seen[0].items()) if each != run_id)
    }


def test_large_bodies_count_to_their_last_byte(fresh: Callable[[str], Path]) -> None:
    path = fresh(ZOO)
    (run_id, number) = sql(
        path, "SELECT workflow_uuid, function_id FROM operation_outputs ORDER BY length(output) DESC"
    )[0]
    before = histories(path)
    where = "WHERE workflow_uuid = ? AND function_id = ?"
    sql(
        path,
        f"UPDATE operation_outputs SET output = substr(output, 1, length(output) - 1) || '!' {where}",
        run_id,
        number,
    )
    assert altered(before, path) == {run_id}
    contents = read(path, lambda engine: engine.contents(run_id))
    stored = column(path, f"SELECT output FROM operation_outputs {where}", run_id, number)[0]
    assert contents[f"step.{number}.output"] == hashlib.sha256(stored.encode()).digest()[:16]


def test_clocks_and_ids_are_no_content_and_results_are(fresh: Callable[[str], Path]) -> None:
    path = fresh(ZOO)
    before = digests(path)
    sql(
        path,
        "UPDATE operation_outputs SET started_at_epoch_ms = 7, child_workflow_id = 'x' || child_workflow_id",
    )
    sql(path, "UPDATE operation_outputs SET output = 'gARHQdmAAAAAAAAu' WHERE function_name = 'DBOS.sleep'")
    sql(path, "UPDATE workflow_status SET created_at = created_at + 5000, completed_at = completed_at + 9000")
    after = digests(path)
    assert {run_id: run.content for run_id, run in after.items()} == {
        run_id: run.content for run_id, run in before.items()
    }
    run_id = column(
        path, "SELECT workflow_uuid FROM operation_outputs WHERE output IS NOT NULL AND function_name = 'add'"
    )[0]
    sql(
        path,
        "UPDATE operation_outputs SET output = output || 'x' WHERE workflow_uuid = ? AND function_name = 'add'",
        run_id,
    )
    changed = digests(path)
    assert {each for each in changed if changed[each].content != after[each].content} == {run_id}


def test_a_run_with_very_many_steps_has_the_same_digest_in_every_part(fresh: Callable[[str], Path]) -> None:
    path = fresh("mini-3.4.0")
    (first, *_) = column(path, "SELECT workflow_uuid FROM workflow_status ORDER BY workflow_uuid")
    sql(
        path,
        """WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20099)
        INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, started_at_epoch_ms,
            completed_at_epoch_ms, serialization)
        SELECT ?, i, 'many', 'output ' || i, 1780000000000 + i, 1780000000009 + i, 'portable_json' FROM n""",
        first,
    )
    whole, samples = read(path, lambda engine: parts(engine, 1000))
    assert len(whole) == len(column(path, "SELECT workflow_uuid FROM workflow_status"))
    assert samples["many"] == (20000, 0, 0, 20000, 9000 * 20000)
    assert len(read(path, lambda engine: engine.digests("", 1000)).runs) < len(whole)  # it fills a part alone
    assert read(path, lambda engine: parts(engine, 1)) == (whole, samples)
    before = histories(path)
    sql(path, "UPDATE operation_outputs SET output = 'other' WHERE workflow_uuid = ? AND function_id = 15000", first)
    assert altered(before, path) == {first}
    marks = read(path, lambda engine: engine.marks([first])[first])
    assert sum(mark.name == "many" for mark in marks) == 20000


def test_ids_that_are_no_text_do_not_lead_in_a_circle(fresh: Callable[[str], Path]) -> None:
    path = fresh("mini-3.4.0")
    sql(
        path,
        "INSERT INTO workflow_status (workflow_uuid, status, name, created_at) VALUES (CAST(x'6162ff' AS TEXT), 'PENDING', 'w', 1)",
    )
    with pytest.raises(Unreadable):
        read(path, lambda engine: parts(engine, 1))


def test_a_database_that_an_engine_went_on_with_keeps_its_marks(tmp_path: Path) -> None:
    """The same statements that a newer release makes of an old file: rows with NULLs in the columns that came later."""
    from tests.conftest import unpack

    path = unpack("mini-2.0.0", tmp_path / "old")
    before = histories(path)
    for added in ("parent_workflow_id", "forked_from", "serialization", "schedule_name", "completed_at"):
        sql(path, f"ALTER TABLE workflow_status ADD COLUMN {added} TEXT DEFAULT NULL")
    sql(path, "ALTER TABLE operation_outputs ADD COLUMN started_at_epoch_ms BIGINT")
    sql(path, "ALTER TABLE operation_outputs ADD COLUMN completed_at_epoch_ms BIGINT")
    sql(path, "ALTER TABLE streams ADD COLUMN function_id INTEGER NOT NULL DEFAULT 0")
    sql(path, "CREATE TABLE workflow_input (workflow_uuid TEXT NOT NULL PRIMARY KEY, inputs TEXT)")
    sql(path, "CREATE TABLE workflow_output (workflow_uuid TEXT NOT NULL PRIMARY KEY, output TEXT, error TEXT)")
    assert histories(path) == before


def test_reading_changes_nothing_between_copies(unpacked: Unpacked, fresh: Callable[[str], Path]) -> None:
    for name in DBOS:
        assert digests(fresh(name)) == digests(unpacked(name))

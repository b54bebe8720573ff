"""Rows of DBOS files as they are stored, and histories by type with what belongs together."""

from collections import Counter
from collections.abc import Mapping

import pytest

from runs.clock import from_epoch_ms
from runs.engines.dbos import Dbos
from runs.errors import RunNotFound, StepNotFound
from runs.records import Cell, Event, Payload, RunRef, Section, Status
from tests.conftest import DBOS
from tests.dbos_files import ZOO, Unpacked, all_runs, column, read, sql


def stored(section: Section) -> Mapping[str, Cell]:
    assert section.columns == ("column", "stored value", "meaning")
    return {str(row[0]): row[1] for row in section.rows}


def meanings(section: Section) -> Mapping[str, Cell]:
    return {str(row[0]): row[2] for row in section.rows}


@pytest.mark.parametrize("name", DBOS)
def test_each_column_of_a_run_and_of_its_steps_is_shown_as_stored(name: str, fresh: Unpacked) -> None:
    path = fresh(name)

    def check(section: Section, row: tuple[object, ...], columns: list[str]) -> None:
        shown = stored(section)
        assert list(shown) == columns
        for label, value in zip(columns, row, strict=True):
            cell = shown[label]
            if isinstance(cell, Payload):
                assert isinstance(value, str)
                assert cell.size_bytes == len(value.encode())
            elif value is None:
                assert cell is None
            else:
                assert cell == (f"x'{value.hex()}'" if isinstance(value, bytes) else str(value))

    def work(engine: Dbos) -> None:
        for table, key, id_of in (
            ("workflow_status", "workflow_uuid", None),
            ("operation_outputs", "workflow_uuid", "function_id"),
        ):
            columns = column(path, f"SELECT name FROM pragma_table_info('{table}')")
            for row in sql(path, f"SELECT * FROM {table}"):
                values = dict(zip(columns, row, strict=True))
                sections = engine.raw(values[key], values[id_of] if id_of else None)
                assert sections[0].key == table
                check(sections[0], row, columns)

    read(path, work)


def test_bodies_are_shown_as_the_payloads_that_they_are(fresh: Unpacked) -> None:
    path = fresh(ZOO)

    def work(engine: Dbos) -> None:
        seen: Counter[str] = Counter()
        for run in all_runs(engine):
            sections = [engine.raw(run.id, None), *(engine.raw(run.id, step.ordinal) for step in engine.steps(run.id))]
            for section in (each for group in sections for each in group):
                for label, cell, _ in section.rows:
                    if isinstance(cell, Payload):
                        body = engine.payload(run.id, cell.name)
                        assert (body.payload, len(body.data)) == (cell, cell.size_bytes)
                        seen[f"{section.key}.{str(label).partition(' ')[0]}"] += 1
        whole = {
            "workflow_input.inputs": "SELECT count(*) FROM workflow_input WHERE inputs IS NOT NULL",
            "workflow_output.output": "SELECT count(*) FROM workflow_output WHERE output IS NOT NULL",
            "workflow_output.error": "SELECT count(*) FROM workflow_output WHERE error IS NOT NULL",
            "operation_outputs.output": "SELECT count(*) FROM operation_outputs WHERE output IS NOT NULL",
            "operation_outputs.error": "SELECT count(*) FROM operation_outputs WHERE error IS NOT NULL",
            "workflow_events_history.value": "SELECT count(*) FROM workflow_events_history",
            "streams.value": "SELECT count(*) FROM streams JOIN operation_outputs USING (workflow_uuid, function_id)",
            "notifications.message": "SELECT count(*) FROM notifications WHERE consumed_by_function_id IS NOT NULL",
        }
        assert dict(seen) == {key: number for key, query in whole.items() if (number := sql(path, query)[0][0])}

    read(path, work)


def test_several_rows_of_a_table_are_numbered(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    run_id, number = sql(path, """SELECT workflow_uuid, function_id FROM streams
        JOIN operation_outputs USING (workflow_uuid, function_id) LIMIT 1""")[0]  # fmt: skip
    late = """INSERT INTO streams (workflow_uuid, key, value, "offset", function_id) VALUES (?, 'late', '1', 99, ?)"""
    sql(path, late, run_id, number)
    sections = {section.key: section for section in read(path, lambda engine: engine.raw(run_id, number))}
    shown = stored(sections["streams"])
    assert {shown["key (1)"], shown["key (2)"]} >= {"late"}
    assert stored(sections["operation_outputs"])["function_id"] == str(number)


def test_numbers_and_ids_have_their_meaning_beside_them(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    ((run_id, created, forked_from),) = sql(path, """SELECT workflow_uuid, created_at, forked_from FROM workflow_status
        WHERE forked_from IS NOT NULL ORDER BY workflow_uuid LIMIT 1""")  # fmt: skip
    shown = meanings(read(path, lambda engine: engine.raw(run_id, None))[0])
    assert shown["created_at"] == from_epoch_ms(created)
    assert shown["forked_from"] == RunRef(forked_from)
    assert isinstance(shown["status"], Status)
    assert shown["executor_id"] is None


def test_bytes_that_are_text_are_read_beside_them(unpacked: Unpacked) -> None:
    section = read(unpacked("go-1.8.0"), lambda engine: engine.raw("order-o0", None))[0]
    assert stored(section)["authenticated_roles"] == "x'6e756c6c'"
    assert meanings(section)["authenticated_roles"] == "null"


def test_long_values_and_bytes_are_cut_with_their_size_said(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE workflow_status SET assumed_role = ?, owner_xid = ?, request = ? WHERE workflow_uuid = 'wf-happy'",
        "é" * 301, b"\x00\xff" * 10, b"\xaa" * 1000)  # fmt: skip
    shown = stored(read(path, lambda engine: engine.raw("wf-happy", None))[0])
    assert shown["assumed_role"] == "é" * 300 + "… (602 bytes in all)"
    assert shown["owner_xid"] == "x'" + "00ff" * 10 + "'"
    assert shown["request"] == "x'" + "aa" * 150 + "'… (1,000 bytes in all)"


def test_what_is_not_there_has_no_rows(unpacked: Unpacked) -> None:
    with pytest.raises(StepNotFound):
        read(unpacked(ZOO), lambda engine: engine.raw("wf-happy", 99))
    with pytest.raises(RunNotFound):
        read(unpacked(ZOO), lambda engine: engine.raw("nobody", None))


def test_columns_with_names_that_no_engine_gives_are_left_out(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    sql(path, """ALTER TABLE workflow_status ADD COLUMN "x"" FROM sqlite_master; --" TEXT""")
    sql(path, """ALTER TABLE workflow_status ADD COLUMN "{schema}" TEXT""")
    sql(path, """ALTER TABLE workflow_status ADD COLUMN mood TEXT DEFAULT 'fine'""")
    shown = stored(read(path, lambda engine: engine.raw("wf-happy", None))[0])
    assert shown["mood"] == "fine"
    assert not any('"' in label or "{" in label for label in shown)


@pytest.mark.parametrize("name", DBOS)
def test_events_of_some_types_are_those_of_all_that_have_them(name: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        for run in all_runs(engine):
            every = engine.events(run.id, None, 10_000).rows
            counted = Counter(event.type for event in every)
            types = engine.event_types(run.id)
            assert dict(types) == counted
            assert [number for _, number in types] == sorted(counted.values(), reverse=True)
            for wanted in (*(frozenset({kind}) for kind in counted), frozenset(counted), frozenset({"no such type"})):
                expected = [event for event in every if event.type in wanted]
                found: list[Event] = []
                after: int | None = None
                while True:
                    page = engine.events(run.id, after, 1, wanted)
                    found.extend(page.rows)
                    if page.next is None:
                        break
                    assert isinstance(page.next.at, int)
                    after = page.next.at
                assert found == expected

    read(unpacked(name), work)


@pytest.mark.parametrize("name", DBOS)
def test_a_step_belongs_with_what_it_wrote_and_received(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    columns = {table: set(column(path, f"SELECT name FROM pragma_table_info('{table}')"))
               for table in ("workflow_events_history", "streams", "notifications")}  # fmt: skip
    written = []
    if "function_id" in columns["workflow_events_history"]:
        written += sql(path, "SELECT workflow_uuid, function_id FROM workflow_events_history")
    if "function_id" in columns["streams"]:
        written += sql(path, "SELECT workflow_uuid, function_id FROM streams")
    if "consumed_by_function_id" in columns["notifications"]:
        written += sql(path, """SELECT destination_uuid, consumed_by_function_id FROM notifications
            WHERE consumed_by_function_id IS NOT NULL""")  # fmt: skip
    expected = Counter(written)

    def work(engine: Dbos) -> None:
        found: Counter[tuple[str, int]] = Counter()
        for run in all_runs(engine):
            events = {event.position: event for event in engine.events(run.id, None, 10_000).rows}
            for event in events.values():
                assert event.position not in event.related
                assert all(event.position in events[other].related for other in event.related)
                if event.native.startswith("operation_outputs."):
                    assert isinstance(event.data, dict)
                    found[run.id, event.data["step"]] += len(event.related)
        assert +found == Counter({key: number for key, number in expected.items() if key in found})

    read(path, work)

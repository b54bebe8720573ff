"""What DBOS runs stored, and the history put together from it."""

import json
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from runs import payloads
from runs.engines.dbos import Dbos
from runs.errors import PayloadNotFound
from runs.records import Payload
from tests.conftest import DBOS
from tests.dbos_files import ZOO, Unpacked, all_runs, column, read, sql


@pytest.mark.parametrize(
    "name",
    ["", "run", "run.inputs", "step.1", "step.99.output", "step.x.output", "step.-1.output", "step.²1.output", "step.1.input",
     "value.1.nokey", "stream.9.log", "published.none", "message.none", "event.0.data", "event.999.data", "run.error", "a.b.c.d"],
)  # fmt: skip
def test_an_unknown_payload_is_not_found(name: str, unpacked: Unpacked) -> None:
    with pytest.raises(PayloadNotFound):
        read(unpacked(ZOO), lambda engine: engine.payload("wf-happy", name))


def _mentioned(engine: Dbos, run_id: str) -> list[Payload]:
    run = engine.run(run_id)
    slots = [run.payloads, *(step.payloads for step in engine.steps(run_id))]
    found = [payload for slot in slots for payload in (slot.input, slot.output, slot.error)]
    found += [event.payload for event in engine.events(run_id, None, 1000).rows]
    found += [cell for part in engine.extras(run_id) for row in part.rows for cell in row if isinstance(cell, Payload)]
    return [payload for payload in found if payload is not None]


@pytest.mark.parametrize("name", DBOS)
def test_every_payload_that_is_mentioned_can_be_read_whole_and_decoded(name: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> int:
        count = 0
        for run in all_runs(engine):
            for payload in {payload.name: payload for payload in _mentioned(engine, run.id)}.values():
                body = engine.payload(run.id, payload.name)
                assert body.payload == payload
                assert len(body.data) == payload.size_bytes
                assert not body.truncated
                decoded = payloads.decode(payload.encoding, body.data)
                assert decoded.tree is not None, (run.id, payload, decoded.problem)
                count += 1
        return count

    assert read(unpacked(name), work) > 0


@pytest.mark.parametrize("name", DBOS)
def test_a_runs_payloads_are_the_bytes_that_are_stored(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    tables = column(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    joined = (
        "SELECT s.workflow_uuid, i.inputs, r.output, nullif(r.error, '') FROM workflow_status s "
        "LEFT JOIN workflow_input i USING (workflow_uuid) LEFT JOIN workflow_output r USING (workflow_uuid)"
    )
    own = "SELECT workflow_uuid, inputs, output, error FROM workflow_status"
    for run_id, *stored in sql(path, joined if "workflow_input" in tables else own):
        run = read(path, lambda engine, run_id=run_id: engine.run(run_id))
        for slot, value in zip(("input", "output", "error"), stored, strict=True):
            payload = getattr(run.payloads, slot)
            assert (payload is None) == (value is None)
            if payload is not None:
                body = read(path, lambda engine, run_id=run_id, payload=payload: engine.payload(run_id, payload.name))
                assert body.data == value.encode()


def test_payloads_of_a_file_upgraded_to_3_0_are_found_where_they_were_left(fresh: Unpacked) -> None:
    path = fresh("mini-3.4.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE workflow_status SET inputs = (SELECT inputs FROM workflow_input i WHERE i.workflow_uuid = "
            "workflow_status.workflow_uuid), error = (SELECT error FROM workflow_output r WHERE r.workflow_uuid = "
            "workflow_status.workflow_uuid)"
        )
        connection.execute("DELETE FROM workflow_input")
        connection.execute("DELETE FROM workflow_output")
    run = read(path, lambda engine: engine.run("fails"))
    assert run.payloads.input is not None
    assert run.error is not None
    assert run.error.type == "DBOSMaxStepRetriesExceeded"


@pytest.mark.parametrize("name", DBOS)
def test_the_history_begins_with_the_creation_ends_with_the_end_and_pages_without_gaps(
    name: str, unpacked: Unpacked
) -> None:
    def work(engine: Dbos) -> None:
        for run in all_runs(engine):
            whole = engine.events(run.id, None, 1000)
            assert whole.next is None
            assert [event.position for event in whole.rows] == list(range(1, len(whole.rows) + 1))
            assert whole.rows[0].type == "created"
            if run.status.finished:
                assert whole.rows[-1].type == run.status.value
            steps = [event.data["step"] for event in whole.rows if "operation_outputs" in event.native]
            assert sorted(steps) == [step.ordinal for step in engine.steps(run.id)]
            for event in whole.rows:
                json.dumps(event.data)
            paged, after = [], None
            while True:
                page = engine.events(run.id, after, 2)
                paged.extend(page.rows)
                if page.next is None:
                    break
                assert isinstance(page.next.at, int)
                after = page.next.at
            assert tuple(paged) == whole.rows

    read(unpacked(name), work)


def test_the_history_tells_values_streams_messages_and_deadlines(unpacked: Unpacked) -> None:
    def types(engine: Dbos, run_id: str) -> Counter[str]:
        return Counter(event.type for event in engine.events(run_id, None, 100).rows)

    def work(engine: Dbos) -> None:
        events = types(engine, "wf-events")
        assert (events["value published"], events["stream written"], events["stream closed"]) == (3, 4, 1)
        assert types(engine, "wf-recv")["message arrived"] == 1
        assert types(engine, "wf-timeout")["deadline"] == 1
        assert types(engine, "wf-cancel")["deadline"] == 0
        assert types(engine, "wf-delayed") == {"created": 1, "delayed": 1}
        assert types(engine, "wf-parent")["child started"] == 2
        body = engine.payload("wf-happy", "event.1.data")
        assert body.data == engine.payload("wf-happy", "run.input").data

    read(unpacked(ZOO), work)


def test_what_else_a_run_left_is_shown_as_tables(unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        sections = {section.key: section for section in engine.extras("wf-events")}
        assert set(sections) == {"values", "settings", "streams"}
        assert [row[0] for row in sections["values"].rows] == ["final", "progress"]
        assert [row[0] for row in sections["settings"].rows] == [1, 2, 3]
        assert [row[:2] for row in sections["streams"].rows] == [("log", n) for n in range(5)]
        assert sections["streams"].rows[4][3] == "closed"
        (messages,) = engine.extras("wf-recv")
        assert messages.rows[0][0] == "topic-a"
        assert messages.rows[0][2:4] == ("yes", 1)
        assert engine.extras("wf-retry-ok") == ()

    read(unpacked(ZOO), work)

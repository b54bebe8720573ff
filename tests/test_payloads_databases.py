"""Every payload of every real database is readable; those made of builtins equal what Python's own unpickling and json say."""

import base64
import collections
import io
import json
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbos._error import DBOSMaxStepRetriesExceeded
from test_payloads_pickle import expected, without_sharing

from runs.payloads import decode, list_attempt_errors, sniff, summarise_error, to_json
from runs.records import ErrorSummary
from tests.conftest import DBOS, OBELISK

BODIES = {  # table: columns, and whose serializer the row names
    "workflow_status": ("inputs", "output", "error"),
    "workflow_input": ("inputs",),
    "workflow_output": ("output", "error"),
    "operation_outputs": ("output", "error"),
    "notifications": ("message",),
    "workflow_events": ("value",),
    "workflow_events_history": ("value",),
    "streams": ("value",),
    "workflow_schedules": ("context",),
}
PLAIN_JSON = ("portable_json", "json")


def bodies(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Table, column, encoding and text of every body of a DBOS file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    for table, columns in BODIES.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        serializer, more = ("t.serialization" if "serialization" in known else "NULL"), ""
        if table in ("workflow_input", "workflow_output"):
            serializer, more = "s.serialization", "JOIN workflow_status s USING (workflow_uuid)"
        for column in known.intersection(columns):
            query = f"SELECT {serializer}, t.{column} FROM {table} t {more} WHERE t.{column} <> ''"
            for serialization, text in connection.execute(query):
                yield table, column, sniff(serialization, text[:16]), text
    connection.close()


def compact(name: str, encoding: str, text: str) -> Any:
    decoded = decode(encoding, text.encode())
    guessed = "the serializer acme_msgpack is not known: shown as text" if encoding == "acme_msgpack" else ""
    assert (decoded.problem, decoded.tree is None) == (guessed, False), (name, encoding, text[:200])
    shown = to_json(decoded.tree)  # type: ignore[arg-type]
    json.dumps(shown, ensure_ascii=False, allow_nan=False).encode()
    return shown


@pytest.mark.parametrize("name", DBOS)
def test_every_body_of_a_dbos_file_reads_without_a_problem(name: str, unpacked: Callable[[str], Path]) -> None:
    read = 0
    for _, _, encoding, text in bodies(unpacked(name)):
        compact(name, encoding, text)
        read += 1
    assert read


class Builtins(pickle.Unpickler):
    """Python's own unpickler, for pickles that name no class."""

    def find_class(self, module: str, name: str) -> Any:
        raise LookupError(module, name)


@pytest.mark.parametrize("name", [name for name in DBOS if not name.startswith("go")])
def test_bodies_of_builtins_equal_what_python_itself_reads(name: str, unpacked: Callable[[str], Path]) -> None:
    compared = 0
    for _, _, encoding, text in bodies(unpacked(name)):
        if encoding == "py_pickle":
            try:
                value = Builtins(io.BytesIO(base64.b64decode(text))).load()
                truth = expected(value)
            except (LookupError, RecursionError):  # a class; a list in itself
                continue
        elif encoding in PLAIN_JSON:
            truth = json.loads(text)
        else:
            continue
        assert without_sharing(compact(name, encoding, text), {}) == truth
        compared += 1
    assert compared >= 1


def test_go_wrote_json_that_reads_as_the_standard_parser_reads_it(unpacked: Callable[[str], Path]) -> None:
    compared = 0
    for _, _, encoding, text in bodies(unpacked("go-1.8.0")):
        if encoding == "DBOS_JSON" and text != "__DBOS_NIL":
            truth = json.loads(base64.b64decode(text))
            big = {"$type": "int", "value": "9007199254740993"}
            truth = truth | {"big": big} if isinstance(truth, dict) and truth.get("big", 0) > 2**53 else truth
            assert compact("go", encoding, text) == truth
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("name", [name for name in DBOS if name.startswith(("mini", "zoo-3"))])
def test_exhausted_retries_list_what_the_engine_itself_would_say(name: str, unpacked: Callable[[str], Path]) -> None:
    seen = 0
    for _, column, encoding, text in bodies(unpacked(name)):
        if column != "error" or encoding != "py_pickle":
            continue
        data = base64.b64decode(text)
        if b"DBOSMaxStepRetriesExceeded" not in data:
            continue
        error = pickle.loads(data)  # our own file, written by the engine
        assert isinstance(error, DBOSMaxStepRetriesExceeded)
        assert summarise_error(encoding, text.encode()) == ErrorSummary("DBOSMaxStepRetriesExceeded", str(error))
        assert list_attempt_errors(encoding, text.encode()) == tuple(
            ErrorSummary(type(attempt).__name__, str(attempt)) for attempt in error.errors
        )
        seen += 1
    assert seen or name == "mini-1.13.0"


def test_the_errors_of_the_oldest_file_are_in_jsonpickle(unpacked: Callable[[str], Path]) -> None:
    errors = {text for _, column, _, text in bodies(unpacked("mini-1.13.0")) if column == "error"}
    (text,) = errors
    assert summarise_error("jsonpickle", text.encode()) == ErrorSummary(
        "DBOSMaxStepRetriesExceeded", "DBOS Error 7: Step boom has exceeded its maximum of 2 retries"
    )
    assert list_attempt_errors("jsonpickle", text.encode()) == (ErrorSummary("ValueError", "boom 2"),) * 2


@pytest.mark.parametrize("name", ["go-1.8.0", "go-gob-1.8.0"])
def test_errors_of_go_are_read_whatever_serializer_is_recorded(name: str, unpacked: Callable[[str], Path]) -> None:
    found = collections.Counter(
        summarise_error(encoding, text.encode())
        for _, column, encoding, text in bodies(unpacked(name))
        if column == "error"
    )
    exhausted = "Step charge has exceeded its maximum of 2 retries: card processor is down: o{}"
    assert found == {
        **{ErrorSummary("MaxStepRetriesExceeded", exhausted.format(order)): 2 for order in (3, 4, 5)},
        ErrorSummary("error", 'body refused "x": permission denied'): 1,
    }
    lists = {
        list_attempt_errors(encoding, text.encode())
        for _, column, encoding, text in bodies(unpacked(name))
        if column == "error"
    }
    assert lists == {(), *((ErrorSummary("error", f"card processor is down: o{order}"),) * 3 for order in (3, 4, 5))}


FINISHED = """
SELECT json_extract(json_value, '$.finished.retval') FROM t_execution_log WHERE json_type(json_value, '$.finished') = 'object'
"""


@pytest.mark.parametrize("name", OBELISK)
def test_every_return_value_of_obelisk_reads_with_its_type(name: str, fresh: Callable[[str], Path]) -> None:
    connection = sqlite3.connect(fresh(name))
    finished = connection.execute(FINISHED).fetchall()
    connection.close()
    assert finished
    for (text,) in finished:
        shown = compact(name, "wit", text)
        ((outcome, typed),) = json.loads(text).items()
        summary = summarise_error("wit", text.encode())
        assert (summary is None) == (outcome == "ok")
        if outcome != "execution_failure" and typed is not None:
            assert shown[outcome]["$type"] == typed["type"]
            inner = shown[outcome]
            assert inner.get("value", inner.get("fields")) == typed["value"]
        else:
            assert shown == {outcome: typed}

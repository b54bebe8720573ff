"""Gob and the other texts of DBOS for Go, against what Go wrote: tests/gob/values.go made the values, and says what they are."""

import base64
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.payloads import Bytes, Mapping, Scalar, decode, to_json
from runs.payloads.tree import MAX_DEPTH

ORDERS = """
SELECT i.workflow_uuid, i.inputs FROM workflow_input i JOIN workflow_status s USING (workflow_uuid)
WHERE s.serialization IN ('DBOS_JSON', 'DBOS_GOB') AND s.workflow_uuid LIKE 'order-%'
"""
WRITTEN = dict(line.split("\t") for line in (Path(__file__).parent / "gob" / "values.txt").read_text().splitlines())


def struct(type: str, **values: object) -> dict[str, object]:
    return {"$type": type, "fields": values}


def read(text: str, encoding: str = "DBOS_GOB") -> Any:
    decoded = decode(encoding, text.encode())
    assert decoded.problem == ""
    assert decoded.tree is not None
    return to_json(decoded.tree)


ALL = {
    "B": True,
    "I8": -128,
    "I64": {"$type": "int", "value": str(-(2**63))},
    "U64": {"$type": "int", "value": str(2**64 - 1)},
    "F32": 1.5,
    "C": {"$type": "complex", "value": "(1-2j)"},
    "S": "żółw 🐢",
    "Raw": {"$type": "bytes", "value": "AP8="},
    "Arr": [1, 0, 3],
    "Sl": [struct("Line", SKU="a", Qty=1), struct("Line")],
    "M": {"k": 1},
    "MI": {"$type": "dict", "entries": [[5, struct("Line", SKU="b", Qty=2)]]},
    "P": struct("Line", SKU="p"),
    "Any": struct("main.Line", SKU="any", Qty=3),
    "Nested": {"deep": {"x": [1, "two", None, 3.5, True]}},
    "At": {"$type": "time.Time", "value": "2026-01-02T03:04:05.000000678Z"},
    "Z": {"$type": "time.Time", "value": "2026-01-02T03:04:05-03:30"},
    "D": 5_000_000_000,
    "Big": {"$type": "bytes", "value": base64.b64encode(b"\x02\x01\x02").decode()},
    "Bi": {"$type": "Bin", "value": base64.b64encode(b"\x01\x09").decode()},
    "Col": 2,
    "Anys": [
        struct("main.Line", SKU="q", Qty=1),
        {"$type": "main.Colour", "value": 1},
        {"$type": "uint8", "value": 3},
        ["s"],
    ],
    "Mat": [[1.0, 2.0], [3.0, 4.0]],
}
VALUES = {
    "all": struct("All", **ALL),
    "wrapped all": struct("main.All", **ALL),
    "int": -42,
    "text": "hello",
    "slice": [1, 2, 3],
    "map": {"a": True},
    "bytes": {"$type": "bytes", "value": "eHk="},
    "infinity": {"$type": "float", "value": "-Infinity"},
    "time": {"$type": "time.Time", "value": "2026-01-02T03:04:05.678Z"},
    "wrapped time": {"$type": "time.Time", "value": "1969-12-31T23:59:59.000000001-03:30"},
    "wrapped map": {"a": None},
    "wrapped colour": {"$type": "main.Colour", "value": 3},
    "wrapped empty struct": struct("main.Line"),
    "wrapped slice": [struct("Line", SKU="x", Qty=1)],
    "tree": struct(
        "Tree",
        Name="root",
        Kids=[struct("Tree", Name="a"), struct("Tree", Name="b", Kids=[struct("Tree", Name="c")])],
        M={"m": struct("Tree", Name="d")},
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_go_wrote_reads_as_it_was(name: str) -> None:
    assert read(WRITTEN[name]) == VALUES[name]


def test_a_recursive_type_ends_where_it_gets_too_deep() -> None:
    decoded = decode("DBOS_GOB", WRITTEN["chain of 300"].encode())
    assert decoded.problem == f"nested deeper than {MAX_DEPTH} levels: the rest is left out"
    assert json.dumps(to_json(decoded.tree or Scalar(0))).count('"Name"') == MAX_DEPTH // 2 + 1


@pytest.mark.parametrize("name", VALUES)
def test_a_gob_that_was_cut_shows_what_there_is(name: str) -> None:
    data = base64.b64decode(WRITTEN[name])
    for end in range(1, len(data)):
        decoded = decode("DBOS_GOB", base64.b64encode(data[:end]), truncated=True)
        assert decoded.problem == "the rest was not read"
    beginning = decode("DBOS_GOB", base64.b64encode(base64.b64decode(WRITTEN["all"])[:-80]), truncated=True)
    assert isinstance(beginning.tree, Mapping)
    assert beginning.tree.entries[0] == (Scalar("B"), Scalar(True))


@settings(max_examples=200)
@given(st.sampled_from(sorted(WRITTEN)), st.data())
def test_an_altered_gob_never_raises(name: str, data: st.DataObject) -> None:
    gob = bytearray(base64.b64decode(WRITTEN[name]))
    for _ in range(data.draw(st.integers(1, 4))):
        gob[data.draw(st.integers(0, len(gob) - 1))] = data.draw(st.integers(0, 255))
    decoded = decode("DBOS_GOB", base64.b64encode(gob))
    assert "can't be read as" not in decoded.problem
    if decoded.tree is not None:
        json.dumps(to_json(decoded.tree), ensure_ascii=False, allow_nan=False).encode()


def test_json_nil_and_plain_errors_of_go() -> None:
    assert read("__DBOS_NIL") is None
    assert read("__DBOS_NIL", "DBOS_JSON") is None
    assert read(base64.b64encode(b'{"a":[1,null]}').decode(), "DBOS_JSON") == {"a": [1, None]}
    for encoding in ("DBOS_JSON", "DBOS_GOB"):
        for error in ('body refused "x": permission denied', "EOF", "boom"):
            assert read(error, encoding) == error


def test_a_gob_is_read_where_json_was_recorded_and_the_other_way_round() -> None:
    assert read(WRITTEN["wrapped colour"], "DBOS_JSON") == VALUES["wrapped colour"]
    assert read(base64.b64encode(b'{"a":1}').decode(), "DBOS_GOB") == {"a": 1}


def test_bytes_that_are_neither_have_a_problem() -> None:
    decoded = decode("DBOS_JSON", base64.b64encode(b"\xff\xfe not json, not gob"))
    assert decoded.problem
    assert decode("DBOS_JSON", b"\xff\xfe").tree == Bytes(b"\xff\xfe")


def capitalised(value: object) -> object:
    """JSON of the Go application in the form its gob takes: fields by their names in Go, those that are zero left out."""
    names = {"id": "ID", "lines": "Lines", "total": "Total", "note": "Note", "tags": "Tags", "sku": "SKU", "qty": "Qty"}
    if isinstance(value, dict):
        return {names[key]: capitalised(item) for key, item in value.items() if item not in (0, "", [], None)}
    return [capitalised(item) for item in value] if isinstance(value, list) else value


def bare(value: object) -> object:
    """A decoded gob without the names of its types."""
    if isinstance(value, dict):
        return bare(value["fields"]) if "fields" in value else {key: bare(item) for key, item in value.items()}
    return [bare(item) for item in value] if isinstance(value, list) else value


def test_the_same_application_recorded_the_same_inputs_in_json_and_in_gob(unpacked: Callable[[str], Path]) -> None:
    inputs: dict[str, dict[str, str]] = {}
    for name in ("go-1.8.0", "go-gob-1.8.0"):
        connection = sqlite3.connect(f"file:{unpacked(name)}?mode=ro&immutable=1", uri=True)
        inputs[name] = dict(connection.execute(ORDERS))
        connection.close()
    compared = 0
    for run, text in inputs["go-1.8.0"].items():
        written = json.loads(base64.b64decode(text))
        assert bare(read(inputs["go-gob-1.8.0"][run])) == capitalised(written)
        compared += "lines" in written
    assert compared == 6

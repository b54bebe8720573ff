"""Pickles become trees without being unpickled: checked against Python's own objects, at every protocol, and against attacks."""

import array
import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import os
import pathlib
import pickle
import sys
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.payloads import Decoded, Mapping, Scalar, decode, to_json

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
HERE = __name__


def read(value: object, protocol: int = 4) -> Any:
    decoded = decode("py_pickle", base64.b64encode(pickle.dumps(value, protocol)))
    assert decoded.tree is not None
    assert decoded.problem == ""
    return to_json(decoded.tree)


def raw(data: bytes) -> Decoded:
    return decode("py_pickle", data)


def fields(type: str, **values: object) -> dict[str, object]:
    return {"$type": type, "fields": values}


# Builtins, against a second encoder of the documented shapes


def expected(value: object) -> object:
    """What runs/payloads/plain.py promises for a value of Python, written anew."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= 2**53 else {"$type": "int", "value": str(value)}
        case float():
            return value
        case bytes():
            return {"$type": "bytes", "value": base64.b64encode(value).decode()}
        case list():
            return [expected(item) for item in value]
        case tuple():
            return {"$type": "tuple", "value": [expected(item) for item in value]}
        case dict():
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {key: expected(item) for key, item in value.items()}
            return {"$type": "dict", "entries": [[expected(key), expected(item)] for key, item in value.items()]}
    raise AssertionError(value)


def without_sharing(value: Any, seen: dict[int, Any]) -> Any:
    """JSON with each $ref replaced by what it names and the $id taken away: pickle shares equal objects as it likes."""
    if isinstance(value, list):
        return [without_sharing(item, seen) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$ref"}:
        return seen[value["$ref"]]
    inner = {key: without_sharing(item, seen) for key, item in value.items() if key != "$id"}
    if "$id" in value:
        if value["$type"] in ("list", "dict") and "entries" not in inner:
            inner = inner.get("value", inner.get("fields"))
        seen[value["$id"]] = inner
    return inner


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.binary()
)
KEYS = TEXTS | st.integers() | st.tuples(st.integers(), TEXTS)
BUILTINS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=60)
@given(BUILTINS, st.sampled_from(PROTOCOLS))
def test_any_builtin_value_reads_as_it_was_at_every_protocol(value: object, protocol: int) -> None:
    assert without_sharing(read(value, protocol), {}) == expected(value)


@settings(max_examples=150)
@given(st.binary(max_size=200), st.sampled_from(["", "80", "8004", "8005", "28", "7d"]))
def test_no_bytes_raise(data: bytes, start: str) -> None:
    raw(bytes.fromhex(start) + data)


@settings(max_examples=60)
@given(BUILTINS, st.sampled_from(PROTOCOLS), st.data())
def test_a_pickle_that_was_cut_or_altered_never_raises(value: object, protocol: int, data: st.DataObject) -> None:
    pickled = bytearray(pickle.dumps(value, protocol))
    at = data.draw(st.integers(0, len(pickled) - 1))
    assert raw(bytes(pickled[:at])).problem
    pickled[at] = data.draw(st.integers(0, 255))
    altered = raw(bytes(pickled))
    if altered.tree is not None:
        json.dumps(to_json(altered.tree), ensure_ascii=False).encode()


# Classes. Their module is this one; nothing here is looked up when they are read.


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Order:
    id: int
    price: decimal.Decimal


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    a: int
    b: str


class Slots:
    __slots__ = ("left", "right")


class Model(pydantic.BaseModel):
    name: str
    tags: list[str] = []


class Declined(Exception):
    pass


class Text(str):
    pass


class Numbers(list[int]):
    pass


class Reduced:
    def __init__(self, what: object, *args: object) -> None:
        self.what, self.args = what, args

    def __reduce__(self) -> Any:
        return self.what, self.args


class Keyworded:
    def __new__(cls, *, size: int) -> "Keyworded":
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
        return (), {"size": 2}


UTC = dt.UTC
VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")
SHAPES: list[tuple[object, object]] = [
    (dt.datetime(2026, 1, 2, 3, 4, 5, 6), {"$type": "datetime", "value": "2026-01-02T03:04:05.000006"}),
    (dt.datetime(2026, 1, 2, tzinfo=UTC), {"$type": "datetime", "value": "2026-01-02T00:00:00+00:00"}),
    (
        dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
        {"$type": "datetime", "value": "2026-01-02T00:00:00-03:30"},
    ),
    (dt.datetime(2026, 7, 2, tzinfo=VIENNA), {"$type": "datetime", "value": "2026-07-02T00:00:00[Europe/Vienna]"}),
    (dt.date(2026, 12, 31), {"$type": "date", "value": "2026-12-31"}),
    (dt.time(23, 59, 1, tzinfo=UTC), {"$type": "time", "value": "23:59:01+00:00"}),
    (dt.timedelta(days=-1, seconds=3), {"$type": "timedelta", "value": "-1 day, 0:00:03"}),
    (UTC, {"$type": "timezone", "value": "UTC"}),
    (decimal.Decimal("12.50"), {"$type": "decimal", "value": "12.50"}),
    (uuid.UUID(int=5), {"$type": "uuid", "value": "00000000-0000-0000-0000-000000000005"}),
    (pathlib.PurePosixPath("/tmp/x"), {"$type": "path", "value": "/tmp/x"}),
    (pathlib.PureWindowsPath("c:/x"), {"$type": "path", "value": "c:\\x"}),
    (complex(1, -2), {"$type": "complex", "value": "(1-2j)"}),
    (fractions.Fraction(1, 3), {"$type": "fraction", "value": "1/3"}),
    (bytearray(b"\0\xff"), {"$type": "bytearray", "value": "AP8="}),
    ({7}, {"$type": "set", "value": [7]}),
    (frozenset([7]), {"$type": "frozenset", "value": [7]}),
    (collections.deque([1, 2]), {"$type": "deque", "value": [1, 2]}),
    (collections.deque([1, 2], maxlen=3), {"$type": "deque(maxlen=3)", "value": [1, 2]}),
    (collections.OrderedDict(a=1), fields("OrderedDict", a=1)),
    (collections.defaultdict(list, a=[1]), fields("defaultdict", a=[1])),
    (collections.Counter("aab"), fields("Counter", a=2, b=1)),
    (range(0, 10, 2), {"$type": "range", "value": "range(0, 10, 2)"}),
    (slice(1, None), {"$type": "slice", "value": [1, None, None]}),
    (..., {"$type": "ellipsis", "value": "..."}),
    (len, {"$type": "reference", "value": "builtins.len"}),
    (Order, {"$type": "reference", "value": f"{HERE}.Order"}),
    (Order(7, decimal.Decimal("1.10")), fields(f"{HERE}.Order", id=7, price={"$type": "decimal", "value": "1.10"})),
    (Slotted(1, "b"), {"$type": f"{HERE}.Slotted", "value": [1, "b"]}),
    (Point(1, 2), {"$type": f"{HERE}.Point", "value": [1, 2]}),
    (Model(name="n", tags=["t"]), fields(f"{HERE}.Model", name="n", tags=["t"])),
    (Text("t"), {"$type": f"{HERE}.Text", "value": "t"}),
    (Numbers([1, 2]), {"$type": f"{HERE}.Numbers", "value": [1, 2]}),
    (Declined("51", "no"), fields(f"{HERE}.Declined", args=["51", "no"])),
    (ValueError("boom"), fields("ValueError", args=["boom"])),
    (
        ExceptionGroup("two", [KeyError("k")]),
        fields("ExceptionGroup", args=["two", [fields("KeyError", args=["k"])]]),
    ),
]


@pytest.mark.parametrize(("value", "shown"), SHAPES, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_known_classes_are_drawn_as_what_they_mean(value: object, shown: object, protocol: int) -> None:
    assert without_sharing(read(value, protocol), {}) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [pair for pair in SHAPES if not isinstance(pair[0], Slotted)],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("protocol", [0, 1])
def test_the_oldest_protocols_draw_them_alike(value: object, shown: object, protocol: int) -> None:
    # A frozen dataclass with slots can't be pickled by these.
    assert without_sharing(read(value, protocol), {}) == shown


def test_a_member_of_an_enum_is_named_by_its_class() -> None:
    # Python 3.11 records the member's name, 3.12 and later its value.
    assert read(Colour.RED) in (
        {"$type": f"{HERE}.Colour", "value": "RED"},
        {"$type": f"{HERE}.Colour", "value": "red"},
    )
    assert read(Level.HIGH)["$type"] == f"{HERE}.Level"


def test_an_exception_keeps_its_notes_and_attributes() -> None:
    error = Declined("no")
    error.code = 51  # type: ignore[attr-defined]
    error.add_note("seen twice")
    assert read(error) == fields(f"{HERE}.Declined", args=["no"], code=51, __notes__=["seen twice"])


def test_slots_without_a_dataclass_keep_their_names() -> None:
    both = Slots()
    both.left, both.right = 1, "r"
    assert read(both) == fields(f"{HERE}.Slots", left=1, right="r")


def test_keyword_arguments_of_new_are_shown() -> None:
    assert read(Keyworded(size=2)) == fields(f"{HERE}.Keyworded", kwargs={"size": 2})


def test_an_unknown_call_is_shown_and_not_made() -> None:
    assert read(Reduced(array.array, "i", [1])) == fields("array.array", args=["i", [1]])


def test_a_persistent_id_is_shown() -> None:
    assert to_json(raw(b"\x80\x04\x8c\x03abcQ.").tree or Scalar(0)) == {"$type": "persistent id", "value": "abc"}


def test_cycles_and_shared_objects_are_refs_to_an_id() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    assert read(cycle) == {"$type": "list", "$id": 1, "value": [{"$ref": 1}]}
    shared = {"k": 1}
    assert read([shared, shared, (shared,)]) == [
        {"$type": "dict", "$id": 1, "fields": {"k": 1}},
        {"$ref": 1},
        {"$type": "tuple", "value": [{"$ref": 1}]},
    ]


def test_an_object_that_contains_itself_is_drawn_once() -> None:
    order = Order(1, decimal.Decimal(1))
    order.id = order  # type: ignore[assignment]
    assert read(order)["fields"]["id"] == {"$ref": 1}


def test_numbers_json_has_not_and_text_utf8_has_not_survive() -> None:
    shown = read([float("nan"), float("-inf"), 2**53, 2**53 + 1, -(10**30), "\ud800x", {"\udfff": 1}, "\0"])
    assert shown == [
        {"$type": "float", "value": "NaN"},
        {"$type": "float", "value": "-Infinity"},
        2**53,
        {"$type": "int", "value": str(2**53 + 1)},
        {"$type": "int", "value": str(-(10**30))},
        {"$type": "str", "value": "\\ud800x"},
        {"$type": "dict", "entries": [[{"$type": "str", "value": "\\udfff"}, 1]]},
        "\0",
    ]
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()


def test_a_dict_with_our_marks_for_keys_cannot_be_taken_for_one() -> None:
    assert read({"$type": "decimal", "value": "1"}) == {
        "$type": "dict",
        "entries": [["$type", "decimal"], ["value", "1"]],
    }


def test_integers_too_long_for_decimal_are_hexadecimal() -> None:
    assert read(2**40_000) == {"$type": "int", "value": hex(2**40_000)}


def test_pickles_are_read_bare_as_well_as_in_base64() -> None:
    data = pickle.dumps([1, "a"])
    assert raw(data) == raw(base64.b64encode(data))
    protocol0 = pickle.dumps([1, "a"], 0)
    assert raw(protocol0) == raw(base64.b64encode(protocol0)) == raw(data)


# What was cut


def test_of_a_cut_pickle_the_beginning_is_shown() -> None:
    whole = pickle.dumps({"args": ([1, 2, "three"],), "kwargs": {}}, 4)
    decoded = decode("py_pickle", base64.b64encode(whole)[:-25], truncated=True)
    assert decoded.problem == "the rest was not read"
    assert isinstance(decoded.tree, Mapping)
    assert decoded.tree.entries[0][0] == Scalar("args")


def test_of_a_text_that_was_cut_what_is_there_is_shown() -> None:
    decoded = raw(pickle.dumps("x" * 5000)[:1000])
    assert isinstance(decoded.tree, Scalar)
    assert str(decoded.tree.value).startswith("xxx")
    assert decoded.problem.startswith("the pickle ends too early: shown up to opcode")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_a_pickle_names_is_run_or_imported(tmp_path: pathlib.Path, protocol: int) -> None:
    proof = tmp_path / "proof"
    shown = read(Reduced(os.system, f"touch {proof}"), protocol)
    assert shown == {"$type": "posix.system", "value": f"touch {proof}"}
    assert not proof.exists()
    assert raw(b"cantigravity\nfly\n.").tree == Scalar("antigravity.fly", "reference")
    assert "antigravity" not in sys.modules

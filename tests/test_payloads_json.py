"""JSON, jsonpickle, values of Obelisk and of unknown serializers become trees without loss; checked against the standard parser."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.payloads import Bytes, Mapping, Ref, Scalar, Sequence, decode, sniff, to_json
from runs.payloads.tree import MAX_DEPTH, Node

ENCODINGS = ["json", "portable_json", "jsonpickle", "wit", "DBOS_JSON", "DBOS_GOB", "text", "py_pickle", "acme", ""]


def read(text: str, encoding: str = "json") -> Any:
    decoded = decode(encoding, text.encode())
    assert decoded.problem == ""
    assert decoded.tree is not None
    return to_json(decoded.tree)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abc é$", max_size=3), inner, max_size=5),
    max_leaves=30,
)


def keys_with_dollar(value: object) -> bool:
    if isinstance(value, dict):
        return any(key.startswith("$") or keys_with_dollar(item) for key, item in value.items())
    return isinstance(value, list) and any(map(keys_with_dollar, value))


@settings(max_examples=150)
@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]), st.sampled_from(["json", "portable_json", "acme"]))
def test_json_reads_as_the_standard_parser_reads_it(value: Any, ascii: bool, indent: Any, encoding: str) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    shown = read(text, encoding)
    if not keys_with_dollar(value):
        assert shown == value
        assert json.dumps(shown, ensure_ascii=ascii, indent=indent) == text  # the order of keys too


@settings(max_examples=200)
@given(st.text('[]{},:"\\u019eE+-. ntfalsr', max_size=30))
def test_what_the_standard_parser_refuses_has_a_problem(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        assert decode("json", text.encode()).problem
    else:
        assert decode("json", text.encode()).problem == ""


@settings(max_examples=300)
@given(st.sampled_from(ENCODINGS), st.binary(max_size=80), st.booleans(), st.booleans())
def test_no_bytes_raise_in_any_encoding(encoding: str, data: bytes, truncated: bool, armoured: bool) -> None:
    decoded = decode(encoding, base64.b64encode(data) if armoured else data, truncated=truncated)
    assert decoded.tree is not None or decoded.problem
    if decoded.tree is not None:
        json.dumps(to_json(decoded.tree), ensure_ascii=False, allow_nan=False).encode()


@settings(max_examples=100)
@given(VALUES, st.data())
def test_a_json_text_that_was_cut_shows_its_beginning(value: Any, data: st.DataObject) -> None:
    text = json.dumps({"first": 1, "second": value})
    cut = text[: data.draw(st.integers(12, len(text) - 1))]
    decoded = decode("json", cut.encode(), truncated=True)
    assert decoded.problem == "the rest was not read"
    assert isinstance(decoded.tree, Mapping)
    assert decoded.tree.entries[0] == (Scalar("first"), Scalar(1))


def test_numbers_keep_what_a_float_cannot_hold() -> None:
    shown = read("[9007199254740993, 1.10, 1e3, 0.1000000000000000055511151231257827, 1e400, NaN, -Infinity, -0.0]")
    assert shown == [
        {"$type": "int", "value": "9007199254740993"},
        1.1,
        1000.0,
        {"$type": "float", "value": "0.1000000000000000055511151231257827"},
        {"$type": "float", "value": "1e400"},
        {"$type": "float", "value": "NaN"},
        {"$type": "float", "value": "-Infinity"},
        -0.0,
    ]


def test_repeated_keys_are_all_shown() -> None:
    assert read('{"a": 1, "a": 2}') == {"$type": "dict", "entries": [["a", 1], ["a", 2]]}


def test_lone_surrogates_are_written_out_and_pairs_are_joined() -> None:
    assert read(r'["\ud800", "\ud83d\ude00"]') == [{"$type": "str", "value": "\\ud800"}, "😀"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("[1, 2", "the JSON text ends too early"),
        ('{"a": "b', "the JSON text ends too early"),
        ("[1 2]", "not JSON: a comma or a closing bracket is missing at character 3"),
        ("{1: 2}", "not JSON: a key is missing at character 1"),
        ('{"a" 1}', "not JSON: a colon is missing at character 5"),
        ("[1,]", "not JSON: no value at character 3"),
        ("1 2", "not JSON: more text after the value at character 2"),
        ("nope", "not JSON: no value at character 0"),
    ],
)
def test_a_problem_says_where(text: str, problem: str) -> None:
    assert decode("json", text.encode()).problem == problem


def test_a_tree_deeper_than_any_decoder_makes_is_cut_by_to_json() -> None:
    node: Node = Scalar(1)
    for _ in range(5000):
        node = Sequence([node])
    text = json.dumps(to_json(node))
    assert f"deeper than {MAX_DEPTH} levels" in text


def test_marks_of_every_kind_of_node() -> None:
    node = Sequence([Bytes(b"\0"), Ref(1), Mapping([(Scalar(1), Scalar(None))], anchor=2)], "set", anchor=1)
    assert to_json(node) == {
        "$type": "set",
        "$id": 1,
        "value": [
            {"$type": "bytes", "value": "AA=="},
            {"$ref": 1},
            {"$type": "dict", "$id": 2, "entries": [[1, None]]},
        ],
    }


# jsonpickle: texts that jsonpickle 4.1.4 wrote for the values named

PICKLED = [
    ('{"py/tuple": [1, 2]}', {"$type": "tuple", "value": [1, 2]}),
    ('{"py/set": [1]}', {"$type": "set", "value": [1]}),
    ('{"py/b64": "AP8="}', {"$type": "bytes", "value": "AP8="}),
    ('{"py/type": "shop.Order"}', {"$type": "reference", "value": "shop.Order"}),
    (
        '{"py/object": "shop.Order", "id": 1, "tags": ["a"]}',
        {"$type": "shop.Order", "fields": {"id": 1, "tags": ["a"]}},
    ),
    (
        '{"py/object": "datetime.datetime", "__reduce__": [{"py/type": "datetime.datetime"}, ["B+oBAgMEBQAABg=="]]}',
        {"$type": "datetime", "value": "2026-01-02T03:04:05.000006"},
    ),
    (
        '{"py/object": "datetime.datetime", "__reduce__": [{"py/type": "datetime.datetime"}, ["B+oBAgAAAAAAAA==", '
        '{"py/reduce": [{"py/type": "datetime.timezone"}, {"py/tuple": [{"py/reduce": [{"py/type": '
        '"datetime.timedelta"}, {"py/tuple": [0, 0, 0]}]}]}]}]]}',
        {"$type": "datetime", "value": "2026-01-02T00:00:00+00:00"},
    ),
    (
        '{"py/object": "datetime.date", "__reduce__": [{"py/type": "datetime.date"}, ["B+oBAg=="]]}',
        {"$type": "date", "value": "2026-01-02"},
    ),
    (
        '{"py/reduce": [{"py/type": "decimal.Decimal"}, {"py/tuple": ["1.50"]}]}',
        {"$type": "decimal", "value": "1.50"},
    ),
    (
        '{"py/object": "uuid.UUID", "hex": "00000000000000000000000000000005"}',
        {"$type": "uuid", "value": "00000000-0000-0000-0000-000000000005"},
    ),
    (
        '{"py/reduce": [{"py/type": "shop.Colour"}, {"py/tuple": ["red"]}]}',
        {"$type": "shop.Colour", "value": "red"},
    ),
    (
        '{"py/object": "shop.Point", "py/newargs": {"py/tuple": [1, 2]}, "py/seq": [1, 2]}',
        {"$type": "shop.Point", "value": [1, 2]},
    ),
    (
        '{"py/object": "builtins.complex", "py/newargs": {"py/tuple": [1.0, 2.0]}}',
        {"$type": "complex", "value": "(1+2j)"},
    ),
    (
        '{"py/reduce": [{"py/type": "collections.deque"}, {"py/tuple": [{"py/tuple": []}, 3]}, null, '
        '{"py/tuple": [1, 2]}]}',
        {"$type": "deque(maxlen=3)", "value": [1, 2]},
    ),
    (
        '{"py/reduce": [{"py/type": "collections.OrderedDict"}, {"py/tuple": []}, null, null, '
        '{"py/tuple": [{"py/tuple": ["a", 1]}]}]}',
        {"$type": "OrderedDict", "fields": {"a": 1}},
    ),
    (
        '{"py/object": "collections.defaultdict", "a": [1], "default_factory": {"py/type": "builtins.list"}}',
        {"$type": "defaultdict", "fields": {"a": [1]}},
    ),
    (
        '{"py/reduce": [{"py/type": "shop.E"}, {"py/tuple": ["x", 2]}, {"extra": 1, "__notes__": ["n"]}]}',
        {"$type": "shop.E", "fields": {"args": ["x", 2], "extra": 1, "__notes__": ["n"]}},
    ),
    # [shared, shared], then with objects of each kind before them, and a list in itself
    ('[[1], {"py/id": 1}]', [{"$type": "list", "$id": 1, "value": [1]}, {"$ref": 1}]),
    (
        '[{"py/reduce": [{"py/type": "builtins.ValueError"}, {"py/tuple": ["a"]}, {}]}, [1], {"py/id": 3}]',
        [{"$type": "ValueError", "fields": {"args": ["a"]}}, {"$type": "list", "$id": 1, "value": [1]}, {"$ref": 1}],
    ),
    (
        '[{"py/tuple": [1, [1]]}, {"a": {"py/id": 1}}]',
        [{"$type": "tuple", "value": [1, {"$type": "list", "$id": 1, "value": [1]}]}, {"a": {"$ref": 1}}],
    ),
    ('[{"py/id": 0}]', {"$type": "list", "$id": 1, "value": [{"$ref": 1}]}),
    ('{"py/id": 99}', {"$type": "py/id", "value": 99}),
    ('{"a": [1, null, 2.5]}', {"a": [1, None, 2.5]}),
]


@pytest.mark.parametrize(("text", "shown"), PICKLED, ids=lambda value: str(value)[:30])
def test_jsonpickle_is_drawn_like_pickle(text: str, shown: object) -> None:
    assert read(text, "jsonpickle") == shown


# Obelisk


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"ok": {"type": "u32", "value": 7}}', {"ok": {"$type": "u32", "value": 7}}),
        ('{"ok": null}', {"ok": None}),
        (
            '{"err": {"type": "variant { declined(string) }", "value": {"declined": "no"}}}',
            {"err": {"$type": "variant { declined(string) }", "fields": {"declined": "no"}}},
        ),
        ('{"ok": {"type": "list<u8>", "value": [1]}}', {"ok": {"$type": "list<u8>", "value": [1]}}),
        ('{"type": "u64", "value": 18446744073709551615}', {"$type": "u64", "value": "18446744073709551615"}),
        ('{"execution_failure": {"kind": "cancelled"}}', {"execution_failure": {"kind": "cancelled"}}),
    ],
)
def test_values_of_obelisk_carry_their_wit_type(text: str, shown: object) -> None:
    assert read(text, "wit") == shown


# Serializers nobody knows, and which decoder a text needs


def test_an_unknown_serializer_is_guessed_and_the_guess_is_said() -> None:
    assert decode("acme", b'{"a": 1}').problem == ""
    text = decode("acme", b"ACME1:TQ")
    assert (text.tree, text.problem) == (Scalar("ACME1:TQ"), "the serializer acme is not known: shown as text")
    inner = decode("acme", base64.b64encode("grüße aus Graz".encode()))
    assert inner.tree == Scalar("grüße aus Graz", "base64 text")
    assert decode("acme", base64.b64encode(bytes(range(200, 230)))).tree == Bytes(
        bytes(range(200, 230)), "base64 bytes"
    )
    binary = decode("acme", b"\xff\xfe")
    assert (binary.tree, binary.problem) == (Bytes(b"\xff\xfe"), "the serializer acme is not known: shown as bytes")


@pytest.mark.parametrize(
    ("serialization", "head", "encoding"),
    [
        ("py_pickle", "gASVGwAAAAAAAAB9", "py_pickle"),
        ("portable_json", '{"x":1}', "portable_json"),
        ("custom_serializer", '{"args": [[1, "a', "custom_serializer"),
        (None, "gASVGwAAAAAAAAB9", "py_pickle"),
        (None, '{"py/reduce": [{', "jsonpickle"),
        (None, '{"args": {"py/tu', "jsonpickle"),
        (None, "1795352930.45265", "json"),
        (None, '"fine"', "json"),
        (None, "null", "json"),
        (None, "ACME1:TQMvkCt)XD", "text"),
        ("DBOS_JSON", "__DBOS_NIL", "DBOS_JSON"),
        ("DBOS_JSON", "ImhlbGxvIGZyb20gR28i", "DBOS_JSON"),
        ("DBOS_JSON", "/9MQAA8qZGJvcy5E", "DBOS_GOB"),
        ("DBOS_JSON", 'body refused "x"', "text"),
        ("DBOS_GOB", "FhAABnN0cmluZwwL", "DBOS_GOB"),
        ("DBOS_GOB", "context deadline", "text"),
    ],
)
def test_the_encoding_is_found_from_the_serializer_and_the_beginning(
    serialization: str | None, head: str, encoding: str
) -> None:
    assert sniff(serialization, head) == encoding

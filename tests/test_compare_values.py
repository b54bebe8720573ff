"""Payloads compared by what they say: canonical values, paths into them, and the difference tree by tree."""

import base64
import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.compare.difference import alone, differ
from runs.compare.values import at, canonical, parse_path, parse_paths, read_value
from runs.errors import BadFilter
from runs.payloads import Node, decode, to_json

leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=6)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def written(value: object, *, turned: bool = False) -> bytes:
    """As JSON; ``turned``: the keys of each object in the opposite order, with other white space."""
    if not turned:
        return json.dumps(value).encode()
    return json.dumps(_turned(value), indent=1).encode()


def _turned(value: object) -> object:
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(item) for item in value] if isinstance(value, list) else value


def tree(text: str | bytes, encoding: str = "json") -> Node:
    found = decode(encoding, text.encode() if isinstance(text, str) else text).tree
    assert found is not None
    return found


def same(a: str | bytes, b: str | bytes, *ignore: str, encoding: str = "json", other: str = "") -> bool:
    data = [text.encode() if isinstance(text, str) else text for text in (a, b)]
    return canonical(encoding, data[0], ignore) == canonical(other or encoding, data[1], ignore)


@given(values)
def test_order_of_keys_and_white_space_do_not_count(value: object) -> None:
    assert same(written(value), written(value, turned=True))


@given(values, values)
def test_values_are_the_same_just_where_they_are_equal(a: object, b: object) -> None:
    # 1 and True are equal to Python, and 0.0 is -0.0 to everybody.
    def typed(value: object) -> object:
        if isinstance(value, dict):
            return {key: typed(item) for key, item in value.items()}
        return [typed(item) for item in value] if isinstance(value, list) else (isinstance(value, bool), value)

    assert same(written(a), written(b)) == (typed(a) == typed(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1", "1.0"), ("100", "1e2"), ("1e300", "1" + "0" * 300), ("0.10", "0.1"), ("-0.0", "0"),
        ("9007199254740993", "9007199254740993.0"), ("0.1" + "0" * 25 + "1", "1." + "0" * 25 + "10e-1"),
    ],
)  # fmt: skip
def test_the_spelling_of_a_number_does_not_count(a: str, b: str) -> None:
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1", '"1"'),
        ("1", "true"),
        ("null", '""'),
        ("[]", "{}"),
        ("[1, 2]", "[2, 1]"),
        ("9007199254740993", "9007199254740992"),
    ],
)
def test_what_is_another_value_is_another(a: str, b: str) -> None:
    assert not same(a, b)


def test_a_tuple_is_a_list_and_a_set_has_no_order_but_a_decimal_is_no_text() -> None:
    def packed(value: object) -> bytes:
        return base64.b64encode(pickle.dumps(value))

    assert same(packed((1, 2)), b"[1, 2]", encoding="py_pickle", other="json")
    assert same(packed({3, 1, 2**70}), packed({2**70, 3, 1}), encoding="py_pickle")
    assert not same(packed(Decimal("1.5")), b'"1.5"', encoding="py_pickle", other="json")
    shared = [1, 2]
    assert same(packed({"a": shared, "b": shared}), packed({"b": [1, 2], "a": [1, 2]}), encoding="py_pickle")
    around: list[object] = [1]
    around.append(around)
    assert same(packed(around), packed(around), encoding="py_pickle")


def test_the_type_that_obelisk_declares_does_not_count() -> None:
    one, two = b'{"ok": {"type": "u32", "value": 7}}', b'{"ok": {"type": "u64", "value": 7.0}}'
    assert same(one, two, encoding="wit")
    assert not same(one, b'{"ok": {"type": "u32", "value": 8}}', encoding="wit")


def test_what_is_ignored_does_not_count_and_nothing_else_is() -> None:
    a = '{"order": 1, "created_at": "x", "lines": [{"id": 1, "sku": "tea"}]}'
    b = '{"order": 1, "created_at": "y", "lines": [{"id": 2, "sku": "tea"}], "id": 3}'
    assert not same(a, b, "$.created_at")
    assert not same(a, b, "$.created_at", "$.lines[0].id")
    assert same(a, b, "$.created_at", "$..id")
    assert same(a, b, "$.*")
    assert not same('{"a": 1}', '{"a": 2}', "$.b")


def test_what_cannot_be_decoded_is_compared_by_its_bytes_and_says_so() -> None:
    assert read_value("json", b'{"a": ').tree is None
    assert "ends too early" in read_value("json", b'{"a": ').problem
    assert read_value("json", b"{}").problem == ""
    assert read_value("json", b"{}", truncated=True).problem
    assert same(b'{"a": ', b'{"a": ')
    assert not same(b'{"a": ', b'{"a":  ')
    assert not same(b"\xff\xfe\x00", b"\xff\xfe\x01", encoding="py_pickle")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", 1), ("$.a", 1), ("$.a.b", 1), ("$.a.b[1]", 1), ("$.a.b[9]", 0), ("$..x", 3), ("$.*", 3), ("$.a.b[*]", 3),
        ("$['a key']", 1), ('$["a key"]', 1), ("$..b..x", 1), ("$..*..x", 2), ("$.nothing", 0), ("$..*", 10),
    ],
)  # fmt: skip
def test_a_path_finds_what_it_names(path: str, found: int) -> None:
    root = tree('{"a": {"b": [1, 2, {"x": 3}], "c": {"x": 4}}, "x": 5, "a key": 6}')
    assert len(at(root, parse_path(path))) == found


def test_a_path_in_quotes_may_hold_anything() -> None:
    root = tree(json.dumps({'it\'s [here]. "$"': 1, "\n": 2}))
    assert [to_json(node) for node in at(root, parse_path(r"""$['it\'s [here]. "$"']"""))] == [1]
    assert [to_json(node) for node in at(root, parse_path(r"$['\n']"))] == [2]


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "$.", "$..", "$[", "$['a]", "$.a b c]", "$[-1]", "$" + ".a" * 41, "$." + "a" * 600, r"$['\q']"],
)
def test_what_is_no_path_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(BadFilter):
        parse_path(text)


def test_many_wild_paths_on_a_large_tree_are_still_one_walk() -> None:
    root = tree(json.dumps([[[[{"k": n} for n in range(10)]] * 10] * 10] * 10))
    assert len(at(root, parse_path("$" + "..*" * 20))) == 0
    assert len(at(root, parse_path("$..*..*..k"))) == 10_000


def test_the_difference_names_the_path_of_each_change() -> None:
    a = tree('{"parcel": "KB-104", "weight_g": 0, "express": true, "at": 1, "lines": [1, 2, {"sku": "tea"}, 4]}')
    b = tree(
        '{"weight_g": 4200, "parcel": "KB-104", "express": true, "at": 2, "lines": [1, {"sku": "cup"}, 4], "new": null}'
    )
    found = differ(a, b, ignore=parse_paths(["$.at"]))
    assert [(edit.path, edit.a, edit.b) for edit in found.edits] == [
        ("$.weight_g", "0", "4200"),
        ("$.lines[1]", "2", '{"sku": "cup"}'),
        ("$.lines[2]", '{"sku": "tea"}', ""),
        ("$.new", "", "null"),
    ]
    assert found.ignored == 1
    assert found.edits[0].sentence == "$.weight_g is 0 in A and 4200 in B"
    assert found.edits[3].sentence == "$.new is null, and only in B"
    assert [line.text for line in found.lines if line.kind == "same"][:2] == ["{", 'parcel: "KB-104"']


@given(values, values)
def test_there_is_a_difference_just_where_canonical_values_differ(a: object, b: object) -> None:
    one, two = written(a), written(b)
    found = differ(tree(one), tree(two))
    assert (found.count == 0) == same(one, two)
    assert len(found.edits) == min(found.count, 50)


def test_a_difference_stays_bounded_and_says_what_it_left_out() -> None:
    found = differ(tree(json.dumps(list(range(20_000)))), tree(json.dumps(list(range(1, 40_000, 2)))))
    assert found.cut
    assert len(found.lines) <= 300
    assert len(found.edits) == 50
    assert found.count > 10_000
    long = differ(tree(json.dumps("x" * 100_000 + "a")), tree(json.dumps("x" * 100_000 + "b")))
    assert long.edits[0].a.endswith('xa"')
    assert len(long.edits[0].a) < 200
    assert alone(tree(json.dumps([{"a": "x" * 50}] * 1000)), "a").cut


def test_what_cannot_be_seen_is_written_out() -> None:
    found = differ(tree(json.dumps({"a": "x\u202ey"})), tree(json.dumps({"a": "xy"})))
    assert "\u202e" not in "".join(line.text for line in found.lines)

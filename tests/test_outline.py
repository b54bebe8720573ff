"""What of a tree is drawn, which parts are left as links, and how each is addressed."""

import base64
import html
import json
import pickle
from decimal import Decimal
from typing import Any

import pytest

from runs.payloads import Bytes, Mapping, Node, Scalar, Sequence, decode
from runs.payloads.finding import find
from runs.payloads.outline import Line, Outline, outline, part
from runs.payloads.pictures import picture, picture_bytes
from runs.payloads.places import walk
from runs.payloads.stored import SLICE, hex_slice, text_slice
from tests.storing import png


def tree(text: str | bytes, encoding: str = "json") -> Node:
    decoded = decode(encoding, text.encode() if isinstance(text, str) else text)
    assert decoded.tree is not None
    return decoded.tree


def of(value: Any) -> Node:
    return tree(json.dumps(value))


def pickled(value: object) -> Node:
    return tree(pickle.dumps(value), "py_pickle")


def line(drawn: Outline, place: str) -> Line:
    (found,) = (line for line in drawn.lines if line.place == place and line.kind not in ("more", "close"))
    return found


def test_containers_are_open_to_the_second_level() -> None:
    drawn = outline(of({"a": {"b": {"c": {"d": 1}, "e": 2}, "f": 1}, "g": 3}))
    assert [line(drawn, place).expanded for place in ("", "0", "0.0", "0.0.0")] == [True, True, False, False]


def test_an_only_child_is_no_level_of_its_own() -> None:
    drawn = outline(of({"args": [{"order": {"id": 1}, "n": 2}], "kwargs": {}}))
    assert [line(drawn, place).expanded for place in ("", "0", "0.0", "0.0.0")] == [True, True, True, False]


def test_the_children_of_a_crowd_start_folded() -> None:
    few, many = outline(of([{"a": 1}] * 20)), outline(of([{"a": 1}] * 21))
    assert [line(few, "0").expanded, line(many, "").expanded, line(many, "0").expanded] == [True, True, False]


def test_a_hundred_children_are_drawn_and_the_rest_counted() -> None:
    drawn = outline(of({"lines": list(range(1000))}))
    assert [line.text for line in drawn.lines if line.key.isdigit()] == [str(number) for number in range(100)]
    (more,) = (line for line in drawn.lines if line.kind == "more")
    assert (more.text, more.place, more.start) == ("900 more", "0", 100)
    assert line(drawn, "0").note == "1,000 items"


def test_more_of_a_container_goes_on_where_it_ended() -> None:
    lines = part(of({"lines": list(range(250))}), "0", 100)
    assert [line.text for line in lines] == [*map(str, range(100, 200)), "50 more"]
    assert lines[0].segment == "[100]"
    assert [line.text for line in part(of({"lines": list(range(250))}), "0", 200)] == [*map(str, range(200, 250))]


def test_a_part_in_place_of_a_link_keeps_its_key_and_opens() -> None:
    (opened, first, *_) = part(of({"a key": {"b": 1}}), "0")
    assert (opened.kind, opened.key, opened.segment, opened.expanded) == ("open", "a key", "['a key']", True)
    assert (first.key, first.place, first.segment) == ("b", "0.0", ".b")


def test_keys_stay_in_the_order_in_which_they_are_stored_repeated_ones_too() -> None:
    drawn = outline(tree('{"z": 1, "a": 2, "m": 3, "a": 4}'))
    assert [(line.key, line.text) for line in drawn.lines[1:-1]] == [("z", "1"), ("a", "2"), ("m", "3"), ("a", "4")]


def test_big_integers_are_shown_to_the_last_digit() -> None:
    drawn = outline(of([9007199254740993, -(10**40) - 1]))
    assert [line(drawn, place).text for place in ("0", "1")] == ["9007199254740993", "-1" + "0" * 39 + "1"]


def test_an_integer_of_thousands_of_digits_folds_and_is_whole_inside() -> None:
    digits = "12345" * 600
    found = line(outline(tree(f"[{digits}, 1]")), "0")
    assert (found.kind, found.expanded, found.rest) == ("text", False, digits)


def test_what_json_has_not_is_marked_and_what_it_has_is_not() -> None:
    drawn = outline(pickled([1, "a", None, True, 1.5, b"x", Decimal("1.10"), (1,), {2}, float("nan")]))
    marks = [line(drawn, str(place)).type for place in range(10)]
    assert marks[:5] == [""] * 5
    assert marks[5:9] == ["bytes", "decimal", "tuple", "set"]
    assert line(drawn, "9").text == "NaN"
    assert line(drawn, "6").text == "1.10"


def test_keys_that_json_can_not_have_say_what_they_are_and_have_no_path() -> None:
    drawn = outline(pickled({1: "a", "1": "b", ("eu", 3): "c", "": "d", b"k": "e"}))
    shown = [(line.key, line.key_type, line.segment) for line in drawn.lines[1:-1]]
    assert shown == [
        ("1", "int", None),
        ("1", "", "['1']"),
        ('("eu", 3)', "tuple", None),
        ('""', "", "['']"),
        ("b'k'", "bytes", None),
    ]


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        ("order_id", ".order_id"),
        ("a b", "['a b']"),
        ("it's", r"['it\'s']"),
        ('say "x"', "['say \"x\"']"),
        ("back\\slash", r"['back\\slash']"),
        ("line\nend", r"['line\nend']"),
        ("ключ", "['ключ']"),
        ("0", "['0']"),
        ("\u202eevil", r"['\u202eevil']"),
        ("k" * 201, ""),
    ],
)
def test_paths_are_written_as_jsonpath_says(key: str, segment: str) -> None:
    found = walk(of({"args": [{key: 1}]}), "0.0.0")
    assert found.path == (f"$.args[0]{segment}" if segment else "")


def test_texts_of_two_thousand_characters_are_shown_and_longer_ones_fold() -> None:
    drawn = outline(of(["a" * 2000, "b" * 2001, "c"]))
    assert (line(drawn, "0").kind, line(drawn, "0").text) == ("leaf", f'"{"a" * 2000}"')
    folded = line(drawn, "1")
    assert (folded.kind, folded.expanded, folded.rest, folded.note) == ("text", False, "b" * 2001, "2,001 characters")
    assert folded.text == f'"{"b" * 200}…'


def test_a_text_of_several_lines_is_shown_in_lines() -> None:
    found = line(outline(of({"trace": "one\n\ttwo \u202e\x07\nthree"})), "0")
    assert (found.kind, found.expanded, found.note) == ("text", True, "3 lines, 17 characters")
    assert found.rest == "one\n\ttwo \\u202e\\x07\nthree"


def test_a_text_too_long_for_one_page_is_a_link_and_by_itself_goes_slice_by_slice() -> None:
    value = "".join(f"{number:09d}," for number in range(20_000))
    root = of({"a": value})
    assert line(outline(root), "0").kind == "link"
    shown, start = "", 0
    while True:
        drawn = outline(root, "0", start)
        shown += drawn.lines[0].rest
        more = [line for line in drawn.lines if line.kind == "more"]
        assert drawn.cut.endswith("of 200,000 characters")
        if not more:
            break
        assert more[0].start > start
        start = more[0].start
    assert shown == value


@pytest.mark.no_cover  # the same lines again and again
@pytest.mark.parametrize(
    "value",
    [
        [f"{number} " + "<&>" * 600 for number in range(3000)],
        ["\x00" * 60_000 for _ in range(20)],
        {f"{number}" + "<" * 500: {"a": ["&" * 300] * 90} for number in range(500)},
        [[[["x" * 1999] * 100] * 10] * 10] * 10,
        "<" * 3_000_000,
    ],
    ids=["markup", "controls", "keys", "nested", "one text"],
)
def test_whatever_is_stored_what_is_drawn_stays_bounded(value: Any) -> None:
    drawn = outline(of(value), lines=2000)
    assert sum(len(html.escape(line.key + line.text + line.rest).encode()) for line in drawn.lines) < 600_000
    assert len(drawn.lines) < 5000
    # However much one child takes, there is a way on to what isn't drawn.
    assert any(line.kind in ("more", "link") for line in drawn.lines)


def test_a_place_that_is_not_there_is_a_lookup_error() -> None:
    root = of([1, {"a": 2}])
    for place in ("2", "1.1", "0.0", "x", "-1", "1.", "1e0", "٣", "9" * 10):
        with pytest.raises(LookupError):
            outline(root, place)


def test_a_search_finds_keys_and_values_of_every_kind_case_aside() -> None:
    root = pickled(
        {"Needle": 1, "a": ["x needle y", b"\x00NEEDLE", Decimal("1")], "b": {("needle", 1): None}, "c": "none"}
    )
    found = find(root, "needle")
    assert [(hit.place, hit.path, hit.in_key) for hit in found.hits] == [
        ("0", "$.Needle", True),
        ("1.0", "$.a[0]", False),
        ("1.1", "$.a[1]", False),
        ("2.0", "", True),
    ]
    assert (found.hits[1].before, found.hits[1].match, found.hits[1].after) == ("x ", "needle", " y")
    assert (found.hits[2].offset, found.hits[2].octets) == (1, True)
    assert [hit.place for hit in find(of([9007199254740993, True, None, 1.5]), "0993").hits] == ["0"]


def test_a_search_takes_its_text_as_it_is() -> None:
    assert find(of(["a.c", "abc"]), "a.c").count == 1
    assert find(of(["(", "["]), "[").count == 1


def test_a_search_counts_all_and_lists_the_first_hundred() -> None:
    found = find(of(["x"] * 500), "X")
    assert (found.count, len(found.hits), found.hits[-1].place) == (500, 100, "99")


def test_a_search_says_how_many_parts_were_left_out() -> None:
    deep = tree("[" * 150 + "1" + "]" * 150)
    assert find(deep, "deeper").count == 0
    assert find(deep, "deeper").left_out == 1


def test_containers_on_the_way_to_what_is_wanted_are_open() -> None:
    root = of({"a": {"b": {"c": {"d": "here"}, "e": 1}, "f": 1}, "g": {"h": {"i": {"j": 1}, "k": 1}, "l": 1}})
    drawn = outline(root, wanted=["0.0.0.0"])
    assert [line(drawn, place).expanded for place in ("0", "0.0", "0.0.0", "1.0", "1.0.0")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_pictures_are_told_by_their_first_bytes() -> None:
    red = png(200, 0, 0)
    coded = base64.b64encode(red).decode()
    for node in (
        Bytes(red),
        Scalar(coded),
        Scalar(coded + "\n"),
        Scalar(f"data:image/png;base64,{coded}"),
        Scalar(red.decode("latin-1")),
    ):
        assert picture(node) == "image/png"
        assert picture_bytes(node) == ("image/png", red)
    kinds = {
        b"\xff\xd8\xff\xe0": "image/jpeg",
        b"GIF89a": "image/gif",
        b"GIF87a": "image/gif",
        b"RIFF\x10\x00\x00\x00WEBPVP8 ": "image/webp",
    }
    for head, kind in kinds.items():
        assert picture(Bytes(head + bytes(40))) == kind


@pytest.mark.parametrize(
    "node",
    [
        Bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"),
        Bytes(b"RIFF\x10\x00\x00\x00WAVEfmt "),
        Bytes(b""),
        Scalar("data:image/svg+xml;base64,PHN2Zy8+"),
        Scalar("iVBORw0KGgo, he said"),
        Scalar("ключ"),
        Scalar(5),
        Mapping([]),
        Sequence([]),
    ],
)
def test_anything_else_is_no_picture(node: Node) -> None:
    assert picture(node) == ""
    with pytest.raises(LookupError):
        picture_bytes(node)


def test_slices_of_stored_text_join_to_the_whole_and_cut_no_character() -> None:
    text = "aключ🎉\n" * 20_000
    data, start, shown = text.encode(), 0, ""
    while True:
        found = text_slice(data, start)
        assert found is not None
        assert found.total == len(data)
        assert found.end - found.start <= SLICE + 3
        shown += found.text
        if found.next is None:
            break
        assert found.previous is None or found.previous < found.start
        start = found.next
    assert shown == text


def test_what_is_no_text_has_no_text_slice_and_is_shown_in_hexadecimal() -> None:
    assert text_slice(b"\x80\x04\x95>") is None
    shown = hex_slice(bytes(range(40)))
    assert shown.text.splitlines() == [
        "00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  ................",
        "00000010  10 11 12 13 14 15 16 17  18 19 1a 1b 1c 1d 1e 1f  ................",
        "00000020  20 21 22 23 24 25 26 27                            !\"#$%&'",
    ]
    rest = hex_slice(bytes(SLICE + 20), SLICE + 5)
    assert (rest.start, rest.end, rest.previous, rest.next) == (SLICE, SLICE + 20, 0, None)

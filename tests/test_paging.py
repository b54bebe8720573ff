"""Cursors: the place in a list survives an address, and nothing else is taken for one."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import BadCursor
from runs.paging import MAX_LENGTH, read_cursor, write_cursor
from runs.records import Cursor

AT = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(categories=None), max_size=50))


@given(st.builds(Cursor, at=AT, id=st.text(st.characters(categories=None), max_size=100)))
def test_a_cursor_comes_back_from_its_text(cursor: Cursor) -> None:
    text = write_cursor(cursor)
    assert text is not None
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert read_cursor(text) == cursor


@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = read_cursor(text)
    except BadCursor:
        return
    assert cursor is None or read_cursor(write_cursor(cursor)) == cursor


def test_no_cursor_is_no_cursor() -> None:
    assert write_cursor(None) is None
    assert read_cursor(None) is None
    assert read_cursor("") is None


def _written(json: str) -> str:
    return base64.urlsafe_b64encode(json.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "json",
    ["[]", "[1]", '[1,"a",2]', '["a",1]', '[1.5,"a"]', '[true,"a"]', '[null,"a"]', '{"at":1,"id":2}', '"ab"', "12", "{",
     '[9223372036854775808,"a"]', '[-9223372036854775809,"a"]', "[" * 1500, f'[{"9" * 2500},"a"]', '[NaN,"a"]', "{}"],
)  # fmt: skip
def test_what_is_no_place_in_a_list_is_refused(json: str) -> None:
    with pytest.raises(BadCursor, match="Start again"):
        read_cursor(_written(json))


def test_a_cursor_too_long_to_be_ours_is_not_even_decoded() -> None:
    with pytest.raises(BadCursor, match="too long"):
        read_cursor("A" * (MAX_LENGTH + 1))


@pytest.mark.parametrize("text", ["é", "a b", "====", "AA=", "_", "\ud800", "%41"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(text)

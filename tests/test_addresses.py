"""Ids in addresses: whatever an engine calls a run, its address leads back to it."""

import hashlib
import re
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runs.addresses import EMPTY, MAX_ENCODED, PATTERN, decode, encode, is_digest

ANY_TEXT = st.text(st.characters(categories=None), max_size=60)  # half characters included


@given(ANY_TEXT)
@example("")
@example("..")
@example("wf/42%2F?#\n\x00 ")
@example("\ud800")
@example("\udfff\ud800")
@example("~7e")
def test_every_id_comes_back_from_its_address(text: str) -> None:
    written = encode(text)
    assert decode(written) == text
    assert re.fullmatch(PATTERN, written)
    assert quote(written, safe="~") == written
    assert not is_digest(written)


@given(ANY_TEXT, ANY_TEXT)
def test_two_ids_never_share_an_address(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(st.text("abc~xXé0123456789/-_ \ud800", max_size=30))
def test_what_decodes_is_written_in_just_that_way(segment: str) -> None:
    try:
        text = decode(segment)
    except ValueError:
        return
    assert encode(text) == segment


@settings(max_examples=30)
@given(ANY_TEXT.filter(bool), st.integers(500, 3000))
def test_long_ids_are_addressed_by_their_digest(piece: str, repeats: int) -> None:
    text = piece * repeats
    written = encode(text)
    assert len(written) <= MAX_ENCODED
    if is_digest(written):
        assert written == "~~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        with pytest.raises(ValueError, match="not an encoded id"):
            decode(written)
    else:
        assert decode(written) == text


def test_the_longest_id_that_is_written_out() -> None:
    assert decode(encode("a" * MAX_ENCODED)) == "a" * MAX_ENCODED
    assert is_digest(encode("a" * (MAX_ENCODED + 1)))
    assert decode(encode("/" * (MAX_ENCODED // 3))) == "/" * (MAX_ENCODED // 3)
    assert is_digest(encode("/" * (MAX_ENCODED // 3 + 1)))


def test_ordinary_ids_stay_readable() -> None:
    assert encode("wf/42") == "wf~2f42"
    assert encode("E_01KDPN7BNG9V8ZBQX3Y2") == "E_01KDPN7BNG9V8ZBQX3Y2"
    assert encode("") == EMPTY == "~~"


@pytest.mark.parametrize(
    "segment",
    ["~", "~2", "~2F", "~zz", "~41", "a b", "é", "a~", "~~~", "~~00", "a/b", "%41", "a\n", "~ff", "~ed~a0", "."],
)
def test_what_no_encoder_wrote_is_refused(segment: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  UnicodeDecodeError is one, with words of its own
        decode(segment)

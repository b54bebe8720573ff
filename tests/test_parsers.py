"""Every parser, by hypothesis: whatever it is given it answers or refuses in our words, in time that grows as its input does."""

import base64
import json
import pickletools
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile_payloads import MAPS, SLICES, STRUCTS, defined, gob, message, sint, uint

from runs import addresses, wording
from runs.clock import parse_instant
from runs.errors import BadCursor, BadFilter
from runs.filters import NAMES, Filter
from runs.merge import merged_runs
from runs.paging import read_cursor
from runs.payloads import decode, list_attempt_errors, summarise_error, to_json
from runs.payloads.finding import find
from runs.payloads.outline import outline
from runs.payloads.places import walk

FEW = settings(max_examples=80, deadline=None)


def read(encoding: str, data: bytes, truncated: bool) -> None:
    """Decodes, and shows what was decoded in every form."""
    decoded = decode(encoding, data, truncated=truncated)
    # What decode() says of an exception that no parser of ours should have let out.
    assert "can't be read as" not in decoded.problem, decoded.problem
    assert decoded.tree is not None or decoded.problem
    summarise_error(encoding, data)
    list_attempt_errors(encoding, data)
    if decoded.tree is not None:
        json.dumps(to_json(decoded.tree), ensure_ascii=False, allow_nan=False).encode()
        outline(decoded.tree)
        find(decoded.tree, "a")


# Pickle: any opcodes in any order, with arguments of their own form


WORDS = [b"builtins\nlist\n", b"builtins\ngetattr\n", b"datetime\ndatetime\n", b"datetime\ntimezone\n", b"datetime\ntimedelta\n",
         b"decimal\nDecimal\n", b"uuid\nUUID\n", b"collections\ndeque\n", b"collections\nOrderedDict\n", b"pathlib\nPosixPath\n",
         b"numpy.core.multiarray\n_reconstruct\n", b"numpy\ndtype\n", b"numpy.core.multiarray\nscalar\n", b"shop\nOrder\n",
         b"dbos._error\nDBOSMaxStepRetriesExceeded\n", b"builtins\nValueError\n", b"fractions\nFraction\n", b"builtins\nrange\n",
         b"zoneinfo\nZoneInfo._unpickle\n", b"builtins\ncomplex\n", b"array\n_array_reconstructor\n"]  # fmt: skip
ARGUMENTS: dict[str, st.SearchStrategy[bytes]] = {
    "stringnl_noescape_pair": st.sampled_from(WORDS),
    "decimalnl_short": st.sampled_from([b"0\n", b"1\n", b"7\n", b"-3\n", b"x\n"]),
    "decimalnl_long": st.sampled_from([b"0L\n", b"99999999999999999999L\n", b"x\n"]),
    "floatnl": st.sampled_from([b"1.5\n", b"nan\n", b"1e999\n"]),
    "stringnl": st.sampled_from([b"'a'\n", b'"\\x00"\n', b"a\n"]),
    "stringnl_noescape": st.sampled_from([b"a\n", b"\n"]),
    "unicodestringnl": st.sampled_from([b"a\n", b"\\ud800\n", b"\\U00110000\n"]),
    "uint1": st.integers(0, 6).map(lambda n: bytes([n])),
    "uint2": st.integers(0, 300).map(lambda n: n.to_bytes(2, "little")),
    "uint4": st.integers(0, 6).map(lambda n: n.to_bytes(4, "little")),
    "uint8": st.integers(0, 40).map(lambda n: n.to_bytes(8, "little")),
    "int4": st.integers(-3, 2**31 - 1).map(lambda n: n.to_bytes(4, "little", signed=True)),
    "float8": st.binary(min_size=8, max_size=8),
}
TEXTS = [b"", b"int", b"f8", b"O", b"<", b"2026", b"\xed\xa0\x80", b"\x07\xea\x0b\x16" + b"\x00" * 6]
LENGTHS = {"1": 1, "4": 4, "8": 8}


def argument(code: pickletools.OpcodeInfo) -> st.SearchStrategy[bytes]:
    if code.arg is None:
        return st.just(b"")
    if code.arg.name in ARGUMENTS:
        return ARGUMENTS[code.arg.name]
    width = LENGTHS[code.arg.name[-1]]  # string1, unicodestring4, bytes8, long1 …
    texts = st.sampled_from(
        [b"", b"int", b"f8", b"O", b"<", b"2026", b"\xed\xa0\x80", b"\x07\xea\x0b\x16" + b"\x00" * 6]
    ) | st.binary(max_size=12)
    return texts.map(lambda data: len(data).to_bytes(width, "little") + data)


OPCODES = st.one_of(
    *(argument(code).map(lambda arg, code=code: code.code.encode("latin-1") + arg) for code in pickletools.opcodes)
)
# What makes something: chosen as often as all others together, or most of what is drawn would stop at once.
MAKING = st.sampled_from([b")", b"]", b"}", b"(", b"t", b"R", b"b", b"\x81", b"a", b"e", b"s", b"u", b"\x94", b"h\x00", b"\x85",
                          b"\x86", b"K\x01", b"N", *(b"c" + word for word in WORDS)])  # fmt: skip
PIECES: dict[str, st.SearchStrategy[bytes]] = {"py_pickle": OPCODES | MAKING}


@FEW
@given(
    st.lists(OPCODES | MAKING, max_size=40).map(b"".join),
    st.sampled_from([b"\x80\x04", b"\x80\x02", b"\x80\x04)\x94]\x94"]),
    st.booleans(),
)
def test_any_opcodes_are_read_as_far_as_they_go(opcodes: bytes, start: bytes, truncated: bool) -> None:
    read("py_pickle", start + opcodes + b".", truncated)


# JSON with the words that jsonpickle and Obelisk give a meaning


KEYS = st.sampled_from(
    ["py/object", "py/reduce", "py/id", "py/tuple", "py/state", "py/seq", "py/type", "py/b64", "py/b85", "py/bytes", "py/newargs",
     "py/ref", "py/repr", "py/function", "py/set", "py/initargs", "__reduce__", "hex",
     "default_factory", "ok", "err", "Ok", "Err", "type", "value", "kind", "detail", "execution_failure", "name",
     "message", "code", "data", "positionalArgs", "namedArgs", "", "$type"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.sampled_from(
    ["datetime.datetime", "uuid.UUID", "collections.defaultdict", "list<u8>", "record", "====", "/w8=", "\ud800",
     "x", "ok", "9" * 5000]
)  # fmt: skip
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25
)
ENCODINGS = st.sampled_from(["jsonpickle", "wit", "json", "portable_json", "acme"])


@FEW
@given(TREES, ENCODINGS, st.integers(0, 40), st.booleans())
def test_any_marks_in_json_are_read_as_far_as_they_go(tree: Any, encoding: str, cut: int, truncated: bool) -> None:
    data = json.dumps(tree).encode()
    read(encoding, data, truncated)
    read(encoding, data[: len(data) - cut], truncated)


# Gob: definitions of our own, then anything


DEFINITIONS = st.lists(
    st.sampled_from([SLICES, MAPS, STRUCTS])
    | st.builds(
        defined, st.integers(64, 70), st.integers(0, 8), st.sampled_from(["T", "Time", ""]),
        st.lists(st.integers(0, 70).map(lambda n: b"\x01" + sint(n)), max_size=3).map(b"".join) | st.binary(max_size=8),
    ),
    max_size=4,
).map(b"".join)  # fmt: skip
GOB_PARTS = st.one_of(
    st.integers(0, 70).map(uint), st.integers(-70, 70).map(sint), st.binary(max_size=6), st.just(b"\x00")
)


@FEW
@given(DEFINITIONS, st.integers(-2, 72), st.lists(GOB_PARTS, max_size=20).map(b"".join), st.booleans())
def test_any_gob_is_read_as_far_as_it_goes(definitions: bytes, kind: int, value: bytes, truncated: bool) -> None:
    read("DBOS_GOB", base64.b64encode(definitions + message(sint(kind) + value)), truncated)
    read("DBOS_GOB", gob(definitions, value), truncated)


# What comes in an address


ANY = st.text(st.characters(categories=None), max_size=60)


@FEW
@given(ANY | st.builds(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode(), TREES))
def test_any_text_in_an_address_is_understood_or_refused(text: str) -> None:
    for parse, refusal in (
        (read_cursor, BadCursor),
        (lambda cursor: merged_runs([], Filter(), cursor, 1), BadCursor),
        (addresses.decode, ValueError),
        (lambda at: walk(decode("json", b'{"a":[1,{"b":2}]}').tree, at), LookupError),  # type: ignore[arg-type]
        (lambda value: [Filter.from_query({name: [value]}) for name in NAMES], BadFilter),
        (parse_instant, ()),
        (wording.visible, ()),
        (wording.short_id, ()),
    ):
        try:
            parse(text)  # type: ignore[operator]
        except refusal:
            continue


@pytest.mark.parametrize(
    "at", [-(2**63), 2**63 - 1, -62135596800000000, 253402300799999999, 253402300800000000, 10**30]
)
def test_a_cursor_at_the_end_of_time_is_refused(at: int) -> None:
    text = base64.urlsafe_b64encode(json.dumps([at, "x", "wf"]).encode()).decode().rstrip("=")
    with pytest.raises(BadCursor):
        merged_runs([], Filter(), text, 1)


# Time


SMALL, TIMES = 200, 8
PARSERS: dict[str, tuple[Callable[[bytes], object], st.SearchStrategy[bytes]]] = {
    "pickle": (lambda data: decode("py_pickle", b"\x80\x04]\x94}\x94" + data), OPCODES | MAKING),
    "json": (
        lambda data: decode("json", data),
        st.sampled_from([b"[", b'{"a":', b'"', b"\\u00e9", b"1,", b" ", b"[1],", b'"x":', b"9"]),
    ),
    "jsonpickle": (
        lambda data: decode("jsonpickle", b"[" + data + b"1]"),
        st.sampled_from([b'{"py/id":0},', b'{"py/tuple":[1]},', b'{"py/object":"a","py/state":{}},',
                         b'{"py/reduce":[{"py/id":1}]},']),
    ),
    "wit": (lambda data: decode("wit", b'{"ok":' + data), st.sampled_from([b'{"ok":', b'{"type":"u8","value":', b"[", b'"a"'])),
    "gob": (lambda data: decode("DBOS_GOB", gob(SLICES, b"\x00" + data)), GOB_PARTS | st.just(b"\x01")),
    "base64": (lambda data: decode("DBOS_JSON", data), st.sampled_from([b"=", b"A", b"AAAA", b" ", b"A=\n"])),
    "an unknown serializer": (lambda data: decode("acme", data), st.sampled_from([b"A", b"[", b" ", b"\xff", b"==", b"x\n"])),
    "an instant": (
        lambda data: parse_instant(data.decode("latin-1")),
        st.sampled_from([b"2", b" ", b"2026-11-22T", b":", b"-", b"."]),
    ),
    "an address": (lambda data: addresses.encode(data.decode("latin-1")), st.binary(min_size=1, max_size=3)),
    "an error": (
        lambda data: summarise_error("json", b'{"message":"' + data + b'"}'),
        st.sampled_from([b"a", b"\\n", b" ", b"\\\\"]),
    ),
    "what can not be seen": (lambda data: wording.visible(data.decode("latin-1")), st.binary(min_size=1, max_size=3)),
}  # fmt: skip


def took(parse: Callable[[bytes], object], data: bytes) -> float:
    """Seconds of processor time, the least of three."""
    times = []
    for _ in range(3):
        began = time.process_time()
        parse(data)
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=6, deadline=None)
@given(st.data())
@pytest.mark.no_cover  # measured
def test_eight_times_the_input_takes_no_more_than_its_share_of_time(name: str, data: st.DataObject) -> None:
    """An exponent of two would make it 64 times; and a few milliseconds are nobody's."""
    parse, pieces = PARSERS[name]
    piece = data.draw(st.lists(pieces, min_size=1, max_size=3).map(b"".join).filter(bool))
    small, large = took(parse, piece * SMALL), took(parse, piece * SMALL * TIMES)
    assert large < 4 * TIMES * max(small, 0.002), (piece, small, large)

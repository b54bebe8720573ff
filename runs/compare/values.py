"""Payloads compared by what they say, and paths into them.

The canonical form of a value leaves out how it was written: the order of keys, the spelling of a number, the mark of a type that
says nothing about the value (a tuple for a list, WIT's ``u32``), and whatever the paths of an ignore list lead to.

A path is a JSONPath (RFC 9535) without filters and slices: ``$.order_id``, ``$['a key']``, ``$.lines[0]``, ``$.*``, ``$..id``.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from typing import Final

from runs.errors import BadFilter
from runs.payloads import Bytes, Mapping, Node, Ref, Scalar, decode
from runs.payloads import Sequence as Items
from runs.payloads.places import children

LONGEST: Final = 500  # characters of a path
MOST_SEGMENTS: Final = 40
DEEPEST: Final = 400  # containers in containers, where those that come again are followed
_PATH: Final = re.compile(
    r"(?P<deep>\.\.)?(?:\[(?:(?P<index>[0-9]{1,9})|(?P<any>\*)|'(?P<one>(?:[^'\\]|\\.)*)'|\"(?P<two>(?:[^\"\\]|\\.)*)\")\]"
    r"|(?(deep)|\.)(?:(?P<star>\*)|(?P<name>[^\s.*\[\]'\"]+)))"
)
_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]{1,18}))?")
_PLAIN: Final = frozenset(
    {"", "list", "tuple", "dict", "str", "int", "float", "bool"}
)  # marks that say no more than JSON
_UNORDERED: Final = frozenset({"set", "frozenset"})
_OTHER: Final = None  # a key that no path names
_EXACT: Final = 2**53


@dataclass(frozen=True, slots=True)
class Segment:
    """One step of a path: a key or an index, None for any; ``deep``: however deep below."""

    key: str | int | None
    deep: bool


@dataclass(frozen=True, slots=True)
class Path:
    """A path as it was written, and its segments."""

    text: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A payload to compare. ``tree`` is None where it can only be compared by its bytes, and ``problem`` says why."""

    tree: Node | None
    problem: str = ""


@lru_cache(maxsize=256)
def parse_path(text: str) -> Path:
    """The path that a text writes. Raises BadFilter for anything else."""
    segments: list[Segment] = []
    at = 1
    while text.startswith("$") and at < len(text) <= LONGEST and len(segments) < MOST_SEGMENTS:
        match = _PATH.match(text, at)
        if match is None:
            break
        segments.append(Segment(_key(match), bool(match["deep"])))
        at = match.end()
    if not text.startswith("$") or at < len(text):
        raise BadFilter(
            f"{text[:80]!r} is no path into a payload.",
            remedy="Write $.order_id, $['a key'], $.lines[0], $.* or $..created_at.",
        )
    return Path(text, tuple(segments))


def parse_paths(texts: Collection[str]) -> tuple[Path, ...]:
    """The paths of an ignore list. Raises BadFilter."""
    return tuple(parse_path(text) for text in texts)


def at(node: Node, path: Path) -> tuple[Node, ...]:
    """The nodes that a path leads to, each once, in the order in which they are stored."""
    return tuple(_found(node, Ignored((path,))))


def _found(node: Node, machine: "Ignored") -> Iterator[Node]:
    waiting = [(node, machine.start)]
    while waiting:
        inner, state = waiting.pop()
        if machine.hits(state):
            yield inner
        if state:
            below = [
                (child.node, machine.step(state, path_key(child.key, child.position))) for child in children(inner)
            ]
            waiting += reversed([entry for entry in below if entry[1]])


def path_key(key: Node | None, position: int) -> str | int | None:
    """What a path calls a child: its index in a sequence, its key where that is text; None for any other key."""
    if key is None:
        return position
    return key.value if isinstance(key, Scalar) and isinstance(key.value, str) and not key.type else None


class Ignored:
    """All paths at once, as one walk down a tree sees them: a state for each node, 0 where no path goes on or ends."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._segments: list[Segment | None] = [
            segment for path in paths for segment in (*path.segments, None)
        ]  # None ends a path
        self.start = self._bits(
            sum((len(path.segments) + 1 for path in paths[:number]), 0) for number in range(len(paths))
        )
        self._ends = self._bits(place for place, segment in enumerate(self._segments) if segment is None)
        self._names = {segment.key for segment in self._segments if segment and segment.key is not None}
        self._steps: dict[tuple[int, str | int | None], int] = {}

    @staticmethod
    def _bits(places: "Iterator[int] | Sequence[int]") -> int:
        return sum(1 << place for place in places)

    def hits(self, state: int) -> bool:
        """Whether a path ends here."""
        return bool(state & self._ends)

    def step(self, state: int, key: str | int | None) -> int:
        """The state of a child by its path_key()."""
        if not state:
            return 0
        name = key if key in self._names else _OTHER
        known = self._steps.get((state, name))
        if known is None:
            known = self._steps[state, name] = self._step(state, name)
        return known

    def _step(self, state: int, name: str | int | None) -> int:
        reached = 0
        for place, segment in enumerate(self._segments):
            if segment is not None and state >> place & 1:
                if segment.key is None or segment.key == name:
                    reached |= 1 << place + 1
                if segment.deep:
                    reached |= 1 << place
        return reached


def read_value(encoding: str, data: bytes, *, truncated: bool = False) -> Value:
    """A payload as a tree to compare by value. None that was read in part: what is left out could differ."""
    if truncated:
        return Value(None, "too large to be read whole")
    decoded = decode(encoding, data)
    if decoded.tree is None or decoded.problem:
        return Value(None, decoded.problem or f"can't be read as {encoding}")
    return Value(decoded.tree)


def canonical(encoding: str, data: bytes, ignore: Collection[str] = ()) -> bytes:
    """16 bytes that two payloads have in common where they say the same. A payload that can't be decoded as a whole is compared by
    its bytes; ``read_value`` says why. Raises BadFilter for a path that is none.
    """
    value = read_value(encoding, data)
    if value.tree is None:
        return _digest(b"bytes" + data)
    return canonical_tree(value.tree, encoding, parse_paths(ignore))


def canonical_tree(tree: Node, encoding: str, ignore: Sequence[Path] = ()) -> bytes:
    """As canonical(), of a decoded payload."""
    canon = Canon(encoding, Ignored(ignore))
    return _digest(canon.token(tree, canon.ignored.start))


class Canon:
    """The canonical form of the nodes of one tree, as tokens: nodes with equal ones say the same."""

    def __init__(self, encoding: str, ignored: Ignored) -> None:
        self.ignored = ignored
        self._typed = encoding != "wit"  # there, a type is how a value was declared, not what it is
        self._known: dict[tuple[int, int], bytes] = {}  # of containers, by identity and state
        self._anchors: dict[int, Items | Mapping] = {}
        self._inside: list[int] = []

    def token(self, node: Node, state: int) -> bytes:
        """The token of a node in a state of the ignore list."""
        if state and self.ignored.hits(state):
            return b"ignored"
        match node:
            case Scalar(value, type):
                return self._scalar(value, type)
            case Bytes(data, type):
                return b"b" + (
                    data if type in ("bytes", "bytearray") else type.encode("utf-8", "surrogatepass") + b"\0" + data
                )
            case Ref(number):
                return self._again(number, state)
            case _:
                return self._container(node, state)

    def type_of(self, type: str) -> str:
        """A type's mark where it says more than JSON does, else empty."""
        return type if self._typed and type not in _PLAIN else ""

    def _scalar(self, value: object, type: str) -> bytes:
        if isinstance(value, str):
            number = _number(value) if type in ("int", "float") else None
            if number:
                return number
            kept = type if type in ("int", "float") else self.type_of(type)
            return b"s" + f"{kept}\0{value}".encode("utf-8", "surrogatepass")
        plain = (
            b"null" if value is None else b"true" if value is True else b"false" if value is False else _figure(value)
        )
        kept = self.type_of(type)
        return plain if not kept else b"t" + kept.encode("utf-8", "surrogatepass") + b"\0" + plain

    def _again(self, number: int, state: int) -> bytes:
        node = self._anchors.get(number)
        if node is None or id(node) in self._inside or len(self._inside) > DEEPEST:
            # Around in a circle: how far up it leads is what it says.
            up = (
                len(self._inside) - self._inside.index(id(node)) if node is not None and id(node) in self._inside else 0
            )
            return b"up%d" % up
        return self._container(node, state)

    def _container(self, node: Items | Mapping, state: int) -> bytes:
        known = self._known.get((id(node), state))
        if known is not None:
            return known
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        self._inside.append(id(node))
        parts: list[bytes] = []
        for child in children(node):
            below = self.ignored.step(state, path_key(child.key, child.position))
            if child.key is None:
                parts.append(_framed(self.token(child.node, below)))
            elif not (below and self.ignored.hits(below)):
                parts.append(_framed(self.token(child.key, 0)) + _framed(self.token(child.node, below)))
        self._inside.pop()
        if isinstance(node, Mapping) or node.type in _UNORDERED:
            parts.sort()
        kind = b"m" if isinstance(node, Mapping) else b"l"
        kept = self.type_of(node.type).encode("utf-8", "surrogatepass")
        token = kind + _digest(kind + _framed(kept) + b"".join(parts))
        self._known[id(node), state] = token
        return token


def _framed(token: bytes) -> bytes:
    return len(token).to_bytes(8, "big") + token


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _figure(value: object) -> bytes:
    """A number, however it was spelled: 1, 1.0 and 1e0 are the same."""
    if isinstance(value, int):
        if abs(value) < _EXACT:
            return b"n%d" % value
        return _number(str(value)) or b"n%d" % value
    if isinstance(value, float):
        if not isfinite(value):
            return b"n" + repr(value).encode()
        return b"n%d" % int(value) if value.is_integer() and abs(value) < _EXACT else _number(repr(value)) or b"n"
    return b"?"


def _number(text: str) -> bytes | None:
    """The figures of a decimal number and where its point is; None where it is no such text."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    figures = (whole + fraction).lstrip("0")
    if not figures:
        return b"n0"
    shown = figures.rstrip("0")
    point = exponent - len(fraction) + len(figures) - len(shown)
    if 0 <= point < 16 and len(shown) + point < 17 and abs(small := int(sign + shown + "0" * point)) < _EXACT:
        return b"n%d" % small
    return f"n{sign}{shown}e{point}".encode()


def _key(match: re.Match[str]) -> str | int | None:
    if match["index"]:
        return int(match["index"])
    if match["any"] or match["star"]:
        return None
    if match["name"]:
        return match["name"]
    quoted = match["one"] if match["one"] is not None else match["two"]
    inner = re.sub(r"\\.|\"", lambda found: {"\\'": "'", '"': '\\"'}.get(found[0], found[0]), quoted)
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError:
        raise BadFilter(f"{quoted[:80]!r} can't be a key: it has an escape that JSON has not.") from None

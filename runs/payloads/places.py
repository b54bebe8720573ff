"""Where a node lies in a tree: its place, its key as shown, and its JSONPath.

A place is the positions of children from the root, ``0.3.12``: keys may repeat or hold anything, positions don't.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runs.payloads.plain import float_text
from runs.payloads.tree import MAX_DIGITS, Bytes, Mapping, Node, Ref, Scalar, Sequence
from runs.wording import visible

LONGEST_KEY: Final = 200  # characters of a key that are shown; a longer one has no JSONPath either
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Child:
    """A child of a container; ``key`` is None in a sequence."""

    position: int
    key: Node | None
    node: Node


@dataclass(frozen=True, slots=True)
class Found:
    """The node at a place, the way to it as (place, key) pairs, and its JSONPath: empty where a key has none."""

    node: Node
    way: tuple[tuple[str, str], ...]
    path: str
    last: Child | None = None


def width(node: Node) -> int:
    """How many children a node has."""
    match node:
        case Sequence(items):
            return len(items)
        case Mapping(entries):
            return len(entries)
    return 0


def children(node: Node, start: int = 0, count: int | None = None) -> Iterator[Child]:
    """The children from a position on, in the order in which they are stored."""
    stop = width(node) if count is None else min(start + count, width(node))
    for position in range(start, stop):
        yield child(node, position)


def child(node: Node, position: int) -> Child:
    """One child. Raises LookupError where there is none."""
    if isinstance(node, Sequence):
        return Child(position, None, node.items[position])
    if isinstance(node, Mapping):
        return Child(position, *node.entries[position])
    raise LookupError(position)


def below(place: str, position: int) -> str:
    """The place of a child."""
    return f"{place}.{position}" if place else str(position)


def walk(root: Node, at: str) -> Found:
    """What lies at a place. Raises LookupError for a place that isn't there."""
    node, place, path, last = root, "", "$", None
    way: list[tuple[str, str]] = []
    for part in at.split(".") if at else ():
        if not part.isascii() or not part.isdigit() or len(part) > 9 or int(part) >= width(node):
            raise LookupError(at)
        last = child(node, int(part))
        node, place = last.node, below(place, last.position)
        way.append((place, key_text(last)))
        path = joined(path, segment(last))
    return Found(node, tuple(way), path, last)


def joined(path: str, part: str) -> str:
    """A path and one more segment; empty where either is."""
    return path + part if path and part else ""


def segment(of: Child) -> str:
    """A child's segment of a JSONPath (RFC 9535): ``.lines``, ``['a key']``, ``[3]``; empty for a key that JSON can't have."""
    if of.key is None:
        return f"[{of.position}]"
    if not _plain(of.key) or len(key := str(of.key.value)) > LONGEST_KEY:  # type: ignore[union-attr]
        return ""
    if _NAME.fullmatch(key):
        return f".{key}"
    inner = json.dumps(key, ensure_ascii=not key.isprintable())[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"['{inner}']"


def key_text(of: Child) -> str:
    """A child's key on one line: text as it is, unless empty; anything else as literal() writes it."""
    if of.key is None:
        return str(of.position)
    if _plain(of.key):
        return _cut(visible(str(of.key.value)[: LONGEST_KEY + 1])) or '""'  # type: ignore[union-attr]
    return _cut(visible(literal(of.key)))


def key_type(of: Child) -> str:
    """What a key is, where JSON has no such keys: ``int``, ``tuple``; else empty."""
    match of.key:
        case None:
            return ""
        case Scalar(str(), type) | Bytes(_, type):
            return type
        case Scalar(value, type):
            return type or ("null" if value is None else value.__class__.__name__)
        case Sequence(_, type) | Mapping(_, type):
            return type or "container"
    return "same value"


def literal(node: Node) -> str:
    """A node in a few words, for a key or a number: ``("eu", 3)``, ``9007199254740993``, ``b'\\x00'``."""
    match node:
        case Scalar(str(value), type):
            return value if type else json.dumps(value[: LONGEST_KEY + 1], ensure_ascii=False)
        case Scalar(bool(value)):
            return "true" if value else "false"
        case Scalar(None):
            return "null"
        case Scalar(int(value)):
            return str(value) if value.bit_length() <= MAX_DIGITS * 3 else hex(value)
        case Scalar(float(value)):
            return float_text(value)
        case Bytes(data):
            return repr(data[:64])
        case Sequence(items):
            return f"({', '.join(literal(item) for item in items[:8])}{', …' if len(items) > 8 else ''})"
        case Ref(number):
            return f"no. {number} again"
    return "{…}"


def _plain(key: Node) -> bool:
    return isinstance(key, Scalar) and isinstance(key.value, str) and not key.type


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}…"

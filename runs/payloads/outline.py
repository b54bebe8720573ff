"""A tree as lines to draw: which containers open, which are cut, and the place of each, so that any part has an address.

A place is the positions of children from the root, ``0.3.12``: keys may repeat or hold anything, positions don't.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runs.payloads.tree import MAX_DIGITS, Bytes, Mapping, Node, Ref, Scalar, Sequence
from runs.wording import plural, size, visible

OPEN_DEPTH: Final = 2  # levels that are open at first
CHILDREN: Final = 100  # of one container, then "show more"
LINES: Final = 600  # of one outline: what lies deeper is a link
LONG: Final = 2000  # characters of a text that are shown unfolded
SHOWN: Final = 65_536  # characters of a text that are shown at all


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``kind``: open, close (a container), leaf, link (a container that isn't drawn here), more (children not drawn).

    ``key`` and ``text`` are safe to show on one line once escaped; ``rest`` is what of a long text is folded away; ``cut`` says in
    words that a text is not shown whole. ``place`` addresses it; for ``more`` it is the container's and ``start`` the next child.
    """

    kind: str
    key: str = ""
    text: str = ""
    note: str = ""
    type: str = ""
    place: str = ""
    expanded: bool = False
    rest: str = ""
    cut: str = ""
    start: int = 0


@dataclass(frozen=True, slots=True)
class Outline:
    """The lines, and the way from the root to where they begin: (place, key) pairs."""

    lines: tuple[Line, ...]
    way: tuple[tuple[str, str], ...] = ()


def outline(root: Node, at: str = "", start: int = 0, lines: int = LINES) -> Outline:
    """The lines of the node at a place, from its child number ``start``. Raises LookupError for a place that isn't there."""
    node, way = _walk(root, at)
    depth = _affordable(node, lines)
    return Outline(tuple(_lines(node, "", at, 0, depth, start)), tuple(way))


def _walk(node: Node, at: str) -> tuple[Node, list[tuple[str, str]]]:
    way: list[tuple[str, str]] = []
    place = ""
    for part in at.split(".") if at else ():
        children = _children(node)
        if not part.isascii() or not part.isdigit() or len(part) > 9 or int(part) >= len(children):
            raise LookupError(at)
        key, node = children[int(part)]
        place = f"{place}.{part}" if place else part
        way.append((place, key))
    return node, way


def _children(node: Node) -> list[tuple[str, Node]]:
    if isinstance(node, Mapping):
        return [(_key(key), value) for key, value in node.entries]
    if isinstance(node, Sequence):
        return [(str(position), item) for position, item in enumerate(node.items)]
    return []


def _key(key: Node) -> str:
    if isinstance(key, Scalar) and isinstance(key.value, str) and not key.type:
        return visible(key.value[:200]) + ("…" if len(key.value) > 200 else "")
    line = _leaf(key, "", "")
    return line.text if len(line.text) <= 200 else f"{line.text[:200]}…"


def _affordable(node: Node, lines: int) -> int:
    level, depth, count = [node], 0, 1
    while level:
        children = [child for parent in level for _, child in _children(parent)[:CHILDREN]]
        count += len(children)
        if count > lines and depth >= 1:
            return depth
        level = [child for child in children if _children(child)]
        depth += 1
    return depth


def _lines(node: Node, key: str, place: str, depth: int, deepest: int, start: int = 0) -> Iterator[Line]:
    if not isinstance(node, Mapping | Sequence):
        yield _leaf(node, key, place)
        return
    bracket, note = _bracket(node)
    children = _children(node)
    if not children:
        yield Line("leaf", key, bracket + ("}" if bracket == "{" else "]"), "empty", node.type, place)
    elif depth >= deepest:
        yield Line("link", key, f"{bracket}…{'}' if bracket == '{' else ']'}", note, node.type, place)
    else:
        yield Line("open", key, bracket, note, node.type, place, expanded=depth < OPEN_DEPTH)
        shown = children[start : start + CHILDREN]
        for position, (name, child) in enumerate(shown, start):
            yield from _lines(child, name, f"{place}.{position}" if place else str(position), depth + 1, deepest)
        if left := len(children) - start - len(shown):
            yield Line("more", text=f"{left:,} more", place=place, start=start + len(shown))
        yield Line("close")


def _bracket(node: Mapping | Sequence) -> tuple[str, str]:
    anchor = f", no. {node.anchor}" if node.anchor is not None else ""
    if isinstance(node, Mapping):
        return "{", plural(len(node.entries), "field" if node.type else "key") + anchor
    return "[", plural(len(node.items), "item") + anchor


def _leaf(node: Node, key: str, place: str) -> Line:
    match node:
        case Ref(number):
            return Line("leaf", key, f"no. {number} again", type="same value", place=place)
        case Bytes(data, type):
            head = data[:64].hex(" ")
            more = f", the first {64} shown" if len(data) > 64 else ""
            return Line("leaf", key, head or "empty", f"{size(len(data))}{more}", type, place)
        case Scalar(str(value), type):
            return _text(value, type, key, place)
        case Scalar(value, type):
            return Line("leaf", key, _literal(value), type=type, place=place)
    return Line("leaf", key, "", place=place)


def _text(value: str, type: str, key: str, place: str) -> Line:
    quoted = json.dumps(value[:SHOWN], ensure_ascii=False) if not type or type == "str" else value[:SHOWN]
    shown = visible(quoted)
    note = f"{len(value):,} characters" if len(value) > LONG else ""
    cut = f"showing {SHOWN:,} of {len(value):,} characters" if len(value) > SHOWN else ""
    rest = shown if len(shown) > LONG else ""
    return Line("leaf", key, shown if not rest else f"{shown[:200]}…", note, type, place, rest=rest, cut=cut)


def _literal(value: bool | int | float | str | None) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() <= MAX_DIGITS * 3 else hex(value)
    return repr(value)

"""A tree as lines to draw: which containers open, which are cut, and the place of each, so that any part has an address.

However large the tree, what is drawn stays bounded: a number of lines, and for each of them some bytes on average.
"""

import html
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from runs.payloads import places
from runs.payloads.pictures import picture
from runs.payloads.places import Child, below, children, width
from runs.payloads.tree import Bytes, Mapping, Node, Ref, Scalar, Sequence
from runs.wording import plural, size, visible

OPEN_DEPTH: Final = 2  # levels that are open at first; an only child is no level of its own
CROWD: Final = 20  # children; more of them start folded, so that one sees what they are
CHILDREN: Final = 100  # of one container, then "show more"
LINES: Final = 600  # of one outline: what lies deeper is a link
BYTES: Final = 200  # of page a line may take, on average over all
LONG: Final = 2000  # characters of a text that are shown unfolded
SHOWN: Final = 65_536  # characters of a text that are shown at once
HEAD: Final = 200  # characters of a folded text that are shown
OCTETS: Final = 32  # bytes that are shown


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``kind``: open, close (a container), leaf, text (long, or of several lines: ``text`` is its beginning, ``rest`` the
    whole or the part that is shown), link (a part that isn't drawn here), more (children or characters not drawn).

    ``key`` and ``text`` are safe to show on one line once escaped. ``place`` addresses it; for ``more`` it is the container's
    and ``start`` the next child or character. ``segment`` is its part of a JSONPath: empty for the root, None where it has none.
    ``picture`` is the media type of a picture that it holds, ``octets`` says that it is bytes.
    """

    kind: str
    key: str = ""
    key_type: str = ""
    text: str = ""
    note: str = ""
    type: str = ""
    place: str = ""
    segment: str | None = None
    expanded: bool = False
    rest: str = ""
    start: int = 0
    picture: str = ""
    octets: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """The lines; the way from the root to where they begin, (place, key) pairs; the JSONPath of that; what is cut, in words."""

    lines: tuple[Line, ...]
    way: tuple[tuple[str, str], ...] = ()
    path: str = "$"
    cut: str = ""

    @property
    def drawn(self) -> dict[str, str]:
        """The places that have a line of their own, and of what kind it is."""
        return {line.place: line.kind for line in self.lines if line.kind not in ("close", "more")}


def outline(root: Node, at: str = "", start: int = 0, lines: int = LINES, wanted: Collection[str] = ()) -> Outline:
    """The lines of the node at a place, from its child (of a text: its character) number ``start``. Containers on the way to
    the ``wanted`` places are open. Raises LookupError for a place that isn't there.
    """
    found = places.walk(root, at)
    drawing = _drawing(found.node, lines, wanted)
    cut = drawing.top(found.node, at, Line("", segment=""), start)
    return Outline(tuple(drawing.lines), found.way, found.path, cut)


def part(root: Node, at: str, start: int = 0, lines: int = LINES) -> tuple[Line, ...]:
    """What takes the place of a ``link`` (``start`` 0: the node itself, with its key, open) or of a ``more`` (the lines from
    ``start`` on, without the container around them). Raises LookupError for a place that isn't there.
    """
    found = places.walk(root, at)
    drawing = _drawing(found.node, lines, ())
    drawing.top(found.node, at, _named(found.last) if found.last and not start else Line("", segment=""), start)
    inside = drawing.lines[1:-1] if start and drawing.lines[0].kind == "open" else drawing.lines
    return tuple(inside)


def _drawing(node: Node, lines: int, wanted: Collection[str]) -> "_Drawing":
    return _Drawing(_affordable(node, lines), lines * BYTES, wanted)


def _affordable(node: Node, lines: int) -> int:
    """How many levels can be drawn in so many lines, at least one."""
    level, depth, count = [node], 0, 1
    while level:
        inner = [child.node for parent in level for child in children(parent, 0, CHILDREN)]
        count += len(inner)
        if count > lines and depth >= 1:
            return depth
        level = [child for child in inner if width(child)]
        depth += 1
    return depth


def _named(of: Child) -> Line:
    """A line that has but its key yet."""
    return Line("", places.key_text(of), places.key_type(of), segment=places.segment(of) or None)


class _Drawing:
    def __init__(self, deepest: int, room: int, wanted: Collection[str]) -> None:
        self.deepest = deepest
        self.room = room
        self.wanted = frozenset(wanted)
        self.above = frozenset(
            ".".join(parts[:count]) for place in wanted for parts in [place.split(".")] for count in range(len(parts))
        )
        self.lines: list[Line] = []

    def top(self, node: Node, place: str, name: Line, start: int) -> str:
        """Draws what was asked for; returns what is cut, in words."""
        text = _long_text(node)
        if text is not None and (len(text) > LONG or start):
            return self._slice(text, node, place, name, start)
        self._node(node, place, name, 0, 0, start)
        return ""

    def _node(self, node: Node, place: str, name: Line, depth: int, level: int, start: int = 0) -> None:
        if not isinstance(node, Mapping | Sequence):
            self._leaf(node, place, name, level)
            return
        opening, closing = ("{", "}") if isinstance(node, Mapping) else ("[", "]")
        note = _contents(node)
        if not width(node):
            self._add("leaf", name, opening + closing, place=place, note="empty", type=node.type)
        elif depth >= self.deepest or (depth and self.room <= 0):
            self._add("link", name, f"{opening}…{closing}", place=place, note=note, type=node.type)
        else:
            expanded = level < OPEN_DEPTH or place in self.above
            self._add("open", name, opening, place=place, note=note, type=node.type, expanded=expanded)
            after = self._children(node, place, depth + 1, level + _levels(width(node)), start)
            if left := width(node) - after:
                self._add("more", Line(""), f"{left:,} more", place=place, start=after)
            self.lines.append(Line("close", text=closing))

    def _children(self, node: Node, place: str, depth: int, level: int, start: int) -> int:
        """Draws up to CHILDREN of them, as far as there is room but at least one; returns the position after the last."""
        after = min(start, width(node))
        for child in children(node, start, CHILDREN):
            self._node(child.node, below(place, child.position), _named(child), depth, level)
            after = child.position + 1
            if self.room <= 0:
                break
        return after

    def _leaf(self, node: Node, place: str, name: Line, level: int) -> None:
        text = _long_text(node)
        match node:
            case Scalar(_, type) if text is not None and (len(text) > LONG or "\n" in text):
                self._folded(text, node, place, name, level)
            case Scalar(str(value), type):
                shown = visible(_quoted(value, node))
                self._add("leaf", name, shown, place=place, type=type, picture=picture(node))
            case Scalar(_, type):
                self._add("leaf", name, places.literal(node), place=place, type=type)
            case Bytes(data, type):
                shown = repr(data[:OCTETS]) + ("…" if len(data) > OCTETS else "")
                note = size(len(data))
                self._add("leaf", name, shown, place=place, note=note, type=type, picture=picture(node), octets=True)
            case Ref(number):
                self._add("leaf", name, f"no. {number} again", place=place, type="same value")

    def _folded(self, text: str, node: Node, place: str, name: Line, level: int) -> None:
        """A text that is long or has several lines: folded if long, and only a link if there is no room for it."""
        head = visible(_quoted(text[:HEAD], node, open_end=len(text) > HEAD))
        note = _extent(text)
        shows = picture(node)
        if len(text) <= SHOWN and _cost(shown := _in_lines(text)) <= self.room // 2:
            expanded = (len(text) <= LONG and level <= OPEN_DEPTH) or place in self.wanted
            self._add(
                "text",
                name,
                head,
                place=place,
                note=note,
                type=_type(node),
                rest=shown,
                expanded=expanded,
                picture=shows,
            )
        else:
            self._add("link", name, head, place=place, note=note, type=_type(node), picture=shows)

    def _slice(self, text: str, node: Node, place: str, name: Line, start: int) -> str:
        """The part of a text that begins at a character, whatever room there is for lines."""
        count = SHOWN
        while _cost(shown := _in_lines(text[start : start + count])) > max(self.room, SHOWN):
            count //= 2
        end = min(start + count, len(text))
        head = visible(_quoted(text[:HEAD], node, open_end=True)) if not start else ""
        note = _extent(text) if not start else f"from character {start:,}"
        shows = picture(node) if not start else ""
        self._add(
            "text", name, head, place=place, note=note, type=_type(node), rest=shown, expanded=True, picture=shows
        )
        if end == len(text):
            return f"showing {end - start:,} of {len(text):,} characters" if start else ""
        self._add("more", Line(""), f"{min(SHOWN, len(text) - end):,} characters more", place=place, start=end)
        return f"showing {end - start:,} of {len(text):,} characters"

    def _add(
        self,
        kind: str,
        name: Line,
        text: str,
        *,
        place: str,
        note: str = "",
        type: str = "",
        rest: str = "",
        expanded: bool = False,
        start: int = 0,
        picture: str = "",
        octets: bool = False,
    ) -> None:
        self.room -= _cost(name.key) + _cost(text) + _cost(rest) + len(note) + len(type) + 2 * len(place)
        self.lines.append(
            Line(
                kind, name.key, name.key_type, text, note, visible(type), place, name.segment, expanded, rest, start,
                picture, octets,
            )
        )  # fmt: skip


def _levels(count: int) -> int:
    """How much deeper the children of a container lie, as far as opening them goes."""
    return OPEN_DEPTH if count > CROWD else int(count > 1)


def _contents(node: Mapping | Sequence) -> str:
    anchor = f", no. {node.anchor}" if node.anchor is not None else ""
    if isinstance(node, Mapping):
        return plural(len(node.entries), "field" if node.type else "key") + anchor
    return plural(len(node.items), "item") + anchor


def _long_text(node: Node) -> str | None:
    """The text of a node that may need more than a line: a text, or a number of more digits than that."""
    if not isinstance(node, Scalar) or isinstance(node.value, bool | float) or node.value is None:
        return None
    return node.value if isinstance(node.value, str) else places.literal(node)


def _type(node: Node) -> str:
    return node.type if isinstance(node, Scalar) else ""


def _extent(text: str) -> str:
    lines = text.count("\n") + 1
    return f"{plural(lines, 'line')}, {len(text):,} characters" if lines > 1 else f"{len(text):,} characters"


def _quoted(text: str, node: Node, *, open_end: bool = False) -> str:
    """A node's text as JSON writes it, where it is plain text; else as it is. ``open_end``: it goes on, so no quote ends it."""
    plain = isinstance(node, Scalar) and isinstance(node.value, str) and node.type in ("", "str")
    shown = json.dumps(text, ensure_ascii=False) if plain else text
    return f"{shown.removesuffix(chr(34)) if plain else shown}…" if open_end else shown


def _in_lines(text: str) -> str:
    """A text with its line ends and tabs; what else can't be seen is written as an escape."""
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def _cost(text: str) -> int:
    """Bytes of page that a text takes."""
    return len(html.escape(text).encode())

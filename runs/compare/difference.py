"""Two values, tree by tree: what differs, with the path of each change, and lines to draw it with. Bounded for any size."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from runs.compare.align import common
from runs.compare.values import Canon, Ignored, Path, Value, path_key
from runs.payloads import Bytes, Mapping, Node, Ref, Scalar
from runs.payloads import Sequence as Items
from runs.payloads.places import Child, children, joined, key_text, literal, segment, width
from runs.wording import plural, visible

LISTED: Final = 50  # changes that are kept; the rest is counted
LINES: Final = 300  # lines that are drawn
ALONE: Final = 60  # of a value that only one side has
SHOWN: Final = 160  # characters of a value that are shown
AROUND: Final = 40  # characters shown before the first that differs
FEW: Final = 4  # equal neighbours that are drawn one by one; more are folded
MOST_MOVES: Final = 200  # items that come or go in a list until the rest is compared place by place
SIDES: Final = ("a", "b")
_FIGURES: Final = frozenset({"int", "float", "decimal", "elided"})  # types whose text is no text


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: its JSONPath (empty where a key has none), and what each side has there in words; empty where it has nothing."""

    path: str
    a: str
    b: str

    @property
    def sentence(self) -> str:
        """``$.weight_g is 0 in A and 4200 in B``."""
        where = self.path or "a value"
        if not self.a or not self.b:
            return f"{where} is {self.a or self.b}, and only in {'A' if self.a else 'B'}"
        return f"{where} is {self.a} in A and {self.b} in B"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``kind``: ``same``, ``a`` (only there), ``b``, ``fold`` (equal, not drawn), ``ignored``."""

    kind: str
    depth: int
    text: str
    path: str = ""

    @property
    def indent(self) -> str:
        return "  " * self.depth


@dataclass(slots=True)
class Difference:
    """What differs: all changes counted, the first of them, and the lines. ``cut``: not all lines are drawn."""

    count: int = 0
    edits: list[Edit] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    ignored: int = 0
    cut: bool = False


def differ(a: Node, b: Node, encodings: tuple[str, str] = ("json", "json"), ignore: Sequence[Path] = ()) -> Difference:
    """The difference of two decoded values of these encodings, apart from what the paths of ``ignore`` lead to."""
    comparing = _Comparing(encodings, ignore)
    comparing.visit(a, b, "$", "", 0, comparing.ignored.start)
    return comparing.found


def first_edit(a: Value, b: Value, encodings: tuple[str, str], ignore: Sequence[Path] = ()) -> Edit | None:
    """The first change of two values, where both could be decoded."""
    if a.tree is None or b.tree is None:
        return None
    return next(iter(differ(a.tree, b.tree, encodings, ignore).edits), None)


def alone(node: Node, side: str) -> Difference:
    """The lines of a value that only one side has."""
    found = Difference(count=1, edits=[Edit("$", *((_words(node), "") if side == SIDES[0] else ("", _words(node))))])
    _draw(found, node, "", 0, side)
    return found


def _draw(found: Difference, node: Node, key: str, depth: int, side: str) -> None:
    if len(found.lines) >= ALONE:
        found.cut = True
    elif not isinstance(node, Mapping | Items) or len(short := _words(node)) < SHOWN // 2:
        found.lines.append(Line(side, depth, key + (short if isinstance(node, Mapping | Items) else _words(node))))
    else:
        opening, closing = ("{", "}") if isinstance(node, Mapping) else ("[", "]")
        found.lines.append(Line(side, depth, f"{key}{_mark(node)}{opening}"))
        for child in children(node):
            _draw(found, child.node, _key(child), depth + 1, side)
            if found.cut:
                return
        found.lines.append(Line(side, depth, closing))


class _Comparing:
    def __init__(self, encodings: tuple[str, str], ignore: Sequence[Path]) -> None:
        self.ignored = Ignored(ignore)
        self.canons = Canon(encodings[0], self.ignored), Canon(encodings[1], self.ignored)
        self.found = Difference()

    def visit(self, a: Node, b: Node, path: str, key: str, depth: int, state: int) -> None:
        """Two nodes that stand for one another. No deeper than the trees are."""
        if state and self.ignored.hits(state):
            self.found.ignored += 1
            self._line("ignored", depth, f"{key}{_words(a)}", path)
        elif self._tokens(a, b, state, state):
            self._line("same", depth, f"{key}{_words(a)}", path)
        elif isinstance(a, Mapping) and isinstance(b, Mapping) and self._type(a, 0) == self._type(b, 1):
            self._line("same", depth, f"{key}{_mark(a)}{{", path)
            self._mapping(a, b, path, depth + 1, state)
            self._line("same", depth, "}")
        elif isinstance(a, Items) and isinstance(b, Items) and self._type(a, 0) == self._type(b, 1):
            self._line("same", depth, f"{key}{_mark(a)}[", path)
            self._items(a, b, path, depth + 1, state)
            self._line("same", depth, "]")
        else:
            self._changed(a, b, path, key, depth)

    def _tokens(self, a: Node, b: Node, here: int, there: int) -> bool:
        return self.canons[0].token(a, here) == self.canons[1].token(b, there)

    def _type(self, node: Mapping | Items, side: int) -> str:
        return self.canons[side].type_of(node.type)

    def _mapping(self, a: Mapping, b: Mapping, path: str, depth: int, state: int) -> None:
        """By key, the k-th of one with the k-th of it; in A's order, then what only B has."""
        there = dict(self._by_key(b, 1))
        pairs: list[tuple[Child | None, Child | None]] = []
        for name, child in self._by_key(a, 0):
            pairs.append((child, there.pop(name, None)))
        pairs += [(None, child) for child in there.values()]
        self._pairs(pairs, path, depth, state)

    def _by_key(self, node: Mapping, side: int) -> Iterator[tuple[tuple[bytes, int], Child]]:
        seen: Counter[bytes] = Counter()
        for child in children(node):
            name = self.canons[side].token(child.key, 0) if child.key is not None else b""
            seen[name] += 1
            yield (name, seen[name]), child

    def _items(self, a: Items, b: Items, path: str, depth: int, state: int) -> None:
        here, there = list(children(a)), list(children(b))
        tokens = [
            [canon.token(child.node, self.ignored.step(state, child.position)) for child in side]
            for canon, side in zip(self.canons, (here, there), strict=True)
        ]
        places, _ = common(tokens[0], tokens[1], MOST_MOVES)
        pairs: list[tuple[Child | None, Child | None]] = []
        i = j = 0
        for next_i, next_j in [*places, (len(here), len(there))]:
            pairs += zip_longer(here[i:next_i], there[j:next_j])
            if next_i < len(here) and next_j < len(there):
                pairs.append((here[next_i], there[next_j]))
            i, j = next_i + 1, next_j + 1
        self._pairs(pairs, path, depth, state)

    def _pairs(self, pairs: Sequence[tuple[Child | None, Child | None]], path: str, depth: int, state: int) -> None:
        equal: list[tuple[Child, Child]] = []
        for a, b in pairs:
            if (
                a is not None
                and b is not None
                and self._tokens(a.node, b.node, *(self._state(each, state) for each in (a, b)))
            ):
                equal.append((a, b))
                continue
            self._equal(equal, path, depth, state)
            equal = []
            if a is not None and b is not None:
                self.visit(a.node, b.node, joined(path, segment(a)), _key(a), depth, self._state(a, state))
            elif (only := a or b) is not None:
                if self.ignored.hits(self._state(only, state)):
                    self.found.ignored += 1
                else:
                    self._only(only, path, depth, 0 if a is not None else 1)
        self._equal(equal, path, depth, state)

    def _state(self, child: Child, state: int) -> int:
        return self.ignored.step(state, path_key(child.key, child.position))

    def _equal(self, pairs: Sequence[tuple[Child, Child]], path: str, depth: int, state: int) -> None:
        drawn = pairs if len(pairs) <= FEW else pairs[:1]
        for a, b in drawn:
            self.visit(a.node, b.node, joined(path, segment(a)), _key(a), depth, self._state(a, state))
        if len(pairs) > len(drawn):
            self._line("fold", depth, f"{len(pairs) - len(drawn):,} more that are the same")

    def _only(self, child: Child, path: str, depth: int, side: int) -> None:
        where = joined(path, segment(child))
        words = _words(child.node)
        self._edit(where, *((words, "") if side == 0 else ("", words)))
        self._line(SIDES[side], depth, _key(child) + words, where)

    def _changed(self, a: Node, b: Node, path: str, key: str, depth: int) -> None:
        words = _beside(a, b)
        if words[0] == words[1]:  # they differ in what can't be seen, or beyond what is shown
            words = _typed(a, words[0]), _typed(b, words[1])
        self._edit(path, *words)
        for side, text in zip(SIDES, words, strict=True):
            self._line(side, depth, key + text, path)

    def _edit(self, path: str, a: str, b: str) -> None:
        self.found.count += 1
        if len(self.found.edits) < LISTED:
            self.found.edits.append(Edit(path, a, b))

    def _line(self, kind: str, depth: int, text: str, path: str = "") -> None:
        if len(self.found.lines) < LINES:
            self.found.lines.append(Line(kind, depth, text, path))
        else:
            self.found.cut = True


def zip_longer(a: Sequence[Child], b: Sequence[Child]) -> Iterator[tuple[Child | None, Child | None]]:
    """Both, place by place, and then what is left of the longer."""
    for place in range(max(len(a), len(b))):
        yield (a[place] if place < len(a) else None, b[place] if place < len(b) else None)


def _key(child: Child) -> str:
    return "" if child.key is None else f"{key_text(child)}: "


def _mark(node: Mapping | Items) -> str:
    return f"{visible(node.type)} " if node.type else ""


def _typed(node: Node, words: str) -> str:
    kind = node.type if not isinstance(node, Ref) else ""
    return f"{words} ({visible(kind)})" if kind else f"{words} ({type(node).__name__.lower()})"


def _beside(a: Node, b: Node) -> tuple[str, str]:
    """Two values in words; of long texts the part around the first character that differs."""
    if isinstance(a, Scalar) and isinstance(b, Scalar) and isinstance(a.value, str) and isinstance(b.value, str):
        shorter = min(len(a.value), len(b.value))
        at = next((i for i in range(shorter) if a.value[i] != b.value[i]), shorter)
        start = at - AROUND if at > SHOWN - AROUND else 0
        return _text(a.value, start), _text(b.value, start)
    return _words(a), _words(b)


def _text(text: str, start: int = 0) -> str:
    shown = visible(json.dumps(text[start : start + SHOWN], ensure_ascii=False))
    before = "…" if start else ""
    return f"{before}{shown}{'…' if len(text) > start + SHOWN else ''}"


def _words(node: Node) -> str:
    """A value on one line: ``{"parcel": "KB-104", …}``."""
    text = _short(node, SHOWN)
    return visible(text if len(text) <= SHOWN + 20 else f"{text[:SHOWN]}…")


def _short(node: Node, room: int) -> str:
    match node:
        case Scalar(str(value), type) if type not in _FIGURES:
            return _text(value)
        case Scalar() | Ref():
            return literal(node)
        case Bytes(data):
            return f"{data[:16]!r}{'…' if len(data) > 16 else ''}, {plural(len(data), 'byte')}"
    opening, closing = ("{", "}") if isinstance(node, Mapping) else ("[", "]")
    parts: list[str] = []
    for child in children(node):
        if room <= 0:
            parts.append(f"… {width(node) - len(parts):,} more")
            break
        name = json.dumps(key_text(child), ensure_ascii=False) + ": " if child.key is not None else ""
        part = name + _short(child.node, room - len(name))
        room -= len(part) + 2
        parts.append(part)
    return _mark(node) + opening + ", ".join(parts) + closing

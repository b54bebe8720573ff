"""Searching a tree: which keys and values hold a text, case aside, and what could not be searched."""

import re
from dataclasses import dataclass, field
from typing import Final

from runs.payloads.places import Child, below, children, joined, literal, segment
from runs.payloads.tree import ELIDED, Bytes, Mapping, Node, Scalar, Sequence
from runs.wording import visible

LISTED: Final = 100  # hits that are kept; the rest is counted
AROUND: Final = 40  # characters shown on each side
LONGEST: Final = 200  # characters of what is searched for


@dataclass(frozen=True, slots=True)
class Hit:
    """One key or value: its place, its container's place and its position there, its JSONPath (empty where a key has none),
    whether only its key holds the text, the text around, and how far into a value it begins: in characters, of ``octets`` in bytes.
    """

    place: str
    within: str
    position: int
    path: str
    in_key: bool
    before: str
    match: str
    after: str
    offset: int = 0
    octets: bool = False


@dataclass(slots=True)
class Findings:
    """What a search found: how many places, the first of them, and how many parts of the tree stand for something left out."""

    text: str
    count: int = 0
    hits: list[Hit] = field(default_factory=list)
    left_out: int = 0


def find(root: Node, text: str) -> Findings:
    """All places whose key or value holds ``text``, in the order in which they are stored."""
    text = text[:LONGEST]
    search = _Search(Findings(text))
    search.visit(Child(0, None, root), "", "", "$", rooted=True)
    return search.findings


class _Search:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.pattern = re.compile(re.escape(findings.text), re.IGNORECASE)
        self.octets = re.compile(re.escape(findings.text.encode("utf-8", "surrogatepass")), re.IGNORECASE)

    def visit(self, of: Child, within: str, place: str, path: str, *, rooted: bool = False) -> None:
        # No deeper than the tree, which is no deeper than MAX_DEPTH.
        node = of.node
        if isinstance(node, Scalar) and node.type == ELIDED:
            self.findings.left_out += 1
            return
        found = self._value(node)
        in_key = False
        if found is None and not rooted and of.key is not None:
            found, in_key = self._key(of.key), True
        if found is not None:
            self._note(found, within, of.position, place, path, in_key)
        if isinstance(node, Mapping | Sequence):
            for inner in children(node):
                self.visit(inner, place, below(place, inner.position), joined(path, segment(inner)))

    def _value(self, node: Node) -> re.Match[str] | re.Match[bytes] | None:
        match node:
            case Scalar(str(value)):
                return self.pattern.search(value)
            case Scalar():
                return self.pattern.search(literal(node))
            case Bytes(data):
                return self.octets.search(data)
        return None

    def _key(self, key: Node) -> re.Match[str] | None:
        plain = isinstance(key, Scalar) and isinstance(key.value, str)
        return self.pattern.search(key.value if plain else literal(key))  # type: ignore[union-attr,arg-type]

    def _note(
        self,
        found: re.Match[str] | re.Match[bytes],
        within: str,
        position: int,
        place: str,
        path: str,
        in_key: bool,
    ) -> None:
        self.findings.count += 1
        if len(self.findings.hits) == LISTED:
            return
        start, end, whole = found.start(), found.end(), len(found.string)
        before = ("…" if start > AROUND else "") + _shown(found.string[max(start - AROUND, 0) : start])
        after = _shown(found.string[end : end + AROUND]) + ("…" if end + AROUND < whole else "")
        offset = 0 if in_key else start
        self.findings.hits.append(
            Hit(
                place,
                within,
                position,
                path,
                in_key,
                before,
                _shown(found.string[start:end]),
                after,
                offset,
                isinstance(found.string, bytes),
            )
        )


def _shown(text: str | bytes) -> str:
    return visible(text) if isinstance(text, str) else visible(text.decode("latin-1"))

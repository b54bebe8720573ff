"""From raw values to the tree: each box in the shape runs.payloads.shapes finds for it, depth first and within a
budget.

A container that comes again is drawn once, with an anchor, and then named by a Ref; so a cycle ends, and 250 bytes
that would unfold to 2^40 lists stay as small as they are.
"""

from runs.payloads.raw import Box, Items, Raw
from runs.payloads.shapes import shape_of
from runs.payloads.tree import MAX_DEPTH, Budget, Bytes, Decoded, Mapping, Node, Ref, Scalar, Sequence, elided, integer


def draw(raw: Raw) -> Decoded:
    """The tree of a raw value; its problem says what was left out."""
    painter = _Painter()
    tree = painter.node(raw, 0)
    return Decoded(tree, painter.budget.why)


class _Painter:
    def __init__(self) -> None:
        self.budget = Budget()
        self.anchors = 0

    def node(self, raw: Raw, depth: int) -> Node:
        """One node, and all below it. Recursion ends at MAX_DEPTH."""
        match raw:
            case str():
                self.budget.take(len(raw))
                return Scalar(raw)
            case bytes():
                self.budget.take(len(raw))
                return Bytes(raw)
            case Scalar():
                self.budget.take(len(raw.value) if isinstance(raw.value, str) else 0)
                return raw
            case Bytes():
                self.budget.take(len(raw.data))
                return raw
            case None | bool() | float():
                self.budget.take()
                return Scalar(raw)
            case int():
                self.budget.take()
                return integer(raw)
            case _:
                return self._box(raw, depth)

    def _box(self, raw: Box, depth: int) -> Node:
        known = raw.drawn
        if isinstance(known, Sequence | Mapping):
            self.budget.take()
            if known.anchor is None:
                self.anchors += 1
                known.anchor = self.anchors
            return Ref(known.anchor)
        if known is not None:
            return self.node(known, depth)
        if depth >= MAX_DEPTH:
            return self.budget.too_deep()
        shape = shape_of(raw)
        if isinstance(shape, Scalar | Bytes):
            raw.drawn = shape
            return self.node(shape, depth)
        self.budget.take(len(shape.type))
        if isinstance(shape, Items):
            raw.drawn = sequence = Sequence(type=shape.type)  # before its items: one of them may be itself
            for value in shape.values:
                if self.budget.spent:
                    sequence.items.append(elided(self.budget.why))
                    break
                sequence.items.append(self.node(value, depth + 1))
            return sequence
        raw.drawn = mapping = Mapping(type=shape.type)
        for key, value in shape.pairs:
            if self.budget.spent:
                mapping.entries.append((elided("…"), elided(self.budget.why)))
                break
            mapping.entries.append((self.node(key, depth + 1), self.node(value, depth + 1)))
        return mapping

"""A decoded payload cut to the size that a client asked for: what is left out is marked, and never taken for data."""

from runs.payloads.tree import Bytes, Mapping, Node, Ref, Scalar, Sequence, elided

NODE_COST = 8  # what a value costs beside its text: quotes, commas, a short key


def excerpt(tree: Node, limit: int) -> tuple[Node, bool]:
    """The tree with at most about ``limit`` bytes of JSON, in its order, and whether anything was left out.

    Text or bytes that don't fit become ``elided`` with their length; a container ends with how many values are missing.
    """
    cut = _Cut(limit)
    return cut.node(tree), cut.was_made


class _Cut:
    def __init__(self, limit: int) -> None:
        self.left = limit
        self.was_made = False

    def node(self, node: Node) -> Node:
        match node:
            case Scalar(_, "elided"):
                self.was_made = True  # by the decoder, which has limits of its own
                return node
            case Scalar(value, type):
                length = len(type) + (len(value) if isinstance(value, str) else 0)
                return node if self._fits(length) else self._elided(f"text of {length:,} characters")
            case Bytes(data, type):
                fits = self._fits(len(type) + len(data) * 4 // 3)
                return node if fits else self._elided(f"{len(data):,} bytes")
            case Sequence(items, type, anchor):
                self.left -= NODE_COST
                return Sequence(self._items(items), type, anchor)
            case Mapping(entries, type, anchor):
                self.left -= NODE_COST
                return Mapping(self._entries(entries), type, anchor)
            case Ref():
                self.left -= NODE_COST
                return node

    def _items(self, items: list[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if self.left <= 0:
                kept.append(self._elided(_more(len(items) - len(kept), "value", "values")))
                break
            kept.append(self.node(item))
        return kept

    def _entries(self, entries: list[tuple[Node, Node]]) -> list[tuple[Node, Node]]:
        kept: list[tuple[Node, Node]] = []
        for key, value in entries:
            if self.left <= 0:
                # A key that is no text: none of the data's can be like it.
                more = self._elided(_more(len(entries) - len(kept), "entry", "entries"))
                kept.append((more, more))
                break
            kept.append((self.node(key), self.node(value)))
        return kept

    def _fits(self, length: int) -> bool:
        """Spends what a value of this length costs, where so much is left; smaller ones after it may still fit."""
        cost = length + NODE_COST
        if cost > max(self.left, NODE_COST):
            return False
        self.left -= cost
        return True

    def _elided(self, what: str) -> Node:
        self.was_made = True
        self.left -= NODE_COST
        return elided(what)


def _more(number: int, one: str, many: str) -> str:
    return f"{number:,} more {one if number == 1 else many}"

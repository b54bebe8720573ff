"""JSON text to a tree, in one loop: no recursion, no loss, and what was read before an error is kept.

The standard parser recurses (100,000 brackets end it), rounds numbers, forgets repeated keys and gives nothing for a
text that was cut.
"""

import re
from decimal import Decimal
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from math import isfinite
from typing import Final

from runs.payloads.tree import MAX_DEPTH, MAX_DIGITS, Budget, Decoded, Mapping, Node, Scalar, Sequence, elided, integer

SPACE: Final = re.compile(r"[ \t\n\r]*")
NUMBER: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
WORDS: Final[dict[str, bool | float | None]] = {
    "null": None,
    "true": True,
    "false": False,
    "NaN": float("nan"),  # Python's json and jsonpickle write these three
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
WORD: Final = re.compile("|".join(WORDS))


class _Bad(Exception):
    """The text is no JSON at ``position``."""

    def __init__(self, what: str, position: int) -> None:
        self.what = what
        self.position = position


def parse(text: str, *, truncated: bool = False) -> Decoded:
    """The tree of a JSON text; a problem where it is no JSON, was cut, or is larger or deeper than what is shown."""
    reader = _Reader(text)
    try:
        reader.read()
    except _Bad as bad:
        tree = reader.root[0] if reader.root else None
        if truncated:
            return Decoded(tree, "the rest was not read")
        if bad.position >= len(text):
            return Decoded(tree, "the JSON text ends too early" if text else "empty")
        return Decoded(tree, f"not JSON: {bad.what} at character {bad.position:,}")
    return Decoded(reader.root[0], reader.budget.why)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.root: list[Node] = []
        self.budget = Budget()

    def read(self) -> None:
        """Fills ``root``. Raises _Bad; what was read by then stays in ``root``."""
        text, at = self.text, self._space(0)
        stack: list[Sequence | Mapping] = []
        key: Node = Scalar(None)
        while True:
            # Here a value is expected, and its key is known if it needs one.
            if self.budget.spent:
                self._place(stack, key, elided(self.budget.why))
                return
            char = text[at : at + 1]
            if char == "[" or char == "{":
                container: Sequence | Mapping = Sequence() if char == "[" else Mapping()
                self._add(stack, key, container)
                stack.append(container)
                at = self._space(at + 1)
                if text[at : at + 1] != _closing(container):
                    key, at = self._key(container, at)
                    continue
            else:
                scalar, at = self._scalar(at)
                self._add(stack, key, scalar)
                at = self._space(at)
            # A value is complete: close all that ends here, or go on after a comma.
            while stack:
                char = text[at : at + 1]
                if char == _closing(stack[-1]):
                    stack.pop()
                    at = self._space(at + 1)
                elif char == ",":
                    key, at = self._key(stack[-1], self._space(at + 1))
                    break
                else:
                    raise _Bad("a comma or a closing bracket is missing", at)
            else:
                break
        if at < len(text):
            raise _Bad("more text after the value", at)

    def _space(self, at: int) -> int:
        match = SPACE.match(self.text, at)
        return match.end() if match else at

    def _add(self, stack: list[Sequence | Mapping], key: Node, node: Node) -> None:
        """Counts the node, and shows it unless it lies too deep."""
        self.budget.take(len(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else 0)
        if len(stack) < MAX_DEPTH or (len(stack) == MAX_DEPTH and isinstance(node, Scalar)):
            self._place(stack, key, node)
        elif len(stack) == MAX_DEPTH:
            self._place(stack, key, self.budget.too_deep())

    def _place(self, stack: list[Sequence | Mapping], key: Node, node: Node) -> None:
        if not stack:
            self.root.append(node)
        elif isinstance(inside := stack[-1], Sequence):
            inside.items.append(node)
        else:
            inside.entries.append((key, node))

    def _key(self, container: Sequence | Mapping, at: int) -> tuple[Node, int]:
        """The key of the value that comes next, with its colon; nothing in an array."""
        if isinstance(container, Sequence):
            return Scalar(None), at
        if self.text[at : at + 1] != '"':
            raise _Bad("a key is missing", at)
        text, at = self._string(at)
        self.budget.take(len(text))
        at = self._space(at)
        if self.text[at : at + 1] != ":":
            raise _Bad("a colon is missing", at)
        return Scalar(text), self._space(at + 1)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            # Not strict: a raw control character in a string is shown as it is rather than refused.
            text, end = scanstring(self.text, at + 1, False)
            return str(text), int(end)
        except JSONDecodeError as error:
            ends_early = error.msg.startswith("Unterminated")
            raise _Bad("a string is broken", len(self.text) if ends_early else error.pos) from None

    def _scalar(self, at: int) -> tuple[Node, int]:
        if self.text[at : at + 1] == '"':
            try:
                text, end = self._string(at)
            except _Bad as bad:
                if bad.position >= len(self.text) and not self.root:
                    self.root.append(Scalar(self.text[at + 1 :], "str, cut"))
                raise
            return Scalar(text), end
        word = WORD.match(self.text, at)
        if word:
            return Scalar(WORDS[word[0]]), word.end()
        number = NUMBER.match(self.text, at)
        if number:
            return _number(number), number.end()
        raise _Bad("no value", at)


def _number(match: re.Match[str]) -> Scalar:
    text = match[0]
    if len(text) > MAX_DIGITS:
        return Scalar(text, "float" if match[2] or match[3] else "int")
    if not match[2] and not match[3]:
        return integer(int(text))
    value = float(text)
    # 1.10 and 1e3 are the floats they look like; digits that a float can't hold are kept as text.
    try:
        exact = isfinite(value) and Decimal(text) == Decimal(repr(value))
    except ArithmeticError:  # an exponent of twenty digits
        exact = False
    return Scalar(value) if exact else Scalar(text, "float")


def _closing(container: Sequence | Mapping) -> str:
    return "]" if isinstance(container, Sequence) else "}"

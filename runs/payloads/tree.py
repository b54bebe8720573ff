"""What a stored value becomes, whatever wrote it: a small tree of five kinds of node, and nothing that can run.

Every decoder returns such a tree, no deeper than ``MAX_DEPTH`` and no larger than ``MAX_NODES`` and ``MAX_TEXT``, so
that whoever walks it may recurse. What was left out is a Scalar of the type ``elided`` that says so.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

MAX_DEPTH: Final = 100  # containers in containers
MAX_NODES: Final = 250_000  # with what they are drawn from, less than 100 MB
MAX_TEXT: Final = 64 * 1024 * 1024  # characters and bytes, where a shared text counts each time it is shown
MAX_DIGITS: Final = 4300  # of an integer shown in decimal; Python itself refuses to convert more

ELIDED: Final = "elided"
Value: TypeAlias = bool | int | float | str | None


@dataclass(slots=True)
class Scalar:
    """One value. ``type`` is empty for what JSON has; else ``decimal``, ``datetime``, a class name: then ``value``
    is its text.
    """

    value: Value
    type: str = ""


@dataclass(slots=True)
class Bytes:
    """Raw bytes."""

    data: bytes
    type: str = "bytes"


@dataclass(slots=True)
class Sequence:
    """Values in order. ``type`` is empty for a list; else ``tuple``, ``set``, a class name. ``anchor`` is set where
    a Ref names it.
    """

    items: "list[Node]" = field(default_factory=list)
    type: str = ""
    anchor: int | None = None


@dataclass(slots=True)
class Mapping:
    """Pairs in order, repeated keys kept. ``type`` is empty for a dict; else a class name, and the pairs are its
    fields.
    """

    entries: "list[tuple[Node, Node]]" = field(default_factory=list)
    type: str = ""
    anchor: int | None = None


@dataclass(slots=True)
class Ref:
    """The container whose ``anchor`` is ``number``, once more."""

    number: int


Node: TypeAlias = Scalar | Bytes | Sequence | Mapping | Ref


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded payload: ``tree`` is None where nothing can be shown; ``problem`` says in words what is wrong or
    left out.
    """

    tree: Node | None
    problem: str = ""


def integer(value: int, type: str = "") -> Scalar:
    """An integer of any size. Beyond ``MAX_DIGITS`` digits its text is hexadecimal, which costs linear time only."""
    if value.bit_length() <= MAX_DIGITS * 3:
        return Scalar(value, type)
    return Scalar(hex(value), type or "int")


def elided(why: str) -> Scalar:
    """Stands where something was left out."""
    return Scalar(why, ELIDED)


class Budget:
    """Counts what a tree costs while it grows. Once ``spent`` is true, nothing more may be added."""

    __slots__ = ("nodes", "text", "why")

    def __init__(self, nodes: int = MAX_NODES, text: int = MAX_TEXT) -> None:
        self.nodes = nodes
        self.text = text
        self.why = ""

    @property
    def spent(self) -> bool:
        return self.nodes <= 0 or self.text <= 0

    def take(self, text: int = 0) -> None:
        """One more node, with so many characters or bytes."""
        self.nodes -= 1
        self.text -= text
        if self.spent:
            self.why = self.why or (
                f"too large: the first {MAX_NODES:,} values are shown"
                if self.nodes <= 0
                else "too much text: shown in part"
            )

    def too_deep(self) -> Scalar:
        """Notes that something lies too deep, and returns what to show in its place."""
        self.nodes -= 1
        self.why = self.why or f"nested deeper than {MAX_DEPTH} levels: the rest is left out"
        return elided(f"deeper than {MAX_DEPTH} levels")

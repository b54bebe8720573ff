"""What pickle and jsonpickle describe, before it is drawn: calls that nobody makes, and containers that may contain
themselves.

Raw values are Python's own None, bool, int, float, str, bytes, finished leaves of the tree, and the four boxes below.
Each box keeps what it was drawn as (runs.payloads.draw), so it is drawn once, and a hostile payload of a million boxes needs
no table of them.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from runs.payloads.tree import Bytes, Mapping, Scalar, Sequence

Box: TypeAlias = "Items | Pairs | Global | Made"
Drawn: TypeAlias = Scalar | Bytes | Sequence | Mapping
Raw: TypeAlias = "bool | int | float | str | bytes | Scalar | Bytes | Items | Pairs | Global | Made | None"


@dataclass(slots=True, eq=False)
class Items:
    """A list (type ""), or a tuple, a set … of raw values."""

    values: "list[Raw]" = field(default_factory=list)
    type: str = ""
    drawn: Drawn | None = None


@dataclass(slots=True, eq=False)
class Pairs:
    """A dict (type ""), or something else with keys."""

    pairs: "list[tuple[Raw, Raw]]" = field(default_factory=list)
    type: str = ""
    drawn: Drawn | None = None


@dataclass(slots=True, eq=False)
class Global:
    """A class or function, by name. It is never looked up."""

    name: str
    drawn: Drawn | None = None


@dataclass(slots=True, eq=False)
class Made:
    """What calling ``what`` with ``args`` would have returned, then given state, items and entries. Nothing is called.

    ``new`` says that only the class's __new__ would be called: the arguments are what the object is (a namedtuple's
    values).
    """

    what: "Raw"
    args: "list[Raw]" = field(default_factory=list)
    kwargs: "Pairs | None" = None
    states: "list[Raw]" = field(default_factory=list)
    values: "list[Raw]" = field(default_factory=list)
    pairs: "list[tuple[Raw, Raw]]" = field(default_factory=list)
    new: bool = False
    drawn: Drawn | None = None


def name_of(what: Raw) -> str:
    """The dotted name of a class or function, also where it is reached through getattr; ``?`` for anything else."""
    tail = ""
    for _ in range(10):
        match what:
            case Global(name):
                return name + tail
            case Made(Global("builtins.getattr"), [owner, str(attribute)]):
                what, tail = owner, f".{attribute}{tail}"
            case _:
                break
    return "?" + tail

"""Go's gob, read as data: a stream describes its own types, then holds values of them (encoding/gob, "Encoding
Details").

Only what encoding/gob itself defines: booleans, numbers, texts, bytes, slices, arrays, maps, structs, interfaces
with the name of what they hold, and what a type encoded itself (GobEncoder, BinaryMarshaler, TextMarshaler) as its
bytes, of which time.Time is known. A struct leaves out the fields that are zero. Counts are checked against the
bytes that are there; recursion ends at MAX_DEPTH.
"""

import datetime as dt
import struct
from dataclasses import dataclass, field
from typing import Final

from runs.payloads.tree import MAX_DEPTH, Budget, Bytes, Decoded, Mapping, Node, Scalar, Sequence, elided

BOOL, INT, UINT, FLOAT, BYTES, STRING, COMPLEX, INTERFACE = range(1, 9)
FIRST_OWN: Final = 17  # ids from here on are those of the types that describe types, then the stream's own
KINDS: Final = ("array", "slice", "struct", "map", "encoded", "encoded", "text")  # the fields of a wireType, in order
MAX_DEFINED: Final = 10_000
YEAR_ONE: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


class _Bad(Exception):
    """The stream can't be read on; the text says why."""


@dataclass(slots=True)
class _Type:
    """A defined type. ``fields`` are (name, type id) of a struct; ``key`` and ``element`` type ids of a map, slice
    or array.
    """

    kind: str
    name: str = ""
    fields: list[tuple[str, int]] = field(default_factory=list)
    key: int = 0
    element: int = 0


def read(data: bytes, *, truncated: bool = False) -> Decoded:
    """The tree of the first value of a stream; where it breaks off, what was read by then, and a problem."""
    reader = _Reader(data)
    problem = ""
    try:
        reader.stream()
    except _Bad as bad:
        if reader.budget.why:  # it is sound as far as it was read
            return Decoded(reader.root[0], reader.budget.why)
        problem = (
            "the rest was not read" if truncated else f"not gob: {bad}" if not reader.root else f"broken gob: {bad}"
        )
    return Decoded(reader.root[0] if reader.root else None, problem or reader.budget.why)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.types: dict[int, _Type] = {}
        self.budget = Budget()
        self.root: list[Node] = []

    def stream(self) -> None:
        """Messages: a length, a type id, and a definition (negative id) or a value."""
        while True:
            length = self._uint()
            end = self.at + length
            # A length that lies is a sign that this is no gob; of a stream that was cut, it is the last message's.
            if length == 0 or (end > len(self.data) and not self.types and length > len(self.data) * 1000 + 1_000_000):
                raise _Bad("a message of an impossible length")
            type_id = self._int()
            if type_id >= 0:
                self._top(type_id)
                # Definitions inside an interface come in messages of their own, so the value may go beyond this
                # one's end.
                if self.at < len(self.data):
                    raise _Bad("more bytes after the value")
                return
            self._define(-type_id)
            if self.at != end:
                raise _Bad("a definition of another length than it says")

    def _top(self, type_id: int) -> None:
        if type_id not in self.types and not BOOL <= type_id <= INTERFACE:
            raise _Bad(f"a value of the unknown type {type_id}")
        self._single(type_id, self.root, 0, "")

    def _single(self, type_id: int, into: list[Node], depth: int, type: str) -> None:
        """A value on its own, at the top or in an interface: all but structs have a zero before them."""
        known = self.types.get(type_id)
        if (known is None or known.kind != "struct") and self._uint() != 0:
            raise _Bad("no zero before a single value")
        self._value(type_id, into, depth, type)

    # Numbers

    def _take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise _Bad("the gob ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def _uint(self) -> int:
        (first,) = self._take(1)
        if first < 128:
            return int(first)
        width = 256 - first
        if width > 8:
            raise _Bad("a number of more than 8 bytes")
        return int.from_bytes(self._take(width))

    def _int(self) -> int:
        number = self._uint()
        return ~(number >> 1) if number & 1 else number >> 1

    def _float(self) -> float:
        (number,) = struct.unpack("<d", self._uint().to_bytes(8))
        return float(number)

    def _count(self) -> int:
        """How many elements follow. Each takes at least a byte."""
        count = self._uint()
        if count > len(self.data) - self.at:
            raise _Bad("more elements than bytes")
        return count

    # Values: each is put where it belongs before what is in it is read, so that a broken stream leaves what it held.

    def _value(self, type_id: int, into: list[Node], depth: int, type: str) -> None:
        if self.budget.spent:
            raise _Bad("")
        if depth > MAX_DEPTH:
            into.append(self.budget.too_deep())
            raise _Bad("")
        known = self.types.get(type_id)
        if known is None:
            if type_id == INTERFACE:
                self._interface(into, depth)
            else:
                into.append(self._basic(type_id))
            return
        if known.kind in ("encoded", "text"):
            into.append(self._encoded(known, type))
            return
        self.budget.take()
        if known.kind == "struct":
            shown = Mapping(type=type or known.name or "struct")
            into.append(shown)
            self._struct(known, shown, depth)
        elif known.kind == "map":
            pairs = Mapping(type=type)
            into.append(pairs)
            for _ in range(self._count()):
                self._pair(known, pairs, depth)
        else:
            items = Sequence(type=type)
            into.append(items)
            for _ in range(self._count()):
                self._value(known.element, items.items, depth + 1, "")

    def _pair(self, known: _Type, pairs: Mapping, depth: int) -> None:
        key: list[Node] = []
        self._value(known.key, key, depth + 1, "")
        self._entry(pairs, key[0], known.element, depth)

    def _entry(self, mapping: Mapping, key: Node, type_id: int, depth: int) -> None:
        value: list[Node] = []
        try:
            self._value(type_id, value, depth + 1, "")
        finally:
            mapping.entries.append((key, value[0] if value else elided("cut")))

    def _struct(self, known: _Type, shown: Mapping, depth: int) -> None:
        number = -1
        while delta := self._uint():
            number += delta
            if number >= len(known.fields):
                raise _Bad(f"no field {number} in {known.name}")
            name, type_id = known.fields[number]
            self.budget.take(len(name))
            self._entry(shown, Scalar(name), type_id, depth)

    def _interface(self, into: list[Node], depth: int) -> None:
        """The name of the concrete type, definitions it needs, its id, a length, the value; no name for nil."""
        name = self._take(self._count()).decode("utf-8", "replace")
        if not name:
            self.budget.take()
            into.append(Scalar(None))
            return
        while (type_id := self._int()) < 0:
            self._define(-type_id)
            self._uint()
        self._uint()
        basic = BOOL <= type_id < INTERFACE
        self._single(type_id, into, depth + 1, "" if basic or name.startswith(("[]", "map[")) else name)
        last = into[-1]
        if basic and isinstance(last, Scalar) and name not in ("string", "bool", "int", "int64", "float64"):
            last.type = name

    def _basic(self, type_id: int) -> Node:
        match type_id:
            case 1:
                self.budget.take()
                return Scalar(self._uint() != 0)
            case 2:
                self.budget.take()
                return Scalar(self._int())
            case 3:
                self.budget.take()
                return Scalar(self._uint())
            case 4:
                self.budget.take()
                return Scalar(self._float())
            case 5:
                data = self._take(self._count())
                self.budget.take(len(data))
                return Bytes(data)
            case 6:
                data = self._take(self._count())
                self.budget.take(len(data))
                return Scalar(data.decode("utf-8", "replace"))
            case 7:
                self.budget.take()
                return Scalar(str(complex(self._float(), self._float())), "complex")
        raise _Bad(f"a value of the unknown type {type_id}")

    def _encoded(self, known: _Type, type: str) -> Node:
        """What a type wrote itself: time.Time is known, the rest are bytes, or text of a TextMarshaler."""
        data = self._take(self._count())
        self.budget.take(len(data))
        if known.kind == "text":
            return Scalar(data.decode("utf-8", "replace"), type or known.name)
        return (_time(data) if known.name == "Time" else None) or Bytes(data, type or known.name or "bytes")

    # Definitions: a wireType is itself a struct in gob, of types that need no definition.

    def _define(self, type_id: int) -> None:
        if type_id < FIRST_OWN or type_id in self.types or len(self.types) >= MAX_DEFINED:
            raise _Bad("an impossible definition")
        defined: _Type | None = None
        number = -1
        while delta := self._uint():
            number += delta
            if number >= len(KINDS) or defined is not None:
                raise _Bad("an unknown kind of type")
            defined = self._definition(KINDS[number])
        if defined is None:
            raise _Bad("an empty definition")
        self.types[type_id] = defined

    def _definition(self, kind: str) -> _Type:
        """An arrayType {common, elem, len}, sliceType {common, elem}, structType {common, fields}, mapType {common,
        key, elem} …
        """
        defined = _Type(kind)
        number = -1
        while delta := self._uint():
            number += delta
            match number, kind:
                case 0, _:
                    defined.name = self._common()
                case 1, "struct":
                    defined.fields = [self._field() for _ in range(self._count())]
                case 1, "map":
                    defined.key = self._int()
                case (1, "array" | "slice") | (2, "map"):
                    defined.element = self._int()
                case 2, "array":
                    self._int()  # its length, which its value says again
                case _:
                    raise _Bad("an unknown part of a definition")
        return defined

    def _common(self) -> str:
        """CommonType {Name, Id}: the name."""
        name, _ = self._field()
        return name

    def _field(self) -> tuple[str, int]:
        """fieldType {Name, Id} or CommonType {Name, Id}."""
        name, type_id, number = "", 0, -1
        while delta := self._uint():
            number += delta
            if number == 0:
                name = self._take(self._count()).decode("utf-8", "replace")
            elif number == 1:
                type_id = self._int()
            else:
                raise _Bad("an unknown part of a field")
        return name, type_id


def _time(data: bytes) -> Scalar | None:
    """time.Time.MarshalBinary: a version, seconds since the year 1, nanoseconds, the offset in minutes (-1: UTC)
    and, in version 2, seconds.
    """
    if len(data) not in (15, 16) or data[0] != len(data) - 14:
        return None
    _, seconds, nanoseconds, minutes = struct.unpack(">BqiH", data[:15])
    minutes = minutes - 65536 if minutes >= 32768 else minutes
    offset = dt.timedelta(minutes=minutes if minutes != -1 else 0, seconds=data[15] if len(data) == 16 else 0)
    try:
        moment = (YEAR_ONE + dt.timedelta(seconds=seconds)).astimezone(dt.timezone(offset))
    except (OverflowError, ValueError):
        return None
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    zone = "Z" if minutes == -1 else moment.isoformat()[19:]
    return Scalar(moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + zone, "time.Time")

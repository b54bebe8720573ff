"""The jsonpickle text of DBOS 1.x: JSON whose ``py/…`` keys stand for Python's objects. Read as data; nothing is
rebuilt.

``{"py/id": n}`` is the n-th object in reading order, from 0; lists, dicts, py/object and py/reduce count (tried with
jsonpickle 4.1).
"""

import base64
import binascii
import quopri
from typing import Final

from runs.payloads import jsontext
from runs.payloads.draw import draw
from runs.payloads.raw import Box, Global, Items, Made, Pairs, Raw
from runs.payloads.tree import Bytes, Decoded, Mapping, Node, Ref, Scalar, Sequence

COLLECTIONS: Final = {"py/tuple": "tuple", "py/set": "set", "py/frozenset": "frozenset", "py/iterator": "iterator"}
NAMES: Final = ("py/type", "py/function", "py/class", "py/mod", "py/repr")
ARGUMENTS: Final = ("py/newargs", "py/initargs")


def read(text: str, *, truncated: bool = False) -> Decoded:
    """The tree of a jsonpickle text; JSON without marks reads as JSON."""
    parsed = jsontext.parse(text, truncated=truncated)
    if parsed.tree is None:
        return parsed
    drawn = draw(_Reader().raw(parsed.tree))
    return Decoded(drawn.tree, "; ".join(dict.fromkeys(filter(None, (parsed.problem, drawn.problem)))))


class _Reader:
    """Recursion is bounded: the parsed tree is no deeper than MAX_DEPTH."""

    def __init__(self) -> None:
        self.objects: list[Box] = []

    def raw(self, node: Node) -> Raw:
        match node:
            case Scalar(value, ""):
                return value
            case Scalar() | Bytes():
                return node
            case Sequence(items):
                box = Items()
                self.objects.append(box)
                box.values.extend(map(self.raw, items))
                return box
            case Mapping(entries):
                return self._mapping(entries)
            case Ref():  # a parsed tree holds none
                return None

    def _mapping(self, entries: list[tuple[Node, Node]]) -> Raw:
        keys = {key.value: value for key, value in entries if isinstance(key, Scalar) and isinstance(key.value, str)}
        if len(keys) == 1:
            ((key, value),) = keys.items()
            if (single := self._single(str(key), value)) is not None:
                return single
        if isinstance(reduce := keys.get("py/reduce"), Sequence):
            return self._reduce(reduce)
        name = keys.get("py/object")
        if isinstance(name, Scalar) and isinstance(name.value, str):
            return self._object(name.value, entries)
        pairs = Pairs()
        self.objects.append(pairs)
        pairs.pairs.extend((self.raw(key), self.raw(value)) for key, value in entries)
        return pairs

    def _single(self, key: str, value: Node) -> Raw:
        """An object of one mark; None if it is none of these."""
        if key in COLLECTIONS and isinstance(value, Sequence):
            return Items([self.raw(item) for item in value.items], COLLECTIONS[key])
        if not isinstance(value, Scalar):
            return None
        if key in NAMES and isinstance(value.value, str):
            return Global(value.value)
        if key == "py/id" and isinstance(value.value, int):
            known = 0 <= value.value < len(self.objects)
            return self.objects[value.value] if known else Scalar(value.value, "py/id")
        if key == "py/ref":
            return Scalar(value.value, "py/ref")
        if key in ("py/b64", "py/b85", "py/bytes") and isinstance(value.value, str):
            return _octets(key, value.value)
        return None

    def _reduce(self, node: Sequence) -> Raw:
        """[what, arguments, state, items, entries], the last ones left away or null."""
        made = Made(None)
        self.objects.append(made)
        parts = [self.raw(item) for item in node.items]
        what, args, state, items, entries = (*parts[:5], None, None, None, None, None)[:5]
        made.what = what
        made.args = args.values if isinstance(args, Items) else []
        if state is not None and not (isinstance(state, Pairs) and not state.pairs):
            made.states.append(state)
        if isinstance(items, Items):
            made.values = items.values
        if isinstance(entries, Items):
            made.pairs = [
                (pair.values[0], pair.values[1])
                for pair in entries.values
                if isinstance(pair, Items) and len(pair.values) == 2
            ]
        return made

    def _object(self, name: str, entries: list[tuple[Node, Node]]) -> Raw:
        made = Made(Global(name))
        self.objects.append(made)
        fields = Pairs()
        for key, value in entries:
            word = key.value if isinstance(key, Scalar) else None
            if word == "py/object":
                continue
            if word == "__reduce__" and isinstance(value, Sequence):
                made.args = self._dated(value)
            elif word in ARGUMENTS:
                made.new = True
                given = self.raw(value)
                made.args = given.values if isinstance(given, Items) else [given]
            elif word == "py/state":
                made.states.append(self.raw(value))
            elif word == "py/seq":
                added = self.raw(value)
                # A namedtuple lists its values as arguments, and again as a sequence.
                if isinstance(added, Items) and len(added.values) != len(made.args):
                    made.values = added.values
            elif word == "hex" and name == "uuid.UUID" and isinstance(value, Scalar):
                fields.pairs.append(("int", _hexadecimal(value)))
            elif not (name == "collections.defaultdict" and word == "default_factory"):
                fields.pairs.append((self.raw(key), self.raw(value)))
        if name == "collections.defaultdict":
            made.pairs = fields.pairs
        elif fields.pairs:
            made.states.append(fields)
        return made

    def _dated(self, node: Sequence) -> list[Raw]:
        """What jsonpickle keeps of a date or time: its class, then [octets in base64, zone]. These lists don't count
        for py/id.
        """
        arguments = node.items[1] if len(node.items) > 1 else None
        if not isinstance(arguments, Sequence):
            return []
        args: list[Raw] = []
        for item in arguments.items:
            text = item.value if isinstance(item, Scalar) else None
            args.append(_octets("py/b64", text) if isinstance(text, str) else self.raw(item))
        return args


def _octets(key: str, text: str) -> Raw:
    try:
        if key == "py/b64":
            return base64.b64decode(text, validate=True)
        return base64.b85decode(text) if key == "py/b85" else quopri.decodestring(text.encode())
    except (ValueError, binascii.Error):
        return Scalar(text, key)


def _hexadecimal(node: Scalar) -> Raw:
    try:
        return int(str(node.value), 16)
    except ValueError:
        return node.value

"""A tree as plain JSON values, for the JSON interface. Whatever JSON has not is an object that says what it is.

=======================  ============================================================================================
in the tree              in JSON
=======================  ============================================================================================
null, true, 1, "a", 1.5  themselves
list, dict               array, object
an integer over 2^53     ``{"$type": "int", "value": "9007199254740993"}``, from 4,300 digits on in hexadecimal, ``0x…``
NaN, the infinities      ``{"$type": "float", "value": "NaN" | "Infinity" | "-Infinity"}``
text with a lone         ``{"$type": "str", "value": "\\\\ud800"}``: each lone surrogate becomes those six characters
surrogate
bytes                    ``{"$type": "bytes", "value": base64}``
decimal, datetime, …     ``{"$type": "decimal", "value": "12.50"}``
tuple, set, …            ``{"$type": "tuple", "value": […]}``
an object of a class     ``{"$type": "shop.Order", "fields": {…}}``
a mapping whose keys     ``{"$type": "dict", "entries": [[key, value], …]}``: keys that are not text, that repeat, or
that start are not plain            with "$" (so an object with "$type" is always ours, never the data's)
a shared container       has ``"$id": n`` beside its ``$type`` (``list`` and ``dict`` where it would have none)
the same once more       ``{"$ref": n}``
something left out       ``{"$type": "elided", "value": why}``
=======================  ============================================================================================
"""

import base64
import math
import re
from typing import Final

from runs.payloads.tree import MAX_DEPTH, Bytes, Mapping, Node, Ref, Scalar, Sequence, elided, integer

SAFE_INTEGER: Final = 2**53  # a JavaScript reader knows all integers up to here
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def to_json(node: Node, depth: int = 0) -> object:
    """The value of a node as None, bool, int, float, str, list and dict, in the shapes above; never fails."""
    if depth > MAX_DEPTH:
        node = elided(f"deeper than {MAX_DEPTH} levels")
    match node:
        case Scalar(value, type):
            return _scalar(value, type)
        case Bytes(data, type):
            return {"$type": type, "value": base64.b64encode(data).decode("ascii")}
        case Ref(number):
            return {"$ref": number}
        case Sequence(items, type, anchor):
            values = [to_json(item, depth + 1) for item in items]
            if not type and anchor is None:
                return values
            return _marked(type or "list", anchor) | {"value": values}
        case Mapping(entries, type, anchor):
            fields = _fields(entries, depth)
            if fields is None:
                pairs = [[to_json(key, depth + 1), to_json(value, depth + 1)] for key, value in entries]
                return _marked(type or "dict", anchor) | {"entries": pairs}
            if not type and anchor is None:
                return fields
            return _marked(type or "dict", anchor) | {"fields": fields}


def _scalar(value: object, type: str) -> object:
    plain = value
    if isinstance(value, str) and SURROGATE.search(value):
        plain, type = escaped(value), type or "str"
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > SAFE_INTEGER:
        scalar = integer(value)
        plain, type = str(scalar.value), type or "int"
    elif isinstance(value, float) and not math.isfinite(value):
        plain, type = float_text(value), type or "float"
    return _marked(type, None) | {"value": plain} if type else plain


def _marked(type: str, anchor: int | None) -> dict[str, object]:
    mark: dict[str, object] = {"$type": escaped(type)}
    return mark if anchor is None else mark | {"$id": anchor}


def _fields(entries: list[tuple[Node, Node]], depth: int) -> dict[str, object] | None:
    """The entries as an object, or None if a key would lose something or could be taken for a mark of ours."""
    names = [key.value for key, _ in entries if isinstance(key, Scalar) and isinstance(key.value, str) and not key.type]
    if len(set(names)) < len(entries) or any(name.startswith("$") or SURROGATE.search(name) for name in names):
        return None
    return {name: to_json(value, depth + 1) for name, (_, value) in zip(names, entries, strict=True)}


def float_text(value: float) -> str:
    """A float as JavaScript writes it where JSON has no form for it: ``NaN``, ``Infinity``; else as Python writes
    it.
    """
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def escaped(text: str) -> str:
    """The text with each lone surrogate written out as ``\\udXXX``, so that UTF-8 can carry it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8") if SURROGATE.search(text) else text

"""The return values of Obelisk: ``{"ok": {"type": "u32", "value": 7}}``, ``{"err": …}``, ``{"execution_failure":
{"kind": …}}``.

The wrapper stays to be seen; the value inside carries its WIT type as its mark. Facts: val-json of Obelisk 0.36 and
later; before, the type was JSON of its own, and a failure was called ``execution_error``.
"""

from typing import Final

from runs.payloads import jsontext
from runs.payloads.tree import Decoded, Mapping, Node, Scalar, Sequence

WRAPPERS: Final = ("ok", "err", "Ok", "Err")
LONGEST_TYPE: Final = 500  # characters of a WIT type that are shown as a mark


def read(text: str, *, truncated: bool = False) -> Decoded:
    """The tree of a return value, or of one typed value without a wrapper."""
    decoded = jsontext.parse(text, truncated=truncated)
    if decoded.tree is None:
        return decoded
    return Decoded(_unwrapped(decoded.tree), decoded.problem)


def _unwrapped(node: Node) -> Node:
    if isinstance(node, Mapping) and len(node.entries) == 1:
        key, value = node.entries[0]
        if isinstance(key, Scalar) and key.value in WRAPPERS:
            node.entries[0] = (key, _typed(value))
            return node
    return _typed(node)


def _typed(node: Node) -> Node:
    """A {"type", "value"} as its value with the type for a mark; anything else as it is."""
    if not isinstance(node, Mapping):
        return node
    parts = {key.value: value for key, value in node.entries if isinstance(key, Scalar)}
    if set(parts) != {"type", "value"} or len(node.entries) != 2:
        return node
    kind, value = parts["type"], parts["value"]
    if not isinstance(kind, Scalar) or not isinstance(kind.value, str):
        return node
    if isinstance(value, Scalar | Sequence | Mapping) and not value.type:
        value.type = kind.value if len(kind.value) <= LONGEST_TYPE else kind.value[:LONGEST_TYPE] + "…"
    return value

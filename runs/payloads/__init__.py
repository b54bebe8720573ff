"""Payloads: stored bytes to a tree that can be shown, and errors to one line. Pure: no file, no import, no call that
a payload names.

bytes ──► decode(encoding, data) ──► tree ──► to_json, or runs.payloads.outline for pages
              │                        └────► summarise_error
              ├── json, portable_json    jsontext     one loop, nothing lost
              ├── wit                    wit          Obelisk's typed values
              ├── py_pickle              pickled ──► raw ──► shapes ──► draw
              ├── jsonpickle             jsonpickled ─┘
              ├── DBOS_JSON, DBOS_GOB    go, gob
              └── text, any other name   custom
"""

from runs.payloads import custom, go, jsonpickled, jsontext, pickled, wit
from runs.payloads.errors import attempts, summarise
from runs.payloads.plain import to_json
from runs.payloads.sniffing import sniff
from runs.payloads.tree import Bytes, Decoded, Mapping, Node, Ref, Scalar, Sequence
from runs.records import ErrorSummary

__all__ = [
    "Bytes",
    "Decoded",
    "Mapping",
    "Node",
    "Ref",
    "Scalar",
    "Sequence",
    "decode",
    "list_attempt_errors",
    "sniff",
    "summarise_error",
    "to_json",
]


def decode(encoding: str, data: bytes, *, truncated: bool = False) -> Decoded:
    """The tree of a stored body. Never raises: what can't be shown is a problem in words, beside what can.

    ``encoding`` is as sniff() or an engine names it; ``truncated`` says that ``data`` is only the beginning.
    """
    try:
        return _decode(encoding, data, truncated)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
        # No payload is known to lead here; one that does must not take the page with it.
        return Decoded(None, f"can't be read as {encoding} ({type(error).__name__})")


def summarise_error(encoding: str, data: bytes) -> ErrorSummary | None:
    """The error in one line; None where there is none (no bytes, or an ``ok``). ``data`` may be a beginning. Never
    raises.
    """
    return summarise(encoding, _whole_or_beginning(encoding, data)) if data else None


def list_attempt_errors(encoding: str, data: bytes) -> tuple[ErrorSummary, ...]:
    """The errors of the single attempts, oldest first, where one error lists them (DBOSMaxStepRetriesExceeded); else
    empty.
    """
    return attempts(_whole_or_beginning(encoding, data)) if data else ()


def _whole_or_beginning(encoding: str, data: bytes) -> Decoded:
    decoded = decode(encoding, data)
    beginning = decode(encoding, data, truncated=True) if decoded.problem else decoded
    return beginning if decoded.tree is None and beginning.tree is not None else decoded


def _decode(encoding: str, data: bytes, truncated: bool) -> Decoded:
    if encoding == "py_pickle":
        return _pickle(data, truncated)
    try:
        text = data.decode("utf-8", "ignore" if truncated else "strict")
    except UnicodeDecodeError:
        if encoding in ("json", "portable_json", "wit", "jsonpickle", "text", "DBOS_JSON", "DBOS_GOB"):
            return Decoded(Bytes(data), "not UTF-8: shown as bytes")
        return custom.read(data, encoding, truncated=truncated)
    match encoding:
        case "json" | "portable_json":
            return jsontext.parse(text, truncated=truncated)
        case "wit":
            return wit.read(text, truncated=truncated)
        case "jsonpickle":
            return jsonpickled.read(text, truncated=truncated)
        case "DBOS_JSON" | "DBOS_GOB":
            return go.read(text, prefer_gob=encoding == "DBOS_GOB", truncated=truncated)
        case "text":
            return Decoded(Scalar(text), "the rest was not read" if truncated else "")
        case _:
            return custom.read(data, encoding, truncated=truncated)


def _pickle(data: bytes, truncated: bool) -> Decoded:
    """base64 of a pickle, as DBOS stores it, or the pickle itself."""
    if data[:1] != b"\x80":
        text = data.decode("latin-1")
        inner = go.octets(text, truncated=truncated)
        if inner is None:
            # Not whole groups of four: cut, though nobody said so. A pickle of protocol 0 is ASCII too, but no base64.
            inner = go.octets(text, truncated=True)
        if inner:
            data = inner
    return pickled.read(data, truncated=truncated)

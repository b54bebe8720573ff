"""Reading values out of stored JSON that anybody may have written: never raises, never recurses without end."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from runs.clock import parse_instant
from runs.sources.base import Value

MAX_DEPTH = 200
NOTHING: Mapping[str, Any] = {}
SHORT, REMEMBERED = 200, 1024  # characters of a word whose reading is kept, and of how many of them
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def remembered(read: Callable[[Value], str]) -> Callable[[Value], str]:
    """``read``, its answers to the last short words kept: what engines write of these is short and the same again and again, but
    what else may lie there can be megabytes."""
    kept = lru_cache(maxsize=REMEMBERED)(read)

    def said(word: Value) -> str:
        return kept(word) if not isinstance(word, str | bytes) or len(word) <= SHORT else read(word)

    return said


class Unparsed(Exception):
    """The text is no JSON, or more deeply nested than any that an engine writes."""


def parse(text: object) -> Any:
    """The JSON value, integers whole, without lone surrogates. Raises Unparsed."""
    source = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if not isinstance(source, str):
        raise Unparsed("no text")
    if _depth(source) > MAX_DEPTH:
        raise Unparsed("nested too deeply")
    try:
        value = _DECODER.decode(source)
    except (ValueError, RecursionError):
        raise Unparsed("not JSON") from None
    return _clean(value) if "\\ud" in source or "\\uD" in source else value


def text(value: object) -> str:
    """The value if it is text, else empty."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else NOTHING


def whole(value: object) -> int | None:
    """The value if it is an integer, else None: SQL flags and JSON numbers alike."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def instant(value: object) -> datetime | None:
    """The instant that a column or a JSON text says, or None."""
    return parse_instant(value) if isinstance(value, str) else None


def snake(word: object) -> str:
    """``JoinSetRequest`` as ``join_set_request``: releases up to 0.33 wrote the former."""
    return _snake(text(word))


@remembered
def _snake(word: Value) -> str:
    return _BOUNDARY.sub("_", text(word)).lower()


def hexadecimal(value: object) -> str:
    """The hex digits of a digest column, or of a text like ``sha256:ab12…``; empty for anything else."""
    if isinstance(value, bytes):
        return value.hex()
    return text(value).removeprefix("sha256:")


def as_bytes(value: object) -> bytes:
    """A column's text as UTF-8, its bytes as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def compact(value: object) -> str:
    """JSON text as the engine writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


# Made once: json.loads makes one for each text.
_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _depth(source: str) -> int:
    # An upper bound: brackets inside strings are counted as well, which only a row made for it would notice.
    opened = source.count("[") + source.count("{")
    if opened <= MAX_DEPTH:
        return opened
    depth = deepest = 0
    for character in re.findall(r"[\[{}\]]", source):
        depth += 1 if character in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value

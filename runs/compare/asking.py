"""What a person asked of a comparison, from words: the same for pages, the command and the JSON interface."""

import re
from collections.abc import Collection
from datetime import timedelta

from runs.compare.records import Options, Rung, Tolerance
from runs.compare.values import parse_path, parse_paths
from runs.errors import BadFilter

AUTO = "auto"
MATCHES = (AUTO, *(rung.value for rung in Rung))
MAX_IGNORED = 50
_NUMBER = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)"
_PARTS = re.compile(rf"{_NUMBER}\s*%(?:\s*(?:,|and|&)?\s*{_NUMBER}\s*(ms|s))?|{_NUMBER}\s*(ms|s)")
_SEPARATED = re.compile(r"[\s,]+(?=\$)")
_SECONDS = {"ms": 0.001, "s": 1.0}


def options(match: str = "", path: str = "", ignore: Collection[str] = (), tolerance: str = "") -> Options:
    """Options from words; an empty one is its default. Each of ``ignore`` may hold several paths. Raises BadFilter."""
    match = match or AUTO
    if match not in MATCHES:
        raise BadFilter(f"match={match[:40]!r} is not one of {', '.join(MATCHES)}.")
    if path:
        parse_path(path)
    elif match == Rung.PATH:
        raise BadFilter("match=path needs a path.", remedy="Name one in the input, like $.order_id.")
    ignored = tuple(dict.fromkeys(each for text in ignore for each in _SEPARATED.split(text.strip(" ,\n\t")) if each))
    if len(ignored) > MAX_IGNORED:
        raise BadFilter(f"{len(ignored)} paths are to be ignored; {MAX_IGNORED} can be.")
    parse_paths(ignored)
    return Options(match, path, ignored, tolerance_of(tolerance) if tolerance else Tolerance())


def tolerance_of(text: str) -> Tolerance:
    """``20%,50ms``, ``20 % and 50 ms``, or one of the two: the other is then 0. Raises BadFilter."""
    found = _PARTS.fullmatch(text.strip())
    if not found:
        raise BadFilter(f"tolerance={text[:40]!r} is none.", remedy="Write it like 20%,50ms.")
    percent, beside, beside_unit, alone, alone_unit = found.groups()
    seconds = float(beside or alone or 0) * _SECONDS[beside_unit or alone_unit or "s"]
    return Tolerance(float(percent or 0) / 100, timedelta(seconds=seconds))


def tolerance_text(tolerance: Tolerance) -> str:
    """As an address carries it: ``20%,50ms``."""
    return f"{tolerance.ratio * 100:.6g}%,{tolerance.floor / timedelta(milliseconds=1):.6g}ms"

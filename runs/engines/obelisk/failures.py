"""Return values and failed attempts in one line: a *returned error* is kept apart from an *execution failure*."""

from collections.abc import Mapping
from typing import Any

from runs.engines.obelisk.shapes import Unparsed, compact, mapping, parse, text
from runs.records import ErrorSummary, Status

MAX_MESSAGE = 500
RETURNED_ERROR = "activity finished with error"  # the engine's reason where the function returned one
NO_VALUE = "returned an error without a value"
TIMED_OUT = ErrorSummary("timed out", "the lock expired before the attempt ended")


def outcome(retval: Mapping[str, Any], clipped: str = "") -> tuple[Status, ErrorSummary | None]:
    """How a run with this return value ended. ``clipped``: the beginning of an error that was itself left out.

    Keys as of 0.38; 0.37 wrote ``execution_error``, earlier ones capitals, with the error's kind as a word.
    """
    found = {key.lower(): value for key, value in retval.items()}
    if "ok" in found:
        return Status.SUCCEEDED, None
    if "err" in found:
        return Status.FAILED, ErrorSummary("error", value_words(clipped or found["err"]))
    for key in ("execution_failure", "execution_error"):
        if key in found:
            return _execution_failure(found[key], clipped)
    return Status.UNKNOWN, None


def _execution_failure(failure: Any, clipped: str) -> tuple[Status, ErrorSummary | None]:
    kind = _kind(failure)
    fields = mapping(failure)
    words = text(fields.get("reason")) or clipped or text(fields.get("detail"))
    if kind == "cancelled" and not words:
        return Status.CANCELLED, None
    error = ErrorSummary("execution failure", cut(f"{kind}: {words}" if words else kind))
    return Status.CANCELLED if kind == "cancelled" else Status.FAILED, error


def _kind(failure: Any) -> str:
    return text(failure) or text(mapping(failure).get("kind")) or "uncategorized"


def attempt_error(event: Mapping[str, Any], clipped: str = "") -> ErrorSummary:
    """Why an attempt failed: from the content of a ``temporarily_failed`` row."""
    reason = text(event.get("reason")) or text(event.get("reason_full"))
    detail = text(event.get("detail")) or clipped
    if reason != RETURNED_ERROR:
        return ErrorSummary("temporary failure", cut(reason or detail or "no reason is recorded"))
    try:
        return ErrorSummary("error", value_words(parse(detail)))
    except Unparsed:
        return ErrorSummary("error", cut(detail) or NO_VALUE)


def value_words(value: Any) -> str:
    """An error's value in words: text as it is, a variant's case before what it carries, anything else as JSON.

    None is an error without a value.
    """
    if isinstance(value, dict) and value.keys() == {"type", "value"}:
        value = value["value"]
    if value is None:
        return NO_VALUE
    case = _case(value)
    if case is not None:
        name, carried = case
        return cut(f"{name}: {carried if isinstance(carried, str) else compact(carried)}")
    return cut(value if isinstance(value, str) else compact(value))


def _case(value: Any) -> tuple[str, Any] | None:
    """A variant's case and what it carries; also where SQL, or the program itself, handed it over as JSON text."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = parse(value)
        except Unparsed:
            return None
    return next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else None


def cut(words: str) -> str:
    """At most 500 characters, an ellipsis where more were there."""
    return words if len(words) <= MAX_MESSAGE else words[: MAX_MESSAGE - 1] + "…"

"""When a sleep ends: its row is written at its start."""

from datetime import datetime, timedelta

from runs import payloads
from runs.clock import from_epoch_ms
from runs.engines.dbos.values import optional, text
from runs.payloads.tree import Scalar
from runs.sources.base import Value

_MILLISECONDS_FROM = 1e11  # as seconds that is the year 5138, as milliseconds 1973
_RECORDING = timedelta(seconds=1)  # what recording a row may have taken


def ends_at(completed_at: datetime | None, serialization: Value, output: Value) -> datetime | None:
    """The end of a sleep: completed_at, which since about 2.29 is its projected end. Before, it was the time of
    recording: where the wake-up in the output is clearly later, that. None where no time is recorded, as in the
    first schema.
    """
    if completed_at is None:
        return None
    until = wake_up(serialization, output)
    return until if until is not None and until - completed_at > _RECORDING else completed_at


def wake_up(serialization: Value, output: Value) -> datetime | None:
    """The instant in a sleep's output: seconds since 1970 by Python, milliseconds by Go. None where it is none."""
    if output is None:
        return None
    body = text(output)
    decoded = payloads.decode(payloads.sniff(optional(serialization), body), body.encode("utf-8", "surrogatepass"))
    if not isinstance(decoded.tree, Scalar) or isinstance(decoded.tree.value, bool):
        return None
    match decoded.tree.value:
        case int() | float() as number:
            return from_epoch_ms(number if number >= _MILLISECONDS_FROM else number * 1000)
    return None

"""How pickled Python objects are shown: known classes as what they mean, all others as their name, arguments and state.

``shape_of`` looks one box deep and never calls what the payload names; a value that doesn't look as its class writes
it is shown in the general form instead.
"""

import builtins
import datetime as dt
import uuid
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Final, TypeAlias

from runs.payloads.arrays import ARRAY, BUFFER, SCALAR, array_of, array_scalar, buffer_array
from runs.payloads.raw import Box, Global, Items, Made, Pairs, Raw, name_of
from runs.payloads.tree import Bytes, Scalar, integer

Shape: TypeAlias = Scalar | Bytes | Items | Pairs

# Arguments with a name, where the class is known to be rebuilt from them (dbos/_error.py, __reduce__).
NAMED_ARGUMENTS: Final = {
    "dbos._error.DBOSMaxStepRetriesExceeded": ("step_name", "max_retries", "errors"),
    "dbos._error.DBOSStepTimeoutError": ("step_name", "timeout_seconds"),
    "dbos._error.MaxRecoveryAttemptsExceededError": ("workflow_id", "max_retries"),
}
PYDANTIC_SETS: Final = {"__pydantic_fields_set__", "__fields_set__"}  # which fields were given: not shown


def shape_of(box: Box) -> Shape:
    """What to draw for a box: a finished leaf, or items or pairs of raw values yet to be drawn."""
    if isinstance(box, Items | Pairs):
        return box
    if isinstance(box, Global):
        return CONSTANTS.get(box.name) or Scalar(title(box.name), "reference")
    name = name_of(box.what)
    known = KNOWN.get(name)
    if known is not None:
        try:
            shape = known(box)
        except (ValueError, TypeError, OverflowError, ArithmeticError, LookupError):  # not as the class would write it
            shape = None
        if shape is not None:
            return shape
    return _general(box, name)


def title(name: str) -> str:
    """The name as shown: Python's own exceptions without their module, which nobody writes."""
    short = name.removeprefix("builtins.")
    known = getattr(builtins, short, None) if short != name else None
    return short if isinstance(known, type) and issubclass(known, BaseException) else name


def is_error(name: str) -> bool:
    """Whether a class is an exception, as far as its name tells."""
    return title(name) != name or name.endswith(
        ("Error", "Exception", "Exceeded", "Warning", "Timeout", "Failure", "Cancelled")
    )


def _general(made: Made, name: str) -> Shape:
    shown = title(name)
    alone = not made.states and not made.values and not made.pairs and made.kwargs is None
    if alone and len(made.args) == 1 and isinstance(made.args[0], str | int | float) and not is_error(name):
        arg = made.args[0]  # an Enum by value, a str or int with a class of its own
        return integer(arg, shown) if isinstance(arg, int) and not isinstance(arg, bool) else Scalar(arg, shown)
    if alone and made.new and made.args:
        return Items(made.args, shown)
    if not made.args and not made.states and made.kwargs is None:
        if made.values and not made.pairs:
            return Items(made.values, shown)
        if made.pairs and not made.values:
            return Pairs(made.pairs, shown)
    fields: list[tuple[Raw, Raw]] = []
    names = NAMED_ARGUMENTS.get(name, ())
    if len(names) == len(made.args):
        fields.extend(zip(names, made.args, strict=True))
    elif made.args:
        fields.append(("args", Items(made.args)))
    if name.startswith("?"):
        fields.insert(0, ("callable", made.what))
    if made.kwargs is not None and made.kwargs.pairs:
        fields.append(("kwargs", made.kwargs))
    for state in made.states:
        if isinstance(state, Items) and not fields and len(made.states) == 1 and not _is_slots(state):
            return Items(state.values, shown)  # a dataclass with slots records its values without their names
        fields.extend(_state(state))
    if made.values:
        fields.append(("items", Items(made.values)))
    if made.pairs:
        fields.append(("entries", Pairs(made.pairs)))
    return Pairs(fields, shown)


def _is_slots(state: Items) -> bool:
    """Python's own state of an object with slots: (its __dict__ or None, {slot: value})."""
    return (
        state.type == "tuple"
        and len(state.values) == 2
        and (state.values[0] is None or isinstance(state.values[0], Pairs))
        and isinstance(state.values[1], Pairs)
    )


def _state(state: Raw) -> list[tuple[Raw, Raw]]:
    if isinstance(state, Items) and _is_slots(state):
        return [pair for part in state.values if isinstance(part, Pairs) for pair in part.pairs]
    if not isinstance(state, Pairs):
        return [("state", state)]
    keys = {key for key, _ in state.pairs if isinstance(key, str)}
    if "__dict__" not in keys or not keys & PYDANTIC_SETS:
        return list(state.pairs)
    fields: list[tuple[Raw, Raw]] = []
    for key, value in state.pairs:
        if key == "__dict__" and isinstance(value, Pairs):
            fields.extend(value.pairs)
        elif isinstance(key, str) and key not in PYDANTIC_SETS and value is not None:
            fields.append((key, value))
    return fields


def _octets(value: Raw) -> bytes:
    match value:
        case bytes():
            return value
        case Bytes(data):
            return data
        case str():
            return value.encode("latin-1")  # protocols 0 to 2
    raise TypeError


def _whole(value: Raw) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def _text(value: Raw) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _zone(made: Made, at: int) -> tuple[dt.tzinfo | None, str]:
    """The time zone at that argument: an offset if it is one, and what to append otherwise."""
    if len(made.args) <= at or made.args[at] is None:
        return None, ""
    zone = made.args[at]
    if not isinstance(zone, Made):
        return None, "[?]"
    if name_of(zone.what) == "datetime.timezone":
        return dt.timezone(_delta(zone.args[0])), ""
    label = next((arg for arg in zone.args if isinstance(arg, str)), name_of(zone.what))
    return None, f"[{label}]"


def _delta(value: Raw) -> dt.timedelta:
    if not isinstance(value, Made) or name_of(value.what) != "datetime.timedelta":
        raise TypeError
    days, seconds, microseconds = (*map(_whole, value.args), 0, 0, 0)[:3]
    return dt.timedelta(days, seconds, microseconds)


def _datetime(made: Made) -> Shape:
    octets = _octets(made.args[0])
    if len(octets) != 10:
        raise ValueError
    high, low, month, day, hour, minute, second, *micro = octets
    zone, mark = _zone(made, 1)
    moment = dt.datetime(
        high * 256 + low, month & 127, day, hour, minute, second, int.from_bytes(micro), zone, fold=month >> 7
    )
    return Scalar(moment.isoformat() + mark, "datetime")


def _date(made: Made) -> Shape:
    high, low, month, day = _octets(made.args[0])
    return Scalar(dt.date(high * 256 + low, month, day).isoformat(), "date")


def _time(made: Made) -> Shape:
    hour, minute, second, *micro = _octets(made.args[0])
    if len(micro) != 3:
        raise ValueError
    zone, mark = _zone(made, 1)
    moment = dt.time(hour & 127, minute, second, int.from_bytes(micro), zone, fold=hour >> 7)
    return Scalar(moment.isoformat() + mark, "time")


def _uuid(made: Made) -> Shape | None:
    state = made.states[0] if made.states else None
    if isinstance(state, Pairs):
        number = next(value for key, value in state.pairs if key == "int")
        return Scalar(str(uuid.UUID(int=_whole(number))), "uuid")
    return None


def _path(flavour: type[PurePath]) -> Callable[[Made], Shape]:
    return lambda made: Scalar(str(flavour(*map(_text, made.args))), "path")


def _range(made: Made) -> Shape:
    return Scalar(f"range({', '.join(str(_whole(arg)) for arg in made.args)})", "range")


def _complex(made: Made) -> Shape:
    real, imaginary = made.args
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise TypeError
    return Scalar(str(complex(real, imaginary)), "complex")


def _collection(type: str) -> Callable[[Made], Shape | None]:
    """set([…]), frozenset((…)), deque([…]): the items that were given, then those that were added."""

    def shape(made: Made) -> Shape | None:
        given = made.args[0] if made.args else Items()
        if not isinstance(given, Items) or made.states or made.pairs:
            return None
        return Items(given.values + made.values, type)

    return shape


def _deque(made: Made) -> Shape | None:
    limit = made.args[1] if len(made.args) > 1 else None
    return _collection("deque" if limit is None else f"deque(maxlen={_whole(limit)})")(made)


def _dict(type: str) -> Callable[[Made], Shape | None]:
    """OrderedDict(), Counter({…}), defaultdict(list): what was given, then what was set. A factory is not shown."""

    def shape(made: Made) -> Shape | None:
        given = [arg for arg in made.args if not isinstance(arg, Global) and arg is not None]
        pairs: list[tuple[Raw, Raw]] = []
        for arg in given:
            if isinstance(arg, Pairs):
                pairs += arg.pairs
            elif isinstance(arg, Items):  # [[key, value], …], as protocol 0 writes an OrderedDict
                for item in arg.values:
                    if not isinstance(item, Items) or len(item.values) != 2:
                        return None
                    pairs.append((item.values[0], item.values[1]))
            else:
                return None
        return None if made.states or made.values else Pairs(pairs + made.pairs, type)

    return shape


def _member(made: Made) -> Shape | None:
    """getattr(shop.Colour, "RED"): how Python 3.11 pickles a member of an Enum."""
    owner, name = made.args
    return Scalar(_text(name), title(name_of(owner)))


def _simple(type: str) -> Callable[[Made], Shape]:
    """A class that is rebuilt from one text."""

    def shape(made: Made) -> Shape:
        (text,) = made.args
        return Scalar(_text(text), type)

    return shape


CONSTANTS: Final = {
    "builtins.Ellipsis": Scalar("...", "ellipsis"),
    "builtins.NotImplemented": Scalar("NotImplemented", "constant"),
}
KNOWN: Final[dict[str, Callable[[Made], Shape | None]]] = {
    "datetime.datetime": _datetime,
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.timedelta": lambda made: Scalar(str(_delta(made)), "timedelta"),
    "datetime.timezone": lambda made: Scalar(str(dt.timezone(_delta(made.args[0]))), "timezone"),
    "zoneinfo.ZoneInfo._unpickle": lambda made: Scalar(_text(made.args[0]), "timezone"),
    "decimal.Decimal": _simple("decimal"),
    "fractions.Fraction": lambda made: Scalar("/".join(map(str, made.args)), "fraction"),
    "uuid.UUID": _uuid,
    "builtins.complex": _complex,
    "builtins.range": _range,
    "builtins.slice": lambda made: Items(made.args, "slice"),
    "builtins.set": _collection("set"),
    "builtins.frozenset": _collection("frozenset"),
    "builtins.getattr": _member,
    "collections.deque": _deque,
    "collections.OrderedDict": _dict("OrderedDict"),
    "collections.defaultdict": _dict("defaultdict"),
    "collections.Counter": _dict("Counter"),
    **dict.fromkeys(ARRAY, array_of),
    **dict.fromkeys(BUFFER, buffer_array),
    **dict.fromkeys(SCALAR, array_scalar),
} | {
    f"{module}.{name}": _path(PureWindowsPath if "Windows" in name else PurePosixPath)
    for module in ("pathlib", "pathlib._local")
    for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
}

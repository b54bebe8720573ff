"""numpy arrays and scalars inside a pickle: dtype, shape and the first values, read with struct from the recorded
bytes.

Their forms are those of ``ndarray.__reduce__``, ``dtype.__reduce__`` and ``_frombuffer`` in numpy 1 and 2; numpy is
not needed.
"""

import struct
from typing import Final

from runs.payloads.raw import Items, Made, Pairs, Raw, name_of
from runs.payloads.tree import Bytes, Scalar

FIRST_VALUES: Final = 1000
CODES: Final = {
    "b1": "?",
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "M8": "q",
    "m8": "q",
}
PREFIXES: Final = ("numpy._core.", "numpy.core.")  # numpy 2 and 1
ARRAY: Final = tuple(f"{prefix}multiarray._reconstruct" for prefix in PREFIXES)
SCALAR: Final = tuple(f"{prefix}multiarray.scalar" for prefix in PREFIXES)
BUFFER: Final = tuple(f"{prefix}numeric._frombuffer" for prefix in PREFIXES)


def array_of(made: Made) -> Pairs | None:
    """_reconstruct(class, …) with the state (version, shape, dtype, is_fortran, bytes or list of objects)."""
    if len(made.states) != 1 or not isinstance(made.states[0], Items) or len(made.states[0].values) < 4:
        return None
    shape, dtype, fortran, data = made.states[0].values[-4:]
    return _array(shape, dtype, bool(fortran), data, name_of(made.args[0]))


def buffer_array(made: Made) -> Pairs | None:
    """_frombuffer(buffer, dtype, shape, order), of protocol 5."""
    data, dtype, shape, order = made.args
    return _array(shape, dtype, order == "F", data, "numpy.ndarray")


def array_scalar(made: Made) -> Scalar | Pairs | None:
    """scalar(dtype, bytes): one number."""
    dtype, data = made.args
    kind, order, unit = _dtype(dtype)
    octets = _octets(data)
    if octets is None:
        return None
    values = _values(kind, order, unit, octets)
    if values is None or len(values) != 1:
        return Pairs([("dtype", order + kind), ("value", Bytes(octets))], "numpy.scalar")
    (value,) = values
    return value if isinstance(value, Scalar) else Scalar(_plain(value), f"numpy.{_word(kind)}")


def _array(shape: Raw, dtype: Raw, fortran: bool, data: Raw, name: str) -> Pairs:
    kind, order, unit = _dtype(dtype)
    fields: list[tuple[Raw, Raw]] = [("dtype", (order if order in "<>" else "") + kind + (f"[{unit}]" if unit else ""))]
    fields.append(("shape", shape))
    if fortran:
        fields.append(("order", "by columns"))
    octets = _octets(data)
    values = _values(kind, order, unit, octets) if octets is not None else None
    fields.append(("values", Items(values) if values is not None else data))
    size = int(kind[1:]) * (4 if kind[0] == "U" else 1) if kind[1:].isdecimal() else 0
    if octets is not None and values is not None and size and len(octets) // size > len(values):
        fields.append(("shown", f"the first {len(values):,} of {len(octets) // size:,}"))
    return Pairs(fields, name)


def _dtype(raw: Raw) -> tuple[str, str, str]:
    """Its kind and size (``f8``), byte order and, for times, unit. Raises TypeError where it is no dtype."""
    if not isinstance(raw, Made) or name_of(raw.what) != "numpy.dtype" or not isinstance(raw.args[0], str):
        raise TypeError
    state = raw.states[0] if raw.states else None
    values = state.values if isinstance(state, Items) else []
    order = values[1] if len(values) > 1 and isinstance(values[1], str) else "|"
    unit = ""
    if raw.args[0] in ("M8", "m8") and isinstance(values[-1], Items) and isinstance(values[-1].values[-1], Items):
        octets = _octets(values[-1].values[-1].values[0])
        unit = octets.decode("ascii", "replace") if octets else ""
    return raw.args[0], order, unit


def _octets(raw: Raw) -> bytes | None:
    return raw if isinstance(raw, bytes) else raw.data if isinstance(raw, Bytes) else None


def _values(kind: str, order: str, unit: str, data: bytes) -> list[Raw] | None:
    """The first values; None for a dtype with fields, objects or complex numbers."""
    if kind[:1] in ("U", "S") and kind[1:].isdecimal():
        size = int(kind[1:]) * (4 if kind[0] == "U" else 1)
        if not size > 0:
            return None
        parts = [data[at : at + size] for at in range(0, min(len(data), size * FIRST_VALUES), size)]
        if kind[0] == "S":
            return [Bytes(part.rstrip(b"\0")) for part in parts]
        codec = "utf-32-be" if order == ">" else "utf-32-le"
        return [part.decode(codec, "replace").rstrip("\0") for part in parts]
    code = CODES.get(kind)
    if code is None:
        return None
    size = struct.calcsize("=" + code)
    count = min(len(data) // size, FIRST_VALUES)
    values = struct.unpack_from(f"{'>' if order == '>' else '<'}{count}{code}", data)
    if kind in ("M8", "m8"):
        return [
            Scalar(f"{value} {unit}", "numpy.datetime64" if kind == "M8" else "numpy.timedelta64") for value in values
        ]
    return list(values)


def _word(kind: str) -> str:
    """``float64`` for ``f8``."""
    words = {"b": "bool", "i": "int", "u": "uint", "f": "float"}
    if kind == "b1":
        return "bool_"
    return (
        f"{words[kind[0]]}{int(kind[1:]) * 8}" if kind[0] in words else {"U": "str_", "S": "bytes_"}.get(kind[0], kind)
    )


def _plain(raw: Raw) -> bool | int | float | str | None:
    if isinstance(raw, Bytes):
        return raw.data.decode("latin-1")
    if raw is None or isinstance(raw, bool | int | float | str):
        return raw
    raise TypeError

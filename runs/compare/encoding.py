"""Records as JSON and back, by their declared types: how a comparison's summary is kept in our own file."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from runs.clock import MICROSECOND, parse_instant, rfc3339

T = TypeVar("T")


def encode(value: object) -> Any:
    """A record as what JSON can hold: instants in RFC 3339, lengths of time in microseconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {encode(key): encode(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    return value // MICROSECOND if isinstance(value, timedelta) else value


def decode(kind: type[T], data: Any) -> T:
    """The record of that type that ``encode`` wrote."""
    found: T = _decoded(kind, data)
    return found


def _decoded(kind: Any, data: Any) -> Any:
    if data is None:
        return None
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return _decoded(next(one for one in inner if one is not NoneType), data)
    if origin is tuple:
        return tuple(_decoded(inner[0], each) for each in data)
    if origin is dict:
        return {_decoded(inner[0], key): _decoded(inner[1], each) for key, each in data.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**{name: _decoded(declared, data[name]) for name, declared in _declared(kind)})
    if kind is datetime:
        return parse_instant(data)
    if kind is timedelta:
        return timedelta(microseconds=data)
    return kind(data)


@lru_cache
def _declared(kind: type) -> tuple[tuple[str, Any], ...]:
    return tuple(get_type_hints(kind).items())

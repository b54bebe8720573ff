"""Every setting in one place: its variable, what it means, what it may be. ``durascope --help`` prints this table.

Read once at the start and refused with words where a value can't be understood; the command's options win.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from runs import engine_servers
from runs.clock import parse_instant
from runs.errors import BadConfiguration
from runs.machine import processors

PREFIX = "DURASCOPE_"
_SLUG = re.compile(r"[A-Za-z0-9_.-]{1,120}")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low:,} to {high:,}")
        return int(text)

    return parse


whole_port = _whole(0, 65535)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 3600:
        raise ValueError("a number of seconds from 0.01 to 3,600")
    return value


def _instant(text: str) -> str:
    if text and parse_instant(text) is None:
        raise ValueError("an instant like 2026-11-22T03:10:00Z")
    return text


def _flag(text: str) -> bool:
    if text not in ("", "0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip())


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if "*" in names:
        raise ValueError("host names: * would answer any page that points a name at this machine")
    return names


def _slugs(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if any(not _SLUG.fullmatch(name) for name in names):
        raise ValueError("names of databases, as the list of databases writes them")
    return names


def _text(text: str) -> str:
    return text


def _declared(about: str, default: object, parse: Callable[[str], object]) -> Any:
    """A field of Config: what the help says of it, its default, its parser (whose ValueError names what it may be)."""
    metadata = {"about": about, "parse": parse}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How this process was told to run. Each field is a variable ``DURASCOPE_`` and its name in capitals."""

    paths: tuple[str, ...] = _declared("what to serve: PATH, NAME=PATH, folder or glob, one a line", (), _lines)
    host: str = _declared("the address to listen on", "127.0.0.1", _text)
    port: int = _declared("the port to listen on; 0 takes a free one", 8765, whole_port)
    workers: int = _declared(
        "processes that answer; as many as processors, at most 4", lambda: min(processors(), 4), _whole(1, 64)
    )
    threads: int = _declared("threads of each process", 8, _whole(1, 256))
    query_seconds: float = _declared("how long one look into a database may take", 5.0, _seconds)
    allowed_hosts: tuple[str, ...] = _declared(
        "further host names to answer for, with commas between; loopback names and --host always are", (), _names
    )
    retry: tuple[str, ...] = _declared(
        "databases whose runs may be retried, by name, with commas between; reading is all that is allowed elsewhere",
        (),
        _slugs,
    )
    engine_url: tuple[str, ...] = _declared(
        "servers of engines as NAME=URL, with commas between: their replay checks a fork before it is released",
        (),
        engine_servers.pairs,
    )
    state: str = _declared(
        "the folder that keeps who retried what, and jobs; ~/.local/state/durascope where none is named", "", _text
    )
    now: str = _declared("the instant to take for now (RFC 3339), to see an old file as of its time", "", _instant)
    debug: bool = _declared("1 shows tracebacks and reloads templates, for developing only", False, _flag)
    secret_key: str = _declared(
        "signs what a browser keeps; made anew at each start", lambda: secrets.token_urlsafe(40), _text
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Config":
        """From the ``DURASCOPE_*`` variables; empty ones count as unset.

        Raises BadConfiguration for unknown ones and bad values.
        """
        known = {variable(entry.name): entry for entry in fields(cls)}
        if unknown := sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
            raise BadConfiguration(f"{', '.join(unknown)} is not a setting.", remedy=f"Settings: {', '.join(known)}.")
        values: dict[str, Any] = {}
        for name, entry in known.items():
            if text := environ.get(name):
                try:
                    values[entry.name] = entry.metadata["parse"](text)
                except ValueError as problem:
                    raise BadConfiguration(f"{name}={text[:80]!r} is not {problem}.") from None
        return cls(**values)

    def to_environ(self) -> dict[str, str]:
        """The variables that say the same, for worker processes and for settings."""
        return {variable(entry.name): _written(entry.name, getattr(self, entry.name)) for entry in fields(self)}

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def hosts(self) -> list[str]:
        """The host names that are answered for."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return list(dict.fromkeys((*LOOPBACK, own, *self.allowed_hosts)))


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def described() -> str:
    """The table of settings, as text for ``durascope --help``."""
    rows = [(variable(entry.name), cast(str, entry.metadata["about"])) for entry in fields(Config)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {about}" for name, about in rows)


def _written(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return ("\n" if name == "paths" else ",").join(value)
    return str(int(value)) if isinstance(value, bool) else str(value)

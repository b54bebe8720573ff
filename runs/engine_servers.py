"""Where the servers of engines answer, as whoever starts Durascope says it (``--engine-url NAME=URL``): never found by ourselves.

Only a retry that the engine's own replay must check first asks a server anything.
"""

import os
import re
from urllib.parse import urlsplit

VARIABLE = "DURASCOPE_ENGINE_URL"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,120}", re.ASCII)
_EXAMPLE = "shop=http://127.0.0.1:5005"


def pairs(text: str) -> tuple[str, ...]:
    """``NAME=URL`` of each database, from a text with commas between them. Raises ValueError, which says what it must be."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, url = pair.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"NAME=URL, a database's name and its engine's server, as in {_EXAMPLE}")
        if found.setdefault(name, _sound(url)) != _sound(url):
            raise ValueError(f"one server for each database: {name} has two")
    return tuple(f"{name}={url}" for name, url in found.items())


def address_of(slug: str) -> str | None:
    """The server of this database's engine, without a slash at its end; None where nobody named one."""
    named = dict(pair.split("=", 1) for pair in pairs(os.environ.get(VARIABLE, "")))
    return named.get(slug)


def _sound(url: str) -> str:
    """A URL that can only name a server: scheme, host, port and perhaps a path."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = url.isascii() and url.isprintable() and not re.search(r"[\s\\@?#]", url)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise ValueError(
            f"an http or https URL of a server, with a host, and no user, query or fragment, as in {_EXAMPLE}"
        )
    return url.rstrip("/")

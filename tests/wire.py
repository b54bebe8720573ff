"""Requests as bytes, on a connection of their own: what no HTTP library would send."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from tests.serving import DEADLINE, Answer, Served


def place(running: Served) -> tuple[str, int]:
    parts = urlsplit(running.url)
    return parts.hostname or "", parts.port or 0


@contextmanager
def connected(running: Served, *, takes: int | None = None) -> Iterator[socket.socket]:
    """A connection; ``takes``: bytes that it takes without being read."""
    with socket.socket() as connection:
        connection.settimeout(DEADLINE)
        if takes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
        connection.connect(place(running))
        yield connection


class _Stream:
    """What HTTPResponse reads from: several answers follow each other, and none may take, or close, what is the next one's."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def makefile(self, _mode: str) -> "_Stream":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """Not yet."""

    def flush(self) -> None:
        """Nothing is written."""


def answers_on(connection: socket.socket, *methods: str) -> Iterator[Answer]:
    """The next answers, to requests of these methods, until the connection is closed."""
    stream = _Stream(connection)
    for method in methods:
        response = HTTPResponse(stream, method=method)  # type: ignore[arg-type]  # makefile is all that it asks of it
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            yield Answer(response.status, headers, response.read())
        except (HTTPException, ConnectionError):
            return


def answer_on(connection: socket.socket, method: str = "GET") -> Answer | None:
    """The next answer; None where the connection is closed without one."""
    return next(answers_on(connection, method), None)


def say(running: Served, raw: bytes) -> Answer | None:
    """The answer to exactly these bytes."""
    with connected(running) as connection:
        with contextlib.suppress(ConnectionError):  # it may be refused before all is sent
            connection.sendall(raw)
        return answer_on(connection, raw.partition(b" ")[0].decode("latin-1"))


def request(
    path: str, *headers: str, method: str = "GET", host: str = "localhost", body: bytes = b"", close: bool = True
) -> bytes:
    """A request as a browser would write it, but for what is given."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def abort(connection: socket.socket) -> None:
    """Ends it as a machine does that goes away: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

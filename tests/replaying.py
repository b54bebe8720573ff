"""A small HTTP server that answers as an Obelisk server's replay does, and what was asked of it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

Answer = Callable[[BaseHTTPRequestHandler, str], None]  # writes the answer to the replay of this execution


class Replayer(ThreadingHTTPServer):
    """``answers``: what it does with a request, changed at will; ``asked``: the executions whose replay was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: Answer = blocked
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Replayer

    def do_PUT(self) -> None:
        parts = self.path.split("/")
        assert parts[:3] + parts[4:] == ["", "v1", "executions", "replay"]
        run_id = unquote(parts[3])
        self.server.asked.append(run_id)
        self.server.headers.append(dict(self.headers))
        self.server.answers(self, run_id)

    def log_message(self, *_: object) -> None:
        pass


def says(status: int, body: Any, **headers: str) -> Answer:
    """Answers with that JSON."""

    def answer(handler: BaseHTTPRequestHandler, _: str) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(json.dumps(body, indent=2).encode())

    return answer


def huge(handler: BaseHTTPRequestHandler, _: str) -> None:
    """Answers without an end."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * (1 << 16))
    except OSError:
        pass


def hangs(handler: BaseHTTPRequestHandler, _: str) -> None:
    """Begins an answer and gives a byte now and then."""
    server = handler.server
    assert isinstance(server, Replayer)
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    try:
        while not server.over.wait(0.05):
            handler.wfile.write(b" ")
    except OSError:
        pass


blocked = says(200, {"type": "blocked"})
diverges = says(
    409, {"type": "replay_failed", "error": "nondeterminism_detected: key does not match", "captured_writes": []}
)


@contextmanager
def replayer() -> Iterator[Replayer]:
    """A running server."""
    server = Replayer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()

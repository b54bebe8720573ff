"""The server's replay: whether the code that is deployed can go on with the recorded history of an execution.

``PUT /v1/executions/ID/replay`` runs a workflow against its history and keeps nothing of what it would do. Its answers: 200 with
``type`` ``blocked``, ``advanceable`` or ``finished`` (in 0.39 and 0.40 ``{"ok": "replayed"}``); 409 with ``replay_failed`` and its
``error``, until 0.40 422 with ``Replay failed: …``; everything else says nothing about the history.

The server is asked at the very address that was configured: no proxy, no redirect, a limit on time and on size. What it says is a
text of another program, for a person to read.
"""

import json
import os
import socket
import ssl
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, urlsplit

from runs.retry import Outcome, Verdict

CONNECT_SECONDS = 5.0
SECONDS = 20.0  # from the first byte that is sent to the last one that is read
MOST_BYTES = 4 << 20  # what a replay would write is part of its answer
WORDS = 600  # characters of the server's own words that are kept
TOKEN = "OBELISK_API_TOKEN"  # noqa: S105 - the variable that the engine's own command reads too
FITTING = frozenset({"blocked", "advanceable", "finished"})
_DIVERGED = ("replay failed", "nondeterminis")


def ask(address: str, run_id: str) -> Verdict:
    """What the server at ``address`` says of this execution. Nothing is raised: where it can't be asked, that is the verdict."""
    parts = urlsplit(address)
    try:
        status, body = _answer(parts, f"{parts.path}/v1/executions/{quote(run_id, safe='')}/replay")
    except TimeoutError:
        return _unknown(f"The server at {address} did not answer in time.")
    except ValueError as problem:
        return _unknown(f"The server at {address} {problem}.")
    except (OSError, HTTPException) as problem:
        words = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        return _unknown(f"The server at {address} can't be reached: {words[:WORDS]}.")
    return _verdict(address, run_id, status, body)


def _answer(parts: SplitResult, path: str) -> tuple[int, bytes]:
    """Status and body. Raises TimeoutError, OSError, HTTPException, and ValueError where the body is too long."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    connection: HTTPConnection = (
        HTTPSConnection(host, parts.port, timeout=CONNECT_SECONDS, context=ssl.create_default_context())
        if secure
        else HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)
    )
    late = threading.Event()
    timer: threading.Timer | None = None
    try:
        connection.connect()
        timer = _limited(connection.sock, late)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        token = os.environ.get(TOKEN, "")
        if token and (secure or _is_loopback(host)):  # in clear it never leaves this machine
            headers["Authorization"] = f"Bearer {token}"
        connection.request("PUT", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as problem:
        if late.is_set():
            raise TimeoutError from problem
        if isinstance(problem, ValueError):  # a host that is no name
            raise OSError(str(problem)) from problem
        raise
    finally:
        if timer:
            timer.cancel()
        connection.close()
    if late.is_set():
        raise TimeoutError
    if len(body) > MOST_BYTES:
        raise ValueError(f"answered with more than {MOST_BYTES >> 20} MiB")
    return answer.status, body


def _limited(sock: socket.socket, late: threading.Event) -> threading.Timer:
    """Ends what is read from the socket after SECONDS: the socket's own timeout begins again with each byte."""

    def give_up() -> None:
        late.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    sock.settimeout(SECONDS)
    timer = threading.Timer(SECONDS, give_up)
    timer.daemon = True
    timer.start()
    return timer


def _verdict(address: str, run_id: str, status: int, body: bytes) -> Verdict:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = {}
    fields = found if isinstance(found, dict) else {}
    kind, error = fields.get("type"), _text(fields.get("error") or fields.get("err"))
    if status == 200 and (kind in FITTING or fields.get("ok") == "replayed"):
        return Verdict(Outcome.FITS, str(kind or "replayed"))
    if status == 409 and kind == "replay_failed":
        return Verdict(Outcome.DIVERGES, error or "replay_failed")
    if status == 422 and any(words in error.lower() for words in _DIVERGED):
        return Verdict(Outcome.DIVERGES, error)
    if status == 401:
        return _unknown(f"The server at {address} wants a token: {TOKEN} holds none that it accepts.")
    if status == 404:
        return _unknown(
            f"The server at {address} can't replay {run_id} ({error or 'not found'}): is it the one of this database?"
        )
    if 300 <= status < 400:
        return _unknown(f"The server at {address} sends elsewhere (status {status}), which is not followed.")
    return _unknown(f"The server at {address} answered with status {status}{f': {error}' if error else ''}.")


def _unknown(words: str) -> Verdict:
    return Verdict(Outcome.UNKNOWN, words)


def _text(value: object) -> str:
    return value[:WORDS] if isinstance(value, str) else ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

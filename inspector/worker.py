"""gunicorn's worker, but no thread ever waits for a client: a request is taken in whole before a thread answers it, and the answer
is sent on by the loop that took it in.

gunicorn's own threads read a request as it comes and write the answer as it goes: sixteen clients that send a byte a second, or
don't read what they asked for, would stop all others.
"""

import itertools
import json
import logging
import os
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http import errors as http
from gunicorn.http.parser import RequestParser
from gunicorn.workers import base
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.workertmp import WorkerTmp

from inspector import memory
from runs.errors import (
    AddressTooLong,
    BadRequest,
    BodyTooLarge,
    DurascopeError,
    HeadersTooLong,
    LengthMissing,
)

CHUNK = 64 * 1024
MAX_LINE = 8190  # bytes of a request's first line
MAX_HEAD = 32 * 1024
MAX_CONNECTIONS = 500  # of a worker: with what SQLite opens, below the 1,024 files that a process may have
MAX_HELD = 128 * 1024 * 1024  # bytes of requests that came in part, and of answers that are not read
REQUEST_SECONDS = 20.0  # for a request to come whole, from its first byte
ANSWER_SECONDS = 60.0  # for the next part of an answer to be taken
IDLE_SECONDS = 5.0  # for a first, or a next, request to begin
LINGER_SECONDS = 2.0  # for a client to close after an answer that is the last
BUFFERS = 64  # sent with one call

_LENGTH = re.compile(rb"^content-length:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CODED = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)
_BARE = re.compile(rb"(?<!\r)\n")
_TARGET = re.compile(rb"(?:\r\n)?[^ \r\n]+ /api/")
_log = logging.getLogger(__name__)


class Heartbeat(WorkerTmp):  # type: ignore[misc]  # gunicorn has no types
    """By which gunicorn sees that a worker lives: a file, here one in memory, so that no disk need have room for it."""

    def __init__(self, cfg: Any) -> None:
        if hasattr(os, "memfd_create"):
            self._tmp = os.fdopen(os.memfd_create("durascope"), "w+b", 0)
        else:
            super().__init__(cfg)


base.WorkerTmp = Heartbeat  # there is no setting for it


class Connection:
    """A client: what has come of its next request, and what is left of its last answer. It stands in for gunicorn's, and for the
    socket that gunicorn writes to."""

    def __init__(self, connected: socket.socket, client: Any, server: Any) -> None:
        self.socket = connected
        self.client = client
        self.server = server
        self.sock = self
        self.incoming = bytearray()
        self.request = b""
        self.outgoing: deque[memoryview] = deque()
        self.deadline = 0.0
        self.ends = False  # with the answer that is being sent
        connected.setblocking(False)

    @property
    def held(self) -> int:
        """Bytes that are kept for it."""
        return len(self.incoming) + sum(map(len, self.outgoing))

    def sendall(self, data: bytes) -> None:
        """Keeps it to be sent."""
        if data:
            self.outgoing.append(memoryview(data).cast("B"))

    send = sendall

    def flush(self) -> bool:
        """Sends what the client takes without waiting; whether that was all. Raises OSError where it is gone."""
        while self.outgoing:
            try:
                sent = self.socket.sendmsg(itertools.islice(self.outgoing, BUFFERS))
            except BlockingIOError:
                return False
            while self.outgoing and sent >= len(self.outgoing[0]):
                sent -= len(self.outgoing.popleft())
            if sent:
                self.outgoing[0] = self.outgoing[0][sent:]
        return True


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Connections are in ``waiting`` while the loop reads or writes them, and nowhere while a thread makes their answer."""

    def init_process(self) -> None:
        """Called by gunicorn in the new process."""
        self.waiting: dict[Connection, None] = {}  # the one that has waited longest first
        self.tidies_at = time.monotonic() + memory.GIVEN_BACK_EVERY
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """One more client. Where there are too many, the one that has waited longest has to go."""
        self._make_room()
        try:
            connected, client = listener.accept()
        except OSError:  # it is gone already, or there are no more file descriptors
            return
        self.nr_conns += 1
        with suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn = Connection(connected, client, listener.getsockname())
        self._wait(conn, self._read, IDLE_SECONDS)

    def handle(self, conn: Connection) -> bool:
        """Makes the answer to a whole request, in a thread; whether the connection goes on."""
        request = None
        try:
            request = next(RequestParser(self.cfg, iter([conn.request]), conn.client))
            return bool(self.handle_request(request, conn))
        except (StopIteration, http.NoMoreData):
            self.handle_error(None, conn, conn.client, http.InvalidRequestLine(""))
        except Exception as error:
            self.handle_error(request, conn, conn.client, error)
        return False

    def finish_request(self, conn: Connection, done: "Future[bool]") -> None:
        """Sends the answer that a thread has made; called in the loop."""
        conn.request = b""
        conn.ends = done.cancelled() or not done.result() or not self.alive
        self._send(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """Ends the clients whose time is over, or all; called once a second, which is when memory is looked after too."""
        now = time.monotonic()
        if now >= self.tidies_at:
            self.tidies_at = now + memory.GIVEN_BACK_EVERY
            memory.give_back()
        for conn in [conn for conn in self.waiting if force or conn.deadline <= now]:
            self._drop(conn)

    def handle_error(self, _request: object, conn: Connection, _address: object, error: Exception) -> None:
        """Says in our words why a request was not answered. What gunicorn says of it repeats what was sent."""
        if isinstance(error, http.ParseException | http.NoMoreData):
            self._say(conn, _refusal(error))
        elif not conn.outgoing:
            _log.error("An answer could not be made", exc_info=error)
            self._say(conn, DurascopeError("The log on the server's terminal says what it was."))

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self.waiting:
            conn.deadline = min(conn.deadline, deadline)

    def _wait(
        self, conn: Connection, then: Callable[[Connection], None], seconds: float, events: int = selectors.EVENT_READ
    ) -> None:
        """Has the loop call ``then`` as soon as the client sends, or takes; for so long."""
        conn.deadline = time.monotonic() + seconds
        self.waiting.pop(conn, None)
        self.waiting[conn] = None
        register = self.poller.modify if conn.socket in self.poller.get_map() else self.poller.register
        register(conn.socket, events, partial(self._ready, conn, then))

    def _ready(self, conn: Connection, then: Callable[[Connection], None], _file: object) -> None:
        if conn in self.waiting:  # it may have had to go for one that came at this very moment
            then(conn)

    def _leave(self, conn: Connection) -> None:
        self.waiting.pop(conn, None)
        with suppress(KeyError, ValueError):
            self.poller.unregister(conn.socket)

    def _drop(self, conn: Connection) -> None:
        self._leave(conn)
        self.nr_conns -= 1
        conn.outgoing.clear()
        conn.socket.close()

    def _make_room(self) -> None:
        while self.waiting and (self.nr_conns >= MAX_CONNECTIONS or sum(conn.held for conn in self.waiting) > MAX_HELD):
            self._drop(next(iter(self.waiting)))

    def _read(self, conn: Connection) -> None:
        try:
            data = conn.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn)
            return
        if not conn.incoming:
            conn.deadline = time.monotonic() + REQUEST_SECONDS
        conn.incoming += data
        if len(conn.incoming) > CHUNK:
            self._make_room()
        if conn in self.waiting:
            self._take(conn)

    def _take(self, conn: Connection) -> None:
        """Gives a request to a thread, if it is whole."""
        try:
            length = whole(conn.incoming)
        except DurascopeError as refusal:
            self._say(conn, refusal)
            conn.ends = True
            self._send(conn)
            return
        if length is not None:
            conn.request = bytes(conn.incoming[:length])
            del conn.incoming[:length]
            self._leave(conn)
            self.enqueue_req(conn)

    def _send(self, conn: Connection) -> None:
        try:
            sent = conn.flush()
            if sent and conn.ends:
                # Closed at once, what the client still sends would take away from it what we sent.
                conn.incoming.clear()
                conn.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        if not sent:
            self._wait(conn, self._send, ANSWER_SECONDS, selectors.EVENT_WRITE)
        elif conn.ends:
            self._wait(conn, self._linger, LINGER_SECONDS)
        else:
            self._wait(conn, self._read, REQUEST_SECONDS if conn.incoming else IDLE_SECONDS)
            self._take(conn)

    def _linger(self, conn: Connection) -> None:
        try:
            open_still = bool(conn.socket.recv(CHUNK))
        except BlockingIOError:
            return
        except OSError:
            open_still = False
        if not open_still:
            self._drop(conn)

    def _say(self, conn: Connection, refusal: DurascopeError) -> None:
        """Our answer to what is no request for Django, as JSON below ``/api/``."""
        from inspector.middleware import CACHE_CONTROL, HEADERS  # what it needs is there only once Django is set up

        as_json = _TARGET.match(conn.request or conn.incoming)
        said = json.dumps({"error": type(refusal).__name__, "detail": str(refusal)}) if as_json else f"{refusal}\n"
        body = said.encode()
        headers = {
            **HEADERS,
            "Cache-Control": CACHE_CONTROL,
            "Content-Type": "application/json" if as_json else "text/plain; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {refusal.status} {refusal.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        conn.outgoing.clear()
        conn.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def whole(incoming: bytes | bytearray) -> int | None:
    """How many bytes the first request has, body and all; None while it isn't whole. Raises what refuses it, as soon as it can."""
    end = incoming.find(b"\r\n\r\n")
    head = incoming[: end if end >= 0 else MAX_HEAD + 1]
    if _BARE.search(head):
        raise BadRequest
    first = head.find(b"\r\n", 2)
    if (first if first >= 0 else len(head)) > MAX_LINE:
        raise AddressTooLong
    if len(head) > MAX_HEAD:
        raise HeadersTooLong
    if end < 0:
        return None
    if _CODED.search(head):
        raise LengthMissing
    lengths = _LENGTH.findall(head)
    if not lengths:
        return end + 4
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise BadRequest
    from django.conf import settings

    length = int(lengths[0])
    if length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise BodyTooLarge
    needed = end + 4 + length
    return needed if len(incoming) >= needed else None


def _refusal(error: Exception) -> DurascopeError:
    if isinstance(error, http.LimitRequestLine):
        return AddressTooLong()
    return HeadersTooLong() if isinstance(error, http.LimitRequestHeaders) else BadRequest()

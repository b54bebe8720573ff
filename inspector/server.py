"""gunicorn, started from Python: one listening socket, a few worker processes, nothing written, nothing left behind."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from inspector import memory
from inspector.config import Config
from inspector.worker import MAX_CONNECTIONS, MAX_LINE, PatientWorker
from runs.errors import CannotListen

BACKLOG = 512
GRACE_SECONDS = 5  # how long an answer under way may take to end once the server is told to stop


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound and listens. Raises CannotListen where that can't be, saying what can be done."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise CannotListen(
            f"Can't listen on {host} port {port}: {(problem.strerror or str(problem)).lower()}.",
            remedy=f"Another port: --port {max(port + 1, 8765) if port < 65535 else 8765}, or --port 0 for any free one.",
        ) from None
    return listener


def address(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - any interface: this machine is one
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves until a signal ends it. ``ready`` is called once, when the first request would be answered."""

    def __init__(self, config: Config, listener: socket.socket, ready: Callable[[], None]) -> None:
        self.config = config
        self.listener = listener
        self.ready = ready
        # nohup and its like ignore a closed terminal; that stays so.
        self.outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().__init__(prog="durascope")

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self.listener.detach()}",
            "worker_class": PatientWorker,
            "worker_connections": MAX_CONNECTIONS + 1,
            "workers": self.config.workers,
            "threads": self.config.threads,
            "preload_app": True,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": MAX_LINE,  # a filter's text, percent-encoded, is longer than the default allows
            "sendfile": False,
            "loglevel": "warning",
            "control_socket_disable": True,
            "when_ready": self.when_ready,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        """The application with its addresses loaded: once, before the workers are forked, so that they share it."""
        from django.urls import get_resolver

        from inspector.wsgi import application

        get_resolver().check()
        memory.prepare()
        return application

    def when_ready(self, arbiter: Arbiter) -> None:
        """Listening, and about to start the workers."""
        if self.outlives_terminal:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        else:
            # gunicorn would reload and go on without a terminal.
            def closed(_number: int, frame: FrameType | None) -> None:
                arbiter.signal(signal.SIGTERM, frame)

            signal.signal(signal.SIGHUP, closed)
        self.ready()


def open_browser(url: str) -> None:
    """Opens the address in the person's browser, in a process of its own: a slow browser holds up nothing."""
    subprocess.Popen(  # noqa: S603 - our own interpreter and our own address
        [sys.executable, "-m", "webbrowser", "-t", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

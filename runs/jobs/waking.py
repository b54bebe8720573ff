"""Starting the process that does jobs, where none is running: it outlives whoever woke it."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import runs
from runs.home import JOBS_LOCK, folder

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "runs.jobs_process")

_lock = threading.Lock()
_started: list[subprocess.Popen[bytes]] = []


def is_working() -> bool:
    """Whether a jobs process works on our state."""
    try:
        file = os.open(folder() / JOBS_LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def wake() -> None:
    """Starts it. Where one is running already, the new one sees that and ends."""
    module_path = os.pathsep.join(
        filter(None, (str(Path(runs.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")))
    )
    with _lock:
        _started[:] = [process for process in _started if process.poll() is None]
        _started.append(
            subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                COMMAND,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": module_path},
                start_new_session=True,
            )
        )

"""The jobs process: does every job that is not at its end and makes every comparison that is asked for, then ends itself. There is
one at a time, whoever starts it.

Django is set up here before anything is imported that has models.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from runs.compare import store, tasks
from runs.state import place

LOCK = "jobs.lock"
LOOK_SECONDS = 0.2  # between two looks for what else there is to do


def main() -> int:
    """Until no job is left. Jobs that are recorded while it works are done as well."""
    home = place.prepare()
    from runs.state import jobs as recorded

    # Looked at again after the lock is given back: a job may have been recorded when it was about to end.
    while recorded.unfinished() or tasks.requests(store.folder()):
        with _alone(home) as alone:
            if not alone:
                return 0
            _work(home)
    return 0


def _work(home: Path) -> None:
    from runs.jobs import durable
    from runs.state import jobs as recorded

    durable.launch(home)
    stopping = Event()
    with ThreadPoolExecutor(1, "comparisons") as beside:
        # Beside each other: a retry waits for no comparison, a comparison for no retry.
        comparing = beside.submit(_compare, stopping)
        try:
            while (left := recorded.unfinished()) or (tasks.requests(store.folder()) and not comparing.done()):
                if left:
                    durable.finish(left[0])
                else:
                    stopping.wait(LOOK_SECONDS)
        finally:
            stopping.set()
            wait([comparing])
            durable.stop()
        comparing.result()


def _compare(stopping: Event) -> None:
    from runs.jobs import durable

    folder = store.folder()
    while not stopping.wait(LOOK_SECONDS):
        for key in tasks.requests(folder)[:1]:
            durable.compare(folder, key)


@contextmanager
def _alone(home: Path) -> Iterator[bool]:
    """Whether no other jobs process works in this state; the kernel gives the lock back when a process is killed."""
    file = os.open(home / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


if __name__ == "__main__":
    sys.exit(main())

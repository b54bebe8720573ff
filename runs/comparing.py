"""Two databases compared: what pages, the JSON interface and the command all go through.

Small ones are compared at once; large ones by a process of their own, which goes on where it was when it is killed, and says how
far it is. What was found is kept until the files change; of files that change all the time, for a while.
"""

import time
from contextlib import suppress
from pathlib import Path

from runs.catalogue import Database
from runs.compare import making, store, tasks
from runs.compare.reading import Progress as Telling
from runs.compare.records import Options, Progress
from runs.compare.store import Kept
from runs.jobs.waking import wake
from runs.state.place import is_kept

STAYS_SMALL, STAYS = 60, 900  # seconds that a comparison is shown although a file has changed since
TOLD = 600  # seconds that a problem is told before it is tried again
WAKE_AGAIN = 10  # seconds after which a process that was started, and is not at work, is started again

_woken: dict[str, float] = {}


def find(a: Database, b: Database, options: Options) -> Kept | Progress:
    """The comparison of two databases: at once where they are small, or were compared before; else how far it is, having begun.

    Raises Unreadable where one can't be read, BadFilter for a path that is none.
    """
    folder = store.folder()
    small = making.small(a, b)
    if kept := _kept(folder, a, b, options, STAYS_SMALL if small else STAYS):
        return kept
    if small:
        return making.compare(a, b, options, folder, _quietly)
    key = making.key(a, b, options)
    ended = tasks.progress_of(folder, key)
    if ended and (ended.cancelled or ended.problem) and not tasks.asked(folder, key) and _told_lately(folder, key):
        return ended
    if tasks.ask(folder, key, a, b, options) or not tasks.worked_on(folder, key):
        _wake(folder, key)
    return tasks.progress_of(folder, key) or Progress("waiting", 0, 0)


def compare_now(a: Database, b: Database, options: Options, progress: Telling) -> Kept:
    """The same, here, however long it takes. ``progress`` is called with a stage, how many are done, and of how many.

    Raises Unreadable, UnknownSchema among it, BadFilter, and whatever ``progress`` raises to stop it.
    """
    folder = store.folder()
    return _kept(folder, a, b, options, 0) or making.compare(a, b, options, folder, progress)


def cancel(a: Database, b: Database, options: Options) -> None:
    """Stops a comparison that is being made, for everybody."""
    tasks.cancel(store.folder(), making.key(a, b, options))


def forget(a: Database, b: Database, options: Options) -> None:
    """Has the next ``find`` compare anew."""
    folder, key = store.folder(), making.key(a, b, options)
    tasks.forget(folder, key)
    for path in folder.glob(f"{key}-*{store.SUFFIX}"):
        path.unlink(missing_ok=True)


def _kept(folder: Path, a: Database, b: Database, options: Options, stays: float) -> Kept | None:
    """What was found of the files as they are; or as they were a moment ago."""
    exact = making.kept_at(folder, a, b, options)
    if exact.exists():
        return Kept(exact)
    newest: tuple[float, Path] | None = None
    for path in folder.glob(f"{making.key(a, b, options)}-*{store.SUFFIX}") if stays else ():
        with suppress(OSError):
            newest = max(newest or (0.0, path), (path.stat().st_mtime, path))
    return Kept(newest[1], changed=True) if newest and time.time() - newest[0] < stays else None


def _told_lately(folder: Path, key: str) -> bool:
    try:
        return time.time() - (folder / f"{key}{tasks.PROGRESS}").stat().st_mtime < TOLD
    except OSError:
        return False


def _wake(folder: Path, key: str) -> None:
    """Has it made, by the jobs process where our state is kept, else by a process of its own."""
    if time.monotonic() - _woken.get(key, -WAKE_AGAIN) < WAKE_AGAIN:
        return
    _woken[key] = time.monotonic()
    if is_kept():
        wake()
    else:
        tasks.start(folder, key)


def _quietly(_stage: str, _done: int, _total: int) -> None:
    """Nobody looks."""

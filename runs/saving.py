"""A whole copy of a database, saved in our own state folder before anything is appended."""

import re
from errno import ENOSPC
from pathlib import Path

from runs import clock
from runs.catalogue import Database
from runs.errors import CopyNotSaved, DiskFull
from runs.home import folder
from runs.sources.backups import save

COPIES = "copies"  # the folder of saved databases, in our state


def save_copy(database: Database) -> Path:
    """Saves a whole copy of the database in our state folder, and says where. Raises Unreadable, DiskFull, CopyNotSaved."""
    home = folder() / COPIES
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return save(Path(database.source.place), home / f"{database.slug}-{clock.now():%Y%m%dT%H%M%S%f}.sqlite")
    except OSError as problem:
        if problem.errno == ENOSPC:
            raise DiskFull(f"There is no room for a copy in {home}.") from problem
        raise CopyNotSaved(
            f"{home}: {problem.strerror}.", remedy="Name another folder with DURASCOPE_STATE."
        ) from problem


def copy_named(slug: str, name: str) -> tuple[Path, int] | None:
    """The copy of the database that save_copy gave this name, without its suffix, and its bytes; None where there is none."""
    if not re.fullmatch(rf"{re.escape(slug)}-[0-9]{{8}}T[0-9]{{12}}", name, re.ASCII):
        return None
    path = folder() / COPIES / f"{name}.sqlite"
    try:
        return path, path.stat().st_size
    except OSError:
        return None

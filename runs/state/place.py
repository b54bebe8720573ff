"""Where our state lies, and opening it: one file in a folder that only its owner may look into. Only Django opens that file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asgiref.local import Local

from runs.errors import BadConfiguration, DiskFull
from runs.home import FILE, folder

SECONDS = 20  # how long one process waits for another's entry


def databases(home: Path) -> dict[str, Any]:
    """Django's DATABASES for a state in this folder. A transaction takes the write lock at its beginning. It has no -wal: what is
    recorded can be read on a full disk too, where no -shm could be made."""
    return {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(home / FILE),
            "OPTIONS": {
                "timeout": SECONDS,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    }


def is_kept() -> bool:
    """Whether this process has a state at all."""
    from django.conf import settings

    # Where there is none, Django itself puts one there that can't be used.
    return bool(settings.DATABASES.get("default", {}).get("NAME"))


def prepare() -> Path:
    """Makes the folder and brings the tables up to date; no connection stays open, so that processes may fork.

    Raises BadConfiguration where the folder can't be written.
    """
    home = folder()
    remedy = "Name another folder with DURASCOPE_STATE."
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / FILE).touch(mode=0o600)
    except OSError as problem:
        words = (problem.strerror or str(problem)).lower()
        raise BadConfiguration(
            f"Retries are recorded in {home}, which can't be written: {words}.", remedy=remedy
        ) from None
    if not os.access(home, os.W_OK) or not os.access(home / FILE, os.W_OK):
        raise BadConfiguration(f"Retries are recorded in {home}, which may not be written.", remedy=remedy)
    _migrate(home)
    return home


@contextmanager
def recording() -> Iterator[None]:
    """Says a full disk while something is recorded as DiskFull: it was not recorded."""
    from django.db import OperationalError

    try:
        yield
    except OperationalError as problem:
        if getattr(problem.__cause__, "sqlite_errorname", "") != "SQLITE_FULL":
            raise
        raise DiskFull(f"A retry is recorded first, and there is no room in {folder()}.") from problem


def connect(chosen: dict[str, Any]) -> None:
    """Points Django at these databases, whatever it was pointed at before; nothing is opened yet."""
    import django
    from django.conf import settings
    from django.db import connections

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inspector.settings")
    connections.close_all()
    settings.DATABASES = chosen
    # What the handler has read of the setting, and made of it, before: it has no way to forget but these.
    connections._settings = None  # type: ignore[attr-defined]
    connections.__dict__.pop("settings", None)
    connections._connections = Local()  # type: ignore[attr-defined]
    django.setup()


def _migrate(home: Path) -> None:
    from django.core.management import call_command
    from django.db import DatabaseError, connections

    connect(databases(home))
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except DatabaseError as problem:
        raise BadConfiguration(f"The state in {home} can't be used: {problem}.") from problem
    finally:
        connections.close_all()

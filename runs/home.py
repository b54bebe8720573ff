"""Where our own files lie, by name alone. runs.state opens the first, the jobs process the second; nobody else may write them."""

import os
from pathlib import Path

FILE = "durascope.sqlite"  # retries, the audit, jobs
JOBS = "durascope-jobs.sqlite"  # how far each job is, on DBOS
JOBS_LOCK = "jobs.lock"  # held by the jobs process; the kernel gives it back when that is killed
JOBS_SLUG = "durascope-jobs"


def folder() -> Path:
    """``DURASCOPE_STATE``, else the person's state folder."""
    if named := os.environ.get("DURASCOPE_STATE"):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser().absolute() / "durascope"

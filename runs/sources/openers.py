"""Which other processes have a file open, as far as this account may know: from /proc, where there is one. It is not opened."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def openers(path: Path) -> tuple[tuple[int, str], ...] | None:
    """Id and name of each other process that has the file, or its -wal, open; None where that can't be told at all."""
    if not (PROC / "self" / "fd").is_dir():
        return None
    real = os.path.realpath(path)
    wanted = {real, f"{real}-wal"}
    return tuple(
        (pid, _name(pid)) for pid in _processes() if pid != os.getpid() and any(link in wanted for link in _open(pid))
    )


def _processes() -> Iterator[int]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)


def _open(pid: int) -> Iterator[str]:
    try:
        entries = list(os.scandir(PROC / str(pid) / "fd"))
    except OSError:  # another account's, or gone
        return
    for entry in entries:
        try:
            yield os.readlink(entry.path)  # noqa: PTH115 - thousands of them
        except OSError:
            continue


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"

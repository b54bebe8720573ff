"""What a visitor may leave in a folder: nothing. The facts to compare before and after."""

import stat
from pathlib import Path

Facts = tuple[object, ...]


def trace(folder: Path) -> dict[str, Facts]:
    """All that a visitor could leave behind; the bytes of an existing -shm are SQLite's scratch and excepted."""
    found: dict[str, Facts] = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        about = path.lstat()
        facts: Facts = (about.st_ino, about.st_uid, about.st_gid, about.st_mode)
        if not path.name.endswith("-shm"):
            facts += (about.st_mtime_ns, about.st_size, path.read_bytes() if stat.S_ISREG(about.st_mode) else b"")
        found[str(path.relative_to(folder))] = facts
    return found

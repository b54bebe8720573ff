"""What ``durascope demo`` serves: real databases that come with Durascope, and a live DBOS application."""

import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKED = Path(__file__).parent / "databases"
LIVE = "live-shop.sqlite"
SLUGS = (*sorted(packed.name.removesuffix(".sqlite.xz") for packed in PACKED.glob("*.xz")), Path(LIVE).stem)
STOP_SECONDS = 5  # how long the application may take to end before it is killed


@contextmanager
def prepared() -> Iterator[Path]:
    """A temporary folder with the databases, where the live application writes one more; both are gone afterwards.

    The application starts beside the caller and says on stderr where it can't; nothing waits for it. Its own output
    goes to a file in the same temporary folder.
    """
    owner = os.getpid()
    base = Path(tempfile.mkdtemp(prefix="durascope-demo-"))
    application: subprocess.Popen[bytes] | None = None
    try:
        folder = base / "databases"
        folder.mkdir()
        for packed in sorted(PACKED.glob("*.xz")):
            (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
        application = _start(folder / LIVE, base / "application.log")
        yield folder
    finally:
        # A worker process forked inside the context leaves it too, and must not take it from the others.
        if os.getpid() == owner:
            if application is not None:
                _stop(application)
            shutil.rmtree(base, ignore_errors=True)


def _start(database: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-m", "runs.demo", str(database), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            cwd=database.parent.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C is for us: we end it in order
        )


def _stop(application: subprocess.Popen[bytes]) -> None:
    application.terminate()
    try:
        application.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        application.kill()
        application.wait()

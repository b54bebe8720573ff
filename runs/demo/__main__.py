"""The live application's process: ``python -m runs.demo DATABASE PARENT_PID``. It writes only DATABASE.

Ends on SIGTERM, and by itself when its parent is gone. What it can't start is said on stderr, all else goes to stdout.
"""

import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType


def main(database: Path, parent: int) -> None:
    """Trades until told to stop."""
    terminal = os.dup(2)
    os.dup2(1, 2)
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    try:
        from runs.demo import application

        application.open_shop(database)
    except Exception as problem:
        traceback.print_exc()
        database.unlink(missing_ok=True)  # half of a database would only be a riddle
        os.write(terminal, f"durascope: the live application did not start: {problem!r:.300}\n".encode())
        sys.exit(1)

    def watch() -> None:
        while os.getppid() == parent and not stopped.wait(0.5):
            pass
        stopped.set()

    threading.Thread(target=watch, daemon=True).start()
    application.trade(stopped)
    # Runs under way stay as they are: that is what a killed process leaves, and nobody waits for them.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""How a line of the log looks. An exception is its type and the places it passed: its text may hold a payload."""

import logging
import traceback
from pathlib import Path


class OneLine(logging.Formatter):
    """``2026-11-22 15:29:13 ERROR django.request: Internal Server Error: /db/… ValueError at runs/views/run.py:44``."""

    def __init__(self, *, traceback: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self.whole_traceback = traceback

    def format(self, record: logging.LogRecord) -> str:
        if self.whole_traceback or not record.exc_info or record.exc_info[0] is None:
            text = super().format(record)
            return text if self.whole_traceback else text.replace("\n", " ")
        kind, _, trace = record.exc_info
        frames = reversed(traceback.extract_tb(trace)[-8:])
        places = " < ".join(f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}" for frame in frames)
        bare = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return f"{super().format(bare)} {kind.__name__} at {places}".replace("\n", " ")

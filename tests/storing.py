"""Values of our own in a real DBOS file: runs that succeeded with whatever output a test wants to look at."""

import base64
import json
import pickle
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

CREATED = 1_763_800_000_000  # milliseconds


def store(path: Path, run: str, output: str | bytes, serialization: str) -> None:
    """A run named ``run`` with that output, in the file of the schema of DBOS 3.4.0."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO workflow_status (workflow_uuid, status, name, serialization, created_at, updated_at, completed_at)"
            " VALUES (?, 'SUCCESS', 'shows', ?, ?, ?, ?)",
            (run, serialization, CREATED, CREATED + 1000, CREATED + 1000),
        )
        connection.execute("INSERT INTO workflow_output (workflow_uuid, output) VALUES (?, ?)", (run, output))


def store_json(path: Path, run: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    store(path, run, text, "portable_json")
    return text


def store_pickle(path: Path, run: str, value: object) -> str:
    text = base64.b64encode(pickle.dumps(value)).decode()
    store(path, run, text, "py_pickle")
    return text


def png(red: int, green: int, blue: int, side: int = 8) -> bytes:
    """A PNG of one colour, which a browser can draw."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + bytes((red, green, blue)) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

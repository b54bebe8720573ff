"""Bytes as they are stored, a slice at a time: as text, or in hexadecimal."""

from dataclasses import dataclass
from typing import Final

from runs.wording import visible

SLICE: Final = 65_536  # bytes of one slice
PREVIEW: Final = 512  # bytes that stand where nothing could be decoded


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes ``start`` to ``end`` of ``total``; ``previous`` and ``next`` are where their neighbours begin, None at an end."""

    text: str
    start: int
    end: int
    total: int
    previous: int | None
    next: int | None


def text_slice(data: bytes, start: int = 0) -> Slice | None:
    """A slice of UTF-8 text, from the first whole character at ``start`` on; None where it is no such text."""
    begin = _character(data, start)
    end = _character(data, begin + SLICE)
    try:
        text = data[begin:end].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return _slice("\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n")), data, begin, end)


def hex_slice(data: bytes, start: int = 0) -> Slice:
    """A slice in hexadecimal; it begins with a whole line."""
    begin = min(start, len(data)) // 16 * 16
    end = min(begin + SLICE, len(data))
    return _slice(hex_lines(data, begin, end), data, begin, end)


def hex_lines(data: bytes, begin: int, end: int) -> str:
    """``00000010  80 04 95 3e 00 00 00 00  00 00 00 8c 08 5f 5f 6d  ...>.........__m``, a line for each 16 bytes."""
    lines = []
    for offset in range(begin, end, 16):
        part = data[offset : min(offset + 16, end)]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{offset:08x}  {part[:8].hex(' '):<23}  {part[8:].hex(' '):<23}  {text}")
    return "\n".join(lines)


def _slice(text: str, data: bytes, begin: int, end: int) -> Slice:
    previous = max(begin - SLICE, 0) if begin else None
    return Slice(text, begin, end, len(data), previous, end if end < len(data) else None)


def _character(data: bytes, at: int) -> int:
    """Where the first character at or after ``at`` begins; a character has at most three bytes after its first."""
    at = min(at, len(data))
    for _ in range(3):
        if at >= len(data) or data[at] & 0xC0 != 0x80:
            break
        at += 1
    return at

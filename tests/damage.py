"""Databases as accidents leave them: made from real ones, each by its number, always the same."""

import random
from collections.abc import Callable
from pathlib import Path

HEADER = 100
PAGE = 4096


def damage(data: bytes, seed: int) -> bytes:
    """The file with the damage of that number: one of KINDS, in turn."""
    chance = random.Random(seed)
    broken = bytearray(data)
    KINDS[seed % len(KINDS)](broken, chance)
    return bytes(broken)


def damage_file(path: Path, seed: int) -> None:
    path.write_bytes(damage(path.read_bytes(), seed))


def _flipped(data: bytearray, chance: random.Random) -> None:
    """Single bits anywhere, about one in two pages at most."""
    for _ in range(chance.randint(1, max(2, len(data) // PAGE // 2))):
        data[chance.randrange(HEADER, len(data))] ^= 1 << chance.randrange(8)


def _flipped_in_headers(data: bytearray, chance: random.Random) -> None:
    """Bits in the first bytes of pages, where the tree is described: children, cells, free blocks."""
    for _ in range(chance.randint(1, 40)):
        page = chance.randrange(1, len(data) // PAGE)
        data[page * PAGE + chance.randrange(40)] ^= 1 << chance.randrange(8)


def _truncated(data: bytearray, chance: random.Random) -> None:
    """Anywhere from the middle of the header on, at the end of a page or within one."""
    end = chance.choice((chance.randrange(20, len(data)), chance.randrange(1, len(data) // PAGE) * PAGE))
    del data[end:]


def _swapped(data: bytearray, chance: random.Random) -> None:
    """Whole pages, but the first."""
    for _ in range(chance.randint(1, 20)):
        one, other = (chance.randrange(1, len(data) // PAGE) * PAGE for _ in range(2))
        here, there = data[one : one + PAGE], data[other : other + PAGE]
        data[one : one + PAGE], data[other : other + PAGE] = there, here


def _wrong_header(data: bytearray, chance: random.Random) -> None:
    """Bytes behind the magic words: page size, format, page count, schema format, encoding."""
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(16, HEADER)] = chance.randrange(256)


def _emptied(data: bytearray, chance: random.Random) -> None:
    """Pages of zeros, as a disk hands out what was never written."""
    for _ in range(chance.randint(1, 10)):
        page = chance.randrange(1, len(data) // PAGE) * PAGE
        data[page : page + PAGE] = bytes(PAGE)


def _scribbled(data: bytearray, chance: random.Random) -> None:
    """A stretch of random bytes: somebody else's block."""
    start = chance.randrange(HEADER, len(data) - 3000)
    data[start : start + 3000] = chance.randbytes(3000)


def _wrong_schema(data: bytearray, chance: random.Random) -> None:
    """Letters of the first page, which holds the beginning of the tables' definitions."""
    for _ in range(chance.randint(1, 12)):
        data[chance.randrange(HEADER, PAGE)] = chance.randrange(256)


KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flipped,
    _flipped_in_headers,
    _truncated,
    _swapped,
    _wrong_header,
    _emptied,
    _scribbled,
    _wrong_schema,
)

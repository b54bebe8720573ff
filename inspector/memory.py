"""How much memory a worker keeps, and how much of its time looking for garbage takes."""

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress

YOUNG = 20_000  # objects more than are freed, until garbage is looked for among them: a list makes as many, of which none is
GIVEN_BACK_EVERY = 2.0  # seconds
ARENAS = 2  # parts that the C library's heap has at most: threads that each have one keep what others could use
_M_ARENA_MAX = -8  # of malloc.h


def prepare() -> None:
    """Called once all is loaded that the workers share, before they are forked: none of that is looked at again."""
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


def _trim() -> Callable[[int], int] | None:
    with suppress(AttributeError, OSError):
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
        return trim
    return None


_malloc_trim = _trim()


def give_back() -> None:
    """Gives the system what is free within the C library's heap. Counting a large database takes some 20 MB for a moment, which
    glibc would keep, in whichever part of its heap the thread had them."""
    if _malloc_trim is not None:
        _malloc_trim(0)

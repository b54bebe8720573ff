"""What a worker has in memory while it answers twenty thousand requests for everything there is to see."""

import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.subjects import Subject, memory

REQUESTS = 20_000
TOGETHER = 4
LOOKS = 10


@dataclass(frozen=True, slots=True)
class Grown:
    """MB of the largest worker: after a tenth of the requests, in the middle, at the end."""

    early: float
    middle: float
    late: float
    refused: int


def soak(durascope: Subject, paths: Sequence[str], requests: int = REQUESTS) -> Grown:
    """Asks for the paths in a mixed order, four at a time."""
    looks: list[float] = []
    refused = itertools.count()
    for _ in range(LOOKS):
        threads = [
            threading.Thread(target=_ask, args=(durascope, paths, requests // LOOKS // TOGETHER, refused))
            for _ in range(TOGETHER)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        looks.append(max(map(memory, durascope.workers())))
    return Grown(looks[0], looks[len(looks) // 2], looks[-1], next(refused))


def _ask(durascope: Subject, paths: Sequence[str], times: int, refused: "itertools.count[int]") -> None:
    for path in random.choices(paths, k=times):
        if durascope.ask(path)[0] >= 500:
            next(refused)

"""Retries of runs, for both engines: an engine reads which there are of a run; retries of retries are followed here."""

from collections.abc import Callable, Mapping, Sequence

from runs.records import Retried, Status

SHOWN = 5  # retries that a run names
READ = 20  # newest retries of one run that are read
GENERATIONS = 8  # of retries of retries
_TOGETHER = 1000  # runs whose retries one generation looks up at most

Direct = Mapping[str, Sequence[Retried]]  # by run: what was forked from it, or began anew in its place, newest first


def retries(ids: Sequence[str], direct: Callable[[Sequence[str]], Direct]) -> dict[str, tuple[Retried, ...]]:
    """The retries of those runs that have any, newest first: a query for each generation, not for each run."""
    known: dict[str, Sequence[Retried]] = {}
    waiting = list(dict.fromkeys(ids))
    for _ in range(GENERATIONS):
        if not waiting:
            break
        known |= dict.fromkeys(waiting, ()) | dict(direct(waiting))
        begun = (retry.id for found in known.values() for retry in found)
        waiting = [run_id for run_id in dict.fromkeys(begun) if run_id not in known][:_TOGETHER]
    found = {run_id: _shown(_all(run_id, known, {run_id})) for run_id in ids if known[run_id]}
    return {run_id: some for run_id, some in found.items() if some}


def _all(run_id: str, known: Direct, seen: set[str]) -> list[Retried]:
    """A retry of a retry is newer than that. What leads back to where it began is no retry."""
    found: list[Retried] = []
    for retry in known.get(run_id, ()):
        if retry.id not in seen:
            seen.add(retry.id)
            found += [*_all(retry.id, known, seen), retry]
    return found


def _shown(found: Sequence[Retried]) -> tuple[Retried, ...]:
    succeeded = [retry for retry in found[SHOWN:] if retry.status is Status.SUCCEEDED]
    if succeeded and not any(retry.status is Status.SUCCEEDED for retry in found[:SHOWN]):
        return (*found[: SHOWN - 1], succeeded[0])
    return tuple(found[:SHOWN])

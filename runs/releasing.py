"""What was appended paused, from there on: checked by the replay of the engine's server, released, or deleted again.

The first step, the append, is done and recorded. This second step can be taken at any time, by anybody who may retry, and again
after whatever ended it: each of its parts is one transaction, and what the file says decides what was done. Nothing is open
while the server is asked.
"""

from pathlib import Path

from runs import holding
from runs.appending import file_of, mark_at
from runs.catalogue import Database
from runs.engines.base import Engine
from runs.errors import AppendRefused, DurascopeError, ReplayDiverged, RunNotFound
from runs.holding import Waiting
from runs.retry import Held, Holding, Outcome, Verdict
from runs.state import waiting
from runs.state.models import Progress, Retry
from runs.state.waiting import By

NOBODY: By = ("", "found afterwards")
DELETED = "What was appended, paused, was deleted again."


def go_on(database: Database, retry: Retry, by: By, address: str | None) -> Retry:
    """Checks what was appended paused by the engine's server at this address (None where it is not known), then releases it, or
    deletes it again where the replay diverges; where neither can be, it goes on waiting, and ``detail`` says for what. A retry that
    does not wait is left as it is."""
    retry = settled(database, retry)
    if retry.progress != Progress.HELD:
        return retry
    try:
        held, verdict = _checked(database, retry, address)
    except DurascopeError as problem:
        return waiting.waits(retry, _words(problem), by)
    match verdict.outcome:
        case Outcome.UNKNOWN:
            return waiting.waits(retry, verdict.words, by)
        case Outcome.FITS:
            return _released(database, retry, held, f"The engine's replay goes on with it: {verdict.words}.", by)
        case Outcome.DIVERGES:
            return _withdrawn(database, retry, held, verdict.words, by)


def settled(database: Database, retry: Retry) -> Retry:
    """A waiting retry by what the file says: one that was released, or deleted, before that could be recorded, is recorded now."""
    if retry.progress != Progress.HELD:
        return retry
    try:
        if mark_at(database.source.place) != _of(retry).mark:
            return retry  # another file: what it holds says nothing of this retry
        held, is_there = database.read(lambda engine: _look(engine, retry.new_run))
    except DurascopeError:
        return retry
    if held:
        return retry
    if is_there:
        return waiting.found_released(retry, NOBODY)
    if retry.error == ReplayDiverged.__name__:
        problem: AppendRefused = ReplayDiverged(
            f"{retry.detail.removeprefix(ReplayDiverged().title).strip()} {DELETED}"
        )
    else:
        problem = AppendRefused("What was appended is not there any more: somebody took it back.")
    return waiting.withdrawn(retry, problem, _words(problem), NOBODY)


def found(database: Database, retry: Retry, new_run: str) -> Retry | None:
    """Records a retry whose process was killed after it had appended it paused; None where it is not held back."""
    held, _ = database.read(lambda engine: _look(engine, new_run))
    rows = [{"change": "found", "table": table, "key": dict(key)} for table, key in held.rows] if held else []
    return waiting.found_held(retry, new_run, rows) if rows else None


def _look(engine: Engine, new_run: str) -> tuple[Held | None, bool]:
    """What is held back, and whether the run is there at all."""
    held = engine.held(new_run) if isinstance(engine, Holding) else None
    try:
        engine.run(new_run)
    except RunNotFound:
        return held, False
    return held, True


def _checked(database: Database, retry: Retry, address: str | None) -> tuple[Held, Verdict]:
    """What the server's replay says of each history that is to go on. Raises AppendRefused, Unreadable."""
    if address is None:
        raise AppendRefused(
            f"The server of {database.slug} is not known here.",
            remedy=f"Start Durascope with --engine-url {database.slug}=URL.",
        )

    def work(engine: Engine) -> tuple[Held | None, type[Holding] | None]:
        return (engine.held(retry.new_run), type(engine)) if isinstance(engine, Holding) else (None, None)

    held, engine = database.read(work)
    if held is None or engine is None or holding.keys(held.rows) != holding.keys(holding.named(retry.rows)):
        raise AppendRefused(holding.TOUCHED)
    verdict = Verdict(Outcome.UNKNOWN, "There is no history for the replay to follow.")
    for run_id in held.replays:
        verdict = engine.replay(address, run_id)
        if verdict.outcome is not Outcome.FITS:
            break
    return held, verdict


def _released(database: Database, retry: Retry, held: Held, words: str, by: By) -> Retry:
    try:
        done = holding.take(Path(database.source.place), "release", _of(retry), held.guard)
    except DurascopeError as problem:
        return _left(database, retry, _words(problem), by)
    return waiting.released(retry, words, by, done.at, done.rows)


def _withdrawn(database: Database, retry: Retry, held: Held, words: str, by: By) -> Retry:
    said = ReplayDiverged(f"It says: {words.rstrip('.')}.")
    # Said before it is done: whatever ends this process, it is known why the rows are gone.
    retry = waiting.waits(retry, str(said), by, error=ReplayDiverged.__name__)
    try:
        done = holding.take(Path(database.source.place), "withdraw", _of(retry), held.guard)
    except DurascopeError as refused:
        return _left(database, retry, f"{said} It could not be deleted again: {_words(refused)}", by)
    problem = ReplayDiverged(f"{said.detail} {DELETED}")
    return waiting.withdrawn(retry, problem, str(problem), by, done.rows)


def _left(database: Database, retry: Retry, words: str, by: By) -> Retry:
    """After a step that failed: another may have taken it meanwhile, or it waits on."""
    retry = settled(database, retry)
    return waiting.waits(retry, words, by) if retry.progress == Progress.HELD else retry


def _words(problem: DurascopeError) -> str:
    """An error's words about what was appended: not that nothing was."""
    words = (problem.detail, problem.remedy) if type(problem) is AppendRefused else (str(problem),)
    return " ".join(filter(None, words))


def _of(retry: Retry) -> Waiting:
    return Waiting(retry.run, retry.new_run, file_of(retry.digest), tuple(retry.rows))

"""What the pages say, in a terminal: databases, runs, a timeline as text; as JSON the very objects of ``/api/v1/``.

Every text of a database is written with its control characters escaped: it must not be able to move the cursor.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from runs import lookup, wording
from runs.api import shapes
from runs.catalogue import Catalogue, only
from runs.diagnosis import diagnose, known_until
from runs.engines.base import Engine
from runs.errors import DurascopeError, RunNotFound
from runs.filters import Filter
from runs.fleet import Entry, survey
from runs.paging import write_cursor
from runs.records import UNSUCCESSFUL, ErrorSummary, Run, Status, Step
from runs.timeline import Pattern, Row, Segment, lay_out, whole_of

GLYPHS = {
    Status.FAILED: "✖",
    Status.RETRYING: "↻",
    Status.RUNNING: "◐",
    Status.WAITING: "⏸",
    Status.QUEUED: "◌",
    Status.SCHEDULED: "◷",
    Status.PAUSED: "‖",
    Status.CANCELLED: "⊘",
    Status.SUCCEEDED: "✔",
    Status.UNKNOWN: "?",
}
PATTERNS = {
    Pattern.QUEUED: ("·", "queued"),
    Pattern.RAN: ("█", "ran"),
    Pattern.TRIED: ("▓", "failed, tried again"),
    Pattern.BACKING_OFF: ("░", "backing off"),
    Pattern.WAITED: ("▒", "waited"),
    Pattern.GHOST: ("┄", "copied from the forked run"),
    Pattern.LINE: ("─", "the run"),
}
NAME_WIDTH = 32
MIN_TRACK, MAX_TRACK = 20, 100
FALLBACK_SIZE = (110, 40)  # columns and lines where the output is no terminal


def check(specs: Sequence[str], *, as_json: bool = False) -> int:
    """Prints what each database is and holds. 1 where one can't be read, or where a path leads to none; else 0."""
    entries = survey(Catalogue(specs).databases())
    empty = [spec for spec in specs if not Catalogue((spec,)).databases()]
    for spec in empty:
        print(f"durascope: there is no database in {wording.visible(spec)}", file=sys.stderr)
    if as_json:
        _print_json({"databases": [shapes.database_object(entry) for entry in entries]})
    elif entries:
        _print_table(
            ("database", "engine", "schema", "opened", "size", "last event", "runs"), [_entry(e) for e in entries]
        )
        for entry in entries:
            for problem in _problems(entry):
                print(f"{entry.slug}: {wording.visible(problem)}")
    return 1 if empty or any(isinstance(entry.contents, DurascopeError) for entry in entries) else 0


def runs(
    spec: str, query: Mapping[str, Sequence[str]], *, limit: int, after: str | None = None, as_json: bool = False
) -> int:
    """Prints the newest runs that the query's filters ask for. Raises DurascopeError."""
    database = only(spec)
    where = Filter.from_query(query)
    page = database.read(lambda engine: engine.runs(where, lookup.cursor(engine, after), limit))
    following = write_cursor(page.next)
    if as_json:
        _print_json({"runs": [shapes.run_object(database.slug, run) for run in page.rows], "next": following})
        return 0
    _print_table(("status", "workflow", "run id", "created", "duration", "error"), [_run(run) for run in page.rows])
    if not page.rows:
        print("No run matches.")
    if page.partial:
        print(page.partial)
    if following:
        print(f"\nThe next ones: --after {following}")
    return 0


def show(spec: str, run_id: str, *, as_json: bool = False) -> int:
    """Prints one run: what happened in words, and its timeline. Raises DurascopeError."""
    database = only(spec)
    try:
        run, steps, newest = database.read(lambda engine: _one_run(engine, run_id))
    except RunNotFound as error:
        raise RunNotFound(
            error.detail, remedy="The beginning of an id finds it: durascope runs PATH --find TEXT."
        ) from None
    if as_json:
        _print_json(shapes.detail_object(database.slug, run, steps))
        return 0
    as_of, _stale = known_until(run, newest)
    for line in _sheet(run, steps, as_of):
        print(line.rstrip())
    return 0


def _one_run(engine: Engine, run_id: str) -> tuple[Run, tuple[Step, ...], datetime | None]:
    """The run, its steps, and the newest event of the database where an unfinished run is drawn up to it."""
    run = engine.run(run_id)
    return run, engine.steps(run_id), None if run.status.finished else engine.overview().last_event_at


def _entry(entry: Entry) -> tuple[str, ...]:
    size = wording.size(entry.facts.size_bytes if entry.facts else None)
    if isinstance(entry.contents, DurascopeError):
        return (entry.slug, wording.NOTHING, wording.NOTHING, wording.NOTHING, size, wording.NOTHING, "can't be read")
    contents = entry.contents
    counts = contents.overview.runs
    return (
        entry.slug,
        contents.label,
        wording.visible(contents.revision.text),
        contents.opened.value,
        size,
        _moment(contents.overview.last_event_at),
        ", ".join(f"{counts[status]:,} {status}" for status in Status if counts.get(status)) or "none",
    )


def _problems(entry: Entry) -> Iterator[str]:
    if isinstance(entry.contents, DurascopeError):
        yield str(entry.contents)
    else:
        yield from filter(None, (entry.contents.revision.problem, *entry.contents.overview.problems))


def _run(run: Run) -> tuple[str, ...]:
    return (
        f"{GLYPHS[run.status]} {run.status}",
        wording.visible(run.workflow),
        wording.visible(run.id),
        _moment(run.created_at),
        wording.duration(run.duration),
        " ".join(filter(None, (_retried(run), _error(run.error)))),
    )


def _sheet(run: Run, steps: Sequence[Step], as_of: datetime) -> Iterator[str]:
    """The lines of one run."""
    status = f"{GLYPHS[run.status]} {run.status}"
    yield f"{status} ({wording.visible(run.native_status)})  {wording.visible(run.workflow)}  {wording.visible(run.id)}"
    facts = {
        "created": _moment(run.created_at),
        "took": wording.duration(run.duration) if run.duration is not None else "",
        "attempts": str(run.attempts or ""),
        "parent": run.parent or "",
        "forked from": run.forked_from or "",
        "retried as": ", ".join(f"{retry.id} ({retry.status})" for retry in run.retries),
        "version": run.version or "",
        "queue": run.queue or "",
    }
    yield " · ".join(f"{name} {wording.visible(value)}" for name, value in facts.items() if value)
    if said := diagnose(run, steps, as_of):
        step = f" {said.step.name}" if said.step else ""
        yield wording.visible(f"{said.lead}{step}{said.after} {said.rest}")
    yield ""
    timeline = lay_out(whole_of(run, steps, as_of=as_of))
    columns = shutil.get_terminal_size(FALLBACK_SIZE).columns
    name_width = min(NAME_WIDTH, max(len(_label(row)) for row in timeline.rows))
    track = min(MAX_TRACK, max(MIN_TRACK, columns - name_width - 24))
    for row in timeline.rows:
        bar = _bar(row.segments, track)
        took = f"{'≥ ' if row.at_least else ''}{wording.duration(row.took)}"
        yield f"{GLYPHS[row.status]} {_cut(_label(row), name_width):<{name_width}} │{bar}│ {took:>10}{_beside(row)}"
        if row.error is not None and row.step is not None:
            yield f"  {'':<{name_width}}  {_error(row.error)}"
    yield ""
    used = {segment.pattern for row in timeline.rows for segment in row.segments}
    yield "  ".join(f"{mark} {meaning}" for pattern, (mark, meaning) in PATTERNS.items() if pattern in used)
    for gap in timeline.scale.gaps:
        yield f"≈ {gap.label} in which nothing happened are left out"


def _label(row: Row) -> str:
    return wording.visible(row.name if row.step is None else f"{row.path} {row.name}")


def _beside(row: Row) -> str:
    notes = [row.note]
    if row.step is not None and row.step.child:
        notes.append(f"→ {row.step.child}")
    if row.attempts and row.attempts > 1:
        notes.append(f"{row.attempts} attempts")
    text = ", ".join(wording.visible(note) for note in notes if note)
    return f"  {text}" if text else ""


def _bar(segments: Sequence[Segment], width: int) -> str:
    """The segments as characters: at least one each, later ones over earlier ones, a cross where a failure ended it."""
    track = [" "] * width
    for segment in segments:
        start = min(int(segment.x / 100 * width), width - 1)
        length = max(1, round((segment.x + segment.width) / 100 * width) - start)
        track[start : start + length] = PATTERNS[segment.pattern][0] * min(length, width - start)
        if segment.final:
            track[min(start + length, width) - 1] = GLYPHS[Status.FAILED]
    return "".join(track)


def _moment(moment: datetime | None) -> str:
    return wording.full_time(moment, UTC) if moment else wording.NOTHING


def _error(error: ErrorSummary | None) -> str:
    if error is None:
        return ""
    return wording.visible(f"{error.type}: {error.message}" if error.message else error.type)


def _retried(run: Run) -> str:
    return f"retried → {run.retried.status}." if run.retried and run.status in UNSUCCESSFUL else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in ([title.upper() for title in head], *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(value: object) -> None:
    # ASCII: what can't be written in the terminal's encoding, lone surrogates among it, arrives as it is.
    print(json.dumps(value, indent=2))

"""Retries in a terminal: the plan as text, the append, and the audit. Who can write the file needs no permission of a server.

Every text of a database is written with its control characters escaped: it must not be able to move the cursor.
"""

import getpass
import sys

from runs import clock, following, home, planning, retrying, statements, wording
from runs.catalogue import only
from runs.errors import BadConfiguration, RetryNotFound
from runs.planning import Planned
from runs.retry import Options
from runs.state import audit, place
from runs.state.models import Progress, Retry

WHERE = "durascope retry"


def retry(spec: str, run_id: str, options: Options, reason: str, *, dry_run: bool, yes: bool) -> int:
    """Prints the plan; with ``yes`` appends it. 1 where it can't be retried. Raises DurascopeError."""
    database = only(spec)
    planned = planning.plan(database, run_id, options)
    print("\n".join(_sheet(planned)))
    if not planned.plan.eligible:
        return 1
    if dry_run or not yes:
        print("\nNothing was appended. To append it: --reason 'WHY' --yes")
        return 0
    _require_clock()
    retrying.reason_of(reason)
    place.prepare()
    done = retrying.append(database, run_id, options, planned.digest, reason, getpass.getuser(), WHERE, by_owner=True)
    print(f"\n{_became(done)}")
    return 0


def release(spec: str, run_id: str) -> int:
    """Has the engine's replay check what was appended paused for this run, and releases it, or deletes it again. 1 where it waits
    on, or was deleted. Raises RunNotFound, RetryNotFound, Unreadable."""
    database = only(spec)
    _require_clock()
    _open()
    found = [retry for retry in following.retries_of(database, run_id) if retry.progress == Progress.HELD]
    if not found:
        raise RetryNotFound(f"Nothing of {run_id} waits for its release.")
    done = retrying.release(database, found[0], getpass.getuser(), WHERE, by_owner=True)
    print(_became(done))
    return 0 if done.progress == Progress.APPENDED else 1


def verify() -> int:
    """Prints how the audit's chain stands; 1 where an entry is not as it was written, or is missing."""
    _open()
    verdict = audit.verify()
    if verdict.broken is not None:
        print(f"The audit is broken at entry {verdict.broken}: {verdict.problem}", file=sys.stderr)
        return 1
    print(f"{verdict.entries} entries, each as it was written. The last has the hash {verdict.end}")
    return 0


def export() -> int:
    """Prints every entry as a line of JSON, oldest first."""
    _open()
    for line in audit.export():
        print(line)
    return 0


def _require_clock() -> None:
    """Raises BadConfiguration where the clock stands still: its instant would be written into the engine's rows."""
    if clock.is_fixed():
        raise BadConfiguration(
            "DURASCOPE_NOW fixes the clock, and a retry writes when it is appended.", remedy="Unset it."
        )


def _open() -> None:
    if not (home.folder() / home.FILE).exists():
        raise BadConfiguration(f"There is no audit in {home.folder()}.", remedy="DURASCOPE_STATE names another folder.")
    place.prepare()


def _became(retry: Retry) -> str:
    """What became of a retry, in a line."""
    if retry.progress == Progress.APPENDED:
        words = f"Appended: {retry.new_run} goes on as soon as the engine takes it up."
    elif retry.progress == Progress.HELD:
        words = f"Appended paused: {retry.new_run} waits for its release. {retry.detail} Then: --release"
    else:
        words = retry.detail
    return wording.visible(words)


def _sheet(planned: Planned) -> list[str]:
    """The lines of a plan."""
    plan = planned.plan
    lines = [f"{plan.operation or 'retry'} {plan.run} → {plan.new_run}" if plan.eligible else f"retry {plan.run}"]
    if plan.reason:
        lines.append(f"It can't be retried: {plan.reason}" if not plan.eligible else plan.reason)
    if not plan.eligible:
        return [wording.visible(line) for line in lines]
    for title, parts in (("runs again", plan.again), ("is kept", plan.kept)):
        names = [f"{'' if part.ordinal is None else part.ordinal} {part.name}".strip() for part in parts]
        lines.append(f"{title}: {', '.join(names) or 'nothing'}")
    lines += [f"mind: {text}" for text in (*plan.effects, *plan.warnings)]
    if planned.held_by is not None:
        holders = ", ".join(f"{name} ({pid})" for pid, name in planned.held_by.processes)
        who = "nobody" if planned.held_by.all_seen else "no process that this account can look into"
        lines.append(f"open in: {holders}" if holders else f"{who} has the file open: it is taken up at the next start")
    lines += ["", *statements.readable(plan).splitlines()]
    return [wording.visible(line) for line in lines]

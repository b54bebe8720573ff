"""Comparing, beside apsw's Session.diff of the same files in the same run: what counts are the ratios.

    python tests/benchmarks/compare.py [RUNS [PAIRS]]

- two DBOS databases of 200,000 runs and 1.2 million steps that differ in 1 %: related and matched within 3 times Session.diff
- the first page of that comparison, while it is made
- two runs of 10,000 steps, beside the page of one of them
- 1,000 pairs of small databases, ``compare --fleet``, beside Session.diff of each pair

Seconds by the clock say little where something else computes: CPU seconds, of all processes, stand beside them. Each is measured
in a process of its own, so that the memory of one is not that of another.
"""

import gzip
import json
import lzma
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from tests.benchmarks import subjects
from tests.benchmarks.databases import go_on, multiply
from tests.benchmarks.subjects import Subject

ROOT = Path(__file__).parent.parent.parent
REAL = ROOT / "tests" / "databases" / "mini-3.4.0.sqlite.xz"
TABLES = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")
STEPS = 10_000
MOST = 3.0  # times Session.diff
MOST_BYTES = 400_000_000
FIRST_PAINT, PAIR_PAGE, FLEET = 0.5, 1.0, 10.0  # seconds, of 1,000 pairs the last

Measured = dict[str, float]


def main(runs: int, pairs: int) -> int:
    with tempfile.TemporaryDirectory(prefix="durascope-benchmark-") as base:
        folder = Path(base)
        real = folder / "real.sqlite"
        real.write_bytes(lzma.decompress(REAL.read_bytes()))
        held = [large(folder, real, runs), long_runs(folder, real), fleet(folder, real, pairs)]
        return 0 if all(held) else 1


def large(folder: Path, real: Path, runs: int) -> bool:
    a = multiply(real, folder / "a.sqlite", runs)
    b = folder / "b.sqlite"
    shutil.copyfile(a, b)
    changed = go_on(b, 0.01)
    print(f"{runs:,} runs, {a.stat().st_size / 1e6:.0f} MB each, {changed:,} went on in B")
    by_session = apart("session", folder, str(a), str(b))
    ours = apart("ours", folder / "ours", str(a), str(b))
    tell("Session.diff", by_session)
    tell("related and matched", ours, by_session)
    tell("written", {"wall": ours["whole"]})
    print(f"peak of a process {ours['peak'] / 1e6:.0f} MB")
    with subjects.durascope(folder, str(a), str(b)) as subject:
        first = subject.first("/compare/?a=a&b=b") / 1000
        told = gzip.decompress(subject.ask("/compare/?a=a&b=b")[2])
    apart("cancel", folder, str(a), str(b))
    progressing = b"/compare/cancel/" in told
    print(f"first page of it {first * 1000:.0f} ms, {'while it is made' if progressing else 'made'}")
    return ours["wall"] / by_session["wall"] <= MOST and ours["peak"] <= MOST_BYTES and first <= FIRST_PAINT


def long_runs(folder: Path, real: Path) -> bool:
    """Two databases that hold one run, of which one hundredth of the steps differ."""
    a = multiply(real, folder / "long-a.sqlite", 1, steps=STEPS)
    b = folder / "long-b.sqlite"
    shutil.copyfile(a, b)
    with apsw.Connection(str(b)) as connection:
        connection.execute("UPDATE operation_outputs SET function_name = 'other' WHERE function_id % 100 = 50")
        ((run,),) = connection.execute("SELECT workflow_uuid FROM workflow_status").fetchall()
    with subjects.durascope(folder, str(a), str(b)) as subject:
        one = page(subject, f"/db/long-a/runs/{run}/")
        both = page(subject, f"/compare/run/?a=long-a&b=long-b&a_run={run}&b_run={run}")
    tell(f"a run of {STEPS:,} steps", one)
    tell("two of them", both, one)
    return both["cpu"] <= PAIR_PAGE


def page(subject: Subject, path: str) -> Measured:
    timing = subject.timed(path, 5)
    return {"wall": timing.median / 1000, "cpu": timing.cpu / 1000}


def fleet(folder: Path, real: Path, pairs: int) -> bool:
    """In every tenth pair one output differs."""
    other = folder / "other.sqlite"
    shutil.copyfile(real, other)
    with apsw.Connection(str(other)) as connection:
        connection.execute("UPDATE operation_outputs SET output = output || 'x' WHERE output IS NOT NULL")
    for side in ("fleet-a", "fleet-b"):
        (folder / side).mkdir()
        for number in range(pairs):
            source = other if side == "fleet-b" and not number % 10 else real
            shutil.copyfile(source, folder / side / f"tenant-{number:04}.sqlite")
    folders = str(folder / "fleet-a"), str(folder / "fleet-b")
    by_session = apart("sessions", folder, *folders)
    ours = apart("fleet", folder, *folders)
    tell(f"Session.diff of {pairs:,} pairs", by_session)
    tell("compare --fleet", ours, by_session)
    return ours["wall"] <= FLEET * pairs / 1000


def tell(name: str, found: Measured, beside: Measured | None = None) -> None:
    cpu = f"{found['cpu']:7.2f} s CPU" if "cpu" in found else ""
    ratio = f"{found['wall'] / beside['wall']:.2f} times, {found['cpu'] / beside['cpu']:.2f} of CPU" if beside else ""
    print(f"{name:<30} {found['wall']:7.2f} s {cpu}   {ratio}".rstrip(), flush=True)


def apart(work: str, state: Path, *paths: str) -> Measured:
    """What a process of its own measures."""
    variables = {"DURASCOPE_STATE": str(state / "state"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, work, *paths]
    done = subprocess.run(
        command, env={"DURASCOPE_QUERY_SECONDS": "60", **os.environ, **variables}, stdout=-1, check=True
    )
    *said, last = done.stdout.decode().splitlines()
    print("\n".join(said[-3:]))
    found: Measured = json.loads(last)
    return found


def session(a: str, b: str) -> Measured:
    return {"bytes": session_diff(a, b)}


def sessions(a: str, b: str) -> Measured:
    files = zip(sorted(Path(a).iterdir()), sorted(Path(b).iterdir()), strict=True)
    return {"bytes": sum(session_diff(str(one), str(other)) for one, other in files)}


def session_diff(a: str, b: str) -> int:
    """Bytes of the changeset."""
    connection = apsw.Connection(b)
    connection.execute("ATTACH ? AS other", (a,))
    session = apsw.Session(connection, "main")
    for table in TABLES:
        session.attach(table)
        session.diff("other", table)
    return len(session.changeset())


def ours(a: str, b: str) -> Measured:
    """Until relation and matching are complete: what follows is looking for causes, and writing."""
    from runs import comparing
    from runs.catalogue import only
    from runs.compare.records import Options

    began, before = time.perf_counter(), computed()
    stages: dict[str, Measured] = {}

    def note(stage: str, _done: int, _total: int) -> None:
        stages.setdefault(stage, {"wall": time.perf_counter() - began, "cpu": computed() - before})

    kept = comparing.compare_now(only(a), only(b), Options(), note)
    whole = time.perf_counter() - began
    print(", ".join(f"{stage} from {at['wall']:.2f} s" for stage, at in stages.items()))
    print(kept.comparison.relation, kept.comparison.counts.matched, *kept.comparison.evidence)
    return {**stages["writing"], "whole": whole, "peak": peak()}


def cancel(a: str, b: str) -> Measured:
    from runs import comparing
    from runs.catalogue import only
    from runs.compare.records import Options

    comparing.cancel(only(a), only(b), Options())
    return {}


def compare_fleet(a: str, b: str) -> Measured:
    from runs import compare_commands
    from runs.compare.records import Options

    compare_commands.compare_fleet(a, b, Options(), "text", ())
    return {}


def computed() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def peak() -> float:
    """Bytes that the largest of them took. Of this one by its own account: resource's begins with what its parent had taken."""
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


WORKS: dict[str, Callable[[str, str], Measured]] = {
    "session": session, "sessions": sessions, "ours": ours, "cancel": cancel, "fleet": compare_fleet,
}  # fmt: skip


def measure(work: str, paths: Sequence[str]) -> None:
    """The process: what the work itself says goes before what was found."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inspector.settings")
    import django

    django.setup()
    began, before = time.perf_counter(), computed()
    found = WORKS[work](*paths)
    whole = {"wall": time.perf_counter() - began, "cpu": computed() - before}
    print(json.dumps({**whole, **found}))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WORKS:
        measure(sys.argv[1], sys.argv[2:])
    else:
        numbers = [int(number) for number in sys.argv[1:]]
        sys.exit(main(*(numbers + [200_000, 1_000][len(numbers) :])))

"""Comparing two DBOS databases of 200,000 runs and 1.2 million steps that differ in 1 %, beside apsw's Session.diff of the same.

    python tests/benchmarks/compare.py [RUNS]

Both are measured in one run of this script: what counts is their ratio, at most 3.
"""

import lzma
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import apsw

from tests.benchmarks.databases import go_on, multiply

ROOT = Path(__file__).parent.parent.parent
REAL = ROOT / "tests" / "databases" / "mini-3.4.0.sqlite.xz"
MOST = 3.0  # times Session.diff
MOST_BYTES = 400_000_000


def main(runs: int) -> int:
    with tempfile.TemporaryDirectory(prefix="durascope-benchmark-") as base:
        folder = Path(base)
        os.environ["DURASCOPE_STATE"] = str(folder / "state")
        os.environ.setdefault("DURASCOPE_QUERY_SECONDS", "60")
        real = folder / "real.sqlite"
        real.write_bytes(lzma.decompress(REAL.read_bytes()))
        a = multiply(real, folder / "a.sqlite", runs)
        b = folder / "b.sqlite"
        shutil.copyfile(a, b)
        changed = go_on(b, 0.01)
        print(f"{runs:,} runs, {a.stat().st_size / 1e6:.0f} MB each, {changed:,} went on in B")
        began = time.perf_counter()
        size = session_diff(a, b)
        by_session = time.perf_counter() - began
        print(f"Session.diff   {by_session:6.2f} s   {size:,} bytes")
        ours = durascope(a, b)
        ratio = ours / by_session
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"durascope      {ours:6.2f} s   {ratio:.2f} times, peak {peak / 1e6:.0f} MB")
        return 0 if ratio <= MOST and peak <= MOST_BYTES else 1


def session_diff(a: Path, b: Path) -> int:
    """Bytes of the changeset."""
    connection = apsw.Connection(str(b))
    connection.execute("ATTACH ? AS other", (str(a),))
    session = apsw.Session(connection, "main")
    for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
        session.attach(table)
        session.diff("other", table)
    return len(session.changeset())


def durascope(a: Path, b: Path) -> float:
    """Seconds until relation and matching are complete: what follows is looking for causes, and writing."""
    from runs import comparing
    from runs.catalogue import only
    from runs.compare.records import Options

    began = time.perf_counter()
    stages: dict[str, float] = {}

    def tell(stage: str, _done: int, _total: int) -> None:
        stages.setdefault(stage, time.perf_counter() - began)

    kept = comparing.compare_now(only(str(a)), only(str(b)), Options(), tell)
    whole = time.perf_counter() - began
    comparison = kept.comparison
    print(", ".join(f"{stage} from {at:.2f} s" for stage, at in stages.items()), f"whole {whole:.2f} s")
    print(comparison.relation, comparison.counts.matched, comparison.evidence)
    return stages["writing"]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inspector.settings")
    import django

    django.setup()
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))

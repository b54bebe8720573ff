"""Many pairs of small databases at once: what processes of their own say of them is what is said here, pair by pair."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from comparisons import database, quietly, rows

from runs import comparing
from runs.catalogue import Database
from runs.compare import fleet, making
from runs.compare.fleet import Told
from runs.compare.records import Options

Unpacked = Callable[[str], Path]
Pairs = list[tuple[Database, Database]]
PLAIN = Options()
REWRITE = """UPDATE operation_outputs SET output = output || 'x'
WHERE rowid = (SELECT min(rowid) FROM operation_outputs WHERE output IS NOT NULL)"""
FAIL_ON = ("rewritten", "missing", "p95>1.5x")


@pytest.fixture
def pairs(fresh: Unpacked, unpacked: Unpacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pairs:
    """A prefix, a fork, a twin, one file twice, a rewritten one, two schemas, two engines, one that is none."""
    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "state"))
    rewritten, broken = fresh("mini-3.4.0"), tmp_path / "broken.sqlite"
    rows(rewritten, REWRITE)
    broken.write_bytes(b"no database" * 100)
    named = [
        *((unpacked(one), unpacked(other)) for one, other in (("shop-early", "shop"), ("shop", "shop-fork"))),
        *((unpacked(one), unpacked(other)) for one, other in (("shop", "shop-staging"), ("shop", "shop"))),
        (unpacked("mini-3.4.0"), rewritten),
        *((unpacked(one), unpacked(other)) for one, other in (("mini-2.0.0", "mini-3.4.0"), ("zoo-3.4.0", "shop"))),
        (unpacked("zoo-3.4.0"), broken),
    ]
    return [(database(one, "a"), database(other, "b")) for one, other in named]


@pytest.fixture
def by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "WORTH_IT", 1)
    monkeypatch.setattr(fleet, "processors", lambda: 3)


def said(pairs: Sequence[tuple[Database, Database]]) -> list[Told]:
    return list(fleet.told_of(pairs, PLAIN, FAIL_ON))


@pytest.mark.usefixtures("by_processes")
def test_processes_say_the_same_in_the_same_order(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(pairs * 3)
    monkeypatch.setattr(fleet, "WORTH_IT", 10_000)
    here = said(pairs)
    assert found == here * 3
    assert [each.relation for each in here[:6]] == [
        *("b_extends_a", "forked", "independent", "same", "rewritten", "independent"),
    ]
    assert [finding.condition for finding in here[4].findings] == ["rewritten"]
    assert "DBOS" in here[6].summary
    assert "Database b: " in here[7].problem


def test_what_is_said_is_what_a_whole_comparison_says(pairs: Pairs) -> None:
    for (a, b), quick in zip(pairs[:7], said(pairs[:7]), strict=True):
        assert quick == fleet.told(comparing.compare_now(a, b, PLAIN, quietly).comparison, FAIL_ON)


def test_nothing_is_kept_of_a_glance(pairs: Pairs, tmp_path: Path) -> None:
    said(pairs)
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("by_processes")
def test_a_process_that_ends_costs_one_pair(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = fleet._Process.ask
    asked: Iterator[int] = iter(range(100))

    def killed_once(process: fleet._Process, a: Database, b: Database) -> Told:
        if next(asked) == 1:
            os.kill(process._process.pid, signal.SIGKILL)
            process._process.wait()
        return ask(process, a, b)

    monkeypatch.setattr(fleet._Process, "ask", killed_once)
    found = said([pairs[0]] * 12)
    lost = [each for each in found if each.problem]
    assert len(lost) == 1
    assert "ended early" in lost[0].problem
    assert {each.relation for each in found if not each.problem} == {"b_extends_a"}


@pytest.mark.usefixtures("by_processes")
def test_processes_end_with_whoever_stops_listening(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    start = fleet._Process._start

    def noted(process: fleet._Process) -> None:
        start(process)
        started.append(process._process.pid)

    monkeypatch.setattr(fleet._Process, "_start", noted)
    found = fleet.told_of(pairs, PLAIN, FAIL_ON)
    next(found)
    found.close()
    assert len(started) == 3
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_large_pairs_are_compared_here_and_kept(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from runs import compare_commands

    for side, each in zip(("a", "b"), pairs[4], strict=True):
        (tmp_path / side).mkdir()
        (tmp_path / side / "one.sqlite").write_bytes(Path(each.source.place).read_bytes())
    folders = str(tmp_path / "a"), str(tmp_path / "b")
    assert compare_commands.compare_fleet(*folders, PLAIN, "text", ("rewritten",)) == compare_commands.FAILS
    quick = capsys.readouterr().out
    assert "rewritten" in quick
    monkeypatch.setattr(making, "SMALL", 1)
    assert compare_commands.compare_fleet(*folders, PLAIN, "text", ("rewritten",)) == compare_commands.FAILS
    assert capsys.readouterr().out == quick
    assert len(list((tmp_path / "state").rglob("*.comparison"))) == 1

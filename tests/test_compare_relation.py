"""How two databases are related, asked of real pairs and checked with plain SQL: prefix, fork, twin, restored, rewritten."""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from comparisons import database, digest, execute, quietly, reading, rows, run

from runs import comparing
from runs.compare import words
from runs.compare.records import Comparison, Options, Relation, Verdict
from runs.compare.relation import parting, relate
from runs.compare.store import Kept, PairFilter
from runs.digests import Mark
from runs.records import Status

Unpacked = Callable[[str], Path]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOG = "SELECT execution_id, version, created_at, json_value FROM t_execution_log"


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def dbos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``early``, and copies of it that went on by themselves: ``late`` and ``fork``; ``twin`` did the same elsewhere."""
    folder = tmp_path_factory.mktemp("dbos")
    paths = {name: folder / f"{name}.sqlite" for name in ("early", "late", "fork", "twin")}
    execute(paths["early"], 0, 6)
    shutil.copyfile(paths["early"], paths["late"])
    shutil.copyfile(paths["early"], paths["fork"])
    execute(paths["late"], 6, 4)
    execute(paths["fork"], 6, 3, "other")
    execute(paths["twin"], 0, 6, "twin")
    return paths


def compare(a: Path, b: Path) -> Kept:
    return comparing.compare_now(database(a, "a"), database(b, "b"), Options(), quietly)


def executions(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """The log of every execution, by plain SQL."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for execution, *row in rows(path, LOG):
        found.setdefault(execution, set()).add(tuple(row))
    return found


def test_an_early_copy_is_a_prefix_of_what_went_on(fresh: Unpacked) -> None:
    early, late = fresh("shop-early"), fresh("shop")
    found = compare(early, late).comparison
    one, other = executions(early), executions(late)
    assert found.relation is Relation.B_EXTENDS_A
    assert one.keys() <= other.keys()
    assert found.b_lead.new_runs == len(other) - len(one)
    assert found.b_lead.went_on == sum(one[each] < other[each] for each in one)
    assert found.counts.verdicts[Verdict.SAME] == sum(one[each] == other[each] for each in one)
    assert (found.counts.only_a, found.counts.only_b) == (0, 0)
    assert found.counts.outside_b == len(other) - len(one)
    assert (found.a_lead.new_runs, found.a_lead.went_on, found.a_lead.time) == (0, 0, None)


def test_swapping_the_sides_mirrors_the_relation(fresh: Unpacked) -> None:
    found = compare(fresh("shop"), fresh("shop-early")).comparison
    assert (found.relation, found.a_lead.new_runs) == (Relation.A_EXTENDS_B, 533)


def test_a_fork_names_its_point_and_what_ended_otherwise(fresh: Unpacked) -> None:
    kept = compare(fresh("shop"), fresh("shop-fork"))
    found = kept.comparison
    one, other = executions(fresh("shop")), executions(fresh("shop-fork"))
    shared = one.keys() & other.keys()
    assert found.relation is Relation.FORKED
    assert found.counts.by["id"] == len(shared) == 724
    assert sum(one[each] != other[each] for each in shared) == 4
    verdicts = found.counts.verdicts
    assert verdicts[Verdict.DIVERGED] == sum(
        not (one[each] <= other[each] or other[each] <= one[each]) for each in shared
    )
    assert verdicts[Verdict.A_AHEAD] + verdicts[Verdict.B_AHEAD] + verdicts[Verdict.DIVERGED] == 4
    differing = kept.pairs(PairFilter(rung="id", verdict="diverged"), 0, 10)
    assert {pair.a_run for pair in differing} <= {each for each in shared if one[each] != other[each]}
    assert found.alike_until is not None
    assert abs(found.alike_until - datetime(2026, 11, 22, 15, 26, 42, tzinfo=UTC)) < timedelta(seconds=1)


def test_a_copy_taken_while_the_server_wrote_is_a_prefix(fresh: Unpacked) -> None:
    found = compare(fresh("shop-live"), fresh("shop")).comparison
    assert (found.relation, found.counts.matched) == (Relation.B_EXTENDS_A, 705)


def test_a_file_compared_with_itself_is_the_same_and_says_so(fresh: Unpacked) -> None:
    found = compare(fresh("shop"), fresh("shop")).comparison
    assert (found.relation, found.evidence[0]) == (Relation.SAME, "Both are one and the same file.")


def test_two_engines_are_compared_by_distributions_only(fresh: Unpacked) -> None:
    found = compare(fresh("shop"), fresh("zoo-3.4.0")).comparison
    assert found.relation is Relation.INDEPENDENT
    assert found.incomparable == found.evidence[0] == "A is a database of Obelisk, B of DBOS."
    assert words.relation(found) == "Only distributions can be compared."
    assert (found.counts.matched, found.counts.only_a, found.counts.only_b) == (0, 0, 0)


@pytest.mark.live
def test_a_copy_that_a_real_engine_ran_on_extends_it(dbos: dict[str, Path]) -> None:
    found = compare(dbos["early"], dbos["late"]).comparison
    ids = {name: {row[0] for row in rows(dbos[name], "SELECT workflow_uuid FROM workflow_status")} for name in dbos}
    assert found.relation is Relation.B_EXTENDS_A
    assert found.b_lead.new_runs == len(ids["late"] - ids["early"])
    assert found.counts.verdicts[Verdict.B_AHEAD] == 1  # the one that waited


@pytest.mark.live
def test_two_copies_that_both_ran_on_are_a_fork_with_what_ended_twice(dbos: dict[str, Path]) -> None:
    found = compare(dbos["late"], dbos["fork"]).comparison
    assert found.relation is Relation.FORKED
    assert found.counts.verdicts[Verdict.DIVERGED] == 1
    ((until,),) = rows(dbos["early"], "SELECT max(created_at) FROM workflow_status")
    assert found.alike_until is not None
    # A run's own instants may be rounded to whole seconds, those of its steps are not.
    assert found.alike_until >= datetime.fromtimestamp(until / 1000, UTC) - timedelta(seconds=1)


@pytest.mark.live
def test_one_byte_of_an_old_payload_is_rewriting(dbos: dict[str, Path], tmp_path: Path) -> None:
    changed = tmp_path / "changed.sqlite"
    shutil.copyfile(dbos["late"], changed)
    ((run_id, number, output),) = rows(
        changed,
        "SELECT workflow_uuid, function_id, output FROM operation_outputs WHERE function_name LIKE '%reserve%' LIMIT 1",
    )
    rows(
        changed,
        "UPDATE operation_outputs SET output = ? WHERE workflow_uuid = ? AND function_id = ?",
        output[:-2] + chr(ord(output[-2]) ^ 1) + output[-1],
        run_id,
        number,
    )
    found = compare(dbos["late"], changed).comparison
    assert found.relation is Relation.REWRITTEN
    (rewrite,) = found.rewritten
    assert (rewrite.run, rewrite.position) == (run_id, str(number))
    assert rewrite.a != rewrite.b
    assert compare(dbos["early"], changed).comparison.relation in (Relation.REWRITTEN, Relation.B_EXTENDS_A)


@pytest.mark.live
def test_a_backup_that_was_restored_is_the_same(dbos: dict[str, Path], tmp_path: Path) -> None:
    restored = tmp_path / "restored.sqlite"
    rows(dbos["late"], f"VACUUM INTO '{restored}'")
    found = compare(dbos["late"], restored).comparison
    assert (found.relation, found.counts.verdicts[Verdict.SAME]) == (Relation.SAME, found.counts.matched)


@pytest.mark.live
def test_a_twin_with_the_same_inputs_is_independent_and_matched_by_them(dbos: dict[str, Path]) -> None:
    found = compare(dbos["early"], dbos["twin"]).comparison
    ((waits,),) = rows(dbos["twin"], "SELECT count(*) FROM workflow_status WHERE workflow_uuid = 'waits'")
    assert found.counts.by["input"] == 6
    assert found.counts.by["ordinal"] == 6
    assert found.counts.by["id"] == waits
    assert found.relation is Relation.INDEPENDENT


@pytest.mark.live
def test_runs_that_a_clean_up_removed_are_said_and_no_fork(dbos: dict[str, Path], tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned.sqlite"
    shutil.copyfile(dbos["late"], cleaned)
    old = "(SELECT workflow_uuid FROM workflow_status WHERE status IN ('SUCCESS', 'ERROR') ORDER BY created_at LIMIT 4)"
    for table in ("operation_outputs", "workflow_input", "workflow_output", "workflow_status"):
        rows(cleaned, f"DELETE FROM {table} WHERE workflow_uuid IN {old}")
    found: Comparison = compare(dbos["early"], cleaned).comparison
    assert found.relation is Relation.B_EXTENDS_A
    assert any("clean-up" in sentence for sentence in found.evidence)


def mark(position: str, second: int | None, text: str = "") -> Mark:
    at = None if second is None else NOON + timedelta(seconds=second)
    return Mark(position, at, position, digest(f"{position} {second} {text}"))


BEGUN = (mark("created", 0), mark("1", 1))


@pytest.mark.parametrize(
    ("a", "b", "verdict", "position"),
    [
        ((), (), Verdict.SAME, ""),
        ((mark("2", 2),), (mark("2", 2),), Verdict.SAME, ""),
        ((mark("2", 2),), (), Verdict.A_AHEAD, "2"),
        ((), (mark("2", 2),), Verdict.B_AHEAD, "2"),
        ((mark("2", 2),), (mark("3", 3),), Verdict.DIVERGED, "2"),
        ((mark("2", 2),), (mark("2", 3),), Verdict.DIVERGED, "2"),
        ((mark("2", 2, "x"),), (mark("2", 2, "y"),), Verdict.REWRITTEN, "2"),
        ((mark("2", 2), mark("3", 9)), (mark("2", 4), mark("3", 9)), Verdict.REWRITTEN, "2"),
        ((mark("2", 2), mark("3", 3)), (mark("2", 4), mark("3", 3)), Verdict.DIVERGED, "2"),
        ((mark("2", None, "x"), mark("end", 9)), (mark("2", None, "y"), mark("end", 9)), Verdict.REWRITTEN, "2"),
        ((mark("2", None, "x"), mark("3", None)), (mark("2", None, "y"), mark("3", None)), Verdict.DIVERGED, "2"),
    ],
)
def test_two_recordings_of_one_run_compare_event_by_event(
    a: Sequence[Mark], b: Sequence[Mark], verdict: Verdict, position: str
) -> None:
    found = parting((*BEGUN, *a), (*BEGUN, *b))
    assert (found.verdict, found.position, found.shared >= 2) == (verdict, position, True)


def test_what_only_looks_the_same_is_no_event_of_both() -> None:
    one, other = Mark("1", NOON, "step", digest("x")), Mark("1", NOON + timedelta(seconds=1), "step", digest("x"))
    assert parting((one,), (other,)).verdict is Verdict.DIVERGED


def test_a_run_that_an_engine_only_ended_is_ahead() -> None:
    a = reading(run("r", status=Status.RUNNING, finished_at=None, duration=None), run("s"))
    b = reading(run("r"), run("s"))
    found = relate(a, b, lambda _: {}, lambda _: {}, quietly)
    assert (found.relation, found.partings["r"].verdict) == (Relation.B_EXTENDS_A, Verdict.B_AHEAD)


def test_an_empty_side_is_independent_and_says_which() -> None:
    found = relate(reading(), reading(run("r")), lambda _: {}, lambda _: {}, quietly)
    assert (found.relation, found.evidence) == (Relation.INDEPENDENT, ("A holds no run.",))

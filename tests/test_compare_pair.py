"""Two real runs: every step once, the first difference, and why. What a run did differently is known from who made it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runs.catalogue import Database, only
from runs.compare.asking import options, tolerance_of
from runs.compare.pair import RunComparison, compare_runs
from runs.compare.pair_shapes import run_comparison_object
from runs.compare.records import Cause, Options
from runs.compare.verdicts import RowVerdict
from runs.errors import RunNotFound

GENEROUS = Options(tolerance=tolerance_of("1000%,60s"))  # a busy machine is no difference
REFUND = "E_01M81XSX41YVM28F5AWRW2T345"  # approved in shop, refused in shop-fork
RESUMED = "E_01M81XSVQQCZWMG3HH695XPB3Z"  # paused in shop, resumed in shop-fork
CANCELLED = "E_01M81XSVH7Z3WVFYPSQEH9V26Z"  # retrying in shop, cancelled in shop-fork

Compare = Callable[..., RunComparison]


@pytest.fixture(scope="module")
def database(pairs: Path) -> Database:
    return only(str(pairs))


@pytest.fixture(scope="module")
def compare(database: Database) -> Compare:
    return lambda a, b, how=GENEROUS: compare_runs(database, a, database, b, how)


@pytest.fixture(scope="module")
def shops(unpacked: Callable[[str], Path]) -> Callable[..., RunComparison]:
    sides = [only(str(unpacked(name))) for name in ("shop", "shop-fork")]
    return lambda run, other="", how=GENEROUS: compare_runs(sides[0], run, sides[1], other or run, how)


def said(found: RunComparison) -> list[str]:
    return [f"{row.verdict.sign} {row.step.name}: {row.words}" for row in found.rows]


def words(found: RunComparison) -> str:
    assert found.first is not None
    return " ".join(found.first.evidence)


def test_runs_that_went_alike_differ_in_nothing(compare: Compare) -> None:
    found = compare("plain", "same")
    assert found.first is None
    assert {row.verdict for row in found.rows} == {RowVerdict.SAME}
    assert found.differing == 0
    assert found.ends.changed == ()


def test_a_run_with_itself_is_the_same_in_every_row(compare: Compare) -> None:
    for run in ("plain", "lighter", "halted", "parent"):
        found = compare(run, run)
        assert found.first is None, run
        assert {row.verdict for row in found.rows} == {RowVerdict.SAME}


def test_another_input_is_the_cause_whatever_comes_after_it(compare: Compare) -> None:
    found = compare("plain", "other")
    assert found.first is not None
    assert (found.first.cause, found.first.position, found.first.ordinal) == (Cause.INPUT, "input", None)
    assert words(found) == '$.args[0].order_id is "ord-1" in A and "ord-2" in B.'


def test_another_result_is_told_by_its_path_and_what_came_of_it_is_counted(compare: Compare) -> None:
    found = compare("plain", "lighter")
    assert found.first is not None
    assert (found.first.cause, found.first.ordinal) == (Cause.RESULT, 2)
    assert words(found).startswith("$.weight_g is 4200 in A and 0 in B.")
    assert said(found) == [
        "= reserve: same",
        "~ weigh: result",
        "~ charge: error",
        "− send: only A",
        "− thank: only A",
    ]
    assert found.after == {RowVerdict.CHANGED: 1, RowVerdict.ONLY_A: 2}


def test_swapping_the_sides_mirrors_rows_and_cause(compare: Compare) -> None:
    one, two = compare("plain", "lighter"), compare("lighter", "plain")
    assert [sign.replace("−", "+").replace("only A", "only B") for sign in said(one)] == said(two)
    assert one.first is not None
    assert two.first is not None
    assert (one.first.cause, one.first.ordinal) == (two.first.cause, two.first.ordinal)
    assert words(two).startswith("$.weight_g is 0 in A and 4200 in B.")


def test_a_value_written_in_another_way_is_the_same(compare: Compare, pairs: Path) -> None:
    with closing(sqlite3.connect(pairs)) as connection:
        stored = connection.execute(
            "SELECT DISTINCT output FROM operation_outputs WHERE function_id = 2 AND workflow_uuid IN ('plain', 'spelled')"
        ).fetchall()
    assert len(stored) == 2
    assert compare("plain", "spelled").first is None


def test_a_path_that_is_ignored_does_not_count(compare: Compare) -> None:
    found = compare("plain", "other", options(ignore=["$..order_id"], tolerance="1000%,60s"))
    assert found.first is None


def test_another_version_of_the_code_is_the_cause_where_it_went_on_otherwise(compare: Compare) -> None:
    found = compare("plain", "newer")
    assert found.first is not None
    assert (found.first.cause, found.first.ordinal) == (Cause.CODE, 3)
    assert said(found)[2] == "+ audit: only B"
    assert "v1 in A and v2 in B" in words(found)


def test_code_that_goes_on_otherwise_after_the_same_results_is_not_deterministic(compare: Compare) -> None:
    found = compare("plain", "dice")
    assert found.first is not None
    assert (found.first.cause, found.first.ordinal) == (Cause.NONDETERMINISM, 3)
    assert "Input, code (v1) and all 2 results before it are the same" in words(found)


def test_only_timing_is_said_where_nothing_else_differs_and_not_within_the_tolerance(compare: Compare) -> None:
    found = compare("plain", "slow", Options(tolerance=tolerance_of("20%,200ms")))
    assert found.first is not None
    assert found.first.cause is Cause.TIMING
    assert [row.step.name for row in found.rows if row.verdict is RowVerdict.TIMING] == ["charge"]
    assert compare("plain", "slow").first is None


def test_a_run_that_was_cancelled_has_not_gone_astray(compare: Compare) -> None:
    found = compare("plain", "halted")
    assert found.first is not None
    assert found.first.cause is Cause.PROGRESS
    assert "B was cancelled; A went on" in words(found)


def test_a_child_s_failure_shows_in_the_row_that_started_it(compare: Compare) -> None:
    found = compare("parent", "parent-2")
    (row,) = found.rows
    assert row.changed == ("error",)
    assert (row.a and row.a.child, row.b and row.b.child) == ("parent-child", "parent-2-child")
    assert compare("parent-child", "parent-2-child").first is not None


def test_long_runs_are_aligned_exactly_up_to_a_bound_and_coarsely_beyond_it(compare: Compare) -> None:
    changed = compare("long-tea", "long-changed")
    assert not changed.coarse
    assert [row.verdict for row in changed.rows].count(RowVerdict.ONLY_A) == 2
    assert compare("long-tea", "long-cups").first is None
    unrelated = compare("long-tea", "long-unrelated")
    assert len(unrelated.rows) == 3000
    assert {row.verdict for row in unrelated.rows} == {RowVerdict.ONLY_A, RowVerdict.ONLY_B}


def test_a_refund_approved_here_and_refused_there_parts_at_the_approval(shops: Compare) -> None:
    found = shops(REFUND)
    assert found.first is not None
    assert (found.first.cause, found.first.ordinal) == (Cause.RESULT, 3)
    assert "It succeeded in A and failed (error: duplicate request) in B." in words(found)
    assert [row.verdict for row in found.rows] == [RowVerdict.CHANGED, RowVerdict.ONLY_A, RowVerdict.ONLY_A]


def test_a_run_that_was_resumed_in_one_copy_only_went_on_there(shops: Compare) -> None:
    found = shops(RESUMED)
    assert found.first is not None
    assert found.first.cause is Cause.PROGRESS
    assert "A is paused; B went on, 2 steps further" in words(found)
    cancelled = shops(CANCELLED)
    assert cancelled.first is not None
    assert (cancelled.first.cause, cancelled.first.position) == (Cause.PROGRESS, "end")


def test_a_changed_byte_of_the_recorded_past_is_called_rewritten(pairs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(pairs.read_bytes())
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(
            "UPDATE operation_outputs SET output = (SELECT output FROM operation_outputs WHERE workflow_uuid = 'lighter'"
            " AND function_id = 2) WHERE workflow_uuid = 'plain' AND function_id = 2"
        )
    a, b = only(f"a={pairs}"), only(f"b={copy}")
    found = compare_runs(a, "plain", b, "plain", GENEROUS)
    assert found.first is not None
    assert found.first.cause is Cause.REWRITTEN
    assert compare_runs(a, "same", b, "same", GENEROUS).first is None


def test_payloads_that_cannot_be_decoded_are_compared_by_their_bytes_and_it_says_so(
    pairs: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(pairs.read_bytes())
    with closing(sqlite3.connect(copy)) as connection, connection:
        for run, junk in (("plain", "gASV/w=="), ("same", "gASV/g==")):
            connection.execute(
                "UPDATE operation_outputs SET output = ? WHERE workflow_uuid = ? AND function_id = 2", (junk, run)
            )
    database = only(f"copy={copy}")
    found = compare_runs(database, "plain", database, "same", GENEROUS)
    assert found.rows[1].changed == ("result",)
    assert "compared by its bytes" in found.rows[1].notes[0]
    assert found.first is not None
    assert found.first.cause is Cause.RESULT


def test_runs_of_two_engines_are_compared_by_the_names_of_their_steps_and_it_says_so(
    database: Database, unpacked: Callable[[str], Path]
) -> None:
    found = compare_runs(database, "plain", only(str(unpacked("shop"))), REFUND, GENEROUS)
    assert found.first is not None
    assert found.first.cause is None
    assert "two engines" in found.notes[0]
    assert len(found.rows) == 8


def test_a_run_that_is_not_there_is_said_to_be_missing(compare: Compare) -> None:
    with pytest.raises(RunNotFound):
        compare("plain", "nobody")


def test_as_json_it_has_every_step_once_with_the_first_divergence(compare: Compare) -> None:
    found = run_comparison_object(compare("plain", "lighter"))
    assert found["first_divergence"]["ordinal"] == 2
    assert found["first_divergence"]["cause"] == "different_result"
    assert [row["a"]["ordinal"] for row in found["rows"]] == [1, 2, 3, 4, 5]
    assert [row["b"] and row["b"]["ordinal"] for row in found["rows"]] == [1, 2, 3, None, None]

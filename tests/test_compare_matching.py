"""Which run is which: the ladder, rung by rung, and every run in exactly one place whatever is asked."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from comparisons import database, digest, quietly, reading, run
from hypothesis import given
from hypothesis import strategies as some

from runs import comparing
from runs.compare.matching import InputsOf, Matched, match, verdict
from runs.compare.reading import Reading
from runs.compare.records import Options, Presence, Rung, Tolerance, Verdict
from runs.digests import RunDigest
from runs.records import Body, Payload

Unpacked = Callable[[str], Path]


def inputs(values: Mapping[str, object]) -> InputsOf:
    def read(ids: Sequence[str]) -> Iterator[tuple[str, Body]]:
        for run_id in ids:
            if run_id in values:
                data = json.dumps(values[run_id]).encode()
                yield run_id, Body(Payload(run_id, "run.input", "json", len(data)), data)

    return read


def matched(
    a: Reading,
    b: Reading,
    a_inputs: Mapping[str, object] | None = None,
    b_inputs: Mapping[str, object] | None = None,
    **options: str,
) -> Matched:
    return match(a, b, Options(**options), inputs(a_inputs or {}), inputs(b_inputs or {}), quietly)  # type: ignore[arg-type]


def told(found: Matched) -> set[tuple[str, str, str]]:
    return {(pair.rung.value, pair.a.id, pair.b.id) for pair in found.pairs}


def test_the_surest_rung_comes_first() -> None:
    a = reading(run("x", dedup="d"), run("a1", dedup="e", input=digest("1")), run("a2", input=digest("2")))
    b = reading(run("x", dedup="d"), run("b1", dedup="e", input=digest("3")), run("b2", input=digest("2")))
    assert told(matched(a, b)) == {("id", "x", "x"), ("dedup", "a1", "b1"), ("input", "a2", "b2")}


def test_children_follow_their_parents_by_their_place_in_them() -> None:
    a = reading(run("p"), run("pa1", parent="p", ordinal="1"), run("pa2", parent="p", ordinal="2"))
    b = reading(run("q"), run("qb2", parent="q", ordinal="2"), run("qb1", parent="q", ordinal="1"))
    assert told(matched(a, b)) == {("input", "p", "q"), ("ordinal", "pa1", "qb1"), ("ordinal", "pa2", "qb2")}


def test_a_child_that_moved_is_looked_for_among_the_children_of_the_same_parent() -> None:
    a = reading(run("p"), run("pa", parent="p", ordinal="1", input=digest("c")))
    b = reading(run("q"), run("qb", parent="q", ordinal="4", input=digest("c")))
    assert ("input", "pa", "qb") in told(matched(a, b))


def test_several_alike_are_paired_in_time_and_what_remains_is_ambiguous() -> None:
    a = reading(*(run(f"a{n}", n) for n in (3, 1, 2)))
    b = reading(*(run(f"b{n}", n) for n in (2, 1)))
    found = matched(a, b)
    assert told(found) == {("input", "a1", "b1"), ("input", "a2", "b2")}
    assert [(pair.nth, pair.alike) for pair in found.pairs] == [(2, 3), (1, 3)]
    assert [(side, presence, each.id) for side, presence, each in found.lone] == [("a", Presence.AMBIGUOUS, "a3")]
    assert any("ambiguous" in note for note in found.notes)


def test_inputs_are_compared_by_what_they_say() -> None:
    a, b = reading(run("a", input=digest("as written here"))), reading(run("b", input=digest("as written there")))
    assert told(matched(a, b, {"a": {"x": 1, "y": 2}}, {"b": {"y": 2.0, "x": 1}})) == {("input", "a", "b")}
    assert told(matched(a, b, {"a": {"x": 1}}, {"b": {"x": 2}})) == set()


def test_a_path_leads_to_the_key() -> None:
    a = reading(run("a1", input=b"1"), run("a2", input=b"2"))
    b = reading(run("b1", input=b"3"), run("b2", input=b"4"))
    of_a, of_b = {"a1": {"id": 7, "at": 1}, "a2": {"id": 8, "at": 1}}, {"b1": {"id": 8, "at": 2}, "b2": {"id": 7}}
    found = matched(a, b, of_a, of_b, match="path", path="$.id")
    assert told(found) == {("path", "a1", "b2"), ("path", "a2", "b1")}
    assert {pair.key for pair in found.pairs} == {"7", "8"}


def test_a_path_that_leads_nowhere_says_so() -> None:
    found = matched(reading(run("a")), reading(run("b")), {"a": {}}, {"b": {}}, match="path", path="$.order")
    assert told(found) == set()
    assert [note for note in found.notes if note.startswith("$.order leads nowhere")]


def test_a_forced_rung_uses_no_other_for_runs_at_the_top() -> None:
    a, b = reading(run("x", dedup="d", input=b"1")), reading(run("x", dedup="e", input=b"2"), run("y", input=b"1"))
    assert told(matched(a, b, match="id")) == {("id", "x", "x")}
    assert told(matched(a, b, match="dedup")) == set()
    assert told(matched(a, b, match="input")) == {("input", "x", "y")}


def test_only_what_began_while_both_recorded_is_missing() -> None:
    a = reading(run("x", 100), run("early", 50), run("gone", 101), run("y", 200))
    b = reading(run("x", 100), run("y", 200), run("late", 300), run("tick", 150, scheduled=True, workflow="cron"))
    found = {(side, each.id): presence for side, presence, each in matched(a, b, match="id").lone}
    assert found == {
        ("a", "early"): Presence.OUTSIDE,
        ("a", "gone"): Presence.ONLY,
        ("b", "late"): Presence.OUTSIDE,
        ("b", "tick"): Presence.SCHEDULED,
    }


@pytest.mark.parametrize(
    ("took", "content", "expected"),
    [(1_000_000, "x", Verdict.SAME), (1_300_000, "x", Verdict.TIMING), (1_000_000, "y", Verdict.DIFFERS)],
)
def test_pairs_matched_otherwise_differ_by_what_they_did_or_by_their_time(
    took: int, content: str, expected: Verdict
) -> None:
    one, other = run("a", content=digest("x"), duration=1_000_000), run("b", content=digest(content), duration=took)
    assert verdict(one, other, Tolerance()) is verdict(other, one, Tolerance()) is expected
    assert verdict(one, other, Tolerance(0.5, timedelta())) is not Verdict.TIMING


runs = some.builds(
    run,
    some.text("abcdefgh", min_size=1, max_size=2),
    some.integers(0, 20),
    workflow=some.sampled_from(("order", "deliver")),
    input=some.sampled_from((b"", b"1", b"2")),
    dedup=some.sampled_from(("", "", "d")),
    parent=some.one_of(some.none(), some.text("abcdefgh", min_size=1, max_size=1)),
    ordinal=some.sampled_from(("", "1", "2")),
    scheduled=some.booleans(),
)
sides = some.lists(runs, max_size=12, unique_by=lambda each: each.id)
STORED = {b"1": {"n": 1}, b"2": {"n": 1.0}}


@given(sides, sides, some.sampled_from(("auto", *Rung)))
def test_every_run_is_in_exactly_one_place_and_swapping_the_sides_mirrors(
    ones: list[RunDigest], others: list[RunDigest], rung: str
) -> None:
    a, b = reading(*ones), reading(*others)
    of_a, of_b = ({each.id: STORED[each.input] for each in side if each.input} for side in (ones, others))
    found = matched(a, b, of_a, of_b, match=rung, path="$.n")
    places = Counter(("a", pair.a.id) for pair in found.pairs)
    places.update(("b", pair.b.id) for pair in found.pairs)
    places.update((side, each.id) for side, _, each in found.lone)
    assert places == Counter([*(("a", each) for each in a.runs), *(("b", each) for each in b.runs)])
    mirrored = matched(b, a, of_b, of_a, match=rung, path="$.n")
    assert {(pair.rung, pair.a.id, pair.b.id, pair.nth, pair.alike) for pair in found.pairs} == {
        (pair.rung, pair.b.id, pair.a.id, pair.nth, pair.alike) for pair in mirrored.pairs
    }
    other = {"a": "b", "b": "a"}
    assert {(side, presence, each.id) for side, presence, each in found.lone} == {
        (other[side], presence, each.id) for side, presence, each in mirrored.lone
    }


def test_a_staging_twin_is_matched_by_input_and_its_children_by_their_place(
    fresh: Unpacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "state"))
    staging = database(fresh("shop-staging"))
    found = comparing.compare_now(database(fresh("shop")), staging, Options(), quietly).comparison
    assert (found.counts.by[Rung.ID], found.counts.by[Rung.INPUT]) == (0, 200)  # all runs at the top of the twin
    assert found.counts.by[Rung.ORDINAL] == found.counts.matched - 200

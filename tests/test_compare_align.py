"""Aligning two runs: every step once, itself with itself, and the same from either side."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.compare.align import Match, Unit, align, common

names = st.sampled_from(["reserve", "charge", "ship", "thank", "log"])
lists = st.lists(names, max_size=14)
units = st.lists(st.builds(Unit, st.sampled_from(["", "", "g:1", "g:2"]), names), max_size=14)


def longest(a: list[str], b: list[str]) -> int:
    """How long the longest common order is, by the textbook table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def main_line(*steps: str) -> list[Unit]:
    return [Unit("", step) for step in steps]


def said(a: list[Unit], b: list[Unit]) -> list[str]:
    """``=reserve``, ``-charge``, ``+ship``, ``⇅thank``."""
    found = []
    for match in align(a, b).matches:
        if match.a is not None and match.b is not None:
            found.append(f"{'⇅' if match.moved else '='}{a[match.a].name}")
        elif match.a is not None:
            found.append(f"-{a[match.a].name}")
        elif match.b is not None:
            found.append(f"+{b[match.b].name}")
    return found


@given(units, units)
def test_every_step_of_both_appears_exactly_once(a: list[Unit], b: list[Unit]) -> None:
    matches = align(a, b).matches
    assert sorted(match.a for match in matches if match.a is not None) == list(range(len(a)))
    assert sorted(match.b for match in matches if match.b is not None) == list(range(len(b)))
    assert all(a[match.a].name == b[match.b].name for match in matches if match.a is not None and match.b is not None)


@given(units)
def test_a_run_aligned_with_itself_is_the_same_all_along(a: list[Unit]) -> None:
    found = align(a, a)
    assert not found.coarse
    assert found.matches == tuple(Match(i, i) for i in range(len(a)))


@given(units, units)
def test_swapping_the_sides_mirrors(a: list[Unit], b: list[Unit]) -> None:
    one = Counter((match.a, match.b, match.moved) for match in align(a, b).matches)
    two = Counter((match.b, match.a, match.moved) for match in align(b, a).matches)
    assert one == two


@given(lists, lists)
def test_what_both_have_in_one_order_is_as_long_as_it_can_be(a: list[str], b: list[str]) -> None:
    found, coarse = common(a, b)
    assert not coarse
    assert len(found) == longest(a, b)
    assert all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(found))


@given(lists, lists)
def test_beyond_its_bound_it_is_coarse_but_still_in_one_order_from_either_side(a: list[str], b: list[str]) -> None:
    found, coarse = common(a, b, 1)
    assert all(a[i] == b[j] for i, j in found)
    assert all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(found))
    assert common(b, a, 1) == ([(j, i) for i, j in found], coarse)


def test_two_long_runs_with_too_many_differences_are_aligned_coarsely_and_say_so() -> None:
    a = main_line(*(f"step_{number}" for number in range(3000)))
    b = main_line(*(f"step_{number * 1499 % 3000}" for number in range(3000)))  # all of them, in another order
    found = align(a, b)
    assert found.coarse
    assert len(found.matches) == 3000
    assert sum(match.moved for match in found.matches) > 1000


def test_what_only_one_has_is_found_and_what_comes_in_another_order_has_moved() -> None:
    a = main_line("reserve", "charge", "ship", "thank")
    assert said(a, main_line("reserve", "ship", "thank")) == ["=reserve", "-charge", "=ship", "=thank"]
    assert said(a, main_line("reserve", "charge", "log", "ship", "thank")) == [
        *("=reserve", "=charge", "+log", "=ship", "=thank"),
    ]  # fmt: skip
    assert "⇅" in "".join(said(a, main_line("reserve", "ship", "charge", "thank")))
    assert len(said(a, main_line("reserve", "ship", "charge", "thank"))) == 4


def test_how_branches_interleave_is_no_difference() -> None:
    a = [Unit("g:1", "quote"), Unit("g:2", "reserve"), Unit("g:1", "quote"), Unit("g:2", "weigh"), Unit("", "ship")]
    b = [Unit("g:2", "reserve"), Unit("g:2", "weigh"), Unit("g:1", "quote"), Unit("g:1", "quote"), Unit("", "ship")]
    assert sorted(said(a, b)) == ["=quote", "=quote", "=reserve", "=ship", "=weigh"]


def test_a_branch_of_a_single_step_is_part_of_the_main_line() -> None:
    a = [Unit("o:1", "reserve"), Unit("o:2", "charge"), Unit("o:3", "ship")]
    b = [Unit("o:1", "reserve"), Unit("o:2", "ship")]
    assert said(a, b) == ["=reserve", "-charge", "=ship"]


def test_steps_of_a_branch_that_is_called_otherwise_have_not_moved() -> None:
    a = [Unit("g:1", "quote"), Unit("g:1", "weigh")]
    b = [Unit("g:1", "reserve"), Unit("g:1", "reserve"), Unit("g:2", "quote"), Unit("g:2", "weigh")]
    assert sorted(said(a, b)) == ["+reserve", "+reserve", "=quote", "=weigh"]


@pytest.mark.parametrize("count", [0, 1])
def test_empty_and_single_runs_are_aligned_too(count: int) -> None:
    assert said(main_line(*["ship"] * count), []) == ["-ship"] * count

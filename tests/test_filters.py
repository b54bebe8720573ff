"""Filters: what a query string asks for, and what it is told where it can't be understood."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import BadFilter
from runs.filters import MAX_TEXT, NAMES, Filter
from runs.records import Status

TEXT = st.text(max_size=40)  # without half characters, which no query string carries
INSTANTS = st.none() | st.datetimes(timezones=st.just(UTC))
FILTERS = st.builds(
    Filter,
    statuses=st.frozensets(st.sampled_from(Status)),
    workflow=TEXT,
    q=TEXT.map(str.strip),
    since=INSTANTS,
    until=INSTANTS,
    active_at=INSTANTS,
    version=TEXT,
    queue=TEXT,
    root=st.sampled_from([None, True, False]),
    recovered=st.sampled_from([None, True, False]),
)


@given(FILTERS)
def test_a_filter_comes_back_from_its_query_string(wanted: Filter) -> None:
    assert Filter.from_query(parse_qs(wanted.to_query())) == wanted


@given(st.dictionaries(st.sampled_from([*NAMES, "limit", "after"]), st.lists(st.text(max_size=30), max_size=3)))
def test_any_query_is_a_filter_or_refused_by_name(query: dict[str, list[str]]) -> None:
    try:
        found = Filter.from_query(query)
    except BadFilter as caught:
        refused = caught.detail
    else:
        assert Filter.from_query(parse_qs(found.to_query())) == found
        return
    assert any(refused.startswith(f"{name}=") for name in query)


def test_an_empty_query_asks_for_everything() -> None:
    assert Filter.from_query({}) == Filter()
    assert Filter.from_query({"status": [""], "q": ["  "], "since": [""], "root": [""]}) == Filter()
    assert Filter().to_query() == ""


def test_statuses_repeat_and_are_written_in_a_fixed_order() -> None:
    found = Filter.from_query({"status": ["succeeded", "failed", "failed"]})
    assert found.statuses == {Status.FAILED, Status.SUCCEEDED}
    assert found.to_query() == "status=failed&status=succeeded"


def test_the_last_of_repeated_values_counts() -> None:
    assert Filter.from_query({"workflow": ["a", "b"]}).workflow == "b"


def test_a_plus_sign_that_arrived_as_a_space_is_understood() -> None:
    (since,) = parse_qs("since=2026-11-22T03:10:00+01:00")["since"]
    assert " " in since
    assert Filter.from_query({"since": [since]}).since == datetime(2026, 11, 22, 2, 10, tzinfo=UTC)


def test_an_instant_without_a_zone_is_utc() -> None:
    assert Filter.from_query({"active_at": ["2026-11-22T03:10"]}).active_at == datetime(2026, 11, 22, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("status", "broken", "status='broken' is not one of failed, retrying, running"),
        ("status", "FAILED", "is not one of"),
        ("since", "yesterday", "since='yesterday' is not an instant like"),
        ("until", "2026-13-01T00:00:00Z", "until="),
        ("active_at", "0", "active_at='0'"),
        ("root", "1", "root='1' is neither true nor false"),
        ("q", "x" * (MAX_TEXT + 1), "q is 2,001 characters long"),
    ],
)
def test_what_can_not_be_understood_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(BadFilter) as caught:
        Filter.from_query({name: [value]})
    assert words in caught.value.detail


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(BadFilter) as caught:
        Filter.from_query({"status": ["x" * 5000]})
    assert len(caught.value.detail) < 300


def test_instants_keep_their_microseconds() -> None:
    instant = datetime(2026, 11, 22, 3, 10, tzinfo=UTC) + timedelta(microseconds=1)
    assert Filter(since=instant).to_query() == "since=2026-11-22T03%3A10%3A00.000001Z"

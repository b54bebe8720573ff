"""Numbers, times and ids as a person reads them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0000042, "4.00 µs"),
        (0.0124, "12.4 ms"),
        (0.31, "310 ms"),
        (0.9996, "1.00 s"),
        (4.02, "4.02 s"),
        (46.6, "46.6 s"),
        (59.96, "1 m"),
        (103, "1 m 43 s"),
        (43_303.2, "12 h 1 m"),
        (90_000, "1 d 1 h"),
        (-0.012, "−12.0 ms"),
    ],
)
def test_a_duration_has_three_figures_or_its_largest_units(seconds: float, words: str) -> None:
    assert wording.duration(timedelta(seconds=seconds)) == words


def test_no_duration_is_a_dash() -> None:
    assert wording.duration(None) == "–"


def test_the_title_of_a_duration_is_exact() -> None:
    assert wording.milliseconds(timedelta(seconds=43303, microseconds=200_250)) == "43,303,200.25 ms"


@given(st.integers(min_value=-(10**17), max_value=10**17))
def test_no_duration_reads_as_zero_unless_it_is(micros: int) -> None:
    assert (wording.duration(timedelta(microseconds=micros)) == "0 s") == (micros == 0)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (4_194_304, "4.19 MB"), (999_600, "1.00 MB"), (None, "–")],
)
def test_a_size_is_decimal(count: int | None, words: str) -> None:
    assert wording.size(count) == words


def test_a_long_id_is_cut_in_the_middle_and_a_short_one_is_whole() -> None:
    assert wording.short_id("wf-7f3c2a91-5b0e-4d2c-9a41-c01f5e8e77d2") == "wf-7f3c2a91…8e77d2"
    assert wording.short_id("wf-happy") == "wf-happy"


def test_what_cannot_be_seen_or_reorders_the_line_is_made_visible() -> None:
    assert wording.visible("a\nb\u202ec\x00\ud800🎉 ключ") == "a\\x0ab\\u202ec\\x00\\ud800🎉 ключ"


@given(st.text())
def test_a_visible_text_is_one_printable_line(text: str) -> None:
    assert wording.visible(text).isprintable() or wording.visible(text) == ""


def test_the_day_is_said_only_where_it_differs() -> None:
    moment = datetime(2026, 11, 22, 13, 7, 29, tzinfo=UTC)
    assert wording.clock_time(moment, UTC, beside=moment + timedelta(hours=1)) == "13:07:29"
    assert wording.clock_time(moment, UTC, beside=moment + timedelta(days=1)) == "22 Nov 13:07:29"
    assert wording.clock_time(moment, UTC, beside=moment + timedelta(days=200)) == "22 Nov 2026 13:07:29"
    assert wording.clock_time(moment, ZoneInfo("Asia/Tokyo"), beside=moment) == "22:07:29"


def test_ago_names_the_largest_unit_and_knows_the_future() -> None:
    present = datetime(2026, 11, 22, tzinfo=UTC)
    assert wording.ago(present - timedelta(hours=4, minutes=50), present) == "4 h ago"
    assert wording.ago(present + timedelta(minutes=3), present) == "in 3 m"
    assert wording.ago(present, present) == "now"


def test_a_small_share_is_not_nothing() -> None:
    assert wording.percent(1, 1000) == "<1 %"
    assert wording.percent(0, 1000) == "0 %"
    assert wording.percent(1, 0) == "–"

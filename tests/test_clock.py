"""Time: every form that an engine writes is read, and what we write is RFC 3339."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import clock
from runs.clock import EPOCH, FIRST, LAST, from_epoch_ms, now, parse_instant, rfc3339, to_epoch_ms

MOMENT = datetime(2026, 11, 22, 15, 29, 13, tzinfo=UTC)
AWARE = st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22 15:29:13+00:00", MOMENT),
        ("2026-11-22T15:29:13Z", MOMENT),
        ("2026-11-22 15:29:13", MOMENT),
        ("2026-11-22T15:29:13+00", MOMENT),
        ("2026-11-22T15:29:13+0000", MOMENT),
        ("2026-11-22 15:29:13 +00:00", MOMENT),
        ("2026-11-22T16:29:13+01:00", MOMENT),
        ("2026-11-22T09:59:13-05:30", MOMENT),
        ("  2026-11-22T15:29:13Z\n", MOMENT),
        ("2026-11-22T15:29", MOMENT.replace(second=0)),
        ("2026-11-22 15:29:13.9+00:00", MOMENT.replace(microsecond=900000)),
        ("2026-11-22 15:29:13.999999999+00:00", MOMENT.replace(microsecond=999999)),
        ("2026-11-22T15:29:13.000000001Z", MOMENT),
    ],
)
def test_every_form_of_an_instant_is_read(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@given(
    AWARE,
    st.sampled_from(["T", " "]),
    st.integers(0, 9),
    st.sampled_from(["", "Z", "+00", "+00:00", "+0000", "-00:00"]),
)
def test_any_separator_any_zone_any_number_of_digits(moment: datetime, separator: str, digits: int, zone: str) -> None:
    fraction = f"{moment.microsecond:06d}000"[:digits]
    text = f"{moment:%m-%d}{separator}{moment:%H:%M:%S}{'.' + fraction if digits else ''}{zone}"
    kept = int(fraction[:6].ljust(6, "0")) if digits else 0
    assert parse_instant(f"{moment.year:04d}-{text}") == moment.replace(microsecond=kept)


@given(AWARE, st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))))
def test_zones_are_reckoned_with(moment: datetime, zone: timezone) -> None:
    assert parse_instant(moment.astimezone(zone).isoformat()) == moment


@given(AWARE)
def test_an_instant_comes_back_from_rfc_3339(moment: datetime) -> None:
    text = rfc3339(moment)
    assert text is not None
    assert parse_instant(text) == moment
    assert datetime.fromisoformat(text) == moment
    assert not text.rstrip("Z").endswith("0") or "." not in text


@given(AWARE)
def test_milliseconds_are_cut_and_never_rounded_up(moment: datetime) -> None:
    found = from_epoch_ms(to_epoch_ms(moment))
    assert found is not None
    assert timedelta(0) <= moment - found < timedelta(milliseconds=1)


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_nothing(text: str) -> None:
    found = parse_instant(text)
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T25:00:00Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-01:00", "2026-11-22T15:29:13.Z",
     "1799-12-31T23:59:59.999999Z", "3500-01-01T00:00:00.000001Z", "3499-12-31T23:30:00-01:00",
     "300000-01-01T00:00:00Z",
     "2026-11-22T15:29:13.1234567890Z", "２026-11-22T15:29:13Z", "2026-11-22T15:29:60Z", "1763825353", "now", None],
)  # fmt: skip
def test_what_is_no_instant_is_none(text: str | None) -> None:
    assert parse_instant(text) is None


def test_milliseconds_since_1970_may_lie_before_it_and_have_fractions() -> None:
    assert from_epoch_ms(0) == EPOCH
    assert from_epoch_ms(-1) == EPOCH - timedelta(milliseconds=1)
    assert from_epoch_ms(1763825353866.5) == datetime(2025, 11, 22, 15, 29, 13, 866500, tzinfo=UTC)
    assert to_epoch_ms(EPOCH - timedelta(microseconds=1)) == -1


BEYOND = (to_epoch_ms(FIRST) - 1, to_epoch_ms(LAST) + 1, 9_404_000_000_000_000)


@pytest.mark.parametrize(
    "value", [None, "12", True, b"1", 2**63, -(2**63), float("inf"), float("nan"), 1e300, [1], *BEYOND]
)
def test_what_is_no_number_of_milliseconds_is_none(value: object) -> None:
    assert from_epoch_ms(value) is None


def test_no_instant_is_written_as_none_and_whole_seconds_without_a_fraction() -> None:
    assert rfc3339(None) is None
    assert rfc3339(MOMENT) == "2026-11-22T15:29:13Z"
    assert rfc3339(MOMENT.replace(microsecond=866000)) == "2026-11-22T15:29:13.866Z"
    assert rfc3339(MOMENT.astimezone(timezone(timedelta(hours=5)))) == "2026-11-22T15:29:13Z"
    assert rfc3339(datetime(1, 2, 3, tzinfo=UTC)) == "0001-02-03T00:00:00Z"


def test_windows_around_any_two_instants_stay_within_the_calendar() -> None:
    whole = LAST - FIRST
    for zone in (timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))):
        for moment in (FIRST - whole, LAST - 2 * whole, FIRST + 2 * whole, LAST + 2 * whole):
            assert moment.astimezone(zone) == moment


def test_the_present_can_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-22T15:29:13Z")
    assert now() == MOMENT
    monkeypatch.setenv("DURASCOPE_NOW", "no instant")
    assert now() > MOMENT.replace(year=2025)
    monkeypatch.delenv("DURASCOPE_NOW")
    assert clock.now().tzinfo is UTC

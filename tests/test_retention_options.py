"""What a person writes for a policy: counts, periods, sizes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_retention import kept, make

from soulsense_db.errors import OptionError
from soulsense_db.retention import COUNTS, Period, RetentionPolicy, parse_size


@pytest.mark.parametrize(
    ("text", "period", "written"),
    [
        ("1y6m", Period(years=1, months=6), "1y6m"),
        ("14d", Period(days=14), "14d"),
        ("7d12h", Period(days=7, hours=12), "7d12h"),
        (" 1y2m3d4h\n", Period(years=1, months=2, days=3, hours=4), "1y2m3d4h"),
        ("0d", Period(), "0h"),
        ("99999y", Period(years=99999), "99999y"),
    ],
)
def test_a_period_is_read_and_written(text: str, period: Period, written: str) -> None:
    """Years, months, days and hours in this order make a period, which is written alike."""
    assert Period.parse(text) == period
    assert str(period) == written
    assert Period.parse(written) == period


@pytest.mark.parametrize(
    "text",
    ["", " ", "7w", "banana", "7", "-1d", "1.5d", "1d7m", "1h1h", "1 d", "1D", "d", "7d banana"],
)
def test_what_is_no_period_is_refused(text: str) -> None:
    """Anything else is an option error that names what was written."""
    with pytest.raises(OptionError, match=re.escape(f"'{text}'")):
        Period.parse(text)


@given(st.text() | st.from_regex(r"\d{0,12}[ymwdh]?\d{1,12}[ymdh]", fullmatch=True))
def test_no_text_breaks_the_reading_of_a_period(text: str) -> None:
    """Whatever is written, it is a period that can be used or an option error."""
    try:
        period = Period.parse(text)
    except OptionError:
        return
    start = period.before(datetime(2026, 3, 31))
    assert start is None or start <= datetime(2026, 3, 31)


@pytest.mark.parametrize("unit", "ymdh")
@pytest.mark.parametrize("digits", [12, 500, 5000])
def test_a_period_of_many_digits_is_refused_or_very_long(unit: str, digits: int) -> None:
    """A number of thousands of digits is an option error, or goes back before all backups."""
    try:
        period = Period.parse("9" * digits + unit)
    except OptionError:
        return
    assert period.before(datetime(2026, 3, 31)) is None


@pytest.mark.parametrize(
    ("period", "moment", "before"),
    [
        ("1m", "2026-03-31 10:00", "2026-03-03 10:00"),  # 31 February
        ("1m", "2024-03-31 10:00", "2024-03-02 10:00"),  # the same of a leap year
        ("1m", "2026-01-15 10:00", "2025-12-15 10:00"),
        ("12m", "2026-12-31 10:00", "2025-12-31 10:00"),
        ("1y", "2024-02-29 10:00", "2023-03-01 10:00"),
        ("1y1m1d1h", "2026-03-01 00:30", "2025-01-30 23:30"),  # 1 February, less a day, an hour
        ("1m30d", "2026-03-31 10:00", "2026-02-01 10:00"),  # from 3 March: months come first
        ("36h", "2026-01-01 00:00", "2025-12-30 12:00"),
        ("0d", "2026-01-01 00:00", "2026-01-01 00:00"),
        ("2025y", "2026-05-05 00:00", "0001-05-05 00:00"),
    ],
)
def test_a_period_goes_back_by_the_calendar(period: str, moment: str, before: str) -> None:
    """Months and years keep the day where there is one, and days that a month lacks count on."""
    expected = datetime.fromisoformat(before)
    assert Period.parse(period).before(datetime.fromisoformat(moment)) == expected


@pytest.mark.parametrize(
    "period",
    ["2026y", "99999y", "25000m", "800000d", "999999999999d", "99999999h"],
)
def test_a_period_from_before_the_calendar_has_no_start(period: str) -> None:
    """A period of millennia reaches back before all backups, and so keeps each of them."""
    long = Period.parse(period)
    assert long.before(datetime(2026, 11, 23)) is None
    backups = [make(number, number * 10_000, "manual", 1, "") for number in range(5)]
    assert kept(backups, RetentionPolicy(keep_within=long)) == backups


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500B", 500),
        ("1K", 1024),
        ("500MB", 500 * 1024**2),
        ("1.5 GB", 3 * 1024**3 // 2),
        ("2gib", 2 * 1024**3),
        (" 1 TB ", 1024**4),
        ("1p", 1024**5),
        ("0", 0),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    """A number and a unit make a size, in steps of 1024."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "banana", "GB", "-1GB", "+1GB", "1XB", "1GBB", "1,5GB", "1e9", "nan", "inf", ".5G"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """Anything else is an option error that names what was written."""
    with pytest.raises(OptionError, match=re.escape(f"'{text}'")):
        parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["9" * 500, "9" * 5000, "9" * 305 + "PB"],
    ids=["500", "5000", "305PB"],
)
def test_a_size_of_too_many_digits_is_an_option_error(text: str) -> None:
    """A number of hundreds of digits is told like any other mistake."""
    with pytest.raises(OptionError):
        parse_size(text)


@given(st.text() | st.from_regex(r"[\d.]{1,40} ?[KMGTP]?i?B?", fullmatch=True))
def test_no_text_breaks_the_reading_of_a_size(text: str) -> None:
    """Whatever is written, it is a number of bytes or an option error."""
    try:
        assert parse_size(text) >= 0
    except OptionError:
        return


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [-2, -100, 10**6 + 1, 10**7, 1.5, True, "7", "banana", "", None])
def test_a_count_that_means_nothing_is_refused(name: str, count: Any) -> None:
    """A count is a whole number from -1 to a million; the error names the rule."""
    with pytest.raises(OptionError, match=name):
        RetentionPolicy(**{name: count})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [-1, 1, 10**6])
def test_a_count_is_accepted_up_to_its_limits(name: str, count: int) -> None:
    """From -1, which is all, to a million; such a policy is not empty and says what it is."""
    rules: dict[str, Any] = {name: count}
    policy = RetentionPolicy(**rules)
    assert policy.has_keep_rule
    assert not policy.is_empty
    assert str(policy) == f"{name} {count}"


@pytest.mark.parametrize("period", ["7d", 7, 0])
def test_a_period_that_is_none_is_refused(period: Any) -> None:
    """What is no Period is told at once, not when backups are looked at."""
    with pytest.raises(OptionError, match="keep_within"):
        RetentionPolicy(keep_within=period)


@pytest.mark.parametrize("size", [0, -1, -(10**12), "10GB", 1.5, True])
def test_a_size_limit_of_nothing_is_refused(size: Any) -> None:
    """A limit below one byte would keep nothing at all, so it is a mistake; so is no number."""
    with pytest.raises(OptionError, match="max_total_size"):
        RetentionPolicy(max_total_size=size)


def test_a_size_limit_alone_is_a_policy() -> None:
    """A limit says how much to keep, not what: the policy is not empty, but has no such rule."""
    policy = RetentionPolicy(max_total_size=1)
    assert not policy.is_empty
    assert not policy.has_keep_rule

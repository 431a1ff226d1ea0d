"""Moments as a person writes them."""

from __future__ import annotations

from datetime import datetime

import pytest

from soulsense_db.cli.moments import Span
from soulsense_db.errors import OptionError

NOW = datetime(2026, 1, 15, 10, 30)  # a Thursday


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", 15),
        ("Yesterday", 14),
        ("thursday", 15),
        ("monday", 12),
        (" Friday ", 9),
        ("2026-01-03", 3),
    ],
)
def test_a_day_is_whole(text: str, day: int) -> None:
    """A day begins and ends at midnight; a weekday is the last one, today included."""
    span = Span.parse(text, NOW)
    assert span.start == datetime(2026, 1, day)
    assert span.end == datetime(2026, 1, day, 23, 59, 59, 999999)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2 days", datetime(2026, 1, 13, 10, 30)),
        ("2 days ago", datetime(2026, 1, 13, 10, 30)),
        ("1 hour", datetime(2026, 1, 15, 9, 30)),
        ("2 Weeks", datetime(2026, 1, 1, 10, 30)),
        ("1 month", datetime(2025, 12, 15, 10, 30)),
        ("1 year ago", datetime(2025, 1, 15, 10, 30)),
        ("7d12h", datetime(2026, 1, 7, 22, 30)),
        ("999999999 years", datetime.min),
        ("2026-01-03T04:05", datetime(2026, 1, 3, 4, 5)),
    ],
)
def test_an_age_is_a_moment(text: str, moment: datetime) -> None:
    """What has a time of day is that moment; an age ends now."""
    assert Span.parse(text, NOW) == Span(moment, moment)


@pytest.mark.parametrize("text", ["", "soon", "days", "2 fortnights", "2026-13-01", "-2 days"])
def test_what_means_nothing_is_an_error(text: str) -> None:
    """Nothing is guessed, and the error shows how to write it."""
    with pytest.raises(OptionError, match="yesterday"):
        Span.parse(text, NOW)

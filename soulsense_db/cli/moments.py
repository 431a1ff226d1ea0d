"""Moments as a person writes them: a date, a weekday, yesterday, 2 days."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Self

from soulsense_db.errors import OptionError
from soulsense_db.retention import Period

MOMENTS_HELP = "2026-01-31, today, yesterday, monday, '2 days' or 7d12h"
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AGO = re.compile(r"(\d{1,9}) *(hour|day|week|month|year)s?(?: +ago)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """What a moment covers, ``start`` and ``end`` included, in naive local time; a day is whole."""

    start: datetime
    end: datetime

    @classmethod
    def parse(cls, text: str, now: datetime) -> Self:
        """Read ``text`` as of ``now``, naive local time; raises :class:`OptionError`.

        A weekday is the last one, today included.
        """
        words = " ".join(text.lower().split())
        if (day := _day(words, now.date())) is not None:
            start = datetime.combine(day, time.min)
            return cls(start, datetime.combine(day, time.max))
        moment = _moment(text.strip(), words, now)
        return cls(moment, moment)


def _day(words: str, today: date) -> date | None:
    if words == "today":
        return today
    if words == "yesterday":
        return today - timedelta(days=1)
    if words in _DAYS:
        return today - timedelta(days=(today.weekday() - _DAYS.index(words)) % 7)
    try:
        return date.fromisoformat(words)
    except ValueError:
        return None


def _moment(text: str, words: str, now: datetime) -> datetime:
    if found := _AGO.fullmatch(words):
        number, unit = int(found[1]), found[2]
        if unit == "week":
            number, unit = number * 7, "day"
        return _before(Period(**{f"{unit}s": number}), now)
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        pass
    try:
        return _before(Period.parse(words), now)
    except OptionError:
        raise OptionError(
            f"'{text}' is not a date or time.", hint=f"Write it like {MOMENTS_HELP}."
        ) from None


def _before(period: Period, now: datetime) -> datetime:
    return period.before(now) or datetime.min

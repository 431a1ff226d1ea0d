"""How a database and its backups are: states, thresholds, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum

_MOST_NAMED = 5

Numbers = dict[str, float | None]
"""The numbers behind the checks, by name; None where unknown."""


class State(IntEnum):
    """How something is; the numbers are the exit codes of Nagios plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From when on something is a warning, and from when on it is critical.

    Attributes:
        warning_age: The age of the newest backup, and of the newest verified one, above which it is
            a warning.
        critical_age: The age above which it is critical.
        warning_free: The free space below which it is a warning, in times the size of the database.
        critical_free: The free space below which it is critical, likewise.
        critical_drill: Once a backup was drilled: the time without one that passed above which it
            is critical; None for never.

    Example:
        >>> from datetime import timedelta
        >>> thresholds = Thresholds(warning_age=timedelta(hours=2), critical_age=timedelta(hours=4))
        >>> thresholds.warning_free
        3.0
    """

    warning_age: timedelta = timedelta(hours=26)
    critical_age: timedelta = timedelta(hours=50)
    warning_free: float = 3.0
    critical_free: float = 1.0
    critical_drill: timedelta | None = timedelta(days=35)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing that was looked at.

    Attributes:
        name: A short name.
        state: How it is.
        message: What was found, for a person.

    Example:
        >>> from soulsense_db.health import check_health
        >>> check = check_health(manager).checks[0]
        >>> print(check.name, check.state.name, check.message)
        newest backup OK 0 s old (...)
    """

    name: str
    state: State
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """All that was looked at.

    Attributes:
        checks: One for each thing.
        numbers: The numbers behind them, by name: bytes, seconds and counts; None where unknown.

    Example:
        >>> from soulsense_db.health import check_health
        >>> check_health(manager).numbers["backups"]
        1
    """

    checks: tuple[HealthCheck, ...]
    numbers: Numbers = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The worst state of all checks."""
        return max((check.state for check in self.checks), default=State.OK)


def display_age(age: timedelta) -> str:
    """Return ``age`` in the unit that a person would use: ``5 min``, ``30 h``, ``12 days``."""
    seconds = int(age.total_seconds())
    if seconds < 0:
        return "in the future"
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def first_of(found: Sequence[str], separator: str) -> str:
    """Return the first of ``found``, and how many more there are: the message is one line."""
    more = [f"and {len(found) - _MOST_NAMED} more"] if found[_MOST_NAMED:] else []
    return separator.join([*found[:_MOST_NAMED], *more])

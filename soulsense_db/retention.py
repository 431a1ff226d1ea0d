"""Which backups stay: a pure function of the backups, a policy and the time.

The rules are restic's (``restic forget``), ORed: a backup stays when one of them keeps it. Every
kind of backup is a pool of its own, so that a burst of one never pushes out another; so are those
of each kind that are of a half-run database. Newer is what
was made later, whatever the clock said; hours, days and periods are the clock's. On purpose
unlike restic: the oldest backup is not kept only for being the oldest (restic after 0.14), one that
is dated in the future stays, and so do the newest of a kind and the newest verified one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import Self

from soulsense_db.backup_info import BackupInfo, display_size
from soulsense_db.errors import OptionError

ALL = -1
"""As a count: every one."""

_PERIOD = re.compile(r"(?:(\d{1,18})y)?(?:(\d{1,18})m)?(?:(\d{1,18})d)?(?:(\d{1,18})h)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([KMGTP]?)i?B?", re.ASCII | re.IGNORECASE)
_MAX_COUNT = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A length of calendar time, written like ``1y6m``, ``14d`` or ``7d12h``.

    Attributes:
        years: How many years.
        months: How many months.
        days: How many days.
        hours: How many hours.

    Example:
        >>> str(Period(days=7, hours=12))
        '7d12h'
    """

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a period from text.

        Args:
            text: Years, months, days and hours in this order, such as ``1y6m``.

        Returns:
            The period.

        Raises:
            OptionError: The text is no period.

        Example:
            >>> Period.parse("1y6m")
            Period(years=1, months=6, days=0, hours=0)
        """
        found = _PERIOD.fullmatch(text.strip())
        if found is None or not any(found.groups()):
            raise OptionError(
                f"'{text}' is not a period of time.",
                hint="Write years, months, days and hours like 1y6m, 14d or 7d12h.",
            )
        years, months, days, hours = (int(part or 0) for part in found.groups())
        return cls(years=years, months=months, days=days, hours=hours)

    def before(self, moment: datetime) -> datetime | None:
        """Return a moment less this period.

        When its month does not have that day, the days count on into the next month, as with Go's
        ``AddDate``, which restic uses: one month before 31 March is 3 March.

        Args:
            moment: A naive date and time.

        Returns:
            The earlier moment, naive too; None before the calendar begins.

        Example:
            >>> from datetime import datetime
            >>> Period(months=1).before(datetime(2026, 3, 31, 8, 0))
            datetime.datetime(2026, 3, 3, 8, 0)
        """
        month = moment.year * 12 + moment.month - 1 - self.years * 12 - self.months
        try:
            first = moment.replace(year=month // 12, month=month % 12 + 1, day=1)
            return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)
        except (ValueError, OverflowError):
            return None

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0h"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What to keep.

    A backup stays when one rule or more keeps it. Each rule applies to every kind of backup by
    itself. A policy without rules removes nothing. Of every count, -1 means all and 0 none.

    Attributes:
        keep_last: The newest n.
        keep_hourly: The newest in each of the last n hours that have one, in local time.
        keep_daily: The same for days.
        keep_weekly: The same for ISO weeks.
        keep_monthly: The same for months.
        keep_yearly: The same for years.
        keep_within: All that are younger than this, counted back from the newest of their kind.
        max_total_size: How many bytes the kept backups of one kind may take together, counted from
            the newest on. With no other rule, all that fits is kept.
        allow_empty: True lets ``max_total_size`` remove the last backup of a kind.

    Raises:
        OptionError: A value means nothing.

    Example:
        >>> policy = RetentionPolicy(keep_last=7, keep_daily=14, keep_within=Period(days=3))
        >>> str(policy)
        'keep_last 7, keep_daily 14, keep_within 3d'
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: Period | None = None
    max_total_size: int | None = None
    allow_empty: bool = False

    def __post_init__(self) -> None:
        for name in COUNTS:
            count = getattr(self, name)
            if type(count) is not int or not ALL <= count <= _MAX_COUNT:
                raise OptionError(
                    f"{name} is {count}.",
                    hint=f"Set it to a whole number from 0 to {_MAX_COUNT:,}, or to -1 for all.",
                )
        if self.keep_within is not None and not isinstance(self.keep_within, Period):
            raise OptionError(
                f"keep_within is {self.keep_within!r}.",
                hint="Set it to a Period, such as Period.parse('7d12h').",
            )
        if self.max_total_size is not None and (
            type(self.max_total_size) is not int or self.max_total_size < 1
        ):
            raise OptionError(
                f"max_total_size is {self.max_total_size!r}.",
                hint="Set it to a number of bytes, 1 or more (10GB on the command line).",
            )

    @property
    def is_empty(self) -> bool:
        """Whether it has no rule at all."""
        return not self.has_keep_rule and self.max_total_size is None

    @property
    def has_keep_rule(self) -> bool:
        """Whether a rule says which backups to keep, not only how many bytes."""
        within = self.keep_within is not None and self.keep_within != Period()
        return within or any(getattr(self, name) for name in COUNTS)

    def __str__(self) -> str:
        rules = [f"{name} {getattr(self, name)}" for name in COUNTS if getattr(self, name)]
        if self.keep_within not in (None, Period()):
            rules.append(f"keep_within {self.keep_within}")
        if self.max_total_size is not None:
            rules.append(f"max_total_size {display_size(self.max_total_size)}")
        return ", ".join(rules) or "no rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneDecision:
    """What a policy says of one backup.

    Attributes:
        backup: The backup.
        reasons: Why it stays or goes: one reason or more, for a person.

    Example:
        >>> report = manager.prune(RetentionPolicy(keep_last=1), dry_run=True)
        >>> report.kept[0].reasons
        ('last (1 of 1)',)
    """

    backup: BackupInfo
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a policy keeps and removes.

    Attributes:
        kept: What stays, newest first. After a prune, backups that were pinned meanwhile come last.
        removed: What goes, newest first.

    Example:
        >>> report = manager.prune(RetentionPolicy(keep_last=1))
        >>> len(report.removed), report.removed_bytes
        (0, 0)
    """

    kept: tuple[PruneDecision, ...]
    removed: tuple[PruneDecision, ...]

    @property
    def removed_bytes(self) -> int:
        """How many bytes the removed backups took."""
        return sum(decision.backup.size_bytes for decision in self.removed)


def parse_size(text: str) -> int:
    """Return the bytes that ``500MB`` or ``1.5 G`` means, in steps of 1024 as sizes are shown.

    Raises :class:`OptionError`.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise OptionError(f"'{text}' is not a size.", hint="Write it like 500MB or 1.5GB.")
    number, unit = found.groups()
    return int(float(number) * 1024 ** " KMGTP".index(unit.upper() or " "))


def newest_verified(backups: Iterable[BackupInfo], *, now: datetime) -> BackupInfo | None:
    """Return the newest backup that passed its last check and is not dated after ``now``.

    One of a half-run database is none that somebody would want.
    """
    candidates = (b for b in backups if b.verified_at and b.created_at <= now and not b.half_run)
    return max(candidates, key=_order, default=None)


def apply_policy(
    backups: Iterable[BackupInfo],
    policy: RetentionPolicy,
    *,
    now: datetime,
    protected: Mapping[str, str] = MappingProxyType({}),
) -> PruneReport:
    """Return which backups a policy keeps and removes.

    It touches no file, database or clock. The rules are those of ``forget`` in restic 0.14.

    Args:
        backups: The backups, in any order.
        policy: What to keep.
        now: The time to judge by, aware.
        protected: Why a backup stays whatever the policy says, by its file name.

    Returns:
        What stays and what goes, and why.

    Example:
        >>> from datetime import UTC, datetime
        >>> policy = RetentionPolicy(keep_daily=14)
        >>> report = apply_policy(manager.list(), policy, now=datetime.now(UTC))
        >>> [decision.reasons for decision in report.kept]
        [('daily ... (1 of 14)',)]
    """
    ordered = sorted(backups, key=_order, reverse=True)
    verified = newest_verified(ordered, now=now)
    kept: list[PruneDecision] = []
    removed: list[PruneDecision] = []
    # A stable sort: within its pool every backup stays in its place.
    for _, pool in groupby(sorted(ordered, key=pool_of), key=pool_of):
        for backup, stays, reasons in _decide(list(pool), policy, now, protected, verified):
            decision = PruneDecision(backup=backup, reasons=tuple(reasons))
            (kept if stays else removed).append(decision)
    for decisions in (kept, removed):
        decisions.sort(key=lambda decision: decision.backup.order, reverse=True)
    return PruneReport(kept=tuple(kept), removed=tuple(removed))


def pool_of(backup: BackupInfo) -> tuple[str, bool]:
    """Return the pool in which the rules count a backup: its kind, and whether it is half-run."""
    return backup.kind, backup.half_run


def _order(backup: BackupInfo) -> tuple[datetime, datetime, str]:
    return backup.order


def _decide(
    pool: Sequence[BackupInfo],
    policy: RetentionPolicy,
    now: datetime,
    protected: Mapping[str, str],
    verified: BackupInfo | None,
) -> Iterator[tuple[BackupInfo, bool, list[str]]]:
    """Yield each backup of ``pool``, newest first, with whether it stays and why."""
    past = [backup for backup in pool if backup.created_at <= now]
    rules = _rules(policy, past) if past else []
    total = 0
    limit_reached = False
    for backup in pool:
        if backup.created_at > now:  # the clock was set back: nobody knows how old it is
            yield backup, True, ["dated in the future"]
            continue
        reasons = [reason for rule in rules if (reason := rule(backup))]
        if not policy.has_keep_rule:
            reasons = ["the policy is empty" if policy.is_empty else "fits in max_total_size"]
        if reasons and policy.max_total_size is not None:
            limit_reached = limit_reached or total + backup.size_bytes > policy.max_total_size
        kept_by_rules = bool(reasons) and not limit_reached
        why_not = "no room in max_total_size" if reasons else "no rule keeps it"
        if not kept_by_rules:
            reasons = []
        if backup.pinned:
            reasons.append(f"pinned: {backup.pin_note}" if backup.pin_note else "pinned")
        if backup.filename in protected:
            reasons.append(protected[backup.filename])
        if not reasons and backup is verified:
            reasons.append("newest verified backup")
        if not reasons and backup is past[0] and not policy.allow_empty:
            reasons.append(f"newest of kind {backup.kind}")
        if reasons:
            total += backup.size_bytes
        yield backup, bool(reasons), reasons or [why_not]


_Rule = Callable[[BackupInfo], str | None]
"""Returns why it keeps a backup, or None."""


def _rules(policy: RetentionPolicy, past: Sequence[BackupInfo]) -> list[_Rule]:
    """Return the rules of ``policy`` for ``past``, newest first."""
    rules = [
        _bucket_rule(name, getattr(policy, name), past) for name in COUNTS if getattr(policy, name)
    ]
    if policy.keep_within is not None and policy.keep_within != Period():
        rules.append(_within_rule(policy.keep_within, past[0]))
    return rules


def _bucket_rule(name: str, count: int, past: Sequence[BackupInfo]) -> _Rule:
    newest: dict[str, BackupInfo] = {}
    for backup in past:
        newest.setdefault(COUNTS[name](backup), backup)
    buckets = list(newest)
    if name != "keep_last":  # with the clock set back, later ones came into earlier buckets
        buckets.sort(reverse=True)
    reasons = {}
    for number, bucket in enumerate(buckets if count == ALL else buckets[:count], 1):
        what = "last" if name == "keep_last" else f"{name.removeprefix('keep_')} {bucket}"
        of = "all" if count == ALL else f"{number} of {count}"
        reasons[newest[bucket].filename] = f"{what} ({of})"
    return lambda backup: reasons.get(backup.filename)


def _within_rule(period: Period, newest: BackupInfo) -> _Rule:
    reason = f"within {period} of the newest"
    start: datetime | None = None
    # Days are those of the calendar, hours those that passed: clocks may have been changed.
    days = replace(period, hours=0)
    day = days.before(newest.timestamp) if days != Period() else newest.created_at
    if day is not None:
        with suppress(OverflowError, ValueError):  # before the first day of the calendar
            start = day.astimezone(UTC) - timedelta(hours=period.hours)
    return lambda backup: reason if start is None or backup.created_at > start else None


# By the names of a policy's counts: the bucket of a backup, in local time.
COUNTS: dict[str, Callable[[BackupInfo], str]] = {
    "keep_last": lambda backup: backup.filename,
    "keep_hourly": lambda backup: f"{backup.timestamp:%Y-%m-%d %H}h",
    "keep_daily": lambda backup: f"{backup.timestamp:%Y-%m-%d}",
    "keep_weekly": lambda backup: f"{backup.timestamp:%G-W%V}",
    "keep_monthly": lambda backup: f"{backup.timestamp:%Y-%m}",
    "keep_yearly": lambda backup: f"{backup.timestamp:%Y}",
}

"""Is there a backup that would save the day? What monitoring asks, answered by reading only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, bases_for, display_size, may_be_base
from soulsense_db.catalog import row_name
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseLockedError,
    IdentityError,
    PermissionDeniedError,
    UntrustedDirectoryError,
)
from soulsense_db.fs import directory_problem
from soulsense_db.manager import BackupManager
from soulsense_db.mirroring import MirrorStatus
from soulsense_db.notices import log_ignored
from soulsense_db.operations import Doubt, RestoreCheck, doubts_about

__all__ = ["HealthCheck", "HealthReport", "State", "Thresholds", "check_health"]

_MOST_NAMED = 5


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


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing that was looked at.

    Attributes:
        name: A short name.
        state: How it is.
        message: What was found, for a person.

    Example:
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
        >>> check_health(manager).numbers["backups"]
        1
    """

    checks: tuple[HealthCheck, ...]
    numbers: dict[str, float | None] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The worst state of all checks."""
        return max((check.state for check in self.checks), default=State.OK)


def check_health(
    manager: BackupManager, thresholds: Thresholds | None = None, *, now: datetime | None = None
) -> HealthReport:
    """Look at the database, its backups and the disk; nothing is changed.

    The newest backup is read in full; of all others only sizes and meta files are looked at.

    Args:
        manager: The manager of the database.
        thresholds: From when on something is a warning or critical; the defaults of
            :class:`Thresholds` if None.
        now: The time to judge ages by, aware; the present if None.

    Returns:
        How it is.

    Raises:
        StorageError: The directory cannot be read.

    Example:
        >>> check_health(manager).state.name
        'OK'
    """
    thresholds = thresholds or Thresholds()
    first = _Examination(manager, thresholds, now or datetime.now(UTC))
    report = first.report()
    if report.state is State.OK:
        return report
    # A backup may be about to be published or deleted: look again.
    second = _Examination(manager, thresholds, now or datetime.now(UTC), sound=first.sound)
    again = second.report()
    return min(report, again, key=lambda seen: seen.state)


class _Examination:
    """One look; ``sound``: a backup that was found to be restorable a moment ago."""

    def __init__(
        self,
        manager: BackupManager,
        thresholds: Thresholds,
        now: datetime,
        *,
        sound: BackupInfo | None = None,
    ) -> None:
        self.sound = sound
        self._manager = manager
        self._thresholds = thresholds
        self._now = now
        self._backups = manager.list()
        # Those taken here, of a whole database: an imported file may be of anything.
        own = [
            info
            for info in self._backups
            if info.kind != "imported"
            and info.sha256
            and not {Doubt.ORIGIN, Doubt.HALF_RUN}.intersection(doubts_about(info, now=now))
        ]
        # By date: with the clock set back meanwhile, the newest is no older than those before it.
        self._own = sorted(own, key=_date, reverse=True)
        self._rows = manager.catalog.names()
        self._numbers: dict[str, float | None] = {"backups": len(self._backups)}

    def report(self) -> HealthReport:
        checks = (
            *self._database(),
            *self._clock(),
            *self._directory(),
            self._newest(),
            self._newest_verified(),
            *self._restore(),
            self._free_space(),
            self._migration(),
            self._files(),
            *self._bases(),
            *self._mirrors(),
            self._catalog(),
        )
        return HealthReport(checks=checks, numbers=self._numbers)

    def _database(self) -> Iterator[HealthCheck]:
        self._numbers["database_bytes"] = None
        try:
            self._numbers["database_bytes"] = self._manager.live.size()
        except BackupError as error:
            yield HealthCheck(name="database", state=State.CRITICAL, message=error.what)

    def _clock(self) -> Iterator[HealthCheck]:
        future = [info for info in self._backups if info.created_at > self._now]
        if future:
            yield HealthCheck(
                name="clock",
                state=State.WARNING,
                message=f"{len(future)} backup(s) are dated in the future, up to "
                f"{max(future, key=_date).timestamp_display}: has the clock been set back?",
            )

    def _directory(self) -> Iterator[HealthCheck]:
        manager = self._manager
        if problem := directory_problem(manager.directory, live=manager.database):
            yield HealthCheck(name="directory", state=State.WARNING, message=problem)

    def _newest(self) -> HealthCheck:
        past = [info for info in self._own if info.created_at <= self._now]
        self._numbers["newest_age_seconds"] = self._age(past)
        absent = "none was taken here" if self._backups else "there is no backup"
        return self._aged("newest backup", past or self._own, absent)

    def _newest_verified(self) -> HealthCheck:
        verified = [info for info in self._own if info.verified_at]
        past = [info for info in verified if info.created_at <= self._now]
        self._numbers["newest_verified_age_seconds"] = self._age(past)
        return self._aged("newest verified", past or verified, "no backup passed its last check")

    def _restore(self) -> Iterator[HealthCheck]:
        """Tell whether ``restore latest`` would work here and now; it reads that backup in full."""
        latest = next(iter(self._manager.candidates()), None)
        if latest is None or latest == self.sound:  # the first is reported by another check
            return
        try:
            found = self._manager.can_restore(latest)
        except BackupNotFoundError as error:  # deleted a moment ago
            log_ignored("The newest backup could not be looked at", error)
            return
        if found.ok:
            self.sound = latest
            return
        if all(isinstance(error, IdentityError) for error in found.problems):
            yield self._without_key(latest, found)
            return
        # Who monitors need not be the one who could restore.
        denied = all(
            isinstance(error, PermissionDeniedError | UntrustedDirectoryError)
            for error in found.problems
        )
        yield HealthCheck(
            name="restore",
            state=State.WARNING if denied else State.CRITICAL,
            message="; ".join(error.cause for error in found.problems),
        )

    def _without_key(self, latest: BackupInfo, found: RestoreCheck) -> HealthCheck:
        """Tell of an encrypted backup that nothing here opens: only what is stored can be read.

        Where no key was ever given, as on a machine that only makes backups, that is as it should.
        """
        name = "restore"
        if latest.sha256 != fs.sha256_of(Path(latest.path)):
            message = f"{latest.filename}: the checksum differs"
            return HealthCheck(name=name, state=State.CRITICAL, message=message)
        if self._manager.identities:
            message = "; ".join(error.cause for error in found.problems)
            return HealthCheck(name=name, state=State.WARNING, message=message)
        message = f"{latest.filename} is encrypted, and no key is here: its checksum is right"
        return HealthCheck(name=name, state=State.OK, message=message)

    def _aged(self, name: str, backups: Sequence[BackupInfo], absent: str) -> HealthCheck:
        age = self._age(backups)
        if age is None:
            return HealthCheck(name=name, state=State.CRITICAL, message=absent)
        state = State.OK
        if age > self._thresholds.warning_age.total_seconds():
            state = State.WARNING
        if age > self._thresholds.critical_age.total_seconds():
            state = State.CRITICAL
        message = f"{display_age(timedelta(seconds=age))} old ({backups[0].id})"
        return HealthCheck(name=name, state=state, message=message)

    def _age(self, backups: Sequence[BackupInfo]) -> float | None:
        return (self._now - backups[0].created_at).total_seconds() if backups else None

    def _mirrors(self) -> Iterator[HealthCheck]:
        """Tell how far each mirror is behind, as it is known here: nothing is connected."""
        ages = []
        for status in self._manager.mirrors.status():
            newest = max(status.backups, key=_date, default=None)
            age = None if newest is None else (self._now - newest.created_at).total_seconds()
            ages.append(age)
            yield HealthCheck(
                name=f"mirror {status.address}",
                state=self._state_of(status),
                message=_mirror_message(status, age, self._now),
            )
        if ages:
            known = [age for age in ages if age is not None]
            self._numbers["mirror_newest_age_seconds"] = max(known) if known == ages else None

    def _state_of(self, status: MirrorStatus) -> State:
        """Return how a mirror is: by the age of what it lacks, and of the last look at it."""
        since = [info.created_at for info in status.owed]
        since += [status.seen_at] if status.seen_at is not None else []
        behind = max((self._now - moment for moment in since), default=timedelta())
        if behind > self._thresholds.critical_age:
            return State.CRITICAL
        is_late = behind > self._thresholds.warning_age
        return State.WARNING if is_late or status.damaged else State.OK

    def _free_space(self) -> HealthCheck:
        free = fs.free_space(self._manager.directory)
        self._numbers["free_bytes"] = free
        size = self._numbers["database_bytes"]
        if size is None:
            size = max((info.restored_size_bytes for info in self._backups), default=0)
        state = State.OK
        if free < size * self._thresholds.warning_free:
            state = State.WARNING
        if free < size * self._thresholds.critical_free:
            state = State.CRITICAL
        message = f"{display_size(free)} free, the database takes {display_size(int(size))}"
        return HealthCheck(name="free space", state=state, message=message)

    def _migration(self) -> HealthCheck:
        name = "migration"
        database = self._manager.database
        marker = self._manager.alarm.marker()
        if database is None or marker is None:
            return HealthCheck(name=name, state=State.OK, message="no interrupted migration")
        try:
            self._manager.exclusive(timeout=0).release()
        except DatabaseLockedError:
            return HealthCheck(name=name, state=State.OK, message="one is running")
        before = Path(marker.backup).name if marker.backup else "of kind pre_migration"
        message = f"one was interrupted; the backup from before it: {before}"
        return HealthCheck(name=name, state=State.CRITICAL, message=message)

    def _files(self) -> HealthCheck:
        damaged = [info for info in self._backups if _problem(info)]
        missing = sorted(self._missing())
        self._numbers |= {"damaged": len(damaged), "missing": len(missing)}
        found = [f"{info.filename}: {_problem(info)}" for info in damaged]
        found += [f"{name}: the file is gone" for name in missing]
        if not found:
            message = f"{len(self._backups)} backup(s), none missing"
            if unknown := sum(info.of_unknown_origin for info in self._backups):
                message += f"; {unknown} of unknown origin"
            return HealthCheck(name="files", state=State.OK, message=message)
        newest_is_damaged = self._newest_candidate() in damaged
        return HealthCheck(
            name="files",
            state=State.CRITICAL if newest_is_damaged else State.WARNING,
            message=_first_of(found, "; "),
        )

    def _bases(self) -> Iterator[HealthCheck]:
        """Tell of differentials that cannot be restored: their base is gone or damaged."""
        # One that was copied here with the others may count as another database's.
        full = list(filter(may_be_base, (*self._backups, *self._manager.others())))
        needing: dict[str, list[str]] = {}  # by what is wrong with the base
        for info in self._backups:
            if info.base_sha256 is None:
                continue
            if problem := _problem_of_base(info, full):
                needing.setdefault(problem, []).append(info.filename)
        self._numbers["without_base"] = sum(map(len, needing.values()))
        if needing:
            found = [f"{what}, needed by {_first_of(who, ', ')}" for what, who in needing.items()]
            yield HealthCheck(name="bases", state=State.CRITICAL, message=_first_of(found, "; "))

    def _newest_candidate(self) -> BackupInfo | None:
        """Return what ``latest`` means."""
        candidates = (i for i in self._backups if not doubts_about(i, now=self._now))
        return next(candidates, None)

    def _missing(self) -> set[str]:
        """Return what the catalog or a meta file tells of and is not there."""
        there = {row_name(info.filename) for info in self._backups}
        named = set(self._rows or ()) | set(map(row_name, self._manager.orphans()))
        return named - there

    def _catalog(self) -> HealthCheck:
        rows = self._rows
        if rows is None:
            message = "there is none, or it cannot be read now"
            return HealthCheck(name="catalog", state=State.OK, message=message)
        unlisted = {row_name(info.filename) for info in self._backups} ^ rows
        if not unlisted:
            return HealthCheck(name="catalog", state=State.OK, message="up to date")
        return HealthCheck(
            name="catalog",
            state=State.WARNING,
            message=f"{len(unlisted)} row(s) out of date; the next backup corrects that",
        )


def _first_of(found: Sequence[str], separator: str) -> str:
    """Return the first of ``found``, and how many more there are: the message is one line."""
    more = [f"and {len(found) - _MOST_NAMED} more"] if found[_MOST_NAMED:] else []
    return separator.join([*found[:_MOST_NAMED], *more])


def _date(info: BackupInfo) -> datetime:
    return info.created_at


def _problem(info: BackupInfo) -> str:
    """Return what can be told to be wrong with a backup without reading it, or nothing."""
    if info.meta_problem:
        return "its meta file is damaged"
    try:
        size = os.stat(info.path).st_size
    except FileNotFoundError:
        return "it was deleted a moment ago"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    # Not by opening it: SQLite may have it open in this process, and would lose its locks.
    if not os.access(info.path, os.R_OK):
        return "it cannot be read (permission denied)"
    return _size_problem(info, size)


def _problem_of_base(info: BackupInfo, backups: Sequence[BackupInfo]) -> str:
    """Return what is wrong with the base of the differential ``info``, or nothing."""
    bases = bases_for(info, backups)
    if not bases:
        return f"the base {info.base_name or info.base_sha256} is missing"
    problem = _problem(bases[0])
    return f"the base {bases[0].filename} cannot be used: {problem}" if problem else ""


def _size_problem(info: BackupInfo, size: int) -> str:
    if size == 0:
        return "it is empty"
    if info.sha256 is not None and size != info.size_bytes:
        return f"it has {size:,} bytes instead of {info.size_bytes:,}"
    if info.sha256 is not None and info.verified_at is None:
        return "it is not verified, or failed its last check"
    return ""


def _mirror_message(status: MirrorStatus, age: float | None, now: datetime) -> str:
    parts = [f"{len(status.backups)} there"] if status.backups else ["nothing is there yet"]
    if age is not None:
        parts[0] += f", the newest {display_age(timedelta(seconds=age))} old"
    if status.owed:
        oldest = display_age(now - status.owed[0].created_at)
        parts.append(f"{len(status.owed)} not uploaded, for {oldest}")
    if status.seen_at is not None:
        parts.append(f"last reached {display_age(now - status.seen_at)} ago")
    if status.damaged:
        parts.append(f"{len(status.damaged)} DAMAGED there")
    if status.is_append_only:
        parts.append("nothing can be removed there")
    if status.error:
        parts.append(f"{status.failures} failure(s): {status.error}")
    return "; ".join(parts)


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

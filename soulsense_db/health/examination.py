"""One look at a database, its backups and the disk: nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, display_size
from soulsense_db.catalog import row_name
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    IdentityError,
    MissingRightError,
    PermissionDeniedError,
    UntrustedDirectoryError,
)
from soulsense_db.fs import directory_problem
from soulsense_db.health.drill_check import drill_check
from soulsense_db.health.file_checks import bases_check, files_check
from soulsense_db.health.mirror_checks import mirror_checks
from soulsense_db.health.report import (
    HealthCheck,
    HealthReport,
    Numbers,
    State,
    Thresholds,
    display_age,
)
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored
from soulsense_db.operations import Doubt, RestoreCheck, doubts_about

_DATABASE = "database"


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
    # One that does not answer may take its time each time that it is asked.
    if report.state is State.OK or any(check.name == _DATABASE for check in report.checks):
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
        self._numbers: Numbers = {"backups": len(self._backups)}

    def report(self) -> HealthReport:
        """Look at everything."""
        manager, newest = self._manager, self._newest_candidate()
        checks = (
            *self._database(),
            *self._clock(),
            *self._directory(),
            self._newest(),
            self._newest_verified(),
            *self._restore(),
            self._free_space(),
            self._migration(),
            *self._last_restore(),
            files_check(self._backups, self._missing(), newest, self._numbers),
            *bases_check(self._backups, manager.others(), self._numbers),
            *drill_check(
                self._backups,
                newest,
                manager.last_drill(),
                self._thresholds,
                now=self._now,
                numbers=self._numbers,
            ),
            *mirror_checks(manager.mirrors.status(), self._thresholds, self._now, self._numbers),
            self._catalog(),
        )
        return HealthReport(checks=checks, numbers=self._numbers)

    def _database(self) -> Iterator[HealthCheck]:
        self._numbers["database_bytes"] = None
        try:
            self._numbers["database_bytes"] = self._manager.live.size()
        except BackupError as error:
            yield HealthCheck(name=_DATABASE, state=State.CRITICAL, message=error.cause)

    @property
    def _is_reached(self) -> bool:
        """Whether :meth:`_database` could look at it."""
        return self._numbers["database_bytes"] is not None

    @cached_property
    def _rows(self) -> frozenset[str] | None:
        return self._manager.catalog.names() if self._is_reached else None

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
        absent = "no backup passed its last check"
        if any(info.verified_at for info in self._backups):  # imported, say: it may be of anything
            absent = "no backup that was taken here passed its last check"
        return self._aged("newest verified", past or verified, absent)

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
            isinstance(error, MissingRightError | PermissionDeniedError | UntrustedDirectoryError)
            for error in found.problems
        )
        yield HealthCheck(
            name="restore",
            state=State.WARNING if denied else State.CRITICAL,
            message=_causes(found),
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
            message = _causes(found)
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

    def _free_space(self) -> HealthCheck:
        free = fs.free_space(self._manager.directory)
        self._numbers["free_bytes"] = free
        if free is None:
            message = "the file system does not tell"
            return HealthCheck(name="free space", state=State.OK, message=message)
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
        marker = self._manager.alarm.marker()
        if marker is None:
            # A server that was not reached may have a note of one.
            is_known = self._manager.database or self._is_reached
            none = "no interrupted migration"
            message = none if is_known else f"{none} is known here; the server cannot be asked"
            return HealthCheck(name=name, state=State.OK, message=message)
        if self._manager.alarm.is_running():
            return HealthCheck(name=name, state=State.OK, message="one is running")
        before = Path(marker.backup).name if marker.backup else "of kind pre_migration"
        message = (
            f"one was interrupted; the backup from before it: {before}; restore it, or accept the "
            "database as it is (soulsense-db restore --accept)"
        )
        return HealthCheck(name=name, state=State.CRITICAL, message=message)

    def _last_restore(self) -> Iterator[HealthCheck]:
        """Tell what it has left to do on a server; who reads this need not be the one who could."""
        if not self._is_reached:
            return
        try:
            left = self._manager.live.unfinished()
        except BackupError as error:  # told by the check of the database
            log_ignored("What the last restore has left to do cannot be told", error)
            return
        if left:
            yield HealthCheck(
                name="last restore",
                state=State.WARNING,
                message=f"it is running, or was cut off: {left}; undo or a restore finishes it",
            )

    def _newest_candidate(self) -> BackupInfo | None:
        """Return what ``latest`` means."""
        candidates = (i for i in self._backups if not doubts_about(i, now=self._now))
        return next(candidates, None)

    def _missing(self) -> dict[str, str]:
        """Return what the catalog or a meta file tells of and is not there, and what is known."""
        known = set(map(row_name, self._manager.orphans()))
        there = {row_name(info.filename) for info in self._backups}
        # One that belongs to another spelling of the database's address is no less there.
        there |= {row_name(info.filename) for info in self._manager.others()}
        removed = "the file is gone, or was removed while the catalog could not be written"
        return {
            name: "the file is gone" if name in known else removed
            for name in known.union(self._rows or ()) - there
        }

    def _catalog(self) -> HealthCheck:
        rows = self._rows
        if rows is None:
            unread = "it cannot be read now"
            message = f"there is none, or {unread}" if self._is_reached else unread
            return HealthCheck(name="catalog", state=State.OK, message=message)
        unlisted = {row_name(info.filename) for info in self._backups} ^ rows
        if not unlisted:
            return HealthCheck(name="catalog", state=State.OK, message="up to date")
        # On a server, who makes backups need not be allowed to write.
        who = "" if self._manager.live.path else ", if its user may write the table,"
        return HealthCheck(
            name="catalog",
            state=State.WARNING,
            message=f"{len(unlisted)} row(s) out of date; the next backup{who} corrects that",
        )


def _causes(found: RestoreCheck) -> str:
    """Return why a restore is not possible: each reason once, as a server that is down has many."""
    return "; ".join(dict.fromkeys(error.cause for error in found.problems))


def _date(info: BackupInfo) -> datetime:
    return info.created_at

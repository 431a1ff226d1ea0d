"""One call for a schedule: back up what has changed, verify it, remove what the policy lets go.

It removes backups that schedules made, and no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, BackupKind
from soulsense_db.drivers import Progress
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    IdentityError,
    InterruptedMigrationError,
    InvalidBackupError,
    MetaFileError,
    PermissionDeniedError,
    StorageError,
)
from soulsense_db.manager import BackupManager
from soulsense_db.mirroring import MirrorCheck, SyncReport
from soulsense_db.notices import log_ignored, warn
from soulsense_db.operations import (
    DRILL_DAYS,
    Doubt,
    DrillCheck,
    Upgrade,
    VerificationReport,
    checks_of,
    doubts_about,
)
from soulsense_db.retention import PruneReport, RetentionPolicy

__all__ = ["AutoReport", "MirrorDrill", "run_auto"]

_DESCRIPTION = "Scheduled"
_KIND: BackupKind = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoReport:
    """What one scheduled run did.

    Attributes:
        created: The new backup; None when the newest one has the same content.
        verified: The check of the newest backup, which was read in full; of an encrypted one that
            nothing at hand opens, a quick check of its stored bytes.
        damaged: The backup that was the newest before, when it was found damaged.
        pruned: What became of the automatic backups. None without a policy, with ``half_run``, and
            when it failed.
        half_run: The error of a migration that died half-way. What was backed up may be half
            migrated, so nothing was removed for it.
        prune_error: Why nothing could be removed.
        mirrors: What became of each mirror; they are brought in step after all else.
        drilled: The drills that were passed, if any were asked for.
        drill_errors: Of those that were not, the backup and why: a backup that failed, or one that
            could not be restored here and now, as without its key.
        mirror_drills: What became of the drills at the mirrors.

    Example:
        >>> report = run_auto(manager)
        >>> report.created == report.verified.backup, report.damaged, report.half_run
        (True, None, None)
    """

    created: BackupInfo | None
    verified: VerificationReport
    damaged: BackupInfo | None
    pruned: PruneReport | None
    half_run: InterruptedMigrationError | None
    prune_error: BackupError | None = None
    mirrors: tuple[SyncReport, ...] = ()
    drilled: tuple[VerificationReport, ...] = ()
    drill_errors: tuple[tuple[BackupInfo, BackupError], ...] = ()
    mirror_drills: tuple[MirrorDrill, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorDrill:
    """What became of the drills at one mirror.

    Attributes:
        address: Where it is.
        check: What was found of the backups that were downloaded; None where that failed.
        error: Why that failed.

    Example:
        >>> report = run_auto(manager, drill=True)
        >>> [drill.error for drill in report.mirror_drills]
        [None]
    """

    address: str
    check: MirrorCheck | None
    error: BackupError | None = None


def run_auto(
    manager: BackupManager,
    policy: RetentionPolicy | None = None,
    *,
    description: str = _DESCRIPTION,
    progress: Progress | None = None,
    mirrors: bool = True,
    drill: bool = False,
    drill_checks: Sequence[DrillCheck] = (),
    drill_upgrade: Upgrade | None = None,
) -> AutoReport | None:
    """Back up unless the newest backup is sound and has the same content; verify; prune; mirror.

    With ``drill``, some backups are restored to a scratch folder each day, so that each that is
    kept is within 30 days, those at the mirrors too.

    Only automatic backups are removed, whatever ``policy`` says of other kinds.
    Nothing is removed unless the newest backup was verified in this run. Where nothing opens an
    encrypted backup, its stored bytes are verified, and every run takes a new one: whether the
    content is the same cannot be told. It waits for a migration
    that is running, for ``lock_timeout`` at most. Without a database nothing is made, not even the
    backup directory.

    Args:
        manager: The manager of the database.
        policy: What to keep; None removes nothing.
        description: That of a new backup.
        progress: As for :meth:`BackupManager.create`.
        mirrors: False leaves the mirrors to somebody else. Otherwise they are brought in step at
            the end, however long that takes, but for one that failed a short time ago. A mirror
            that fails is in the report, and no error.
        drill: True drills the backups whose turn it is. One that fails is in the report, and no
            error.
        drill_checks: As ``checks`` of :meth:`BackupManager.verify`.
        drill_upgrade: As ``upgrade`` there.

    Returns:
        What was done. None when another run for the same database is at work, which does what there
        is to do.

    Raises:
        DatabaseLockedError: A migration was still running after ``lock_timeout``, or somebody else
            had locked the database.
        BackupError: As for :meth:`BackupManager.create` and :meth:`BackupManager.verify`.

    Example:
        >>> report = run_auto(manager, RetentionPolicy(keep_daily=14))
        >>> report.created.description, report.verified.level, len(report.pruned.removed)
        ('Scheduled', 'full', 0)
    """
    checks_of(drill_checks)
    drills = tuple(drill_checks) if drill else None
    report = _run(manager, policy, description, progress, drills=drills, upgrade=drill_upgrade)
    if report is None or not mirrors:
        return report
    # After the lock: the next run need not wait for a slow one.
    synced = tuple(manager.mirrors.sync(if_not_paused=True))
    report = replace(report, mirrors=synced)
    if drills is not None:
        report = replace(
            report, mirror_drills=tuple(drill_mirrors(manager, synced, drills, drill_upgrade))
        )
    return report


def drill_mirrors(
    manager: BackupManager,
    synced: Iterable[SyncReport],
    checks: Sequence[DrillCheck],
    upgrade: Upgrade | None = None,
) -> Iterator[MirrorDrill]:
    """Drill the share of today at each mirror that was reached; yield what came of each."""
    for report in synced:
        if report.error is not None or report.skipped:
            continue
        try:
            found = manager.mirrors.verify(
                url=report.address,
                within_days=DRILL_DAYS,
                level="drill",
                checks=checks,
                upgrade=upgrade,
            )
        except BackupError as error:
            yield MirrorDrill(address=report.address, check=None, error=error)
        else:
            yield MirrorDrill(address=report.address, check=found[0])


def _run(
    manager: BackupManager,
    policy: RetentionPolicy | None,
    description: str,
    progress: Progress | None,
    *,
    drills: Sequence[DrillCheck] | None,
    upgrade: Upgrade | None,
) -> AutoReport | None:
    if _marker(manager) is None:  # else it may be locked for as long as that takes
        manager.require_ready()
    with _alone(manager) as alone:
        if not alone:
            return None
        if _marker(manager) is not None:
            manager.exclusive().release()  # free once the migration has ended, well or not
        created = damaged = None
        newest = _newest(manager)
        verified = _verified(manager, newest) if newest else None
        if newest and verified is None:
            damaged = newest
        if newest is None or verified is None or verified.level == "quick":
            created = manager.create(description, kind=_KIND, progress=progress)
        else:
            created = manager.create_unless_same(newest, description, kind=_KIND, progress=progress)
        if created is not None:
            verified = _checked(manager, created)
        assert verified is not None
        half_run = _marker(manager, warns=True)
        pruned = prune_error = None
        if policy is not None and half_run is None:
            try:
                pruned = manager.prune(policy, kinds=(_KIND,))
            except BackupError as error:  # what was created is, all the same
                prune_error = error
        # After the prune: of those that stay.
        passed, errors = _drilled(manager, drills, upgrade) if drills is not None else ((), ())
        return AutoReport(
            created=created,
            verified=verified,
            damaged=damaged,
            pruned=pruned,
            half_run=half_run,
            prune_error=prune_error,
            drilled=passed,
            drill_errors=errors,
        )


def _drilled(
    manager: BackupManager, checks: Sequence[DrillCheck], upgrade: Upgrade | None
) -> tuple[tuple[VerificationReport, ...], tuple[tuple[BackupInfo, BackupError], ...]]:
    """Drill the backups whose turn it is; return the reports, and what failed."""
    passed: list[VerificationReport] = []
    errors: list[tuple[BackupInfo, BackupError]] = []
    for info in manager.drills_due():
        try:
            passed.append(manager.verify(info, level="drill", checks=checks, upgrade=upgrade))
        except BackupNotFoundError as error:
            log_ignored(f"{info.filename} was removed meanwhile", error)
        except BackupError as error:  # of one: the next has its turn all the same
            errors.append((info, error))
    return tuple(passed), tuple(errors)


def _marker(manager: BackupManager, *, warns: bool = False) -> InterruptedMigrationError | None:
    """Return the error of a migration that is running or died half-way, None without one.

    ``warns``: of something else in its place, which keeps nobody from a backup.
    """
    try:
        return manager.alarm.error()
    except PermissionDeniedError:
        raise
    except StorageError as error:
        if warns:
            warn(error.cause)
        return None


def _newest(manager: BackupManager) -> BackupInfo | None:
    """Return the newest backup that can be relied on: one that ``latest`` may mean.

    While the database is half migrated, that may be an earlier one of this very state: else every
    run would make another.
    """
    if _marker(manager) is None:
        return next((info for info in manager.candidates() if info.sha256), None)
    known = (i for i in manager.list() if i.sha256 and doubts_about(i) in ((), (Doubt.HALF_RUN,)))
    return next(known, None)


def _verified(manager: BackupManager, newest: BackupInfo) -> VerificationReport | None:
    """Return the report on ``newest``, None when it is no good: then another one is needed."""
    try:
        return _checked(manager, newest)
    except (InvalidBackupError, MetaFileError, BackupNotFoundError, StorageError) as error:
        log_ignored("The newest backup is no good", error)
        return None


def _checked(manager: BackupManager, backup: BackupInfo) -> VerificationReport:
    """Verify in full; quickly where no key is, as on a machine that only makes backups."""
    try:
        return manager.verify(backup)
    except IdentityError as error:
        log_ignored("Only the stored bytes are checked", error)
        return manager.verify(backup, level="quick")


@contextmanager
def _alone(manager: BackupManager) -> Iterator[bool]:
    """Hold the lock of scheduled runs; yield whether it was free.

    It lies in the backup directory, for the database's own may be read-only, and one directory may
    hold the backups of several databases.
    """
    fs.make_private_directory(manager.directory, owner_of=manager.database, keeps_out_of_git=True)
    database = hashlib.sha256(
        str(manager.live.marker_place).encode(errors="surrogateescape")
    ).hexdigest()
    path = manager.directory / f".auto_{database[:12]}.lock"
    try:
        lock = fs.acquire_lock(path, timeout=0, owner_of=manager.database, is_shared=True)
    except Timeout:  # the run that holds it does what there is to do
        yield False
        return
    try:
        yield True
    finally:
        fs.release_lock(lock)

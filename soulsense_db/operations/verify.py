"""Verify a backup file by reading it: what its meta file recorded, then what the driver finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import CheckLevel, Driver, Findings, SnapshotInfo
from soulsense_db.errors import (
    BackupNotFoundError,
    InvalidBackupError,
    MetaFileError,
    StorageError,
)
from soulsense_db.events import Verified
from soulsense_db.meta_file import not_found_if_deleted, trusted_meta
from soulsense_db.notices import log_ignored, renamed
from soulsense_db.operations.bases import base_of
from soulsense_db.operations.errors import checksum_differs, faulty_rows
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form import OpenedBackup, opened, verify_stored
from soulsense_db.operations.stored_form_errors import base_changed
from soulsense_db.operations.upgrading import UpgradeReport
from soulsense_db.progress import Progress

_WAIT_SECONDS = 0.1
_LEVELS = ("quick", "full")

VerifyLevel = Literal["quick", "pages", "full", "drill"]
"""How thorough a verification is; ``drill`` restores the backup somewhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """What came of a backup that was restored somewhere else.

    Attributes:
        seconds: How long it took.
        tables: How many tables there are; None where the driver cannot tell.
        rows: How many rows they have together; None likewise.
        rows_compared: Whether each table has as many rows as were recorded when the backup was
            taken; an old backup has no such record.
        alembic_heads: The revisions that it is at.
        checks: The names of the user's own checks, which passed.
        upgrade: What migrations did to what was restored; None without any.
        on_private_server: Whether it was restored to a private server: the user may make no
            databases on that of the live one.

    Example:
        >>> drill = manager.verify("latest", level="drill").drill
        >>> drill.rows_compared, drill.alembic_heads
        (True, ('1975ea83b712',))
    """

    seconds: float
    tables: int | None
    rows: int | None
    rows_compared: bool
    alembic_heads: tuple[str, ...]
    checks: tuple[str, ...] = ()
    upgrade: UpgradeReport | None = None
    on_private_server: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """A backup that passed its checks; one that does not raises an error.

    Attributes:
        backup: The backup.
        level: ``quick``, ``full`` or ``drill``.
        checksum: Whether a recorded SHA-256 was compared; an old backup has none.
        warnings: What is worth knowing of the data and no fault of the backup.
        version: That of the file that was read.
        recorded: Whether the meta file now says when the backup passed.
        drill: What came of a drill; None of another level.
        broken_references: How many rows refer to rows that do not exist; None where that was not
            looked for.

    Example:
        >>> report = manager.verify("latest")
        >>> report.level, report.recorded
        ('full', True)
    """

    backup: BackupInfo
    level: VerifyLevel
    checksum: bool
    warnings: tuple[str, ...]
    version: fs.FileVersion = field(repr=False)
    recorded: bool = False
    drill: DrillReport | None = None
    broken_references: int | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """The old name of ``warnings``."""
        renamed("VerificationReport.remarks", "warnings")
        return self.warnings

    def is_of(self, info: BackupInfo) -> bool:
        """Whether the report is about a backup as it is now, without reading its file.

        Args:
            info: The backup.

        Returns:
            False once the file or its facts have changed.

        Raises:
            BackupNotFoundError: The backup was deleted.

        Example:
            >>> report = manager.verify("latest")
            >>> report.is_of(report.backup)
            True
        """
        with not_found_if_deleted(Path(info.path)):
            return self.backup == info and self.version == fs.version_of(Path(info.path))


def verify_and_record(
    repository: Repository,
    ref: Reference,
    *,
    level: CheckLevel,
    progress: Progress | None = None,
) -> VerificationReport:
    """Do what ``BackupManager.verify`` does."""
    with repository.failing("verify"):
        info = repository.finder.get(ref)
        report = check_and_record(repository, info, level=level, progress=progress)
    repository.tell(
        Verified(
            database=repository.database,
            backup=report.backup,
            level=level,
            warnings=report.warnings,
        )
    )
    return report


def check_and_record(
    repository: Repository,
    info: BackupInfo,
    *,
    level: CheckLevel,
    progress: Progress | None = None,
) -> VerificationReport:
    """Verify a backup and note in its meta file whether it passed."""
    try:
        report = verify_backup(repository, info, level=level, progress=progress)
    except InvalidBackupError:
        record_check(repository, info, verified_at=None)
        raise
    facts: dict[str, Any] = {}
    if info.drill_result != "failed":
        facts["verified_at"] = datetime.now(UTC)
    if info.broken_references is None and report.broken_references is not None:
        facts["broken_references"] = report.broken_references
    recorded = bool(facts) and record_check(repository, info, **facts)
    return replace(
        report,
        recorded=recorded and "verified_at" in facts,
        warnings=report.warnings + failed_drill(info),
    )


def failed_drill(info: BackupInfo) -> tuple[str, ...]:
    """Return what is to be said of a backup whose last drill failed; nothing of any other.

    A drill looks at more than a check by reading does: only one that passes takes that back.
    """
    if info.drill_result != "failed" or info.drilled_at is None:
        return ()
    day = f"{info.drilled_at.astimezone():%Y-%m-%d %H:%M:%S}"
    return (f"it failed its last drill, on {day}, and counts as failed until it passes one",)


def record_check(repository: Repository, info: BackupInfo, **facts: Any) -> bool:
    """Note the outcome in the meta file; return whether that was possible."""
    if info.sha256 is None:  # no meta file, or one of an older program: it stays as it is
        return False
    try:
        repository.directory.amend(info, **facts)
    except (StorageError, MetaFileError, BackupNotFoundError) as error:
        # The directory may be read-only, or the backup deleted meanwhile.
        log_ignored(f"The check of {info.filename} could not be recorded", error)
        return False
    return True


def verify_backup(
    repository: Repository,
    info: BackupInfo,
    *,
    level: CheckLevel,
    accepts_source_errors: bool = False,
    progress: Progress | None = None,
) -> VerificationReport:
    """Check the backup ``info`` without writing to it; of one that is not plain, quick, its bytes.

    ``accepts_source_errors``: no more than it passed when it was taken, where its checksum tells
    that it is what it was then. A damaged index of its source is found in full only.

    Raises :class:`~soulsense_db.errors.InvalidBackupError`,
    :class:`~soulsense_db.errors.MetaFileError`,
    :class:`~soulsense_db.errors.BackupNotFoundError` when it is deleted meanwhile,
    :class:`~soulsense_db.errors.StorageError`.
    """
    if level not in _LEVELS:
        raise ValueError(f"level must be 'quick', 'full' or 'drill', not {level!r}")
    with not_found_if_deleted(Path(info.path), info):
        info = trusted_meta(info)
        version = fs.version_of(Path(info.path))
        if level == "quick" and not info.is_plain and info.sha256 is not None:
            verify_stored(info, progress=progress)
            if info.form.is_differential:
                _verify_base(repository, info)
            return VerificationReport(
                backup=info, level=level, checksum=True, warnings=(), version=version
            )
        with opened(repository, info, progress=progress) as source:
            report = verify_opened(
                repository.driver,
                source,
                level=level,
                version=version,
                accepts_source_errors=accepts_source_errors,
                progress=progress,
            )
        # What was checked may be a copy, and the backup itself is gone.
        fs.version_of(Path(info.path))
        return report


def _verify_base(repository: Repository, info: BackupInfo) -> None:
    """Check the base of a differential as quickly; what is wrong with it is wrong with that."""
    base = base_of(repository, info)
    try:
        verify_backup(repository, base, level="quick")
    except InvalidBackupError as error:
        raise base_changed(Path(info.path), base.filename, error.what.rstrip(".")) from error


def verify_opened(
    driver: Driver,
    source: OpenedBackup,
    *,
    level: CheckLevel,
    version: fs.FileVersion | None = None,
    accepts_source_errors: bool = False,
    progress: Progress | None = None,
) -> VerificationReport:
    """Do as :func:`verify_backup`, with a backup that is open.

    ``version``: that of its file from before it was opened.
    """
    info = trusted_meta(source.info)
    path = source.path
    version = version or fs.version_of(Path(info.path))
    # The header first: it says in better words than a checksum what is wrong.
    driver.check(path, level="quick")
    hashed = info.sha256 is not None and not source.is_private
    known = info.sha256 is not None
    checked: CheckLevel = "pages" if accepts_source_errors and known else level
    # The application may have it open, to look at it.
    sha256, problem, findings = _read(
        driver, path, checked, fs.sha256_of if hashed else None, progress=progress
    )
    if sha256 is not None and (sha256 != info.sha256 or _size(path) != info.size_bytes):
        raise checksum_differs(path) from problem
    if problem is not None:
        raise problem
    if level == "full":
        driver.schema_of(path)  # which a restore compares with what it has written
    if not known and findings.row_errors:
        raise faulty_rows(path, findings.row_errors[0])
    return VerificationReport(
        backup=info,
        level=level,
        checksum=known,
        warnings=findings.row_errors + findings.warnings,
        version=version,
        broken_references=findings.broken_references,
    )


def check_new(
    driver: Driver,
    path: Path,
    *,
    level: CheckLevel,
    snapshot: SnapshotInfo,
    progress: Progress | None = None,
) -> tuple[str, Mapping[str, int] | None]:
    """Check a file just written; return its SHA-256, and how many rows each table has.

    ``snapshot``: what wrote it tells; where that knows the SHA-256, the pages need no look of their
    own. ``progress`` is called now and then with all bytes as done. Faulty rows are no fault of the
    copy: it has those of its source. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` for a file that is not whole, and
    :class:`~soulsense_db.errors.StorageError` for one that does not hold what was written.
    """
    size = _size(path)
    poll = None if progress is None else lambda: progress(size, size)
    counts: Mapping[str, int] | None = None

    def count(poll: Callable[[], object]) -> None:
        nonlocal counts
        counts = driver.count_rows(path, poll=poll)

    written = snapshot.sha256
    if written is not None and level == "pages":
        level = "quick"
    hashed = None if snapshot.was_read else fs.sha256_of_own
    read, problem, _ = _read(driver, path, level, hashed, poll=poll, then=count)
    sha256 = written if snapshot.was_read else read
    if written not in (None, sha256):  # before what a check says of such a file
        raise fs.other_bytes_read(path)
    if problem is not None:
        raise problem
    assert sha256 is not None
    return sha256, counts


def _read(
    driver: Driver,
    path: Path,
    level: CheckLevel,
    hashed: _Hash | None,
    *,
    progress: Progress | None = None,
    poll: Callable[[], object] | None = None,
    then: Callable[[Callable[[], object]], object] | None = None,
) -> tuple[str | None, InvalidBackupError | None, Findings]:
    """Return SHA-256, problem and findings; hash and check side by side, they take as long.

    ``progress`` is that of the hash. ``poll`` is called during the check, and during what is done
    ``then`` with a file that is whole, while the hash may go on; what any of them raises, and
    Ctrl-C, ends all.
    """
    stopped = threading.Event()

    def hashing(done: int, total: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        if progress is not None:
            progress(done, total)

    def checking() -> None:
        if digest is not None and digest.done():
            digest.result()
        if progress is not None and (digest is None or digest.done()):
            size = _size(path)
            progress(size, size)
        if poll is not None:
            poll()

    with ThreadPoolExecutor(1) as side:
        digest = side.submit(hashed, path, progress=hashing) if hashed is not None else None
        problem: InvalidBackupError | None = None
        findings = Findings()
        try:
            findings = driver.check(path, level=level, poll=checking)
            if then is not None:
                then(checking)
        except InvalidBackupError as error:
            problem = error
        except BaseException:
            stopped.set()
            raise
        try:
            while digest is not None and not digest.done():
                # In slices: nothing else wakes the main thread for Ctrl-C on every system.
                wait([digest], timeout=_WAIT_SECONDS)
        except BaseException:
            stopped.set()
            raise
        return (digest.result() if digest else None), problem, findings


class _Hash(Protocol):
    def __call__(self, path: Path, *, progress: Progress | None) -> str: ...


class _StoppedError(Exception):
    """Nobody needs the hash any more."""


def _size(path: Path) -> int:
    with fs.storage_errors("read", path):
        return path.stat().st_size

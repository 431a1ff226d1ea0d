"""Verify a backup file by reading it: what its meta file recorded, then what the driver finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soulsense_db import copying, files
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Depth, Driver, Findings
from soulsense_db.errors import ChecksumMismatchError, InvalidBackupError
from soulsense_db.meta_file import require_trusted_meta, still_there

Level = Literal["quick", "full"]
_DEPTHS: dict[Level, Depth] = {"quick": "header", "full": "full"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """A backup that passed its checks (one that does not raises).

    ``level``: ``quick`` or ``full``; ``checksum``: whether a recorded SHA-256 was compared (an old
    backup has none); ``remarks``: what is worth knowing of the data and no fault of the backup;
    ``recorded``: whether the meta file says now when it passed.
    """

    backup: BackupInfo
    level: Level
    checksum: bool
    remarks: tuple[str, ...]
    recorded: bool = False


def verify_backup(
    driver: Driver,
    info: BackupInfo,
    *,
    level: Level,
    as_taken: bool = False,
    progress: copying.Progress | None = None,
) -> VerificationReport:
    """Check the backup ``info`` without writing to it.

    ``as_taken``: no more than it passed when it was taken, where its checksum tells that it is
    what it was then. A damaged index of its source is found in full only.

    Raises :class:`~soulsense_db.errors.InvalidBackupError`,
    :class:`~soulsense_db.errors.MetaFileError`,
    :class:`~soulsense_db.errors.BackupNotFoundError` when it is deleted meanwhile,
    :class:`~soulsense_db.errors.StorageError`.
    """
    if level not in _DEPTHS:
        raise ValueError(f"level must be 'quick' or 'full', not {level!r}")
    with still_there(Path(info.path)):
        return _verify(driver, info, level=level, as_taken=as_taken, progress=progress)


def _verify(
    driver: Driver,
    info: BackupInfo,
    *,
    level: Level,
    as_taken: bool,
    progress: copying.Progress | None,
) -> VerificationReport:
    info = require_trusted_meta(info)
    path = Path(info.path)
    # The header first: it says in better words than a checksum what is wrong.
    driver.check(path, depth="header")
    hashed = info.sha256 is not None
    depth = "pages" if as_taken and hashed else _DEPTHS[level]
    sha256, problem, findings = _read(driver, path, depth, hashed=hashed, progress=progress)
    if sha256 is not None and (sha256 != info.sha256 or _size(path) != info.size_bytes):
        raise ChecksumMismatchError(
            f"Invalid backup file: {path.name} is not what it was when it was taken (checksum "
            "mismatch). Nothing was changed.",
            hint="Use another backup; this one was damaged or edited on disk.",
        ) from problem
    if problem is not None:
        raise problem
    if level == "full":
        driver.contents(path)  # which a restore compares with what it has written
    if sha256 is None and findings.faults:
        raise InvalidBackupError(
            f"Invalid backup file: {path.name} is damaged ({findings.faults[0]}), or its source "
            "was: without a checksum nobody can tell. Nothing was changed.",
            hint="Use another backup.",
        )
    return VerificationReport(
        backup=info,
        level=level,
        checksum=sha256 is not None,
        remarks=findings.faults + findings.remarks,
    )


def check_new(driver: Driver, path: Path, *, depth: Depth) -> str:
    """Check a file just written and return its SHA-256.

    Faulty rows are no fault of the copy: it has those of its source. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` for a file that is not whole.
    """
    sha256, problem, _ = _read(driver, path, depth, hashed=True)
    if problem is not None:
        raise problem
    assert sha256 is not None
    return sha256


def _read(
    driver: Driver,
    path: Path,
    depth: Depth,
    *,
    hashed: bool,
    progress: copying.Progress | None = None,
) -> tuple[str | None, InvalidBackupError | None, Findings]:
    """Return SHA-256, problem and findings; hash and check side by side, they take as long."""
    with ThreadPoolExecutor(1) as side:
        digest = side.submit(copying.sha256_of, path, progress=progress) if hashed else None
        problem: InvalidBackupError | None = None
        findings = Findings()
        try:
            findings = driver.check(path, depth=depth)
        except InvalidBackupError as error:
            problem = error
        return (digest.result() if digest else None), problem, findings


def _size(path: Path) -> int:
    with files.storage_errors("read", path):
        return path.stat().st_size

"""Make a backup of unknown origin one of this database: somebody says that it is."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, recordable_heads
from soulsense_db.drivers import Driver
from soulsense_db.errors import MetaFileError, NewerFormatError
from soulsense_db.meta_file import not_found_if_deleted, trusted_meta
from soulsense_db.notices import log_ignored
from soulsense_db.operations.errors import known_already, log_beside
from soulsense_db.operations.new_backup import origin_facts
from soulsense_db.operations.references import Finder, Origin, Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form import facts_of_form, opened
from soulsense_db.operations.verify import verify_opened
from soulsense_db.progress import Progress


def adopt_backup(
    repository: Repository, ref: Reference, *, progress: Progress | None
) -> BackupInfo:
    """Verify the backup ``ref`` in full and write a meta file that says it is of this database.

    Time and description stay what they were; the id is a new one. Raises
    :class:`~soulsense_db.errors.WrongDatabaseError` for a backup of another database,
    :class:`~soulsense_db.errors.BackupError` for one that needs no new meta file,
    :class:`~soulsense_db.errors.InvalidBackupError`,
    :class:`~soulsense_db.errors.NewerFormatError`, :class:`~soulsense_db.errors.StorageError`.
    """
    with repository.failing("adopt"):
        return _adopt(repository, repository.finder.get(ref), progress)


def _adopt(repository: Repository, info: BackupInfo, progress: Progress | None) -> BackupInfo:
    driver = repository.driver
    info = _adoptable(driver, repository.finder, info)
    path = Path(info.path)
    with not_found_if_deleted(path):
        status = _status(path)
        sha256 = fs.sha256_of(path, progress=progress)
        with opened(repository, info) as source:
            verify_opened(driver, source, level="full")
            heads = recordable_heads(driver.heads_in(source.path))
            plain = facts_of_form(repository, source)
    adopted = replace(
        info,
        id=secrets.token_hex(6),
        size_bytes=status.st_size,
        sha256=sha256,
        **plain,
        alembic_heads=heads,
        verified_at=datetime.now(UTC),
        **origin_facts(driver, path.parent),
    )
    repository.directory.describe(adopted, is_unchanged=lambda: _same(status, _status(path)))
    repository.rows.record(adopted)
    return adopted


def _adoptable(driver: Driver, finder: Finder, info: BackupInfo) -> BackupInfo:
    """Return ``info`` without what is wrong with its meta file."""
    try:
        info = trusted_meta(info)
    except NewerFormatError:  # it says whose it is, to those who can read it
        raise
    except MetaFileError as error:  # it is replaced
        log_ignored(f"The meta file of {info.filename} tells nothing", error)
        info = replace(info, meta_problem="")
    if finder.origin(finder.get_own(info)) is Origin.OWN:
        raise known_already(info)
    require_no_log(driver, info)
    return info


def require_no_log(driver: Driver, info: BackupInfo) -> None:
    """Raise :class:`~soulsense_db.errors.BackupError` where data lies in a log beside ``info``."""
    for log in driver.companions.logs:
        if fs.exists(Path(info.path + log)):
            raise log_beside(info, log)


def _status(path: Path) -> os.stat_result:
    with fs.storage_errors("read", path):
        return path.stat()


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and (one.st_size, one.st_mtime_ns) == (
        other.st_size,
        other.st_mtime_ns,
    )

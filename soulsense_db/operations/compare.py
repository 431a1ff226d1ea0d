"""Compare the live database with a backup."""

from __future__ import annotations

from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import DatabaseDiff, Progress, RowCounts
from soulsense_db.errors import BackupError
from soulsense_db.meta_file import not_found_if_deleted
from soulsense_db.notices import warn
from soulsense_db.operations.diff import live_as_file
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form import opened
from soulsense_db.sidecars import newest_safety_backup


def compare_with_live(
    repository: Repository, ref: Reference, *, progress: Progress | None
) -> DatabaseDiff:
    """Compare a backup, or the safety backup, with a fresh snapshot of the live database."""
    info = _info_of(repository, ref)
    repository.driver.require_database()
    with opened(repository, info) as source, not_found_if_deleted(source.path):
        return compare_data(repository, info, source.path, progress=progress)


def has_schema_of(repository: Repository, ref: Reference) -> bool:
    """Whether the live database has the tables of a backup, and all else but its rows."""
    info = _info_of(repository, ref)
    with opened(repository, info) as source, not_found_if_deleted(source.path):
        return repository.driver.has_schema_of(source.path, ignore=repository.rows.tables())


def compare_data(
    repository: Repository, info: BackupInfo, path: Path, *, progress: Progress | None
) -> DatabaseDiff:
    """Compare the file ``path``, with data of ``info``, as :func:`compare_with_live` does."""
    is_secret = info.form.is_encrypted
    repository.driver.require_comparable(path)
    with live_as_file(repository, is_secret=is_secret, progress=progress) as copy:
        ignore = repository.rows.tables()
        return repository.driver.compare_copy(copy, path, ignore=ignore, progress=progress)


def row_counts(repository: Repository, ref: Reference) -> tuple[RowCounts, ...]:
    """Count the rows of each table in a backup, or the safety backup, and in the live database."""
    info = _info_of(repository, ref)
    with opened(repository, info) as source, not_found_if_deleted(source.path):
        ignore = repository.rows.tables(if_unreadable=True)
        return repository.driver.row_counts(source.path, ignore=ignore)


def _info_of(repository: Repository, ref: Reference) -> BackupInfo:
    """Return the facts of a backup of this database, or of its safety backup."""
    if isinstance(ref, BackupInfo) and ref == newest_safety_backup(repository.sidecar_base):
        return ref
    return repository.finder.get_own(ref)


def has_same_content(repository: Repository, snapshot: Path, info: BackupInfo) -> bool:
    """Whether a snapshot has the content of a backup; not, if that cannot be found out."""
    try:
        if info.plain_sha256 is not None and info.plain_sha256 == fs.sha256_of_own(snapshot):
            return True  # and it need not be decoded
        ignore = repository.rows.tables()
        with opened(repository, info) as source:
            found = repository.driver.compare_copy(snapshot, source.path, ignore=ignore)
    except BackupError as error:
        _warn_of_incomparable(info, error.cause)
        return False
    unknown = [one.table for one in found.tables if one.is_unknown]
    if found.same_schema and len(unknown) == len(found.tables) > 0:
        _warn_of_incomparable(info, f"table {unknown[0]} cannot be read by its name")
    return found.identical


def _warn_of_incomparable(info: BackupInfo, why: str) -> None:
    """Log why a schedule fills the disk with backups of a database that does not change."""
    warn(
        f"The database could not be compared with the newest backup, {info.filename} ({why}): "
        "until it can be, a backup is made on every run."
    )

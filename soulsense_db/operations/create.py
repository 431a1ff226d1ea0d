"""Create a backup of the live database."""

from __future__ import annotations

from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Progress, SnapshotInfo
from soulsense_db.operations.bases import base_for_new
from soulsense_db.operations.compare import has_same_content
from soulsense_db.operations.forms import USUAL_RATIO
from soulsense_db.operations.new_backup import NewBackup, add_backup, blaming_live_database
from soulsense_db.operations.prune import prune_after
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.retention import RetentionPolicy


class _SameContentError(Exception):
    """A snapshot has what an earlier backup has: no other one is needed."""


def create_backup(
    repository: Repository,
    new: NewBackup,
    *,
    retention: RetentionPolicy | None,
    progress: Progress | None,
) -> BackupInfo:
    """Take a backup of the live database, then remove what ``retention`` does not keep."""
    with repository.failing("create"):
        info = _create(repository, new, None, progress)
    if retention is not None:
        prune_after(repository, info, retention)
    return info


def create_unless_same(
    repository: Repository,
    new: NewBackup,
    ref: Reference,
    *,
    retention: RetentionPolicy | None,
    progress: Progress | None,
) -> BackupInfo | None:
    """Do as :func:`create_backup`; None when the content is that of the backup ``ref``."""
    with repository.failing("create"):
        try:
            info = _create(repository, new, repository.finder.get_own(ref), progress)
        except _SameContentError:
            return None
    if retention is not None:
        prune_after(repository, info, retention)
    return info


def _create(
    repository: Repository, new: NewBackup, earlier: BackupInfo | None, progress: Progress | None
) -> BackupInfo:
    driver = repository.driver
    require_ready(repository)
    driver.return_idle_connections()
    size = driver.size()  # once: a server may have to add it up
    fs.require_space(repository.directory.directory, _expected_size(repository, size))

    def write(target: Path, progress: Progress | None) -> SnapshotInfo:
        snapshot = driver.snapshot(target, progress=progress)
        if earlier is not None and has_same_content(repository, target, earlier):
            raise _SameContentError
        return snapshot

    with blaming_live_database(driver):
        return add_backup(repository, new, write, size_bytes=size, progress=progress)


def _expected_size(repository: Repository, size: int) -> int:
    """Return how many bytes a new backup of ``size`` may take, in the form that new ones have."""
    forms = repository.forms
    if forms.compression is None:
        return size
    form = forms.of_full if base_for_new(repository) is None else forms.of_differential
    earlier = (info for info in repository.finder.list() if info.form == form)
    newest = next((info for info in earlier if info.plain_size_bytes), None)
    ratio = USUAL_RATIO if newest is None else newest.size_bytes / newest.restored_size_bytes
    return int(size * ratio)


def require_ready(repository: Repository) -> None:
    """Raise what keeps a backup from being begun; nothing is made."""
    repository.forms.require()
    repository.driver.require_database()
    repository.driver.require_restorable()
    repository.rows.require_free()

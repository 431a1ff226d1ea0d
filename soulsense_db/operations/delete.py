"""Delete a backup that nothing protects."""

from __future__ import annotations

from soulsense_db.backup_info import BackupInfo, dependents
from soulsense_db.completion import Completion
from soulsense_db.directory import pinned
from soulsense_db.events import Removed
from soulsense_db.operations.adopt import require_no_log
from soulsense_db.operations.errors import is_way_back
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.sidecars import markers_needing


def delete_backup(repository: Repository, ref: Reference, *, cascade: bool = False) -> None:
    """Do what ``BackupManager.delete`` does."""
    reason = "deleted by hand"
    if cascade:
        with repository.failing("delete"):
            info = repository.finder.get(ref)
            needing = dependents_of(repository, info)
            for other in (info, *needing):  # before any of them goes
                if other.pinned:
                    raise pinned(other)
                _require_deletable(repository, other)
        for other in needing:
            repository.tell(deleted(repository, other, reason=f"its base was {reason}"))
    repository.tell(deleted(repository, ref, reason=reason))


def dependents_of(repository: Repository, ref: Reference) -> list[BackupInfo]:
    """Return the differentials that cannot be restored without the backup ``ref``."""
    return dependents(repository.finder.get(ref), repository.directory.list())


def deleted(repository: Repository, ref: Reference, *, reason: str) -> Removed:
    """Delete a backup that nothing protects, and its row; return what there is to tell of it."""
    with repository.failing("delete"):
        info = repository.finder.get(ref)
        _require_deletable(repository, info)
        _delete(repository, info)
    return Removed(database=repository.database, backup=info, reason=reason)


def _require_deletable(repository: Repository, info: BackupInfo) -> None:
    marker = markers_needing(repository.marker_place, [info]).get(info.filename)
    if marker is not None:
        raise is_way_back(
            info,
            repository.name,
            repository.driver.address,
            is_sure=marker.backup is not None,
        )
    if info.of_unknown_origin:  # perhaps it is somebody's database, and no backup at all
        require_no_log(repository.driver, info)


def _delete(repository: Repository, info: BackupInfo) -> None:
    repository.directory.delete(info)
    completion = Completion(f"The backup {info.filename} was deleted.")
    with completion.then("Its row could not be removed from the catalog"):
        repository.rows.forget(info.filename)
    completion.log()

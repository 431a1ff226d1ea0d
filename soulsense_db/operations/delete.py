"""Delete a backup that nothing protects."""

from __future__ import annotations

from soulsense_db.backup_info import BackupInfo
from soulsense_db.completion import Completion
from soulsense_db.events import Removed
from soulsense_db.operations.adopt import require_no_log
from soulsense_db.operations.errors import is_way_back
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.sidecars import markers_needing


def delete_backup(repository: Repository, ref: Reference) -> None:
    """Do what ``BackupManager.delete`` does."""
    repository.tell(deleted(repository, ref, reason="deleted by hand"))


def deleted(repository: Repository, ref: Reference, *, reason: str) -> Removed:
    """Delete a backup that nothing protects, and its row; return what there is to tell of it."""
    with repository.failing("delete"):
        info = repository.finder.get(ref)
        _delete(repository, info)
    return Removed(database=repository.database, backup=info, reason=reason)


def _delete(repository: Repository, info: BackupInfo) -> None:
    marker = markers_needing(repository.driver.location, [info]).get(info.filename)
    if marker is not None:
        raise is_way_back(
            info,
            repository.driver.location,
            repository.driver.address,
            is_sure=marker.backup is not None,
        )
    if info.of_unknown_origin:  # perhaps it is somebody's database, and no backup at all
        require_no_log(repository.driver, info)
    repository.directory.delete(info)
    completion = Completion(f"The backup {info.filename} was deleted.")
    with completion.then("Its row could not be removed from the catalog"):
        repository.rows.forget(info.filename)
    completion.log()

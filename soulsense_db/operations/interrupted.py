"""What is said of a migration that died half-way: the backup from before it, wherever it is now."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from soulsense_db import fs
from soulsense_db.errors import BackupError, InterruptedMigrationError
from soulsense_db.notices import ignoring
from soulsense_db.operations.repository import Repository
from soulsense_db.sidecars import MigrationMarker, is_its_backup


def error_of(repository: Repository, marker: MigrationMarker) -> InterruptedMigrationError:
    """Return the error of ``marker``; its backup may have been brought here."""
    if marker.backup is not None and not fs.exists(Path(marker.backup)):
        with ignoring(BackupError, what="Whether the backup was brought here is not known"):
            here = (info for info in repository.directory.list() if is_its_backup(marker, info))
            if (info := next(here, None)) is not None:
                marker = replace(marker, backup=info.path)
    return marker.error(repository.name, repository.driver.address)

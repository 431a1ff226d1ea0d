"""The backup that a restore reads, open, and where its decoded copy may be."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form import OpenedBackup, opened
from soulsense_db.operations.verify import VerificationReport, verify_backup


def opened_to_restore(
    repository: Repository, info: BackupInfo
) -> AbstractContextManager[OpenedBackup]:
    """Open ``info`` where its copy takes no room that the restore needs."""
    if info.is_plain:
        return opened(repository, info)
    spares = room_of_restore(repository.driver.size_now(), info.restored_size_bytes)
    return opened(repository, info, spares=spares)


def room_of_restore(live: int, backup: int) -> int:
    """Return the bytes for the safety backup, the journal or log, and for what is larger."""
    return live + max(live, backup) + max(0, backup - live)


@dataclass(frozen=True, slots=True)
class Source:
    """The backup that is restored, its data, and the report on it."""

    repository: Repository
    opened: OpenedBackup
    verified: VerificationReport
    accepts_source_errors: bool

    @property
    def info(self) -> BackupInfo:
        """Its facts."""
        return self.verified.backup

    @property
    def path(self) -> Path:
        """Where its data is."""
        return self.opened.path

    def verify_again(self) -> None:
        """Verify it once more if its file has changed: minutes may have passed."""
        if not self.opened.is_private and not self.verified.is_of(self.info):
            verify_backup(
                self.repository,
                self.info,
                level="full",
                accepts_source_errors=self.accepts_source_errors,
            )

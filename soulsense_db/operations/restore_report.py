"""What a restore did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.notices import renamed
from soulsense_db.operations.upgrading import UpgradeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that was done.

    Attributes:
        source: The backup that was restored.
        safety_backup: The copy of the previous database; None where it could not be made.
        moved_aside: The new names of the files of a missing or damaged database, and of the safety
            backup of an earlier restore.
        verified: Whether the result was read through a new connection and is right. False when that
            could not be done, for example because of somebody else's lock or an error in the
            application's functions.
        duration_seconds: How long it took.
        catalog_rebuilt: Whether the table ``backups`` was brought in step.
        warnings: What failed once the database was restored, a sentence each.
        upgrade: What migrations did to the data before it was put in place; None without any.

    Example:
        >>> report = manager.restore("latest")
        >>> report.source.description, report.catalog_rebuilt, report.warnings
        ('Before the import', True, ())
    """

    source: BackupInfo
    safety_backup: Path | None
    moved_aside: tuple[Path, ...]
    verified: bool
    duration_seconds: float
    catalog_rebuilt: bool = False
    warnings: tuple[str, ...] = ()
    upgrade: UpgradeReport | None = None

    @property
    def read_back(self) -> bool:
        """The old name of ``verified``."""
        renamed("RestoreReport.read_back", "verified")
        return self.verified

    @property
    def remarks(self) -> tuple[str, ...]:
        """The old name of ``warnings``."""
        renamed("RestoreReport.remarks", "warnings")
        return self.warnings

"""Why a backup's data does not come to today's code, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    InterruptedMigrationError,
    RehearsalFailedError,
    UnsupportedDatabaseError,
)
from soulsense_db.operations.upgrading import UpgradeReport

_ON_A_COPY = "The migrations ran on a copy. The live database is as it was."
_AS_IT_IS = "Or restore the backup without migrating it."


def not_upgraded(info: BackupInfo, report: UpgradeReport) -> RehearsalFailedError:
    """Return the error for data that does not migrate."""
    return RehearsalFailedError(
        f"{info.filename} cannot be migrated to {report.revision}: {report.problem.rstrip('.')}.",
        state=_ON_A_COPY,
        hint=f"Correct the migration, and try again. {_AS_IT_IS}",
        path=Path(info.path),
        reason=report.problem,
    )


def damaged_by_upgrade(
    info: BackupInfo, report: UpgradeReport, reason: str
) -> RehearsalFailedError:
    """Return the error for migrated data that fails its check."""
    return RehearsalFailedError(
        f"{info.filename} is not sound once it is migrated to {report.revision}: "
        f"{reason.rstrip('.')}.",
        state=_ON_A_COPY,
        hint=f"Correct the migration, and try again. {_AS_IT_IS}",
        path=Path(info.path),
        reason=reason,
    )


def writes_elsewhere(info: BackupInfo, others: Sequence[Path]) -> UnsupportedDatabaseError:
    """Return the error for migrations that change databases which are not in the backup."""
    named = ", ".join(map(str, others))
    return UnsupportedDatabaseError(
        f"The migrations of {info.filename} also write to {named}, which is not in the backup.",
        state=_ON_A_COPY,
        hint="Restore the backup without migrating it, and run 'alembic upgrade' after that.",
        path=Path(info.path),
        candidates=tuple(map(str, others)),
    )


def taken_half_way(info: BackupInfo) -> InterruptedMigrationError:
    """Return the error for a backup whose data was half migrated when it was taken."""
    return InterruptedMigrationError(
        f"{info.filename} was taken before a migration had finished: no migration can go on from "
        "there.",
        hint=f"Use a backup from before that migration. {_AS_IT_IS}",
        path=Path(info.path),
    )

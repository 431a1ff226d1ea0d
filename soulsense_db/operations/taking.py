"""Take a backup file: write it, check it, describe it. It has no final name yet."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, BackupKind, recordable_heads
from soulsense_db.drivers import CheckLevel, Driver, Progress, SnapshotInfo
from soulsense_db.errors import InvalidBackupError
from soulsense_db.fs import fits_sqlite
from soulsense_db.operations.errors import live_damaged, path_too_long
from soulsense_db.operations.verify import check_new
from soulsense_db.sidecars import MigrationMarker, facts_of, standing_for_a_copy


def take(
    driver: Driver,
    write: Callable[[Path], SnapshotInfo],
    target: Path,
    *,
    final: Path,
    level: CheckLevel,
    kind: BackupKind,
    description: str,
    created_at: datetime | None = None,
    alembic_heads: Sequence[str] | None = None,
    target_revision: str | None = None,
    markers: tuple[MigrationMarker, ...] | None = None,
    progress: Progress | None = None,
) -> BackupInfo:
    """Have ``write`` fill the existing empty file ``target``; return its facts as of ``final``.

    ``level`` of the check and ``created_at`` (now by default) as in a backup's facts;
    ``alembic_heads`` are those in the copy unless given; ``markers``: of the migrations that had
    not ended in what ``write`` copies, by default those of the live database. ``progress`` is
    called while it is checked. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` and what ``write`` raises.
    """
    started = time.monotonic()
    _require_short_path(target)
    created_at = created_at or datetime.now(UTC)
    # Looked for before and after: a migration may begin or end while the copy is made.
    half_run = standing_for_a_copy(driver) if markers is None else markers
    with fs.flushing(target):
        snapshot = write(target)
        if markers is None:
            half_run = half_run or standing_for_a_copy(driver)
        sha256 = check_new(driver, target, level=level, progress=progress)
    return BackupInfo(
        id=secrets.token_hex(6),
        path=str(final),
        created_at=created_at,
        size_bytes=snapshot.size_bytes,
        kind=kind,
        description=description,
        sha256=sha256,
        **origin_facts(driver, final.parent),
        alembic_heads=recordable_heads(snapshot.alembic_heads)
        if alembic_heads is None
        else tuple(alembic_heads),
        target_revision=target_revision,
        duration_seconds=round(time.monotonic() - started, 3),
        driver_facts={**snapshot.facts, **facts_of(half_run)},
        verified_at=datetime.now(UTC),
        half_run=bool(half_run),
    )


def origin_facts(driver: Driver, directory: Path) -> dict[str, Any]:
    """Return the facts that say of a backup in ``directory`` of which database it is."""
    location = driver.location
    return {
        "dialect": driver.dialect,
        "database": driver.database,
        "database_path": str(location) if location else None,
        "database_relative": fs.relative_path(location, directory) if location else None,
    }


def _require_short_path(target: Path) -> None:
    if not fits_sqlite(target):
        raise path_too_long(target)


@contextmanager
def blaming_live_database(driver: Driver) -> Iterator[None]:
    """Say of a copy of the live database that fails its check what that means.

    Raises :class:`~soulsense_db.errors.DatabaseDamagedError`: the copy is faithful, the live data
    is damaged.
    """
    try:
        yield
    except InvalidBackupError as error:
        raise live_damaged(driver.location or driver.database, error.reason) from error

"""Take a backup file: write it, check it, describe it. It has no final name yet."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import files
from soulsense_db.backup_info import BackupInfo, BackupKind, recordable_heads
from soulsense_db.drivers import Depth, Driver, Snapshot
from soulsense_db.errors import DatabaseDamagedError, InvalidBackupError
from soulsense_db.verification import check_new


def take(
    driver: Driver,
    write: Callable[[Path], Snapshot],
    target: Path,
    *,
    final: Path,
    depth: Depth,
    kind: BackupKind,
    description: str,
    created_at: datetime | None = None,
    alembic_heads: Sequence[str] | None = None,
    target_revision: str | None = None,
) -> BackupInfo:
    """Have ``write`` fill the existing empty file ``target``; return its facts as of ``final``.

    ``depth`` of the check and ``created_at`` (now by default) as in a backup's facts;
    ``alembic_heads`` are those in the copy unless given. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` and what ``write`` raises.
    """
    started = time.monotonic()
    created_at = created_at or datetime.now(UTC)
    with files.flushing(target):
        snapshot = write(target)
        sha256 = check_new(driver, target, depth=depth)
    location = driver.location
    return BackupInfo(
        id=secrets.token_hex(6),
        path=str(final),
        created_at=created_at,
        size_bytes=snapshot.size_bytes,
        kind=kind,
        description=description,
        sha256=sha256,
        dialect=driver.dialect,
        database=driver.database,
        database_path=str(location) if location else None,
        database_relative=files.relative_path(location, final.parent) if location else None,
        alembic_heads=recordable_heads(snapshot.alembic_heads)
        if alembic_heads is None
        else tuple(alembic_heads),
        target_revision=target_revision,
        duration_seconds=round(time.monotonic() - started, 3),
        driver_facts=snapshot.facts,
        verified_at=datetime.now(UTC),
    )


@contextmanager
def of_live(driver: Driver) -> Iterator[None]:
    """Say of a copy of the live database that fails its check what that means.

    Raises :class:`~soulsense_db.errors.DatabaseDamagedError`: the copy is faithful, the live data
    is damaged.
    """
    try:
        yield
    except InvalidBackupError as error:
        raise DatabaseDamagedError(
            f"The live database {driver.location or driver.database} is damaged"
            f"{f' ({error.reason})' if error.reason else ''}. It was left as it is, and no backup "
            "was made.",
            hint="Restore an earlier backup: the damaged files are moved aside and kept.",
        ) from error

"""What is known here of each mirror, without asking it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from soulsense_db.backup_info import BackupInfo, without_base
from soulsense_db.mirroring.options import Mirrors, MirrorTarget
from soulsense_db.mirroring.selection import known, owed
from soulsense_db.mirrors import MirrorRecord, RecordFile
from soulsense_db.operations import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorStatus:
    """What is known here of one mirror, without asking it.

    Attributes:
        address: Where it is.
        folder: The folder for this database there.
        seen_at: When it was in step the last time, aware; None if it never was.
        backups: What is there, newest first, as far as it is known.
        owed: The local backups that are not there and are to be, oldest first.
        failures: How many tries in a row have failed.
        error: Why the last one did; empty if it did not.
        next_try_at: When the next try may be, where nobody asks for one.
        is_append_only: Whether nothing can be removed there.
        damaged: What is there and cannot be restored, by name: why.

    Example:
        >>> synced = manager.mirrors.sync()
        >>> status = manager.mirrors.status()[0]
        >>> len(status.backups), len(status.owed), status.error
        (1, 0, '')
    """

    address: str
    folder: str
    seen_at: datetime | None = None
    backups: tuple[BackupInfo, ...] = ()
    owed: tuple[BackupInfo, ...] = ()
    failures: int = 0
    error: str = ""
    next_try_at: datetime | None = None
    is_append_only: bool = False
    damaged: tuple[tuple[str, str], ...] = ()


def mirror_statuses(repository: Repository, mirrors: Mirrors) -> list[MirrorStatus]:
    """Return what is known of each of ``mirrors``."""
    if not mirrors.targets:
        return []
    records = RecordFile(repository.directory.directory, repository.known_as).read()
    local = known(repository)
    return [
        _status(target, mirrors, records.get(target.address, MirrorRecord()), local, repository)
        for target in mirrors.targets
    ]


def _status(
    target: MirrorTarget,
    mirrors: Mirrors,
    record: MirrorRecord,
    local: list[BackupInfo],
    repository: Repository,
) -> MirrorStatus:
    there = [i for i in record.backups(target.address) if i.filename not in record.damaged]
    unusable = {info.filename for info in without_base(there)}
    there = [info for info in there if info.filename not in unusable]
    return MirrorStatus(
        address=target.address,
        folder=mirrors.folder_at(record),
        seen_at=record.seen_at,
        backups=tuple(there),
        owed=tuple(owed(local, there, target.retention, repository)),
        failures=record.failures,
        error=record.error,
        next_try_at=record.next_try_at,
        is_append_only=record.is_append_only,
        damaged=tuple(sorted(record.damaged.items())),
    )

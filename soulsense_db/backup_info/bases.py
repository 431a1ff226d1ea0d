"""Which full backups are needed by differentials.

A base is known by the checksum of the database in it, whatever its form and name: a second backup
with the same content is as good. A differential needs its base alone, never another differential.
"""

from __future__ import annotations

from collections.abc import Iterable

from soulsense_db.backup_info.info import BackupInfo


def may_be_base(info: BackupInfo) -> bool:
    """Whether ``info`` is a full backup whose content is known."""
    if info.form.is_differential or info.meta_problem:
        return False
    return info.database_sha256 is not None


def dependents(base: BackupInfo, backups: Iterable[BackupInfo]) -> list[BackupInfo]:
    """Return those of ``backups`` that need ``base``: no other of them has its content."""
    if not may_be_base(base):
        return []
    needing = []
    for info in backups:
        if info.base_sha256 == base.database_sha256:
            needing.append(info)
        elif (
            info.database_sha256 == base.database_sha256
            and info.filename != base.filename
            and may_be_base(info)
        ):
            return []
    return needing


def without_base(backups: Iterable[BackupInfo]) -> list[BackupInfo]:
    """Return the differentials whose base is not among ``backups``."""
    everything = list(backups)
    there = {info.database_sha256 for info in everything if may_be_base(info)}
    return [info for info in everything if info.base_sha256 and info.base_sha256 not in there]

"""Which full backups are needed by differentials.

A base is known by the checksum of the database in it, whatever its form and name: a second backup
with the same content is as good, unless it has failed a check, or takes a key that the differential
does not. A differential needs its base alone, never another differential.
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
    """Return those of ``backups`` that need ``base``: none is as good for them."""
    wanted = base.database_sha256
    if wanted is None or not may_be_base(base):
        return []
    needing, others = [], []
    for info in backups:
        if info.base_sha256 == wanted:
            needing.append(info)
        elif info.filename != base.filename and _holds(info, wanted):
            others.append(info)
    if not (needing and others):
        return needing
    return [info for info in needing if not _is_replaced(base, info, others)]


def is_best_base(base: BackupInfo, info: BackupInfo) -> bool:
    """Whether no other with the same content is a better base of the differential ``info``."""
    return not any(_faults(base, info)) and base.filename == info.base_name


def _faults(base: BackupInfo, info: BackupInfo) -> tuple[bool, bool]:
    """Return whether it has failed a check, and whether it takes a key that ``info`` does not."""
    return base.verified_at is None, base.form.is_encrypted and not info.form.is_encrypted


def _is_replaced(base: BackupInfo, info: BackupInfo, others: Iterable[BackupInfo]) -> bool:
    """Whether one of ``others`` is as good a base of ``info`` as ``base``."""
    known = _faults(base, info)
    # Each way: one that is damaged does not stand in for one that takes a key.
    return any(
        all(one <= other for one, other in zip(_faults(found, info), known, strict=True))
        for found in others
    )


def bases_for(info: BackupInfo, backups: Iterable[BackupInfo]) -> list[BackupInfo]:
    """Return those of ``backups`` that the differential ``info`` can be read with.

    The best first, which is what everybody takes: of equally good ones that which it was made with.
    """
    wanted = info.base_sha256
    found = [] if wanted is None else [other for other in backups if _holds(other, wanted)]
    return sorted(found, key=lambda base: (_faults(base, info), base.filename != info.base_name))


def _holds(info: BackupInfo, wanted: str) -> bool:
    """Whether ``info`` can be the base with the checksum ``wanted``."""
    # To compare first is much faster, and lists are long.
    found = wanted in (info.sha256, info.plain_sha256)
    return found and info.database_sha256 == wanted and may_be_base(info)


def without_base(backups: Iterable[BackupInfo]) -> list[BackupInfo]:
    """Return the differentials whose base is not among ``backups``."""
    everything = list(backups)
    there = {info.database_sha256 for info in everything if may_be_base(info)}
    return [info for info in everything if info.base_sha256 and info.base_sha256 not in there]

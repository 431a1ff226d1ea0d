"""Whether backups are there and whole, as far as it can be told without reading them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from soulsense_db.backup_info import BackupInfo, bases_for, may_be_base
from soulsense_db.health.report import HealthCheck, Numbers, State, first_of


def files_check(
    backups: Sequence[BackupInfo],
    missing: Mapping[str, str],
    newest: BackupInfo | None,
    numbers: Numbers,
) -> HealthCheck:
    """Tell of damaged backups, and of ``missing`` ones; ``newest``: what ``latest`` is."""
    damaged = [info for info in backups if _problem(info)]
    numbers |= {"damaged": len(damaged), "missing": len(missing)}
    found = [f"{info.filename}: {_problem(info)}" for info in damaged]
    found += [f"{name}: {what}" for name, what in sorted(missing.items())]
    if not found:
        message = f"{len(backups)} backup(s), none missing"
        if unknown := sum(info.of_unknown_origin for info in backups):
            message += f"; {unknown} of unknown origin"
        return HealthCheck(name="files", state=State.OK, message=message)
    return HealthCheck(
        name="files",
        state=State.CRITICAL if newest in damaged else State.WARNING,
        message=first_of(found, "; "),
    )


def bases_check(
    backups: Sequence[BackupInfo], others: Sequence[BackupInfo], numbers: Numbers
) -> Iterator[HealthCheck]:
    """Tell of differentials that cannot be restored: their base is gone or damaged.

    ``others``: backups of other databases; one that was copied here with them may count as one.
    """
    full = list(filter(may_be_base, (*backups, *others)))
    needing: dict[str, list[str]] = {}  # by what is wrong with the base
    for info in backups:
        if info.base_sha256 is None:
            continue
        if problem := _problem_of_base(info, full):
            needing.setdefault(problem, []).append(info.filename)
    numbers["without_base"] = sum(map(len, needing.values()))
    if needing:
        found = [f"{what}, needed by {first_of(who, ', ')}" for what, who in needing.items()]
        yield HealthCheck(name="bases", state=State.CRITICAL, message=first_of(found, "; "))


def _problem(info: BackupInfo) -> str:
    """Return what can be told to be wrong with a backup without reading it, or nothing."""
    if info.meta_problem:
        return "its meta file is damaged"
    try:
        size = os.stat(info.path).st_size
    except FileNotFoundError:
        return "it was deleted a moment ago"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    # Not by opening it: SQLite may have it open in this process, and would lose its locks.
    if not os.access(info.path, os.R_OK):
        return "it cannot be read (permission denied)"
    return _size_problem(info, size)


def _problem_of_base(info: BackupInfo, backups: Sequence[BackupInfo]) -> str:
    """Return what is wrong with the base of the differential ``info``, or nothing."""
    bases = bases_for(info, backups)
    if not bases:
        return f"the base {info.base_name or info.base_sha256} is missing"
    problem = _problem(bases[0])
    return f"the base {bases[0].filename} cannot be used: {problem}" if problem else ""


def _size_problem(info: BackupInfo, size: int) -> str:
    if size == 0:
        return "it is empty"
    if info.sha256 is not None and size != info.size_bytes:
        return f"it has {size:,} bytes instead of {info.size_bytes:,}"
    if info.sha256 is not None and info.verified_at is None:
        return f"it failed its last {'drill' if info.drill_result == 'failed' else 'check'}"
    return ""

"""Find what differs between a backup and the live database, or between two backups."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import DiffReport, Progress
from soulsense_db.meta_file import not_found_if_deleted
from soulsense_db.notices import warn
from soulsense_db.operations.errors import no_such_number_of_rows
from soulsense_db.operations.references import Origin, Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form import opened
from soulsense_db.sidecars import newest_safety_backup

MOST_ROWS = 1000
"""How many samples of each kind and table may be asked for: all of them are kept in memory."""
_ASK_SECONDS = 0.2


def diff_backups(
    repository: Repository,
    ref: Reference,
    other: Reference | None,
    *,
    tables: Collection[str],
    rows: int,
    progress: Progress | None,
) -> DiffReport:
    """Find what differs from the backup ``ref`` to ``other``, or else to the live database."""
    if not 0 <= rows <= MOST_ROWS:
        raise no_such_number_of_rows(rows, MOST_ROWS)
    driver = repository.driver
    infos = [backup_named(repository, one) for one in (ref, other) if one is not None]
    if other is None:
        driver.require_database()
    ask = None if progress is None else without_numbers(progress)
    is_secret = any(info.form.is_encrypted for info in infos)
    with _as_file(repository, infos[0], ask) as first:
        second = (
            live_as_file(repository, is_secret=is_secret, progress=progress)
            if other is None
            else _as_file(repository, infos[1], ask)
        )
        with second as path:
            return driver.diff(
                first,
                path,
                ignore=repository.rows.tables(if_unreadable=other is not None),
                only=(tables,) if isinstance(tables, str) else tables,
                rows=rows,
                of_live=() if other is not None else (path,),
                progress=progress,
            )


def backup_named(repository: Repository, ref: Reference) -> BackupInfo:
    """Return the facts of a backup, or of the safety backup; warn of one of another database."""
    if isinstance(ref, BackupInfo) and ref == newest_safety_backup(repository.sidecar_base):
        return ref
    info = repository.finder.get(ref)
    if repository.finder.origin(info) is Origin.OTHER:
        # Nothing is written: what is found out may be just what somebody wants to know.
        warn(
            f"{info.filename} is a backup of another database, "
            f"{info.database_path or info.database}."
        )
    return info


@contextmanager
def _as_file(repository: Repository, info: BackupInfo, ask: Progress | None) -> Iterator[Path]:
    with (
        opened(repository, info, progress=ask) as source,
        not_found_if_deleted(Path(info.path), info),
    ):
        yield source.path


@contextmanager
def live_as_file(
    repository: Repository, *, is_secret: bool, progress: Progress | None
) -> Iterator[Path]:
    """Yield a copy of the live database, of one moment, which is gone at the end."""
    driver = repository.driver
    with repository.work_file(driver.size(), is_secret=is_secret) as copy:
        driver.snapshot(copy, progress=None if progress is None else without_numbers(progress))
        yield copy


def without_numbers(progress: Progress) -> Progress:
    """Return a progress for what comes before the rows: asked is only whether to go on."""
    asked = time.monotonic()

    def ask(_done: int, _total: int) -> None:
        nonlocal asked
        if time.monotonic() - asked >= _ASK_SECONDS:
            asked = time.monotonic()
            progress(0, 0)

    return ask

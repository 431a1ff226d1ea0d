"""Make a backup: write its data, check it, describe it, give it its name and its row."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soulsense_db import fs
from soulsense_db.backup_info import (
    KINDS,
    BackupInfo,
    BackupKind,
    Form,
    recordable_heads,
    recordable_row_counts,
)
from soulsense_db.catalog import row_name
from soulsense_db.completion import Completion
from soulsense_db.directory import Staging
from soulsense_db.drivers import CheckLevel, Driver, Progress, SnapshotInfo
from soulsense_db.errors import BaseError, InvalidBackupError
from soulsense_db.events import Created
from soulsense_db.notices import warn
from soulsense_db.operations.bases import base_for_new
from soulsense_db.operations.encoding import UnusableBaseError, encode
from soulsense_db.operations.errors import live_damaged, path_too_long
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.sealing import with_sealed_facts
from soulsense_db.operations.servers import server_facts
from soulsense_db.operations.verify import check_new
from soulsense_db.sidecars import MigrationMarker, facts_of, standing_for_a_copy

HEADS_GIVEN = "heads_given"
"""The fact that the revisions of a backup are not those in the table ``alembic_version``."""
DATED_BY = "dated_by"
"""The fact that says where the date of an imported backup comes from."""

Write = Callable[[Path, Progress | None], SnapshotInfo]
"""Fills the existing empty file with a database, and tells the progress how far it is.

Returns what is known of its content.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBackup:
    """What is known of a backup before it is made.

    ``created_at``: of one from elsewhere, else it is now. ``dated_by``: where that comes from, as
    the fact :data:`DATED_BY` has it. ``alembic_heads``: those in the data
    unless given. ``markers``: of the migrations that had not ended in what is copied, by default
    those of the live database. ``check_level``: how its data is checked.
    """

    kind: BackupKind
    description: str = ""
    created_at: datetime | None = None
    dated_by: str = ""
    alembic_heads: tuple[str, ...] | None = None
    target_revision: str | None = None
    markers: tuple[MigrationMarker, ...] | None = None
    check_level: CheckLevel = "pages"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")


def add_backup(
    repository: Repository,
    new: NewBackup,
    write: Write,
    *,
    size_bytes: int,
    progress: Progress | None,
) -> BackupInfo:
    """Stage what ``write`` writes, check it, publish it, record it, and tell of it.

    ``size_bytes``: about what it writes.
    """
    directory = repository.directory
    created_at = new.created_at or datetime.now(UTC)
    # One that is made now is the newest of all from here on.
    ordered_at = directory.order_of_new(created_at) if new.created_at is None else None
    new = replace(new, created_at=created_at)
    completion = Completion()

    def publish(base: BackupInfo | None) -> BackupInfo:
        forms = repository.forms
        form = forms.of_full if base is None else forms.of_differential
        shown = "" if form.is_encrypted and not forms.describes_openly else new.description
        with completion, directory.stage(created_at, shown, ending=form.ending) as staging:
            info = _fill(
                repository, new, write, staging, base, size_bytes=size_bytes, progress=progress
            )
            info = with_sealed_facts(repository, replace(info, ordered_at=ordered_at))
            if progress is not None:  # here still nothing is left of it when that raises
                progress(info.restored_size_bytes, info.restored_size_bytes)
            directory.publish(staging, info, base=base)
            completion.reached(f"The backup {info.filename} was created.")
        return info

    info = _based_or_full(repository, new, publish)
    _warn_of_attached(repository, info)
    with completion.then("Its row could not be written to the catalog"):
        rows = repository.rows.record(info)
        if rows is not None and rows != set(map(row_name, directory.names())):
            repository.sync_catalog()  # an earlier row could not be written
    completion.log()
    repository.tell(Created(database=repository.database, backup=info))
    return info


def _based_or_full(
    repository: Repository, new: NewBackup, publish: Callable[[BackupInfo | None], BackupInfo]
) -> BackupInfo:
    """Publish a differential if there is a base that it can have, else a full backup.

    An imported database may have nothing in common with the base.
    """
    base = None if new.kind == "imported" else base_for_new(repository)
    if base is not None:
        try:
            return publish(base)
        except (UnusableBaseError, BaseError) as error:
            warn(
                f"A full backup is made instead of a differential: {base.filename} cannot be its "
                f"base ({error.reason})."
            )
    return publish(None)


def _fill(
    repository: Repository,
    new: NewBackup,
    write: Write,
    staging: Staging,
    base: BackupInfo | None,
    *,
    size_bytes: int,
    progress: Progress | None,
) -> BackupInfo:
    """Write the backup, in the form that new ones have; return its facts."""
    driver, place = repository.driver, repository.marker_place
    form = Form.of(staging.final.name)
    if form.is_plain:
        with fs.flushing(staging.path):
            return take(
                driver, place, new, write, staging.path, final=staging.final, progress=progress
            )
    first, second = _halves(progress)
    with repository.work_file(size_bytes, is_secret=form.is_encrypted) as plain:
        info = take(driver, place, new, write, plain, final=staging.final, progress=first)
        return encode(repository, info, plain, staging.path, base=base, progress=second)


def _halves(progress: Progress | None) -> tuple[Progress | None, Progress | None]:
    """Return a progress for each of two passes over the same bytes."""
    if progress is None:
        return None, None
    return (
        lambda done, total: progress(done // 2, total),
        lambda done, total: progress((total + done) // 2, total),
    )


def _warn_of_attached(repository: Repository, info: BackupInfo) -> None:
    """Say of databases that the application attaches that no backup contains them."""
    if attached := info.driver_facts.get("attached", ""):
        repository.attached_warning.warn(
            f"Not in this backup: attached database {attached}. Back it up separately."
        )


def take(
    driver: Driver,
    place: Path | None,
    new: NewBackup,
    write: Write,
    target: Path,
    *,
    final: Path,
    progress: Progress | None = None,
) -> BackupInfo:
    """Have ``write`` fill the existing empty file ``target``; return its facts as of ``final``.

    ``place``: where the marker of migrations of the live database is. ``progress`` is called while
    it is written and checked. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` and what ``write`` raises.
    """
    started = time.monotonic()
    _require_short_path(driver, target)
    created_at = new.created_at or datetime.now(UTC)
    # Looked for before and after: a migration may begin or end while the copy is made.
    half_run = standing_for_a_copy(driver, place) if new.markers is None else new.markers
    snapshot = write(target, progress)
    if new.markers is None:
        half_run = half_run or standing_for_a_copy(driver, place)
    sha256, row_counts = check_new(
        driver, target, level=new.check_level, snapshot=snapshot, progress=progress
    )
    return BackupInfo(
        id=secrets.token_hex(6),
        path=str(final),
        created_at=created_at,
        size_bytes=snapshot.size_bytes,
        kind=new.kind,
        description=new.description,
        sha256=sha256,
        **origin_facts(driver, final.parent),
        alembic_heads=recordable_heads(snapshot.alembic_heads)
        if new.alembic_heads is None
        else new.alembic_heads,
        target_revision=new.target_revision,
        duration_seconds=round(time.monotonic() - started, 3),
        driver_facts={
            **snapshot.facts,
            **server_facts(driver),
            **facts_of(half_run),
            **_whose_heads(new, snapshot),
            **({DATED_BY: new.dated_by} if new.dated_by else {}),
        },
        verified_at=datetime.now(UTC),
        half_run=bool(half_run),
        row_counts=recordable_row_counts(row_counts),
    )


def _whose_heads(new: NewBackup, snapshot: SnapshotInfo) -> dict[str, str]:
    """Note that the revisions were given, where they are not those that can be read in the data.

    An application may have several version tables, or one with another name.
    """
    is_given = new.alembic_heads is not None
    differs = is_given and set(new.alembic_heads or ()) != set(snapshot.alembic_heads)
    return {HEADS_GIVEN: "true"} if differs else {}


def origin_facts(driver: Driver, directory: Path) -> dict[str, Any]:
    """Return the facts that say of a backup in ``directory`` of which database it is."""
    location = driver.location
    return {
        "dialect": driver.dialect,
        "database": driver.database,
        "database_path": str(location) if location else None,
        "database_relative": fs.relative_path(location, directory) if location else None,
    }


def _require_short_path(driver: Driver, target: Path) -> None:
    if not driver.can_open(target):
        raise path_too_long(target, driver.longest_path)


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

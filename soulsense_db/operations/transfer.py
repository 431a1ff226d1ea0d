"""Import a file as a backup, and export a backup to a file, verified on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.backup_info import META_SUFFIX, BackupInfo, Form, plain_name
from soulsense_db.drivers import CheckLevel, Driver
from soulsense_db.errors import (
    StorageError,
)
from soulsense_db.meta_file import (
    not_found_if_deleted,
    read_backup,
    rewritten,
    trusted_meta,
)
from soulsense_db.notices import ignoring, warn
from soulsense_db.operations.bases import base_of
from soulsense_db.operations.import_date import date_of_import
from soulsense_db.operations.new_backup import NewBackup, add_backup
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.sealing import opened_row_counts, with_opened_description
from soulsense_db.operations.stored_form import as_plain, opened
from soulsense_db.operations.stored_form_errors import (
    base_is_readable,
    name_of_other_form,
    would_be_decrypted,
)
from soulsense_db.operations.transfer_errors import (
    copy_differs,
    in_the_backup_directory,
    in_the_way_of_copy,
    is_live,
    no_directory,
    no_file,
    no_path,
    no_such_directory,
    nothing_to_import,
    other_export,
)
from soulsense_db.operations.verify import check_and_record, verify_backup
from soulsense_db.progress import Progress
from soulsense_db.sidecars import MigrationMarker, markers_in


def import_file(
    repository: Repository,
    path: str | Path,
    description: str,
    *,
    progress: Progress | None,
) -> BackupInfo:
    """Make a database file from anywhere a backup."""
    with repository.failing("import"):
        return _import_file(repository, path, description, progress)


def _import_file(
    repository: Repository, path: str | Path, description: str, progress: Progress | None
) -> BackupInfo:
    driver = repository.driver
    outside = _importable(repository, path)
    if outside.is_plain:
        driver.require_readable(Path(outside.path))  # before anything is made for it
    is_plain = repository.forms.of_full.is_plain  # then it takes what it has when it is decoded
    expected = outside.restored_size_bytes if is_plain else outside.size_bytes
    fs.require_space(repository.directory.directory, expected)
    if outside.form.is_encrypted and not repository.forms.encrypts:
        warn(f"{outside.filename} is encrypted. It is imported as a backup that is not.")
    with opened(repository, outside) as source:
        created_at, dated_by = date_of_import(driver, outside, source.path)
        new = NewBackup(
            kind="imported",
            description=description or with_opened_description(repository, outside).description,
            created_at=created_at,
            dated_by=dated_by,
            target_revision=outside.target_revision,
            markers=markers_in(outside) or _markers_of_known(repository, outside),
            check_level="quick",  # copy_file has checked it
        )
        return add_backup(
            repository,
            new,
            lambda target, told: driver.copy_file(source.path, target, progress=told),
            size_bytes=outside.restored_size_bytes,
            progress=progress,
        )


def _markers_of_known(repository: Repository, outside: BackupInfo) -> tuple[MigrationMarker, ...]:
    """Return the alarm of a backup that is here already, where ``outside`` is a copy of it."""
    known = [i for i in repository.directory.list() if i.half_run and i.sha256]
    if outside.sha256 is not None or not known:
        return ()
    checksum = fs.sha256_of(Path(outside.path))
    same = (info for info in known if checksum in {info.sha256, info.plain_sha256})
    return next(map(markers_in, same), ())


def _importable(repository: Repository, path: str | Path) -> BackupInfo:
    """Return what is known of the file ``path`` from outside, once it may be brought in.

    Raises :class:`~soulsense_db.errors.BackupNotFoundError`,
    :class:`~soulsense_db.errors.InvalidBackupError`, :class:`~soulsense_db.errors.MetaFileError`,
    and :class:`~soulsense_db.errors.BackupError` for the live database itself.
    """
    source = fs.user_path(path)
    driver = repository.driver
    if source is None or not fs.exists(source):
        raise nothing_to_import(path)
    with fs.storage_errors("read", source):
        if not source.is_file():
            raise no_file(source)
    if driver.location is not None and _is_same_file(source, driver.location):
        raise is_live(source)
    found = trusted_meta(read_backup(source))
    if found.sha256 is not None:
        verify_backup(repository, found, level="quick")
    return found


def _is_same_file(path: Path, other: Path) -> bool:
    """Whether both are one file, under whatever names: a hard link has another one."""
    try:
        return path.samefile(other)
    except OSError:  # one of them is gone
        return False


def export_backup(
    repository: Repository,
    ref: Reference,
    destination: str | Path,
    *,
    plain: bool,
    progress: Progress | None,
) -> Path:
    """Verify the backup ``ref`` and copy it with its meta file; return the path of the copy.

    ``destination``: a directory, or a file that is not there. ``plain``: the copy is a database
    file, as it is also where the name of ``destination`` ends as that of one, unless the backup is
    encrypted. The base of a differential is copied as well, beside it. Raises
    :class:`~soulsense_db.errors.StorageError`,
    :class:`~soulsense_db.errors.ChecksumMismatchError`,
    :class:`~soulsense_db.errors.IdentityError`.
    """
    with repository.failing("export"):
        info = repository.finder.get(ref)
        is_closed = info.form.is_encrypted and not plain and not repository.forms.identities
        level: CheckLevel = "quick" if is_closed else "full"
        info = check_and_record(repository, info, level=level, progress=progress).backup
        with not_found_if_deleted(Path(info.path)):
            target = _target(info, destination, plain=plain)
            if repository.directory.is_in(target):
                raise in_the_backup_directory(target)
            with ExitStack() as stack:
                source = Path(info.path)
                if Form.of(target.name) != info.form:
                    source = stack.enter_context(opened(repository, info)).path
                    counts = opened_row_counts(repository, info)
                    info = as_plain(with_opened_description(repository, info))
                    info = replace(info, row_counts=counts)
                elif info.form.is_differential:
                    base = base_of(repository, info)
                    if info.form.is_encrypted and not base.form.is_encrypted:
                        raise base_is_readable(info, base)
                    info = replace(info, base_name=base.filename)
                    _copy_base(repository, base, target.with_name(base.filename))
                stack.enter_context(_alone(target))
                _copy_out(repository.driver, info, source, target, progress)
            return target


def _target(info: BackupInfo, destination: str | Path, *, plain: bool) -> Path:
    """Return the file to copy to; its form is that of the backup, or plain."""
    target = fs.user_path(destination)
    if str(destination).endswith(("/", os.sep)) and target and not target.is_dir():
        raise no_directory(target)
    if target is None:
        raise no_path(destination)
    if fs.exists(target) and target.is_dir():
        return target / (plain_name(info.filename) if plain else info.filename)
    if not target.suffix and not fs.exists(target):  # more likely a directory than a file
        raise no_such_directory(target, info.filename)
    form = Form.of(target.name)
    if form.is_plain and info.form.is_encrypted and not plain:
        raise would_be_decrypted(target, info.form.ending)
    if not form.is_plain and (plain or form != info.form):
        raise name_of_other_form(target, info.form, plain=plain)
    return target


def _copy_base(repository: Repository, base: BackupInfo, target: Path) -> None:
    """Copy what a differential needs, unless it is there."""
    meta = Path(f"{target}{META_SUFFIX}")
    if fs.exists(target) and fs.sha256_of(target) == base.sha256:
        if not fs.exists(meta):
            fs.write_durably(meta, rewritten(replace(base, path=str(target)), base.meta_path))
        return
    with _alone(target):
        _copy_out(repository.driver, base, Path(base.path), target, None)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep others from exporting to ``target`` as well."""
    try:
        lock = fs.acquire_lock(target.with_name(f".{target.name}.lock"), timeout=0, is_shared=True)
    except Timeout:
        raise other_export(target) from None
    try:
        yield
    finally:
        # An empty file, and no obstacle to the next export.
        with ignoring(StorageError, what=f"{lock.lock_file} is left over"):
            fs.remove(Path(lock.lock_file))
        fs.release_lock(lock)


def _copy_out(
    driver: Driver, info: BackupInfo, source: Path, target: Path, progress: Progress | None
) -> None:
    """Copy the data at ``source``, whose facts are ``info``."""
    meta = Path(f"{target}{META_SUFFIX}")
    _remove_dead_export(target, meta)
    # Somebody's own meta file would be overwritten; a log would be replayed into the copy.
    for beside in (META_SUFFIX, *driver.companions.endings):
        if os.path.lexists(f"{target}{beside}"):
            raise in_the_way_of_copy(Path(f"{target}{beside}"))

    with ExitStack() as on_error:
        with fs.durable_copy(source, target, progress=progress) as copy:
            exported = replace(info, path=str(target), sha256=fs.sha256_of_own(copy))
            if info.sha256 not in (None, exported.sha256):
                raise copy_differs(target, info)
            on_error.callback(_remove_meta, meta)
            fs.write_durably(meta, rewritten(exported, info.meta_path))
        on_error.pop_all()


def _remove_meta(meta: Path) -> None:
    # What is left, the next export of that name removes.
    with ignoring(StorageError, what=f"{meta} is left over"):
        fs.remove(meta)


def _remove_dead_export(target: Path, meta: Path) -> None:
    """Remove what an export of that name left that died: its copy leads to the rest."""
    copy = fs.partial_of(target)
    if not os.path.lexists(copy):
        return
    # What cannot be removed is passed by: the copy has another name.
    with ignoring(StorageError, what=f"{copy} is left over"):
        if not fs.exists(target):
            fs.remove(meta)
            fs.remove(fs.partial_of(meta))
            fs.sync_directory(target.parent)
        fs.remove(copy)

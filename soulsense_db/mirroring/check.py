"""Whether what is at a mirror can be restored, and whether a mirror can be used at all."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DrillError,
    IdentityError,
    InvalidBackupError,
    MetaFileError,
    MirrorDeniedError,
    MirrorError,
    MirrorNotFoundError,
)
from soulsense_db.meta_file import read_backup
from soulsense_db.mirroring.errors import (
    not_conditional,
    not_listed,
    not_mounted,
    probe_differs,
)
from soulsense_db.mirroring.fetch import Fetching
from soulsense_db.mirroring.held import held
from soulsense_db.mirroring.job import Stop
from soulsense_db.mirrors import Mirror, MirrorRecord, RecordFile
from soulsense_db.notices import log_ignored
from soulsense_db.operations import (
    DrillPlan,
    DrillRecordFile,
    Repository,
    VerifyLevel,
    drill_backup,
    drill_turn,
    not_migrated,
    verify_backup,
)

_PROBE = "soulsense_probe"
_PROBE_DATA = b"Written by 'soulsense-db mirror add' to try what is allowed here.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorCheck:
    """What was found of the backups at one mirror that were downloaded.

    Attributes:
        address: Where it is.
        folder: The folder there.
        verified: Those that passed a full check, or a drill.
        unopened: Those of which only the checksum was compared: nothing at hand decrypts them.
        damaged: Those that failed, and why.
        total: How many backups are there.
        level: ``full`` or ``drill``: what they were to pass.

    Example:
        >>> synced = manager.mirrors.sync()
        >>> [check.damaged for check in manager.mirrors.verify()]
        [()]
    """

    address: str
    folder: str
    verified: tuple[BackupInfo, ...] = ()
    unopened: tuple[BackupInfo, ...] = ()
    damaged: tuple[tuple[str, BackupError], ...] = ()
    total: int = 0
    level: VerifyLevel = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTrial:
    """What a mirror allows.

    Attributes:
        address: Where it is.
        folder: The folder for this database there.
        rights: For each of ``write``, ``read``, ``list``, ``create`` (only where nothing is) and
            ``delete`` what kept it from being done; None where it was done.

    Example:
        >>> manager.mirrors.add("file:///mnt/usb/soulsense").ok
        True
    """

    address: str
    folder: str
    rights: tuple[tuple[str, BackupError | None], ...]

    @property
    def ok(self) -> bool:
        """Whether it can be used: all but ``delete`` is needed."""
        return all(error is None for right, error in self.rights if right != "delete")

    @property
    def is_append_only(self) -> bool:
        """Whether nothing can be removed there."""
        return isinstance(dict(self.rights).get("delete"), MirrorDeniedError)


def require_still_there(mirror: Mirror) -> None:
    """Raise :class:`~soulsense_db.errors.MirrorNotFoundError` where a known mirror is gone."""
    try:
        next(iter(mirror.list_objects()), None)
    except MirrorNotFoundError as error:
        raise not_mounted(mirror.address) from error


def try_rights(mirror: Mirror, folder: str, stop: Stop) -> MirrorTrial:
    """Set the mirror up, and try all that is needed there.

    Raises :class:`~soulsense_db.errors.MirrorError` where it is not reached, or allows nothing.
    """
    mirror.prepare()
    key = f"{folder}/{_PROBE}"

    def write() -> None:
        mirror.replace(key, _PROBE_DATA)

    def read() -> None:
        if b"".join(mirror.read(key)) != _PROBE_DATA:
            raise probe_differs(mirror.address)

    def list_() -> None:
        if key not in {found.key for found in mirror.list_objects(folder)}:
            raise not_listed(mirror.address)

    def create() -> None:
        if mirror.create(key, _PROBE_DATA):
            raise not_conditional(mirror.address)

    def delete() -> None:
        mirror.delete(key)

    rights: list[tuple[str, BackupError | None]] = []
    steps = {"write": write, "read": read, "list": list_, "create": create, "delete": delete}
    for right, step in steps.items():
        stop.check()
        try:
            step()
            rights.append((right, None))
        except (MirrorDeniedError, BackupNotFoundError) as error:
            rights.append((right, error))
        except (MirrorError, InvalidBackupError) as error:
            if not rights:
                raise
            rights.append((right, error))
    first = rights[0][1]
    if first is not None and all(error is not None for _, error in rights):
        raise first
    return MirrorTrial(address=mirror.address, folder=folder, rights=tuple(rights))


def verify_there(
    repository: Repository,
    mirror: Mirror,
    folder: str,
    *,
    within_days: int | None,
    drills: DrillPlan | None,
    stop: Stop,
) -> MirrorCheck:
    """Download the backups in ``folder``, or a share of them, and verify each in full.

    ``drills``: what is done with each, where they are to be drilled.
    """
    file = RecordFile(repository.directory.directory, repository.known_as)
    with held(file, repository, stop):
        record = file.read().get(mirror.address, MirrorRecord())
        record.folder = folder
        metas, suspected = record.metas, record.damaged
        # Each meta file is read as well, and what was damaged may have been mended.
        record.metas, record.damaged = {}, {}
        try:
            fetching = Fetching(mirror, record.folder, record, stop)
            there = fetching.contents.newest_first()
            if drills is None:
                turn = _turn(there, record, within_days, suspected)
            else:
                turn = _turn_to_drill(there, record, within_days, suspected)
        except BaseException:
            record.metas, record.damaged = metas, suspected
            raise
        try:
            return _verified(repository, fetching, turn, record, file, drills=drills, stop=stop)
        finally:
            file.write(mirror.address, record)


def _verified(
    repository: Repository,
    fetching: Fetching,
    turn: list[BackupInfo],
    record: MirrorRecord,
    file: RecordFile,
    *,
    drills: DrillPlan | None,
    stop: Stop,
) -> MirrorCheck:
    verified: list[BackupInfo] = []
    unopened: list[BackupInfo] = []
    damaged: list[tuple[str, BackupError]] = [
        (name, InvalidBackupError(reason)) for name, reason in fetching.contents.damaged.items()
    ]
    for info in turn:
        with _work_folder(repository, file, info.size_bytes) as folder:
            try:
                level = _verify(repository, fetching.to_folder(info, folder), drills, stop)
            except BackupNotFoundError as error:
                log_ignored(f"{info.filename} was removed meanwhile", error)
                continue
            except DrillError as error:  # its bytes are right: another upload would not help
                record.drilled[info.filename] = _now()
                damaged.append((info.filename, error))
                continue
            except (InvalidBackupError, MetaFileError) as error:
                record.damaged[info.filename] = error.cause
                damaged.append((info.filename, error))
                continue
        record.checked[info.filename] = _now()
        if level == "drill":
            record.drilled[info.filename] = _now()
            DrillRecordFile.of(repository).passed(_now())
        (unopened if level == "quick" else verified).append(info)
    return MirrorCheck(
        address=fetching.mirror_address,
        folder=record.folder,
        verified=tuple(verified),
        unopened=tuple(unopened),
        damaged=tuple(damaged),
        total=len(fetching.contents.backups),
        level="full" if drills is None else "drill",
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _turn(
    there: list[BackupInfo],
    record: MirrorRecord,
    within_days: int | None,
    suspected: Collection[str],
) -> list[BackupInfo]:
    """Return those whose turn it is: all, or as many as a day takes to come round in time.

    First those that were read longest ago, or never: a new backup waits as one that was just read.
    Those ``suspected`` of damage, by name, are read each time.
    """

    def last_read(info: BackupInfo) -> datetime:
        return record.checked.get(info.filename, info.created_at)

    in_order = sorted((i for i in there if i.filename not in suspected), key=last_read)
    if within_days is not None:
        in_order = in_order[: math.ceil(len(there) / within_days)]
    return [*(info for info in there if info.filename in suspected), *in_order]


def _turn_to_drill(
    there: list[BackupInfo],
    record: MirrorRecord,
    within_days: int | None,
    suspected: Collection[str],
) -> list[BackupInfo]:
    """Return what :func:`_turn` would, by when each was drilled."""
    others = [info for info in there if info.filename not in suspected]
    if within_days is not None:
        others = drill_turn(others, record.drilled, now=_now(), within_days=within_days)
    return [*(info for info in there if info.filename in suspected), *others]


def _verify(
    repository: Repository, path: Path, drills: DrillPlan | None, stop: Stop
) -> VerifyLevel:
    info = read_backup(path)
    try:
        if drills is not None:
            report = drill_backup(repository, info, plan=drills, progress=lambda *_: stop.check())
            if (problem := not_migrated(report)) is not None:
                raise problem
            return "drill"
        verify_backup(repository, info, level="full", progress=lambda *_: stop.check())
        return "full"
    except IdentityError as error:
        log_ignored("Only the stored bytes are checked", error)
        return "quick"  # which the download did


@contextmanager
def _work_folder(repository: Repository, file: RecordFile, size_bytes: int) -> Iterator[Path]:
    """Make a private folder in the backup directory, which is gone at the end.

    Those of processes that died are removed first. Call it under the lock.
    """
    directory = repository.directory.directory
    for left in directory.glob(f"{file.work_prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    fs.require_space(directory, size_bytes)
    with fs.storage_errors("make a directory in", directory):
        folder = Path(tempfile.mkdtemp(prefix=file.work_prefix, dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the next one removes what is left

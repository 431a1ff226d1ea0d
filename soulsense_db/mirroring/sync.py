"""Bring a mirror in step: upload what it lacks, then remove what its policy does not keep."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from soulsense_db.backup_info import META_SUFFIX, BackupInfo, bases_for, dependents, to_meta
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DirectoryLockedError,
    InvalidBackupError,
    MetaFileError,
    MirrorDeniedError,
    MirrorFullError,
    MirrorNotFoundError,
    StorageError,
)
from soulsense_db.meta_file import trusted_meta
from soulsense_db.mirroring.contents import Contents, contents_of, meta_there
from soulsense_db.mirroring.errors import base_not_there, deleted_before, not_mounted
from soulsense_db.mirroring.held import held
from soulsense_db.mirroring.job import Stop, persistently, waited_for
from soulsense_db.mirroring.options import Mirrors, MirrorTarget
from soulsense_db.mirroring.selection import (
    belonging,
    is_open,
    owed,
    own_of,
    parted,
    plan_for,
)
from soulsense_db.mirrors import (
    Mirror,
    MirrorRecord,
    Outgoing,
    RecordFile,
    mirror_for,
    name_at_mirror,
    token_in,
    token_of,
)
from soulsense_db.notices import log_ignored, warn
from soulsense_db.operations import Repository, in_order
from soulsense_db.progress import Progress

# What has no other half for so long is no upload that goes on.
_ABANDONED_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What became of one mirror.

    Attributes:
        address: Where it is.
        folder: The folder with the backups of this database there.
        uploaded: What was stored, oldest first.
        removed: What its policy does not keep, oldest first.
        kept: How many backups are there now; None where that is not known.
        damaged: What is there and not what it was, by name: why.
        problems: Why single backups could not be stored.
        is_append_only: Whether the credentials cannot remove anything.
        unencrypted: How many backups stay here because they are not encrypted, and new ones are.
        error: Why the mirror as a whole is not in step; None where it is.
        skipped: Why nothing was tried this time; empty where something was.

    Example:
        >>> [report.kept for report in manager.mirrors.sync()]
        [1]
    """

    address: str
    folder: str
    uploaded: tuple[BackupInfo, ...] = ()
    removed: tuple[BackupInfo, ...] = ()
    kept: int | None = None
    damaged: tuple[tuple[str, str], ...] = ()
    problems: tuple[BackupError, ...] = ()
    is_append_only: bool = False
    unencrypted: int = 0
    error: BackupError | None = None
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether all that is to be there is."""
        return self.error is None and not self.problems and not self.skipped


def sync_mirror(
    repository: Repository,
    target: MirrorTarget,
    mirrors: Mirrors,
    *,
    only: Collection[BackupInfo] = (),
    deadline: float | None = None,
    if_not_paused: bool = False,
    progress: Progress | None = None,
) -> SyncReport:
    """Bring the mirror ``target`` in step; what it refuses is in the report.

    ``only``: these backups, and what they need, are uploaded, and nothing is removed; by default
    all that belongs there. ``deadline``: seconds. ``if_not_paused``: nothing is tried during the
    pause after a failure, or while another process is at it.
    """
    file = RecordFile(repository.directory.directory, repository.known_as)
    record = file.read().get(target.address, MirrorRecord())
    folder = mirrors.folder_at(record)
    if if_not_paused and record.is_paused(datetime.now(UTC)):
        skipped = "it failed a short time ago"
        return SyncReport(address=target.address, folder=folder, skipped=skipped)

    def work(stop: Stop) -> SyncReport:
        with held(file, repository, stop):
            return _Sync(repository, target, folder, file, stop).run(only)

    try:
        return waited_for(work, address=target.address, deadline=deadline, progress=progress)
    except DirectoryLockedError as error:  # which says nothing of the mirror
        if if_not_paused:
            skipped = "another process is at work with the mirrors"
            return SyncReport(address=target.address, folder=folder, skipped=skipped)
        return SyncReport(address=target.address, folder=folder, error=error)
    except BackupError as error:
        record = file.read().get(target.address, MirrorRecord())
        if isinstance(error, MirrorNotFoundError) and record.metas:
            error = not_mounted(target.address)
        record.folder = folder
        record.failed(error.cause, datetime.now(UTC))
        file.write(target.address, record)
        return SyncReport(address=target.address, folder=folder, error=error)


class _Sync:
    """One run at one mirror."""

    def __init__(
        self,
        repository: Repository,
        target: MirrorTarget,
        folder: str,
        file: RecordFile,
        stop: Stop,
    ) -> None:
        self._repository = repository
        self._target = target
        self._file = file
        self._stop = stop
        self._record = file.read().get(target.address, MirrorRecord())
        self._record.folder = folder
        self._contents = Contents(folder)
        self._uploaded: list[BackupInfo] = []
        self._removed: list[BackupInfo] = []
        self._problems: list[BackupError] = []

    def run(self, only: Collection[BackupInfo]) -> SyncReport:
        with mirror_for(self._target.parsed) as mirror:
            try:
                folder = self._contents.folder
                self._contents = contents_of(mirror, folder, self._record, self._stop)
                local = self._known_here()
                repinned = self._take_over_pins(local)
                if not only:
                    self._contents.count_baseless(local.values())  # their bases are owed
                self._upload_all(mirror, self._owed(local, only), local, may_prune=not only)
                self._contents.leave_out_baseless(mirror.address)
                if not only:
                    self._note_pins(mirror, repinned)
                    self._prune(mirror)
                    self._remove_abandoned(mirror)
            finally:
                self._stop.check()  # else somebody else may have the record by now
                self._file.write(self._target.address, self._record)
        lacking = {token_of(info) for info in only} - self._contents.backups.keys()
        if lacking and not self._problems:  # it was deleted here before it was there
            gone = next(info for info in only if token_of(info) in lacking)
            self._problems.append(deleted_before(self._target.address, gone.filename))
        self._note_end(looked_at_all=not only)
        return SyncReport(
            address=self._target.address,
            folder=self._contents.folder,
            uploaded=tuple(self._uploaded),
            removed=tuple(self._removed),
            kept=len(self._contents.backups),
            damaged=tuple(sorted(self._contents.damaged.items())),
            problems=tuple(self._problems),
            is_append_only=self._record.is_append_only,
            unencrypted=sum(map(is_open, own_of(self._repository.finder.list())))
            if self._repository.forms.encrypts
            else 0,
        )

    def _known_here(self) -> dict[str, BackupInfo]:
        """Return the local backups that belong at mirrors, by token.

        One that cannot be read at the moment is a problem: else nobody would know that it is owed.
        """
        listed = self._repository.finder.list()
        for number, info in enumerate(listed):
            try:
                listed[number] = trusted_meta(info)
            except MetaFileError as error:
                warn(f"{info.filename} is not uploaded: {error.cause}.")
            except StorageError as error:
                self._problem(info, error)
        return {token_of(info): info for info in belonging(listed, self._repository)}

    def _problem(self, info: BackupInfo, error: BackupError) -> None:
        self._problems.append(error)
        warn(f"{info.filename} is not at {self._target.address}: {error.cause}.")

    def _note_end(self, *, looked_at_all: bool) -> None:
        now, seen_at = datetime.now(UTC), self._record.seen_at
        if self._problems:
            self._record.failed(self._problems[0].cause, now)
        else:
            self._record.succeeded()
        self._record.seen_at = now if looked_at_all else seen_at
        self._file.write(self._target.address, self._record)

    # Up

    def _owed(self, local: dict[str, BackupInfo], only: Collection[BackupInfo]) -> list[BackupInfo]:
        """Return the local backups that are to be there and are not, oldest first."""
        if not only:
            there = self._contents.backups.values()
            return owed(local.values(), there, self._target.retention, self._repository)
        wanted = {token_of(info) for info in only} - self._contents.backups.keys()
        found = (info for token, info in local.items() if token in wanted)
        return sorted(found, key=lambda info: info.order)

    def _upload_all(
        self,
        mirror: Mirror,
        owed: list[BackupInfo],
        local: dict[str, BackupInfo],
        *,
        may_prune: bool,
    ) -> None:
        self._stop.total = sum(info.size_bytes for info in owed)
        for info in owed:
            try:
                self._upload_with_base(mirror, info, local)
            except MirrorFullError:
                before = len(self._removed)
                if may_prune:
                    self._prune(mirror)
                if len(self._removed) == before:
                    raise
                self._upload_with_base(mirror, info, local)
            except BackupNotFoundError as error:
                log_ignored(f"{info.filename} was deleted here meanwhile", error)
            except (InvalidBackupError, StorageError) as error:  # of this one: others are no worse
                self._problem(info, error)

    def _upload_with_base(
        self, mirror: Mirror, info: BackupInfo, local: dict[str, BackupInfo]
    ) -> None:
        if token_of(info) in self._contents.backups:  # as the base of another
            return
        if info.base_sha256 and not bases_for(info, self._contents.backups.values()):
            base = next(iter(bases_for(info, local.values())), None)
            if base is None:
                raise base_not_there(mirror.address, info.filename)
            self._upload_with_base(mirror, base, local)
        self._upload(mirror, info)

    def _upload(self, mirror: Mirror, info: BackupInfo) -> None:
        """Store the data, then the meta file: from then on the backup is there."""
        there = replace(info, path=self._path_of(info))
        key = f"{self._contents.folder}/{there.filename}"
        assert info.sha256 is not None
        file = Outgoing(
            path=Path(info.path),
            size_bytes=info.size_bytes,
            sha256=info.sha256,
            told=self._stop.told,
        )
        meta = to_meta(there)
        persistently(lambda: mirror.write(key, file), self._stop)
        self._stop.finished(info.size_bytes)
        # Another machine, or a try that broke off, may have stored it: a damaged one is replaced.
        if not persistently(lambda: mirror.create(f"{key}{META_SUFFIX}", meta), self._stop):
            self._replace(mirror, f"{key}{META_SUFFIX}", meta)
        self._record.metas[there.filename] = meta.decode()
        if info.pinned:
            self._record.pinned.add(there.filename)
        self._record.damaged.pop(there.filename, None)
        self._contents.damaged.pop(there.filename, None)
        self._contents.backups[token_of(info)] = there
        self._uploaded.append(info)

    def _replace(self, mirror: Mirror, key: str, data: bytes) -> None:
        persistently(lambda: mirror.replace(key, data), self._stop)

    def _delete_object(self, mirror: Mirror, key: str) -> None:
        persistently(lambda: mirror.delete(key), self._stop)

    def _path_of(self, info: BackupInfo) -> str:
        return f"{self._target.address}/{self._contents.folder}/{name_at_mirror(info)}"

    def _take_over_pins(self, local: dict[str, BackupInfo]) -> list[BackupInfo]:
        """Count as pinned there what is pinned here, and no longer what is unpinned here.

        What another machine has pinned stays so. Return those of which that is not noted there.
        From the beginning: a mirror that is full is pruned before all is uploaded.
        """
        changed = []
        for token, there in self._contents.backups.items():
            here = local.get(token, there)
            if here.pinned and token in local:
                self._record.pinned.add(there.filename)
            elif there.filename not in self._record.pinned:
                continue
            if (here.pinned, here.pin_note) != (there.pinned, there.pin_note):
                changed.append(replace(there, pinned=here.pinned, pin_note=here.pin_note))
        self._contents.backups |= {token_of(info): info for info in changed}
        return changed

    def _note_pins(self, mirror: Mirror, changed: list[BackupInfo]) -> None:
        for there in changed:
            if token_of(there) not in self._contents.backups:  # removed meanwhile
                continue
            meta = to_meta(there)
            key = f"{self._contents.folder}/{there.filename}{META_SUFFIX}"
            try:
                self._replace(mirror, key, meta)
            except MirrorDeniedError as error:  # nothing can be replaced, and nothing removed
                log_ignored(f"That {there.filename} is pinned is not known there", error)
                continue
            self._record.metas[there.filename] = meta.decode()
            if not there.pinned:
                self._record.pinned.discard(there.filename)

    # Down

    def _prune(self, mirror: Mirror) -> None:
        policy = self._target.retention
        if policy is None or policy.is_empty:
            return
        # Only what is whole is counted: a damaged one takes no place of a sound one. And only what
        # is of this database: another one may have the same folder.
        own, others = parted(self._contents.backups.values(), self._repository)
        for decision in in_order(plan_for(own, policy).removed):
            if dependents(decision.backup, [decision.backup, *others]):
                continue
            if self._is_pinned_there(mirror, decision.backup):
                continue
            if not self._delete(mirror, decision.backup.filename):
                return
            self._removed.append(decision.backup)

    def _is_pinned_there(self, mirror: Mirror, info: BackupInfo) -> bool:
        """Whether another machine has pinned it since its meta file was read."""
        name = info.filename
        self._record.metas.pop(name, None)
        now = meta_there(mirror, self._contents.folder, name, self._stop)
        if now is None or not now.pinned:
            return False
        self._record.metas[name] = to_meta(now).decode()
        self._contents.backups[token_of(now)] = now
        return True

    def _delete(self, mirror: Mirror, name: str) -> bool:
        """Remove a backup, its meta file first; False where nothing can be removed."""
        key = f"{self._contents.folder}/{name}"
        try:
            self._delete_object(mirror, f"{key}{META_SUFFIX}")
            self._delete_object(mirror, key)
        except MirrorDeniedError as error:
            log_ignored(f"{mirror.address} is append-only", error)
            self._record.is_append_only = True
            return False
        self._record.is_append_only = False
        self._record.forget_all_but(self._record.metas.keys() - {name})
        self._contents.backups.pop(str(token_in(name)), None)
        return True

    def _remove_abandoned(self, mirror: Mirror) -> None:
        """Remove halves of backups, and of objects, that nobody will complete."""
        now = datetime.now(UTC)
        for found in self._contents.alone:
            token = token_in(found.name.removesuffix(META_SUFFIX))
            is_old = found.modified_at is not None and now - found.modified_at > _ABANDONED_AFTER
            if token in self._contents.backups or not is_old:
                continue
            try:
                self._delete_object(mirror, found.key)
            except MirrorDeniedError as error:
                log_ignored(f"{found.key} is left at {mirror.address}", error)
                return
        folder = self._contents.folder
        try:
            persistently(lambda: mirror.remove_leftovers(folder), self._stop)
        except MirrorDeniedError as error:
            log_ignored(f"What may be left over in {folder} at {mirror.address} stays", error)

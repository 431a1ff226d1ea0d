"""The backup directory: names, atomic publish, path guard, lock, listing.

A backup exists when its data file has its final name. It is written as ``.<name>.staging``, and
gets the name only when it is complete, checked and on disk, after its meta file::

    .<name>.staging.lock   held by the process that writes, free when it died
    .<name>.staging        the data while it is written
    <name>.meta            renamed into place first
    <name>                 renamed into place last: from here on the backup exists
    .<name>.deleting       a backup that is being deleted: its meta file goes, then this

What a dead process left is removed by the next one that stages a backup.
"""

from __future__ import annotations

import builtins
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.backup_info import (
    META_SUFFIX,
    BackupInfo,
    Form,
    dependents,
    to_meta,
)
from soulsense_db.directory.errors import (
    base_gone,
    is_live,
    locked,
    needed_as_base,
    no_file,
    not_a_name_of_backups,
    outside,
    pinned,
    replaced_meanwhile,
)
from soulsense_db.directory.names import folded, name_pattern, require_prefix, stem_of
from soulsense_db.directory.staging import DELETING, LOCK, Removal, Staging, names_of
from soulsense_db.errors import BackupError, StorageError
from soulsense_db.fs import directory_problem, require_no_link, resolve_directory
from soulsense_db.meta_file import facts_of, not_found, rewritten, trusted_meta
from soulsense_db.notices import ignoring, reason_of, warn

_NEXT = timedelta(microseconds=1)


class BackupDirectory:
    """One backup directory.

    ``directory`` need not exist yet; links on it are followed now, and one that is put there later
    is an error of every method; ``prefix`` begins every file name; ``suffix`` ends every data
    file's name; ``lock_timeout`` in seconds; ``companions``: what may lie beside a data file while
    it is written; ``live``: a file that is no backup whatever its name; what root writes here is
    given to who owns it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        prefix: str,
        suffix: str,
        lock_timeout: float,
        companions: fs.Companions,
        live: Path | None = None,
    ) -> None:
        require_prefix(prefix)
        self.directory = resolve_directory(directory, live=live)
        self._prefix = prefix
        self._suffix = suffix
        self._lock_timeout = lock_timeout
        self._companions = companions
        self._live = live
        self._has_warned = False
        self._passed_by: set[str] = set()
        self._name = name_pattern(prefix, suffix)
        # After a power cut any of them may be alone.
        endings = (LOCK, *companions.endings, *companions.folders)
        staged = "|".join(map(re.escape, endings))
        self._unfinished = re.compile(
            rf"\.(?P<name>.+)(?P<end>\.deleting|\.staging({staged})?|\.meta\.partial)", re.DOTALL
        )

    # Reading

    def list(self) -> builtins.list[BackupInfo]:
        """Return every backup of this directory, newest first; an absent directory has none."""
        found = [self._read(entry) for entry in self._entries()]
        return sorted(found, key=lambda info: info.order, reverse=True)

    def order_of_new(self, created_at: datetime) -> datetime | None:
        """Return what a new backup is ordered by; None when ``created_at`` is later than all.

        No lock is needed: what was published before this one began is in the list. Of those that
        are made at the same time each may be the newer one.
        """
        newest = max((info.order[0] for info in self.list()), default=None)
        if newest is None or newest < created_at:
            return None
        with suppress(OverflowError):  # a date at the very end of the calendar
            newest += _NEXT
        return newest

    def names(self) -> set[str]:
        """Return the file names of all backups without reading their meta files."""
        return {entry.name for entry in self._entries()}

    def orphans(self) -> set[str]:
        """Return the names of backups of which only the meta file is left."""
        require_no_link(self.directory)
        if not fs.exists(self.directory):
            return set()
        with fs.storage_errors("list", self.directory):
            names = set(os.listdir(self.directory))
        described = {name.removesuffix(META_SUFFIX) for name in names if name.endswith(META_SUFFIX)}
        return {name for name in described - names if self._is_backup_name(name)}

    def find(self, path: Path) -> BackupInfo:
        """Return the facts of the backup at ``path``, after guarding it.

        Raises :class:`BackupNotFoundError`, or :class:`OutsideDirectoryError` for anything that is
        not a regular file with a backup's name directly inside the directory.
        """
        require_no_link(self.directory)
        with fs.storage_errors("read", path):
            try:
                resolved = Path(os.path.realpath(path, strict=True))
                status = os.stat(resolved)
            except (FileNotFoundError, NotADirectoryError):
                raise not_found(path) from None
            except (RuntimeError, ValueError):  # a NUL in the name, a loop of links
                raise not_found(path) from None
        inside = resolved.parent == self.directory
        if inside and self._is_live(status):
            raise is_live(path)
        if not inside:
            raise outside(path, self.directory)
        if not self._is_backup_name(resolved.name):
            raise not_a_name_of_backups(path, f"{self._prefix}_YYYYMMDD_HHMMSS{self._suffix}")
        if not stat.S_ISREG(status.st_mode):
            raise no_file(path)
        return facts_of(self.directory / resolved.name, lambda: status)

    def holds(self, path: Path) -> bool:
        """Whether ``path`` is a file directly inside the directory, whatever its name."""
        try:
            resolved = Path(os.path.realpath(path, strict=True))
            status = os.stat(resolved)
        except (OSError, RuntimeError, ValueError):
            return False
        inside = resolved.parent == self.directory
        return inside and stat.S_ISREG(status.st_mode) and not self._is_live(status)

    def is_in(self, path: Path) -> bool:
        """Whether ``path``, which need not exist, is the path of a backup of this directory."""
        if not self._is_backup_name(path.name):
            return False
        return os.path.realpath(path.parent) == str(self.directory)

    def find_again(self, info: BackupInfo) -> BackupInfo:
        """Return the facts of ``info`` as they are now, as :meth:`find` does.

        Its name may be another's by now, made in the same second after it was deleted.
        """
        found = self.find(Path(info.path))
        if found.id != info.id and None not in (found.sha256, info.sha256):
            raise not_found(info.path)
        return found

    def _entries(self) -> builtins.list[os.DirEntry[str]]:
        require_no_link(self.directory)
        live = self._live_status()
        with fs.storage_errors("list", self.directory):
            try:
                found = os.scandir(self.directory)
            except FileNotFoundError:
                return []
            with found as entries:
                return [
                    entry
                    for entry in entries
                    if self._is_backup_name(entry.name)
                    and entry.is_file(follow_symlinks=False)
                    and not (live and entry.inode() == live.st_ino and _leads_to(entry, live))
                ]

    def _is_live(self, status: os.stat_result) -> bool:
        """Whether that is the live database, under its own name or a hard link's."""
        live = self._live_status()
        return live is not None and os.path.samestat(status, live)

    def _live_status(self) -> os.stat_result | None:
        if self._live is None:
            return None
        try:
            return self._live.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise fs.as_storage_error(error, "look for", self._live) from error

    def _is_backup_name(self, name: str) -> bool:
        return self._name.fullmatch(name) is not None

    def _read(self, entry: os.DirEntry[str]) -> BackupInfo:
        """Read one entry; one that vanishes meanwhile is described by its name."""
        try:
            return facts_of(entry.path, lambda: entry.stat(follow_symlinks=False))
        except OSError as error:  # a directory that may be listed but not entered
            raise fs.as_storage_error(error, "read", entry.path) from error

    # Writing

    @contextmanager
    def stage(
        self, created_at: datetime, description: str, *, ending: str = ""
    ) -> Iterator[Staging]:
        """Reserve a name for a new backup and yield where to write it.

        ``ending``: what follows the suffix in the name of a file that is not plain.
        The directory is made when it is missing. What was staged and not published is removed at
        the end, whatever happens.
        """
        fs.make_private_directory(self.directory, owner_of=self._live, keeps_out_of_git=True)
        self.warn_once()
        with self._lock():
            self._remove_abandoned()
            final = self._free_name(created_at, description, ending)
            staging = Staging(final, self._companions)
            staging.hold(owner_of=self._live)
        try:
            staging.create(owner_of=self._live)
            yield staging
        finally:
            # Whether it was published is decided: what cannot be removed now, the next one removes.
            try:
                left = f"{staging.path} is left over"
                with ignoring(StorageError, what=left), self._lock():
                    staging.discard()
            finally:
                staging.release()

    def publish(
        self, staging: Staging, info: BackupInfo, *, base: BackupInfo | None = None
    ) -> None:
        """Give the staged data its final name, with its meta file; both are on disk at return.

        ``base``: what a differential needs; it is there when that gets its name. On any error it
        has no final name, as far as the system lets it be taken back. Raises :class:`BaseError`.
        """
        require_no_link(self.directory)
        fs.sync_file(staging.path)
        with self._lock():
            if base is not None:
                self._require_base(info, base)
            fs.write_durably(Path(info.meta_path), to_meta(info), owner_of=self._live)
            staging.publish()

    def warn_once(self) -> None:
        """Log a warning, the first time, when others could change what is in the directory."""
        if self._has_warned:
            return
        if problem := directory_problem(self.directory, live=self._live):
            self._has_warned = True
            warn(problem)

    def delete(self, info: BackupInfo) -> None:
        """Delete a backup that :meth:`find` returned.

        From the moment when it has lost its name it is deleted; what is left of its files is a
        warning in the log. Raises :class:`ProtectedBackupError` for a pinned one, and for the base
        of a differential.
        """
        with self._lock():
            current = self.find_again(info)
            if current.pinned:  # perhaps only a moment ago
                raise pinned(current)
            if needing := self._needing(current):
                raise needed_as_base(current, needing)
            removal = Removal(Path(info.path))
            removal.begin()
            try:
                removal.finish()
            except StorageError as error:  # it is gone: the next backup removes the rest
                warn(f"{error.message} {error.hint}")

    def amend(self, info: BackupInfo, **changes: Any) -> BackupInfo:
        """Change facts in the meta file of a backup; return all as they are then.

        Raises :class:`BackupNotFoundError`, :class:`MetaFileError` when the file cannot be trusted.
        """
        with self._lock():  # what somebody else changed meanwhile stays
            current = trusted_meta(self.find_again(info))
            amended = replace(current, **changes)
            data = rewritten(amended, current.meta_path)
            fs.write_durably(Path(amended.meta_path), data, owner_of=self._live)
        return amended

    def describe(self, info: BackupInfo, *, is_unchanged: Callable[[], bool]) -> None:
        """Write the meta file of a backup that has none to be trusted.

        ``is_unchanged``: whether the data is still what ``info`` tells of, asked under the lock.
        Raises :class:`BackupNotFoundError`, :class:`StorageError`.
        """
        with self._lock():
            current = self.find(Path(info.path))
            if not (current.of_unknown_origin and is_unchanged()):
                raise replaced_meanwhile(info)
            fs.write_durably(Path(info.meta_path), to_meta(info), owner_of=self._live)

    def _needing(self, info: BackupInfo) -> builtins.list[BackupInfo]:
        """Return the differentials whose base is ``info``; call it under the lock."""
        if any(Form.of(name).is_differential for name in self.names()):
            return dependents(info, self.list())
        return []  # and nothing more was read

    def _require_base(self, info: BackupInfo, base: BackupInfo) -> None:
        try:
            found = self.find_again(base)
        except BackupError as error:
            raise base_gone(info, base) from error
        if found.database_sha256 != info.base_sha256:
            raise base_gone(info, base)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the directory's lock: for a moment around names, never during a copy."""
        require_no_link(self.directory)
        path = self.directory / f".{self._prefix}{LOCK}"
        try:
            lock = fs.acquire_lock(
                path, timeout=self._lock_timeout, owner_of=self._live, is_shared=True
            )
        except Timeout:
            raise locked(self.directory, self._lock_timeout) from None
        try:
            yield
        finally:
            fs.release_lock(lock)

    def _free_name(self, created_at: datetime, description: str, ending: str) -> Path:
        stem = stem_of(self._prefix, created_at, description)
        with fs.storage_errors("list", self.directory):
            taken = {folded(name) for name in os.listdir(self.directory)}
        number = 1
        while True:
            name = f"{stem}{f'_{number}' if number > 1 else ''}{self._suffix}{ending}"
            if taken.isdisjoint(map(folded, names_of(name, self._companions))):
                return self.directory / name
            number += 1

    def _remove_abandoned(self) -> None:
        """Remove what dead processes left; call it under the lock."""
        with fs.storage_errors("list", self.directory):
            names = os.listdir(self.directory)
        for name in names:
            found = self._unfinished.fullmatch(name)
            if found is None or not self._is_backup_name(found["name"]):
                continue
            path = self.directory / found["name"]
            try:
                if found["end"] == DELETING:
                    Removal(path).finish()
                else:
                    Staging(path, self._companions).discard_if_abandoned()
            except StorageError as error:
                self._pass_by(name, error)

    def _pass_by(self, name: str, error: StorageError) -> None:
        """Leave what cannot be removed where it is, and say so once."""
        if name not in self._passed_by:
            self._passed_by.add(name)
            warn(
                f"{self.directory / name} is left over and cannot be removed ({reason_of(error)})."
            )


def _leads_to(entry: os.DirEntry[str], file: os.stat_result) -> bool:
    try:
        return os.path.samestat(entry.stat(follow_symlinks=False), file)
    except FileNotFoundError:  # it vanished meanwhile
        return False

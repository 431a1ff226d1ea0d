"""The beginning and the end of one backup's files, such that a later process can tidy up.

:mod:`~soulsense_db.directory.directory` has the names, and calls all of this under the directory's
lock.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from soulsense_db import fs
from soulsense_db.backup_info import META_SUFFIX
from soulsense_db.directory.errors import not_all_removed
from soulsense_db.errors import Outcome, StorageError

STAGING = ".staging"
LOCK = ".lock"
DELETING = ".deleting"


def names_of(name: str, companions: fs.Companions) -> set[str]:
    """Return all names in a directory that the backup ``name`` may need for a while."""
    endings = ("", *companions.endings, *companions.folders, LOCK)
    staged = {f".{name}{STAGING}{ending}" for ending in endings}
    meta = f"{name}{META_SUFFIX}"
    return {name, meta, f".{meta}.partial", f".{name}{DELETING}"} | staged


class Staging:
    """A backup that is being written: ``path`` to write to, ``final`` the name it will have.

    ``companions``: what may lie beside ``path`` while it is written.
    """

    def __init__(self, final: Path, companions: fs.Companions) -> None:
        self.final = final
        self._companions = companions
        self.path = final.with_name(f".{final.name}{STAGING}")
        self._created: os.stat_result
        self._lock = FileLock(f"{self.path}{LOCK}", mode=fs.PRIVATE_FILE, thread_local=False)

    def hold(self, *, owner_of: Path | None) -> None:
        """Mark the staging as this process's own; ``owner_of``: who owns the mark."""
        with fs.storage_errors("lock", self.path):
            fs.make_lock_file(Path(self._lock.lock_file), owner_of=owner_of)
            self._lock.acquire(timeout=0)
        try:
            # What is found after a power cut, a meta file say, is then found with the mark.
            fs.sync_directory(self.path.parent, Outcome.UNCHANGED)
        except BaseException:
            self.release()
            raise

    def create(self, *, owner_of: Path | None) -> None:
        """Make the empty file to write to."""
        self._created = fs.create_private_file(self.path, owner_of=owner_of)

    def publish(self) -> None:
        """Give the file its final name, if it is still the one that was made."""
        fs.ensure_same_file(self.path, self._created)
        fs.rename_or_not(self.path, self.final)

    def discard(self) -> None:
        """Remove everything that is not published, and the mark."""
        for ending in ("", *self._companions.endings):
            fs.remove(Path(f"{self.path}{ending}"))
        for ending in self._companions.folders:
            fs.remove_folder(Path(f"{self.path}{ending}"))
        fs.remove(self.final.with_name(f".{self.final.name}{META_SUFFIX}.partial"))
        if not fs.exists(self.final):
            fs.remove(Path(f"{self.final}{META_SUFFIX}"))
        # Last: the mark leads to all the rest.
        fs.remove(Path(self._lock.lock_file))

    def release(self) -> None:
        """Let others remove what is left of it."""
        fs.release_lock(self._lock)

    def discard_if_abandoned(self) -> None:
        """Remove what is left of it when no living process holds the mark."""
        with fs.storage_errors("lock", self.path):
            try:
                self._lock.acquire(timeout=0)
            except Timeout:  # a living process writes it
                return
        try:
            self.discard()
        finally:
            self.release()


class Removal:
    """The end of a backup: gone at once, and to be finished by the next one if this one dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._doomed = path.with_name(f".{path.name}{DELETING}")

    def begin(self) -> None:
        """Take its name away; on any error it has it still."""
        fs.rename_or_not(self._path, self._doomed)

    def finish(self) -> None:
        """Remove what there is; on any error the next one can go on."""
        try:
            if not fs.exists(self._path):  # else a copy of the directory brought it back
                _remove_meta(Path(f"{self._path}{META_SUFFIX}"))
            fs.sync_directory(self._path.parent)
            fs.remove(self._doomed)  # which leads to the meta file, so it goes last
        except StorageError as error:
            raise not_all_removed(self._path, str(error.__cause__)) from error


def _remove_meta(path: Path) -> None:
    """Remove a meta file; one that is a directory is nobody's meta file and stays."""
    if not path.is_dir() or path.is_symlink():
        fs.remove(path)

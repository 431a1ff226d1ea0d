"""Which backup a reference names, among those of one database in one directory."""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from pathlib import Path

from soulsense_db import files
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver
from soulsense_db.errors import (
    AmbiguousReferenceError,
    BackupNotFoundError,
    WrongDatabaseError,
)
from soulsense_db.meta_file import not_found
from soulsense_db.storage import Storage

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_REVISION = "revision:"
_MOST_CANDIDATES = 10


class Finder:
    """The backups in ``storage`` of the live database of ``driver``."""

    def __init__(self, driver: Driver, storage: Storage) -> None:
        self._driver = driver
        self._storage = storage

    def list(self) -> builtins.list[BackupInfo]:
        """Return the backups of this database, newest first."""
        return [info for info in self._storage.list() if self.is_own(info)]

    def others(self) -> builtins.list[BackupInfo]:
        """Return the backups in the directory that are of other databases, newest first."""
        return [info for info in self._storage.list() if not self.is_own(info)]

    def get(self, ref: BackupInfo | str | Path) -> BackupInfo:
        """Return the backup that ``ref`` names, as ``BackupManager.get`` documents it."""
        if isinstance(ref, BackupInfo):
            return self._storage.find_again(ref)
        if isinstance(ref, str) and ref.startswith(_REVISION):
            return self._at_revision(ref.removeprefix(_REVISION))
        if isinstance(ref, Path) or "/" in ref or "\\" in ref:
            return self._at(ref)
        return self._named(ref)

    def _named(self, ref: str) -> BackupInfo:
        if latest := _LATEST.fullmatch(ref):
            return self._latest(int(latest[1] or 0))
        try:
            return self._storage.find(self._storage.directory / ref)
        except BackupNotFoundError:
            return self._with_id(ref)

    def get_own(self, ref: BackupInfo | str | Path) -> BackupInfo:
        """Return it, or raise :class:`WrongDatabaseError` for a backup of another database."""
        info = self.get(ref)
        if not self.is_own(info):
            raise WrongDatabaseError(
                f"{info.filename} is a backup of {info.database_path or info.database}, not of "
                f"{self._driver.location or self._driver.database}. Nothing was changed.",
                hint="If that is what you want, import it: then there is one of this database.",
            )
        return info

    def is_own(self, info: BackupInfo) -> bool:
        """Whether ``info`` is a backup of this database, as far as anything says whose it is.

        It has this database's path, or the same place as seen from the directory (both were moved
        together), or nothing was recorded.
        """
        location = self._driver.location
        if info.database is None:
            return True
        if location is None or not info.database_path:
            return location is None and info.database == self._driver.database
        relative = files.relative_path(location, self._storage.directory)
        return info.database_path == str(location) or (
            relative is not None and info.database_relative == relative
        )

    def _at(self, ref: str | Path) -> BackupInfo:
        path = files.user_path(ref)
        if path is None:
            raise not_found(ref)
        return self._storage.find(path)

    def _latest(self, back: int) -> BackupInfo:
        everything = self._storage.list()
        own = [info for info in everything if self.is_own(info)]
        if back < len(own):
            return own[back]
        others = len(everything) - len(own)
        counted = f"only {len(own)} backup(s)" if own else "no backup"
        raise BackupNotFoundError(
            f"Backup file not found: {self._storage.directory} has {counted} of "
            f"{self._driver.location or self._driver.database}"
            f"{f' ({others} of other databases)' if others else ''}. Nothing was changed.",
            hint="List the backups to see what there is."
            if own
            else "Create one, or import one from elsewhere.",
        )

    def _at_revision(self, revision: str) -> BackupInfo:
        """Return the newest backup at an Alembic revision, or at the one that begins like that."""
        own = self.list()
        known = {head for info in own for head in info.alembic_heads}
        fitting = {revision} & known or {head for head in known if head.startswith(revision)}
        if not fitting or not revision:
            raise BackupNotFoundError(
                f"Backup file not found: no backup in {self._storage.directory} was at revision "
                f"'{revision}'. Nothing was changed.",
                hint=f"There are backups at: {', '.join(sorted(known)) or 'no revision'}.",
            )
        found = [info for info in own if fitting.intersection(info.alembic_heads)]
        if len(fitting) > 1:
            raise _ambiguous(f"{_REVISION}{revision}", sorted(fitting))
        return found[0]

    def _with_id(self, ref: str) -> BackupInfo:
        everything = self._storage.list()
        for info in everything:
            if info.id == ref:
                return info
        fitting = [info for info in everything if info.id.startswith(ref)]
        fitting = [info for info in fitting if self.is_own(info)]
        if not fitting:
            raise not_found(ref)
        if len(fitting) > 1:
            raise _ambiguous(ref, [f"{info.id} ({info.timestamp_display})" for info in fitting])
        return fitting[0]


def _ambiguous(ref: str, candidates: Sequence[str]) -> AmbiguousReferenceError:
    more = len(candidates) - _MOST_CANDIDATES
    listed = ", ".join(candidates[:_MOST_CANDIDATES]) + (f" and {more} more" if more > 0 else "")
    error = AmbiguousReferenceError(
        f"'{ref}' fits {len(candidates)} of them. Nothing was changed.",
        hint=f"Write more of one of them: {listed}.",
    )
    error.candidates = tuple(candidates)
    return error

"""The files of safety backups: where they are, and how one takes the place of the one before.

Beside a live database ``app.db`` stand::

    app.db.safety_backup            the database from before the last restore, with its .meta
    app.db.safety_backup.previous   the one of the restore before, while a restore runs
    app.db.safety_backup.<date>     one that may still be wanted, or that a person put there
    app.db.failed_migration         what the last failed migration left, with its .meta

What a person put in the place of one of them is never deleted, but set aside under a dated name. So
is a log that somebody left beside one: the database's library would replay it into any data file of
its name, so it goes where its own data goes, and no other takes the place that it is in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import META_SUFFIX, BackupInfo, to_meta
from soulsense_db.fs import NO_COMPANIONS, Companions, beside
from soulsense_db.meta_file import read_backup

SAFETY_BACKUP = "safety_backup"
"""What a copy of the live database is called that is taken before a restore."""
FAILED_MIGRATION = "failed_migration"
"""What that one is called that a migration left which failed, taken before it is put back."""
SAFETY_NAMES = (SAFETY_BACKUP, FAILED_MIGRATION)

# File systems keep times in ticks of up to two seconds.
_CLOCK_SECONDS = 2.0


class SafetyFiles:
    """The safety backup beside ``database``, and the one before it.

    ``database``: the live file, or what stands for one that lives in memory; ``companions``: the
    driver's; ``name`` as above.
    """

    def __init__(
        self, database: Path, *, companions: Companions, name: str = SAFETY_BACKUP
    ) -> None:
        self._database = database
        self._companions = companions
        self.name = name
        self.path = beside(database, f".{name}")
        self.previous = beside(database, f".{name}.previous")
        self.staging = beside(database, f".{name}.partial", hidden=True)
        self.set_aside_as: list[Path] = []
        """Where what a person had put in their place is now."""

    def newest(self) -> BackupInfo | None:
        """Return the safety backup, while a restore runs perhaps the one before; None without."""
        for path in (self.path, self.previous):
            if _is_file(path):
                return read_backup(path)
        return None

    def is_there(self) -> bool:
        """Whether there is one to go back to."""
        return _is_file(self.path)

    def make_room(self) -> None:
        """Make room for a new one."""
        meta = Path(f"{self.path}{META_SUFFIX}")
        if os.path.lexists(meta) and not _is_file(meta):
            aside = Path(f"{self.path}.{self.stamp()}{META_SUFFIX}")
            fs.move_durably(meta, aside)
            self.set_aside_as.append(aside)
        if _is_file(self.path):
            self._move_pair(self.path, self.previous)
        else:  # a directory, say, or a link
            self._set_aside(self.path)
        self._set_companions_aside(self.path)

    def clear_staging(self) -> None:
        """Remove what a restore that was killed left of a copy."""
        if os.path.lexists(self.staging) and not _is_file(self.staging):
            self._set_aside(self.staging)
        self.remove_staging()

    def remove_staging(self) -> None:
        """Remove such a copy with what is kept beside it, and nothing but files of its name."""
        for ending in ("", *self._companions.endings):
            path = Path(f"{self.staging}{ending}")
            if _is_file(path):
                fs.remove(path)
        for ending in self._companions.folders:
            fs.remove_folder(Path(f"{self.staging}{ending}"))

    def _set_aside(self, path: Path) -> None:
        if os.path.lexists(path):
            self.set_aside_as.append(self.give_dated_name(path))

    def _set_companions_aside(self, path: Path, endings: Sequence[str] | None = None) -> None:
        """Set aside what is beside ``path`` and belongs to no data there."""
        found = [ending for ending in self._beside(path) if endings is None or ending in endings]
        aside = self._dated() if found else path
        for ending in found:
            fs.move_durably(Path(f"{path}{ending}"), Path(f"{aside}{ending}"))
            self.set_aside_as.append(Path(f"{aside}{ending}"))

    def place(self, staged: BackupInfo, created: os.stat_result, *, owner_of: Path | None) -> None:
        """Give the data at :attr:`staging` its name, after its meta file.

        ``created``: what tells that file from any other.
        """
        fs.write_durably(Path(f"{self.path}{META_SUFFIX}"), to_meta(staged), owner_of=owner_of)
        fs.ensure_same_file(self.staging, created)
        fs.move_durably(self.staging, self.path)

    def forget_previous(self) -> None:
        """Remove the one before, if it is ours: any other is set aside under a dated name."""
        if _is_ours(self.previous, self._companions):
            self._remove_pair(self.previous)
        else:
            self._set_aside(self.previous)

    def recover(self) -> None:
        """Tidy up after a restore that was killed."""
        orphan = Path(f"{self.previous}{META_SUFFIX}")
        if not _is_file(self.previous):
            self._set_aside(self.previous)
            self._set_companions_aside(self.previous)
        if fs.exists(self.previous):
            # With a newer one in its place nobody can tell whether it is still wanted.
            if fs.exists(self.path):
                self.set_previous_aside()
            else:
                self.withdraw(placed=False)
        elif fs.exists(orphan):
            # Its data had been moved back, or to its dated name, and it not yet.
            if _fits(orphan, self.path):
                fs.move_durably(orphan, Path(f"{self.path}{META_SUFFIX}"))
            else:
                fs.remove(orphan)

    def set_previous_aside(self) -> None:
        """Give the older one a dated name, if there is one."""
        if fs.exists(self.previous):
            self.give_dated_name(self.previous)

    def give_dated_name(self, path: Path) -> Path:
        """Give one of them a dated name, by which no undo finds it; return that."""
        aside = self._dated()
        self._move_pair(path, aside)
        return aside

    def _dated(self) -> Path:
        return beside(self._database, f".{self.name}.{self.stamp()}")

    def withdraw(self, *, placed: bool) -> None:
        """Give the previous safety backup its name back; ``placed``: a new one has taken it."""
        if fs.exists(self.previous):
            left, meta = (Path(f"{path}{META_SUFFIX}") for path in (self.path, self.previous))
            # When it was set aside, its meta file perhaps did not come to follow it.
            if fs.exists(left) and not fs.exists(meta) and _fits(left, self.previous):
                fs.move_durably(left, meta)
            if fs.exists(self.path) and self._beside(self.path) + self._beside(self.previous):
                self._remove_pair(self.path)  # else it is replaced, and is there until then
            # What else is there alone, a kill in make_room() left: it is of this very data.
            self._set_companions_aside(self.path, self._beside(self.previous))
            self._move_pair(self.previous, self.path, back=True)
        elif placed:
            self._remove_pair(self.path)
        elif not fs.exists(self.path):
            fs.remove(Path(f"{self.path}{META_SUFFIX}"))

    def stamp(self) -> str:
        """Return a date for the name of what is set aside, which no file beside has."""
        now = f"{datetime.now():%Y%m%d_%H%M%S}"
        directory = self.path.parent
        fs.make_private_directory(directory)
        with fs.storage_errors("list", directory):
            names = " ".join(os.listdir(directory))
        stamps = chain([now], (f"{now}_{number}" for number in count(2)))
        return next(stamp for stamp in stamps if stamp not in names)

    def _beside(self, path: Path) -> list[str]:
        """Return how the names end of what is kept, or somebody has put, beside ``path``."""
        return [ending for ending in self._companions.endings if os.path.lexists(f"{path}{ending}")]

    def _move_pair(self, source: Path, target: Path, *, back: bool = False) -> None:
        """Rename a data file, with its meta file and its companions, to a name that has none.

        The data goes away first, and comes ``back`` last. Whenever that is cut short, logs are at
        a name that has no data, and no data file is beside the log of another; and after the move
        of a safety backup the way there and the way back leave the same: data at ``previous``, logs
        where it came from, where the next :meth:`recover` brings it.
        """
        meta = Path(f"{source}{META_SUFFIX}")
        if not fs.exists(meta):  # a person removed it: that of other data must not stand for it
            fs.remove(Path(f"{target}{META_SUFFIX}"))
        if not back:
            fs.move_durably(source, target)
        for ending in self._beside(source):
            fs.move_durably(Path(f"{source}{ending}"), Path(f"{target}{ending}"))
        if back:
            fs.move_durably(source, target)
        if fs.exists(meta):
            fs.move_durably(meta, Path(f"{target}{META_SUFFIX}"))

    def _remove_pair(self, path: Path) -> None:
        """Remove a data file, and before it all that could be taken for another's if left alone."""
        fs.remove(Path(f"{path}{META_SUFFIX}"))
        for ending in self._beside(path):
            fs.remove(Path(f"{path}{ending}"))
        fs.remove(path)


def newest_safety_backup(database: Path, *, name: str = "safety_backup") -> BackupInfo | None:
    """Return what :meth:`SafetyFiles.newest` does: what lies beside it does not matter to that."""
    return SafetyFiles(database, companions=NO_COMPANIONS, name=name).newest()


def _is_file(path: Path) -> bool:
    """Whether there is a file at ``path``, and no directory, pipe or link."""
    with fs.storage_errors("look for", path):
        try:
            return stat.S_ISREG(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False


def _is_ours(path: Path, companions: Companions) -> bool:
    """Whether a restore of ours made the file: its meta file says so, and it is that very file."""
    meta = Path(f"{path}{META_SUFFIX}")
    if not (_is_file(path) and _is_file(meta)):
        return False
    info = read_backup(path)
    if info.kind != "pre_restore" or info.meta_problem or info.sha256 is None:
        return False
    with fs.storage_errors("look at", path):
        data_status, meta_status = path.stat(), meta.stat()
    if data_status.st_size != info.size_bytes or _has_log(path, companions):
        return False
    # Written after its copy was begun and before its meta file: nothing else was then. That saves
    # reading all of it; where times were changed, as by a move to another machine, it is read.
    begun = info.created_at.timestamp() - _CLOCK_SECONDS
    if begun <= data_status.st_mtime and data_status.st_mtime_ns <= meta_status.st_mtime_ns:
        return True
    return fs.sha256_of(path) == info.sha256


def _has_log(path: Path, companions: Companions) -> bool:
    """Whether somebody wrote to the file ``path`` what lies in a log beside it."""
    logs = (Path(f"{path}{ending}") for ending in companions.logs)
    with fs.storage_errors("look at", path):
        return any(os.path.lexists(log) and os.lstat(log).st_size for log in logs)


def _fits(meta: Path, data: Path) -> bool:
    """Whether a meta file, under whatever name, is that of ``data``."""
    if not fs.exists(data):
        return False
    info = read_backup(data, meta=meta)
    with fs.storage_errors("read", data):
        size = data.stat().st_size
    return info.size_bytes == size and info.sha256 == fs.sha256_of(data)

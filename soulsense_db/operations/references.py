"""Which backup a reference names, and what each backup of a directory is to one database.

A backup is one's own because its meta file says so. What says nothing is *of unknown origin*: it is
listed, and used when somebody names it. A *candidate* is what may be meant without being named, by
``latest``, ``latest~1``, ``revision:abc``, the first choice of a window, a schedule or monitoring:
one's own, with no :class:`Doubt` about it.
"""

from __future__ import annotations

import builtins
import os
import re
import stat
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import Enum
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.directory import BackupDirectory
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupNotFoundError, OutsideDirectoryError
from soulsense_db.meta_file import not_found, trusted_meta
from soulsense_db.notices import warn
from soulsense_db.operations.errors import (
    ambiguous,
    no_name,
    none_at,
    nothing_named,
    of_another,
    too_few,
)

Reference = BackupInfo | str | Path
"""A backup, its id or the beginning of that, its file name or path, ``latest`` and the like."""

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_REVISION = "revision:"
_MOMENT = re.compile(r"\d{8}_\d{6}")
_SIMILARITY = 0.75
_LIKE_LATEST = ("latest", "newest", "last", "recent")


class Origin(Enum):
    """Whose backup a file is."""

    OWN = "own"
    OTHER = "other"
    UNKNOWN = "unknown"


class Doubt(Enum):
    """Why a backup is meant only when somebody names it; the value is a phrase for people."""

    ORIGIN = "of unknown origin"
    HALF_RUN = "half-run"
    FUTURE = "dated in the future"


def doubts_about(info: BackupInfo, *, now: datetime | None = None) -> tuple[Doubt, ...]:
    """Return every doubt about a backup that is not another database's; ``now`` is aware."""
    found = {
        Doubt.ORIGIN: info.of_unknown_origin,
        Doubt.HALF_RUN: info.half_run,
        Doubt.FUTURE: info.created_at > (now or datetime.now(UTC)),
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


class Finder:
    """The backups in ``storage`` of the live database of ``driver``."""

    def __init__(self, driver: Driver, storage: BackupDirectory) -> None:
        self._driver = driver
        self._backup_directory = storage

    def list(self) -> builtins.list[BackupInfo]:
        """Return the backups of this database and those of unknown origin, newest first."""
        return self._that_may_be_own(self._backup_directory.list())

    def others(self) -> builtins.list[BackupInfo]:
        """Return the backups in the directory that are of other databases, newest first."""
        everything = self._backup_directory.list()
        own = {info.filename for info in self._that_may_be_own(everything)}
        return [info for info in everything if info.filename not in own]

    def candidates(self) -> builtins.list[BackupInfo]:
        """Return the backups that may be meant without being named, newest first."""
        return _without_doubt(self.list())

    def get(self, ref: Reference) -> BackupInfo:
        """Return the backup that ``ref`` names, as ``BackupManager.get`` documents it."""
        if isinstance(ref, BackupInfo):
            return self._backup_directory.find_again(ref)
        if isinstance(ref, str) and ref.startswith(_REVISION):
            return self._at_revision(ref.removeprefix(_REVISION))
        if isinstance(ref, Path) or "/" in ref or "\\" in ref:
            return self._at(ref)
        return self._named(ref)

    def _named(self, ref: str) -> BackupInfo:
        if not ref.strip():  # a variable that is not set, say
            raise no_name()
        if latest := _LATEST.fullmatch(ref):
            return self._latest(ref, int(latest[1] or 0))
        try:
            return self._find(self._backup_directory.directory / ref)
        except BackupNotFoundError:
            return self._with_id(ref)

    def get_own(self, ref: Reference) -> BackupInfo:
        """Return it, or raise :class:`WrongDatabaseError` for a backup of another database."""
        info = self.get(ref)
        if not self.may_be_own(info):
            raise of_another(info, self._driver.location or self._driver.database)
        return info

    def may_be_own(self, info: BackupInfo) -> bool:
        """Whether nothing says that ``info`` is a backup of another database."""
        return self.origin(info) is not Origin.OTHER

    def origin(self, info: BackupInfo) -> Origin:
        """Return whose backup ``info`` is, as far as its meta file says it.

        It is of this database if it has its path, or the same place as seen from the directory:
        both were moved together. But not if the path is that of another database, which is there:
        then somebody copied it from beside that one.
        """
        return self._origin(info, {})

    def _that_may_be_own(self, infos: Iterable[BackupInfo]) -> builtins.list[BackupInfo]:
        moved: dict[tuple[str, str | None], bool] = {}
        return [info for info in infos if self._origin(info, moved) is not Origin.OTHER]

    def _origin(self, info: BackupInfo, moved: dict[tuple[str, str | None], bool]) -> Origin:
        """Do as :meth:`origin`; ``moved``: what was found out for each place in a long list."""
        if info.of_unknown_origin:
            return Origin.UNKNOWN
        location = self._driver.location
        if location is None or not info.database_path:
            own = location is None and info.database == self._driver.database
        elif info.database_path == str(location):  # nearly always; what follows asks the system
            own = True
        else:
            place = info.database_path, info.database_relative
            if place not in moved:
                moved[place] = self._has_moved(*place, to=location)
            own = moved[place]
        return Origin.OWN if own else Origin.OTHER

    def _has_moved(self, path: str, relative: str | None, *, to: Path) -> bool:
        """Whether the database that was at ``path`` is the one that is at ``to``."""
        here = fs.relative_path(to, self._backup_directory.directory)
        if here is None or relative != here:
            return False
        try:
            there = os.stat(path)
        except (OSError, ValueError):  # nothing there, or nothing that anybody here can see
            return True
        try:
            return not stat.S_ISREG(there.st_mode) or os.path.samestat(there, os.stat(to))
        except OSError:  # it is missing here, and there is one there
            return False

    def _at(self, ref: str | Path) -> BackupInfo:
        path = fs.user_path(ref)
        if path is None:
            raise not_found(ref)
        return self._find(path)

    def _find(self, path: Path) -> BackupInfo:
        """Return the backup at ``path``; of another file it says first if it is no database."""
        try:
            return self._backup_directory.find(path)
        except OutsideDirectoryError:
            if self._backup_directory.holds(path):
                self._driver.check(path, level="pages")
            raise

    def _latest(self, ref: str, back: int) -> BackupInfo:
        everything = self._backup_directory.list()
        own = self._that_may_be_own(everything)
        candidates = _without_doubt(own)
        if back < len(candidates):
            _warn_of_passed_over(own, candidates[back])
            return candidates[back]
        if not candidates:
            for info in own:  # a damaged meta file says more, and what to do about it
                trusted_meta(info)
        others = len(everything) - len(own)
        theirs = [f"{others} of other databases"] if others else []
        left_out = ", ".join([*theirs, *_counted_doubts(own)])
        raise too_few(
            ref,
            self._backup_directory.directory,
            self._driver.location or self._driver.database,
            len(candidates),
            left_out,
            has_any=bool(own),
        )

    def _at_revision(self, revision: str) -> BackupInfo:
        """Return the newest backup at an Alembic revision, or at the one that begins like that."""
        own = self.list()
        candidates = _without_doubt(own)
        known = {head for info in candidates for head in info.alembic_heads}
        fitting = {revision} & known or {head for head in known if head.startswith(revision)}
        if not fitting or not revision:
            at_it = (i for i in own if any(h.startswith(revision) for h in i.alembic_heads))
            in_doubt = next(at_it, None) if revision else None
            hint = (
                f"{in_doubt.filename} is {_why(in_doubt)}: name it to use it."
                if in_doubt
                else f"There are backups at: {', '.join(sorted(known))}."
                if known
                else "There is no backup with a revision."
            )
            raise none_at(self._backup_directory.directory, revision, hint)
        if len(fitting) > 1:
            raise ambiguous(f"{_REVISION}{revision}", sorted(fitting), "revisions")
        found = next(info for info in candidates if fitting.intersection(info.alembic_heads))
        _warn_of_passed_over((i for i in own if fitting.intersection(i.alembic_heads)), found)
        return found

    def _with_id(self, ref: str) -> BackupInfo:
        everything = self._backup_directory.list()
        for info in everything:
            if info.id == ref:
                return info
        beginning = [info for info in everything if info.id.startswith(ref)]
        fitting = self._that_may_be_own(beginning)
        if not fitting:
            similar = _similar(ref, self._that_may_be_own(everything))
            like_latest = get_close_matches(ref.casefold().partition("~")[0], _LIKE_LATEST)
            raise nothing_named(
                ref, similar, of_others=beginning, is_like_latest=bool(like_latest) and not similar
            )
        if len(fitting) > 1:
            names = [f"{info.id} ({info.timestamp_display})" for info in fitting]
            raise ambiguous(ref, names, "backups")
        return fitting[0]


def _similar(ref: str, own: Sequence[BackupInfo]) -> list[BackupInfo]:
    """Return the backups whose id or file name may be what ``ref`` was to be, best first."""
    named = {info.filename.casefold(): info for info in own} | {info.id: info for info in own}
    # A name with another moment in it is that of another backup: to restore that one costs data.
    if moment := _MOMENT.search(ref):
        own = [info for info in own if moment[0] in info.filename]
        named = {info.filename.casefold(): info for info in own}
    close = get_close_matches(ref.casefold(), list(named), n=3, cutoff=_SIMILARITY)
    return list({named[name].id: named[name] for name in close}.values())


def _without_doubt(own: Iterable[BackupInfo]) -> list[BackupInfo]:
    now = datetime.now(UTC)
    return [info for info in own if not doubts_about(info, now=now)]


def _counted_doubts(own: Sequence[BackupInfo]) -> list[str]:
    """Return how many of ``own`` are no candidates, by the first doubt about each."""
    first = [doubts[0] for info in own if (doubts := doubts_about(info))]
    return [f"{first.count(doubt)} {doubt.value}" for doubt in Doubt if doubt in first]


def _why(info: BackupInfo) -> str:
    return ", ".join(doubt.value for doubt in doubts_about(info))


def _warn_of_passed_over(own: Iterable[BackupInfo], chosen: BackupInfo) -> None:
    """Log that there are newer backups than ``chosen``: who reads it may have meant one of them."""
    newer = [info for info in own if info.order > chosen.order and doubts_about(info)]
    if newer:
        more = f" (and {len(newer) - 1} more)" if newer[1:] else ""
        warn(
            f"{newer[0].filename} is newer than {chosen.filename} and was skipped: it is "
            f"{_why(newer[0])}{more}. Name it to use it."
        )

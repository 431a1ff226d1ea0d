"""Whether a restore would be done here and now: all that it does before its first write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import META_SUFFIX, BackupInfo
from soulsense_db.drivers import Driver, Progress
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
)
from soulsense_db.fs import (
    LOGS,
    WORKING_COPIES,
    beside,
    fits_sqlite,
    name_max,
    require_trusted_directory,
)
from soulsense_db.meta_file import require_no_backup
from soulsense_db.operations.errors import denied, in_the_way_of_restore, place_too_long
from soulsense_db.operations.restore import sidecar_base
from soulsense_db.operations.verify import verify_backup
from soulsense_db.sidecars import SafetyFiles, lock_path


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreCheck:
    """What stands in the way of a restore.

    ``backup``: the one looked at, None where only the database and its place were; ``problems``:
    the errors that a restore would raise, or the Alembic hook when it puts back; ``remarks``: of
    the verification.
    """

    backup: BackupInfo | None
    problems: tuple[BackupError, ...]
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing does."""
        return not self.problems


class RestoreChecker:
    """Looks at the live database of ``driver``; what has no file has its place in ``directory``."""

    def __init__(self, driver: Driver, directory: Path) -> None:
        self._driver = driver
        self._directory = directory

    def check_place(self) -> RestoreCheck:
        """Look at the database and at the directory that it is in, before there is a backup."""
        problems = (*_problem(self._driver.require_restorable), *self._place(None))
        return RestoreCheck(backup=None, problems=problems)

    def check(self, info: BackupInfo, *, progress: Progress | None = None) -> RestoreCheck:
        """Look at the backup ``info`` as well: read all of it, and bring it into shape."""
        problems: list[BackupError] = []
        remarks: tuple[str, ...] = ()
        try:
            report = verify_backup(self._driver, info, level="full", progress=progress)
            remarks = report.remarks
        except BackupError as error:
            problems.append(error)
        problems += _problem(
            lambda: require_trusted_directory(self._directory, live=self._driver.location)
        )
        problems += self._place(info)
        if not problems:
            problems += _problem(lambda: self._driver.rehearse(Path(info.path)))
        return RestoreCheck(backup=info, problems=tuple(problems), remarks=remarks)

    def _place(self, info: BackupInfo | None) -> Iterator[BackupError]:
        """Yield what is wrong with the place of the live database."""
        place = sidecar_base(self._driver, self._directory)
        lock = lock_path(place)
        yield from _problem(lambda: require_no_backup(self._driver.location))
        yield from _names(place, lock)
        yield from _rights(place, lock)
        yield from _problem(lambda: _require_nothing_in_the_way(place))
        yield from _problem(lambda: self._require_room(place.parent, info))

    def _require_room(self, directory: Path, info: BackupInfo | None) -> None:
        """Ask for room for the safety backup, for the journal or log, and for what is larger."""
        live = self._live_size()
        backup = info.size_bytes if info is not None else live
        fs.require_space(directory, live + max(live, backup) + max(0, backup - live))

    def _live_size(self) -> int:
        """Return about how many bytes a safety backup takes, without waiting for a lock."""
        if self._driver.location is None:
            return self._driver.size()
        found = (Path(f"{self._driver.location}{ending}") for ending in ("", "-wal"))
        return sum(path.stat().st_size for path in found if fs.exists(path))


def _problem(look: Callable[[], object]) -> list[BackupError]:
    try:
        look()
    except (DatabaseFileNotFoundError, DatabaseDamagedError):
        return []  # such a database is replaced by a restore
    except DatabaseLockedError:
        return []  # it passes
    except BackupError as error:
        return [error]
    return []


def _names(place: Path, lock: Path) -> Iterator[BackupError]:
    for path in (*_opened_by_sqlite(place), lock):
        size, most = len(os.fsencode(path.name)), name_max(path.parent)
        if size + len(META_SUFFIX) > most or not fits_sqlite(path):
            yield place_too_long(place)
            return


def _rights(place: Path, lock: Path) -> Iterator[BackupError]:
    directory = place.parent
    while not fs.exists(directory) and directory != directory.parent:
        directory = directory.parent
    if not os.access(directory, os.W_OK | os.X_OK):
        yield denied(directory, "a restore puts files there")
    # By name and not by opening it: SQLite may have the file open in this process.
    if fs.exists(place) and not os.access(place, os.R_OK | os.W_OK):
        yield denied(place, "a restore writes to it")
    if fs.exists(lock) and not os.access(lock, os.R_OK | os.W_OK):
        yield denied(lock, "a restore locks it")


def _require_nothing_in_the_way(place: Path) -> None:
    """Raise for what a restore can neither pass by, as another file for its lock, nor set aside."""
    for path in _in_the_way(place):
        if path.is_symlink() or path.is_dir():
            raise in_the_way_of_restore(path)


def _in_the_way(place: Path) -> Iterator[Path]:
    """Yield where nothing but a file of ours may be; all else a restore passes by or sets aside."""
    safety = SafetyFiles(place)
    yield Path(f"{safety.previous}{META_SUFFIX}")
    yield from (Path(f"{safety.staging}{companion}") for companion in LOGS)


def _opened_by_sqlite(place: Path) -> tuple[Path, ...]:
    safety, failed = SafetyFiles(place), SafetyFiles(place, name="failed_migration")
    working = (beside(place, ending, hidden=True) for ending in WORKING_COPIES)
    return (safety.staging, safety.path, safety.previous, failed.staging, failed.path, *working)

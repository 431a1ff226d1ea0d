"""Drivers that each break one promise, and the tests of the suite that find them.

No tests of ours: ``test_suite_finds.py`` runs them, and looks whether ``found_by`` fail.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from soulsense_db.drivers import (
    CheckLevel,
    DatabaseDiff,
    DiffReport,
    Driver,
    Findings,
    Progress,
    SnapshotInfo,
    SQLiteDriver,
    WriteLock,
)
from soulsense_db.errors import InvalidBackupError
from soulsense_db.testing import DriverSuite

T = TypeVar("T")


class Broken(DriverSuite):
    """A suite for the driver ``broken``."""

    broken: ClassVar[type[Driver]]
    found_by: ClassVar[tuple[str, ...]]

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return an engine on a new file."""
        return sa.create_engine(f"sqlite:///{folder}/live.db")

    def make_driver(self, engine: Engine | AsyncEngine, *, lock_timeout: float) -> Driver:
        """Return the broken driver."""
        assert isinstance(engine, Engine)
        return self.broken(engine, lock_timeout=lock_timeout)


def _execute(driver: Driver, statement: str) -> None:
    with closing(sqlite3.connect(str(driver.location))) as connection:
        connection.execute(statement)
        connection.commit()


class _LeavesAFile(SQLiteDriver):
    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        target.with_name("more").touch()
        return super().snapshot(target, progress=progress)


class TestLeavesAFile(Broken):
    broken = _LeavesAFile
    found_by = ("test_a_snapshot_leaves_nothing_beside_it",)


class _AddsARow(SQLiteDriver):
    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        _execute(self, "INSERT INTO soulsense_notes (body) VALUES ('more')")
        return super().snapshot(target, progress=progress)


class TestAddsARow(Broken):
    broken = _AddsARow
    found_by = ("test_a_snapshot_holds_all_rows_and_comes_back",)


class _TellsNoProgress(SQLiteDriver):
    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        return super().snapshot(target)


class TestTellsNoProgress(Broken):
    broken = _TellsNoProgress
    found_by = (
        "test_progress_of_a_snapshot_goes_up_to_the_end",
        "test_a_cancelled_snapshot_leaves_the_database_usable",
    )


class _TellsProgressTooLate(SQLiteDriver):
    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        super().load(source, write_lock=write_lock, progress=progress)
        if progress is not None:
            progress(1, 1)


class TestTellsProgressTooLate(Broken):
    broken = _TellsProgressTooLate
    found_by = ("test_progress_of_a_load_ends_before_it_is_too_late",)


class _BelievesEverything(SQLiteDriver):
    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        return Findings()


class TestBelievesEverything(Broken):
    broken = _BelievesEverything
    found_by = (
        "test_other_files_pass_no_check",
        "test_a_cut_backup_passes_no_check",
        "test_a_damaged_backup_is_found",
    )


class _TouchesWhatItChecks(SQLiteDriver):
    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        os.utime(path, (1, 1))
        return super().check(path, level=level, poll=poll)


class TestTouchesWhatItChecks(Broken):
    broken = _TouchesWhatItChecks
    found_by = ("test_a_good_backup_passes_every_check_untouched",)


class _TellsRows(SQLiteDriver):
    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        try:
            return super().check(path, level=level, poll=poll)
        except InvalidBackupError as error:
            raise InvalidBackupError(f"{path.name} has Dear diary in it", hint="") from error


class TestTellsRows(Broken):
    broken = _TellsRows
    found_by = ("test_a_cut_backup_passes_no_check",)


class _ReadsAllIntoMemory(SQLiteDriver):
    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        assert path.read_bytes()
        return super().check(path, level=level, poll=poll)


class TestReadsAllIntoMemory(Broken):
    broken = _ReadsAllIntoMemory
    found_by = ("test_memory_stays_flat",)


class _ComparesLess(SQLiteDriver):
    def compare(
        self, backup: Path, *, ignore: Collection[str], progress: Progress | None = None
    ) -> DatabaseDiff:
        return super().compare(backup, ignore={"soulsense_notes"}, progress=progress)


class TestComparesLess(Broken):
    broken = _ComparesLess
    found_by = ("test_a_comparison_counts_rows",)


class _LoadsInSteps(SQLiteDriver):
    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        _execute(self, "DELETE FROM soulsense_notes")
        super().load(source, write_lock=write_lock, progress=progress)


class TestLoadsInSteps(Broken):
    broken = _LoadsInSteps
    found_by = ("test_what_is_no_backup_is_not_loaded", "test_a_cancelled_load_changed_nothing")


class _LocksNobodyOut(SQLiteDriver):
    @contextmanager
    def write_locked(self) -> Iterator[WriteLock]:
        with super().write_locked() as lock:
            lock.release()
            yield lock


class TestLocksNobodyOut(Broken):
    broken = _LocksNobodyOut
    found_by = ("test_a_write_lock_keeps_writers_out_and_readers_in",)


class _KeepsItsLock(SQLiteDriver):
    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        if write_lock is None:
            super().load(source, progress=progress)


class TestKeepsItsLock(Broken):
    broken = _KeepsItsLock
    found_by = ("test_a_load_under_the_write_lock_replaces_what_was_locked",)


class _MakesWhatIsMissing(SQLiteDriver):
    def size(self) -> int:
        _execute(self, "CREATE TABLE IF NOT EXISTS made (x)")
        return super().size()


class TestMakesWhatIsMissing(Broken):
    broken = _MakesWhatIsMissing
    found_by = ("test_a_missing_database_stays_missing_and_is_rebuilt",)


class _DeletesWhatIsDamaged(SQLiteDriver):
    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        for path in super().rebuild(source, facts=facts, stamp=stamp):
            path.unlink()
        return ()


class TestDeletesWhatIsDamaged(Broken):
    broken = _DeletesWhatIsDamaged
    found_by = ("test_a_damaged_database_is_moved_aside_and_rebuilt",)


class _CommitsWhatFailed(SQLiteDriver):
    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        def and_commit(connection: Connection) -> T:
            try:
                return work(connection)
            except ZeroDivisionError:
                connection.exec_driver_sql("COMMIT")
                raise

        return super().transaction(and_commit, lock_timeout=lock_timeout, write=write)


class TestCommitsWhatFailed(Broken):
    broken = _CommitsWhatFailed
    found_by = ("test_a_transaction_that_fails_takes_all_back",)


class _PutsNothingBack(SQLiteDriver):
    def kept_state(self, folder: Path) -> Callable[[], None]:  # type: ignore[override]
        return lambda: None


class TestPutsNothingBack(Broken):
    broken = _PutsNothingBack
    found_by = ("test_what_is_kept_is_put_back_as_often_as_called",)


class _LetsApplicationCodeWrite(SQLiteDriver):
    def make_read_only(self, connection: object) -> None:
        pass


class TestLetsApplicationCodeWrite(Broken):
    broken = _LetsApplicationCodeWrite
    found_by = ("test_a_connection_made_read_only_refuses_to_write",)


class _DiffsBackwards(SQLiteDriver):
    def diff(self, first: Path, second: Path, **options: Any) -> DiffReport:
        return super().diff(second, first, **options)


class TestDiffsBackwards(Broken):
    broken = _DiffsBackwards
    found_by = ("test_differences_go_from_the_first_to_the_second",)

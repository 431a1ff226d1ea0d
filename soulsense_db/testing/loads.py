"""What a driver promises of restores."""

from __future__ import annotations

import os
from functools import partial

import sqlalchemy as sa

from soulsense_db.drivers import ConcurrentCommitError, WriteLock
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
)
from soulsense_db.testing.hooks import DriverHooks
from soulsense_db.testing.live import (
    FIRST_NOTES,
    CancelledError,
    Live,
    OtherProgram,
    Reports,
    cancel,
    contents_of,
    metadata,
    versions,
)


class LoadPromises(DriverHooks):
    """Exactly the backup's content, or the live database as it was."""

    def test_a_load_leaves_exactly_the_backup_s_content(self, live: Live) -> None:
        """Rows, tables and revisions that came after the backup are gone; what went is back."""
        path, _ = live.snapshot()
        extra = sa.Table("soulsense_extra", sa.MetaData(), sa.Column("id", sa.Integer))
        versions.create(live.engine)
        extra.create(live.engine)
        live.execute(sa.insert(extra).values(id=1))
        metadata.drop_all(live.engine)
        live.driver.load(path)
        assert live.bodies() == FIRST_NOTES
        assert live.is_balanced()
        assert live.driver.alembic_heads("alembic_version") is None
        assert live.driver.compare(path, ignore=()).identical
        live.add("and on")

    def test_what_is_kept_is_put_back_as_often_as_called(self, live: Live) -> None:
        """Each test of an application begins with the same rows and tables."""
        put_back = live.driver.kept_state(live.folder)
        for number in range(2):
            live.add(f"later {number}")
            if number:
                metadata.drop_all(live.engine)
            put_back()
            assert live.bodies() == FIRST_NOTES
            assert live.is_balanced()

    def test_loading_leaves_the_backup_as_it_is(self, live: Live) -> None:
        """A restore consumes nothing: the backup has the same bytes, and nothing lies beside it."""
        path, _ = live.snapshot()
        before = contents_of(live.folder)
        live.driver.rehearse(path)
        live.driver.load(path)
        live.driver.flush()
        live.driver.check_loaded(live.driver.schema_of(path))
        assert contents_of(live.folder) == before

    def test_progress_of_a_load_ends_before_it_is_too_late(self, live: Live) -> None:
        """Every report of a load can still cancel it: none comes once the data is replaced."""
        path, _ = live.snapshot()
        reports = Reports()
        live.driver.load(path, progress=reports)
        assert reports == sorted(reports)
        assert all(done < total for done, total in reports)

    def test_a_cancelled_load_changed_nothing(self, live: Live) -> None:
        """A load that ends in an error left every row of before; where it cannot, it is done."""
        path, _ = live.snapshot()
        live.add("later")
        before = contents_of(live.folder)
        try:
            live.driver.load(path, progress=cancel)  # so small that there may be no report
        except CancelledError:
            assert live.bodies() == [*FIRST_NOTES, "later"]
        else:
            assert live.bodies() == FIRST_NOTES
        assert contents_of(live.folder) == before
        live.add("and on")

    def test_what_is_no_backup_is_not_loaded(self, live: Live) -> None:
        """Another kind of file, and one that lost its end, change nothing."""
        text, (cut, snapshot) = live.new_file("text"), live.snapshot("cut")
        text.write_bytes(b"hello\n" * 50)
        os.truncate(cut, snapshot.size_bytes // 2)
        live.add("later")
        for path in (text, cut):
            live.refused(BackupError, partial(live.driver.rehearse, path))
            live.refused(BackupError, partial(live.driver.load, path))
            assert live.bodies() == [*FIRST_NOTES, "later"]

    def test_a_kill_leaves_the_old_or_the_new(self, live: Live) -> None:
        """A process that dies in the middle of a load leaves no mixture, and nothing locked."""
        self.needs_others()
        live.add(*["x" * 1000] * 200)
        path, _ = live.snapshot()
        live.add("later")
        with live.other_program() as other:
            other.die("die_while_loading", str(path))
        assert len(live.bodies()) in {len(FIRST_NOTES) + 200, len(FIRST_NOTES) + 201}
        assert live.is_balanced()
        live.driver.load(path)
        live.driver.check_loaded(live.driver.schema_of(path))
        assert len(live.bodies()) == len(FIRST_NOTES) + 200

    def test_other_programs_see_what_was_loaded(self, live: Live) -> None:
        """A program that was connected before a restore reads the restored rows after it."""
        self.needs_others()
        path, _ = live.snapshot()
        with live.other_program() as other:
            assert other.do("add", "theirs")
            assert other.do("bodies") == [*FIRST_NOTES, "theirs"]
            live.driver.load(path)
            if not self.keeps_sessions:
                assert other.do("bodies") is None
            assert other.do("bodies") == FIRST_NOTES
            assert other.do("add", "again")
        assert live.bodies() == [*FIRST_NOTES, "again"]

    def test_a_load_beside_an_open_transaction_is_whole_or_not_at_all(self, live: Live) -> None:
        """Where somebody holds what a load needs, it ends in time, and has changed nothing."""
        self.needs_others()
        path, _ = live.snapshot()
        live.add("later")
        driver = self.make_driver(live.driver.engine, lock_timeout=0.3)
        with live.other_program() as other:
            other.do("hold", "not yet")
            try:
                driver.load(path)
            except DatabaseLockedError:
                expected = [*FIRST_NOTES, "later"]
            else:
                expected = FIRST_NOTES
            other.do("let_go")
        assert live.bodies() == expected

    # The write lock

    def test_a_write_lock_keeps_writers_out_and_readers_in(self, live: Live) -> None:
        """While it is held others read and do not commit; it knows whether they did afterwards."""
        self.needs_others()
        with live.other_program() as other, live.driver.connected():
            with live.driver.write_locked() as lock:
                assert not lock.is_released
                assert not other.do("add", "too early")
                assert other.do("bodies") == FIRST_NOTES
                live.driver.snapshot(live.new_file())
                assert lock.release()
                assert lock.is_released
                assert not lock.release()
                assert not lock.has_concurrent_commit()
                assert other.do("add", "theirs")
                assert lock.changed()
                assert lock.has_concurrent_commit()
            assert other.do("add", "more")
        assert live.bodies() == [*FIRST_NOTES, "theirs", "more"]

    def test_a_write_lock_is_not_waited_for_without_end(self, live: Live) -> None:
        """Beside another writer it is an error by the deadline."""
        self.needs_others()
        driver = self.make_driver(live.driver.engine, lock_timeout=0.3)

        def lock() -> None:
            with driver.write_locked():
                raise AssertionError("two hold the write lock")

        with live.other_program() as other:
            other.do("hold", "not yet")
            live.refused(DatabaseLockedError, lock)

    def test_a_load_under_the_write_lock_replaces_what_was_locked(self, live: Live) -> None:
        """From the lock to the end of the load nobody else commits: the lock is handed over."""
        path, _ = live.snapshot()
        live.add("later")
        with live.driver.connected(), live.driver.write_locked() as lock:
            live.driver.load(path, write_lock=lock)
            assert lock.is_released
        assert live.bodies() == FIRST_NOTES

    def test_what_an_exchange_replaced_is_kept(self, live: Live) -> None:
        """It can be copied while the database is in use, and a load of the copy puts it back.

        A driver that keeps nothing has nothing that a copy is to be made of.
        """
        driver = live.driver
        path, _ = live.snapshot()
        live.add("later")
        assert driver.replaced_without_copy() is None
        if not driver.keeps_replaced:
            driver.load(path)
            assert driver.replaced_without_copy() is None
            return
        with driver.connected(), driver.write_locked() as lock:
            driver.exchange(path, purpose="undo", write_lock=lock)
        assert live.bodies() == FIRST_NOTES
        assert driver.replaced_without_copy() == "undo"
        live.add("after it")
        copy = live.new_file("copy")
        with driver.holding_replaced():
            driver.snapshot_replaced(copy)
            driver.check(copy, level="full")
            driver.keep_replaced(copy)
        assert driver.replaced_without_copy() is None
        driver.load(copy)
        assert live.bodies() == [*FIRST_NOTES, "later"]

    def test_who_commits_before_the_load_is_not_overwritten(self, live: Live) -> None:
        """A commit between the release of the lock and the load's own is found, and kept.

        Or nobody can commit then.
        """
        self.needs_others()
        path, _ = live.snapshot()
        with live.other_program() as other, live.driver.connected():
            try:
                with live.driver.write_locked() as lock:
                    overtaken = _Overtaken(lock, other)
                    live.driver.load(path, write_lock=overtaken)
            except ConcurrentCommitError:
                expected = [*FIRST_NOTES, "faster"]
            else:
                was_lost = overtaken.has_committed and self.finds_each_commit
                assert not was_lost, "a commit was overwritten"
                expected = FIRST_NOTES
        assert live.bodies() == expected

    # Afterwards

    def test_reading_back_notices_another_database(self, live: Live) -> None:
        """A live database that lacks tables of the backup is not what was loaded."""
        path, _ = live.snapshot()
        live.driver.check_loaded(live.driver.schema_of(path))
        metadata.drop_all(live.engine)
        contents = live.driver.schema_of(path)
        live.refused(DatabaseDamagedError, lambda: live.driver.check_loaded(contents))

    def test_a_missing_database_stays_missing_and_is_rebuilt(self, live: Live) -> None:
        """A database that is not there is never made by looking at it, and can be rebuilt."""
        self.needs_file()
        location = live.driver.location
        assert location is not None
        path, snapshot = live.snapshot()
        driver = live.driver
        live.engine.dispose()
        location.unlink()
        for look in (
            driver.require_database,
            driver.size,
            lambda: driver.alembic_heads("alembic_version"),
            lambda: driver.snapshot(live.new_file("never")),
            lambda: driver.transaction(lambda _: None, lock_timeout=1),
        ):
            error = live.refused(DatabaseFileNotFoundError, look)
            assert "Database file not found" in str(error)
        with driver.connected():
            driver.return_idle_connections()
        assert not location.exists()
        assert {row.live for row in driver.row_counts(path, ignore=())} == {None}
        assert driver.rebuild(path, facts=snapshot.facts, stamp="now") == ()
        driver.check_loaded(driver.schema_of(path))
        assert live.bodies() == FIRST_NOTES

    def test_a_damaged_database_is_moved_aside_and_rebuilt(self, live: Live) -> None:
        """Damage is named so and changes nothing; what is rebuilt keeps the damaged files."""
        self.needs_file()
        location = live.driver.location
        assert location is not None
        live.add(*["x" * 1000] * 200)
        path, snapshot = live.snapshot()
        live.engine.dispose()
        location.write_bytes(b"this was a database once\n" * 400)
        before = location.read_bytes()
        driver = live.driver
        error = live.refused(DatabaseDamagedError, lambda: driver.snapshot(live.new_file("never")))
        assert str(location) in str(error)
        assert location.read_bytes() == before
        moved = driver.rebuild(path, facts=snapshot.facts, stamp="20250101")
        assert [aside.read_bytes() for aside in moved] == [before]
        assert all(aside.name.endswith("20250101") for aside in moved)
        driver.check_loaded(driver.schema_of(path))
        assert len(live.bodies()) == len(FIRST_NOTES) + 200


class _Overtaken:
    """A write lock after whose release somebody else commits at once, where that is possible."""

    def __init__(self, lock: WriteLock, other: OtherProgram) -> None:
        self._lock = lock
        self._other = other
        self.has_committed = False

    @property
    def is_released(self) -> bool:
        return self._lock.is_released

    def release(self) -> bool:
        released = self._lock.release()
        if released:
            self.has_committed = self._other.do("add", "faster")
        return released

    def changed(self) -> bool:
        return self._lock.changed()

    def has_concurrent_commit(self) -> bool:
        return self._lock.has_concurrent_commit()

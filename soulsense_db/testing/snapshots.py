"""What a driver promises of snapshots."""

from __future__ import annotations

import hashlib
import tracemalloc
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from soulsense_db.errors import DatabaseLockedError
from soulsense_db.testing.hooks import DriverHooks
from soulsense_db.testing.live import (
    FIRST_NOTES,
    CancelledError,
    Live,
    Reports,
    cancel,
    contents_of,
    notes,
    versions,
)

_LARGE_NOTES = 64
_LARGE = 128 * 1024


class SnapshotPromises(DriverHooks):
    """All committed data at one moment, in a file of its own."""

    def test_a_driver_says_what_it_is(self, live: Live) -> None:
        """Dialect, suffix and the database's name are there for the meta file and file names."""
        assert live.driver.dialect == live.driver.engine.dialect.name
        assert live.driver.suffix.startswith(".")
        assert live.driver.database
        live.driver.require_database()

    def test_what_the_suite_is_told_is_so(self, live: Live) -> None:
        """A database that is said to have no file has none, and one with a file has it there."""
        location = live.driver.location
        assert (location is not None) == self.has_file
        if location is not None:
            assert location.is_absolute()
            assert location.is_file()

    def test_its_address_leads_to_it(self, live: Live) -> None:
        """What commands show for ``--url`` reaches the same database; in memory there is none."""
        from soulsense_db.drivers import engine_for

        assert bool(live.driver.address) == self.reachable_by_others
        if live.driver.address:
            engine = engine_for(live.driver.address)
            with engine.connect() as connection:
                assert len(connection.execute(sa.select(notes)).all()) == len(FIRST_NOTES)
            engine.dispose()

    def test_a_snapshot_holds_all_rows_and_comes_back(self, live: Live) -> None:
        """What was in the database at the snapshot is in it again after loading, nothing else."""
        path, snapshot = live.snapshot()
        live.add("later")
        live.driver.load(path)
        assert live.bodies() == FIRST_NOTES
        assert snapshot.size_bytes == path.stat().st_size
        if snapshot.sha256 is not None:
            assert snapshot.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert all(isinstance(fact, str) for fact in snapshot.facts.values())

    def test_a_snapshot_leaves_nothing_beside_it(self, live: Live) -> None:
        """A backup is one file, as it is when it is moved to another machine."""
        path, _ = live.snapshot()
        assert list(live.folder.iterdir()) == [path]

    def test_size_is_about_that_of_a_snapshot(self, live: Live) -> None:
        """The room asked for before a snapshot is the room it takes, with a lock or without."""
        live.add(*["x" * 1000] * 200)
        _, snapshot = live.snapshot()
        assert snapshot.size_bytes * 0.5 <= live.driver.size() <= snapshot.size_bytes * 2
        # A log may have a second copy of all of it.
        assert snapshot.size_bytes * 0.5 <= live.driver.size_now() <= snapshot.size_bytes * 4

    def test_a_backup_s_path_can_be_opened(self, live: Live) -> None:
        """A path of usual length is not too long."""
        assert live.driver.can_open(live.new_file())

    def test_progress_of_a_snapshot_goes_up_to_the_end(self, live: Live) -> None:
        """Bytes done grow to the total, for a dialog to show."""
        reports = Reports()
        snapshot = live.driver.snapshot(live.new_file(), progress=reports)
        assert reports == sorted(reports)
        assert reports[-1] == (snapshot.size_bytes, snapshot.size_bytes)

    def test_a_cancelled_snapshot_leaves_the_database_usable(self, live: Live) -> None:
        """What progress raises comes out as it is; nothing stays locked or open afterwards."""
        try:
            live.driver.snapshot(live.new_file(), progress=cancel)
        except CancelledError:
            pass
        else:
            raise AssertionError("the progress of a snapshot was never called")
        live.add("three")
        assert live.bodies() == [*FIRST_NOTES, "three"]

    def test_connections_in_use_stay_in_their_pool(self, live: Live) -> None:
        """What is asked while the application works leaves its pool alone, and its connection."""
        with live.engine.connect() as connection:
            pool = live.engine.pool
            connection.execute(sa.select(notes)).all()
            with suppress(DatabaseLockedError):  # of the only connection that there is
                live.driver.snapshot(live.new_file())
            live.driver.size()
            live.driver.alembic_heads("alembic_version")
            live.driver.return_idle_connections()
            assert live.engine.pool is pool
        assert live.bodies() == FIRST_NOTES

    def test_an_open_transaction_does_not_leak(self, live: Live) -> None:
        """What the caller has not committed is in no snapshot, and stays the caller's."""
        path = live.new_file()
        with live.engine.connect() as connection:
            connection.execute(sa.insert(notes), [{"body": "not yet"}])
            try:
                live.driver.snapshot(path)
            except DatabaseLockedError:  # of the only connection that there is
                assert not self.reachable_by_others
            else:
                live.driver.check(path, level="full")
            connection.commit()
        if self.reachable_by_others:
            live.driver.load(path)
            assert live.bodies() == FIRST_NOTES
        else:
            assert live.bodies() == [*FIRST_NOTES, "not yet"]

    def test_what_others_have_not_committed_is_not_in_a_snapshot(self, live: Live) -> None:
        """A program in the middle of a transaction delays no snapshot, and is not in it."""
        self.needs_others()
        with live.other_program() as other:
            other.do("hold", "not yet")
            path, _ = live.snapshot()
            other.do("let_go")
        live.driver.load(path)
        assert live.bodies() == FIRST_NOTES

    def test_writers_neither_delay_nor_tear_a_snapshot(self, live: Live) -> None:
        """With a program that commits all the time a snapshot ends, and is of one moment."""
        self.needs_others()
        live.add(*["x" * 1000] * 2000)
        paths = [live.new_file(str(number)) for number in range(3)]
        with live.other_program() as other:
            other.do("start_writing")
            for path in paths:
                live.driver.snapshot(path)
            assert other.do("stop_writing") > 0
        for path in paths:
            live.driver.load(path)
            assert live.is_balanced()
            assert len(live.bodies()) == len(FIRST_NOTES) + 2000

    def test_heads_are_those_of_alembic(self, live: Live) -> None:
        """The revisions are read sorted from ``alembic_version``; without it nobody can tell."""
        assert live.driver.alembic_heads("alembic_version") is None
        versions.create(live.engine)
        revisions = [{"version_num": "b2"}, {"version_num": "a1"}]
        live.execute(sa.insert(versions).values(revisions))
        assert live.driver.alembic_heads("alembic_version") == ("a1", "b2")
        assert live.driver.alembic_heads("another_table") is None
        path, snapshot = live.snapshot()
        assert snapshot.alembic_heads == ("a1", "b2")
        assert live.driver.heads_in(path) == ("a1", "b2")

    def test_a_file_can_be_copied_like_a_database(self, live: Live) -> None:
        """A file from elsewhere becomes a backup with the same rows, and stays as it is."""
        source, _ = live.snapshot("source")
        before = contents_of(live.folder)
        live.driver.require_readable(source)
        reports = Reports()
        target = live.new_file("target")
        copied = live.driver.copy_file(source, target, progress=reports)
        assert copied.size_bytes == target.stat().st_size
        assert reports
        after = contents_of(live.folder)
        assert after.pop(target.name)
        assert after == before
        live.add("later")
        live.driver.load(target)
        assert live.bodies() == FIRST_NOTES

    def test_memory_stays_flat(self, live: Live, tmp_path: Path) -> None:
        """Python never holds a large part of a database: not one that is copied, read, compared."""
        live.add(*(f"{number}" * (_LARGE // 2) for number in range(10, 10 + _LARGE_NOTES)))
        path = live.new_file()
        tracemalloc.start()
        try:
            live.driver.snapshot(path)
            live.driver.check(path, level="full")
            assert live.driver.compare(path, ignore=()).identical
            live.driver.load(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < _LARGE_NOTES * _LARGE / 2

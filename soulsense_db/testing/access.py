"""What a driver promises of the application's engine, its connections and transactions."""

from __future__ import annotations

from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers import Driver
from soulsense_db.testing.hooks import DriverHooks
from soulsense_db.testing.live import FIRST_NOTES, Live, notes


class AccessPromises(DriverHooks):
    """The application goes on as before, and joins nothing of ours, nor we anything of its."""

    def test_a_transaction_commits_what_it_did(self, live: Live) -> None:
        """Work in a transaction is there afterwards, and its result is returned."""

        def work(connection: Connection) -> int:
            connection.execute(sa.insert(notes), [{"body": "three"}])
            return 42

        assert live.driver.transaction(work, lock_timeout=1) == 42
        assert live.bodies() == [*FIRST_NOTES, "three"]

    def test_a_transaction_that_fails_takes_all_back(self, live: Live) -> None:
        """Work that raises leaves nothing, and what it raised comes out as it is."""

        def work(connection: Connection) -> None:
            connection.execute(sa.insert(notes), [{"body": "three"}])
            raise ZeroDivisionError

        try:
            live.driver.transaction(work, lock_timeout=1)
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError("the error of the work was swallowed")
        assert live.bodies() == FIRST_NOTES

    def test_a_transaction_is_one_where_the_engine_commits_each_statement(self, live: Live) -> None:
        """An application in AUTOCOMMIT mode does not have its mode for what must be whole."""
        self.needs_others()
        engine = sa.create_engine(live.url or "", isolation_level="AUTOCOMMIT")

        def work(connection: Connection) -> None:
            connection.execute(sa.insert(notes), [{"body": "three"}])
            raise ZeroDivisionError

        driver = self.make_driver(engine, lock_timeout=1)
        try:
            with suppress(ZeroDivisionError):
                driver.transaction(work, lock_timeout=1)
        finally:
            engine.dispose()
        assert live.bodies() == FIRST_NOTES

    def test_a_transaction_that_only_reads_is_beside_writers(self, live: Live) -> None:
        """Without ``write`` it waits for nobody who writes, and sees what is committed."""
        self.needs_others()

        def work(connection: Connection) -> list[str]:
            return list(connection.scalars(sa.select(notes.c.body).order_by(notes.c.id)))

        with live.other_program() as other:
            other.do("hold", "not yet")
            found = live.driver.transaction(work, lock_timeout=1, write=False)
            other.do("let_go")
        assert found == FIRST_NOTES

    def test_returning_idle_connections_spares_those_in_use(self, live: Live) -> None:
        """A connection that the application is using goes on, with its transaction."""
        with live.engine.begin() as connection:
            connection.execute(sa.insert(notes), [{"body": "mine"}])
            live.driver.return_idle_connections()
        assert live.bodies() == [*FIRST_NOTES, "mine"]

    def test_asking_what_is_attached_begins_no_transaction(self, live: Live) -> None:
        """A new database has no others attached, and a connection that is asked stays as it was."""
        with live.engine.connect() as connection:
            assert live.driver.attached_files(connection) == {}
            assert not connection.in_transaction()

    def test_a_connection_made_read_only_refuses_to_write(self, live: Live) -> None:
        """Code of the application that is run to find its engine reads, and can write nothing."""
        self.needs_others()  # the connection cannot be used any more: it must not be the only one
        if type(live.driver).make_read_only is Driver.make_read_only:
            pytest.skip(f"{type(live.driver).__name__} has no make_read_only()")
        with live.engine.connect() as connection:
            live.driver.make_read_only(connection.connection)
            assert connection.scalar(sa.select(sa.func.count()).select_from(notes)) == 2
            with pytest.raises(sa.exc.DBAPIError):
                connection.execute(sa.insert(notes), [{"body": "mine"}])
            connection.invalidate()
        assert live.bodies() == FIRST_NOTES

    def test_an_operation_goes_through_connections_opened_before(self, live: Live) -> None:
        """Within ``connected()`` all works as without it, also once more inside."""
        with live.driver.connected():
            path, _ = live.snapshot()
            live.add("later")
            with live.driver.connected():
                live.driver.load(path)
        assert live.bodies() == FIRST_NOTES

    def test_a_write_is_seen_by_the_stamp_or_never(self, live: Live) -> None:
        """Where a stamp tells of writes, it is the same until somebody writes, and then another."""
        stamp = live.driver.write_stamp()
        live.bodies()
        assert live.driver.write_stamp() == stamp
        live.add(*["x" * 1000] * 20)
        assert live.driver.write_stamp() is None or live.driver.write_stamp() != stamp

    def test_a_good_database_can_be_restored(self, live: Live) -> None:
        """Nothing is in the way of a restore of a usual database, and looking changes nothing."""
        path, _ = live.snapshot()
        live.add("later")
        live.driver.require_restorable()
        live.driver.rehearse(path)
        assert live.bodies() == [*FIRST_NOTES, "later"]

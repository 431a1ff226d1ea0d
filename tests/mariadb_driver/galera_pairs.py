"""Writers and readers on all nodes of a cluster, and what they must always find."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pymysql

from mariadb_driver.databases import Database

TABLES = """
CREATE TABLE first (id BIGINT PRIMARY KEY, said TEXT);
CREATE TABLE second (id BIGINT PRIMARY KEY, FOREIGN KEY (id) REFERENCES first (id));
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n;
CREATE VIEW both_of_them AS SELECT first.id, twice(1) AS two FROM first JOIN second USING (id);
CREATE TABLE log (id BIGINT PRIMARY KEY, said TEXT);
CREATE TABLE loose (id INT PRIMARY KEY, first BIGINT,
    CONSTRAINT fk_loose_first FOREIGN KEY (first) REFERENCES first (id) ON DELETE CASCADE);
INSERT INTO first VALUES (1, 'one'), (2, 'two');
INSERT INTO second VALUES (1), (2);
"""
LOCKS = "~soulsense_locks"
HELD = f"SELECT COUNT(*) FROM `{LOCKS}`.leases WHERE ends > UTC_TIMESTAMP(6)"
"""How many locks are held: those of what was killed have ended, and stay."""
SYNC = "SET SESSION wsrep_sync_wait = 15;"
"""Have the next statement see what was committed on other nodes."""
_ENDED = 1213  # what a cluster says to a transaction that is in the way


class Pairs:
    """Two tables that always have the same numbers, in databases of the same name on all nodes."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._databases = databases
        self._stop = threading.Event()
        self._number = 100 * (1 + max(self.of(databases[0])))
        self.committed: list[int] = []
        self.errors: list[Exception] = []
        self.reads = 0

    @staticmethod
    def of(database: Database, schema: str | None = None) -> set[int]:
        """Return the numbers in one of the tables."""
        asked = f"{SYNC} SELECT id FROM first"
        return {int(one) for one in database.run(asked, database=schema).split()}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Write and read through each node until the block ends."""
        threads = [
            threading.Thread(target=self._use, args=(one, work))
            for one in self._databases
            for work in (self._write, self._read)
        ]
        for one in threads:
            one.start()
        try:
            self.go_on()
            yield
            self.go_on()
        finally:
            self._stop.set()
            for one in threads:
                one.join()
        assert not self.errors, self.errors

    def go_on(self) -> None:
        """Wait for some more of both."""
        written, reads = len(self.committed) + 20, self.reads + 20
        while len(self.committed) < written or self.reads < reads:
            assert not self._stop.wait(0.01)
            assert not self.errors, self.errors

    def _use(self, database: Database, work: object) -> None:
        assert callable(work)
        try:
            connection = pymysql.connect(
                unix_socket=str(database.server.socket), user="root", database=database.name
            )
            with connection, connection.cursor() as cursor:
                while not self._stop.is_set():
                    try:
                        work(connection, cursor)
                    except pymysql.err.OperationalError as error:
                        if error.args[0] != _ENDED:
                            raise
                        with suppress(pymysql.err.OperationalError):  # it may be told here, too
                            connection.rollback()
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.errors.append(error)

    def _write(
        self, connection: pymysql.connections.Connection, cursor: pymysql.cursors.Cursor
    ) -> None:
        self._number = number = self._number + 1 + (threading.get_ident() % 97)
        cursor.execute(f"INSERT IGNORE INTO first VALUES ({number}, REPEAT('x', 100))")
        if not cursor.rowcount:
            connection.rollback()
            return
        cursor.execute(f"INSERT INTO second VALUES ({number})")
        connection.commit()
        self.committed.append(number)

    def _read(
        self, connection: pymysql.connections.Connection, cursor: pymysql.cursors.Cursor
    ) -> None:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        cursor.execute("SELECT COUNT(*), COALESCE(SUM(id), 0) FROM first")
        first = cursor.fetchone()
        cursor.execute("SELECT COUNT(*), COALESCE(SUM(id), 0) FROM second")
        assert cursor.fetchone() == first
        connection.commit()
        self.reads += 1

"""Money moves while backups are made and restored: not a cent is anywhere but where it belongs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

from mariadb_driver.bank import Bank
from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import DatabaseLockedError


def test_the_sums_of_a_bank_agree(server: Server, tmp_path: Path) -> None:
    """In each backup made meanwhile, in what a restore leaves, and in its safety backup.

    And what was committed is in what was replaced, or in what is there now; no client is told of
    an error.
    """
    with new_database(server, tmp_path) as database:
        bank = Bank(database, scale=0.2)
        manager = BackupManager(database.engine, tmp_path / "backups")
        with bank.in_use():
            backups = [manager.create(f"number {number}") for number in range(2)]
            report = manager.restore(backups[0])
            last = manager.create("after the restore")
            assert bank.balance().agrees
        assert report.verified and report.safety_backup is not None
        now = bank.balance()
        seen = [bank.balance_of(Path(one.path)) for one in (*backups, last)]
        replaced = bank.balance_of(report.safety_backup)
        assert all(one.agrees for one in (*seen, replaced, now))
        assert seen[0].moves < seen[1].moves < replaced.moves
        assert seen[2].moves <= now.moves
        assert bank.errors == []
        assert set(bank.committed) <= replaced.moves | now.moves
        assert now.moves & replaced.moves == seen[0].moves
        manager.restore(backups[1])
        assert bank.balance().sums == seen[1].sums
        manager.undo_restore()
        assert bank.balance().sums == now.sums


_LOGS = "CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (was) VALUES (OLD.n)"
_WRITTEN = "SELECT (SELECT SUM(n) FROM t), (SELECT COUNT(*) FROM log)"


@contextmanager
def _relay(database: Database) -> Iterator[list[Exception]]:
    """Have writers whose transactions overlap, so that one is open at any time; yield errors."""
    stop, errors = threading.Event(), list[Exception]()

    def write(number: int) -> None:
        try:
            connection = pymysql.connect(
                unix_socket=str(database.server.socket), user="root", database=database.name
            )
            with connection, connection.cursor() as cursor:
                stop.wait(number * 0.03)
                while not stop.is_set():
                    cursor.execute(f"UPDATE t SET n = n + 1 WHERE id = {number}")
                    stop.wait(0.15)
                    connection.commit()
        except Exception as error:  # noqa: BLE001 - all of them are looked at
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("trigger", ["", _LOGS])
def test_writers_that_leave_no_gap_hold_no_restore_up(
    server: Server, tmp_path: Path, trigger: str
) -> None:
    """A reader's lock waits for all writers, also those who come later: restore and undo end.

    And each write had its trigger.
    """
    with new_database(server, tmp_path) as database:
        database.run(
            "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t SELECT seq, 0 FROM"
            " seq_0_to_4; CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, was INT);"
            f"{trigger}"
        )
        manager = BackupManager(database.engine, tmp_path / "b", catalog=False, lock_timeout=4)
        backup = manager.create("one")
        with _relay(database) as errors:
            manager.restore(backup)
            manager.undo_restore()
        assert errors == []
        [kept] = [one for one in database.kept() if one.endswith("_old")]
        for schema in (database.name, kept):
            written, logged = map(int, database.run(_WRITTEN, database=schema).split())
            assert logged == (written if trigger else 0)


def test_a_transaction_that_stays_open_holds_a_restore_up(server: Server, tmp_path: Path) -> None:
    """It is told apart from writers that take turns: in the end nothing is changed."""
    with new_database(server, tmp_path) as database:
        database.run("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (9, 0)")
        manager = BackupManager(database.engine, tmp_path / "b", catalog=False, lock_timeout=4)
        backup = manager.create("one")
        with database.engine.connect() as connection:
            connection.exec_driver_sql("UPDATE t SET n = 1")
            began = time.monotonic()
            with pytest.raises(DatabaseLockedError, match="Nothing was changed"):
                manager.restore(backup)
            assert 4 <= time.monotonic() - began < 15
            connection.rollback()
        manager.restore(backup)

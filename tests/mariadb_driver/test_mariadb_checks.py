"""Rows that the server would not take today are restored all the same: they were there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new and empty database; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        yield made
        assert made.left() == set()


def test_rows_that_violate_a_check_come_back(database: Database) -> None:
    """Inserted without the check, or right in another time zone: neither stops a restore."""
    database.run(
        "SET time_zone = '+12:00', check_constraint_checks = 0;"
        "CREATE TABLE t (id INT PRIMARY KEY, n INT, CHECK (n > 0));"
        "CREATE TABLE hours (at TIMESTAMP NOT NULL, CHECK (HOUR(at) < 8));"
        "INSERT INTO t VALUES (1, -1);"
        "SET check_constraint_checks = 1; INSERT INTO hours VALUES ('2024-01-02 03:00:00');"
    )
    before = database.dump()
    engine = sa.create_engine(database.server.url(database.name), poolclass=NullPool)
    manager = BackupManager(engine, database.folder / "backups", catalog=False, lock_timeout=8)
    backup = manager.create("one")
    manager.verify(backup, level="drill")
    database.run("DELETE FROM t; DELETE FROM hours")
    manager.restore(backup)
    assert database.dump() == before
    with pytest.raises(sa.exc.DBAPIError, match="CONSTRAINT"), engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (2, -1)")

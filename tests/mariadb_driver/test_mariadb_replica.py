"""Backups on a replica: it says when it has less than its primary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from certificates import free_port
from helpers import eventually
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager

_ID = "--server-id={}"


@pytest.fixture
def primary(server: Server) -> Iterator[tuple[Server, int]]:
    """Return a server that writes a log for replicas, and its port."""
    port = free_port()
    network = ("--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}")
    made = Server(_ID.format(1), "--log-bin=primary", *network)
    yield made, port
    made.remove()


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    """Return a server that may follow another one."""
    made = Server(_ID.format(2), "--skip-slave-start")
    yield made
    made.remove()


def test_what_a_replica_lacks_is_said(
    primary: tuple[Server, int], replica: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup of a replica that is behind, or does not follow, tells so; of another it does not.

    Who may not see it backs up all the same.
    """
    first, port = primary
    admin, there = Database(first, "mysql", tmp_path), Database(replica, "mysql", tmp_path)
    admin.run("CREATE USER follower IDENTIFIED BY 'x'; GRANT REPLICATION SLAVE ON *.* TO follower")
    there.run(
        f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='follower',"
        " MASTER_PASSWORD='x'; START SLAVE"
    )
    with new_database(first, tmp_path) as here:
        here.run("CREATE TABLE note (body TEXT)")
        count = f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{here.name}'"
        assert eventually(lambda: there.run(count) == "1\n")
        copy = Database(replica, here.name, tmp_path)
        manager = BackupManager(copy.engine, tmp_path / "backups", catalog=False)
        manager.create("in step")
        assert _warnings(caplog) == ""
        there.run("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600; START SLAVE")
        here.run("INSERT INTO note VALUES ('one')")
        behind = "SHOW ALL SLAVES STATUS"
        assert eventually(lambda: "Waiting until MASTER_DELAY" in there.run(behind))
        assert eventually(lambda: _lag(there) > 5, seconds=30)
        assert manager.create("late").row_counts == {"note": 0}
        assert "is on a replica that is behind its primary: " in _warnings(caplog)
        caplog.clear()
        there.run("STOP SLAVE")
        manager.create("alone")
        assert "replication has stopped" in _warnings(caplog)
        caplog.clear()
        there.run(f"CREATE USER reader; GRANT ALL ON `{here.name}`.* TO reader")
        url = replica.url(here.name, user="reader")
        engine = sa.create_engine(url, poolclass=NullPool)
        BackupManager(engine, tmp_path / "backups", catalog=False).create("without the right")
        assert _warnings(caplog) == ""


def _lag(there: Database) -> int:
    with there.engine.connect() as connection:
        (row,) = connection.exec_driver_sql("SHOW ALL SLAVES STATUS").mappings()
        return int(row["Seconds_Behind_Master"] or 0)


def _warnings(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(one.getMessage() for one in caplog.records if one.levelname == "WARNING")

"""Schedules, mirrors and retention, with a database of MariaDB."""

from __future__ import annotations

from pathlib import Path

from server_day import spend_a_day

from mariadb_driver.databases import new_database
from mariadb_driver.server import Server


def test_a_day_of_commands(server: Server, tmp_path: Path) -> None:
    """A schedule, a mirror, drills here and there, all backups lost and fetched, a restore."""
    with new_database(server, tmp_path) as database:
        database.run("CREATE TABLE note (id INT PRIMARY KEY); INSERT INTO note VALUES (1), (2)")
        spend_a_day(tmp_path, server.url(database.name))
        assert database.run("SELECT COUNT(*) FROM note") == "2\n"

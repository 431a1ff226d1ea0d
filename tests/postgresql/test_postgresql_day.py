"""Schedules, mirrors and retention, with a database of PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from server_day import spend_a_day

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server


@on_newest
def test_a_day_of_commands(server: Server, tmp_path: Path) -> None:
    """A schedule, a mirror, drills here and there, all backups lost and fetched, a restore."""
    with Database(server) as database:
        database.execute(
            "CREATE TABLE note (id int PRIMARY KEY)", "INSERT INTO note VALUES (1), (2)"
        )
        spend_a_day(tmp_path, database.url)
        assert database.scalar("SELECT count(*) FROM note") == 2

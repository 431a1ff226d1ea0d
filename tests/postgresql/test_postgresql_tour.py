"""The tour of the example has the same steps on a PostgreSQL server."""

from __future__ import annotations

import pytest
from server_tour import require_all_steps, run_tour

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server

pytestmark = [on_newest, pytest.mark.slow]


def test_the_tour_runs_on_the_server(server: Server) -> None:
    """All steps, with the same promises as on SQLite; afterwards the database is empty again."""
    with Database(server) as database:
        before = database.names()
        done = run_tour(f"postgresql://postgres@/{database.name}?host={server.socket}")
        require_all_steps(done)
        assert "PostgreSQL takes back what was one transaction." in done.stdout
        assert database.scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert database.names() == before


def test_the_tour_touches_no_database_with_tables(server: Server) -> None:
    """It says that it wants an empty one, and what there is stays."""
    with Database(server) as database:
        database.execute("CREATE TABLE note (body text)")
        done = run_tour(database.url)
        assert done.returncode == 1
        assert "the database has the table note" in done.stderr
        assert database.scalar("SELECT count(*) FROM note") == 0

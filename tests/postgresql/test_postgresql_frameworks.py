"""What the frameworks' pages say holds with the URL of a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

import pytest
from framework_pages import FrameworkPage, run_async_page

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server

pytestmark = [on_newest, pytest.mark.slow]


@pytest.mark.parametrize(
    ("page", "library", "command"),
    [("fastapi.md", "asyncpg", "alembic"), ("flask-migrate.md", "psycopg", "flask db")],
)
def test_a_page_holds(
    page: str, library: str, command: str, server: Server, tmp_path: Path
) -> None:
    """The failed upgrade leaves all notes, and the request makes a backup that is listed."""
    with Database(server) as database:
        url = server.url(database.name, driver=library)
        done = FrameworkPage(page, tmp_path / "app", url)
        (upgraded,) = (said for line, said in done.printed.items() if line.startswith(command))
        assert "The migration failed" in upgraded
        assert "the server rolled it back" in upgraded
        assert database.scalar("SELECT count(*) FROM note") == 40
        listed = done.printed["soulsense-db list"]
        assert "Requested" in listed
        assert "Before 0002_broken" in listed


def test_the_page_about_asyncio_holds(server: Server, tmp_path: Path) -> None:
    """Its program runs with asyncpg."""
    with Database(server) as database:
        said = run_async_page(server.url(database.name, driver="asyncpg"), tmp_path / "app")
        assert said.strip().endswith("_Before_the_import.pgdump")

"""What the frameworks' pages say holds with the URL of a MariaDB server."""

from __future__ import annotations

from pathlib import Path

import pytest
from framework_pages import FrameworkPage, run_async_page

from mariadb_driver.databases import new_database
from mariadb_driver.server import Server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("page", "library", "command"),
    [("fastapi.md", "asyncmy", "alembic"), ("flask-migrate.md", "pymysql", "flask db")],
)
def test_a_page_holds(
    page: str, library: str, command: str, server: Server, tmp_path: Path
) -> None:
    """The failed upgrade leaves all notes, and the request makes a backup that is listed."""
    with new_database(server, tmp_path) as database:
        url = server.url(database.name, driver=library)
        done = FrameworkPage(page, tmp_path / "app", url)
        (upgraded,) = (said for line, said in done.printed.items() if line.startswith(command))
        assert "was put back, at 0001_notes, from soulsense_backup_" in upgraded
        assert database.run("SELECT count(*) FROM note") == "40\n"
        listed = done.printed["soulsense-db list"]
        assert "Requested" in listed
        assert "Before 0002_broken" in listed


def test_the_page_about_asyncio_holds(server: Server, tmp_path: Path) -> None:
    """Its program runs with asyncmy."""
    with new_database(server, tmp_path) as database:
        said = run_async_page(server.url(database.name, driver="asyncmy"), tmp_path / "app")
        assert said.strip().endswith("_Before_the_import.sql")

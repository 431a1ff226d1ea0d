"""The page's program with the URL of a server: the window creates and restores backups there."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from mariadb_driver.server import Server as MariaDBServer
from mariadb_driver.server import is_installed
from postgresql.server import Server as PostgreSQLServer
from postgresql.server import versions
from sqlalchemy.pool import NullPool

from dialog.conftest import MakePerson
from dialog.host import create, open_window, row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "in-your-application.md"


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty database."""
    name = f"app_{secrets.token_hex(4)}"
    server: PostgreSQLServer | MariaDBServer
    if request.param == "postgresql":
        if not versions():
            pytest.skip("no PostgreSQL is installed")
        server, other = PostgreSQLServer(versions()[-1]), "postgres"
    else:
        if not is_installed():
            pytest.skip("no MariaDB is installed")
        server, other = MariaDBServer(), "mysql"
    try:
        _execute(server.url(other), f"CREATE DATABASE {name}")
        yield server.url(name)
    finally:
        server.remove()


def _execute(url: str, statement: str) -> sa.Row[tuple[int]] | None:
    engine = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.exec_driver_sql(statement)
        return result.first() if result.returns_rows else None


def test_the_ten_lines_of_the_page_work_with_a_server(
    person: MakePerson, tmp_path: Path, url: str
) -> None:
    """A backup is made, and a restore brings back what was deleted since."""
    text = PAGE.read_text("utf-8")
    found = re.search(r'^```python title="your_app.py"\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    assert found
    program = found[1].replace("sqlite:///app.db", url)
    _execute(url, "CREATE TABLE note (id INTEGER PRIMARY KEY)")
    _execute(url, "INSERT INTO note VALUES (1)")
    user = person(f"import os\nos.chdir({str(tmp_path)!r})\n{program}", own_root=True)
    open_window(user)
    create(user, "First")
    _execute(url, "DELETE FROM note")
    user.click(row(user, "First"))
    user.click("Restore…")
    user.click(user.find("Restore", within="Replace"))
    user.waits_for("Restart the application before you continue.")
    assert _execute(url, "SELECT count(*) FROM note") == (1,)
    user.click("Close")
    user.close_window("tk")
    user.waits_for_end()

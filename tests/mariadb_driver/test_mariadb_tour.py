"""The tour of the example has the same steps on a MariaDB server."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_tour import require_all_steps, run_tour

from mariadb_driver.databases import new_database
from mariadb_driver.server import Server

pytestmark = pytest.mark.slow


def test_the_tour_runs_on_the_server(server: Server, tmp_path: Path) -> None:
    """All steps, with the same promises as on SQLite; afterwards the database is empty again."""
    with new_database(server, tmp_path) as database:
        done = run_tour(f"mariadb://root@/{database.name}?unix_socket={server.socket}")
        require_all_steps(done)
        assert "Left behind: column users.preferences." in done.stdout
        assert database.run("SHOW TABLES") == ""
        assert database.left() == set()


def test_without_the_right_to_make_another_database_one_step_is_left_out(
    server: Server, tmp_path: Path
) -> None:
    """It says so in one line, and the other steps are what they are with it."""
    with new_database(server, tmp_path) as database:
        rights = (
            r"ALL ON `~soulsense\_%`.*",
            f"ALL ON `{database.name}`.*",
            "SELECT ON mysql.proc",
        )
        database.run("DROP USER IF EXISTS tourist@localhost; CREATE USER tourist@localhost")
        for right in rights:
            database.run(f"GRANT {right} TO tourist@localhost")
        done = run_tour(server.url(database.name, user="tourist"))
        assert (done.returncode, done.stderr) == (0, "")
        assert "Left out: a copy needs a database of its own." in done.stdout
        assert "was put back, at 0004_entries_by_date" in done.stdout
        assert database.left() == set()
        database.run("DROP USER tourist@localhost")

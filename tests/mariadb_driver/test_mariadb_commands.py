"""What commands print of a database of MariaDB."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa
from shell import Shell

from mariadb_driver.databases import new_database
from mariadb_driver.server import Server
from soulsense_db import errors


def test_a_table_on_one_side_comes_or_goes(server: Server, tmp_path: Path) -> None:
    """A restore's preview says that the table itself does, not only its rows."""
    with new_database(server, tmp_path) as database:
        database.run("CREATE TABLE old (id INT); INSERT INTO old VALUES (1)")
        shell = Shell(tmp_path)
        on = ("--url", server.url(database.name))
        shell.ok("create", *on)
        database.run("DROP TABLE old; CREATE TABLE new (id INT); INSERT INTO new VALUES (1)")
        said = re.sub(" +", " ", shell.ok("restore", "latest", "--dry-run", *on))
        assert " new 0 -1 table is removed\n" in said
        assert " old +1 0 table is created\n" in said


def test_config_shows_what_it_knows_of_a_login_that_is_refused(
    server: Server, tmp_path: Path
) -> None:
    """Which database is meant, and where that is written, does not depend on the password."""
    with new_database(server, tmp_path) as database:
        shell = Shell(tmp_path)
        url = sa.make_url(server.url(database.name)).set(username="nobody_of_that_name")
        result = shell.run("config", "--url", url.render_as_string(hide_password=False))
        assert result.returncode == errors.DatabaseUnreachableError.exit_code
        assert f"{database.name} (not reached)" in result.stdout
        assert "refused the login" in result.stdout
        assert re.search(r"--url +used", result.stdout)

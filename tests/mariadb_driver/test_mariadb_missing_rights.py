"""What the commands say to a user who lacks rights, and what would help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, drop_kept, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import MissingRightError
from soulsense_db.health import State, check_health

READS = "SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE, LOCK TABLES"


@pytest.fixture(params=["%", "localhost"])
def reader(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Database, BackupManager, str]]:
    """Return a database, a manager of a user who only makes backups, and how he is named."""
    with new_database(server, tmp_path) as made:
        name = made.name
        user = f"`{name}`@`{request.param}`"
        made.run(
            "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);"
            f"CREATE USER {user}; GRANT {READS} ON {name}.* TO {user}"
        )
        engine = sa.create_engine(server.url(name, user=name), poolclass=NullPool)
        manager = BackupManager(engine, tmp_path / "backups")
        manager.create()
        yield made, manager, user
        made.run(f"DROP USER {user}")
        drop_kept(made, name)


def test_the_statements_of_a_refusal_are_all_that_is_missing(
    reader: tuple[Database, BackupManager, str],
) -> None:
    """An administrator who executes them is not asked for more, and gives no more.

    In a GRANT, the underscore of a name stands for any character.
    """
    database, manager, user = reader
    (problem,) = manager.can_restore().problems
    assert problem.hint.count(f" TO {user};") == 2
    escaped = database.name.replace("_", r"\_")
    assert f"GRANT ALL ON `{escaped}`.* TO" in problem.hint
    database.run(problem.hint.removeprefix("As an administrator: "))
    assert manager.can_restore("latest").ok
    assert manager.restore("latest").verified


def test_the_user_is_named_in_the_statement_for_a_drill(
    reader: tuple[Database, BackupManager, str],
) -> None:
    """It can be copied as it is."""
    database, manager, user = reader
    with pytest.raises(MissingRightError) as caught:
        manager.verify("latest", level="drill")
    statement = rf"GRANT ALL ON `~soulsense\_%`.* TO {user};"
    assert caught.value.hint == f"As an administrator: {statement}"
    database.run(statement)
    manager.verify("latest", level="drill")


def test_a_dry_run_is_refused_as_the_restore_is(
    reader: tuple[Database, BackupManager, str], tmp_path: Path
) -> None:
    """With the same error and exit code; and for who monitors it is a warning."""
    database, manager, _ = reader
    url = database.server.url(database.name, user=database.name)
    place = ("--url", url, "--directory", str(tmp_path / "backups"))
    command = (sys.executable, "-m", "soulsense_db", "restore", "latest", *place)
    dry, real = (
        subprocess.run(
            [*command, option],
            capture_output=True,
            text=True,
            check=False,
        )
        for option in ("--dry-run", "--yes")
    )
    assert (dry.returncode, real.returncode) == (18, 18)
    assert real.stderr.endswith(dry.stderr[dry.stderr.index("Error:") :])
    (check,) = (one for one in check_health(manager).checks if one.name == "restore")
    assert check.state is State.WARNING

"""What the commands say to a user who lacks rights, and what would help."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postgresql import content
from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from postgresql.test_postgresql_rights import grant, manager_of, statements
from soulsense_db import BackupManager
from soulsense_db.errors import DatabaseUnreachableError, MissingRightError
from soulsense_db.health import State, check_health

pytestmark = on_newest


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Return a database of the user ``app``, with a user ``backup`` who may read it."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Database(server, "shop") as made:
        made.maintain("CREATE ROLE app LOGIN")
        made.maintain("CREATE ROLE backup LOGIN")
        made.maintain("ALTER DATABASE {} OWNER TO app")
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('Dear diary')",
            "ALTER TABLE note OWNER TO app",
        )
        grant(made, statements("backup.sql"))
        yield made
        content.drop_kept(server)
        made.execute("REASSIGN OWNED BY app, backup TO postgres", "DROP OWNED BY app, backup")
        made.maintain("REVOKE ALL ON DATABASE {} FROM backup")
        made.maintain("DROP ROLE app")
        made.maintain("DROP ROLE backup")


@pytest.fixture
def manager(shop: Database, tmp_path: Path) -> BackupManager:
    """Return a manager of the user ``backup``, with one backup."""
    made = manager_of(shop, "backup", tmp_path / "backups")
    made.create()
    return made


def command(shop: Database, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user ``backup``."""
    place = ("--url", shop.server.url(shop.name, user="backup"), "--directory", str(folder))
    return subprocess.run(
        [sys.executable, "-m", "soulsense_db", *arguments, *place],
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def only_into(shop: Database, database: str, user: str) -> Iterator[None]:
    """Let pg_hba.conf keep a user out of all databases but one, for the block."""
    rules = shop.server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local {database} {user} trust\nlocal all {user} reject\n{before}")
    try:
        shop.maintain("SELECT pg_reload_conf()")
        yield
    finally:
        rules.write_text(before)
        shop.maintain("SELECT pg_reload_conf()")


def test_a_dry_run_is_refused_as_the_restore_is(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """With the same error and exit code: what a dry run lets pass, a restore would do."""
    del manager
    dry, real = (
        command(shop, tmp_path / "backups", "restore", "latest", option)
        for option in ("--dry-run", "--yes")
    )
    assert (dry.returncode, real.returncode) == (18, 18)
    assert "this was a dry run" not in dry.stdout
    assert "A right is missing" in dry.stderr
    assert real.stderr.endswith(dry.stderr[dry.stderr.index("Error:") :])


def test_monitoring_by_who_only_makes_backups_is_no_alarm(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """The rights that a restore needs are a warning, and no promise is made for the catalog."""
    shop.execute("GRANT ALL ON SCHEMA public TO app")
    manager_of(shop, "app", tmp_path / "backups").create()  # makes the table
    manager.create()
    report = check_health(manager)
    assert report.state is State.WARNING
    said = {check.name: check for check in report.checks if check.state is not State.OK}
    assert set(said) == {"restore", "catalog"}
    assert "A right is missing" in said["restore"].message
    assert (
        "the next backup, if its user may write the table, corrects that" in said["catalog"].message
    )


def test_the_statements_of_a_refusal_are_all_that_is_missing(
    shop: Database, manager: BackupManager
) -> None:
    """For either way to restore: an administrator who executes them is not asked for more."""
    shop.execute("GRANT CREATE ON SCHEMA public TO app", "CREATE SCHEMA other")
    shop.execute('CREATE TABLE other."Odd name" (id serial)', "CREATE TYPE mood AS ENUM ('fine')")
    shop.execute("CREATE FUNCTION one() RETURNS int RETURN 1", "CREATE VIEW v AS TABLE note")
    (problem,) = manager.can_restore().problems
    assert "the right to create databases and the ownership of the database" in str(problem)
    assert "within the database needs" in str(problem)
    assert "ALTER DATABASE" not in problem.hint, "it would take the database away from app"
    whole, within = problem.hint.split("   Or, to restore within the database: ")
    whole = whole.removeprefix("As an administrator: ")
    assert whole == "ALTER ROLE backup CREATEDB; GRANT app TO backup;"
    shop.execute(*within.split(";")[:-1])
    check = manager.can_restore("latest")
    assert check.ok
    lacks = "The user lacks the right to create databases: the schemas"
    assert any(lacks in one for one in check.warnings)
    for statement in ("REVOKE app FROM backup", *whole.split(";")[:-1]):
        shop.execute(statement)
    shop.engine.dispose()  # a superuser's sessions nobody else may end
    assert manager.can_restore("latest") == type(check)(backup=check.backup, problems=())


def test_one_right_that_is_missing_for_a_restore_within_is_named(
    shop: Database, manager: BackupManager
) -> None:
    """Who has the others is told of that one, whatever is missing for the other way."""
    shop.execute("GRANT app TO backup", "ALTER SCHEMA public OWNER TO postgres")
    (problem,) = manager.can_restore().problems
    assert "within the database needs the ownership of schema public)" in str(problem)
    assert problem.hint.endswith("within the database: ALTER SCHEMA public OWNER TO backup;")


@pytest.mark.parametrize("what", ["read", "owner", "import"])
def test_the_user_is_named_in_the_statement(
    shop: Database, tmp_path: Path, manager: BackupManager, what: str
) -> None:
    """It can be copied as it is."""
    made = manager.list()[0]
    expected = "ALTER ROLE backup CREATEDB;"
    with pytest.raises(MissingRightError) as caught:
        if what == "read":
            shop.execute("REVOKE pg_read_all_data FROM backup")
            expected = "GRANT pg_read_all_data TO backup;"
            manager.create()
        elif what == "owner":
            shop.execute("ALTER ROLE backup CREATEDB")
            expected = "GRANT app TO backup;"
            manager.verify(made, level="drill")
        else:
            dump = tmp_path / "own.dump"
            subprocess.run(
                [str(shop.server.bin / "pg_dump"), "-Fc", f"--file={dump}", shop.name],
                env={**os.environ, "PGHOST": str(shop.server.socket), "PGUSER": "postgres"},
                check=True,
            )
            manager.import_file(dump)
    assert caught.value.hint == f"As an administrator: {expected}"


def test_backups_need_no_login_to_another_database(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """What needs one beside the live database says which, and how to allow it."""
    made = manager.list()[0]
    for database in ("postgres", "template1"):
        shop.maintain(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    try:
        manager = manager_of(shop, "backup", tmp_path / "backups")
        manager.create()
        for level in ("quick", "full"):
            manager.verify(made, level=level)
        with pytest.raises(MissingRightError, match='database "postgres"') as caught:
            manager.verify(made, level="drill")
    finally:
        for database in ("postgres", "template1"):
            shop.maintain(f"GRANT CONNECT ON DATABASE {database} TO PUBLIC")
    assert "GRANT CONNECT ON DATABASE postgres TO backup;" in caught.value.hint
    assert "log in to the database postgres or template1" in caught.value.hint


def test_a_login_that_is_refused_names_the_database_that_refuses(
    shop: Database, manager: BackupManager
) -> None:
    """Where pg_hba.conf lets the user into the live database alone, that one is not blamed."""
    made = manager.list()[0]
    with only_into(shop, "shop", "backup"):
        manager.create()
        with pytest.raises(DatabaseUnreachableError, match=r"the login to (.*/)?postgres "):
            manager.verify(made, level="drill")


@pytest.mark.parametrize("swaps", [True, False])
def test_a_login_that_a_restore_lacks_is_found_before(
    shop: Database, tmp_path: Path, swaps: bool
) -> None:
    """By a dry run and by monitoring, in both ways to restore: not only by the restore itself."""
    shop.execute("ALTER SCHEMA public OWNER TO app")
    if swaps:
        shop.execute("ALTER ROLE app CREATEDB")
    manager = manager_of(shop, "app", tmp_path / "backups")
    manager.create()
    shop.engine.dispose()  # a superuser's sessions nobody else may end
    assert manager.can_restore("latest").ok
    with only_into(shop, "shop", "app"):
        for found in (manager.can_restore("latest"), manager.can_restore()):
            assert [type(one) for one in found.problems] == [DatabaseUnreachableError]
            assert "refused the login to" in str(found.problems[0])
            assert "in pg_hba.conf and in ~/.pgpass" in found.problems[0].hint
        (said,) = (one for one in check_health(manager).checks if one.name == "restore")
        assert said.state is State.CRITICAL
        with pytest.raises(DatabaseUnreachableError, match="refused the login"):
            manager.restore("latest")

"""Views of MariaDB that are not what they are beside the live database."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, drop_kept, new_database
from mariadb_driver.projects import project_on
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import MissingRightError

# Each with what it makes beside the table t (id, precious); {other} is another database.
VIEWS = {
    "another database": "CREATE VIEW v AS SELECT t.id, t.precious, p.n FROM t"
    " JOIN {other}.p USING (id)",
    "another database, and a table called as ours": "CREATE VIEW v AS"
    " SELECT {here}.id, {here}.precious, p.n FROM t AS {here} JOIN {other}.p ON p.id = {here}.id",
    "a view on a view": "CREATE VIEW w AS SELECT id, precious FROM t;"
    " CREATE VIEW v AS SELECT * FROM w",
    "a function": "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 5;"
    " CREATE VIEW v AS SELECT id, precious, f() FROM t",
    "a function, as who asks": "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 5;"
    " CREATE SQL SECURITY INVOKER VIEW v AS SELECT id, precious, f() FROM t",
}
LOSSES = ("DROP TABLE t", "DROP VIEW v")


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with a table; whoever makes its views has rights on nothing else."""
    with new_database(server, tmp_path) as made:
        name = made.name
        made.run(
            "CREATE TABLE t (id INT PRIMARY KEY, precious TEXT);"
            " INSERT INTO t VALUES (1, 'p'), (2, 'q');"
            f"CREATE DATABASE {name}_x; CREATE TABLE {name}_x.p (id INT PRIMARY KEY, n INT);"
            f"INSERT INTO {name}_x.p VALUES (1, 7), (2, 8);"
            + "".join(
                f"CREATE USER {name}_{user}; GRANT ALL ON {name}.* TO {name}_{user};"
                f"GRANT SELECT ON {name}_x.* TO {name}_{user};"
                for user in ("app", "res")
            )
            + f"GRANT ALL ON `~soulsense\\_%`.* TO {name}_res;"
            f"GRANT SELECT ON mysql.proc TO {name}_res; GRANT SET USER ON *.* TO {name}_res"
        )
        yield made
        made.run(f"DROP DATABASE {name}_x; DROP USER {name}_app, {name}_res", database="mysql")
        drop_kept(made, name)


def make(database: Database, view: str) -> None:
    """Have the application's own user make a view."""
    name = database.name
    subprocess.run(
        [
            *("mariadb", "--no-defaults", f"--socket={database.server.socket}"),
            *(f"--user={name}_app", name, "-e", view.format(here=name, other=f"{name}_x")),
        ],
        check=True,
    )


@pytest.fixture
def manager(database: Database, tmp_path: Path) -> BackupManager:
    """Return a manager of a user who has the rights that the guide names for restores."""
    url = database.server.url(database.name, user=f"{database.name}_res")
    engine = sa.create_engine(url, poolclass=NullPool)
    return BackupManager(engine, tmp_path / "backups", catalog=False)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_comes_back_whatever_is_live(
    database: Database, manager: BackupManager, view: str
) -> None:
    """What it reads is looked for beside it, not live; its definer needs rights on its own only."""
    make(database, view)
    before = database.dump()
    rows = database.run("SELECT * FROM v")
    manager.create()
    for loss in LOSSES:
        database.run(loss)
        # A view that lost what it reads cannot be dumped.
        after = None if "TABLE" in loss else database.dump()
        assert manager.can_restore("latest").ok
        manager.restore("latest")
        assert database.dump() == before, loss
        assert database.run("SELECT * FROM v") == rows
        manager.undo_restore()
        if after is None:  # a warning has said of the view that it is not part of it
            assert "precious" not in database.dump()
        else:
            assert database.dump() == after
        manager.restore("latest")
    manager.verify("latest", level="drill")


def test_a_missing_database_comes_back_with_its_views(database: Database, tmp_path: Path) -> None:
    """Also where they name the database that is not there."""
    make(database, VIEWS["another database"])
    before = database.dump()
    manager = BackupManager(database.engine, tmp_path / "backups", catalog=False)
    manager.create()
    database.run(f"DROP DATABASE {database.name}", database="mysql")
    manager.restore("latest")
    assert database.dump() == before


def test_a_view_of_another_database_reads_the_one_that_it_comes_to(
    database: Database, server: Server, tmp_path: Path
) -> None:
    """The backup of one database that is restored to a second is about the rows of the second."""
    make(database, VIEWS["another database"])
    source = BackupManager(database.engine, tmp_path / "backups", catalog=False)
    path = source.export(source.create(), tmp_path / "copy.sql")
    with new_database(server, tmp_path) as second:
        manager = BackupManager(second.engine, tmp_path / "second", catalog=False)
        second.run(f"GRANT ALL ON {second.name}.* TO {database.name}_app")
        manager.restore(manager.import_file(path))
        second.run("DELETE FROM t WHERE id = 1")
        assert len(second.run("SELECT * FROM v").splitlines()) == 1


def test_a_table_that_is_called_as_its_database(server: Server, tmp_path: Path) -> None:
    """Its name is no less a table's in a view of a database with another name."""
    with new_database(server, tmp_path) as first, new_database(server, tmp_path) as second:
        name = first.name
        first.run(
            f"CREATE TABLE {name} (id INT PRIMARY KEY); INSERT INTO {name} VALUES (1);"
            f"CREATE VIEW v AS SELECT {name}.id FROM {name}"
        )
        source = BackupManager(first.engine, tmp_path / "backups", catalog=False)
        backup = source.create()
        source.verify(backup, level="drill")
        path = source.export(backup, tmp_path / "copy.sql")
        manager = BackupManager(second.engine, tmp_path / "second", catalog=False)
        manager.restore(manager.import_file(path))
        assert second.run("SELECT * FROM v") == "1\n"


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_failed_migration_is_put_back_with_views(
    database: Database, tmp_path: Path, view: str
) -> None:
    """The column that it had dropped is there again, and the view that reads it."""
    make(database, view)
    url = database.server.url(database.name, user=f"{database.name}_res")
    project = project_on(database, tmp_path / "project", url=url)
    project.protect()
    project.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    project.revision("first", None, "pass")
    project.revision(
        "broken", "first", 'op.drop_column("t", "precious")\nop.execute("SELECT no_such_thing")'
    )
    project.upgrade("first")
    rows = database.run("SELECT * FROM v")
    with pytest.raises(sa.exc.DBAPIError, match="no_such_thing"):
        project.upgrade("broken")
    assert database.run("SELECT * FROM v") == rows


@pytest.mark.parametrize(
    "made",
    [
        "VIEW w AS SELECT 1",
        "TRIGGER w BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id",
        "FUNCTION w() RETURNS INT RETURN 1",
        "EVENT w ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
    ],
)
def test_what_others_made_is_said_before_anything_is_done(
    database: Database, manager: BackupManager, made: str
) -> None:
    """A restore makes it as theirs, which takes a right of its own."""
    name = database.name
    database.run(f"REVOKE SET USER ON *.* FROM {name}_res; CREATE DEFINER = {name}_res@`%` {made}")
    backup = manager.create()
    assert manager.can_restore(backup).ok
    database.run(f"DROP {made.split(maxsplit=1)[0]} w; CREATE DEFINER = {name}_app@`%` {made}")
    (problem,) = manager.can_restore(manager.create()).problems
    assert problem.hint == f"As an administrator: GRANT SET USER ON *.* TO `{name}_res`@`%`;"
    before = database.dump("--skip-events")
    with pytest.raises(MissingRightError):
        manager.restore("latest")
    assert database.dump("--skip-events") == before
    database.run(f"DROP {made.split(maxsplit=1)[0]} w")
    (problem,) = manager.can_restore("latest").problems  # it is in the backup
    database.run(f"GRANT SET USER ON *.* TO {name}_res")
    assert manager.restore("latest").verified


def test_a_view_of_what_the_user_may_not_read_is_said_before_anything_is_done(
    database: Database, manager: BackupManager
) -> None:
    """With the statement that helps: beside the live database a view is made as the user's own."""
    name = database.name
    database.run(f"CREATE VIEW v AS SELECT t.id, 'from `a`.`b`' FROM t JOIN {name}_x.p USING (id)")
    backup = manager.create()
    assert manager.can_restore(backup).ok
    database.run(f"REVOKE SELECT ON {name}_x.* FROM {name}_res")
    grant = f"GRANT SELECT ON `{name}_x`.`p` TO `{name}_res`@`%`;"
    for found in (manager.can_restore(backup), manager.can_restore()):
        (problem,) = found.problems
        assert problem.hint == f"As an administrator: {grant}"
    with pytest.raises(MissingRightError):
        manager.restore(backup)
    database.run(f"DROP VIEW v; {grant}")
    assert manager.restore(backup).verified
    assert database.run("SELECT count(*) FROM v").strip() == "2"


def test_a_text_in_a_view_stays_as_it_is(
    database: Database, server: Server, tmp_path: Path
) -> None:
    """Restored under another name, only names of tables are those of the new database."""
    name = database.name
    database.run(
        f"CREATE VIEW v AS SELECT t.id, '`{name}`.`t`' AS a, 'it''s \\\\ `{name}`.`t`' AS b"
        f" FROM {name}.t JOIN {name}_x.p USING (id)"
    )
    before = database.run("SELECT * FROM v ORDER BY id")
    backups = BackupManager(database.engine, tmp_path / "backups", catalog=False)
    backup = backups.create()
    with new_database(server, tmp_path) as other:
        elsewhere = BackupManager(other.engine, tmp_path / "elsewhere", catalog=False)
        elsewhere.restore(elsewhere.import_file(backup.path))
        assert other.run("SELECT * FROM v ORDER BY id") == before
        assert f"`{other.name}`.`t`" in other.run("SHOW CREATE VIEW v")

"""A MariaDB server tells every machine of a migration that died, whatever its directory has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.drivers.mariadb import schemas
from soulsense_db.drivers.mariadb.migration_note import schema_of
from soulsense_db.errors import DatabaseLockedError

DIES = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new database."""
    with new_database(server, tmp_path) as made:
        yield made


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project at its first revision, whose second dies half-way."""
    made = Project(tmp_path / "project", DOORS[-1])
    url = database.engine.url.render_as_string(hide_password=False).replace("%", "%%")
    lines = made.ini.read_text().splitlines()
    lines = [f"sqlalchemy.url = {url}" if "sqlalchemy.url =" in one else one for one in lines]
    made.ini.write_text("\n".join(lines) + "\n")
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("first", None, FIRST)
    made.revision("second", "first", "op.execute(\"UPDATE entry SET text = 'half'\")\n" + DIES)
    made.upgrade("first")
    return made


def die(project: Project) -> None:
    """Have the migration to the second revision killed."""
    died = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "second"],
        cwd=project.folder,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL


def to_another_machine(project: Project, tmp_path: Path) -> None:
    """Go on where the directory of the backups is not, and the step is mended."""
    (tmp_path / "backups").rename(tmp_path / "on the other machine")
    ini = project.ini.read_text()
    project.ini.write_text(ini.replace(str(tmp_path / "backups"), str(tmp_path / "elsewhere")))
    project.revision("second", "first", "op.execute(\"UPDATE entry SET text = 'whole'\")")


def test_it_is_refused_from_another_directory(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """A container that is started anew does not run the step again; a person decides."""
    die(project)
    to_another_machine(project, tmp_path)
    with pytest.raises(MigrationRefusedError, match="was interrupted") as caught:
        project.upgrade("second")
    assert "is not on this machine" in str(caught.value)
    assert str(tmp_path / "backups") in str(caught.value)
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    there = BackupManager(database.engine, tmp_path / "on the other machine")
    assert elsewhere.create().half_run
    assert there.alarm.error() is not None
    assert elsewhere.alarm.accept()
    assert not elsewhere.alarm.accept()
    assert there.alarm.error() is None
    assert database.left() == set()
    project.upgrade("second")
    assert database.run("SELECT DISTINCT text FROM entry").split() == ["whole"]
    assert database.left() == set()
    assert there.alarm.error() is None


def test_where_it_was_migrated_another_backup_does_not_end_it(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """Nor does its undo: as with a file, the backup from before it does, or a person."""
    here = BackupManager(database.engine, tmp_path / "backups")
    database.run("UPDATE entry SET text = 'earlier'")
    here.create()
    database.run("UPDATE entry SET text = 'later'")
    die(project)
    third = BackupManager(database.engine, tmp_path / "third")
    here.restore(here.list()[1])
    assert here.alarm.error() is not None
    assert third.alarm.error() is not None
    here.undo_restore()
    assert here.alarm.error() is not None
    assert third.alarm.error() is not None


def test_its_backup_ends_it_from_another_directory(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """The backup from before it is brought here, imported and restored; that is the end of it."""
    die(project)
    to_another_machine(project, tmp_path)
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    assert elsewhere.alarm.error() is not None
    (brought,) = (tmp_path / "on the other machine").glob("*Before_second*.sql")
    imported = elsewhere.import_file(brought)
    with pytest.raises(MigrationRefusedError, match=f"restore {imported.filename}"):
        project.upgrade("second")
    elsewhere.restore(imported)
    assert elsewhere.alarm.error() is None
    assert database.run("SELECT text FROM entry ORDER BY id").split() == ["one", "two", "three"]
    assert database.left() == set()
    project.upgrade("second")


def test_the_note_goes_with_the_data(project: Project, database: Database, tmp_path: Path) -> None:
    """A restore of what is whole ends it elsewhere, and its undo brings it back."""
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    database.run("UPDATE entry SET text = 'earlier'")
    elsewhere.create()
    database.run("UPDATE entry SET text = 'later'")
    die(project)
    elsewhere.restore("latest")
    assert elsewhere.alarm.error() is None
    assert database.left() == set()
    assert BackupManager(database.engine, tmp_path / "backups").alarm.error() is None
    elsewhere.undo_restore()
    assert BackupManager(database.engine, tmp_path / "backups").alarm.error() is not None
    assert elsewhere.alarm.error() is not None
    assert BackupManager(database.engine, tmp_path / "third").alarm.error() is not None
    assert database.left() == {schema_of(database.name)}


def test_a_step_that_drops_everything_does_not_drop_the_note(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """It is no part of the content of the database."""
    project.revision(
        "second", "first", f'op.drop_table("entry")\nop.drop_table("alembic_version")\n{DIES}'
    )
    die(project)
    assert BackupManager(database.engine, tmp_path / "elsewhere").alarm.error() is not None


@pytest.mark.parametrize("way", ["restore", "keep"])
def test_a_failure_leaves_no_note(
    project: Project, database: Database, tmp_path: Path, way: str
) -> None:
    """What was put back, or was left on purpose, is no alarm to anybody."""
    if way == "keep":
        project.set_option("soulsense_on_failure", "keep")
    schema = schema_of(database.name)
    project.revision(
        "second",
        "first",
        f"import sqlalchemy as sa\n"
        f"assert op.get_bind().scalar(sa.text('SELECT count(*) FROM `{schema}`.note')) == 1\n"
        'op.execute("SELECT no_such_thing")',
    )
    with pytest.raises(sa.exc.DBAPIError, match="no_such_thing"):
        project.upgrade("second")
    assert database.left() == set()
    assert BackupManager(database.engine, tmp_path / "elsewhere").alarm.error() is None


def test_who_may_make_no_schema_migrates_as_before(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """Without a right to the server's note, the directory alone tells of a migration that died."""
    live = database.name.replace("_", "\\_")
    database.run(
        "DROP USER IF EXISTS narrow@localhost; CREATE USER narrow@localhost;"
        f"GRANT ALL ON `{live}`.* TO narrow@localhost; GRANT RELOAD ON *.* TO narrow@localhost"
    )
    try:
        project.ini.write_text(project.ini.read_text().replace("//root@", "//narrow@"))
        project.set_option("soulsense_on_failure", "keep")
        die(project)
        assert database.left() == set()
        with pytest.raises(MigrationRefusedError, match="was interrupted"):
            project.upgrade("second")
        engine = sa.create_engine(database.engine.url.set(username="narrow"))
        assert BackupManager(engine, tmp_path / "elsewhere").alarm.error() is None
        here = BackupManager(engine, tmp_path / "backups")
        assert here.alarm.accept()
        engine.dispose()
    finally:
        database.run("DROP USER narrow@localhost")


def test_who_may_not_see_the_note_believes_the_file(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """A user for backups alone sees no note: that is not taken for an end of the alarm."""
    die(project)
    live = database.name.replace("_", "\\_")
    database.run(
        "DROP USER IF EXISTS narrow@localhost; CREATE USER narrow@localhost;"
        f"GRANT ALL ON `{live}`.* TO narrow@localhost; GRANT RELOAD ON *.* TO narrow@localhost"
    )
    try:
        engine = sa.create_engine(database.engine.url.set(username="narrow"))
        here = BackupManager(engine, tmp_path / "backups")
        assert here.alarm.error() is not None
        assert here.create().half_run
        engine.dispose()
    finally:
        database.run("DROP USER narrow@localhost")


def test_the_note_is_what_was_set(database: Database) -> None:
    """Quotation marks, backslashes, line feeds and other scripts come back as they were."""
    database.run("CREATE TABLE t (id INT)")
    driver = database.driver
    assert driver.migration_note() == ""
    for text in ("it's \\ \"so\" = 1\nμ,  x, ' %", "short", "x" * 500_000):
        driver.set_migration_note(text)
        assert driver.migration_note() == text
    driver.set_migration_note("")
    assert driver.migration_note() == ""
    assert database.left() == set()


def test_another_database_of_that_name_has_no_note(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """Whoever drops a database and makes it anew, as for tests, migrates it without a word."""
    die(project)
    database.run(
        f"DROP DATABASE {database.name}; CREATE DATABASE {database.name}", database="mysql"
    )
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    assert elsewhere.alarm.error() is None
    to_another_machine(project, tmp_path)
    project.upgrade("second")
    assert database.left() == set()


def test_who_reads_the_note_keeps_no_migration_from_ending(database: Database) -> None:
    """An open transaction that has looked at it holds its schema, and that is left empty."""
    database.run("CREATE TABLE t (id INT)")
    driver = database.driver_for(database.engine, lock_timeout=60)
    driver.set_migration_note("text")
    with database.engine.connect() as reader:
        assert database.left() == {schema_of(database.name)}
        reader.exec_driver_sql(f"SELECT * FROM `{schema_of(database.name)}`.note").fetchall()
        started = time.monotonic()
        driver.set_migration_note("")
        assert time.monotonic() - started < 30
        assert driver.migration_note() == ""
    driver.set_migration_note("text")
    driver.set_migration_note("")
    assert database.left() == set()


def test_one_database_in_two_spellings(tmp_path: Path) -> None:
    """Where the server has names in lower case, lock, note and what a kill left are of both."""
    server = Server("--lower-case-table-names=1")
    try:
        with new_database(server, tmp_path, "shop") as database:
            database.run("CREATE TABLE t (id INT)")
            engine = sa.create_engine(server.url("Shop"), poolclass=sa.NullPool)
            database.driver.set_migration_note("text")
            other = database.driver_for(engine)
            assert other.migration_note() == "text"
            other.set_migration_note("")
            assert database.left() == set()
            with database.engine.connect() as connection:
                schemas.create(connection, schemas.new_name("shop"), live="shop")
            (tmp_path / "one.sql").touch()
            other.snapshot(tmp_path / "one.sql")
            assert database.left() == set()
            with database.driver.exclusive(timeout=1), pytest.raises(DatabaseLockedError):
                other.exclusive(timeout=0.2).__enter__()
    finally:
        server.remove()

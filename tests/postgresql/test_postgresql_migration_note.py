"""A PostgreSQL server tells every machine of a migration that died, whatever its directory has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project

from postgresql import content
from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.drivers import driver_for
from soulsense_db.drivers.postgresql.migration_note import BEGINNING

pytestmark = on_newest

NOTES = (
    "SELECT count(*) FROM pg_description WHERE strpos(description, 'soulsense_db: a migration') = 1"
)
DIES = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """Return a new database; at its end the server has no note."""
    with Database(server) as made:
        yield made


def project_of(url: str, tmp_path: Path) -> Project:
    """Return a project at its first revision, whose second dies half-way; each is committed."""
    made = Project(tmp_path / "project", DOORS[-1])
    lines = made.ini.read_text().splitlines()
    url = url.replace("%", "%%")
    lines = [
        f"sqlalchemy.url = {url}" if one.startswith("sqlalchemy.url") else one for one in lines
    ]
    made.ini.write_text("\n".join(lines) + "\n")
    made.edit_env(
        "poolclass=pool.NullPool,", 'poolclass=pool.NullPool, isolation_level="AUTOCOMMIT",'
    )
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("first", None, FIRST)
    made.revision("second", "first", "op.execute(\"UPDATE entry SET text = 'half'\")\n" + DIES)
    made.upgrade("first")
    return made


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return the project on the database."""
    return project_of(database.url, tmp_path)


def die(project: Project) -> None:
    """Have the migration to the second revision killed."""
    died = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "second"],
        cwd=project.folder,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL


def reaching(server: Server, database: Database) -> list[str]:
    """Return the options by which a program of the server reaches a database."""
    url = database.engine.url
    return [f"--host={url.query['host']}", "--username=postgres", f"--dbname={database.name}"]


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
    with pytest.raises(MigrationRefusedError, match="was interrupted"):
        project.call("stamp", "second")
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    there = BackupManager(database.engine, tmp_path / "on the other machine")
    assert elsewhere.create().half_run
    assert there.alarm.error() is not None
    assert elsewhere.alarm.accept()
    assert not elsewhere.alarm.accept()
    assert there.alarm.error() is None
    assert database.scalar(NOTES) == 0
    project.upgrade("second")
    assert database.scalar("SELECT DISTINCT text FROM entry") == "whole"
    assert database.scalar(NOTES) == 0
    assert there.alarm.error() is None


def test_where_it_was_migrated_another_backup_does_not_end_it(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """Nor does its undo: as with a file, the backup from before it does, or a person."""
    here = BackupManager(database.engine, tmp_path / "backups")
    database.execute("UPDATE entry SET text = 'earlier'")
    here.create()
    database.execute("UPDATE entry SET text = 'later'")
    die(project)
    third = BackupManager(database.engine, tmp_path / "third")
    here.restore(here.list()[1])
    assert here.alarm.error() is not None
    assert third.alarm.error() is not None
    here.undo_restore()
    assert here.alarm.error() is not None
    assert third.alarm.error() is not None


def test_a_step_that_drops_everything_is_known_where_it_was_run(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """The note is gone with the version table: that is not taken for an end of the alarm."""
    project.revision("second", "first", f'op.execute("DROP SCHEMA public CASCADE")\n{DIES}')
    die(project)
    assert database.scalar(NOTES) == 0
    assert BackupManager(database.engine, tmp_path / "backups").alarm.error() is not None


def test_its_backup_ends_it_from_another_directory(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """The backup from before it is brought here, imported and restored; that is the end of it."""
    die(project)
    to_another_machine(project, tmp_path)
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    assert elsewhere.alarm.error() is not None
    (brought,) = (tmp_path / "on the other machine").glob("*Before_second*.pgdump")
    imported = elsewhere.import_file(brought)
    with pytest.raises(MigrationRefusedError, match=f"restore {imported.filename}"):
        project.upgrade("second")
    elsewhere.restore(imported)
    assert elsewhere.alarm.error() is None
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "one"
    assert database.scalar(NOTES) == 0
    project.upgrade("second")
    assert database.scalar("SELECT DISTINCT text FROM entry") == "whole"


def test_the_note_goes_with_the_data(project: Project, database: Database, tmp_path: Path) -> None:
    """A restore of what is whole ends it, its undo brings it back, and so does any program."""
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    database.execute("UPDATE entry SET text = 'earlier'")
    elsewhere.create()
    database.execute("UPDATE entry SET text = 'later'")
    die(project)
    half = elsewhere.create()
    assert half.half_run
    elsewhere.restore(elsewhere.list()[-1])
    assert elsewhere.alarm.error() is None
    elsewhere.undo_restore()
    third = BackupManager(database.engine, tmp_path / "third")
    assert third.alarm.error() is not None
    assert third.alarm.accept()


def test_a_dump_says_nothing_of_another_database(
    project: Project, database: Database, server: Server, tmp_path: Path
) -> None:
    """It may be of a moment at which a good migration was running; ours say what they are of."""
    die(project)
    dump = server.socket / "copy.dump"
    server.run("pg_dump", "-Fc", f"--file={dump}", *reaching(server, database))
    with Database(server) as other:
        server.run("pg_restore", *reaching(server, other), str(dump))
        assert other.scalar(NOTES) == 1
        assert BackupManager(other.engine, tmp_path / "other").alarm.error() is None


def test_a_comment_of_the_application_stays(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """The version table has the comment again that it had, once the migration has ended."""
    database.execute("COMMENT ON TABLE alembic_version IS 'It''s ours'")
    asked = "SELECT obj_description('alembic_version'::regclass, 'pg_class')"
    die(project)
    assert database.scalar(asked).startswith("soulsense_db: a migration is running")
    here = BackupManager(database.engine, tmp_path / "backups")
    assert here.alarm.accept()
    assert database.scalar(asked) == "It's ours"


@pytest.mark.parametrize("way", ["restore", "keep", "rolled back"])
def test_a_failure_leaves_no_note(
    project: Project, database: Database, tmp_path: Path, way: str
) -> None:
    """What was put back, was left on purpose, or was rolled back is no alarm to anybody."""
    if way == "keep":
        project.set_option("soulsense_on_failure", "keep")
    if way == "rolled back":
        project.edit_env(', isolation_level="AUTOCOMMIT",', ",")
    project.revision(
        "second",
        "first",
        f"import sqlalchemy as sa\nassert op.get_bind().scalar(sa.text({NOTES!r})) == 1\n"
        'op.execute("SELECT no_such_thing")',
    )
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
        project.upgrade("second")
    assert database.scalar(NOTES) == 0
    assert BackupManager(database.engine, tmp_path / "elsewhere").alarm.error() is None


def test_only_those_who_own_the_database_or_are_the_user_are_believed(
    server: Server, database: Database, tmp_path: Path
) -> None:
    """Whoever may make a table may comment it: that keeps nobody else from migrating."""
    database.execute(
        "CREATE ROLE liar",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE mine OWNER TO liar",
        "COMMENT ON TABLE mine IS 'soulsense_db: a migration is running, or died half-way. lie'",
    )
    with Owned(server) as shop:
        assert BackupManager(shop.engine, tmp_path / "elsewhere").alarm.error() is None
        shop.execute("CREATE TABLE mine (id int)")
        shop.administer(
            "CREATE TABLE theirs (id int)",
            "ALTER TABLE theirs OWNER TO liar",
            f"COMMENT ON TABLE theirs IS '{BEGINNING}lie'",
        )
        assert BackupManager(shop.engine, tmp_path / "elsewhere").alarm.error() is None
        shop.execute(f"COMMENT ON TABLE mine IS '{BEGINNING}true'")
        assert BackupManager(shop.engine, tmp_path / "elsewhere").alarm.error() is not None
        shop.administer("DROP OWNED BY liar")
        shop.engine.dispose()
    database.execute("DROP OWNED BY liar", "DROP ROLE liar")


def test_a_note_that_cannot_be_read_is_an_alarm(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """What somebody has changed still says that a migration died; it is accepted like any."""
    database.execute(f"COMMENT ON TABLE alembic_version IS '{BEGINNING}{{'")
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    error = elsewhere.alarm.error()
    assert error is not None
    assert "its marker cannot be read" in error.message
    assert elsewhere.alarm.accept()
    assert elsewhere.alarm.error() is None
    assert database.scalar(NOTES) == 0


def test_a_user_who_does_not_own_the_database(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note is one of the user's own, until the backup is put back within the database."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as shop:
        shop.maintain("ALTER DATABASE {} OWNER TO postgres")
        shop.maintain(f"GRANT CREATE ON DATABASE {{}} TO {shop.user}")
        shop.administer(f"ALTER SCHEMA public OWNER TO {shop.user}")
        url = shop.engine.url.render_as_string(hide_password=False)
        project = project_of(url, tmp_path)
        die(project)
        assert BackupManager(shop.engine, tmp_path / "elsewhere").alarm.error() is not None
        here = BackupManager(shop.engine, tmp_path / "backups")
        error = here.alarm.error()
        assert error is not None
        assert error.backup is not None
        here.restore(error.backup)
        assert here.alarm.error() is None
        assert shop.scalar(NOTES) == 0
        shop.engine.dispose()
        content.drop_kept(server)
        shop.administer(f"REASSIGN OWNED BY {shop.user} TO postgres")
        shop.administer(f"DROP OWNED BY {shop.user}")


def test_who_may_not_judge_the_note_believes_the_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is no member of the role that migrates does not take its note for an end of the alarm."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as shop:
        shop.maintain("ALTER DATABASE {} OWNER TO postgres")
        shop.maintain(f"GRANT CREATE ON DATABASE {{}} TO {shop.user}")
        shop.administer(f"ALTER SCHEMA public OWNER TO {shop.user}")
        die(project_of(shop.engine.url.render_as_string(hide_password=False), tmp_path))
        shop.maintain(f"CREATE ROLE {shop.user}_other LOGIN")
        shop.administer(f"GRANT pg_read_all_data TO {shop.user}_other")
        engine = sa.create_engine(shop.engine.url.set(username=f"{shop.user}_other"))
        here = BackupManager(engine, tmp_path / "backups")
        assert here.alarm.error() is not None
        assert here.create().half_run
        engine.dispose()
        shop.engine.dispose()
        shop.maintain(f"DROP ROLE {shop.user}_other")
        shop.administer(f"REASSIGN OWNED BY {shop.user} TO postgres")
        shop.administer(f"DROP OWNED BY {shop.user}")


def test_a_version_table_that_env_py_has_locked(
    project: Project, database: Database, tmp_path: Path
) -> None:
    """Its steps are not kept waiting for long, and the directory tells of a death as before."""
    project.edit_env(', isolation_level="AUTOCOMMIT",', ",")
    project.edit_env(
        "context.run_migrations()",
        'context.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE");'
        " context.run_migrations()",
    )
    project.revision("second", "first", "op.execute(\"UPDATE entry SET text = 'whole'\")")
    project.upgrade("second")
    assert database.scalar("SELECT DISTINCT text FROM entry") == "whole"
    assert database.scalar(NOTES) == 0


def test_each_chain_has_it(database: Database) -> None:
    """A table of another schema has the note as well, and a name with quotation marks."""
    database.execute('CREATE SCHEMA "odd ""one"', 'CREATE TABLE "odd ""one"."v t" (id int)')
    driver = driver_for(database.engine, lock_timeout=5)
    driver.set_migration_note("text", tables=[('odd "one', "v t"), (None, "no_such_table")])
    assert driver.migration_note() == "text"
    driver.set_migration_note("")
    assert driver.migration_note() == ""


def test_the_note_is_what_was_set(database: Database) -> None:
    """Quotation marks, backslashes, line feeds and other scripts come back as they were."""
    database.execute("CREATE TABLE version (id int)")
    driver = driver_for(database.engine, lock_timeout=5)
    assert driver.migration_note() == ""
    for text in ("it's \\ \"so\" = 1\nμ,  x, ' %", "short", "x" * 50_000):
        driver.set_migration_note(text, tables=[(None, "version")])
        assert driver.migration_note() == text
    driver.set_migration_note("")
    assert driver.migration_note() == ""

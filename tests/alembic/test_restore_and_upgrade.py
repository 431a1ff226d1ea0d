"""An old backup comes back to today's code in one step, or the database stays what it was."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project
from rehearsals import manager_of, project, run_sql, untouched

from soulsense_db import BackupManager
from soulsense_db.alembic import restore_and_upgrade, upgrade_to
from soulsense_db.backup_info import to_meta
from soulsense_db.errors import (
    InterruptedMigrationError,
    OptionError,
    RehearsalFailedError,
    UnsupportedDatabaseError,
)
from soulsense_db.operations import Reference, RestoreReport

pytestmark = pytest.mark.slow

NOTE = (
    'op.add_column("entry", sa.Column("note", sa.Text))\n'
    "op.execute(\"UPDATE entry SET note = text || '!'\")"
)
NOTES = "SELECT note FROM entry ORDER BY id"
THREE = [("one!",), ("two!",), ("three!",)]


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at revision ``first``, with a backup of that, and a ``second`` revision."""
    made = project(tmp_path / "project")
    manager_of(made).create("old")
    made.revision("second", "first", NOTE)
    return made


def rows(database: Path, sql: str) -> list[Any]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def moved_on(made: Project) -> None:
    """Bring the live database to head, where it has other rows than the backup."""
    made.upgrade("head")
    run_sql(made.database, "DELETE FROM entry WHERE id = 2")


def restored(made: Project, ref: Reference = "latest", **options: Any) -> RestoreReport:
    """Restore the backup, migrated, as the application's own process would."""
    options.setdefault("manager", manager_of(made))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        return restore_and_upgrade(made.config(), ref, **options)


@contextmanager
def refused(made: Project, error: type[Exception] = RehearsalFailedError) -> Iterator[Any]:
    """Assert that an error comes, and that nothing at all has changed, or is left behind."""
    with untouched(made.folder), pytest.raises(error) as caught:
        yield caught


def test_an_old_backup_comes_back_to_todays_code(made: Project) -> None:
    """The rows of then in the tables of now; what was there before can be had back."""
    moved_on(made)
    report = restored(made)
    assert rows(made.database, NOTES) == THREE
    manager = manager_of(made)
    assert manager.live.alembic_heads() == ("second",)
    assert report.verified
    assert report.upgrade is not None
    assert (report.upgrade.heads_before, report.upgrade.alembic_heads) == (("first",), ("second",))
    assert report.upgrade.steps == ("second",)
    assert list(made.folder.glob(".app.db.work-*")) == []
    manager.undo_restore()
    assert rows(made.database, NOTES) == [("one!",), ("three!",)]
    manager.undo_restore()
    assert rows(made.database, NOTES) == THREE


def test_an_earlier_revision_can_be_named(made: Project) -> None:
    """The data goes as far as it is told to."""
    made.revision("third", "second", 'op.drop_column("entry", "note")')
    made.upgrade("head")
    report = restored(made, revision="second")
    assert report.upgrade is not None
    assert report.upgrade.alembic_heads == ("second",)
    assert rows(made.database, NOTES) == THREE


def test_a_backup_at_head_is_restored_as_it_is(made: Project) -> None:
    """With nothing to migrate it is a restore like any other."""
    made.upgrade("head")
    manager_of(made).create("new")
    run_sql(made.database, "DELETE FROM entry")
    report = restored(made)
    assert report.upgrade is not None
    assert report.upgrade.steps == ()
    assert rows(made.database, NOTES) == THREE


def test_a_database_that_is_missing_comes_back(made: Project) -> None:
    """As on a new machine: there is only the backup, and the code."""
    made.database.unlink()
    assert restored(made).verified
    assert rows(made.database, NOTES) == THREE


def test_the_database_may_be_in_wal_mode_and_in_use(made: Project) -> None:
    """The journal mode stays; a connection that was open sees the new rows."""
    run_sql(made.database, "PRAGMA journal_mode = WAL")
    manager_of(made).create("in WAL mode")
    with closing(sqlite3.connect(made.database)) as reader:
        assert reader.execute("SELECT count(*) FROM entry").fetchall() == [(3,)]
        restored(made)
        assert reader.execute(NOTES).fetchall() == THREE
    assert rows(made.database, "PRAGMA journal_mode") == [("wal",)]


def test_nothing_says_which_database(made: Project) -> None:
    """It is the one that env.py leads to."""
    moved_on(made)
    restored(made, manager=None)
    assert rows(made.database, NOTES) == THREE


def test_migrations_are_not_told_that_it_is_a_rehearsal(made: Project) -> None:
    """It is for good; only where the copy is thrown away they are."""
    told = made.folder / "told"
    made.revision(
        "third",
        "second",
        f"Path({str(told)!r}).write_text(str('SOULSENSE_REHEARSAL' in os.environ))",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOULSENSE_REHEARSAL", "1")
        restored(made)
    assert told.read_text() == "False"
    manager_of(made).can_restore(
        next(i for i in manager_of(made).list() if i.description == "old"),
        upgrade=upgrade_to(made.config()),
    )
    assert told.read_text() == "True"


# What does not migrate


FAULTS = {
    "fails": ("raise ValueError('no such mood')", "Step third fails: ValueError: no such mood"),
    "breaks a reference": (
        'op.execute("DELETE FROM person WHERE id = 1")',
        "After the migration, ",
    ),
    "asks": ("input('Sure? ')", "Step third asks for input."),
    "dies": ("os.kill(os.getpid(), signal.SIGKILL)", "The process was ended by signal 9"),
    "leaves": ("os._exit(0)", "Step third ended the process itself, with exit code 0"),
    "writes the live file": (
        "open(context.config.get_main_option('sqlalchemy.url').partition('///')[2], 'w')",
        "Step third fails: PermissionError",
    ),
    "deletes its database": (
        "os.remove(op.get_bind().exec_driver_sql('PRAGMA database_list').fetchone()[2])",
        "Step third fails: OperationalError",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_migration_that_goes_wrong_changes_nothing(made: Project, fault: str) -> None:
    """The step and the reason are named, and the live database is what it was."""
    moved_on(made)
    body, expected = FAULTS[fault]
    made.revision("third", "second", body)
    with refused(made) as caught:
        restored(made)
    assert f"cannot be migrated to head: {expected}" in caught.value.what
    assert caught.value.meaning == ("The migrations ran on a copy. The live database is as it was.")
    assert "without migrating it" in caught.value.hint
    assert list(made.folder.glob(".app.db.work-*")) == []


def test_what_was_broken_before_is_no_fault_of_the_migration(made: Project) -> None:
    """A faithful backup may have rows that refer to none."""
    run_sql(made.database, "DELETE FROM person WHERE id = 1")
    manager_of(made).create("with broken references")
    assert restored(made).verified
    assert rows(made.database, NOTES) == THREE


@pytest.mark.parametrize("schema", ["", 'version_table_schema="main", '])
def test_an_env_py_that_saves_nothing(made: Project, schema: str) -> None:
    """All steps ran, and were rolled back: that is no upgrade."""
    moved_on(made)
    made.edit_env("        context.configure(", f"        context.configure({schema}")
    made.edit_env(
        "    with connectable.connect() as connection:\n",
        "    with connectable.connect() as connection:\n        outer = connection.begin()\n",
    )
    made.edit_env(
        "            context.run_migrations()",
        "            context.run_migrations()\n        outer.rollback()",
    )
    with refused(made) as caught:
        restored(made)
    assert "env.py ends without saving it: the data is at first, and should be at second" in (
        caught.value.what
    )


def test_a_migration_that_never_ends(made: Project) -> None:
    """It is ended, and its children with it."""
    made.revision("third", "second", "time.sleep(600)")
    with refused(made) as caught:
        restored(made, timeout=5)
    assert "time limit of 5 s was reached" in caught.value.what


def test_a_backup_that_is_newer_than_the_code(made: Project) -> None:
    """Its revision is not among the migrations: the two are named."""
    made.upgrade("head")
    manager_of(made).create("new")
    (made.folder / "mig" / "versions" / "second.py").unlink()
    with refused(made) as caught:
        restored(made)
    assert "The data is at revision second, which is not among the migrations" in caught.value.what


def test_a_revision_that_does_not_exist(made: Project) -> None:
    """Alembic's own words."""
    with refused(made) as caught:
        restored(made, revision="nowhere")
    assert "Can't locate revision identified by 'nowhere'" in caught.value.what


def test_an_env_py_that_fails(made: Project) -> None:
    """It is no fault of the backup, and is said as none."""
    made.write_env("import nowhere_to_be_found\n")
    with refused(made) as caught:
        restored(made)
    assert "The migrations of" in caught.value.what
    assert "nowhere_to_be_found" in caught.value.what


def test_an_env_py_of_another_database(made: Project) -> None:
    """The data is not put in the place of what it was not migrated for."""
    other = made.folder / "other.db"
    run_sql(other, "CREATE TABLE t (x)")
    made.ini.write_text(made.ini.read_text().replace("app.db", "other.db"))
    with refused(made) as caught:
        restored(made)
    assert f"env.py migrates {other}." in caught.value.what


def test_a_backup_that_is_half_migrated(made: Project) -> None:
    """No migration can go on from there."""
    info = manager_of(made).create("half")
    path = Path(info.meta_path)
    path.write_bytes(to_meta(replace(info, half_run=True)))
    with refused(made, InterruptedMigrationError) as caught:
        restored(made, info.filename)
    assert "no migration can go on from there" in caught.value.what


def test_a_time_that_is_none(made: Project) -> None:
    """Before anything is done."""
    with refused(made, OptionError):
        restored(made, timeout=0)


def test_a_cancelled_upgrade_changes_nothing(made: Project) -> None:
    """What the progress callback raises ends the migrations as well."""
    moved_on(made)
    made.revision("third", "second", f"Path({str(made.folder / 'on')!r}).touch()\ntime.sleep(600)")
    mark = made.folder / "on"

    class CancelError(Exception):
        pass

    def progress(done: int, total: int) -> None:
        if mark.exists():
            mark.unlink()
            raise CancelError

    with refused(made, CancelError):
        restored(made, progress=progress)


# Several databases


def test_other_databases_stay_what_they_are(tmp_path: Path) -> None:
    """A multidb env.py: the others are at head, and only copies of them are looked at."""
    made = multidb(tmp_path)
    other = made.folder / "dbname2.db"
    manager = BackupManager.from_url(f"sqlite:///{made.database}")
    made.upgrade("second")
    manager.restore("latest")
    before = other.read_bytes(), other.stat().st_mtime_ns
    report = restored(made, manager=manager)
    assert manager.live.alembic_heads() == ("second",)
    assert (other.read_bytes(), other.stat().st_mtime_ns) == before
    assert report.upgrade is not None
    assert report.upgrade.others == ()


def multidb(folder: Path) -> Project:
    """Return a project of two databases, both at ``first``, the first one with a backup."""
    made = Project(folder / "project", "none", template="multidb")
    (made.folder / "mig" / "versions" / "first.py").write_text(
        MULTI.format(
            name="first",
            before=None,
            one='op.create_table("t", sa.Column("x", sa.Integer))',
            two='op.create_table("u", sa.Column("x", sa.Integer))',
        )
    )
    made.upgrade("first")
    BackupManager.from_url(f"sqlite:///{made.folder / 'app.db'}").create("old")
    (made.folder / "mig" / "versions" / "second.py").write_text(
        MULTI.format(
            name="second",
            before="first",
            one='op.add_column("t", sa.Column("y", sa.Integer))',
            two='op.add_column("u", sa.Column("y", sa.Integer))',
        )
    )
    return made


MULTI = """
import sqlalchemy as sa
from alembic import op
revision = {name!r}
down_revision = {before!r}
def upgrade(engine_name):
    globals()["upgrade_" + engine_name]()
def downgrade(engine_name):
    pass
def upgrade_engine1():
    {one}
def upgrade_engine2():
    {two}
"""


def test_migrations_that_write_to_another_database_are_refused(tmp_path: Path) -> None:
    """The other one is not in the backup: its part would be lost, so nothing is done."""
    made = multidb(tmp_path)
    manager = BackupManager.from_url(f"sqlite:///{made.folder / 'app.db'}")
    with refused(made, UnsupportedDatabaseError) as caught:
        restored(made, manager=manager)
    assert f"also write to {made.folder / 'dbname2.db'}" in caught.value.what


# Before it is done


def test_can_restore_tells_what_would_be_done(made: Project) -> None:
    """All steps, on a copy that is thrown away; nothing is left of it."""
    moved_on(made)
    manager = manager_of(made)
    with untouched(made.folder):
        check = manager.can_restore("latest", upgrade=upgrade_to(made.config()))
    assert check.ok
    assert check.upgrade is not None
    assert check.upgrade.steps == ("second",)
    made.revision("third", "second", "raise ValueError('no')")
    with untouched(made.folder):
        check = manager.can_restore("latest", upgrade=upgrade_to(made.config()))
    assert [type(problem) for problem in check.problems] == [RehearsalFailedError]


def test_rows_that_the_migrations_take_are_told(made: Project) -> None:
    """By table, before and after; a renamed one is not gone."""
    made.revision(
        "third",
        "second",
        'op.execute("CREATE TABLE page AS SELECT * FROM entry")\n'
        'op.drop_table("entry")\n'
        'op.execute("DELETE FROM person WHERE id = 2")',
    )
    check = manager_of(made).can_restore("latest", upgrade=upgrade_to(made.config()))
    assert check.upgrade is not None
    assert [str(one) for one in check.upgrade.fewer_rows] == ["person has 1 of 2 rows"]
    done = restored(made).upgrade
    assert done is not None
    assert done.fewer_rows == check.upgrade.fewer_rows
    report = manager_of(made).verify("latest", level="drill", upgrade=upgrade_to(made.config()))
    assert report.drill is not None
    assert report.drill.upgrade is not None
    assert report.drill.upgrade.fewer_rows == check.upgrade.fewer_rows


def test_a_dropped_table_is_told(made: Project) -> None:
    """With the rows that it had."""
    made.revision("third", "second", 'op.drop_table("entry")')
    report = restored(made)
    assert report.upgrade is not None
    assert [str(one) for one in report.upgrade.fewer_rows] == ["entry is gone, with its 3 rows"]


def test_what_a_process_still_writes_is_not_put_in_place(made: Project, tmp_path: Path) -> None:
    """One that left the group of the migration is not ended, and what it does is not checked."""
    mark = tmp_path / "process"
    made.revision(
        "third",
        "second",
        "path = op.get_bind().exec_driver_sql('PRAGMA database_list').fetchone()[2]\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    Path({str(mark)!r}).write_text(str(os.getpid()))\n"
        "    while True:\n"
        "        os.utime(path)",
    )
    try:
        with refused(made) as caught:
            restored(made)
    finally:
        os.kill(int(mark.read_text()), signal.SIGKILL)
    assert "something still writes to the copy" in caught.value.what


def test_a_revision_has_a_name(made: Project) -> None:
    """An empty one is refused at once."""
    with pytest.raises(OptionError, match="the name is empty"):
        upgrade_to(made.config(), "")

"""What can be created can be restored: names, encodings, page sizes; and where not, it is said."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic_project import BROKEN, FIRST, Project
from conftest import EngineMaker
from helpers import (
    Mode,
    add_child,
    digest,
    disk_of,
    flip,
    held_by_another_process,
    make_database,
    run_unprivileged,
    scalar,
    snapshot_of,
    within,
)
from sqlalchemy import event
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import (
    ChecksumMismatchError,
    InvalidBackupError,
    NotEnoughSpaceError,
    PermissionDeniedError,
    StorageError,
    WrongDatabaseError,
)
from soulsense_db.fs import space
from soulsense_db.fs.sidecar_names import beside
from soulsense_db.health import State, check_health

# Names


@pytest.mark.parametrize("length", [219, 225, 230, 240, 247])
@pytest.mark.parametrize("letter", ["n", "ä", "日", "\U0001f600"])
def test_a_long_name_is_no_obstacle(
    tmp_path: Path, make_engine: EngineMaker, length: int, letter: str, mode: Mode
) -> None:
    """A database of any name that SQLite takes is created, restored and undone; also if damaged."""
    size = len(letter.encode())
    name = letter * ((length - 3) // size) + "x" * ((length - 3) % size) + ".db"
    live = make_database(tmp_path / name, mode=mode)
    engine = make_engine(live)
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    assert manager.can_restore(info).problems == ()
    expected = digest(live)
    add_child(live)
    changed = digest(live)
    manager.restore(info)
    assert digest(live) == expected
    manager.undo_restore()
    assert digest(live) == changed
    engine.dispose()
    os.truncate(live, 1000)
    (aside,) = (p for p in manager.restore(info).moved_aside if "damaged" in p.name)
    assert aside.stat().st_size == 1000
    assert digest(live) == expected


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with a path of 470 bytes."""
    path = tmp_path
    while (missing := 470 - len(os.fsencode(path)) - 1) > 0:
        path /= "d" * min(200, missing)
    path.mkdir(parents=True)
    yield path


@pytest.mark.parametrize("name", ["a.db", "soulsense.db", "n" * 30 + ".db"])
def test_a_deep_path_is_no_obstacle(
    deep: Path, tmp_path: Path, make_engine: EngineMaker, name: str
) -> None:
    """SQLite takes paths of 504 bytes: up to there what lies beside the database is found again."""
    live = make_database(deep / name, mode="wal")
    manager = BackupManager(make_engine(live), tmp_path / "backups")
    info = manager.create()
    assert manager.can_restore(info).ok
    add_child(live)
    changed = digest(live)
    manager.restore(info)
    manager.undo_restore()
    assert digest(live) == changed


def test_a_backup_directory_that_is_too_deep_is_told(deep: Path, make_engine: EngineMaker) -> None:
    """A backup that SQLite could not open is not begun, and the error says why."""
    live = make_database(deep / "app.db")
    with pytest.raises(StorageError, match="too long") as caught:
        BackupManager(make_engine(live)).create()
    assert "directory" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["app.db", "x" * 200, "n" * 247, "ü" * 120, "日" * 82, "\udce4" * 99]
)
@pytest.mark.parametrize("folder", ["/d", "/" + "d" * 240 + "/" + "e" * 200, "/" + "d/" * 240])
def test_companions_have_names_that_fit_and_differ(name: str, folder: str) -> None:
    """Each fits with its meta file, for SQLite too; each is another, and always the same."""
    database = Path(folder, name)
    endings = (".safety_backup", ".safety_backup.previous", ".failed_migration", ".migrating")
    made = [beside(database, ending) for ending in endings]
    made += [beside(database, ending, hidden=True) for ending in (".lock", ".restoring")]
    assert made == [
        *(beside(database, ending) for ending in endings),
        *(beside(database, ending, hidden=True) for ending in (".lock", ".restoring")),
    ]
    assert len(set(made)) == len(made)
    for path in made:
        assert path.parent == database.parent
        assert len(os.fsencode(f".{path.name}.meta.partial")) <= 255
        assert len(os.fsencode(path)) <= (SQLiteDriver.longest_path or 0)
    if name == "app.db" and folder == "/d":
        assert made[0].name == "app.db.safety_backup"


# Encodings

ENCODINGS = ["UTF-8", "UTF-16le", "UTF-16be"]


def _in_encoding(make_engine: EngineMaker, path: Path, encoding: str, **options: object) -> Engine:
    engine = make_engine(path, **options)

    @event.listens_for(engine, "connect")
    def choose(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA encoding = '{encoding}'")

    return engine


@pytest.mark.parametrize("backed_up", ENCODINGS)
@pytest.mark.parametrize("live_encoding", ENCODINGS)
@pytest.mark.parametrize("is_empty", ["the backup", "the live database"])
def test_an_empty_database_fits_any_encoding(
    tmp_path: Path,
    make_engine: EngineMaker,
    backed_up: str,
    live_encoding: str,
    is_empty: str,
) -> None:
    """Without tables there is no text; the application that is connected goes on in its own."""
    path = tmp_path / "app.db"
    before, after = "CREATE TABLE t (a)", "INSERT INTO t VALUES ('größer')"
    path.touch()
    first = _in_encoding(make_engine, path, backed_up)
    manager = BackupManager(first, catalog=False)
    if is_empty == "the live database":
        with first.begin() as connection:
            connection.exec_driver_sql(before)
            connection.exec_driver_sql(after)
    info = manager.create()
    first.dispose()
    path.unlink()
    path.touch()
    second = _in_encoding(make_engine, path, live_encoding)
    with second.connect() as application:
        if is_empty == "the backup":
            application.exec_driver_sql(before)
            application.exec_driver_sql(after)
            application.commit()
        manager = BackupManager(second, catalog=False)  # of the new file
        assert manager.can_restore(info).ok
        assert manager.restore(info).verified
        if is_empty == "the backup":
            application.exec_driver_sql("CREATE TABLE u (b)")
            application.exec_driver_sql("INSERT INTO u VALUES ('größer')")
            application.commit()
    table = "u" if is_empty == "the backup" else "t"
    assert scalar(path, f"SELECT * FROM {table}") == "größer"
    assert scalar(path, "PRAGMA encoding") == (
        live_encoding if is_empty == "the backup" else backed_up
    )
    assert scalar(path, "PRAGMA integrity_check") == "ok"


def test_an_empty_backup_keeps_what_it_has_without_tables(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """The numbers that an application keeps in the header are restored in any encoding."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
        connection.execute("PRAGMA application_id = 77")
    engine = _in_encoding(make_engine, path, "UTF-16le")
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    with engine.begin() as application:
        application.exec_driver_sql("CREATE TABLE t (a)")
        application.exec_driver_sql("PRAGMA user_version = 8")
    manager.restore(info)
    assert scalar(path, "PRAGMA user_version") == 7
    assert scalar(path, "PRAGMA application_id") == 77
    assert scalar(path, "SELECT count(*) FROM sqlite_master") == 0


def test_two_encodings_with_tables_are_refused_by_all(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Whoever is connected could read nothing any more: neither is it done, nor called OK."""
    path = make_database(tmp_path / "app.db")
    manager = BackupManager(make_engine(path), catalog=False)
    info = manager.create()
    path.unlink()
    other = _in_encoding(make_engine, path, "UTF-16be")
    with other.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
    manager = BackupManager(other, catalog=False)  # of the new file
    (problem,) = manager.can_restore(info).problems
    with pytest.raises(InvalidBackupError) as caught:
        manager.restore(info)
    assert caught.value.message == problem.message
    assert "UTF-16be" in problem.message
    assert check_health(manager).state is State.CRITICAL


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_first_migration_that_fails_is_put_back(tmp_path: Path, encoding: str) -> None:
    """The backup from before it, of no tables, fits what the steps made in any encoding."""
    project = Project(tmp_path / "project", "env.py")
    project.edit_env(
        "    with connectable.connect() as connection:\n",
        "    from sqlalchemy import event\n"
        "    event.listen(connectable, 'connect', lambda connection, _: connection.execute("
        f"\"PRAGMA encoding = '{encoding}'\") and None)\n"
        "    with connectable.connect() as connection:\n",
    )
    project.revision("first", None, FIRST + BROKEN)
    failed = project.run("upgrade", "head")
    assert failed.returncode != 0
    assert "was put back" in failed.stderr
    assert scalar(project.database, "SELECT count(*) FROM sqlite_master") == 0
    assert not beside(project.database, ".migrating").exists()


# Page sizes

OWN = {
    "collation": "CREATE TABLE own (a TEXT COLLATE backwards); CREATE INDEX i ON own (a)",
    "built-in collation replaced": "CREATE TABLE own (a TEXT COLLATE nocase);"
    "CREATE INDEX i ON own (a)",
    "function in an index": "CREATE TABLE own (a); CREATE INDEX i ON own (reversed(a))",
    "function in a check": "CREATE TABLE own (a CHECK (reversed(a) <> ''))",
    "generated column": "CREATE TABLE own (a, b AS (reversed(a)) STORED);CREATE INDEX i ON own (b)",
    "partial index": "CREATE TABLE own (a); CREATE INDEX i ON own (a) WHERE reversed(a) > 'm'",
    "key without rowid": "CREATE TABLE own (a TEXT COLLATE backwards PRIMARY KEY) WITHOUT ROWID",
}


def _application(make_engine: EngineMaker, path: Path) -> Engine:
    engine = make_engine(path)

    @event.listens_for(engine, "connect")
    def define(connection: sqlite3.Connection, _: object) -> None:
        def backwards(a: str, b: str) -> int:
            return (a[::-1] > b[::-1]) - (a[::-1] < b[::-1])

        connection.create_collation("backwards", backwards)
        connection.create_collation("nocase", backwards)
        connection.create_function("reversed", 1, lambda text: text[::-1], deterministic=True)

    return engine


@pytest.mark.parametrize("what", OWN)
@pytest.mark.parametrize(("page_size", "later"), [(1024, 4096), (8192, 512)])
def test_a_page_size_is_changed_with_what_the_application_has(
    tmp_path: Path, make_engine: EngineMaker, what: str, page_size: int, later: int
) -> None:
    """An index keeps the order that the application's own collation or function gives it."""
    path = tmp_path / "app.db"
    engine = _application(make_engine, path)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA page_size = {page_size}")
        for statement in OWN[what].split(";"):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(
            "INSERT INTO own (a) WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT 'a' || (i * 7919) FROM n"
        )
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    engine.dispose()
    path.unlink()
    make_database(path, page_size=later, mode="wal")
    manager = BackupManager(engine, catalog=False)  # of the new file
    before = snapshot_of(tmp_path)
    assert manager.can_restore(info).problems == ()
    assert snapshot_of(tmp_path).keys() == before.keys()
    manager.restore(info)
    assert scalar(path, "PRAGMA page_size") == later
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert connection.exec_driver_sql("SELECT count(*) FROM own").scalar_one() == 500


@pytest.mark.parametrize("backed_up", ENCODINGS)
@pytest.mark.parametrize("live_encoding", ENCODINGS)
@pytest.mark.parametrize("left", ["CREATE TABLE gone (a); DROP TABLE gone", "SELECT 1"])
def test_an_empty_database_takes_another_encoding_and_page_size_at_once(
    tmp_path: Path, make_engine: EngineMaker, backed_up: str, live_encoding: str, left: str
) -> None:
    """In WAL mode the page size stays what it is, whatever text the backup brings."""
    path = tmp_path / "app.db"
    engine = _in_encoding(make_engine, path, backed_up)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA page_size = 1024")
        connection.exec_driver_sql("CREATE TABLE t (a)")
        connection.exec_driver_sql("INSERT INTO t VALUES ('größer')")
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    engine.dispose()
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA encoding = '{live_encoding}'")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(left)
    manager = BackupManager(engine, catalog=False)  # of the new file
    assert manager.can_restore(info).problems == ()
    assert manager.restore(info).verified
    assert scalar(path, "SELECT a FROM t") == "größer"
    assert scalar(path, "PRAGMA page_size") == 4096
    assert scalar(path, "PRAGMA encoding") == backed_up
    manager.undo_restore()
    assert scalar(path, "SELECT count(*) FROM sqlite_master") == 0


# Status and can_restore


def _directory_as_lock(live: Path) -> None:
    beside(live, ".lock", hidden=True).mkdir()


def _link_as_lock(live: Path) -> None:
    beside(live, ".lock", hidden=True).symlink_to(live.parent / "elsewhere")


def _directory_as_staging(live: Path) -> None:
    beside(live, ".safety_backup.partial", hidden=True).mkdir()


def _directory_as_meta(live: Path) -> None:
    Path(f"{beside(live, '.safety_backup')}.meta").mkdir()


@pytest.mark.parametrize(
    "put", [_directory_as_lock, _link_as_lock, _directory_as_staging, _directory_as_meta]
)
def test_where_a_restore_is_refused_status_is_not_ok(
    manager: BackupManager, database: Path, put: object
) -> None:
    """What somebody put in the place of a file that a restore needs is told before it is needed."""
    info = manager.create()
    assert check_health(manager).state is State.OK
    assert callable(put)
    put(database)
    before = snapshot_of(database.parent)
    problems = manager.can_restore("latest").problems
    report = check_health(manager)
    assert snapshot_of(database.parent) == before
    try:
        manager.restore(info)
    except StorageError:
        assert problems
        assert report.state is State.CRITICAL


@pytest.mark.parametrize("ending", [".restoring", ".restoring-journal"])
def test_a_directory_in_the_place_of_a_working_copy_is_passed_by(
    manager: BackupManager, database: Path, ending: str
) -> None:
    """A database that is gone is restored through a working copy, under another name then."""
    manager.create()
    before = digest(database)
    database.unlink()
    beside(database, ending, hidden=True).mkdir()
    assert manager.can_restore("latest").ok
    manager.restore("latest")
    assert digest(database) == before


@pytest.mark.parametrize("offset", [5000, 20_000, 30])
def test_a_newest_backup_that_was_damaged_is_told(manager: BackupManager, offset: int) -> None:
    """Its size is what it was: it is read in full, each time that status is asked."""
    manager.create("older")
    info = manager.create()
    assert check_health(manager).state is State.OK
    flip(Path(info.path), offset)
    (problem,) = manager.can_restore("latest").problems
    assert isinstance(problem, (ChecksumMismatchError, InvalidBackupError))
    report = check_health(manager)
    assert report.state is State.CRITICAL
    (told,) = (check.message for check in report.checks if check.name == "restore")
    assert info.filename in told


def test_a_full_disk_is_told(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Beside the database there has to be room for the safety backup and a journal."""
    place = tmp_path / "disk"
    place.mkdir()
    with disk_of(4 * 1024 * 1024, place):
        live = make_database(place / "app.db", rows=4000)
        engine = make_engine(live)
        manager = BackupManager(engine, tmp_path / "backups")
        manager.create()
        assert manager.can_restore("latest").ok
        free = space.free_space(place)
        assert free is not None
        (place / "filling").write_bytes(bytes(free - 1024 * 1024))
        (problem,) = manager.can_restore("latest").problems
        assert isinstance(problem, NotEnoughSpaceError)
        assert str(place) in problem.message
        assert check_health(manager).state is State.CRITICAL
        engine.dispose()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_rights_that_are_missing_are_a_warning(open_path: Path) -> None:
    """Who monitors may lack them, and is told: a restore takes another user; a backup does not."""
    (open_path / "data").mkdir()
    live = make_database(open_path / "data" / "app.db")
    live.chmod(0o644)
    (open_path / "backups").mkdir(mode=0o777)
    (open_path / "backups").chmod(0o777)
    told = run_unprivileged("ask_can_restore", live, open_path / "backups")
    assert told["error"] is None
    assert set(told["problems"]) == {PermissionDeniedError.__name__}
    assert told["states"]["restore"] == "WARNING"


def test_a_lock_of_the_moment_is_no_problem(engine: Engine, database: Path) -> None:
    """A writer, a migration or another restore that is at work says nothing of a later restore."""
    manager = BackupManager(engine, lock_timeout=60)
    manager.create()
    with held_by_another_process(database, "BEGIN EXCLUSIVE"), within(5):
        assert manager.can_restore("latest").ok
    with manager.exclusive():
        assert manager.can_restore("latest").ok


def test_a_database_that_is_gone_can_be_restored(manager: BackupManager, database: Path) -> None:
    """It is what backups are for: the check says yes, and so does the restore."""
    manager.create()
    for damage in (lambda: database.write_bytes(b"garbage" * 1000), database.unlink):
        damage()
        assert manager.can_restore("latest").ok
        manager.restore("latest")


def test_a_backup_of_another_database_is_refused_at_once(
    manager: BackupManager, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """As by a restore."""
    other = BackupManager(make_engine(make_database(tmp_path / "other.db")))
    info = other.create()
    with pytest.raises(WrongDatabaseError):
        manager.can_restore(info)


def test_a_migration_that_could_not_be_put_back_is_not_begun(tmp_path: Path) -> None:
    """The hook looks before the first step: for a put-back it would be too late."""
    project = Project(tmp_path / "project", "env.py")
    project.revision("first", None, FIRST)
    assert project.run("upgrade", "head").returncode == 0
    project.revision("second", "first", "op.execute('DELETE FROM entry')")
    Path(f"{beside(project.database, '.safety_backup.previous')}.meta").mkdir()
    refused = project.run("upgrade", "head")
    assert refused.returncode != 0
    assert "No migration was run" in refused.stderr
    assert scalar(project.database, "SELECT count(*) FROM entry") == 3

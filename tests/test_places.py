"""Names, folders, paths and owners: nothing is taken for what it is not."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import PROGRAMS, add_child, digest, execute, make_database, write_marker

from soulsense_db import BackupManager
from soulsense_db.db_backup import _validate_sqlite_file
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    InvalidBackupError,
    OutsideDirectoryError,
    PermissionDeniedError,
    UnsupportedDatabaseError,
    WrongDatabaseError,
)
from soulsense_db.scheduled import run_auto


def test_two_databases_of_one_name_in_one_directory(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A shared directory never gives one database the rows of another with the same file name."""
    managers = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = make_database(tmp_path / name / "app.db")
        managers.append(BackupManager(make_engine(path), tmp_path / "shared"))
    a, b = managers
    info = a.create("of a")
    assert b.list() == []
    with pytest.raises(BackupNotFoundError, match="1 of other databases"):
        b.restore("latest")
    with pytest.raises(InvalidBackupError, match="import it"):
        b.restore(info)
    assert [found.id for found in a.list()] == [info.id]


def test_backups_move_with_their_database(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A folder with database and backups can be moved: they still belong together."""
    (tmp_path / "old").mkdir()
    path = make_database(tmp_path / "old" / "app.db")
    info = BackupManager(make_engine(path)).create()
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = BackupManager(make_engine(tmp_path / "new" / "app.db"))
    assert [found.id for found in moved.list()] == [info.id]
    (tmp_path / "old").symlink_to("new")  # the old path leads to the same file
    assert [found.id for found in moved.list()] == [info.id]
    (tmp_path / "old").unlink()
    shutil.move(tmp_path / "new", tmp_path / "old")
    shutil.move(tmp_path / "old" / "backups", tmp_path / "usb")
    named = BackupManager(make_engine(path), tmp_path / "usb")
    assert [found.id for found in named.list()] == [info.id]


def test_a_backup_of_a_database_that_is_there_is_not_that_of_its_neighbour(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """One that was copied from beside prod is not staging's, though the folders are alike.

    A long list of them asks the system once for each place.
    """
    made = {}
    for name in ("prod", "staging"):
        (tmp_path / name).mkdir()
        make_database(tmp_path / name / "app.db")
        made[name] = BackupManager(make_engine(tmp_path / name / "app.db"))
    own = made["staging"].create("own")
    for _ in range(3):
        info = made["prod"].create("newer")
        for path in (info.path, info.meta_path):
            shutil.copy(path, made["staging"].directory)
    asked = []
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        asked.append(str(path))
        return real(path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat)
        assert [found.id for found in made["staging"].list()] == [own.id]
    assert asked.count(str(tmp_path / "prod" / "app.db")) == 1
    assert made["staging"].get("latest").id == own.id
    assert len(made["staging"].others()) == 3
    with pytest.raises(WrongDatabaseError, match="prod"):
        made["staging"].restore(info.filename)
    (tmp_path / "prod" / "app.db").unlink()  # nothing tells them any more
    assert len(made["staging"].list()) == 4


def test_a_backup_of_a_database_that_is_gone_is_nobody_else_s(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """An absent database's backups do not become those of another one with its file name."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_database(tmp_path / name / "app.db")
    info = BackupManager(make_engine(tmp_path / "a" / "app.db"), tmp_path / "shared").create()
    (tmp_path / "a" / "app.db").unlink()
    b = BackupManager(make_engine(tmp_path / "b" / "app.db"), tmp_path / "shared")
    assert b.list() == []
    with pytest.raises(BackupNotFoundError, match="1 of other databases"):
        b.restore("latest")
    with pytest.raises(WrongDatabaseError, match="import it"):
        b.restore(info)
    assert b.restore(b.import_file(info.path)).source.kind == "imported"


def test_a_backup_is_no_live_database(manager: BackupManager, make_engine: EngineMaker) -> None:
    """Nothing writes to a file that a meta file of ours is beside: it stays what can be restored.

    It may be looked at, and copied; a copy without the meta file is a database like any other.
    """
    info = manager.create()
    safety = manager.restore(info).safety_backup
    assert safety is not None
    calls: list[Callable[[BackupManager], object]] = [
        lambda wrong: wrong.create(),
        run_auto,
        lambda wrong: wrong.catalog.rebuild(),
        lambda wrong: wrong.exclusive(),
        lambda wrong: wrong.restore(info),
    ]
    for path in (Path(info.path), safety):
        before = path.read_bytes()
        wrong = BackupManager(make_engine(path), manager.directory.parent / f"of {path.name}")
        for call in calls:
            with pytest.raises(UnsupportedDatabaseError, match="is a backup") as caught:
                call(wrong)
            assert "copy the backup elsewhere" in caught.value.hint
        assert not wrong.can_restore().ok
        assert not wrong.catalog.sync()
        assert wrong.list() == []
        assert not wrong.directory.exists()
        assert wrong.import_file(
            manager.export(info, manager.directory.parent / f"{path.name}.copy")
        )
        assert wrong.create(record=False)
        assert path.read_bytes() == before
    manager.verify(info)
    manager.undo_restore()
    copy = manager.directory.parent / "copy.db"
    shutil.copy(info.path, copy)
    assert BackupManager(make_engine(copy), manager.directory).create()
    Path(f"{copy}.meta").write_text("written by an older program")
    assert BackupManager(make_engine(copy), manager.directory).create()


def test_the_live_database_is_never_a_backup(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A live database that is named like a backup, in the directory, is not listed or deleted."""
    name = "app_20260101_000000.db"
    path = make_database(tmp_path / name)
    manager = BackupManager(make_engine(path), tmp_path, prefix="app")
    assert manager.list() == []
    os.link(path, tmp_path / "app_20260101_000001.db")
    # To open one and close it would drop the locks that this process has on the database.
    assert manager.list() == []
    with pytest.raises(BackupNotFoundError):
        manager.verify("latest")
    for refused in (name, "app_20260101_000001.db"):
        with pytest.raises(OutsideDirectoryError):
            manager.delete(refused)
    assert path.exists()


def test_prefixes_do_not_overlap(database: Path, make_engine: EngineMaker) -> None:
    """The backups of prefix 'a' and 'a_b' in one directory are told apart."""
    engine = make_engine(database)
    one, two = (BackupManager(engine, prefix=prefix) for prefix in ("a", "a_b"))
    two.create()
    assert one.list() == []
    assert len(two.list()) == 1


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE TABLE "Backups" (what TEXT)',
        "CREATE INDEX backups ON child (amount)",
    ],
)
def test_a_name_that_sql_takes_for_ours(
    manager: BackupManager, database: Path, statement: str
) -> None:
    """A table "Backups" or an index of our name never fails a restore or loses a backup."""
    info = manager.create("before")
    execute(database, "DROP TABLE backups", statement)
    add_child(database)
    assert manager.restore(info).source.id == info.id
    manager.undo_restore()
    try:
        manager.create("after")
    except BackupError as error:
        assert "Backups" in statement, error
    assert all(manager.verify(found) for found in manager.list())


def test_a_name_that_is_no_text(manager: BackupManager) -> None:
    """A backup whose name is not UTF-8 is listed, recorded and deleted like another."""
    info = manager.create("caf")
    odd = os.fsdecode(os.fsencode(info.path).replace(b"caf", b"caf\xe9"))
    Path(info.path).rename(odd)
    Path(info.meta_path).rename(f"{odd}.meta")
    manager.create("another")
    assert manager.catalog.rebuild() == 2
    manager.delete(Path(odd))
    assert len(manager.list()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_folder_whose_name_is_no_text(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A database in a folder with a name of another encoding is backed up and restored."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    database = make_database(folder / "app.db")
    before = digest(database)
    manager = BackupManager(make_engine(database))
    manager.create()
    add_child(database)
    assert manager.restore("latest").source.database_path == str(database)
    assert digest(database) == before


def test_validating_the_live_database_keeps_its_locks(tmp_path: Path) -> None:
    """_validate_sqlite_file on an open database does not drop the application's own lock."""
    path = make_database(tmp_path / "app.db")
    take = (
        "import sqlite3, sys\n"
        "sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert _validate_sqlite_file(path)
        other = subprocess.run(
            [sys.executable, "-c", take, str(path)], capture_output=True, check=False
        )
        assert b"locked" in other.stderr


@pytest.mark.parametrize(
    "url", ["sqlite:///x.db?timeout=abc", "sqlite:///a\0b.db", "postgresql://h:port/d", "a\0b"]
)
def test_a_url_that_is_none_is_an_error_of_the_tree(url: str) -> None:
    """Whatever stands in a URL, the error is one that the command line can print."""
    with pytest.raises(UnsupportedDatabaseError):
        BackupManager.from_url(url)


@pytest.mark.parametrize("ref", ["~nobody_at_all/x.db", "a/\0.db", "x" * 300 + "/y.db"])
def test_a_path_that_is_none_is_an_error_of_the_tree(manager: BackupManager, ref: str) -> None:
    """Odd paths are not found, in every call that takes one."""
    info = manager.create()
    for call in (manager.get, manager.restore, manager.delete, manager.import_file):
        with pytest.raises(BackupError):
            call(ref)
    with pytest.raises(BackupError):
        manager.export(info, ref)


def test_a_folder_one_may_not_enter(open_path: Path) -> None:
    """A database or directory behind a closed door is "Permission denied", not a traceback."""
    closed = open_path / "closed"
    closed.mkdir()
    database = make_database(closed / "app.db")
    (closed / "backups").mkdir()
    closed.chmod(0o700)
    if os.getuid() != 0:
        closed.chmod(0)
    result = subprocess.run(
        [sys.executable, PROGRAMS / "create_as_nobody.py", database],
        capture_output=True,
        text=True,
        check=False,
    )
    closed.chmod(0o700)
    assert result.returncode == 0, result.stderr
    assert PermissionDeniedError.exit_code == 41


@pytest.mark.parametrize("directory_s_owner", [65534, 0])
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="takes root")
def test_what_root_makes_the_owner_can_use(open_path: Path, directory_s_owner: int) -> None:
    """An operator who works as root leaves files that the application's user can use."""
    database = make_database(open_path / "app.db")
    os.chown(open_path, directory_s_owner, 65534)
    os.chown(database, 65534, 65534)
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine, open_path / "deep" / "backups")
    manager.create()
    manager.restore("latest")
    database.write_bytes(b"damaged " * 1000)
    manager.restore("latest")
    engine.dispose()
    write_marker(database, backup="x", alembic_heads=(), target_revision=None)
    for folder, folders, names in os.walk(open_path):
        for name in [*folders, *names]:
            assert Path(folder, name).stat().st_uid == 65534, name

"""Files that are odd in ways that only a damaged disk or a very inventive person makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import PROGRAMS, digest, execute, make_database, run_unprivileged

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite.errors import backup_errors, live_errors
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    InvalidBackupError,
    StorageError,
    UnsupportedDatabaseError,
)


def _break_schema(path: Path) -> None:
    """Give a table of the schema a name and SQL that are no UTF-8, as a flipped bit does."""
    data = path.read_bytes()
    assert b"CREATE TABLE child" in data
    path.write_bytes(data.replace(b"tablechildchild", b"tablechil\xe4chil\xe4"))


def test_a_schema_that_sqlite_rejects_is_no_damage(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A backup is restored over it, and nothing is moved aside; a backup with it is not restored.

    Undoing that gives each byte of it back: another SQLite may understand it.
    """
    database = make_database(tmp_path / "app.db")
    expected = digest(database)
    engine = make_engine(database)
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    engine.dispose()
    _break_schema(database)
    broken = database.read_bytes()
    with pytest.raises(UnsupportedDatabaseError, match="malformed database schema"):
        manager.create()
    report = manager.restore(info)
    assert not report.moved_aside
    assert digest(database) == expected
    manager.undo_restore()
    assert database.read_bytes()[100:] == broken[100:]
    manager.restore(info)
    _break_schema(Path(info.path))
    Path(info.meta_path).unlink()
    with pytest.raises(InvalidBackupError, match="malformed database schema"):
        manager.verify(info)


def test_a_value_that_is_no_text_is_no_damage(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Python's own error for it, which has no code of SQLite's, is called what it is."""
    engine = make_engine(make_database(tmp_path / "app.db"))
    with engine.connect() as connection:
        with pytest.raises(BackupError, match="not damaged") as live, live_errors(tmp_path / "a"):
            connection.exec_driver_sql("SELECT CAST(x'ff' AS TEXT)").fetchall()
        raw = connection.connection.driver_connection
        assert raw is not None
        with (
            pytest.raises(BackupError, match="not damaged") as backup,
            backup_errors(tmp_path / "a"),
        ):
            raw.execute("SELECT CAST(x'ff' AS TEXT)").fetchall()
    for caught in (live.value, backup.value):
        assert not isinstance(caught, (DatabaseDamagedError, InvalidBackupError))
        assert "CAST" in caught.hint


def test_damage_in_the_middle_of_a_comparison_is_one_error(tmp_path: Path) -> None:
    """It is raised, and nothing of Python's own is printed when the process ends."""
    database = make_database(tmp_path / "app.db", rows=20_000)
    done = subprocess.run(
        [sys.executable, PROGRAMS / "compare_with_a_damaged_one.py", database],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("damaged\n", "")


def test_a_directory_that_may_only_be_listed_is_an_error(open_path: Path) -> None:
    """Names without the right to look at the files are denied permission, not a traceback."""
    manager = BackupManager.from_url(str(make_database(open_path / "app.db")))
    manager.create()
    manager.directory.chmod(0o744)
    told = run_unprivileged("list_backups", open_path / "app.db", manager.directory)
    assert told["error"] == "PermissionDeniedError"
    assert str(manager.directory) in told["text"]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.db?timeout=1&timeout=2",
        "sqlite:///x.db?detect_types=99999999999999999999",
        "sqlite+aiosqlite:///x.db?detect_types=99999999999999999999",
        "sqlite:///file:%00?uri=true",
        "sqlite:///file://[x?uri=true",
        "sqlite:///a%00b",
        "sqlite:///loop",
        "sqlite:///gone",
    ],
)
def test_an_odd_url_is_an_error_of_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Whatever Python itself makes of a URL's options and path, it can be printed, with a hint."""
    monkeypatch.chdir(tmp_path)
    make_database(tmp_path / "x.db")
    (tmp_path / "loop").symlink_to("loop")
    if url.endswith("gone"):
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
    with pytest.raises((UnsupportedDatabaseError, StorageError)) as caught:
        BackupManager.from_url(url).create()
    assert caught.value.hint


def test_a_name_with_a_nul_in_it_keeps_nothing_from_being_restored(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Python cannot send that name to SQLite: what is wrong is said, and a restore goes over it."""
    live = make_database(tmp_path / "app.db")
    manager = BackupManager(make_engine(live), catalog=False)
    info = manager.create()
    execute(
        live,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET name = 'o' || char(0) || 'd' WHERE name = 'child'",
    )
    with pytest.raises(UnsupportedDatabaseError, match="does not understand the schema"):
        manager.create()
    manager.restore(info)
    assert manager.compare(info).identical

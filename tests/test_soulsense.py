"""SoulSense moves in: its own module becomes three lines, and its tests find what they look for."""

from __future__ import annotations

import importlib
import os
import pickle
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from helpers import digest, execute, make_database, scalar

import soulsense_db
from soulsense_db import BackupError, BackupInfo, db_backup
from soulsense_db.errors import OptionError

# What the page "Moving SoulSense over" shows for app/db_backup.py.
MODULE = """\
from soulsense_db.db_backup import *
from app.config import DB_PATH
from app.exceptions import DatabaseError
"""
CONFIG = """\
import os
BASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DB_PATH = os.path.join(BASE_DIR, "db", "soulsense.db")
"""
EXCEPTIONS = """\
class SoulSenseError(Exception):
    def __init__(self, message, original_exception=None):
        super().__init__(message)
        self.original_exception = original_exception

class DatabaseError(SoulSenseError):
    pass
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a SoulSense checkout that can be imported, with a database; run from elsewhere."""
    root = tmp_path / "SoulSense"
    files = {
        "__init__": "",
        "config": CONFIG,
        "exceptions": EXCEPTIONS,
        "db_backup": MODULE,
    }
    (root / "app").mkdir(parents=True)
    for name, text in files.items():
        (root / "app" / f"{name}.py").write_text(text)
    (root / "db").mkdir()
    make_database(root / "db" / "soulsense.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("SOULSENSE_DATABASE_URL", raising=False)
    monkeypatch.syspath_prepend(str(root))
    _forget_app()
    yield root
    _forget_app()


def _forget_app() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


@pytest.fixture
def app(checkout: Path) -> Any:
    """Return SoulSense's own module."""
    return importlib.import_module("app.db_backup")


@pytest.fixture
def moved(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set other places on SoulSense's module, as its own tests do; return the database."""
    database = tmp_path / "test_db.db"
    execute(database, "CREATE TABLE test (id INTEGER PRIMARY KEY, name TEXT)")
    execute(database, "INSERT INTO test (name) VALUES ('test_value')")
    (tmp_path / "backups").mkdir()
    monkeypatch.setattr("app.db_backup.DB_PATH", str(database))
    monkeypatch.setattr("app.db_backup.BACKUP_DIR", str(tmp_path / "backups"))
    return database


def test_three_lines_reach_soulsense_s_own_database(app: Any, checkout: Path) -> None:
    """The database is that of its configuration, wherever the program was started."""
    info = app.create_backup("Before major update")
    assert isinstance(info, app.BackupInfo)
    assert Path(info.path).parent == checkout / "db" / "backups"
    assert app.get_backup_dir() == str(checkout / "db" / "backups")
    before = digest(checkout / "db" / "soulsense.db")
    execute(checkout / "db" / "soulsense.db", "DELETE FROM child")
    assert app.restore_backup(info.path) is True
    assert digest(checkout / "db" / "soulsense.db") == before
    assert [found.path for found in app.list_backups()] == [info.path]
    assert app.delete_backup(info.path) is True
    assert app.list_backups() == []


def test_errors_are_soulsense_s_own(app: Any, checkout: Path) -> None:
    """`except app.exceptions.DatabaseError` catches what the functions raise; ours is the cause."""
    exceptions = importlib.import_module("app.exceptions")
    (checkout / "db" / "soulsense.db").unlink()
    for call in (
        app.create_backup,
        lambda: app.restore_backup("/nonexistent/backup.db"),
        lambda: app.delete_backup("/nonexistent/backup.db"),
    ):
        with pytest.raises(exceptions.SoulSenseError, match="not found") as caught:
            call()
        assert type(caught.value) is exceptions.DatabaseError
        assert isinstance(caught.value.__cause__, BackupError)
        assert str(caught.value) == str(caught.value.__cause__)


def test_places_set_on_the_module_are_obeyed(app: Any, moved: Path, checkout: Path) -> None:
    """A test that moves the database reads, writes and restores there, and not the real one."""
    real = digest(checkout / "db" / "soulsense.db")
    info = app.create_backup("test backup")
    assert Path(info.path).parent == moved.parent / "backups"
    assert app.get_backup_dir() == str(moved.parent / "backups")
    execute(moved, "INSERT INTO test (name) VALUES ('modified')")
    assert app.restore_backup(info.path) is True
    assert scalar(moved, "SELECT count(*) FROM test") == 1
    assert digest(checkout / "db" / "soulsense.db") == real
    assert not (checkout / "db" / "backups").exists()


def test_a_database_that_is_set_and_missing_is_an_error(
    app: Any, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other database is taken in its place, and nothing is made."""
    monkeypatch.setattr("app.db_backup.DB_PATH", "/nonexistent/path/db.db")
    with pytest.raises(app.DatabaseError, match="not found"):
        app.create_backup()
    assert list((moved.parent / "backups").iterdir()) == []


def test_what_was_set_is_put_back(app: Any, checkout: Path, tmp_path: Path) -> None:
    """When a test is over, the functions work on the real database again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.db_backup.DB_PATH", str(make_database(tmp_path / "other.db")))
        patch.setattr("app.db_backup.get_backup_dir", lambda: tmp_path / "there")
        assert Path(app.create_backup().path).parent == tmp_path / "there"
    assert Path(app.create_backup().path).parent == checkout / "db" / "backups"


def test_places_can_be_set_on_our_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    """`soulsense_db.db_backup` obeys its own names, a `Path` as well, and forgets them again."""
    database = make_database(tmp_path / "here.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db_backup, "DB_PATH", database)
        assert Path(db_backup.create_backup().path).parent == tmp_path / "backups"
        patch.setattr(db_backup, "BACKUP_DIR", tmp_path / "there")
        assert db_backup.get_backup_dir() == str(tmp_path / "there")
        assert db_backup.list_backups() == []
    monkeypatch.setenv("SOULSENSE_DATABASE_URL", f"sqlite:///{make_database(tmp_path / 'env.db')}")
    assert Path(db_backup.create_backup().path).parent == tmp_path / "backups"
    assert str(tmp_path / "env.db") == db_backup.DB_PATH


def test_the_default_places_can_be_imported(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`DB_PATH` and `BACKUP_DIR` are texts, absolute, of the database that the functions use."""
    from soulsense_db.db_backup import BACKUP_DIR, DB_PATH

    assert str(tmp_path / "elsewhere" / "data" / "soulsense.db") == DB_PATH
    assert str(tmp_path / "elsewhere" / "data" / "backups") == BACKUP_DIR
    engine = sa.create_engine(f"sqlite:///{make_database(tmp_path / 'engine.db')}")
    try:
        db_backup.configure(engine, tmp_path / "kept")
        assert str(tmp_path / "engine.db") == db_backup.DB_PATH
        assert str(tmp_path / "kept") == db_backup.BACKUP_DIR
        assert Path(db_backup.create_backup().path).parent == tmp_path / "kept"
        monkeypatch.setattr(db_backup, "BACKUP_DIR", str(tmp_path / "moved"))
        assert Path(db_backup.create_backup().path).parent == tmp_path / "moved"
    finally:
        db_backup.configure(None)
        engine.dispose()
    monkeypatch.setenv("SOULSENSE_DATABASE_URL", "postgresql://host/name")
    assert db_backup.DB_PATH == ""  # importing it is no error; using it is
    with pytest.raises(BackupError):
        db_backup.create_backup()


def test_two_modules_that_disagree_are_an_error(
    app: Any, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know which database is meant, so none is touched."""
    other = ModuleType("other_program")
    monkeypatch.setitem(sys.modules, "other_program", other)
    exec("from soulsense_db.db_backup import *", vars(other))  # noqa: S102
    vars(other)["DB_PATH"] = str(make_database(tmp_path / "other.db"))
    with pytest.raises(app.DatabaseError, match=r"DB_PATH is .*other\.db") as caught:
        app.create_backup()
    assert isinstance(caught.value.__cause__, OptionError)
    assert list((moved.parent / "backups").iterdir()) == []


def test_names_of_a_module_that_takes_single_functions_are_its_own(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that imports a function and has a `DB_PATH` for itself changes nothing."""
    window = ModuleType("window_of_app")
    monkeypatch.setitem(sys.modules, "window_of_app", window)
    exec("from app.db_backup import create_backup", vars(window))  # noqa: S102
    vars(window)["DB_PATH"] = str(tmp_path / "never.db")
    info = vars(window)["create_backup"]()
    assert Path(info.path).parent == moved.parent / "backups"


def test_a_backup_info_can_be_made_by_hand() -> None:
    """With exactly the attributes of the guide it shows size and time as the guide does."""
    when = datetime(2026, 1, 15, 10, 30)
    for size, shown in ((500, "500 B"), (2048, "2.0 KB"), (2 * 1024 * 1024, "2.0 MB")):
        info = BackupInfo(path="/test.db", filename="test.db", timestamp=when, size_bytes=size)
        assert info.size_display == shown
        assert info.timestamp_display == "2026-01-15 10:30:00"
        assert (info.filename, info.timestamp, info.description) == ("test.db", when, "")
    described = BackupInfo(
        path="/test.db", filename="test.db", timestamp=when, size_bytes=1, description="Mine"
    )
    assert described.description == "Mine"
    assert described.id
    assert pickle.loads(pickle.dumps(described)) == described  # noqa: S301 - our own
    assert replace(described, path="/b/c.db").filename == "c.db"
    assert db_backup.BackupInfo is soulsense_db.BackupInfo is BackupInfo


def test_a_time_by_hand_may_have_a_zone() -> None:
    """It is the same moment then, shown in local time; without any time there is no info."""
    zone = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 1, 15, 10, 30, tzinfo=zone)
    info = BackupInfo(path="/a.db", filename="a.db", timestamp=moment, size_bytes=1)
    assert info.created_at == moment
    assert info.created_at.tzinfo is UTC
    assert info.timestamp.tzinfo is None
    with pytest.raises(TypeError, match="timestamp"):
        BackupInfo(path="/a.db", filename="a.db", size_bytes=1)


def test_names_keep_the_letters_as_typed(app: Any, moved: Path) -> None:
    """Spaces become `_`, what no file system takes becomes `_`, and letters keep their case."""
    assert app.create_backup("Before major update").filename.endswith("_Before_major_update.db")
    odd = app.create_backup("Test<>:*?|backup").filename
    assert odd.endswith("_Test_backup.db")


def test_a_name_in_another_case_is_taken(app: Any, moved: Path) -> None:
    """Where a file system takes two spellings for one name, neither backup replaces the other."""
    names = [app.create_backup(text).filename for text in ("Weekly", "WEEKLY", "weekly", "Straße")]
    assert len({name.casefold() for name in names}) == 4
    assert len(app.list_backups()) == 4


def test_errors_say_what_soulsense_s_said(app: Any, moved: Path) -> None:
    """Invalid, outside the directory, not found: each in its words, and nothing is changed."""
    before = digest(moved)
    backups = moved.parent / "backups"
    for name in ("invalid.db", "soulsense_backup_20260101_000000.db", "notes.txt", ".hidden"):
        (backups / name).write_text("not a sqlite database")
        with pytest.raises(app.DatabaseError, match="Invalid backup file"):
            app.restore_backup(str(backups / name))
        assert (backups / name).exists()
    (backups / "empty.db").touch()
    with pytest.raises(app.DatabaseError, match="Invalid backup file"):
        app.restore_backup(backups / "empty.db")
    outside = moved.parent / "outside.db"
    outside.write_text("test")
    for call in (app.restore_backup, app.delete_backup):
        with pytest.raises(app.DatabaseError, match="outside backup directory"):
            call(str(outside))
        with pytest.raises(app.DatabaseError, match="outside backup directory"):
            call(str(moved))
        with pytest.raises(app.DatabaseError, match="not found"):
            call("/nonexistent/backup.db")
    assert outside.exists()
    assert digest(moved) == before


def test_a_database_without_a_backup_s_name_is_no_backup(app: Any, moved: Path) -> None:
    """It is whole, and perhaps another program's: it is named, and left alone."""
    path = moved.parent / "backups" / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    for call in (app.restore_backup, app.delete_backup):
        with pytest.raises(app.DatabaseError, match="is not named like a backup"):
            call(str(path))
    assert path.exists()


def test_a_hard_link_to_the_live_database_is_never_read(app: Any, moved: Path) -> None:
    """Whatever its name is: opening it would cancel the locks of this process."""
    link = moved.parent / "backups" / "link.db"
    os.link(moved, link)
    with pytest.raises(app.DatabaseError, match="is the live database"):
        app.restore_backup(str(link))


@pytest.mark.parametrize("value", ["", None])
@pytest.mark.parametrize("name", ["DB_PATH", "BACKUP_DIR"])
def test_a_place_that_is_none_is_an_error(
    app: Any, moved: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    """An empty setting never means another database, nor another directory."""
    monkeypatch.setattr(app, name, value)
    with pytest.raises(app.DatabaseError, match=f"{name} is {value!r}, which is not a path"):
        app.create_backup()


def test_a_function_for_the_directory_may_ask_ours(
    app: Any, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may add to what ours returns; where it contradicts `BACKUP_DIR`, that is an error."""
    monkeypatch.delattr(app, "BACKUP_DIR")
    ours = app.get_backup_dir
    monkeypatch.setattr(app, "get_backup_dir", lambda: f"{ours()}/mine")
    assert Path(app.create_backup().path).parent == moved.parent / "backups" / "mine"
    monkeypatch.setattr(db_backup, "BACKUP_DIR", str(moved.parent / "theirs"))
    monkeypatch.setattr(app, "get_backup_dir", lambda: str(moved.parent / "mine"))
    with pytest.raises(app.DatabaseError, match=r"get_backup_dir\(\) returns .*mine"):
        app.create_backup()


def test_an_engine_of_another_database_is_refused(app: Any, moved: Path, tmp_path: Path) -> None:
    """Where `DB_PATH` is set already, `configure` takes no engine that contradicts it."""
    other = sa.create_engine(f"sqlite:///{make_database(tmp_path / 'other.db')}")
    same = sa.create_engine(f"sqlite:///{moved}")
    try:
        with pytest.raises(app.DatabaseError, match=r"DB_PATH is .*test_db\.db"):
            app.configure(other)
        assert app.configure(same).database == moved
        assert Path(app.create_backup().path).parent == moved.parent / "backups"
    finally:
        app.configure(None)
        other.dispose()
        same.dispose()


def test_settings_outlast_a_reload(app: Any, moved: Path) -> None:
    """A module that is loaded anew, as interactive tools do, works on the same database."""
    importlib.reload(db_backup)
    assert Path(app.create_backup().path).parent == moved.parent / "backups"
    assert app.list_backups()[0].database_path == str(moved)


def test_a_module_that_is_registered_late_has_its_say(tmp_path: Path) -> None:
    """A loader may put a module into `sys.modules` after it has run it, or never."""
    plugin = ModuleType("plugin_of_a_program")
    exec("from soulsense_db.db_backup import *", vars(plugin))  # noqa: S102
    vars(plugin)["DB_PATH"] = str(make_database(tmp_path / "app.db"))
    create = vars(plugin)["create_backup"]
    try:
        assert create("before").database_path == str(tmp_path / "app.db")
        sys.modules["plugin_of_a_program"] = plugin
        assert create("after").database_path == str(tmp_path / "app.db")
    finally:
        sys.modules.pop("plugin_of_a_program", None)
        vars(plugin).clear()


def test_an_error_class_that_takes_no_message_hides_nothing(
    app: Any, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the program's own error cannot be made, ours goes on."""

    class OddError(Exception):
        def __init__(self, code: int, reason: str) -> None:
            super().__init__(code, reason)

    monkeypatch.setattr(app, "DatabaseError", OddError)
    with pytest.raises(BackupError, match="not found"):
        app.restore_backup("/nonexistent/backup.db")


def test_an_error_class_can_be_set_on_our_module(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a module that took everything from it."""

    class OwnError(Exception):
        pass

    monkeypatch.setattr(db_backup, "DatabaseError", OwnError)
    with pytest.raises(OwnError, match="not found"):
        db_backup.create_backup()


def test_a_module_with_functions_of_its_own_is_obeyed(app: Any, moved: Path) -> None:
    """One that wraps ours sets the places all the same."""
    wrapped = app.create_backup
    app.create_backup = lambda text="": wrapped(f"Mine: {text}")
    app.get_backup_dir = lambda: str(moved.parent / "backups")
    assert Path(app.create_backup("x").path).parent == moved.parent / "backups"
    assert [info.description for info in app.list_backups()] == ["Mine: x"]

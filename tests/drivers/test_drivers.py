"""Which driver is the one for an engine or a URL; what each promises is in test_driver_suite.py."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import PROGRAMS, add_child, make_database

from soulsense_db import BackupManager
from soulsense_db.drivers import Driver, SQLiteDriver, driver_for, engine_for, registry
from soulsense_db.errors import (
    DatabaseFileNotFoundError,
    MissingExtraError,
    StorageError,
    UnsupportedDatabaseError,
)


def test_a_missing_database_is_an_error_and_stays_missing(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """A database that is not there is never made by looking at it, not by the first look either."""
    driver = driver_for(make_engine(tmp_path / "live.db"), lock_timeout=1)
    work: list[Callable[[], object]] = [
        driver.require_database,
        driver.size,
        lambda: driver.alembic_heads("alembic_version"),
        lambda: driver.snapshot(tmp_path / "target"),
        lambda: driver.transaction(lambda _: None, lock_timeout=1),
    ]
    for call in work:
        with pytest.raises(DatabaseFileNotFoundError, match="Database file not found"):
            call()
    driver.return_idle_connections()
    assert os.listdir(tmp_path) == []


class _OnAServer(SQLiteDriver):
    """What a driver has that says nothing of files."""

    companions = Driver.companions
    longest_path = Driver.longest_path
    size_now = Driver.size_now
    write_stamp = Driver.write_stamp


def test_a_driver_need_not_say_what_only_files_have(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Without companions, limits of a path and times of files the defaults suit a server."""
    driver = _OnAServer(make_engine(make_database(tmp_path / "app.db")), lock_timeout=1)
    assert driver.companions.endings == ()
    assert driver.can_open(tmp_path / ("long" * 1000))
    assert not SQLiteDriver(driver.engine, lock_timeout=1).can_open(tmp_path / ("long" * 1000))
    assert driver.size_now() == driver.size()
    before = driver.write_stamp()
    add_child(tmp_path / "app.db")
    assert driver.write_stamp() == before


def test_an_unknown_dialect_names_the_known_ones(make_engine: EngineMaker) -> None:
    """Whoever uses another database learns at once which are supported."""
    engine = make_engine("sqlite://")
    engine.dialect.name = "oracle"
    with pytest.raises(UnsupportedDatabaseError) as caught:
        driver_for(engine, lock_timeout=1)
    assert "oracle" in caught.value.message
    assert "sqlite" in caught.value.hint


def test_what_is_no_engine_is_a_type_error() -> None:
    """A URL in place of an engine is a programmer's mistake and is named as one."""
    with pytest.raises(TypeError, match="must be an Engine"):
        driver_for("sqlite://", lock_timeout=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["{}", "sqlite:///{}", "sqlite+aiosqlite:///{}"])
def test_a_manager_is_made_from_a_path_or_url(tmp_path: Path, style: str) -> None:
    """The command line takes a file's path, odd characters and all, or a database URL."""
    path = tmp_path / ("a b.db" if "://" in style else "a#b?c%41.db")
    path.touch()
    manager = BackupManager.from_url(style.format(path), tmp_path / "backups")
    assert manager.database == path
    assert manager.live.alembic_heads() == ()
    assert engine_for(str(path)).url.database == str(path)


@pytest.mark.parametrize(
    "url", ["://", "sqlite://host/path", "oracle://u:secret@h/d", "1:/x://y", "sqlite+nosuch:x://"]
)
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    """A URL that leads nowhere is an error of the tree, and no password is repeated."""
    with pytest.raises(UnsupportedDatabaseError) as caught:
        engine_for(url)
    assert "secret" not in str(caught.value)


def test_the_short_name_of_postgresql_is_corrected() -> None:
    """Hosting services write ``postgres://``, which SQLAlchemy does not know."""
    with pytest.raises(UnsupportedDatabaseError) as caught:
        engine_for("postgres://app@db/shop")
    assert caught.value.hint.startswith("Write postgresql:// instead of postgres://.")


def test_two_slashes_before_a_path_are_named() -> None:
    """The commonest slip in a SQLite URL is answered with the URL as it should be."""
    with pytest.raises(UnsupportedDatabaseError, match="two slashes") as caught:
        engine_for("sqlite://app.db")
    assert "sqlite:///app.db" in caught.value.hint


def test_a_package_brings_a_driver_by_an_entry_point(tmp_path: Path) -> None:
    """A dialect that another package knows is used; what is no driver is an error of the tree."""
    shutil.copy(PROGRAMS / "toy_driver.py", tmp_path / "toy.py")
    (tmp_path / "toy-1.dist-info").mkdir()
    (tmp_path / "toy-1.dist-info" / "METADATA").write_text("Name: toy\nVersion: 1\n")
    (tmp_path / "toy-1.dist-info" / "entry_points.txt").write_text(
        "[soulsense_db.drivers]\ntoy = toy:ToyDriver\nnone = toy:NoDriver\nbroken = toy:Nothing\n"
    )
    done = subprocess.run(
        [sys.executable, PROGRAMS / "name_drivers.py", "toy", "none", "broken", "unknown"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    toy, none, broken, unknown = done.stdout.splitlines()
    assert toy == "ToyDriver"
    assert (
        "toy:NoDriver, the driver for dialect 'none', is not a soulsense_db.drivers.Driver" in none
    )
    assert "The driver toy:Nothing for dialect 'broken' cannot be loaded" in broken
    assert "Supported: broken, mariadb, mysql, none, postgresql, sqlite, toy." in unknown


def test_packages_are_looked_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A refusal of the system is an error of the tree and is not kept; what was found is."""
    looks = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), entry_points(group="none")]

    def look(**_: Any) -> Any:
        found = looks.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(registry, "entry_points", look)
    monkeypatch.syspath_prepend(tmp_path)  # packages may be elsewhere now: they are looked at anew
    with pytest.raises(StorageError, match="Too many open files"):
        engine_for("sqlite://")
    assert engine_for("sqlite://").dialect.name == "sqlite"
    assert engine_for("sqlite://").dialect.name == "sqlite"


@pytest.mark.parametrize(
    ("url", "missing", "taken"),
    [
        ("postgresql+psycopg2://shop", ["psycopg2"], "psycopg"),
        ("postgresql+psycopg2://shop", [], "psycopg2"),
        ("postgresql+psycopg://shop", ["psycopg", "psycopg2"], ""),
        ("mariadb+mysqldb://shop", ["MySQLdb"], "pymysql"),
        ("mysql+pymysql://shop", ["pymysql", "MySQLdb", "mysql.connector"], ""),
    ],
)
def test_a_command_takes_the_library_that_is_there(
    monkeypatch: pytest.MonkeyPatch, url: str, missing: list[str], taken: str
) -> None:
    """The URL may be the application's, of another environment; with none, the extra is named."""
    for one in missing:
        monkeypatch.setitem(sys.modules, one, None)
    if taken:
        assert engine_for(url).dialect.driver == taken
        return
    with pytest.raises(MissingExtraError) as caught:
        engine_for(url)
    extra = "postgresql" if "postgresql" in url else "mariadb"
    assert f'pip install "soulsense-db[{extra}]"' in caught.value.hint

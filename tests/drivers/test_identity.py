"""What is written is what was backed up: the file is looked at on the connection that writes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import add_child, digest, execute, make_database
from sqlalchemy.ext.asyncio import create_async_engine

from soulsense_db import BackupInfo, BackupManager
from soulsense_db.errors import DatabaseChangedError

Way = Callable[[BackupManager, BackupInfo], object]
WAYS: list[Way] = [
    lambda manager, _: manager.create("after"),
    lambda manager, info: manager.restore(info),
    lambda manager, _: manager.undo_restore(),
    lambda manager, info: manager.compare(info),
    lambda manager, _: manager.catalog.rebuild(),
]
NAMES = ["create", "restore", "undo", "compare", "rebuild"]


def two(folder: Path) -> tuple[Path, Path]:
    """Make two databases with other rows, and a link to the first."""
    made = []
    for name in "ab":
        (folder / name).mkdir()
        made.append(make_database(folder / name / "app.db"))
    add_child(made[1], "only in b")
    (folder / "current").symlink_to("a")
    return made[0], made[1]


def used(manager: BackupManager) -> BackupInfo:
    """Return a backup, after a restore that can be undone."""
    info = manager.create("before")
    manager.restore(info)
    return info


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
@pytest.mark.parametrize("style", ["plain", "uri", "async"])
def test_a_switched_link(tmp_path: Path, make_engine: EngineMaker, style: str, way: Way) -> None:
    """A deployment that switches the link ends in an error that names both; both stay."""
    first, second = two(tmp_path)
    path = tmp_path / "current" / "app.db"
    urls = {"plain": f"sqlite:///{path}", "uri": f"sqlite:///file:{path}?uri=true"}
    engine = (
        create_async_engine(f"sqlite+aiosqlite:///{path}")
        if style == "async"
        else make_engine(urls[style])
    )
    manager = BackupManager(engine, tmp_path / "backups")
    info = used(manager)
    before = digest(first), digest(second)
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("b")
    with pytest.raises(DatabaseChangedError) as caught:
        way(manager, info)
    assert str(first) in caught.value.message
    assert str(second) in caught.value.message
    assert (digest(first), digest(second)) == before
    assert len(manager.list()) == 1
    if style == "async":
        asyncio.run(engine.dispose())  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_a_changed_current_directory(
    tmp_path: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    """SQLite resolves a relative URI anew for each connection."""
    first, second = two(tmp_path)
    monkeypatch.chdir(first.parent)
    manager = BackupManager(make_engine("sqlite:///file:app.db?uri=true"), tmp_path / "backups")
    info = used(manager)
    before = digest(first), digest(second)
    monkeypatch.chdir(second.parent)
    with pytest.raises(DatabaseChangedError, match="was created for"):
        way(manager, info)
    assert (digest(first), digest(second)) == before


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_a_replaced_file(tmp_path: Path, make_engine: EngineMaker, way: Way) -> None:
    """A file of the same name is another database when somebody renamed it there."""
    first, second = two(tmp_path)
    manager = BackupManager(make_engine(first), tmp_path / "backups")
    info = used(manager)
    before = digest(second)
    os.replace(second, first)
    with pytest.raises(DatabaseChangedError, match="replaced"):
        way(manager, info)
    assert digest(first) == before


def test_a_file_replaced_between_the_check_and_the_write(
    tmp_path: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right before the first page is written the file is looked at once more."""
    first, second = two(tmp_path)
    manager = BackupManager(make_engine(first), tmp_path / "backups")
    info = manager.create()
    kept = tmp_path / "kept.db"
    driver = manager._repository.driver
    load = driver.load

    def replace_then_load(*arguments: object, **options: object) -> None:
        with suppress(FileNotFoundError):
            first.rename(kept)
            shutil.copy(second, first)
        load(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "load", replace_then_load)
    before = digest(first), digest(second)
    with pytest.raises(DatabaseChangedError):
        manager.restore(info)
    assert (digest(kept), digest(first)) == before


def test_a_database_that_is_missing_is_not_restored_elsewhere(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """With the link switched as well, the engine would not use what was restored."""
    first, second = two(tmp_path)
    engine = make_engine(tmp_path / "current" / "app.db")
    manager = BackupManager(engine, tmp_path / "backups")
    info = manager.create()
    before = digest(second)
    first.unlink()
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("b")
    with pytest.raises(DatabaseChangedError):
        manager.restore(info)
    assert not first.exists()
    assert digest(second) == before


def test_a_manager_made_before_its_file(tmp_path: Path, make_engine: EngineMaker) -> None:
    """The first file that is there under the name is the one that the manager is for."""
    path = tmp_path / "app.db"
    manager = BackupManager(make_engine(path))
    make_database(path)
    info = manager.create()
    path.unlink()
    manager.restore(info)  # a new file, made by the manager itself
    assert digest(path)
    manager.create()


def test_another_manager_works_with_the_new_file(tmp_path: Path, make_engine: EngineMaker) -> None:
    """The hint is right: a manager made after the switch is for the other database."""
    first, second = two(tmp_path)
    path = tmp_path / "current" / "app.db"
    BackupManager(make_engine(path), tmp_path / "backups").create()
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("b")
    manager = BackupManager(make_engine(path), tmp_path / "backups")
    info = manager.create()
    execute(second, "DELETE FROM child")
    manager.restore(info)
    assert manager.database == second
    assert digest(first) != digest(second)


def test_a_relative_path_is_the_one_the_engine_was_made_with(
    tmp_path: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager may be made in another directory than the engine was."""
    first, second = two(tmp_path)
    monkeypatch.chdir(first.parent)
    engine = make_engine("sqlite:///app.db")
    monkeypatch.chdir(second.parent)
    manager = BackupManager(engine, tmp_path / "backups")
    assert manager.database == first
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM child")).scalar()

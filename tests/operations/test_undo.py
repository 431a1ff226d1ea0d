"""Undoing a restore: what it goes back to is said; what a person put in its place is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import Project
from helpers import PROGRAMS, digest, execute, leftovers, make_database, scalar
from shell import Shell

from soulsense_db import BackupManager
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import NothingToUndoError
from soulsense_db.fs import durable
from soulsense_db.sidecars.safety_backup import SafetyFiles

COMPANIONS = SQLiteDriver.companions.endings


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database."""
    return make_database(tmp_path / "app.db")


@pytest.fixture
def manager(database: Path) -> Iterator[BackupManager]:
    """Return a manager of it."""
    engine = sa.create_engine(f"sqlite:///{database}", poolclass=sa.NullPool)
    yield BackupManager(engine)
    engine.dispose()


# What it says


@pytest.mark.slow
def test_an_undo_says_what_it_goes_back_to(shell: Shell) -> None:
    """The date of the safety backup, and how many rows that came after it are replaced."""
    shell.ok("create")
    shell.ok("restore", "latest", "--yes")
    execute(shell.database, *(f"INSERT INTO parent VALUES ({n}, 'new', 0)" for n in range(50, 80)))
    said = shell.ok("undo", "--yes")
    assert "This goes back to the database as of" in said
    assert "before the last restore" in said
    assert "30 row(s) are removed" in said
    assert scalar(shell.database, "SELECT count(*) FROM parent") == 10
    said = shell.ok("undo", "--yes")  # the restore again
    assert "30 row(s) come back. The new safety backup contains the database as it is now" in said
    assert "removed" not in said
    assert scalar(shell.database, "SELECT count(*) FROM parent") == 40


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--yes",), ("--yes", "--json"), ()])
def test_a_migration_that_failed_since_is_not_what_it_undoes(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """After restore, work, and a failed migration, an undo says that it goes further back."""
    project = Project(tmp_path / "project", "env.py").standard()
    shell = Shell(project.folder)
    url = ("--url", str(project.database))
    shell.run("create", *url)
    assert shell.run("restore", "latest", "--yes", *url).returncode == 0
    execute(project.database, "INSERT INTO entry (text) VALUES ('a year of work')")
    assert project.run("upgrade", "head").returncode != 0
    told = shell.run("undo", *arguments, *url)
    if "--json" not in arguments:
        assert "1 row(s) are removed" in told.stdout
    assert "a migration failed and was put back on" in told.stderr
    assert "not the migration" in told.stderr
    rows = scalar(project.database, "SELECT count(*) FROM entry")
    assert rows == (3 if arguments else 4)  # without --yes, and nobody to ask, nothing is done
    again = shell.run("undo", "--yes", *url)
    if arguments:  # the safety backup is younger than the failed migration now
        assert "a migration failed" not in again.stderr


# What stands in its place


def _text(path: Path) -> None:
    path.write_text("my own notes")


def _copy(path: Path) -> None:
    shutil.copy(path.with_name("app.db"), path)


def _old_copy(path: Path) -> None:
    shutil.copy(path.with_name("app.db"), path)
    os.utime(path, (1_000_000_000, 1_000_000_000))


def _directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "notes").write_text("my own notes")


def _link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.with_name("nowhere"))


_MADE = [_text, _copy, _old_copy, _directory, _link]


def _what_is(path: Path) -> object:
    if path.is_symlink():
        return path.readlink()
    return sorted(p.name for p in path.iterdir()) if path.is_dir() else path.read_bytes()


def _kept(database: Path, what: object) -> bool:
    """Whether something with that content has a dated name now."""
    found = database.parent.glob("app.db.*_*.2*")
    return any(_what_is(path) == what for path in found)


@pytest.mark.parametrize("make", _MADE)
@pytest.mark.parametrize("name", ["safety_backup", "safety_backup.previous"])
@pytest.mark.parametrize("first", [False, True])
def test_what_a_person_put_there_is_set_aside(
    manager: BackupManager, database: Path, make: object, name: str, first: bool
) -> None:
    """It is no restore's to delete, whatever it is, also in place of one that a restore made."""
    assert callable(make)
    info = manager.create()
    if not first:
        manager.restore(info)
    path = database.with_name(f"app.db.{name}")
    make(path)
    what = _what_is(path)
    execute(database, "INSERT INTO parent VALUES (77, 'new', 0)")
    before = digest(database)
    for _ in range(2):
        report = manager.restore(info)
        execute(database, "INSERT INTO parent VALUES (77, 'new', 0)")
    assert _kept(database, what), os.listdir(database.parent)
    assert not leftovers(database.parent)
    assert report.moved_aside == ()  # it was the first of the two restores that met it
    manager.restore(info)
    manager.undo_restore()
    assert digest(database) == before


def test_what_was_set_aside_is_reported(manager: BackupManager, database: Path) -> None:
    """The report names where it is now."""
    info = manager.create()
    _directory(database.with_name("app.db.safety_backup"))
    [moved] = manager.restore(info).moved_aside
    assert (moved / "notes").read_text() == "my own notes"


def test_a_safety_backup_of_ours_is_replaced(manager: BackupManager, database: Path) -> None:
    """Restores leave no row of old safety backups behind, also when their times were changed."""
    info = manager.create()
    manager.restore(info)
    for path in database.parent.glob("app.db.safety_backup*"):
        os.utime(path)  # as a copy to another machine may do
    for _ in range(3):
        manager.restore(info)
    assert len(list(database.parent.glob("app.db.safety_backup*"))) == 2


def test_a_log_goes_with_its_safety_backup(manager: BackupManager, database: Path) -> None:
    """SQLite replays it into no other data: the new one is clean, the old one keeps its rows."""
    info = manager.create()
    manager.restore(info)
    path = database.with_name("app.db.safety_backup")
    subprocess.run([sys.executable, PROGRAMS / "die_with_a_log.py", path], check=False)
    assert Path(f"{path}-wal").stat().st_size
    execute(database, "UPDATE parent SET name = 'newer'")
    before = digest(database)
    report = manager.restore(info)
    assert not [ending for ending in COMPANIONS if Path(f"{path}{ending}").exists()]
    assert digest(path) == before
    (kept,) = report.moved_aside
    assert Path(f"{kept}-wal").exists()
    assert scalar(kept, "SELECT DISTINCT name FROM parent") == "of the old one"
    manager.undo_restore()
    assert digest(database) == before


def test_a_log_that_stands_alone_is_set_aside(manager: BackupManager, database: Path) -> None:
    """No safety backup is put beside a log that is there already; the report names it."""
    info = manager.create()
    path = database.with_name("app.db.safety_backup")
    for ending in COMPANIONS:
        Path(f"{path}{ending}").write_bytes(b"of another")
        Path(f"{path}.previous{ending}").write_bytes(b"of another")
    report = manager.restore(info)
    beside = [p.name for p in database.parent.glob("app.db.safety_backup*") if p not in {path}]
    assert {name[-4:] for name in beside} == {"meta", "-wal", "-shm", "rnal"}
    assert not [ending for ending in COMPANIONS if Path(f"{path}{ending}").exists()]
    assert {moved.read_bytes() for moved in report.moved_aside} == {b"of another"}
    assert len(report.moved_aside) == 2 * len(COMPANIONS)


class _Kill(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("placed", [True, False])
def test_a_kill_leaves_no_data_beside_the_log_of_another(
    database: Path, monkeypatch: pytest.MonkeyPatch, steps: int, placed: bool
) -> None:
    """Wherever it comes while a safety backup gives its place and gets it back; nothing is lost."""
    path = database.with_name("app.db.safety_backup")

    def put(data: str) -> None:
        for ending in ("", *COMPANIONS):
            Path(f"{path}{ending}").write_text(data)

    def counted(work: Callable[..., None]) -> Callable[..., None]:
        def step(*paths: Path) -> None:
            nonlocal steps
            steps -= 1
            if steps < 0:
                raise _Kill
            work(*paths)
            _require_not_mixed(path.parent)

        return step

    put("old")
    with monkeypatch.context() as patch, suppress(_Kill):
        patch.setattr(durable, "move_durably", counted(durable.move_durably))
        patch.setattr(durable, "remove", counted(durable.remove))
        safety = SafetyFiles(database, companions=SQLiteDriver.companions)
        safety.make_room()
        if placed:
            put("new")
        safety.withdraw(placed=placed)
    _require_not_mixed(path.parent)
    safety = SafetyFiles(database, companions=SQLiteDriver.companions)
    safety.recover()
    safety.make_room()
    _require_not_mixed(path.parent)
    assert not path.exists()
    old = [p for p in path.parent.glob(f"{path.name}*") if p.read_text() == "old"]
    assert {p.name[-4:] for p in old} >= {"-wal", "-shm", "rnal"}
    assert len(old) == 1 + len(COMPANIONS)


def _require_not_mixed(folder: Path) -> None:
    for data in folder.glob("app.db.safety_backup*"):
        for ending in COMPANIONS:
            beside = Path(f"{data}{ending}")
            if beside.exists():
                assert beside.read_text() == data.read_text(), data


@pytest.mark.parametrize("make", [_directory, _link])
def test_there_is_nothing_to_undo_in_what_is_no_file(
    manager: BackupManager, database: Path, make: object
) -> None:
    """A directory in the place of the safety backup is none; nothing is changed."""
    assert callable(make)
    make(database.with_name("app.db.safety_backup"))
    assert manager.safety_backup() is None
    with pytest.raises(NothingToUndoError):
        manager.undo_restore()


@pytest.mark.slow
@pytest.mark.parametrize("make", [_text, _directory, _link])
@pytest.mark.parametrize("name", ["app.db.failed_migration", ".app.db.failed_migration.partial"])
def test_it_is_not_in_the_way_of_a_put_back(tmp_path: Path, make: object, name: str) -> None:
    """What stands where a failed migration is kept does not keep the database from going back."""
    assert callable(make)
    project = Project(tmp_path / "project", "env.py").standard()
    before = digest_of(project)
    path = project.folder / name
    make(path)
    what = _what_is(path)
    assert project.run("upgrade", "head").returncode != 0
    assert digest_of(project) == before
    assert not project.marker.exists()
    assert project.run("upgrade", "head").returncode != 0
    if not name.startswith(".") or make is not _text:  # a partial file is what a kill leaves
        assert _kept(project.database, what), os.listdir(project.folder)


def digest_of(project: Project) -> str:
    """Return a digest of the project's database."""
    from alembic_project import digest as of_project

    return of_project(project.database)

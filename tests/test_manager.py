"""BackupManager: create, list, get, delete, verify, import, export."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import (
    Child,
    add_child,
    balanced,
    digest,
    leftovers,
    make_database,
    scalar,
    snapshot_of,
)

from soulsense_db import BackupManager
from soulsense_db.backup_info.meta_format import from_meta, to_meta
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    InvalidDescriptionError,
    OutsideDirectoryError,
    WrongDatabaseError,
)


@pytest.mark.usefixtures("no_umask")
def test_create_makes_file_meta_and_row(manager: BackupManager, database: Path) -> None:
    """A backup is a private file with all rows, a private meta file, and a row."""
    started = datetime.now(UTC)
    info = manager.create("Weekly backup")
    path = Path(info.path)
    assert path.parent == manager.directory == database.parent / "backups"
    assert digest(path) == digest(database)
    read = from_meta(Path(info.meta_path).read_bytes(), path, size_bytes=0, found_at=started)
    assert read == info
    assert scalar(database, "SELECT description FROM backups") == "Weekly backup"
    assert scalar(database, "SELECT filename FROM backups") == info.filename
    assert (info.kind, info.dialect, info.database) == ("manual", "sqlite", "app.db")
    assert started <= info.created_at <= datetime.now(UTC)
    assert info.size_bytes == path.stat().st_size
    for made in (path, Path(info.meta_path)):
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(manager.directory.stat().st_mode) == 0o700
    assert leftovers(manager.directory) == []


DESCRIPTIONS = {
    "10,000 characters": "long " * 2000,
    "slashes": "////",
    "backslashes": "..\\..\\x",
    "newlines": "\n\r\n\n",
    "NUL": "a\0b",
    "right-to-left": "\u202e\u200fgnp.exe\u2066",
    "emoji": "👨‍👩‍👧 exam 😀",
    "dots": "../../../etc/passwd",
    "percent": "100%s {x} %(y)s",
    "quotes": 'it\'s "quoted"; DROP TABLE child; --',
}


@pytest.mark.parametrize("description", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_any_description_is_kept_whole(
    manager: BackupManager, database: Path, description: str
) -> None:
    """Whatever is typed comes back as typed, from list, row and an export, and harms no name."""
    info = manager.create(description)
    assert [found.description for found in manager.list()] == [description]
    assert Path(info.path).parent == manager.directory
    with closing(sqlite3.connect(database)) as connection:
        (row,) = connection.execute("SELECT CAST(description AS BLOB) FROM backups").fetchall()
    assert row[0].decode() == description
    assert manager.verify(info).checksum


@pytest.mark.parametrize("description", ["broken \ud800", "x" * 100_001])
def test_descriptions_no_meta_file_can_hold_are_refused_first(
    manager: BackupManager, description: str
) -> None:
    """A lone surrogate and an endless text are refused before anything is made."""
    with pytest.raises(InvalidDescriptionError):
        manager.create(description)
    assert not manager.directory.exists()


def test_an_unknown_kind_is_refused(manager: BackupManager) -> None:
    """A misspelt kind is a programmer's error and makes nothing."""
    with pytest.raises(ValueError, match="kind must be one of manual"):
        manager.create(kind="monthly")  # type: ignore[arg-type]
    assert not manager.directory.exists()


def test_get_takes_every_kind_of_reference(manager: BackupManager) -> None:
    """An info, an id, a file name, a path as text or Path, and "latest" all name a backup."""
    old, new = manager.create("old"), manager.create("new")
    for ref in (old, old.id, old.filename, old.path, Path(old.path)):
        assert manager.get(ref) == old
    assert manager.get("latest") == new
    assert [info.id for info in manager.list()] == [new.id, old.id]


@pytest.mark.parametrize("ref", ["nothing", "000000000000", "a\0b", "~nobody", "x" * 300])
def test_an_unknown_reference_is_an_error_of_the_tree(manager: BackupManager, ref: str) -> None:
    """A reference to nothing never comes out as an error of Python's."""
    manager.create()
    for call in (manager.get, manager.verify, manager.restore, manager.delete):
        with pytest.raises(BackupError):
            call(ref)
    with pytest.raises(BackupNotFoundError, match="Backup file not found"):
        manager.get("soulsense_backup_gone.db")


@pytest.mark.parametrize("ref", ["", ".", "..", "../app.db", "{outside}", "backups/../.."])
def test_references_outside_are_refused(
    manager: BackupManager, database: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restoring, verifying and deleting never reach outside; the error says what to do."""
    monkeypatch.chdir(manager.create().path and manager.directory)
    # A file of the test's own: should it ever fail, it deletes nobody else's.
    ref = ref.format(outside=make_database(database.with_name("other.db")))
    before = snapshot_of(manager.directory.parent)
    for call in (manager.get, manager.verify, manager.restore, manager.delete):
        with pytest.raises((OutsideDirectoryError, BackupNotFoundError)):
            call(ref)
    after = snapshot_of(manager.directory.parent)
    assert {k: v for k, v in after.items() if k != ".app.db.lock"} == before


def test_latest_without_backups_says_so(manager: BackupManager) -> None:
    """Asking for the latest of none is "Backup file not found", with what to do."""
    with pytest.raises(BackupNotFoundError) as caught:
        manager.get("latest")
    assert "Create one" in caught.value.hint


def test_delete_removes_file_meta_and_row(manager: BackupManager, database: Path) -> None:
    """A deleted backup is gone from directory and table; the others stay."""
    keep, go = manager.create("keep"), manager.create("go")
    manager.delete(go)
    assert manager.list() == [keep]
    assert scalar(database, "SELECT group_concat(id) FROM backups") == keep.id
    assert not Path(go.meta_path).exists()
    with pytest.raises(BackupNotFoundError):
        manager.delete(go)


@pytest.mark.parametrize("level", ["quick", "full"])
def test_verify_writes_only_that_it_passed(manager: BackupManager, level: Any) -> None:
    """Verifying changes no byte, no time and no name in the backup directory but in the meta.

    A full check also notes, the first time, how many rows refer to rows that do not exist.
    """
    info = manager.create()
    before = snapshot_of(manager.directory)
    report = manager.verify(info, level=level)
    assert (report.backup, report.level, report.checksum) == (info, level, True)
    assert report.recorded
    after = snapshot_of(manager.directory)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {Path(info.meta_path).name}
    verified = manager.get(info)
    assert info.verified_at is not None
    assert verified.verified_at is not None
    assert verified.verified_at > info.verified_at
    assert verified.broken_references == (0 if level == "full" else None)
    unverified = replace(verified, verified_at=info.verified_at, broken_references=None)
    assert unverified == info


def test_verify_knows_three_levels(manager: BackupManager) -> None:
    """A level that does not exist is never taken for a weaker check."""
    info = manager.create()
    with pytest.raises(ValueError, match="'quick', 'full' or 'drill'"):
        manager.verify(info, level="thorough")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are for level='drill'"):
        manager.verify(info, checks=["SELECT 1"])


def test_a_backup_without_meta_is_verified_without_checksum(manager: BackupManager) -> None:
    """A backup whose meta file is lost is still listed and checked; the report says how far."""
    info = manager.create()
    Path(info.meta_path).unlink()
    (found,) = manager.list()
    assert found.sha256 is None
    assert not manager.verify(found).checksum


def test_two_databases_in_one_directory(
    manager: BackupManager, database: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Each sees its own backups only, and refuses to restore the other's."""
    other = make_database(tmp_path / "other.db", rows=5)
    theirs = BackupManager(make_engine(other), manager.directory)
    foreign = theirs.create("theirs")
    with pytest.raises(BackupNotFoundError, match="1 of other databases"):
        manager.get("latest")
    mine = manager.create("mine")
    assert manager.list() == [mine]
    assert theirs.list() == [foreign]
    assert theirs.get("latest") == foreign
    assert scalar(database, "SELECT group_concat(id) FROM backups") == mine.id
    before = digest(database)
    with pytest.raises(WrongDatabaseError, match=r"other\.db") as caught:
        manager.restore(foreign)
    assert "import it" in caught.value.hint
    assert digest(database) == before
    unknown = replace(foreign, database=None)
    Path(foreign.meta_path).write_bytes(to_meta(unknown))
    assert {info.id for info in manager.list()} == {mine.id, foreign.id}


def test_two_processes_may_create_at_once(manager: BackupManager, database: Path) -> None:
    """Every backup that a process was promised is there, whole, under a name of its own."""
    with Child("create_five.py", database) as one, Child("create_five.py", database) as two:
        one.expect("ready")
        two.expect("ready")
        for child in (one, two):
            assert child.process.stdin is not None
            child.process.stdin.write("go\n")
            child.process.stdin.flush()
        ids = one.finish().split() + two.finish().split()
    assert len(set(ids)) == 10
    assert {info.id for info in manager.list()} == set(ids)
    for info in manager.list():
        manager.verify(info)
    assert leftovers(manager.directory) == []


def test_many_threads_may_create_at_once(manager: BackupManager, database: Path) -> None:
    """Threads of one process, with one manager, all get their backups while rows are added."""
    made: list[str] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            made.extend(manager.create("same").id for _ in range(3))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(made)) == 24
    found = manager.list()
    assert {info.id for info in found} == set(made)
    assert all(balanced(Path(info.path)) for info in found)


def test_progress_covers_the_whole_copy(manager: BackupManager) -> None:
    """A dialog sees bytes done grow to the total."""
    calls: list[tuple[int, int]] = []
    info = manager.create(progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (info.size_bytes, info.size_bytes)


def test_a_backup_does_not_see_rows_added_later(manager: BackupManager, database: Path) -> None:
    """A backup is of one moment."""
    before = digest(database)
    info = manager.create()
    add_child(database)
    assert digest(Path(info.path)) == before

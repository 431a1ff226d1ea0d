"""No file that SQLite may have open in this process is opened and closed by us."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers import Child, add_child, digest, make_database, scalar

from soulsense_db import BackupInfo, BackupManager, reading
from soulsense_db.copying import sha256_of
from soulsense_db.errors import BackupError, NotADatabaseError, StorageError

Way = Callable[[BackupManager, BackupInfo, Path], object]
WAYS: dict[str, Way] = {
    "verify": lambda manager, info, _: manager.verify(info),
    "verify quickly": lambda manager, info, _: manager.verify(info, level="quick"),
    "export": lambda manager, info, folder: manager.export(info, folder / "exported.db"),
    "import": lambda manager, info, _: manager.import_file(info.path),
    "restore": lambda manager, info, _: manager.restore(info),
    "compare": lambda manager, info, _: manager.compare(info),
    "row counts": lambda manager, info, _: manager.row_counts(info),
    "prune": lambda manager, _, __: manager.prune(dry_run=True),
    "list": lambda manager, _, __: manager.list(),
}


@pytest.fixture(params=["child process", "frozen program"])
def each_way_to_read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read through another process, or in this one as a frozen program has to."""
    if request.param == "frozen program":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    return str(request.param)


def writes(path: Path) -> bool:
    """Whether another process can write to a database file just now."""
    script = """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            print("yes")
        except sqlite3.OperationalError:
            print("no")
    """
    with Child(script, path) as child:
        return child.line() == "yes"


@pytest.mark.usefixtures("each_way_to_read")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_backup_that_the_application_has_open_keeps_its_locks(
    manager: BackupManager, tmp_path: Path, way: Way
) -> None:
    """Somebody looks at a backup in a transaction while we work with it: nobody else gets in."""
    info = manager.create()
    with closing(sqlite3.connect(info.path, isolation_level=None)) as viewer:
        viewer.execute("BEGIN")
        viewer.execute("SELECT * FROM parent").fetchall()
        assert not writes(Path(info.path))
        way(manager, info, tmp_path)
        assert not writes(Path(info.path))


@pytest.mark.usefixtures("each_way_to_read")
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_an_imported_file_that_the_application_has_open(
    manager: BackupManager, tmp_path: Path, mode: str
) -> None:
    """Importing another database of the application takes none of its locks, nor its log."""
    other = make_database(tmp_path / "other.db", mode="wal" if mode == "wal" else "delete")
    with closing(sqlite3.connect(other, isolation_level=None)) as application:
        application.execute("INSERT INTO parent (name, total) VALUES ('before', 0)")
        application.execute("BEGIN")
        application.execute("SELECT * FROM parent").fetchall()
        manager.import_file(other)
        if mode == "delete":
            assert not writes(other)
        application.execute("COMMIT")
        add_child_from_elsewhere(other)
        assert Path(f"{other}-wal").exists() == (mode == "wal")
        application.execute("INSERT INTO parent (name, total) VALUES ('after', 0)")
    assert scalar(other, "SELECT count(*) FROM parent") == 12


def add_child_from_elsewhere(path: Path) -> None:
    """Have another process connect, commit and disconnect."""
    script = """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1])
        connection.execute("INSERT INTO child (parent_id, amount, body) VALUES (1, 0, 'other')")
        connection.commit()
        connection.close()
    """
    with Child(script, path) as child:
        child.finish()


@pytest.mark.usefixtures("each_way_to_read")
def test_a_second_name_of_the_live_database_is_not_imported(
    manager: BackupManager, database: Path, tmp_path: Path
) -> None:
    """A hard link is told by device and inode; it is not even read."""
    linked = tmp_path / "elsewhere.db"
    os.link(database, linked)
    with closing(sqlite3.connect(database, isolation_level=None)) as application:
        application.execute("BEGIN")
        application.execute("SELECT * FROM parent").fetchall()
        with pytest.raises(BackupError, match="live database itself"):
            manager.import_file(linked)
        assert not writes(database)
    assert manager.list() == []


def test_a_meta_file_that_is_a_second_name_of_the_live_database(
    manager: BackupManager, database: Path
) -> None:
    """Who may write to the directory cannot take the database's locks by a planted hard link."""
    info = manager.create()
    Path(info.meta_path).unlink()
    os.link(database, info.meta_path)
    with closing(sqlite3.connect(database, isolation_level=None)) as application:
        application.execute("BEGIN")
        application.execute("SELECT * FROM parent").fetchall()
        assert [found.of_unknown_origin for found in manager.list()] == [True]
        assert not writes(database)


@pytest.mark.usefixtures("each_way_to_read")
def test_what_is_read_is_what_is_there(database: Path, tmp_path: Path) -> None:
    """Checksum, copy and beginning are those of the file; progress ends with all of it."""
    calls: list[tuple[int, int]] = []
    size = database.stat().st_size
    progress = lambda done, total: calls.append((done, total))  # noqa: E731
    assert reading.sha256_of(database, progress=progress) == sha256_of(database)
    assert calls[-1] == (size, size)
    target = tmp_path / "copy.db"
    target.write_bytes(b"x" * 2 * size)
    reading.copy_contents(database, target)
    assert target.read_bytes() == database.read_bytes()
    assert reading.start_of(database) == database.read_bytes()[:100]
    empty = tmp_path / "empty"
    empty.touch()
    assert reading.start_of(empty) == b""
    assert reading.sha256_of(empty) == sha256_of(empty)


@pytest.mark.usefixtures("each_way_to_read")
def test_errors_are_of_the_tree(tmp_path: Path, manager: BackupManager, small_disk: Path) -> None:
    """A missing file, a pipe and a full disk are named, whichever process meets them."""
    with pytest.raises(StorageError, match="No such file"):
        reading.sha256_of(tmp_path / "absent.db")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        reading.start_of(tmp_path / "pipe")
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3 * 1024 * 1024)
    target = small_disk / "copy"
    target.touch()
    with pytest.raises(StorageError, match=r"Not enough space.*small_disk"):
        reading.copy_contents(big, target)
    with pytest.raises(NotADatabaseError):
        manager.import_file(big)


def test_a_frozen_program_leaves_no_descriptor_open(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had to stay open, because the file was in use, is closed by the next reading."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    info = manager.create()
    with closing(sqlite3.connect(info.path)) as viewer:
        viewer.execute("SELECT count(*) FROM parent").fetchall()
        manager.verify(info)
        assert descriptors_of(info.path) > 1
    reading.start_of(Path(info.meta_path))
    assert descriptors_of(info.path) == 0


def descriptors_of(path: str) -> int:
    """Return how often this process has a file open."""
    found = 0
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):
            found += os.path.samestat(os.fstat(int(name)), os.stat(path))
    return found


def test_a_program_that_embeds_python_does_not_start_itself(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``sys.executable`` may be a web server: it is not started as if it were Python."""
    info = manager.create()
    for executable in ("/usr/sbin/a-web-server", "", None, "/nowhere/python3"):
        monkeypatch.setattr(sys, "executable", executable)
        assert manager.verify(info).checksum


def test_reading_changes_nothing(manager: BackupManager, database: Path) -> None:
    """A round trip with another process that reads is a round trip."""
    before = digest(database)
    info = manager.create()
    add_child(database)
    manager.restore(info)
    assert digest(database) == before

"""No file that SQLite may have open in this process is opened and closed by us."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from textwrap import dedent

import pytest
from helpers import Child, add_child, digest, make_database, scalar

import soulsense_db
from soulsense_db import BackupInfo, BackupManager
from soulsense_db.errors import BackupError, NotADatabaseError, StorageError
from soulsense_db.fs import reading, reading_child
from soulsense_db.fs.copying import sha256_of_own

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
    with Child("try_to_write.py", path) as child:
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
    with Child("add_row.py", path) as child:
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
    assert reading.sha256_of(database, progress=progress) == sha256_of_own(database)
    assert calls[-1] == (size, size)
    target = tmp_path / "copy.db"
    target.write_bytes(b"x" * 2 * size)
    reading.copy_contents(database, target)
    assert target.read_bytes() == database.read_bytes()
    assert reading.start_of(database) == database.read_bytes()[:100]
    empty = tmp_path / "empty"
    empty.touch()
    assert reading.start_of(empty) == b""
    assert reading.sha256_of(empty) == sha256_of_own(empty)


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


NO_CHILD = {
    "python without its library": "echo 'Fatal Python error: init_fs_encoding' >&2; exit 1",
    "no python at all": "exit 0",
    "killed before the first report": "echo half; kill -9 $$",
}


@pytest.mark.parametrize("script", NO_CHILD.values(), ids=NO_CHILD)
def test_an_interpreter_that_cannot_run_is_no_disk_error(
    manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """The file is read in this process then, whole: one that cannot run tells nothing of it."""
    info = manager.create()
    impostor = tmp_path / "python3"
    impostor.write_text(f"#!/bin/sh\n{script}\n")
    impostor.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(impostor))
    assert manager.verify(info).checksum
    target = tmp_path / "copy.db"
    target.touch()
    reading.copy_contents(Path(info.path), target)
    assert target.read_bytes() == Path(info.path).read_bytes()
    os.utime(target)  # else its beginning is remembered
    assert reading.start_of(target) == target.read_bytes()[:100]


def test_a_reader_that_dies_half_way_is_an_error(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a checksum or half a copy is never taken for the whole."""
    impostor = tmp_path / "python3"
    impostor.write_text("#!/bin/sh\necho done 10 100 >&2; exit 0\n")
    impostor.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(impostor))
    with pytest.raises(StorageError, match=r"could not read .*app\.db"):
        reading.sha256_of(database)


def test_a_program_in_a_zip_file_reads(database: Path, tmp_path: Path) -> None:
    """From a zipapp, where no file is that another process could run, all checks work."""
    source = Path(soulsense_db.__file__).parent
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        for path in source.rglob("*.py"):
            archive.write(path, path.relative_to(source.parent))
        script = """
            import sys, sqlalchemy, soulsense_db
            assert ".pyz" in soulsense_db.__file__
            engine = sqlalchemy.create_engine(f"sqlite:///{sys.argv[1]}")
            manager = soulsense_db.BackupManager(engine)
            print(manager.verify(manager.create()).checksum)
        """
        archive.writestr("__main__.py", dedent(script))
    done = subprocess.run(
        [sys.executable, tmp_path / "app.pyz", database],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr


def test_a_copy_names_the_side_that_failed(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector of the source is not blamed on the target, nor a full disk on the source."""
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3 * 1024 * 1024)
    target = small_disk / "copy"
    target.touch()
    with pytest.raises(StorageError, match=r"could not copy to .*small_disk"):
        reading.copy_contents(big, target)
    child = tmp_path / "child.py"
    broken = "import errno, os\ndef refuse(*_): raise OSError(errno.EIO, '')\nos.read = refuse\n"
    child.write_text(Path(reading_child.__file__).read_text().replace("import os\n", broken, 1))
    monkeypatch.setattr(reading_child, "__file__", str(child))
    with pytest.raises(StorageError, match=r"could not read .*big"):
        reading.copy_contents(big, target)


def test_a_beginning_may_be_forgotten_at_any_moment(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may push out what is remembered of a file while it is looked up."""

    class Forgetful(dict[reading.FileVersion, bytes]):
        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            self.clear()  # the other thread
            return found

    starts = Forgetful({reading.version_of(database): b"known"})
    monkeypatch.setattr(reading, "_starts", starts)
    assert reading.start_of(database) == b"known"


def kept_open(path: str) -> int:
    """Return the descriptor of a file that stays open because somebody looks at it."""
    with closing(sqlite3.connect(path)) as viewer:
        viewer.execute("SELECT count(*) FROM parent").fetchall()
        before = set(reading._done_with)
        reading.sha256_of(Path(path))
        (descriptor,) = set(reading._done_with) - before
    return descriptor


@pytest.mark.parametrize("taken", [False, True], ids=["closed", "closed and taken"])
def test_descriptors_that_somebody_closed_are_left_alone(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """After ``os.closerange`` reading goes on, and a number that is another file's stays open."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    descriptor = kept_open(str(database))
    os.close(descriptor)
    (tmp_path / "stranger").touch()
    if taken:
        stranger = os.open(tmp_path / "stranger", os.O_RDONLY)
        os.dup2(stranger, descriptor)
    assert reading.sha256_of(database) == sha256_of_own(database)
    if taken:
        assert os.path.samestat(os.fstat(descriptor), (tmp_path / "stranger").stat())
        os.close(stranger)
        os.close(descriptor)
    assert descriptors_of(str(database)) == 0


def test_without_a_list_of_descriptors_none_is_closed(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``/proc`` nobody can tell what else leads to the file: it stays open, no error."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    listdir = os.listdir

    def without_proc(path: str) -> list[str]:
        if path == "/dev/fd":
            raise FileNotFoundError(2, "No such file or directory", path)
        return listdir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", without_proc)
        assert reading.sha256_of(database) == sha256_of_own(database)
    assert descriptors_of(str(database)) == 1
    reading.sha256_of(database)
    assert descriptors_of(str(database)) == 0


def test_reading_changes_nothing(manager: BackupManager, database: Path) -> None:
    """A round trip with another process that reads is a round trip."""
    before = digest(database)
    info = manager.create()
    add_child(database)
    manager.restore(info)
    assert digest(database) == before

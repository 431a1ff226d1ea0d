"""What somebody else puts in the place of our files and directories is not followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import NOBODY, Child, add_child, make_database, run_as, snapshot_of, within
from shell import Shell
from test_directory import TAKEN_AT, put, storage_in

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.drivers import driver_for
from soulsense_db.errors import PermissionDeniedError, StorageError
from soulsense_db.fs import durable
from soulsense_db.scheduled import run_auto

needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="takes root to have two users"
)

# Files of ours


@pytest.fixture
def storage(tmp_path: Path) -> BackupDirectory:
    """Return the storage of a directory that is there."""
    (tmp_path / "backups").mkdir()
    return storage_in(tmp_path / "backups")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a database outside that must stay as it is."""
    return make_database(tmp_path / "victim.db")


def test_a_link_that_waits_for_the_staging_file(storage: BackupDirectory, victim: Path) -> None:
    """A link under the name of the next staging file is cleared away or passed by, not followed."""
    before = victim.read_bytes()
    guessed = put(storage).filename
    storage.delete(storage.list()[0])
    (storage.directory / f".{guessed}.staging").symlink_to(victim)
    info = put(storage)
    assert not Path(info.path).is_symlink()
    assert Path(info.path).read_bytes() == b"data"
    assert victim.read_bytes() == before


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _hard_link(path: Path, victim: Path) -> None:
    os.link(victim, path)


def _copy(path: Path, victim: Path) -> None:
    shutil.copy(victim, path)


def _directory(path: Path, _victim: Path) -> None:
    path.mkdir()


def _nothing(_path: Path, _victim: Path) -> None:
    pass


Swap = Callable[[Path, Path], None]


@pytest.mark.parametrize("swap", [_link, _hard_link, _copy, _directory, _nothing])
def test_what_is_swapped_for_the_staging_file_is_not_published(
    storage: BackupDirectory, victim: Path, swap: Swap
) -> None:
    """Only the very file that was made and written gets the name of a backup."""
    before = victim.read_bytes()
    info = put(storage)
    names = sorted(os.listdir(storage.directory))
    with storage.stage(TAKEN_AT, "") as staging:
        # Kept open: its number is not given to what comes in its place.
        with staging.path.open("rb"), pytest.raises(StorageError):
            staging.path.unlink()
            swap(staging.path, victim)
            storage.publish(staging, replace(info, path=str(staging.final)))
        if swap is _directory:
            staging.path.rmdir()
    assert [found.id for found in storage.list()] == [info.id]
    assert victim.read_bytes() == before
    assert sorted(os.listdir(storage.directory)) == names


@pytest.mark.parametrize("swap", [_link, _directory])
def test_a_driver_writes_through_no_link(
    database: Path, make_engine: EngineMaker, victim: Path, tmp_path: Path, swap: Swap
) -> None:
    """What a driver is given to write to must still be a file; it opens nothing else."""
    before = victim.read_bytes()
    driver = driver_for(make_engine(database), lock_timeout=1)
    target = tmp_path / "target"
    swap(target, victim)
    for write in (driver.snapshot, lambda to: driver.copy_file(database, to)):
        with pytest.raises(StorageError, match="another program replaced it"):
            write(target)
    assert victim.read_bytes() == before


# Swaps a file for a link in the very moment in which SQLite is about to open it.


@pytest.mark.parametrize(
    ("call", "ending"),
    [
        ("create", ".staging"),
        ("import", ".staging"),
        ("restore", ".safety_backup.partial"),
        ("rebuild", ".restoring"),
    ],
)
def test_a_link_in_the_moment_of_opening(tmp_path: Path, call: str, ending: str) -> None:
    """SQLite opens by name: a link that comes between the look and the opening is noticed.

    Nothing is written to where it leads, and nothing is published or changed.
    """
    for name in ("app.db", "victim.db", "outside.db"):
        make_database(tmp_path / name)
    add_child(tmp_path / "victim.db")
    victim = (tmp_path / "victim.db").read_bytes()
    with Child("swap_at_connect.py", tmp_path, call, ending) as child:
        answer = child.finish()
    assert answer.startswith("StorageError 1 "), answer
    assert (tmp_path / "victim.db").read_bytes() == victim
    assert sorted(os.listdir(tmp_path)) == sorted(
        {"app.db", "victim.db", "outside.db", "backups", "stolen"}
        | ({".app.db.lock"} if call in {"restore", "rebuild"} else set())
    )
    assert len(list((tmp_path / "backups").glob("*.db"))) == 1


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "directory"])
def test_a_lock_file_is_a_file(
    storage: BackupDirectory, victim: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A link, pipe or directory under a lock's name is passed by at once, and leads nowhere.

    Some versions of filelock would empty what a hard link leads to. It costs nobody a backup.
    """
    before = victim.read_bytes()
    path = storage.directory / ".soulsense_backup.lock"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "hard link":
        os.link(victim, path)
    else:
        path.symlink_to(victim if kind == "link" else storage.directory.parent / "made")
    with within(10):
        put(storage)
        put(storage)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(f"{path} is not the file that was created there")
    assert (storage.directory / ".soulsense_backup.2.lock").exists()
    assert len(storage.list()) == 2
    assert victim.read_bytes() == before
    assert not (storage.directory.parent / "made").exists()


def test_an_export_goes_through_no_link(manager: BackupManager, victim: Path) -> None:
    """A link under the name of an export's partial file is removed, not written through."""
    before = victim.read_bytes()
    for name in (".out.db.partial", ".out.db.meta.partial"):
        victim.with_name(name).symlink_to(victim)
    path = manager.export(manager.create(), victim.with_name("out.db"))
    assert not path.is_symlink()
    assert victim.read_bytes() == before


def test_permissions_are_set_through_no_link(victim: Path) -> None:
    """The mode of a live database is given to its copy, never to where a link leads."""
    before = victim.stat().st_mode
    victim.with_name("link").symlink_to(victim)
    with pytest.raises(StorageError):
        durable.set_mode(victim.with_name("link"), 0o666)
    assert victim.stat().st_mode == before


# The directory


Use = Callable[[BackupManager, Path], object]

USES: dict[str, Use] = {
    "create": lambda manager, _: manager.create(),
    "list": lambda manager, _: manager.list(),
    "others": lambda manager, _: manager.others(),
    "orphans": lambda manager, _: manager.orphans(),
    "get": lambda manager, _: manager.get("latest"),
    "get by path": lambda manager, backup: manager.get(backup),
    "delete": lambda manager, backup: manager.delete(backup.name),
    "prune": lambda manager, _: manager.prune(RetentionPolicy(keep_last=1)),
    "pin": lambda manager, backup: manager.pin(backup.name),
    "restore": lambda manager, backup: manager.restore(backup.name),
    "compare": lambda manager, backup: manager.compare(backup.name),
    "row_counts": lambda manager, backup: manager.row_counts(backup.name),
    "verify": lambda manager, backup: manager.verify(backup.name),
    "export": lambda manager, backup: manager.export(backup.name, backup.with_name("out.db")),
    "import": lambda manager, backup: manager.import_file(backup),
    "rebuild_catalog": lambda manager, _: manager.catalog.rebuild(),
    "auto": lambda manager, _: run_auto(manager),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("place", ["directory", "parent"])
def test_a_link_in_the_directory_s_place_is_not_followed(
    tmp_path: Path, make_engine: EngineMaker, place: str, use: Use
) -> None:
    """A directory that becomes a link while it is in use, or one above it, ends every call.

    Nothing is written, deleted or handed out of where it leads, though there are backups.
    """
    database = make_database(tmp_path / "app.db")
    directory = tmp_path / "deep" / "backups"
    manager = BackupManager(make_engine(database), directory, lock_timeout=1)
    info = manager.create("one")
    manager.create("two")
    taken = directory if place == "directory" else directory.parent
    shutil.copytree(taken, tmp_path / "elsewhere")
    taken.rename(tmp_path / "moved")
    taken.symlink_to(tmp_path / "elsewhere")
    before = snapshot_of(tmp_path)
    with pytest.raises(StorageError, match="or a directory above it, was replaced with a link"):
        use(manager, Path(info.path))
    after = snapshot_of(tmp_path)
    after.pop(".app.db.lock", None)
    assert after == before


@pytest.mark.parametrize("use", [USES["create"], USES["list"], USES["auto"]])
def test_a_link_before_the_directory_is_made(
    tmp_path: Path, make_engine: EngineMaker, use: Use
) -> None:
    """A link that comes where a directory would have been made is not followed either."""
    database = make_database(tmp_path / "app.db")
    manager = BackupManager(make_engine(database))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="not followed"):
        use(manager, database)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_link_while_a_backup_is_written(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A directory that becomes a link during a copy: no backup is made, here or there."""
    database = make_database(tmp_path / "app.db")
    manager = BackupManager(make_engine(database))
    (tmp_path / "elsewhere").mkdir()

    def swap(done: int, total: int) -> None:
        if done == total and not (tmp_path / "moved").exists():
            manager.directory.rename(tmp_path / "moved")
            manager.directory.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageError):
        manager.create(progress=swap)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert list((tmp_path / "moved").glob("*.db")) == []
    manager.directory.unlink()
    (tmp_path / "moved").rename(manager.directory)
    assert [found.id for found in manager.list()] == [] != [manager.create().id]
    there = set(os.listdir(manager.directory)) - {".gitignore"}
    assert len(there) == 3, "the leavings are cleaned up"


def test_the_directory_of_a_database_in_memory(tmp_path: Path, make_engine: EngineMaker) -> None:
    """The safety backup of a database without a file is in the directory: no link there either."""
    engine = make_engine("sqlite://", poolclass=sa.pool.StaticPool)
    manager = BackupManager(engine, tmp_path / "backups", lock_timeout=1)
    manager.restore(manager.create())
    manager.directory.rename(tmp_path / "elsewhere")
    manager.directory.symlink_to(tmp_path / "elsewhere")
    before = snapshot_of(tmp_path / "elsewhere")
    for use in (manager.undo_restore, manager.safety_backup, manager.create):
        with pytest.raises(StorageError, match="not followed"):
            use()
    assert snapshot_of(tmp_path / "elsewhere") == before


def test_a_link_from_the_beginning_is_followed_once(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Who configures a link as the directory gets what it led to then, wherever it leads later."""
    database = make_database(tmp_path / "app.db")
    for name in ("disk", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    manager = BackupManager(make_engine(database))
    info = manager.create()
    (tmp_path / "backups").unlink()
    (tmp_path / "backups").symlink_to(tmp_path / "other")
    assert manager.get(info).id == info.id
    manager.restore(info)
    manager.create()
    assert os.listdir(tmp_path / "other") == []


@needs_root
@pytest.mark.parametrize(
    ("owner", "user", "refused"),
    [
        (0, 0, False),
        (0, NOBODY, False),
        (NOBODY, NOBODY, False),
        (NOBODY, 0, True),
        (1, NOBODY, True),
    ],
)
def test_a_link_of_another_user_is_not_followed(
    open_path: Path, owner: int, user: int, refused: bool
) -> None:
    """A directory that is a link may be root's or one's own; another user could move it."""
    make_database(open_path / "app.db")
    (open_path / "disk").mkdir()
    (open_path / "backups").symlink_to(open_path / "disk")
    for path in (open_path / "app.db", open_path / "disk", open_path):
        os.chown(path, user, user)
    os.chown(open_path / "backups", owner, owner, follow_symlinks=False)
    answer = run_as(user, "create", open_path / "app.db", open_path / "backups")
    assert answer["error"] == (PermissionDeniedError.__name__ if refused else None), answer
    assert bool(os.listdir(open_path / "disk")) is not refused
    if refused:
        assert f"uid {owner}" in answer["text"]
        assert str(open_path / "disk") in answer["text"], "what to name instead"


@needs_root
@pytest.mark.parametrize("foreign", ["", "disk", "app.db"])
def test_root_follows_the_link_of_the_database_s_owner(open_path: Path, foreign: str) -> None:
    """As root, an application's own link counts, where it leads to its own directory."""
    make_database(open_path / "app.db")
    (open_path / "disk").mkdir()
    (open_path / "backups").symlink_to(open_path / "disk")
    for name in ("app.db", "disk", "backups"):
        user = 1001 if name == foreign else 1000
        os.chown(open_path / name, user, user, follow_symlinks=False)
    url = f"sqlite:///{open_path / 'app.db'}"
    if foreign:
        with pytest.raises(PermissionDeniedError, match="uid 1000"):
            BackupManager.from_url(url, open_path / "backups")
    else:
        manager = BackupManager.from_url(url, open_path / "backups")
        assert Path(manager.create().path).parent == open_path / "disk"


@needs_root
def test_the_command_line_refuses_the_link_of_another(shell: Shell) -> None:
    """It is one line and a hint, with the exit code of a denied permission."""
    (shell.folder / "disk").mkdir()
    (shell.folder / "link").symlink_to("disk")
    os.chown(shell.folder / "link", NOBODY, NOBODY, follow_symlinks=False)
    text = shell.fails(PermissionDeniedError, "create", "--directory", "link")
    assert "is a link that belongs to another user" in text


def test_a_directory_that_is_no_path(tmp_path: Path) -> None:
    """A NUL in its name is an error of the tree."""
    with pytest.raises(StorageError, match="is not a valid path"):
        storage_in(tmp_path / "a\0b")


def test_a_directory_seen_from_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path without a current directory is an error of the tree."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(StorageError, match="current directory does not exist"):
        storage_in(Path("backups"))

"""Do one task as a user for whom permissions count; print what it found, or its error, as JSON.

    as_user.py USER TASK [ARGUMENT ...]

Where the tests do not run as root, the user is the one that runs them.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401 - imported while it can be read, as all that follows
import importlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from soulsense_db import BackupError, BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.fs import durable
from soulsense_db.fs.path_safety import why_not_obeyed
from soulsense_db.health import check_health
from soulsense_db.meta_file import trusted_meta
from soulsense_db.scheduled import run_auto
from soulsense_db.sidecars import Chain, new_marker, read_markers
from soulsense_db.sidecars.migration_marker import write_markers

Found = dict[str, Any]
TASKS: dict[str, Callable[..., Found | None]] = {}


def task(work: Callable[..., Found | None]) -> Callable[..., Found | None]:
    """Let ``work`` be started by its name."""
    TASKS[work.__name__] = work
    return work


def _new_database(folder: str) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{folder}/app.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
    return engine


# Files and directories


@task
def remove(path: str) -> None:
    """Remove a file."""
    durable.remove(Path(path))


@task
def read_the_marker(database: str) -> None:
    """Read the marker of a migration."""
    read_markers(Path(database))


@task
def ask_why_not_obeyed(path: str, sudo_uid: str) -> Found:
    """Tell why a configuration file is not obeyed."""
    os.environ["SUDO_UID"] = sudo_uid
    return {"reason": why_not_obeyed(Path(path))}


def _directory(path: str, prefix: str = "b") -> BackupDirectory:
    return BackupDirectory(
        Path(path),
        prefix=prefix,
        suffix=".db",
        companions=SQLiteDriver.companions,
        lock_timeout=1,
    )


@task
def stage(directory: str) -> None:
    """Stage a backup, and give it up."""
    place = _directory(directory)
    with place.stage(datetime.now(UTC), ""):
        pass


@task
def list_directory(directory: str) -> Found:
    """List a backup directory."""
    place = _directory(directory)
    return {"text": place.list()}


@task
def trust_the_meta_file(directory: str) -> None:
    """Read the facts of the only backup in a directory, which must be true."""
    place = _directory(directory, "soulsense_backup")
    (info,) = place.list()
    trusted_meta(info)


# A database and a backup directory of others


@task
def copy_file(source: str, target: str) -> None:
    """Copy a database as a driver does."""
    SQLiteDriver(sa.create_engine("sqlite://"), lock_timeout=1).copy_file(
        Path(source), Path(target)
    )


@task
def create(database: str, directory: str | None = None) -> None:
    """Make a backup."""
    BackupManager(sa.create_engine(f"sqlite:///{database}"), directory).create()


@task
def create_without_a_row(database: str, directory: str) -> None:
    """Make a backup without writing to the database."""
    BackupManager(sa.create_engine(f"sqlite:///{database}"), directory, catalog=False).create()


@task
def list_backups(database: str, directory: str) -> None:
    """List the backups."""
    BackupManager.from_url(database, directory).list()


@task
def restore_latest(database: str, directory: str) -> None:
    """Restore without a name."""
    BackupManager.from_url(database, directory, lock_timeout=1).restore("latest")


@task
def restore_the_first(database: str) -> None:
    """Restore the first that is listed."""
    manager = BackupManager(sa.create_engine(f"sqlite:///{database}"), catalog=False)
    manager.restore(manager.list()[0])


@task
def restore_file(database: str, backup: str) -> None:
    """Restore a file in a directory that others may write to."""
    manager = BackupManager(sa.create_engine(f"sqlite:///{database}"))
    manager.restore(backup, trust_directory=True)


@task
def ask_can_restore(database: str, directory: str) -> Found:
    """Tell what would keep a restore from being done, and what monitoring is told."""
    manager = BackupManager.from_url(database, directory, catalog=False)
    manager.create()
    return {
        "problems": [type(p).__name__ for p in manager.can_restore("latest").problems],
        "states": {check.name: check.state.name for check in check_health(manager).checks},
    }


@task
def create_unlisted(database: str) -> Found:
    """Make a backup in a directory that cannot be listed when its row is written."""
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine)

    def hide(*_: object) -> None:
        if list(manager.directory.glob("*.db")):
            manager.directory.chmod(0o300)

    sa.event.listen(engine, "connect", hide)
    manager.create("made")
    manager.directory.chmod(0o700)
    return {"listed": len(manager.list())}


@task
def restore_unlisted(database: str) -> Found:
    """Restore a backup by its path in a directory that cannot be listed."""
    manager = BackupManager(sa.create_engine(f"sqlite:///{database}"))
    info = manager.create()
    manager.directory.chmod(0o300)
    report = manager.restore(manager.directory / info.filename, trust_directory=True)
    manager.directory.chmod(0o700)
    return {"rebuilt": report.catalog_rebuilt, "listed": len(manager.list())}


# A database of one's own


@task
def create_and_prune(folder: str) -> Found:
    """Make a backup whose policy cannot be applied, for the directory is read-only just then."""
    logging.basicConfig(filename=Path(folder) / "log")
    manager = BackupManager(_new_database(folder), retention=RetentionPolicy(keep_last=1))
    manager.create()
    delete = BackupDirectory.delete

    def refused(self: BackupDirectory, info: BackupInfo) -> None:
        manager.directory.chmod(0o500)
        try:
            delete(self, info)
        finally:
            manager.directory.chmod(0o700)

    BackupDirectory.delete = refused  # type: ignore[method-assign]
    return {"made": manager.create().filename}


@task
def verify_read_only(folder: str) -> Found:
    """Verify a backup in a directory that cannot be written to."""
    manager = BackupManager(_new_database(folder))
    info = manager.create()
    manager.directory.chmod(0o500)
    report = manager.verify(info)
    manager.directory.chmod(0o700)
    return {"recorded": report.recorded}


@task
def back_up_and_restore(folder: str) -> Found:
    """Make backups, restore one, verify it."""
    engine = _new_database(folder)
    manager = BackupManager(engine, lock_timeout=2)
    info = manager.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    report = run_auto(manager)
    manager.restore(info, trust_directory=True)
    created = report is not None and report.created is not None
    return {"auto": created, "level": manager.verify(info).level}


@task
def auto_with_an_unreadable_one(folder: str) -> Found:
    """Do what a schedule does when the newest backup cannot be read."""
    manager = BackupManager(_new_database(folder))
    Path(manager.create().path).chmod(0)
    state = check_health(manager).state.name
    report = run_auto(manager)
    return {"state": state, "created": report is not None and report.created is not None}


@task
def make_everything(place: str, umask: str) -> Found:
    """Do all that makes files; tell the modes of those that are seen while it is done."""
    folder, database = Path(place), Path(place, "app.db")
    os.umask(int(umask))
    seen = {}

    def look(*_: object) -> None:
        for directory in (folder, folder / "deep" / "backups"):
            for path in directory.iterdir() if directory.exists() else ():
                seen[str(path.relative_to(folder))] = path.lstat().st_mode

    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine, folder / "deep" / "backups", lock_timeout=5)
    info = manager.create("one", progress=look)
    manager.pin(info)
    manager.import_file(folder / "outside.db", progress=look)
    manager.export(info, folder / "exported.db", progress=look)
    run_auto(manager)
    manager.restore(info, progress=look)
    with database.open("r+b") as live:
        live.write(b"damaged " * 1000)
    manager.restore(info, progress=look)
    rebuilt = database.stat().st_mode & 0o777
    marker = new_marker(backup=info.path, alembic_heads=(), target_heads=["2"], chain=Chain())
    write_markers(database, [marker])
    database.unlink()
    manager.restore(info)
    write_markers(database, [marker])
    gone = BackupManager.from_url(f"sqlite:///{folder}/gone/too/app.db", manager.directory)
    gone.restore(gone.import_file(info.path))
    memory = BackupManager.from_url("sqlite://", manager.directory, prefix="memory")
    memory.restore(memory.create(progress=look))
    return {"rebuilt": rebuilt, "seen": seen}


def main(user: str, name: str, *arguments: str) -> None:
    """Import what is imported late, become the user, and do the task."""
    importlib.import_module("_strptime")
    with tempfile.TemporaryDirectory() as warm:
        manager = BackupManager(_new_database(warm))
        manager.restore(manager.create())
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    try:
        result: Found = {"error": None, **(TASKS[name](*arguments) or {})}
    except BackupError as error:
        result = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps(result))


main(*sys.argv[1:])

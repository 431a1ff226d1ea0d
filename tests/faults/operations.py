"""The operations that are put under faults, each on a folder of its own.

A folder holds ``app.db`` with its backups and safety backup, an Alembic project, and what an
operation needs beside them. Everything here runs in a child process.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Unpack

import sqlalchemy as sa
import time_machine
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from helpers import Mode, add_child, make_database

from faults import engines, mirrored
from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.backup_info import FORMS
from soulsense_db.errors import BackupError, BackupNotFoundError, Outcome, StorageError
from soulsense_db.manager import ManagerOptions
from soulsense_db.operations import DifferentialPolicy, ScratchCopy, UpgradeReport

ROWS = 24
LOCK_TIMEOUT = 5.0
ENDINGS = tuple(f".db{form.ending}" for form in FORMS)
"""How the names of backups end."""
KEY = "key.txt"
"""The file of the private key, in a folder."""
_RECIPIENT = "age188qj5jm2wy5f4dugagvs5mtxyyh9vhcwtql5j3cz70c3n9p6gaeqhk3c6m"
_IDENTITY = (  # opens what the tests encrypt, and nothing else
    "AGE-SECRET-KEY-1N94KZ5NZMH8EV93UXY04TM5E6T2645G8AXEYHAPUJ4ZSAY9QJWPQFN4X4Z"
)
_FILLER_ROWS = 16
_LARGE = 1024 * 1024
ENV_PY = """
    import asyncio
    from pathlib import Path

    from alembic import context
    from faults import engines
    from soulsense_db.alembic import safe_migrations

    def migrate(connection):
        context.configure(connection=connection)
        with safe_migrations(context):
            context.run_migrations()

    async def migrate_async(engine):
        async with engine.connect() as connection:
            await connection.run_sync(migrate)

    database = Path(context.config.get_main_option("database"))
    timeout = float(context.config.get_main_option("timeout"))
    engine = engines.make(database, timeout=timeout)
    if engine.dialect.is_async:
        asyncio.run(migrate_async(engine))
    else:
        with engine.connect() as connection:
            migrate(connection)
"""
REVISION = """
    import sqlalchemy as sa
    from alembic import op

    class MigrationFailedError(Exception):
        pass

    revision = "{name}"
    down_revision = {after!r}

    def upgrade():
        {upgrade}
"""
REVISIONS = {
    "r1": "pass",
    "r2": "op.add_column('parent', sa.Column('mood', sa.String(20)))",
    "r3": "op.execute(\"UPDATE parent SET mood = 'calm', total = total + 1\")",
    "r4": "op.execute('DELETE FROM child'); raise MigrationFailedError('on purpose')",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """``run`` is put under faults in a folder that ``prepare`` made ready.

    ``run`` may return a word about what it did. ``done``: the error with which a second run says
    that there is nothing left to do.
    """

    run: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda _: None
    done: type[Exception] | None = None
    migrates: bool = False


def manager_of(folder: Path, **options: Unpack[ManagerOptions]) -> BackupManager:
    """Return a manager of ``app.db``, who can decrypt; its engine is the caller's to forget."""
    defaults = ManagerOptions(identities=folder / KEY, lock_timeout=LOCK_TIMEOUT)
    return BackupManager(engines.make(folder / "app.db"), **defaults | options)


def make_base(folder: Path, mode: Mode, filler: int) -> None:
    """Make what every operation starts from; the live rows are in none of the backups.

    ``filler``: bytes that each database has beside its rows.

    In WAL mode the last row is in the log alone, as after a process that died: end this process
    without closing anything.
    """
    live = make_database(folder / "app.db", mode=mode, rows=ROWS)
    _fill(live, filler)
    make_project(folder)
    manager = manager_of(folder)
    for name in ("first", "second", "third"):
        manager.create(name)
        add_child(live, f"after {name}")
    manager.restore("latest~1")  # so that there is a safety backup to lose
    connection = sqlite3.connect(live, isolation_level=None)
    connection.execute("INSERT INTO child (parent_id, amount, body) VALUES (1, 0, 'the last')")
    if mode == "wal":
        _left_open.append(connection)
    else:
        connection.close()


_left_open: list[sqlite3.Connection] = []


def _fill(path: Path, size: int) -> None:
    if size:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE filler (body TEXT)")
            # Few long rows: a digest of them takes no time.
            long = "x" * (size // _FILLER_ROWS)
            connection.executemany("INSERT INTO filler VALUES (?)", [(long,)] * _FILLER_ROWS)
            connection.commit()


def make_project(folder: Path) -> None:
    """Make an Alembic project, at its first revision."""
    scripts = folder / "migrations"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(dedent(ENV_PY))
    after = None
    for name, upgrade in REVISIONS.items():
        text = dedent(REVISION).format(name=name, after=after, upgrade=upgrade)
        (scripts / "versions" / f"{name}.py").write_text(text)
        after = name
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('r1')")
        connection.commit()


def upgrade(folder: Path, revision: str, *, timeout: float = 5) -> None:
    """Run ``alembic upgrade``; ``timeout``: seconds that its connection waits for a lock."""
    config = Config()
    config.set_main_option("script_location", str(folder / "migrations"))
    config.set_main_option("database", str(folder / "app.db"))
    config.set_main_option("timeout", str(timeout))
    command.upgrade(config, revision)


# What a fault makes of the steps of a migration, or of Alembic's own files.
ERRORS_OF_OTHERS = (sa.exc.SQLAlchemyError, sqlite3.Error, CommandError, OSError)


def _fail_to_upgrade(folder: Path) -> None:
    with suppress(BackupError, *ERRORS_OF_OTHERS):  # what counts is what is left
        try:
            upgrade(folder, "r4")
        except Exception as error:
            if type(error).__name__ != "MigrationFailedError":  # which is on purpose
                raise


def _create_and_prune(folder: Path) -> None:
    engine, policy = engines.make(folder / "app.db"), RetentionPolicy(keep_last=2)
    BackupManager(engine, retention=policy, lock_timeout=LOCK_TIMEOUT).create("new")


def _create_in_the_future(folder: Path) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(days=365)):
        manager_of(folder).create("made before the clock was set back")


def _create_compressed(folder: Path) -> None:
    manager_of(folder, compression="zstd").create("packed")


def _make_key(folder: Path) -> None:
    (folder / KEY).touch(0o600)
    (folder / KEY).write_text(f"{_IDENTITY}\n")


def _create_encrypted(folder: Path) -> None:
    manager_of(folder, compression="zstd", recipients=[_RECIPIENT]).create("packed")


def _make_base_of_differential(folder: Path) -> None:
    manager_of(folder, compression="zstd").create("base")
    add_child(folder / "app.db", "after base")


def _create_differential(folder: Path) -> None:
    policy = DifferentialPolicy(share=1)  # the database is small: that is no reason for a base
    manager_of(folder, differential=policy).create("packed")


def _drill(folder: Path) -> None:
    if not manager_of(folder).verify(_named(folder, "packed"), level="drill").recorded:
        # The log says which: it may be recorded, and not flushed.
        raise StorageError("The drill was passed and not recorded.", outcome=Outcome.UNSURE)


def _and_write(create: Callable[[Path], object], folder: Path) -> None:
    create(folder)
    add_child(folder / "app.db", "after packed")


def _create_encrypted_and_write(folder: Path) -> None:
    _make_key(folder)
    _and_write(_create_encrypted, folder)


def _create_differential_and_write(folder: Path) -> None:
    _make_base_of_differential(folder)
    _and_write(_create_differential, folder)


def _make_outside(folder: Path) -> None:
    outside = make_database(folder / "outside.db", rows=ROWS // 2)
    size = (folder / "app.db").stat().st_size
    if size >= _LARGE:  # then it is to be large as well
        _fill(outside, size)


def _damage(folder: Path) -> None:
    for companion in ("-wal", "-shm"):
        (folder / f"app.db{companion}").unlink(missing_ok=True)
    with (folder / "app.db").open("r+b") as stream:
        stream.write(os.urandom(8192))


def _upgrade_in_use(folder: Path) -> None:
    """Upgrade while somebody has the database open: then closing it is no checkpoint."""
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        connection.execute("SELECT count(*) FROM child").fetchone()
        upgrade(folder, "r3")


def _flush_less(folder: Path) -> None:
    env_py = folder / "migrations" / "env.py"
    begin = "    context.configure("
    pragma = (
        '    connection.exec_driver_sql("PRAGMA synchronous = NORMAL")\n    connection.commit()\n'
    )
    env_py.write_text(env_py.read_text().replace(begin, pragma + begin))


def _mirrored(folder: Path, keep_last: int = 0) -> BackupManager:
    return manager_of(folder, **mirrored.options_of(folder, keep_last))


def _sync(keep_last: int, folder: Path) -> str:
    return mirrored.sync(_mirrored(folder, keep_last))


def _owe_base_and_differential(folder: Path) -> None:
    mirrored.set_up(_mirrored(folder))
    _create_differential_and_write(folder)


def _owe_differential_full_and_pin(folder: Path) -> None:
    _make_base_of_differential(folder)
    mirrored.set_up(_mirrored(folder))
    _and_write(_create_differential, folder)
    look_up(folder)
    manager = manager_of(folder)
    manager.create("new")
    manager.pin(_named(folder, "first"), "a note")


def _lose_what_is_mirrored(folder: Path) -> None:
    _create_differential_and_write(folder)
    mirrored.set_up(_mirrored(folder))
    mirrored.lose_backups(folder)


def _lose_rows(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        connection.execute("DELETE FROM child WHERE id BETWEEN 3 AND 5")
        connection.execute("UPDATE child SET body = 'another' WHERE id = 6")
        connection.execute("DELETE FROM parent WHERE id = 2")
        connection.execute(
            "CREATE TRIGGER counted AFTER INSERT ON child BEGIN "
            "UPDATE parent SET total = total + new.amount WHERE id = new.parent_id; END"
        )
        connection.commit()


def _restore_rows(folder: Path) -> None:
    manager_of(folder).restore_rows(
        _named(folder, "first"), "child", "id BETWEEN 2 AND 6", replace=True, with_parents=True
    )


def _migrate_copy(copy: ScratchCopy, *_: object, **__: object) -> UpgradeReport:
    """Do to a copy what the first step does: here, where each call can be made to fail."""
    problem = ""
    try:
        with closing(sqlite3.connect(copy.path)) as connection:
            connection.execute("ALTER TABLE parent ADD COLUMN mood VARCHAR(20)")
            connection.execute("UPDATE alembic_version SET version_num = 'r2'")
            connection.commit()
    except sqlite3.Error as error:
        problem = f"Step r2 failed: {error}."
    return UpgradeReport(
        revision="r2",
        heads_before=("r1",),
        alembic_heads=("r2",),
        steps=("r2",),
        seconds=0,
        problem=problem,
    )


def _restore_upgraded(folder: Path) -> None:
    manager_of(folder).restore(_named(folder, "first"), upgrade=_migrate_copy)


def _rebuild_catalog(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        connection.execute("DELETE FROM backups")
        connection.commit()


OPERATIONS: dict[str, Operation] = {
    "create": Operation(lambda folder: manager_of(folder).create("new")),
    "create, old ones pruned": Operation(_create_and_prune),
    "create, clock set back": Operation(
        lambda folder: manager_of(folder).create("new"), _create_in_the_future
    ),
    "restore": Operation(lambda folder: manager_of(folder).restore(_named(folder, "first"))),
    "create, compressed": Operation(_create_compressed),
    "restore, compressed": Operation(
        lambda folder: manager_of(folder).restore(_named(folder, "packed")),
        partial(_and_write, _create_compressed),
    ),
    "create, encrypted": Operation(_create_encrypted, _make_key),
    "restore, encrypted": Operation(
        lambda folder: manager_of(folder).restore(_named(folder, "packed")),
        _create_encrypted_and_write,
    ),
    "create, differential": Operation(_create_differential, _make_base_of_differential),
    "restore, differential": Operation(
        lambda folder: manager_of(folder).restore(_named(folder, "packed")),
        _create_differential_and_write,
    ),
    "restore, live damaged": Operation(
        lambda folder: manager_of(folder).restore(_named(folder, "first")), _damage
    ),
    "restore, upgraded": Operation(_restore_upgraded),
    "restore rows": Operation(_restore_rows, _lose_rows),
    "undo": Operation(lambda folder: manager_of(folder).undo_restore()),
    "delete": Operation(
        lambda folder: manager_of(folder).delete(_named(folder, "second")), done=BackupNotFoundError
    ),
    "prune": Operation(lambda folder: manager_of(folder).prune(RetentionPolicy(keep_last=1))),
    "pin": Operation(lambda folder: manager_of(folder).pin(_named(folder, "first"), "a note")),
    "import": Operation(
        lambda folder: manager_of(folder).import_file(folder / "outside.db"), _make_outside
    ),
    "export": Operation(
        lambda folder: manager_of(folder).export("latest", folder / "exported.db"),
        done=StorageError,
    ),
    "rebuild catalog": Operation(
        lambda folder: manager_of(folder).catalog.rebuild(), _rebuild_catalog
    ),
    # Each removes the oldest one there that is not pinned.
    "mirror sync": Operation(partial(_sync, 4), _owe_base_and_differential),
    "mirror sync, base there": Operation(partial(_sync, 4), _owe_differential_full_and_pin),
    "mirror fetch": Operation(
        lambda folder: _mirrored(folder).mirrors.fetch("latest"), _lose_what_is_mirrored
    ),
    "upgrade": Operation(lambda folder: upgrade(folder, "r3"), migrates=True),
    "upgrade that fails": Operation(_fail_to_upgrade, migrates=True),
}

# What SQLite itself leaves to the next checkpoint: only a power cut tells, and only in WAL mode the
# database stays whole.
UNFLUSHED: dict[str, Operation] = {
    "upgrade, synchronous NORMAL": Operation(_upgrade_in_use, _flush_less, migrates=True),
}
# It changes nothing but a line of a meta file: it has no row in the tables of outcomes.
DRILLS: dict[str, Operation] = {
    "drill, encrypted": Operation(_drill, _create_encrypted_and_write),
}
EVERY = OPERATIONS | UNFLUSHED | DRILLS


# File names of the backups by description; filled before faults begin, as looking takes calls too.
_names: dict[str, str] = {}


def look_up(folder: Path) -> None:
    """Remember which backups there are, for the operations that name one."""
    names = os.listdir(folder / "backups") if (folder / "backups").exists() else []
    _names.clear()
    for name in names:
        if name.endswith(ENDINGS):
            # One that is encrypted does not show its description: it is called after its form.
            shown = name.partition(".")[0].split("_", 4)[4:]
            _names[shown[0] if shown else "packed"] = name


def _named(folder: Path, description: str) -> Path:
    return folder / "backups" / _names.get(description, f"{description}.db")


def prepare(name: str, mode: Mode, folder: Path, filler: int = 0) -> None:
    """Make ``folder`` ready for the operation ``name``; ``filler`` as for :func:`make_base`."""
    for place in (folder, mirrored.place_of(folder)):
        shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True)
    make_base(folder, mode, filler)
    EVERY[name].prepare(folder)

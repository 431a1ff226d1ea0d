"""Make a database of a backup, and put it in the place of the live one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soulsense_db.drivers.postgresql import archive, inventory
from soulsense_db.drivers.postgresql.contents import blamed_on
from soulsense_db.drivers.postgresql.databases import (
    NewDatabase,
    Swap,
    copy_properties,
    drop,
    execute,
    give_name,
    new_database,
    quoted,
)
from soulsense_db.drivers.postgresql.errors import (
    damaged_backup,
    live_errors,
    newer_server,
)
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.postgresql.write_lock import PostgreSQLWriteLock
from soulsense_db.drivers.results import WriteLock
from soulsense_db.notices import cleaning_up
from soulsense_db.progress import Progress

_RESTORE = ("--no-password", "--exit-on-error", "--single-transaction", "--no-subscriptions")


def fill(
    source: Path,
    made: NewDatabase,
    *,
    login: Login,
    tools: Tools,
    name: str,
    poll: Callable[[], object] = lambda: None,
) -> None:
    """Restore the backup file ``source`` to a new database, and count what came."""
    description = archive.require_whole(source, poll=poll)
    require_version(source, description, tools)
    with login.connected(made.name, name=name) as connection:
        for schema in set(inventory.schemas(connection)) - set(description.schemas):
            execute(connection, f"DROP SCHEMA {quoted(connection, schema)}")
    with blamed_on(source):
        tools.run(
            "pg_restore",
            *_RESTORE,
            f"--dbname={made.name}",
            str(source),
            environment=login.environment(made.name),
            poll=poll,
        )
    with login.connected(made.name, name=name) as connection:
        found = [one for one in inventory.tables(connection) if not one.is_partitioned]
        came = {
            archive.shown_name(one.schema, one.name): number
            for one, number in zip(found, inventory.counts(connection, found), strict=True)
        }
    if came != dict(description.counts):
        raise damaged_backup(source.name, "other rows came back than were counted in it")


def require_version(source: Path, description: archive.Description, tools: Tools) -> None:
    """Raise for a backup of a newer server: its statements need not be known to an older one."""
    if description.version > tools.version:
        raise newer_server(source.name, description.version, tools.version)


def load(
    source: Path,
    *,
    login: Login,
    tools: Tools,
    name: str,
    lock_timeout: float,
    write_lock: WriteLock | None,
    progress: Progress | None,
) -> None:
    """Put ``source`` in the place of the live database.

    ``write_lock`` is released at the last moment, when nobody can commit any more.
    """
    live = login.database
    size = max(1, archive.read(source).size_bytes)

    def poll() -> None:
        if progress is not None:
            progress(0, size)

    with new_database(login, live=live, name=name) as made:
        fill(source, made, login=login, tools=tools, name=name, poll=poll)
        poll()
        with live_errors(name):
            copy_properties(made.maintenance, live, made.name)
            swap = Swap(
                made,
                live=live,
                name=name,
                lock_timeout=lock_timeout,
                spared=_session_of(write_lock),
            )
            with swap.alone():
                if write_lock is not None:
                    write_lock.release()
                old = swap.commit()
        with cleaning_up(f"The replaced database {old} could not be dropped"), live_errors(name):
            drop(made.maintenance, old)


def rebuild(source: Path, *, login: Login, tools: Tools, name: str) -> None:
    """Make the live database, which is missing, of ``source``."""
    with new_database(login, live=login.database, name=name) as made:
        fill(source, made, login=login, tools=tools, name=name)
        with live_errors(name):
            give_name(made, login.database)


def _session_of(write_lock: WriteLock | None) -> int | None:
    """Return the session that holds a lock, also where somebody has wrapped it."""
    while write_lock is not None and not isinstance(write_lock, PostgreSQLWriteLock):
        write_lock = getattr(write_lock, "_lock", None)
    return None if write_lock is None else write_lock.pid

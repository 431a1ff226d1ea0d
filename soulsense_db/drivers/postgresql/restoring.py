"""Make a database of a backup, and put it in the place of the live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soulsense_db.drivers.postgresql import archive, inventory, snapshot
from soulsense_db.drivers.postgresql.databases import (
    NewDatabase,
    drop,
    end_sessions,
    give_name,
    new_database,
    tidy_up,
)
from soulsense_db.drivers.postgresql.errors import live_errors
from soulsense_db.drivers.postgresql.kept import kept_of
from soulsense_db.drivers.postgresql.loading import load
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.properties import copy_properties
from soulsense_db.drivers.postgresql.rights import require_movable
from soulsense_db.drivers.postgresql.statements import execute, quoted
from soulsense_db.drivers.postgresql.swap import Swap
from soulsense_db.drivers.postgresql.tool_errors import refused_by_server
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.postgresql.write_lock import PostgreSQLWriteLock
from soulsense_db.drivers.results import WriteLock
from soulsense_db.drivers.server_errors import damaged_backup, newer_server
from soulsense_db.notices import cleaning_up
from soulsense_db.progress import Progress

_RESTORE = ("--no-password", "--exit-on-error", "--no-subscriptions")


def fill(
    source: Path,
    target: str,
    *,
    login: Login,
    tools: Tools,
    name: str,
    poll: Callable[[], object] = lambda: None,
) -> None:
    """Restore the backup file ``source`` to the new database ``target``, and count what came."""
    description = archive.require_whole(source, poll=poll)
    require_version(source, description, tools)
    settings = dict(snapshot.MONEY) if description.has_money else {}
    with login.connected(target, name=name) as connection:
        for schema in set(inventory.schemas(connection)) - set(description.schemas):
            execute(connection, f"DROP SCHEMA {quoted(schema)}")
        settings |= inventory.adverse_to_load(connection)
    with refused_by_server(source.name):
        load(
            tools,
            source,
            *_RESTORE,
            # Of several jobs each has its own; where one fails, the database is dropped anyway.
            "--single-transaction" if tools.jobs == 1 else f"--jobs={tools.jobs}",
            f"--dbname={target}",
            environment=login.environment(target, settings=settings),
            poll=poll,
        )
    with login.connected(target, name=name) as connection:
        came = inventory.counted(connection)
    if came != dict(description.counts):
        raise damaged_backup(source.name, "other rows came back than were counted in it")


def require_version(source: Path, description: archive.Description, tools: Tools) -> None:
    """Raise for a backup of a newer server: its statements need not be known to an older one."""
    if description.version > tools.version:
        raise newer_server(source.name, "PostgreSQL", description.version, tools.version)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A backup that was restored to a new database; ``sha256``: of its archive.

    ``version_table``: as of a :class:`~.databases.Mark`, of the live one. To look for it once
    writers wait would have a trigger on login wait as well.
    """

    made: NewDatabase
    sha256: str
    version_table: str | None

    def is_of(self, source: Path) -> bool:
        """Whether it was made of the backup file ``source``, whatever its name is now."""
        return archive.read(source).sha256 == self.sha256


@contextmanager
def prepared(
    source: Path,
    *,
    login: Login,
    tools: Tools,
    name: str,
    version_table: str | None,
    progress: Progress | None,
) -> Iterator[Prepared]:
    """Restore ``source`` to a new database, which is dropped after the block if nothing uses it.

    Where the database is kept that ``source`` was made of, nothing is to be restored.
    """
    description = archive.read(source)
    size = max(1, description.size_bytes)

    def poll() -> None:
        if progress is not None:
            progress(0, size)

    require_movable(login, name=name)
    live, locale = login.database, description.locale
    with kept_of(login, description.sha256, name=name) as kept:
        if kept is not None:
            yield Prepared(kept, description.sha256, version_table)
            return
    with new_database(login, live=live, name=name, locale=locale) as made:
        fill(source, made.name, login=login, tools=tools, name=name, poll=poll)
        poll()
        yield Prepared(made, description.sha256, version_table)


def put_in_place(
    ready: Prepared,
    *,
    login: Login,
    name: str,
    lock_timeout: float,
    write_lock: WriteLock | None,
    keeps: str | None = None,
) -> None:
    """Give what is ``ready`` the name of the live database, and drop that one, or keep it.

    ``write_lock`` is released at the last moment, when nobody can commit any more. Where the
    database is kept, what is committed between both is in it, and renaming is quicker: it looks for
    sessions when there is none.
    """
    live, made = login.database, ready.made
    with live_errors(name):
        copy_properties(made.maintenance, live, made.name)
        end_sessions(made.maintenance, made.name)
        if keeps is not None and write_lock is not None:
            write_lock.release()
        swap = Swap(
            made,
            login=login,
            name=name,
            lock_timeout=lock_timeout,
            spared=_session_of(write_lock) if keeps is None else None,
            keeps=keeps,
            version_table=ready.version_table,
        )
        with swap.alone():
            if write_lock is not None:
                write_lock.release()  # nothing is done where it was before
            old = swap.commit()
    with cleaning_up(f"What is beside {live} could not be tidied up"), live_errors(name):
        if keeps is None:
            drop(made.maintenance, old)
        tidy_up(made.maintenance, live)  # what a server made for a process that was killed


def rebuild(source: Path, *, login: Login, tools: Tools, name: str) -> None:
    """Make the live database, which is missing, of ``source``."""
    locale = archive.read(source).locale
    with new_database(login, live=login.database, name=name, locale=locale) as made:
        fill(source, made.name, login=login, tools=tools, name=name)
        with live_errors(name):
            give_name(made, login.database)


def _session_of(write_lock: WriteLock | None) -> int | None:
    """Return the session that holds a lock, also where somebody has wrapped it."""
    while write_lock is not None and not isinstance(write_lock, PostgreSQLWriteLock):
        write_lock = getattr(write_lock, "_lock", None)
    return None if write_lock is None else write_lock.pid

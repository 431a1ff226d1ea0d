"""Who holds a lock that was waited for in vain: the error names the sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa

from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.statements import quoted_if_needed
from soulsense_db.drivers.server_errors import locked
from soulsense_db.errors import BackupError, DatabaseLockedError
from soulsense_db.notices import ignoring


class Use(NamedTuple):
    """What others do for which a lock of ours has to wait, and the locks by which it is known.

    By https://www.postgresql.org/docs/current/explicit-locking.html
    """

    words: str
    modes: tuple[str, ...]


CHANGING = Use("somebody changes its tables", ("AccessExclusiveLock",))
_CHANGES = (
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    *CHANGING.modes,
)
SHARING = Use("somebody is writing to it", _CHANGES)
WRITING = Use("somebody is writing to it", ("RowShareLock", "ShareLock", *_CHANGES))
READING = Use("somebody is using it", ("AccessShareLock", *WRITING.modes))
_MOST = 3
# A prepared transaction has no session, and an autovacuum no user. A table that was not committed
# yet is not seen.
_HOLDERS = sa.text("""
    SELECT a.pid, a.usename, a.application_name FROM pg_stat_activity a
    WHERE a.pid NOT IN (pg_backend_pid(), :ours) AND a.usename IS NOT NULL
        AND a.datname = current_database() AND a.pid IN (
        SELECT l.pid FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
        LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.granted AND l.locktype = 'relation' AND l.mode = ANY(:modes)
            AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
            AND coalesce(n.nspname, '') !~ '^(pg_|information_schema$)'
            AND coalesce(n.nspname, '') LIKE :schemas)
    ORDER BY a.pid
""")


@contextmanager
def naming_holders(
    login: Login, use: Use, *, name: str, ours: int = 0, schemas: str = ""
) -> Iterator[None]:
    """If the block waits in vain for a ``use`` of the database ``name`` to end, tell whose it is.

    Whatever the block has locked is released by then, but for what the process ``ours`` has.
    ``schemas``: how the names begin of those whose tables are meant; without it all of users.
    """
    try:
        yield
    except DatabaseLockedError as error:
        sessions: list[Session] = []
        with (
            ignoring(BackupError, what="Who holds the lock cannot be told"),
            login.connected(name=name) as connection,
        ):
            asked = {"modes": list(use.modes), "ours": ours, "schemas": f"{schemas}%"}
            sessions = [Session(*one) for one in connection.execute(_HOLDERS, asked)]
        if sessions:
            raise held_by(name, use.words, sessions) from error
        raise


class Session(NamedTuple):
    """A session of the server: its process, its user, and what its program calls itself.

    A process of the server's own has no user, and a prepared transaction no process.
    """

    pid: int
    user: str | None
    program: str | None

    def __str__(self) -> str:
        who = filter(None, [quoted_if_needed(self.user or ""), self.program])
        return f"process {self.pid} of {', '.join(who)}"


def held_by(name: str, words: str, sessions: Sequence[Session]) -> DatabaseLockedError:
    """Return the error that names the ``sessions``; there are none of a prepared transaction."""
    if not sessions:
        return locked(name, words)
    more = [f"{len(sessions) - _MOST} more"] if len(sessions) > _MOST else []
    reason = f"{words}: {'; '.join([*map(str, sessions[:_MOST]), *more])}"
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}).",
        hint="Close the other programs that use it, or wait until they finish, and try again. To "
        f"end a session: SELECT pg_terminate_backend({sessions[0].pid});",
        reason=reason,
    )

"""Who holds a lock that was waited for in vain: the error names the sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa

from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.statements import quoted_if_needed
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
        pid, sessions = 0, []
        with (
            ignoring(BackupError, what="Who holds the lock cannot be told"),
            login.connected(name=name) as connection,
        ):
            asked = {"modes": list(use.modes), "ours": ours, "schemas": f"{schemas}%"}
            found = connection.execute(_HOLDERS, asked).all()
            pid = found[0][0] if found else 0
            sessions = [_session(*one) for one in found]
        if sessions:
            raise _held_by(name, use.words, sessions, pid) from error
        raise


def _session(pid: int, user: str, program: str) -> str:
    return f"process {pid} of {', '.join(filter(None, [quoted_if_needed(user), program]))}"


def _held_by(name: str, words: str, sessions: Sequence[str], pid: int) -> DatabaseLockedError:
    """Return the error that names the ``sessions``; ``pid``: the process of the first."""
    more = [f"{len(sessions) - _MOST} more"] if len(sessions) > _MOST else []
    reason = f"{words}: {'; '.join([*sessions[:_MOST], *more])}"
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}).",
        hint="Close the other programs that use it, or wait until they finish, and try again. To "
        f"end a session: SELECT pg_terminate_backend({pid});",
        reason=reason,
    )

"""How a new database takes the place of the live one.

Both are renamed in one transaction: a moment, whatever their size, and never a mixture. A database
can only be renamed when nobody is connected to it. From its first statement on the transaction
holds a lock for which whoever connects has to wait; what is connected by then is ended. So nothing
has to be put back after a crash of this process or of the server, as with a database that was told
to refuse connections: what was not committed has not been.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql.databases import (
    Mark,
    NewDatabase,
    name_of,
    new_token,
    set_comment,
)
from soulsense_db.drivers.postgresql.errors import code_of, live_errors
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.statements import execute, quoted
from soulsense_db.drivers.results import ConcurrentCommitError
from soulsense_db.drivers.server_errors import locked
from soulsense_db.errors import BackupError

_POLL_SECONDS = 0.005
_ENDING_SECONDS = 0.001
_LONGEST_ENDING_SECONDS = 0.05
_LONGEST_WAKING_SECONDS = 0.1  # the server sleeps as long
_LONGEST_PAUSE_MS = 2000
_CHANNEL = "soulsense_db_swap"
_IN_USE = "55006"
# Autovacuum has no user, and only superusers may end it: renaming does, whoever asks.
_END = sa.text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = :name AND pid IS DISTINCT FROM :spared AND usesysid IS NOT NULL"
)
_HOLDS = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = :pid AND granted AND locktype = 'object'"
    " AND classid = 'pg_database'::regclass AND mode = 'AccessExclusiveLock')"
)
_COMMENT = sa.text(
    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :name"
)


class Swap:
    """Gives ``new`` the name of the live database: all before :meth:`commit` can be taken back.

    ``spared``: the session that keeps writers out until it is ended between :meth:`alone` and
    :meth:`commit`. ``keeps``: what the replaced one is kept for, None if it is not;
    ``version_table``: as of its :class:`Mark`.
    """

    def __init__(
        self,
        new: NewDatabase,
        *,
        login: Login,
        name: str,
        lock_timeout: float,
        spared: int | None,
        keeps: str | None,
        version_table: str | None,
    ) -> None:
        self._new, self._login, self._name = new, login, name
        self._live = login.database
        token = new_token(self._live)
        self._old = name_of(token)
        if keeps is None:  # what has the lock of the new one is dropped by us
            self._mark = Mark(role="replaced", live=self._live, token=new.mark.token)
        else:
            self._mark = Mark(
                role="kept",
                live=self._live,
                token=token,
                purpose=keeps,
                version_table=version_table,
            )
        self._deadline = time.monotonic() + lock_timeout
        self._spared = spared

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep new connections waiting, and end all there are but the one spared."""
        with (
            self._login.maintenance(name=self._name) as connection,
            ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-rename") as executor,
        ):
            self._connection, self._executor = connection, executor
            self._pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            raw: Any = connection.connection.driver_connection
            execute(connection, f"LISTEN {_CHANNEL}")
            try:
                self._end_sessions_for_now()
                self._renaming = executor.submit(self._rename_live)
                while not self._is_alone(self._renaming):
                    if self._renaming.done():  # somebody stayed for longer than the server waits
                        self._renaming = executor.submit(self._rename_live)
                yield
            except BaseException:
                with suppress(Exception):  # it has ended, or the server is gone
                    raw.cancel()
                executor.shutdown()
                with suppress(BackupError), live_errors(self._name):  # it may be gone, too
                    execute(connection, "ROLLBACK")
                raise

    def commit(self) -> str:
        """Rename both, once nobody is connected any more; return the old one's new name."""
        had_writers_locked_out = self._spared is not None
        self._spared = None
        self._wake(self._renaming)
        try:
            self._renaming.result()  # not once more: somebody could have written in between
            renaming = self._executor.submit(self._rename_new)
            self._wake(renaming)  # autovacuum may be at the new one
            renaming.result()
        except DBAPIError as error:
            if not (error.connection_invalidated and had_writers_locked_out):
                raise
            raise ConcurrentCommitError from error  # the server let others in again
        execute(self._connection, "COMMIT")
        return self._old

    def _rename_new(self) -> None:
        connection = self._connection
        live, made = quoted(self._live), quoted(self._new.name)
        said = connection.scalar(_COMMENT, {"name": self._old})
        for statement in (
            f"ALTER DATABASE {made} RENAME TO {live}",
            f"ALTER DATABASE {live} WITH ALLOW_CONNECTIONS true",  # it may be one that was kept
            set_comment(connection, self._live, said),
            set_comment(connection, self._old, str(self._mark)),
        ):
            execute(connection, statement)

    def _rename_live(self) -> None:
        connection = self._connection
        left = max(1, int(1000 * (self._deadline - time.monotonic())))
        execute(connection, "ROLLBACK")
        execute(connection, "BEGIN")
        execute(connection, f"SET LOCAL lock_timeout = {left}")
        # Others wait for what the caller does between both steps: not for long.
        execute(connection, f"SET LOCAL idle_in_transaction_session_timeout = {_LONGEST_PAUSE_MS}")
        execute(connection, f"ALTER DATABASE {quoted(self._live)} RENAME TO {quoted(self._old)}")

    def _is_alone(self, renaming: Future[None]) -> bool:
        """End sessions; return whether only the one spared is left, and none can come."""
        wait([renaming], timeout=_POLL_SECONDS)
        if renaming.done():
            error = renaming.exception()
            if isinstance(error, DBAPIError) and code_of(error) == _IN_USE and self._has_time():
                return False
            renaming.result()
            return True
        holds = self._new.maintenance.scalar(_HOLDS, {"pid": self._pid})
        others = self._end_sessions()
        if not self._has_time():
            raise locked(self._name, "a session does not end")
        return bool(holds) and not others

    def _end_sessions_for_now(self) -> None:
        """End sessions until there is none: renaming looks again only after a tenth of a second.

        Who connects again at once may keep it up; renaming keeps him out then.
        """
        soon = time.monotonic() + _LONGEST_ENDING_SECONDS
        while self._end_sessions() and time.monotonic() < soon:
            time.sleep(_ENDING_SECONDS)

    def _wake(self, renaming: Future[None]) -> None:
        """Have the server look again all the time: it sleeps a tenth of a second else.

        A signal wakes it, and one is sent to the session of who listens: see
        ``CountOtherDBBackends`` and ``pg_usleep`` in PostgreSQL's sources.
        """
        pause = _POLL_SECONDS
        while not renaming.done():
            self._end_sessions()
            self._end_sessions(self._new.name)
            if pause < _LONGEST_WAKING_SECONDS:  # it looks fifty times, and then gives up
                with suppress(DBAPIError):  # where others do not read, no more can be sent
                    execute(self._new.maintenance, f"NOTIFY {_CHANNEL}")
            wait([renaming], timeout=pause)
            pause = min(2 * pause, _LONGEST_WAKING_SECONDS)

    def _end_sessions(self, database: str | None = None) -> int:
        asked = {"name": database or self._live, "spared": self._spared}
        return int(self._new.maintenance.scalar(_END, asked) or 0)

    def _has_time(self) -> bool:
        return time.monotonic() < self._deadline

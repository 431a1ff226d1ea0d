"""Name who is waited for in a session of ``psql``, and wait no longer than the lock timeout.

For what a statement of the backup waits for, no setting helps: its script takes them back. And who
has made a schema, and has not committed, has no lock on it that others would see.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.errors import live_errors
from soulsense_db.drivers.postgresql.holders import Session, held_by
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.psql import Psql
from soulsense_db.errors import BackupError, DatabaseLockedError
from soulsense_db.notices import Wait, ignoring

_WORDS = "somebody makes or changes schemas, or what is in them"
_PAUSE_SECONDS = 0.5
# A prepared transaction has the number 0, and no session.
_BLOCKERS = sa.text("""
    SELECT b.pid, a.usename, a.application_name FROM unnest(pg_blocking_pids(:ours)) AS b (pid)
    LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY b.pid
""")


@contextmanager
def saying_what_is_awaited(psql: Psql, *, name: str) -> Iterator[None]:
    """Tell the user, when the block takes long, that it waits for others.

    In another such block, that is told once.
    """
    if psql.tells:
        yield
        return
    wait, poll = Wait(f"other transactions in {name} to end"), psql.poll

    def poll_and_say() -> None:
        poll()
        wait.goes_on()

    psql.poll, psql.tells = poll_and_say, True
    try:
        yield
    finally:
        psql.poll, psql.tells = poll, False


@contextmanager
def naming_blockers(
    psql: Psql, login: Login, *, name: str, ours: int, lock_timeout: float
) -> Iterator[None]:
    """Raise once the process ``ours`` of ``psql`` has waited that long for others, and name them.

    So it is where the block itself finds that it waits in vain.
    """
    poll, look = psql.poll, _Look(login, name, ours, lock_timeout)

    def poll_and_look() -> None:
        poll()
        look.again()

    psql.poll = poll_and_look
    try:
        yield
    except DatabaseLockedError as error:
        if error is not look.found and look.sessions:
            raise held_by(name, _WORDS, look.sessions) from error
        raise
    finally:
        psql.poll = poll
        look.close()


class _Look:
    """A look at who is in the way, from time to time."""

    def __init__(self, login: Login, name: str, ours: int, lock_timeout: float) -> None:
        self._login, self._name, self._ours, self._timeout = login, name, ours, lock_timeout
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._pause = min(_PAUSE_SECONDS, lock_timeout / 3)
        self._next = time.monotonic() + self._pause
        self._since: float | None = None
        self.sessions: list[Session] = []
        self.found: DatabaseLockedError | None = None

    def again(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        blockers = None
        with ignoring(BackupError, what="Whether others are waited for cannot be told"):
            blockers = self._blockers()
        self._next = time.monotonic() + self._pause
        if not blockers:
            self._since = None
            return
        self.sessions = [one for one in blockers if one.user is not None]
        self._since = self._since or now
        if now - self._since > self._timeout:
            self.found = held_by(self._name, _WORDS, self.sessions)
            raise self.found

    def _blockers(self) -> list[Session]:
        if self._connection is None:
            connected = self._login.connected(name=self._name)
            self._connection = self._stack.enter_context(connected)
        with live_errors(self._name):
            found = self._connection.execute(_BLOCKERS, {"ours": self._ours})
            return [Session(*one) for one in found]

    def close(self) -> None:
        with ignoring(BackupError, what="A connection could not be closed"):
            self._stack.close()

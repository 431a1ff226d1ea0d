"""A database of its own on the same server, in which a backup is tried."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql import archive, inventory, restoring
from soulsense_db.drivers.postgresql.databases import exists, name_of, new_database, new_token
from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.results import Examination, Findings
from soulsense_db.drivers.server_errors import locked, no_database

_LOOK_SECONDS = 0.02


class TrialDriver(PostgreSQLDriver):
    """The driver of a database that a backup is tried in, and that nobody else uses."""

    _version_table: str | None = None

    @property
    def reached(self) -> Mapping[str, str]:
        """How the application's connections get to its server, if that is not the live one."""
        return {}

    @property
    def keeps_replaced(self) -> bool:
        """Whether what is replaced stays: no."""
        return False

    @property
    @abstractmethod
    def _keeper(self) -> Login:
        """Return who ends its sessions."""

    def _replaced(self) -> None:
        """Say that nothing is kept, without a look: the database may not have been made."""

    def migration_note(self) -> str:
        """Say that nobody else migrates it, without a look: see :meth:`_replaced`."""
        return ""

    def examine(self, *, poll: Callable[[], object] | None = None) -> Examination:
        """Count the rows, and read the revisions: loading it checked indexes and references."""
        del poll
        with self._connected() as connection:
            counted = inventory.counted(connection)
            heads = inventory.heads_in(connection, self._version_table)
        return Examination(findings=Findings(), row_counts=counted, alembic_heads=heads)

    def end_sessions(self) -> None:
        """End all that is connected to the database but what asks for it, and wait for that."""
        sessions = sa.text(
            "SELECT pid FROM pg_stat_activity WHERE datname = :name"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        deadline = time.monotonic() + self.lock_timeout
        with self._keeper.maintenance(name=self.database) as connection:
            while found := connection.scalars(sessions, {"name": self._name}).all():
                for pid in found:
                    with suppress(DBAPIError):  # another user's: it ends when its program does
                        connection.execute(
                            sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid}
                        )
                if time.monotonic() > deadline:
                    raise locked(self.database, "its sessions do not end")
                time.sleep(_LOOK_SECONDS)  # the server tells nobody that a session has ended


class ScratchDriver(TrialDriver):
    """The driver of a new database beside that of ``live``, which has not been made yet."""

    def __init__(self, live: PostgreSQLDriver, login: Login) -> None:
        self._token = new_token(login.database)
        self._live, self._live_login = live, login
        self._own = replace(login, parameters={**login.parameters, "dbname": self._name})
        super().__init__(self._own.engine(), lock_timeout=live.lock_timeout)
        self._tools, self.jobs = live.tools(), live.jobs
        self._made = ExitStack()

    @property
    def database(self) -> str:
        """Its name, which nothing else has."""
        return self._name

    @property
    def _name(self) -> str:
        return name_of(self._token)

    def _login(self) -> Login:
        return self._own

    @property
    def _keeper(self) -> Login:
        return self._live_login

    def require_database(self) -> None:
        """Ask without connecting to it: a pooler waits after a name that is not there."""
        with self._live_login.maintenance(name=self._live.database) as connection:
            if not exists(connection, self._name):
                raise no_database(self._name, "it has not been made")

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Make the database of ``source``; it is there until :meth:`discard`."""
        del facts, stamp
        described = archive.read(source)
        with ExitStack() as stack:
            made = stack.enter_context(
                new_database(
                    self._live_login,
                    live=self._live_login.database,
                    name=self._live.database,
                    locale=described.locale,
                    token=self._token,
                )
            )
            self._version_table = described.version_table
            restoring.fill(
                source, made.name, login=self._live_login, tools=self.tools(), name=self.database
            )
            self._made = stack.pop_all()
        return ()

    def search_path(self) -> str:
        """Return that of the live database."""
        return self._live.search_path()  # a setting of the live database is none of this one

    def discard(self) -> None:
        """Drop the database, if it was made."""
        self._made.close()

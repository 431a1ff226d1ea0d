"""A database of its own on the same server, in which a backup is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from soulsense_db.drivers.postgresql import archive, inventory, restoring
from soulsense_db.drivers.postgresql.databases import name_of, new_database, new_token
from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.results import Examination, Findings


class ScratchDriver(PostgreSQLDriver):
    """The driver of a new database beside that of ``live``, which has not been made yet."""

    keeps_replaced = False

    def __init__(self, live: PostgreSQLDriver, login: Login) -> None:
        self._token = new_token(login.database)
        self._live, self._live_login = live, login
        self._own = replace(login, parameters={**login.parameters, "dbname": self._name})
        super().__init__(self._own.engine(), lock_timeout=live.lock_timeout)
        self._tools = live.tools()
        self._made = ExitStack()
        self._version_table: str | None = None

    @property
    def database(self) -> str:
        """Its name, which nothing else has."""
        return self._name

    @property
    def _name(self) -> str:
        return name_of(self._token)

    def _login(self) -> Login:
        return self._own

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
                source, made, login=self._live_login, tools=self.tools(), name=self.database
            )
            self._made = stack.pop_all()
        return ()

    def examine(self, *, poll: Callable[[], object] | None = None) -> Examination:
        """Count the rows, and read the revisions: loading it checked indexes and references."""
        del poll
        with self._connected() as connection:
            counted = inventory.counted(connection)
            heads = inventory.heads_in(connection, self._version_table)
        return Examination(findings=Findings(), row_counts=counted, alembic_heads=heads)

    def search_path(self) -> str:
        """Return that of the live database."""
        return self._live.search_path()  # a setting of the live database is none of this one

    def discard(self) -> None:
        """Drop the database, if it was made."""
        self._made.close()

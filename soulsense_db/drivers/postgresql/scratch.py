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

    def __init__(self, live: PostgreSQLDriver, login: Login) -> None:
        self._token = new_token()
        self._live, self._live_login = live, login
        self._own = replace(login, parameters={**login.parameters, "dbname": self._name})
        super().__init__(self._own.engine(), lock_timeout=live.lock_timeout)
        self._tools = live.tools()
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

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Make the database of ``source``; it is there until :meth:`discard`."""
        del facts, stamp
        with ExitStack() as stack:
            made = stack.enter_context(
                new_database(
                    self._live_login,
                    live=self._live_login.database,
                    name=self._live.database,
                    token=self._token,
                )
            )
            restoring.fill(
                source, made, login=self._live_login, tools=self.tools(), name=self.database
            )
            self._made = stack.pop_all()
        return ()

    def examine(self, *, poll: Callable[[], object] | None = None) -> Examination:
        """Count the rows, and read the revisions: loading it checked indexes and references."""
        del poll
        with self._connected() as connection:
            found = [one for one in inventory.tables(connection) if not one.is_partitioned]
            counted = inventory.counts(connection, found)
            heads = inventory.heads(connection, "alembic_version") or ()
        names = [archive.shown_name(one.schema, one.name) for one in found]
        return Examination(
            findings=Findings(),
            row_counts=dict(zip(names, counted, strict=True)),
            alembic_heads=heads,
        )

    def discard(self) -> None:
        """Drop the database, if it was made."""
        self._made.close()

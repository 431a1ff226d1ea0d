"""A database of its own on the same server, in which a backup is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from soulsense_db.drivers.mariadb import inventory, loading, schemas
from soulsense_db.drivers.mariadb.driver import MariaDBDriver
from soulsense_db.drivers.mariadb.errors import live_errors
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.schema import Schema
from soulsense_db.drivers.results import Examination, Findings
from soulsense_db.notices import cleaning_up


class ScratchDriver(MariaDBDriver):
    """The driver of a new database beside that of ``live``, which has not been made yet."""

    def __init__(self, live: MariaDBDriver, login: Login) -> None:
        self._schema = schemas.new_name(login.database)
        self._live, self._live_login = live, login
        self._own = replace(login, database=self._schema)
        super().__init__(self._own.engine(self._schema), lock_timeout=live.lock_timeout)
        self._tools = live.tools()
        self._made = ExitStack()

    @property
    def database(self) -> str:
        """Its name, which nothing else has."""
        return self._schema

    @property
    def _name(self) -> str:
        return self._schema

    def _login(self) -> Login:
        return self._own

    @property
    def keeps_replaced(self) -> bool:
        """Whether what is replaced stays: no."""
        return False

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Make the database of ``source``; it is there until :meth:`discard`."""
        del facts, stamp
        with ExitStack() as stack:
            live = self._live_login.database
            made = schemas.new_schema(self._own, self._schema, live=live, name=self._live.database)
            keeper = stack.enter_context(made)

            def drop() -> None:
                failed = f"The database {self._schema} could not be dropped"
                with cleaning_up(failed), live_errors(self._live.database):
                    schemas.drop(keeper, self._schema)

            stack.callback(drop)
            loading.fill(
                source,
                self._schema,
                target=self._schema,
                login=self._own,
                tools=self.tools(),
                name=self._live.database,
            )
            self._made = stack.pop_all()
        return ()

    def _as_made(self, schema: Schema) -> Schema:
        return schema.beside_live()

    def examine(self, *, poll: Callable[[], object] | None = None) -> Examination:
        """Count the rows, and read the revisions: loading it checked indexes."""
        del poll
        with self._connected() as connection:
            found = inventory.tables(connection, self._schema)
            counted = inventory.counts(connection, self._schema, found)
            heads = inventory.heads(connection, self._schema, "alembic_version") or ()
        names = [one.name for one in found]
        return Examination(
            findings=Findings(),
            row_counts=dict(zip(names, counted, strict=True)),
            alembic_heads=heads,
        )

    def discard(self) -> None:
        """Drop the database, if it was made."""
        self._made.close()

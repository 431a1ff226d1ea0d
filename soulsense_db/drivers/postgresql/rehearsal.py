"""PostgreSQL in a rehearsal: migrations run in a scratch database beside the live one.

Where the user may make none, it is on a private server, with the name of the live one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.leading import current
from soulsense_db.drivers.postgresql import archive, leading
from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver
from soulsense_db.drivers.postgresql.properties import copy_properties
from soulsense_db.drivers.postgresql.reading import ReadingDriver
from soulsense_db.drivers.postgresql.scratch import TrialDriver
from soulsense_db.drivers.postgresql.seen import look, names_in, reaches_others
from soulsense_db.drivers.rehearsal import Led
from soulsense_db.drivers.server_errors import reaches_other_databases
from soulsense_db.drivers.server_rehearsal import Seen, ServerRehearsalSupport

# The first word of what takes no lock that others who write wait for.
_READS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:SELECT|SHOW|SET|RESET|EXPLAIN|VALUES|TABLE|BEGIN|START|SAVEPOINT|RELEASE|COMMIT|END"
    r"|ROLLBACK|ABORT|DISCARD|FETCH|LISTEN|NOTIFY"
    r"|(?:CREATE|DROP)\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY|REINDEX\b[^;]*\bCONCURRENTLY"
    r"|WITH\b(?!.*\b(?:INSERT|UPDATE|DELETE|MERGE)\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_COLUMN_EXISTS = re.compile(r'column "(.+?)" of relation ".+?" already exists')
_EXISTS = re.compile(r'(relation|type|trigger|schema|function) "(.+?)"(?: .*)? already exists')
_IDLE = 0  # as libpq numbers the states of a transaction


class PostgreSQLRehearsalSupport(ServerRehearsalSupport[archive.Description]):
    """PostgreSQL through ``psycopg``, ``psycopg2`` or ``asyncpg``."""

    # In the process of the migrations

    def lead(
        self,
        led: Led,
        *,
        passed_by: Callable[[], object],
        refuse: Callable[[str], BaseException],
    ) -> None:
        """Change the libraries."""
        leading.lead(led, passed_by=passed_by, refuse=refuse)

    def make_read_only(self, connection: Connection) -> None:
        """Have the server refuse what writes."""
        driver = PostgreSQLDriver(connection.engine, lock_timeout=1.0)
        driver.make_read_only(connection.connection)

    def file_of(self, connection: Connection) -> Path | None:
        """Return the copy, where the connection is to its scratch database."""
        led = current()
        is_led = led is not None and leading.is_there(connection.connection, led)
        return Path(led.copy) if led is not None and is_led else None

    def names_in(self, connection: Connection) -> list[str] | None:
        """Ask the catalog, where a transaction is open already."""
        if not self.is_in_transaction(connection.connection.driver_connection):
            return None
        return names_in(connection)

    def already_there(self, message: str) -> str:
        """Know what the server says of columns, and of all else."""
        if found := _COLUMN_EXISTS.search(message):
            return f"column {found[1]}"
        found = _EXISTS.search(message)
        if found is None:
            return ""
        return f"{'table' if found[1] == 'relation' else found[1]} {found[2]}"

    def writes(self, statement: str) -> bool:
        """Tell by the first words; what is not known writes."""
        return _READS.match(statement) is None

    def is_in_transaction(self, connection: Any) -> bool:
        """Ask the library, which knows without a statement."""
        if callable(known := getattr(connection, "is_in_transaction", None)):  # asyncpg
            return bool(known())
        info = getattr(connection, "info", None)
        return bool(info is not None and int(info.transaction_status) != _IDLE)

    # In ours

    def led(self, copy: Path) -> Led | None:
        """Tell of a private server as well."""
        led, scratch = super().led(copy), self._scratch[copy]
        assert led is not None
        assert isinstance(scratch, TrialDriver)
        return replace(led, server=dict(scratch.reached))

    def _name_of(self, driver: Driver) -> str:
        assert isinstance(driver, ReadingDriver)
        return driver._login().database

    def _look(self, scratch: Driver, since: int | None) -> Seen:
        assert isinstance(scratch, TrialDriver)
        with scratch._connected(autocommit=False) as connection:
            return look(connection, since)

    def _make_like_live(self, scratch: Driver) -> None:
        """Give it settings, such as a search path; refuse what reaches beyond it."""
        assert isinstance(scratch, TrialDriver)
        with scratch._connected() as connection:
            if what := reaches_others(connection):
                raise reaches_other_databases(self._live.database, what)
        if scratch.reached:
            return  # it was made so
        live = self._live
        assert isinstance(live, ReadingDriver)
        with live._login().maintenance(name=live.database) as maintenance:
            copy_properties(maintenance, self._name_of(live), self._name_of(scratch))

    def _end_sessions(self, scratch: Driver) -> None:
        assert isinstance(scratch, TrialDriver)
        scratch.end_sessions()

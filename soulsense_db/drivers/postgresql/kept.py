"""What a restore replaced: a database of its own, until the next restore has one.

So the safety backup is written once the live database is in use again, and an undo has nothing to
restore: both databases change places. The comment of a kept one says what it is a copy of, as soon
as there is a file. Nobody can connect to it from then on, so that it stays what the file has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from msgspec import structs
from sqlalchemy.engine import Connection

from soulsense_db.drivers.lost_sessions import releasing
from soulsense_db.drivers.postgresql import archive, snapshot
from soulsense_db.drivers.postgresql.databases import (
    Mark,
    NewDatabase,
    broken_databases,
    drop,
    in_transaction,
    marked,
    set_comment,
)
from soulsense_db.drivers.postgresql.errors import live_errors
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.statements import execute, quoted
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up, log_ignored


@dataclass(frozen=True, slots=True)
class KeptDatabase:
    """A kept database of which there is no file yet; ``live``: how the live one is called."""

    login: Login
    live: str
    name: str
    mark: Mark

    @property
    def purpose(self) -> str:
        """What the copy will be for."""
        return self.mark.purpose

    @contextmanager
    def held(self, *, lock_timeout: float) -> Iterator[Self]:
        """Yield it: nobody needs to be kept from writing to it, whose name nobody knows."""
        del lock_timeout
        yield self

    def write_copy(self, tools: Tools, target: Path, *, lock_timeout: float) -> SnapshotInfo:
        """Write it to the existing empty file ``target``."""
        with self.login.maintenance(name=self.live) as maintenance, live_errors(self.live):
            # That of the live one may be too low for a dump; an undo gives it the live one's again.
            execute(maintenance, f"ALTER DATABASE {quoted(self.name)} CONNECTION LIMIT -1")
        return snapshot.write(
            replace(self.login, parameters={**self.login.parameters, "dbname": self.name}),
            tools,
            target,
            name=self.name,
            lock_timeout=lock_timeout,
            version_table=self.mark.version_table,
            progress=None,
        )

    def keep(self, copy: Path | None) -> None:
        """Note that ``copy`` is there now, and drop what was kept before; with None drop it."""
        with self.login.maintenance(name=self.live) as maintenance, live_errors(self.live):
            if copy is None:
                drop(maintenance, self.name)
                return
            noted = structs.replace(self.mark, copy=archive.read(copy).sha256)
            in_transaction(
                maintenance,
                f"ALTER DATABASE {quoted(self.name)} WITH ALLOW_CONNECTIONS false",
                set_comment(maintenance, self.name, str(noted)),
                name=self.live,
            )
            for database, other in _kept(maintenance, self.login.database):
                if database != self.name and other.copy is not None:
                    failed = f"The database {database} could not be dropped"
                    with cleaning_up(failed), live_errors(self.live):
                        drop(maintenance, database)


def without_copy(login: Login, *, name: str) -> KeptDatabase | None:
    """Return the kept database, of the live one called ``name``, of which there is no file yet."""
    with login.maintenance(name=name) as maintenance, live_errors(name):
        found = [one for one in _kept(maintenance, login.database) if one[1].copy is None]
    return KeptDatabase(login, name, *found[0]) if found else None


def _kept(maintenance: Connection, live: str) -> list[tuple[str, Mark]]:
    broken = broken_databases(maintenance)
    found = marked(maintenance, live)
    return [(one, mark) for one, mark in found if mark.role == "kept" and one not in broken]


@contextmanager
def kept_of(login: Login, copy: str, *, name: str) -> Iterator[NewDatabase | None]:
    """Yield the kept database of which the file with the checksum ``copy`` is; None without one."""
    with login.maintenance(name=name) as maintenance:
        try:
            with live_errors(name):
                found = _kept(maintenance, login.database)
        except BackupError as error:  # the file is enough
            log_ignored("Whether the replaced database is still there cannot be told", error)
            found = []
        made = next((one for one in found if one[1].copy == copy), None)
        if made is None:
            yield None
            return
        key = {"key": made[1].lock}
        with live_errors(name):
            maintenance.execute(sa.text("SELECT pg_advisory_lock(:key)"), key)
        try:
            yield NewDatabase(*made, maintenance)
        finally:
            with releasing():
                maintenance.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)

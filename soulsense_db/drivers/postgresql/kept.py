"""What a restore replaced: a database of its own, until the next restore has one.

So the safety backup is written once the live database is in use again, and an undo has nothing to
restore: both databases change places. The comment of a kept one says what it is a copy of, as soon
as there is a file. Nobody can connect to it from then on, so that it stays what the file has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from msgspec import structs
from sqlalchemy.engine import Connection

from soulsense_db.drivers.lost_sessions import releasing
from soulsense_db.drivers.postgresql import snapshot
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
from soulsense_db.drivers.server_errors import replaced_is_gone
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up, log_ignored


def without_copy(login: Login, *, name: str) -> str | None:
    """Return what the copy will be for of a kept database of which there is no file yet."""
    with login.maintenance(name=name) as maintenance, live_errors(name):
        found = _without_copy(maintenance, login.database)
        return None if found is None else found[1].purpose


def _without_copy(maintenance: Connection, live: str) -> tuple[str, Mark] | None:
    found = [one for one in _kept(maintenance, live) if one[1].copy is None]
    return found[0] if found else None


def _kept(maintenance: Connection, live: str) -> list[tuple[str, Mark]]:
    broken = broken_databases(maintenance)
    found = marked(maintenance, live)
    return [(one, mark) for one, mark in found if mark.role == "kept" and one not in broken]


def write_copy(
    login: Login, tools: Tools, target: Path, *, name: str, lock_timeout: float
) -> SnapshotInfo:
    """Write what the last restore replaced to the existing empty file ``target``."""
    with login.maintenance(name=name) as maintenance, live_errors(name):
        found = _without_copy(maintenance, login.database)
    if found is None:
        raise replaced_is_gone(name)
    kept, mark = found
    with login.maintenance(name=name) as maintenance, live_errors(name):
        # That of the live one may be too low for a dump; an undo gives it the live one's again.
        execute(maintenance, f"ALTER DATABASE {quoted(kept)} CONNECTION LIMIT -1")
    return snapshot.write(
        replace(login, parameters={**login.parameters, "dbname": kept}),
        tools,
        target,
        name=kept,
        lock_timeout=lock_timeout,
        version_table=mark.version_table,
        progress=None,
    )


def note_copy(login: Login, copy: str | None, *, name: str) -> None:
    """Note that there is a file now, with the checksum ``copy``; drop what was kept before.

    With None it is dropped itself.
    """
    with login.maintenance(name=name) as maintenance, live_errors(name):
        live = login.database
        found = _without_copy(maintenance, live)
        if found is None:
            raise replaced_is_gone(name)
        kept, mark = found
        if copy is None:
            drop(maintenance, kept)
            return
        in_transaction(
            maintenance,
            f"ALTER DATABASE {quoted(kept)} WITH ALLOW_CONNECTIONS false",
            set_comment(maintenance, kept, str(structs.replace(mark, copy=copy))),
            name=name,
        )
        for database, other in _kept(maintenance, live):
            if database != kept and other.copy is not None:
                failed = f"The database {database} could not be dropped"
                with cleaning_up(failed), live_errors(name):
                    drop(maintenance, database)


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

"""Make a backup of an archive that ``pg_dump`` alone has written: restore it, and dump that.

Such an archive does not tell whether it is whole: half of one is listed without a word. A restore
to a new database tells; and what is dumped there has what our backups have at their end.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.postgresql import archive, inventory, snapshot
from soulsense_db.drivers.postgresql.databases import new_database
from soulsense_db.drivers.postgresql.errors import live_errors, no_foreign_money, not_restored
from soulsense_db.drivers.postgresql.loading import load
from soulsense_db.drivers.postgresql.login import Login, connect
from soulsense_db.drivers.postgresql.properties import properties
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.errors import BackupError, TruncatedBackupError
from soulsense_db.progress import Progress

_RESTORE = ("--no-password", "--exit-on-error", "--single-transaction", "--no-subscriptions")
_VERSION_TABLE = "alembic_version"


def is_foreign(path: Path) -> bool:
    """Whether a file begins as an archive does, and does not end as ours do."""
    try:
        archive.read(path)
    except TruncatedBackupError:
        return True
    return False


def adopt(
    source: Path,
    target: Path,
    *,
    login: Login,
    tools: Tools,
    name: str,
    lock_timeout: float,
    progress: Progress | None,
) -> SnapshotInfo:
    """Write what the archive ``source`` has to ``target``, as a snapshot of ours.

    The database that it is restored to is made like the live one, which must exist, and dropped.
    """
    with fs.storage_errors("read", source):
        size = max(1, os.path.getsize(source))  # noqa: PTH202 - one call

    def poll() -> None:
        if progress is not None:
            progress(0, size)

    with login.maintenance(name=name) as maintenance, live_errors(name):
        live = properties(maintenance, login.database)
    assert live is not None  # it was connected to
    with new_database(login, live=login.database, name=name, locale=live.locale) as made:
        own = replace(login, parameters={**login.parameters, "dbname": made.name})
        try:
            load(
                tools,
                source,
                *_RESTORE,
                f"--dbname={made.name}",
                environment=own.environment(settings=inventory.TO_LOAD),
                poll=poll,
            )
        except BackupError as error:
            if type(error) is not BackupError:
                raise
            raise not_restored(source.name, error.reason) from error
        with live_errors(name), connect(own.engine()) as connection:
            if inventory.has_money(connection):
                raise no_foreign_money(source.name)
            version_table = inventory.place_of(connection, _VERSION_TABLE)
        return snapshot.write(
            own,
            tools,
            target,
            name=name,
            lock_timeout=lock_timeout,
            version_table=version_table,
            progress=progress,
        )

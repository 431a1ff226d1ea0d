"""Make a backup of what ``mariadb-dump`` alone has written: load it, and dump that.

Only a server tells whether its statements are right; and what is dumped there has what our backups
have at their end.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy.engine import Connection

from soulsense_db import fs
from soulsense_db.drivers.mariadb import foreign_dump, inventory, rights, schemas, snapshot
from soulsense_db.drivers.mariadb.errors import (
    events_would_run,
    live_errors,
    not_loaded,
)
from soulsense_db.drivers.mariadb.foreign_dump import ForeignDump, Made
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.statements import execute, scalar
from soulsense_db.drivers.mariadb.tools import Tools, series
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import newer_server
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up
from soulsense_db.progress import Progress

_BEFORE_ROWS = ("table", "sequence")
_AFTER_ROWS = ("routine", "view", "trigger", "event")


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
    """Write what the dump ``source`` has to ``target``, as a snapshot of ours.

    The schema that it is loaded into is made for that beside the live one, which must exist, and
    dropped.
    """
    with fs.storage_errors("read", source):
        size = max(1, os.path.getsize(source))  # noqa: PTH202 - one call

    def poll() -> None:
        if progress is not None:
            progress(0, size)

    dump = foreign_dump.read(source)
    version = dump.version.partition("-")[0]
    if version and series(version) > series(tools.version):
        raise newer_server(source.name, "MariaDB", version, tools.version)
    schema = schemas.new_name(login.database)
    own = replace(login, database=schema)
    with _new_schema(own, schema, live=login.database, name=name):
        _load(source, dump, own=own, tools=tools, name=name, poll=poll)
        return snapshot.write(
            own, tools, target, name=name, lock_timeout=lock_timeout, progress=progress
        )


@contextmanager
def _new_schema(own: Login, schema: str, *, live: str, name: str) -> Iterator[None]:
    with live_errors(name), schemas.new_schema(own, schema, live=live, name=name) as keeper:
        try:
            yield
        finally:
            failed = f"The database {schema} could not be dropped"
            with cleaning_up(failed), live_errors(name):
                schemas.drop(keeper, schema)


def _load(
    source: Path,
    dump: ForeignDump,
    *,
    own: Login,
    tools: Tools,
    name: str,
    poll: Callable[[], object],
) -> None:
    with own.connected(own.database, name=name) as connection:
        if any(one.kind == "event" for one in dump.made):
            _require_no_scheduler(connection, source.name)
        with _blamed_on(source.name):
            _make(connection, dump, _BEFORE_ROWS, poll)

            def chunks() -> Iterator[bytes]:
                yield dump.preamble
                yield from foreign_dump.rows(source)

            tools.load(own, own.database, chunks(), poll=poll)
            _make(connection, dump, _AFTER_ROWS, poll)
        rights.require_sight(connection, own.database, name=name)
        _require_all(connection, dump, own.database, source.name)


def _require_all(connection: Connection, dump: ForeignDump, schema: str, backup: str) -> None:
    """Raise where not all came that is in the dump, or not all of it is seen."""
    found = inventory.take(connection, schema, name=backup)
    counted = inventory.counts(connection, schema, found.tables)
    came = {one.name: number for one, number in zip(found.tables, counted, strict=True)}
    if came != {table: dump.rows[table] for table in dump.tables}:
        raise not_loaded(backup, "other rows came than are in it")
    programs = Counter(one.kind for one in dump.made)
    routines = len(found.names(*inventory.ROUTINES))
    if (len(found.triggers), routines) != (programs["trigger"], programs["routine"]):
        raise not_loaded(backup, "other triggers or routines came than are in it")


def _make(
    connection: Connection, dump: ForeignDump, kinds: tuple[str, ...], poll: Callable[[], object]
) -> None:
    execute(connection, "SET SESSION foreign_key_checks = 0")
    for kind in kinds:
        for one in dump.made:
            if one.kind == kind:
                poll()
                _make_one(connection, one)


def _make_one(connection: Connection, one: Made) -> None:
    """Have the server make it, as one statement: of several, it refuses all."""
    is_program = one.kind in {"routine", "trigger", "event"}
    mode = one.settings.sql_mode if is_program else "NO_AUTO_VALUE_ON_ZERO"
    zone = one.settings.time_zone if one.kind == "event" else ""
    is_known = re.fullmatch(r"utf8mb4_\w+", one.settings.collation)
    named = f" COLLATE {one.settings.collation}" if is_known else ""
    execute(connection, f"SET NAMES utf8mb4{named}")
    execute(connection, f"SET SESSION sql_mode = '{mode}'")
    if zone:
        execute(connection, f"SET SESSION time_zone = '{zone}'")
    text = one.statement.encode().hex()
    execute(connection, f"EXECUTE IMMEDIATE CONVERT(0x{text} USING utf8mb4)")


def _require_no_scheduler(connection: Connection, backup: str) -> None:
    if scalar(connection, "SELECT @@event_scheduler") == "ON":
        raise events_would_run(backup)


@contextmanager
def _blamed_on(backup: str) -> Iterator[None]:
    """Say of a dump whose statements the server refuses that it cannot be loaded, and why."""
    try:
        with live_errors(backup):
            yield
    except BackupError as error:
        if type(error) is not BackupError:
            raise
        raise not_loaded(backup, error.reason) from error

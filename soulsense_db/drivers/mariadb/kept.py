"""What a restore replaced: tables in a schema of their own, until the next restore has some.

So the safety backup is written once the live database is in use again, and an undo has nothing to
load: tables change places. What no table takes with it, routines and triggers, is in the notes.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb import inventory, notes, schemas, snapshot
from soulsense_db.drivers.mariadb.archive import Description
from soulsense_db.drivers.mariadb.errors import live_errors
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.notes import Kept
from soulsense_db.drivers.mariadb.schemas import Work
from soulsense_db.drivers.mariadb.tools import Tools
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import replaced_is_gone


def without_copy(login: Login, *, name: str) -> str | None:
    """Return what the copy will be for of kept tables of which there is no file yet."""
    with login.connected(name=name) as connection, live_errors(name):
        schema = _without_copy(connection, login.database)
        return None if schema is None else _read(connection, schema, name).purpose


def _without_copy(connection: Connection, live: str) -> str | None:
    found = notes.copies(connection, schemas.ours(connection, live))
    return next((schema for schema, copy in found.items() if not copy), None)


def _read(connection: Connection, schema: str, name: str) -> Kept:
    found = notes.read(connection, schema)
    kept = None if found is None else found[0].kept
    if kept is None:
        raise replaced_is_gone(name)
    return kept


def write_copy(login: Login, tools: Tools, target: Path, *, name: str) -> SnapshotInfo:
    """Write what the last restore replaced to the existing empty file ``target``."""
    with login.connected(name=name) as connection, live_errors(name):
        schema = _without_copy(connection, login.database)
        if schema is None:
            raise replaced_is_gone(name)
        old = Work(schema, login.database, connection).old
        return snapshot.write_kept(
            login, tools, target, old, _read(connection, schema, name), name=name
        )


def note_copy(login: Login, copy: str | None, *, name: str) -> None:
    """Note that there is a file now, with the checksum ``copy``; drop what was kept before.

    With None it is dropped itself.
    """
    with login.connected(name=name) as connection, live_errors(name):
        live = login.database
        schema = _without_copy(connection, live)
        if schema is None:
            raise replaced_is_gone(name)
        if copy is None:
            schemas.drop_all(connection, Work(schema, live, connection), name)
            return
        notes.set_copy(connection, schema, copy)
        for other, has_copy in notes.copies(connection, schemas.ours(connection, live)).items():
            if other != schema and has_copy:
                schemas.drop_all(connection, Work(other, live, connection), name)


def schema_of(connection: Connection, live: str, described: Description) -> str | None:
    """Return the schema whose tables the backup is of that is ``described``; None without one.

    Its rows are counted: nothing else tells whether somebody has written to it.
    """
    copies = notes.copies(connection, schemas.ours(connection, live))
    for name, copy in copies.items():
        if copy != described.sha256:
            continue
        schema = Work(name, live, connection).old
        found = inventory.tables(connection, schema)
        numbers = inventory.counts(connection, schema, found)
        counted = {one.name: number for one, number in zip(found, numbers, strict=True)}
        sequences = [one.name for one in described.items if one.kind == "SEQUENCE"]
        there = set(inventory.renamed(connection, schema))
        if counted == dict(described.counts) and there == {*counted, *sequences}:
            return schema
    return None

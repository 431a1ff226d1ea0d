"""Restores on a running Galera cluster: what holds there in the place of locks.

A statement that changes tables is executed by all nodes, at one place in their common order; what
had a lock on these tables is ended with 1213. So one ``RENAME TABLE`` swaps on all of them, and no
transaction is half before and half after it. Nobody is kept waiting, and there is nothing to wait
for: what was committed until then is in what is replaced, which is kept.

The same order tells who comes too late. Notes on a swap are renamed by it, and by whoever tidies up
after it: the second of the two fails, on whatever node it was begun.
"""

from __future__ import annotations

import re

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory, notes, schemas
from soulsense_db.drivers.mariadb.archive import Description
from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.notes import Notes
from soulsense_db.drivers.mariadb.restore_errors import in_a_cluster
from soulsense_db.drivers.mariadb.schemas import Work
from soulsense_db.drivers.mariadb.statements import execute, is_schema, literal, quoted, rows
from soulsense_db.drivers.mariadb.swap import rename_statement
from soulsense_db.errors import UnsupportedDatabaseError

_ENGINE = re.compile(r"^\) ENGINE=(\w+)", re.MULTILINE)
_ELSEWHERE = " DISABLE ON SLAVE "
_REPLICATED = "InnoDB"
_NOT_THERE = (1146, 1049, 1017)


def require_live(connection: Connection, live: str, *, name: str) -> None:
    """Raise for a live database that cannot be swapped on all nodes at once."""
    found = inventory.tables(connection, live)
    others = [one.name for one in found if one.engine != _REPLICATED]
    if others:
        raise in_a_cluster(name, f"no change of {', '.join(others)} goes to the other nodes")
    history = [one.name for one in found if one.is_versioned]
    if history:
        raise in_a_cluster(name, f"the history of {', '.join(history)} is not the same on all")
    if len(inventory.renamed(connection, live)) > len(found):
        raise in_a_cluster(name, "it has sequences, whose next numbers are not the same on all")
    elsewhere = rows(
        connection,
        "SELECT EVENT_NAME FROM information_schema.EVENTS"
        f" WHERE {is_schema('EVENT_SCHEMA', literal(live))}"
        " AND STATUS = 'SLAVESIDE_DISABLED'",
    )
    if elsewhere:
        names = ", ".join(str(one) for (one,) in elsewhere)
        raise in_a_cluster(name, f"another node runs the events {names}: connect to that one")
    if inventory.trigger_names(connection, live):
        raise _has_triggers(name)
    method = rows(connection, "SHOW VARIABLES LIKE 'wsrep_OSU_method'")
    if method and method[0][1] != "TOI":
        raise in_a_cluster(name, f"wsrep_OSU_method is {method[0][1]}, and not TOI")


def require_backup(described: Description, *, name: str) -> None:
    """Raise for a backup that cannot be put in place on all nodes at once."""
    if "triggers" in described.sections:
        raise _has_triggers(name, "the backup")
    for item in described.items:
        if item.kind == "SEQUENCE":
            raise in_a_cluster(name, f"the backup has the sequence {item.name}")
        if item.kind == "SYSTEM VERSIONED":
            raise in_a_cluster(name, f"the backup has the history of {item.name}")
        if item.kind == "EVENT" and _ELSEWHERE in item.statement:
            raise in_a_cluster(
                name, f"the backup is of a node that does not run the event {item.name}"
            )
        engine = _ENGINE.search(item.statement) if item.kind == "BASE TABLE" else None
        if engine and engine[1] != _REPLICATED:
            raise in_a_cluster(name, f"in the backup {item.name} is of {engine[1]}")


def _has_triggers(name: str, what: str = "it") -> UnsupportedDatabaseError:
    """Return the error for triggers: a table takes none along to another schema."""
    return in_a_cluster(name, f"{what} has triggers, which no one statement puts in place")


def swap(connection: Connection, work: Work, noted: Notes, *, name: str) -> None:
    """Swap all tables on all nodes; on any error, nothing or all of it was done."""
    if noted.old_triggers or noted.new_triggers:  # made since it was looked at, perhaps
        raise _has_triggers(name)
    statement = rename_statement(connection, work)
    work.require_lock()
    execute(connection, statement)
    work.require_lock()


def settled(connection: Connection, schema: str) -> tuple[Notes, str] | None:
    """Return what :func:`.notes.read` does, of a swap that is done, or will never be."""
    if not inventory.is_in_a_cluster(connection):
        return notes.read(connection, schema)
    before, undone = quoted(schema, notes.BEFORE), quoted(schema, notes.UNDONE)
    try:
        execute(connection, f"RENAME TABLE {before} TO {undone}")
    except DBAPIError as error:
        if code_of(error) not in _NOT_THERE:
            raise
    found = notes.read(connection, schema)
    if found is None:  # a swap takes notes along: without this schema there is no place for them
        schemas.drop(connection, schema)
    return found

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
from soulsense_db.drivers.mariadb.errors import code_of, in_a_cluster
from soulsense_db.drivers.mariadb.notes import Notes
from soulsense_db.drivers.mariadb.schemas import Work
from soulsense_db.drivers.mariadb.statements import execute, quoted, rows

_ENGINE = re.compile(r"^\) ENGINE=(\w+)", re.MULTILINE)
_REPLICATED = "InnoDB"
_NOT_THERE = (1146, 1049, 1017)


class NoWriteLock:
    """Keeps nobody out: no lock reaches the writers of other nodes."""

    is_released = False

    def release(self) -> bool:
        """Return False: there is nothing to release."""
        return False

    def changed(self) -> bool:
        """Return False: nothing of the caller's own has begun."""
        return False

    def has_concurrent_commit(self) -> bool:
        """Return False: what is committed is in what is kept."""
        return False


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
    triggers = inventory.take_triggers(connection, live)
    if triggers:
        raise in_a_cluster(name, _of_triggers([one.name for one in triggers]))
    method = rows(connection, "SHOW VARIABLES LIKE 'wsrep_OSU_method'")
    if method and method[0][1] != "TOI":
        raise in_a_cluster(name, f"wsrep_OSU_method is {method[0][1]}, and not TOI")


def require_backup(described: Description, *, name: str) -> None:
    """Raise for a backup that cannot be put in place on all nodes at once."""
    for item in described.items:
        if item.kind == "SEQUENCE":
            raise in_a_cluster(name, f"the backup has the sequence {item.name}")
        if item.kind == "SYSTEM VERSIONED":
            raise in_a_cluster(name, f"the backup has the history of {item.name}")
        engine = _ENGINE.search(item.statement) if item.kind == "BASE TABLE" else None
        if engine and engine[1] != _REPLICATED:
            raise in_a_cluster(name, f"in the backup {item.name} is of {engine[1]}")
    if described.triggers:
        raise in_a_cluster(name, _of_triggers([one.name for one in described.triggers]))


def _of_triggers(names: list[str]) -> str:
    return (
        f"a write on another node could miss a trigger while they are made anew "
        f"({', '.join(sorted(names))})"
    )


def swap(connection: Connection, work: Work) -> None:
    """Swap all tables on all nodes; on any error, nothing or all of it was done."""
    statement = rename(connection, work)
    work.require_lock()
    execute(connection, statement)


def rename(connection: Connection, work: Work) -> str:
    """Return the statement that swaps all tables, and renames the notes on it."""
    live = work.live
    # What was made since is no part of the backup either.
    moves = [
        *(
            (quoted(live, one), quoted(work.old, one))
            for one in inventory.renamed(connection, live)
        ),
        *(
            (quoted(work.coming, one), quoted(live, one))
            for one in inventory.renamed(connection, work.coming)
        ),
        (quoted(work.name, notes.FIRST), quoted(work.name, notes.FIRST_AFTER)),
        (quoted(work.name, notes.BEFORE), quoted(work.name, notes.AFTER)),
    ]
    return "RENAME TABLE " + ", ".join(f"{source} TO {target}" for source, target in moves)


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

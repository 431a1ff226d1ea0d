"""Triggers on a running Galera cluster: no write misses one, on whatever node it is made.

A trigger belongs to a table, and goes along when that gets another name in its schema, but to no
other schema. Two triggers of a schema cannot have the same name. So, each step on all nodes:

1. What comes with triggers, or replaces what has some, gets other names for its foreign keys:
   these are names of a schema, too. What comes with triggers is put into the live schema, by
   another name.
2. Writes that a live trigger is for are refused from now on, as a cluster refuses what it cannot
   commit: with 1213, by a trigger of ours. Such a write would miss its trigger.
3. Live triggers are dropped, and the new ones are made on the tables that are to come.
4. All tables are swapped, in one statement. Those that refuse writes stay in the live schema, by
   another name, until the trigger is gone that refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb import inventory, programs
from soulsense_db.drivers.mariadb.errors import in_a_cluster
from soulsense_db.drivers.mariadb.inventory import Inventory
from soulsense_db.drivers.mariadb.notes import Notes
from soulsense_db.drivers.mariadb.schemas import Work
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows

OURS = "~soulsense_"
"""How the names of what is in the live schema for a moment begin."""
_COMING, _GOING, _REFUSES, _KEY = (f"{OURS}{what}_" for what in ("new", "old", "no", "key"))
_LONGEST = 64 - max(map(len, (_COMING, _GOING, _KEY)))
_FOREIGN_KEY = re.compile(
    r"^ +CONSTRAINT `(?P<name>(?:[^`]|``)+)` (?P<rest>FOREIGN KEY .*?),?$", re.MULTILINE
)
_SAID = literal("a restore is being put in place, try again")


def has_unfinished(found: Inventory) -> bool:
    """Whether something is in a schema that is there for a moment of a restore."""
    names = [*(one.name for one in found.tables), *(one.name for one in found.triggers)]
    return any(name.startswith(OURS) for name in names)


def require_room(connection: Connection, schema: str, *, name: str) -> None:
    """Raise for names of tables and foreign keys that leave no room for ours before them."""
    tables = inventory.renamed(connection, schema)
    keys = [key for table in tables for key, _ in _keys_of(connection, schema, table)]
    long = [one for one in (*tables, *keys) if len(one) > _LONGEST]
    if long:
        reason = f"there are triggers, and these names are too long: {', '.join(long)}"
        raise in_a_cluster(name, reason)


def make_ready(connection: Connection, work: Work, noted: Notes, *, name: str) -> None:
    """Do all but the swap itself: afterwards the tables to come have their triggers."""
    live, coming = work.live, work.coming
    require_room(connection, coming, name=name)
    with_old = {one.table for one in noted.old_triggers}
    with_new = {one.table for one in noted.new_triggers}
    there = inventory.renamed(connection, coming)
    for table in there:
        if table in with_old | with_new:
            _rename_keys(connection, coming, table, is_ready=True)
    moves = [(quoted(coming, one), quoted(live, _COMING + one)) for one in there if one in with_new]
    rename(connection, moves)
    work.require_lock()
    for number, (table, event) in enumerate(
        sorted({(one.table, one.event) for one in noted.old_triggers})
    ):
        execute(
            connection,
            f"CREATE TRIGGER {quoted(live, f'{_REFUSES}{number}')} BEFORE {event}"
            f" ON {quoted(live, table)} FOR EACH ROW"
            f" SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = {_SAID}",
        )
    programs.drop_triggers(connection, noted.old_triggers, live)
    named = [msgspec.structs.replace(one, table=_COMING + one.table) for one in noted.new_triggers]
    programs.create_triggers(connection, named, live)


def moves(connection: Connection, work: Work) -> Iterator[tuple[str, str]]:
    """Yield old and new names of all that is swapped in one statement."""
    live = work.live
    refusing = {
        one.table
        for one in inventory.take_triggers(connection, live)
        if one.name.startswith(_REFUSES)
    }
    placed = []
    # What was made since is no part of the backup either.
    for one in inventory.renamed(connection, live):
        if one.startswith(_COMING):
            placed.append(one)
        elif one in refusing:
            yield quoted(live, one), quoted(live, _GOING + one)
        else:
            yield quoted(live, one), quoted(work.old, one)
    for one in inventory.renamed(connection, work.coming):
        yield quoted(work.coming, one), quoted(live, one)
    for one in placed:
        yield quoted(live, one), quoted(live, one.removeprefix(_COMING))


def finish(connection: Connection, work: Work) -> None:
    """Take out of the live schema what was replaced, and give foreign keys their names."""
    live = work.live
    _let_writes(connection, live)
    tables = inventory.renamed(connection, live)
    gone = [one for one in tables if one.startswith(_GOING)]
    rename(
        connection,
        [(quoted(live, one), quoted(work.old, one.removeprefix(_GOING))) for one in gone],
    )
    for table in tables:
        if table not in gone:
            _rename_keys(connection, live, table, is_ready=False)


def put_back(connection: Connection, live: str, noted: Notes) -> None:
    """Make a live schema again what it was before :func:`make_ready`, from wherever it was left."""
    for one in inventory.renamed(connection, live):
        if one.startswith(_COMING):
            execute(connection, f"DROP TABLE {quoted(live, one)}")
    there = {one.name for one in inventory.take_triggers(connection, live)}
    if not {one.name for one in noted.old_triggers} <= there:
        # All of them: those of a table are run in the order in which they were made.
        programs.drop_triggers(connection, noted.old_triggers, live)
        programs.create_triggers(connection, noted.old_triggers, live)
    _let_writes(connection, live)


def rename(connection: Connection, moves: list[tuple[str, str]]) -> None:
    """Rename tables, all of them at once."""
    if moves:
        execute(connection, renaming(moves))


def renaming(moves: list[tuple[str, str]]) -> str:
    """Return the statement that renames tables."""
    return "RENAME TABLE " + ", ".join(f"{source} TO {target}" for source, target in moves)


def _let_writes(connection: Connection, live: str) -> None:
    found = inventory.take_triggers(connection, live)
    ours = [one for one in found if one.name.startswith(_REFUSES)]
    programs.drop_triggers(connection, ours, live)


def _keys_of(connection: Connection, schema: str, table: str) -> Iterator[tuple[str, str]]:
    """Yield name and definition of the foreign keys that were given a name."""
    statement = str(rows(connection, f"SHOW CREATE TABLE {quoted(schema, table)}")[0][1])
    for found in _FOREIGN_KEY.finditer(statement):
        name = found["name"].replace("``", "`")
        if not name.startswith(f"{table}_ibfk_"):  # the server's own go with the table's name
            yield name, found["rest"]


def _rename_keys(connection: Connection, schema: str, table: str, *, is_ready: bool) -> None:
    """Give foreign keys names that no other schema has, or take these from them.

    In one statement: nobody can write what a key would refuse. No row is looked at.
    """
    changes = []
    for name, definition in _keys_of(connection, schema, table):
        if name.startswith(_KEY) == is_ready:
            continue
        new = _KEY + name if is_ready else name.removeprefix(_KEY)
        changes.append(f"DROP FOREIGN KEY {quoted(name)}")
        changes.append(f"ADD CONSTRAINT {quoted(new)} {definition}")
    if changes:
        execute(
            connection,
            f"ALTER TABLE {quoted(schema, table)} {', '.join(changes)}, ALGORITHM=INPLACE",
        )

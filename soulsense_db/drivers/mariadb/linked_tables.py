"""Which tables the server locks together, so that one connection has to lock them.

``LOCK TABLES ... WRITE`` of a table also locks those that its foreign keys refer to, with
``foreign_key_checks`` or without, and those that its triggers use, through routines and views as
well (measured). Two connections of ours that lock such tables would wait for each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb.inventory import Trigger
from soulsense_db.drivers.mariadb.statements import literal, rows

_WORD = re.compile(r"[\w$]+")


def groups_of(connection: Connection, schema: str, triggers: Sequence[Trigger]) -> list[list[str]]:
    """Return the tables of ``triggers``, which are in ``schema``, as they have to be locked.

    Each is in one group; groups and their tables are in the order in which the server takes locks.
    """
    named = literal(schema)
    links = rows(
        connection,
        "SELECT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE CONSTRAINT_SCHEMA = {named} AND UNIQUE_CONSTRAINT_SCHEMA = {named}",
    )
    programs = rows(
        connection,
        "SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES"
        f" WHERE ROUTINE_SCHEMA = {named} UNION ALL"
        " SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS"
        f" WHERE TABLE_SCHEMA = {named}",
    )
    words_of = {name.lower(): _words(text or "") for name, text in programs}
    for one in triggers:
        links += [(one.table, word) for word in _reached(_words(one.body), words_of)]
    tables = sorted({one.table for one in triggers}, key=str.encode)
    return _joined(tables, links)


def _words(text: str) -> set[str]:
    """Return all words of a statement: among them the names that it uses, and more does no harm."""
    return set(_WORD.findall(text.lower())) | set(re.findall(r"`((?:[^`]|``)+)`", text.lower()))


def _reached(words: set[str], words_of: dict[str, set[str]]) -> set[str]:
    """Return these words, and those of the routines and views that they name."""
    found, left = set(words), set(words)
    while left:
        left = set().union(*(words_of.get(word, set()) for word in left)) - found
        found |= left
    return found


def _joined(tables: Sequence[str], links: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return ``tables`` in groups, so that no link leads from one to another."""
    group_of = {table.lower(): [table] for table in tables}
    for one, other in links:
        first, second = group_of.get(one.lower()), group_of.get(other.lower())
        if first is None or second is None or first is second:
            continue
        first += second
        for table in second:
            group_of[table.lower()] = first
    unique = {id(group): sorted(group, key=str.encode) for group in group_of.values()}
    return sorted(unique.values(), key=lambda group: group[0].encode())

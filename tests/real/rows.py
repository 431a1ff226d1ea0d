"""Rows for tables of any application, and a digest of each table, with nothing but sqlite3."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import tempfile
import uuid
from collections import Counter
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

CATALOG = "backups"
VERSION_TABLE = "alembic_version"
_SCHEMA = "(schema)"
_PASSES = 6


def fill(path: Path, rows: int, *, without: Collection[str] = ()) -> dict[str, int]:
    """Add up to ``rows`` rows to every table but those ``without``; return how many each has.

    Values go by the declared type; a foreign key takes that of a row of the other table. A row that
    a constraint of the application refuses is left out.
    """
    with closing(sqlite3.connect(path)) as connection:
        tables = _tables(connection)
        waiting = [name for name in tables if name not in without]
        while waiting:
            # Those whose parents have rows; where tables refer to each other, the one that is
            # referred to most, so that as few rows as can be refer to nothing.
            free = [name for name in waiting if not _lacking(connection, name, waiting)]
            for table in free or [_most_wanted(connection, waiting)]:
                waiting.remove(table)
                if _count(connection, table) == 0:
                    _fill_table(connection, table, rows)
        for _ in range(_PASSES):  # rows that needed one of a table that came later
            for table in tables:
                if _count(connection, table) == 0 and table not in without:
                    _fill_table(connection, table, rows)
        connection.commit()
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
        assert not broken, f"rows without the row that they belong to: {broken[:5]}"
    return counts(path)


def counts(path: Path) -> dict[str, int]:
    """Return the number of rows of every table but the catalog."""
    with _copy_of(path) as copy, closing(sqlite3.connect(copy)) as connection:
        return {table: _count(connection, table) for table in _tables(connection)}


def digests(path: Path) -> dict[str, str]:
    """Return a digest of all rows of each table but the catalog, and one of the schema.

    A copy is read: opening the file itself would roll back or check in what a killed process left.
    """
    with _copy_of(path) as copy, closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = {
            table: _digest(connection, f'SELECT * FROM "{table}"') for table in _all(connection)
        }
        schema = f"SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> '{CATALOG}'"
        return found | {_SCHEMA: _digest(connection, schema)}


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the tables of which the digests differ."""
    return sorted(name for name in before | after if before.get(name) != after.get(name))


def revision_of(path: Path) -> str:
    """Return the revision that a database is at."""
    with _copy_of(path) as copy, closing(sqlite3.connect(copy)) as connection:
        found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE} ORDER BY 1").fetchall()
        return ", ".join(row[0] for row in found)


class _copy_of:  # noqa: N801 - used like a function
    """A copy of a database file and its log, for as long as the block runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        self._folder = tempfile.mkdtemp()
        for ending in ("", "-wal", "-journal"):
            source = self._path.with_name(self._path.name + ending)
            if source.exists():
                shutil.copy(source, self._folder)
        return Path(self._folder, self._path.name)

    def __exit__(self, *_error: object) -> None:
        shutil.rmtree(self._folder)


def _digest(connection: sqlite3.Connection, query: str) -> str:
    connection.text_factory = bytes
    rows = sorted(repr(row) for row in connection.execute(query))
    connection.text_factory = str
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _all(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> ?"
    return [row[0] for row in connection.execute(query, (CATALOG,))]


def _tables(connection: sqlite3.Connection) -> list[str]:
    own = (VERSION_TABLE,)
    return [name for name in _all(connection) if name not in own and not name.startswith("sqlite_")]


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def _parents(connection: sqlite3.Connection, table: str) -> dict[str, tuple[str, str]]:
    keys = connection.execute(f'PRAGMA foreign_key_list("{table}")').fetchall()
    return {key[3]: (key[2], key[4] or "id") for key in keys}


def _lacking(connection: sqlite3.Connection, table: str, waiting: Collection[str]) -> set[str]:
    """Return the parents of a table that are still to be filled."""
    return {parent for parent, _ in _parents(connection, table).values()} & {*waiting} - {table}


def _most_wanted(connection: sqlite3.Connection, waiting: Collection[str]) -> str:
    wanted = Counter(parent for table in waiting for parent in _lacking(connection, table, waiting))
    return max(waiting, key=lambda table: wanted[table])


def _fill_table(connection: sqlite3.Connection, table: str, rows: int) -> None:
    parents = _parents(connection, table)
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    allowed = _allowed(connection, table)
    for number in range(rows):
        values: dict[str, object] = {}
        for _, name, declared, required, default, primary in columns:
            if name in parents:
                values[name] = _value_of_parent(connection, *parents[name], number)
                if values[name] is None and required:
                    return
            elif name in allowed:
                values[name] = allowed[name][number % len(allowed[name])]
            elif default is None or primary:
                values[name] = _value(table, name, declared.upper(), number)
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        insert = f'INSERT OR IGNORE INTO "{table}" ({names}) VALUES ({marks})'
        connection.execute(insert, list(values.values()))


def _allowed(connection: sqlite3.Connection, table: str) -> dict[str, list[str]]:
    """Return the values that a CHECK lets a column have, as SQLAlchemy writes it for an Enum."""
    query = "SELECT sql FROM sqlite_master WHERE name = ?"
    (sql,) = connection.execute(query, (table,)).fetchone()
    found = re.findall(r'CHECK \("?(\w+)"? IN \((.*?)\)\)', sql)
    return {column: re.findall(r"'(.*?)'", values) for column, values in found}


def _value_of_parent(
    connection: sqlite3.Connection, parent: str, column: str, number: int
) -> object:
    rows = _count(connection, parent)
    if not rows:
        return None
    query = f'SELECT "{column}" FROM "{parent}" ORDER BY rowid LIMIT 1 OFFSET ?'
    return connection.execute(query, (number % rows,)).fetchone()[0]


def _value(table: str, name: str, declared: str, number: int) -> object:
    """Return a value that fits the declared type; the same one each time."""
    values: dict[str, object] = {
        "JSON": "{}",
        "BOOL": number % 2,
        "CHAR(36)": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{table} {name} {number}")),
        "CHAR(32)": uuid.uuid5(uuid.NAMESPACE_OID, f"{table} {name} {number}").hex,
        "TIME": f"2024-01-{number % 28 + 1:02} 10:30:00.000000",
        "INT": number + 1,
        "FLOAT": number + 0.5,
        "BLOB": number.to_bytes(16, "big"),
    }
    # VARCHAR is for text, whatever its length.
    kinds = [kind for kind in values if kind in declared and not declared.startswith("VARCHAR")]
    return values[kinds[0]] if kinds else f"{name} {number}"

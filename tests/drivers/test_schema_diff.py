"""Each difference between two schemas is a sentence that a person understands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from soulsense_db.drivers import SchemaChange
from soulsense_db.drivers.sqlite.diff import Opened, diff
from soulsense_db.drivers.sqlite.table_sql import read_table, same_sql

Schemas = tuple[sqlite3.Connection, sqlite3.Connection]


@pytest.fixture
def schemas(tmp_path: Path) -> Iterator[Schemas]:
    """Return two empty databases."""
    with (
        closing(sqlite3.connect(tmp_path / "1.db")) as first,
        closing(sqlite3.connect(tmp_path / "2.db")) as second,
    ):
        yield first, second


def _changes(schemas: Schemas, before: str, after: str) -> tuple[SchemaChange, ...]:
    for connection, script in zip(schemas, (before, after), strict=True):
        connection.executescript(script)
    return diff(Opened(schemas[0], None), Opened(schemas[1], None)).schema


USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(20)"
PAIRS = {
    "column added": (
        f"{USERS})",
        f"{USERS}, age INTEGER NOT NULL DEFAULT 0)",
        "Column users.age was added (INTEGER NOT NULL DEFAULT 0).",
    ),
    "column removed": (
        f"{USERS}, age)",
        f"{USERS})",
        "Column users.age was removed (no type).",
    ),
    "type": (
        f"{USERS})",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(50))",
        "Column users.name: its type was VARCHAR(20), and is VARCHAR(50) now.",
    ),
    "required": (
        f"{USERS})",
        f"{USERS} NOT NULL)",
        "Column users.name: it must have a value now.",
    ),
    "not required": (f"{USERS} NOT NULL)", f"{USERS})", "Column users.name: it may be NULL now."),
    "default": (
        f"{USERS} DEFAULT 'a')",
        f"{USERS} DEFAULT 'b')",
        "Column users.name: its default was 'a', and is 'b' now.",
    ),
    "no default": (
        f"{USERS} DEFAULT 'a')",
        f"{USERS})",
        "Column users.name: it has no default now, and had 'a'.",
    ),
    "new default": (
        f"{USERS})",
        f"{USERS} DEFAULT 'a')",
        "Column users.name: it has the default 'a' now.",
    ),
    "collation": (
        f"{USERS})",
        f"{USERS} COLLATE nocase)",
        "Column users.name: its collation was BINARY, and is NOCASE now.",
    ),
    "computed": (
        f"{USERS}, up TEXT)",
        f"{USERS}, up TEXT AS (upper(name)))",
        "Column users.up: it is computed now.",
    ),
    "two things": (
        f"{USERS})",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "Column users.name: its type was VARCHAR(20), and is TEXT now; it must have a value now.",
    ),
    "primary key": (
        "CREATE TABLE t (a, b, PRIMARY KEY (a))",
        "CREATE TABLE t (a, b, PRIMARY KEY (b, a))",
        "The primary key of t was (a), and is (b, a) now.",
    ),
    "new primary key": (
        "CREATE TABLE t (a, b)",
        "CREATE TABLE t (a, b, PRIMARY KEY (b))",
        "Table t has a primary key now: (b).",
    ),
    "no primary key": (
        "CREATE TABLE t (a, b, PRIMARY KEY (b))",
        "CREATE TABLE t (a, b)",
        "Table t has no primary key any more; it was (b).",
    ),
    "unique": (f"{USERS})", f"{USERS} UNIQUE)", "Unique (name) of users was added."),
    "check": (
        f"{USERS}, CHECK (length(name) > 1))",
        f"{USERS})",
        "CHECK (length(name) > 1) of users was removed.",
    ),
    "foreign key": (
        "CREATE TABLE t (a, b, FOREIGN KEY (a, b) REFERENCES u (c, d) ON DELETE CASCADE)",
        "CREATE TABLE t (a, b)",
        "Foreign key (a, b) -> u (c, d) ON DELETE CASCADE of t was removed.",
    ),
    "WITHOUT ROWID": (
        "CREATE TABLE t (a PRIMARY KEY NOT NULL)",
        "CREATE TABLE t (a PRIMARY KEY NOT NULL) WITHOUT ROWID",
        "Table t is WITHOUT ROWID now.",
    ),
    "AUTOINCREMENT": (
        "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE t (a INTEGER PRIMARY KEY)",
        "Table t no longer uses AUTOINCREMENT.",
    ),
    "order of columns": (
        "CREATE TABLE t (a, b)",
        "CREATE TABLE t (b, a)",
        "Table t has its columns in another order.",
    ),
    "anything else": (
        "CREATE TABLE t (a REFERENCES u DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t (a REFERENCES u)",
        "Table t is declared in another way.",
    ),
    "index added": (
        "CREATE TABLE t (a, b)",
        "CREATE TABLE t (a, b); CREATE INDEX i ON t (a, b DESC)",
        "Index i on t was added: (a, b DESC).",
    ),
    "index changed": (
        "CREATE TABLE t (a, b); CREATE INDEX i ON t (a)",
        "CREATE TABLE t (a, b); CREATE UNIQUE INDEX i ON t (a, lower(b))",
        "Index i on t was (a), and is unique (a, an expression) now.",
    ),
    "partial index": (
        "CREATE TABLE t (a); CREATE INDEX i ON t (a) WHERE a > 1",
        "CREATE TABLE t (a); CREATE INDEX i ON t (a) WHERE a > 2",
        "Index i on t was changed.",
    ),
    "table with its index": (
        "",
        "CREATE TABLE t (a); CREATE INDEX i ON t (a)",
        "Table t was added.",
    ),
    "view": ("CREATE VIEW v AS SELECT 1", "CREATE VIEW v AS SELECT 2", "View v was changed."),
    "trigger": (
        "CREATE TABLE t (a); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE TABLE t (a)",
        "Trigger g on t was removed.",
    ),
    "user_version": (
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 2",
        "PRAGMA user_version was 1, and is 2 now.",
    ),
    "virtual table": (
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "",
        "Virtual table f was removed.",
    ),
}


@pytest.mark.parametrize(("before", "after", "sentence"), PAIRS.values(), ids=PAIRS)
def test_a_difference_is_one_sentence(
    schemas: Schemas, before: str, after: str, sentence: str
) -> None:
    """It says what it was and what it is, and nothing is said twice."""
    own = [change for change in _changes(schemas, before, after) if "f_" not in str(change.name)]
    assert [change.sentence for change in own] == [sentence]
    (change,) = own
    assert change.kind == ("added" if not change.before else change.kind)
    assert change.before != change.after


@pytest.mark.parametrize(("before", "after", "sentence"), PAIRS.values(), ids=PAIRS)
def test_the_other_way_round_is_a_difference_too(
    schemas: Schemas, before: str, after: str, sentence: str
) -> None:
    """What was added one way was removed the other way."""
    kinds = {"added": "removed", "removed": "added", "changed": "changed"}
    there = _changes(schemas, before, after)
    back = diff(Opened(schemas[1], None), Opened(schemas[0], None)).schema
    assert sorted(kinds[c.kind] for c in there) == sorted(c.kind for c in back)


def test_the_same_written_in_another_way_is_no_difference(schemas: Schemas) -> None:
    """What ALTER TABLE, Alembic's batch mode and people write differently is the same schema."""
    assert not _changes(
        schemas,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); CREATE VIEW v AS SELECT 1",
        'CREATE TABLE "users" (\n\tid integer primary key, -- the key\n [name] TEXT\n);'
        "CREATE VIEW v as select /* one */ 1",
    )


def test_sql_is_read_as_sqlite_reads_it() -> None:
    """Quotes, comments and parentheses in strings do not lead astray."""
    read = read_table(
        """CREATE TABLE "check (x)" ( -- check (no)
        [a ) b] TEXT COLLATE rtrim CHECK ([a ) b] <> ')' AND (1)), /* check (no) */
        `c``d` DEFAULT 'check (no)' CONSTRAINT n CHECK(  `c``d`
          > 0 )) STRICT"""
    )
    assert read.checks == ("[a ) b] <> ')' AND (1)", "`c``d` > 0")
    assert read.collations == {"a ) b": "RTRIM"}
    assert read.options == {"strict"}
    assert same_sql("CREATE VIEW v AS SELECT 'A'", "create view [V] as -- one\n select 'A'")
    assert not same_sql("SELECT 'A'", "SELECT 'a'")

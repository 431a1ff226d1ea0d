"""Chosen rows of a backup come back, and all else stays as it is."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from age_keys import Key
from conftest import EngineMaker
from helpers import (
    NOBODY,
    Mode,
    digest,
    execute,
    held_by_another_process,
    leftovers,
    scalar,
    snapshot_of,
    write_marker,
)
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool, StaticPool

from soulsense_db import BackupManager
from soulsense_db.drivers import RowsPlan
from soulsense_db.drivers.sqlite import row_loading, row_selection
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    IdentityError,
    InterruptedMigrationError,
    InvalidBackupError,
    NotEnoughSpaceError,
    OptionError,
    PermissionDeniedError,
    RowsRefusedError,
    UntrustedDirectoryError,
    WrongDatabaseError,
)
from soulsense_db.events import Failed, RowsRestored
from soulsense_db.fs import space

JOURNAL = """
    CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT NOT NULL);
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        title TEXT, body TEXT
    );
    CREATE TABLE answers (
        id INTEGER PRIMARY KEY,
        entry_id INTEGER REFERENCES entries (id) ON DELETE CASCADE,
        text TEXT
    );
    CREATE TABLE log (what TEXT);
    CREATE TRIGGER entries_added AFTER INSERT ON entries
        BEGIN INSERT INTO log VALUES ('added ' || new.id); END;
    CREATE TRIGGER entries_edited AFTER UPDATE ON entries
        BEGIN UPDATE entries SET title = title || '!' WHERE id = new.id; END;
    INSERT INTO users VALUES (1, 'ann@x', 'Ann'), (2, 'bob@x', 'Bob');
    INSERT INTO entries VALUES (16, 1, 'Sun', 'warm'), (17, 1, 'Mon', 'rain'), (18, 2, 'Tue', 'x');
    INSERT INTO answers VALUES (1, 17, 'yes'), (2, 17, 'no'), (3, 18, 'maybe');
    DELETE FROM log;
"""
FOREIGN_KEYS = "PRAGMA foreign_keys = ON"


def make_journal(path: Path, mode: Mode = "delete", more: str = "") -> Path:
    """Make a database of entries by users, with answers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.executescript(JOURNAL + more)
    return path


def enforcing(engine: Engine) -> Engine:
    """Have each connection of ``engine`` enforce foreign keys, as SQLAlchemy's docs advise."""

    @sa.event.listens_for(engine, "connect")
    def enforce(connection: Any, _record: object) -> None:
        connection.execute(FOREIGN_KEYS)

    return engine


def delete(path: Path, *conditions: str) -> None:
    """Delete rows as an application that enforces foreign keys does: children go along."""
    execute(path, FOREIGN_KEYS, *(f"DELETE FROM {one}" for one in conditions))


def rows(path: Path, statement: str) -> list[Any]:
    """Return all rows of a statement."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def journal(tmp_path: Path, mode: Mode) -> Path:
    """Return such a database, in each journal mode."""
    return make_journal(tmp_path / "app.db", mode)


@pytest.fixture
def app(journal: Path, make_engine: EngineMaker) -> BackupManager:
    """Return its manager, with a backup of it as it was made."""
    manager = BackupManager(enforcing(make_engine(journal)), lock_timeout=5)
    manager.create("all is there")
    return manager


@pytest.fixture
def plain(tmp_path: Path, make_engine: EngineMaker) -> Callable[[str], BackupManager]:
    """Return a function that makes a database with a script, backs it up, returns a manager."""

    def make(script: str) -> BackupManager:
        path = tmp_path / "app.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(script)
        manager = BackupManager(make_engine(path), lock_timeout=5)
        manager.create()
        return manager

    return make


# The case: one entry was deleted


def test_a_deleted_entry_comes_back_and_nothing_else(app: BackupManager, journal: Path) -> None:
    """The row is what it was; rows written since, other tables and the journal mode stay."""
    mode = scalar(journal, "PRAGMA journal_mode")
    delete(journal, "entries WHERE id = 17")
    execute(journal, "INSERT INTO entries VALUES (19, 2, 'new', 'since')")
    before = rows(journal, "SELECT * FROM log")
    report = app.restore_rows("latest", "entries", "id = 17")
    assert (report.inserted, report.replaced, report.warnings) == (1, 0, ())
    assert rows(journal, "SELECT * FROM entries WHERE id IN (17, 19)") == [
        (17, 1, "Mon", "rain"),
        (19, 2, "new", "since"),
    ]
    assert rows(journal, "SELECT * FROM log") == before
    assert rows(journal, "SELECT count(*) FROM answers") == [(1,)]
    assert scalar(journal, "PRAGMA journal_mode") == mode
    assert leftovers(journal.parent) == []


def test_undo_goes_back_to_before_the_rows_came(app: BackupManager, journal: Path) -> None:
    """The safety backup is what was there at the last moment before; a second undo redoes."""
    delete(journal, "entries WHERE id = 17")
    before = digest(journal)
    report = app.restore_rows("latest", "entries", "id = 17")
    after = digest(journal)
    assert report.safety_backup is not None
    assert digest(report.safety_backup) == before
    safety = app.safety_backup()
    assert safety is not None and safety.description == "The database before rows were brought back"
    app.undo_restore()
    assert digest(journal) == before
    app.undo_restore()
    assert digest(journal) == after


def test_a_preview_writes_nothing_and_says_what_will_be(app: BackupManager, journal: Path) -> None:
    """Numbers, samples and what would stay behind; not a byte is changed by looking."""
    delete(journal, "entries WHERE id = 17")
    execute(
        journal, "DROP TRIGGER entries_edited", "UPDATE entries SET body = 'cold' WHERE id = 16"
    )
    before = snapshot_of(journal.parent)
    plan = app.preview_rows("latest", "entries", "user_id = 1", replace=True)
    assert {k: v for k, v in snapshot_of(journal.parent).items() if not k.endswith("-shm")} == {
        k: v for k, v in before.items() if not k.endswith("-shm")
    }
    (entries,) = plan.tables
    assert (entries.table, entries.role) == ("entries", "chosen")
    assert (entries.inserted, entries.replaced, entries.same, entries.kept) == (1, 1, 0, 0)
    assert entries.triggers == ("entries_added",)
    replaced, inserted = plan.samples
    assert (replaced.key, replaced.values) == ((("id", "16"),), (("body", "'warm'"),))
    assert replaced.before == (("body", "'cold'"),)
    assert dict(inserted.values)["title"] == "'Mon'"
    (children,) = plan.missing_children
    assert (children.table, children.parent, children.rows) == ("answers", "entries", 2)
    assert plan.problem is None


def test_rows_that_are_the_same_are_left_alone(app: BackupManager, journal: Path) -> None:
    """Where nothing is to be written, nothing is: no copy, no lock file, no new bytes."""
    before = journal.read_bytes()
    report = app.restore_rows("latest", "entries", replace=True)
    assert (report.plan.writes, report.plan.tables[0].same) == (0, 3)
    assert report.safety_backup is None
    assert app.safety_backup() is None
    assert journal.read_bytes() == before


def test_other_values_stay_unless_they_are_to_be_replaced(
    app: BackupManager, journal: Path
) -> None:
    """Without ``replace`` an edited row is counted and kept; with it, it is what it was."""
    execute(journal, "DROP TRIGGER entries_edited", "UPDATE entries SET body = 'mine'")
    report = app.restore_rows("latest", "entries")
    assert (report.plan.writes, report.plan.tables[0].kept) == (0, 3)
    report = app.restore_rows("latest", "entries", "id > 16", replace=True)
    assert report.replaced == 2
    assert rows(journal, "SELECT body FROM entries ORDER BY id") == [("mine",), ("rain",), ("x",)]


# Triggers


def test_triggers_do_not_run_by_default_and_are_what_they_were(
    app: BackupManager, journal: Path
) -> None:
    """Neither an insert nor a replacement calls one; afterwards each is there, word for word."""
    delete(journal, "entries WHERE id = 17")
    execute(journal, "UPDATE entries SET body = 'edited' WHERE id = 16", "DELETE FROM log")
    schema = rows(journal, "SELECT * FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    app.restore_rows("latest", "entries", replace=True)
    assert rows(journal, "SELECT * FROM log") == []
    assert rows(journal, "SELECT title, body FROM entries WHERE id < 18") == [
        ("Sun", "warm"),
        ("Mon", "rain"),
    ]
    after = rows(journal, "SELECT * FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    assert after == schema
    execute(journal, "INSERT INTO entries VALUES (99, 1, 'a', 'b')")
    assert rows(journal, "SELECT * FROM log") == [("added 99",)]


def test_triggers_run_when_asked_for(app: BackupManager, journal: Path) -> None:
    """With ``triggers="run"`` the application's own log, and its full-text index, follow."""
    delete(journal, "entries WHERE id = 17")
    execute(journal, "DELETE FROM log")
    app.restore_rows("latest", "entries", "id = 17", triggers="run")
    assert rows(journal, "SELECT * FROM log") == [("added 17",)]


@pytest.mark.parametrize(
    ("trigger", "chosen"),
    [
        ("BEFORE INSERT ON t BEGIN SELECT RAISE(IGNORE)", 1),
        ("AFTER INSERT ON t BEGIN DELETE FROM t WHERE id = new.id", 1),
        ("BEFORE UPDATE ON t BEGIN SELECT RAISE(IGNORE)", 2),
    ],
)
def test_a_row_that_a_trigger_does_not_let_come_back_is_not_said_to_be_back(
    plain: Callable[[str], BackupManager], trigger: str, chosen: int
) -> None:
    """With the triggers running, what one of them undoes is an error, and nothing is written."""
    manager = plain(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');"
    )
    path = manager.database
    assert path is not None
    execute(path, "DELETE FROM t WHERE id = 1", "UPDATE t SET x = 'c' WHERE id = 2")
    execute(path, f"CREATE TRIGGER g {trigger}; END")
    before = digest(path)
    where = f"id = {chosen}"
    with pytest.raises(RowsRefusedError, match="was not kept"):
        manager.restore_rows("latest", "t", where, replace=True, triggers="run")
    assert digest(path) == before


def test_a_trigger_that_refuses_is_told_and_nothing_is_written(
    app: BackupManager, journal: Path
) -> None:
    """What a trigger raises is the reason, without the row's text; no safety backup is left."""
    delete(journal, "entries WHERE id = 17")
    execute(
        journal,
        "CREATE TRIGGER no BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'read only'); END",
    )
    before = digest(journal)
    with pytest.raises(RowsRefusedError, match="id 17 of entries \\(read only\\)") as caught:
        app.restore_rows("latest", "entries", "id = 17", triggers="run")
    assert "rain" not in str(caught.value)
    assert (digest(journal), app.safety_backup()) == (before, None)
    assert app.restore_rows("latest", "entries", "id = 17").inserted == 1


def test_a_temporary_trigger_of_a_connect_event_does_not_run_either(
    journal: Path, make_engine: EngineMaker
) -> None:
    """What the application adds to each connection is set aside as well."""
    engine = make_engine(journal)

    @sa.event.listens_for(engine, "connect")
    def audit(connection: Any, _record: object) -> None:
        connection.execute(
            "CREATE TEMP TRIGGER audit AFTER INSERT ON main.entries "
            "BEGIN INSERT INTO log VALUES ('temp'); END"
        )

    manager = BackupManager(engine)
    manager.create()
    delete(journal, "entries WHERE id = 17")
    manager.restore_rows("latest", "entries", "id = 17")
    assert rows(journal, "SELECT * FROM log") == []
    delete(journal, "entries WHERE id = 17")
    manager.restore_rows("latest", "entries", "id = 17", triggers="run")
    assert sorted(rows(journal, "SELECT * FROM log")) == [("added 17",), ("temp",)]


# Foreign keys


def test_rows_whose_parents_are_gone_are_refused_and_listed(
    app: BackupManager, journal: Path
) -> None:
    """The plan lists each missing row and who refers to it; the error names the option."""
    delete(journal, "users WHERE id = 2")
    before = digest(journal)
    (missing,) = app.preview_rows("latest", "entries").missing_parents
    assert (missing.parent, missing.key, missing.rows) == ("users", (("id", "2"),), 1)
    assert missing.in_backup and missing.blocks
    with pytest.raises(RowsRefusedError, match=r"users id 2 \(for 1 row of entries\)") as caught:
        app.restore_rows("latest", "entries")
    assert "--with-parents" in caught.value.hint
    assert (digest(journal), app.safety_backup()) == (before, None)


def test_parents_come_along_and_theirs(app: BackupManager, journal: Path) -> None:
    """An answer brings its entry, which brings its user; foreign keys hold all the time."""
    delete(journal, "users WHERE id = 2")
    report = app.restore_rows("latest", "answers", "id = 3", with_parents=True)
    assert [(t.table, t.role, t.inserted) for t in report.plan.tables] == [
        ("answers", "chosen", 1),
        ("entries", "parent", 1),
        ("users", "parent", 1),
    ]
    assert rows(journal, "PRAGMA foreign_key_check") == []
    assert scalar(journal, "SELECT text FROM answers WHERE id = 3") == "maybe"


def test_children_come_along_and_theirs(app: BackupManager, journal: Path) -> None:
    """A user brings entries and answers, which a cascade had removed; other users' stay."""
    before = digest(journal)
    delete(journal, "users WHERE id = 1")
    report = app.restore_rows("latest", "users", "id = 1", with_children=True)
    assert {t.table: t.inserted for t in report.plan.tables} == {
        "users": 1,
        "entries": 2,
        "answers": 2,
    }
    execute(journal, "DELETE FROM log")
    assert digest(journal) == before


def test_a_circle_of_references_comes_back(
    plain: Callable[[str], BackupManager], make_engine: EngineMaker
) -> None:
    """Rows that refer to each other, and to themselves, are no endless search and no violation."""
    manager = plain(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER NOT NULL REFERENCES b (id));"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER NOT NULL REFERENCES a (id),"
        " self INTEGER REFERENCES b (id));"
        "INSERT INTO a VALUES (1, 10), (2, 20); INSERT INTO b VALUES (10, 2, 10), (20, 1, 10);"
    )
    path = manager.database
    assert path is not None
    manager = BackupManager(enforcing(make_engine(path)))
    before = digest(path)
    execute(path, "DELETE FROM a", "DELETE FROM b")
    report = manager.restore_rows("latest", "a", "id = 1", with_parents=True)
    assert report.inserted == 4
    assert digest(path) == before
    execute(path, "DELETE FROM a", "DELETE FROM b")
    manager.restore_rows("latest", "a", "id = 1", with_children=True, with_parents=True)
    assert digest(path) == before


def test_missing_parents_are_listed_by_their_keys(plain: Callable[[str], BackupManager]) -> None:
    """2 comes before 10."""
    manager = plain(
        "CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id));"
        "INSERT INTO p VALUES (2), (10); INSERT INTO c VALUES (1, 10), (2, 2);"
    )
    assert manager.database is not None
    execute(manager.database, "DELETE FROM c", "DELETE FROM p")
    plan = manager.preview_rows("latest", "c")
    assert [one.key for one in plan.missing_parents] == [(("id", "2"),), (("id", "10"),)]


def test_a_parent_that_the_backup_lacks_too_blocks_where_keys_are_enforced(
    journal: Path, make_engine: EngineMaker
) -> None:
    """An orphan of the backup stays one where the application lets it; else it is refused."""
    execute(journal, "INSERT INTO answers VALUES (9, 99, 'orphan')")
    BackupManager(make_engine(journal)).create()
    execute(journal, "DELETE FROM answers WHERE id = 9")
    strict = BackupManager(enforcing(make_engine(journal)))
    with pytest.raises(RowsRefusedError, match="entries id 99"):
        strict.restore_rows("latest", "answers", "id = 9", with_parents=True)
    loose = BackupManager(make_engine(journal))
    plan = loose.preview_rows("latest", "answers", "id = 9")
    assert [one.blocks for one in plan.missing_parents] == [False]
    assert loose.restore_rows("latest", "answers", "id = 9").inserted == 1


def test_a_reference_by_another_key_and_with_several_columns(
    plain: Callable[[str], BackupManager],
) -> None:
    """References to unique columns, composite and in odd names, are followed both ways."""
    manager = plain(
        'CREATE TABLE "the place" ("a b" TEXT, "c""d" INT, PRIMARY KEY ("a b", "c""d"))'
        " WITHOUT ROWID;"
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, x TEXT, y INT, code REFERENCES Codes (code)"
        ","
        ' FOREIGN KEY (x, y) REFERENCES "The Place" ("a b", "c""d"));'
        "CREATE TABLE codes (id INTEGER PRIMARY KEY, code TEXT UNIQUE);"
        "INSERT INTO \"the place\" VALUES ('p', 1), ('p', 2); INSERT INTO codes VALUES (1, 'k');"
        "INSERT INTO visit VALUES (1, 'p', 1, 'k'), (2, 'p', NULL, NULL);"
    )
    path = manager.database
    assert path is not None
    before = digest_unordered(path)
    execute(
        path, "DELETE FROM visit", 'DELETE FROM "the place" WHERE "c""d" = 1', "DELETE FROM codes"
    )
    plan = manager.preview_rows("latest", "visit")
    assert {one.parent for one in plan.missing_parents} == {"the place", "codes"}
    manager.restore_rows("latest", "visit", with_parents=True)
    assert digest_unordered(path) == before
    execute(path, "DELETE FROM visit", 'DELETE FROM "the place" WHERE "c""d" = 1')
    manager.restore_rows("latest", "the place", with_children=True)
    assert scalar(path, "SELECT count(*) FROM visit") == 1


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT", "CASCADE", "NO ACTION"])
@pytest.mark.parametrize("enforced", [True, False], ids=["enforced", "not enforced"])
def test_a_value_that_others_refer_to_is_not_replaced(
    plain: Callable[[str], BackupManager],
    make_engine: EngineMaker,
    action: str,
    enforced: bool,
) -> None:
    """Rows that nobody chose neither change with it, nor refer to nothing afterwards."""
    path = plain(
        "CREATE TABLE p (id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE UNIQUE, note TEXT);"
        "CREATE TABLE ch (id INTEGER PRIMARY KEY, code TEXT"
        f" REFERENCES p (code) ON UPDATE {action});"
        "INSERT INTO p VALUES (1, 'A', 'x'), (2, 'C', 'x'); INSERT INTO ch VALUES (5, 'a');"
    ).database
    assert path is not None
    engine = make_engine(path)
    manager = BackupManager(enforcing(engine) if enforced else engine, lock_timeout=5)
    execute(path, "UPDATE ch SET code = 'b'", "UPDATE p SET code = code || 'b', note = 'y'")
    execute(path, "UPDATE p SET code = 'B' WHERE id = 1")
    before = digest(path)
    with pytest.raises(RowsRefusedError, match="Rows of ch refer to the row id 1 of p"):
        manager.restore_rows("latest", "p", replace=True)
    assert digest(path) == before
    report = manager.restore_rows("latest", "p", "id = 2", replace=True)  # to that one none refers
    assert report.replaced == 1
    assert rows(path, "SELECT code FROM ch") == [("b",)]


def digest_unordered(path: Path) -> list[Any]:
    """Return all rows of all tables, sorted: some tables here have no rowid to order by."""
    names = rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'backups'")
    quoted = [name.replace('"', '""') for (name,) in names]
    return sorted(
        repr((name, sorted(rows(path, f'SELECT * FROM "{name}"'), key=repr))) for name in quoted
    )


def test_a_parent_that_was_given_another_key_needs_to_be_replaced(
    plain: Callable[[str], BackupManager],
) -> None:
    """The row is there, but not with the value that is referred to: the hint says --replace."""
    manager = plain(
        "CREATE TABLE codes (id INTEGER PRIMARY KEY, code TEXT UNIQUE);"
        "CREATE TABLE uses (id INTEGER PRIMARY KEY, code TEXT REFERENCES codes (code));"
        "INSERT INTO codes VALUES (1, 'old'); INSERT INTO uses VALUES (1, 'old');"
    )
    path = manager.database
    assert path is not None
    execute(path, "UPDATE codes SET code = 'new'", "DELETE FROM uses")
    with pytest.raises(RowsRefusedError) as caught:
        manager.restore_rows("latest", "uses", with_parents=True)
    assert "--with-parents --replace" in caught.value.hint
    manager.restore_rows("latest", "uses", with_parents=True, replace=True)
    assert rows(path, "SELECT code FROM codes") == rows(path, "SELECT code FROM uses") == [("old",)]


# What rows are the same


@pytest.mark.parametrize(
    "table",
    [
        "t (a TEXT PRIMARY KEY, b)",
        "t (a, b, PRIMARY KEY (a, b))",
        "t (a TEXT COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID",
        "t (b, a INTEGER PRIMARY KEY)",
        "t (a, b)",
        "t (rowid, oid, a, b)",
        "t (a UNIQUE, b)",
        "t (b, a PRIMARY KEY DESC)",
    ],
)
def test_rows_of_every_kind_of_table_come_back(
    plain: Callable[[str], BackupManager], table: str
) -> None:
    """With whatever key, or none, what was deleted is back and nothing is there twice."""
    columns = "(a, b)"
    manager = plain(
        f"CREATE TABLE {table}; INSERT INTO t {columns} VALUES (1, 'x'), (2, NULL), (3, x'00ff');"
    )
    path = manager.database
    assert path is not None
    everything = "SELECT a, b FROM t ORDER BY a"
    before = rows(path, everything)
    execute(path, "DELETE FROM t WHERE a > 1")
    assert manager.restore_rows("latest", "t").inserted == 2
    assert rows(path, everything) == before
    assert manager.restore_rows("latest", "t").plan.writes == 0


def test_rows_without_a_key_are_counted(plain: Callable[[str], BackupManager]) -> None:
    """Of equal rows as many come back as are missing, at their rowids where those are free."""
    manager = plain("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 1), (1, 1), (1, 1.0), (2, 2);")
    path = manager.database
    assert path is not None
    execute(path, "DELETE FROM t WHERE rowid IN (2, 4)", "INSERT INTO t (rowid, a) VALUES (4, 9)")
    assert manager.restore_rows("latest", "t").inserted == 2
    assert rows(path, "SELECT rowid, a, b FROM t ORDER BY rowid") == [
        (1, 1, 1),
        (2, 1, 1),
        (3, 1, 1.0),
        (4, 9, None),
        (5, 2, 2),
    ]


def test_a_null_in_a_key_is_no_key(plain: Callable[[str], BackupManager]) -> None:
    """SQLite allows several: such rows are compared by all their values."""
    manager = plain(
        "CREATE TABLE t (a TEXT PRIMARY KEY, b); INSERT INTO t VALUES (NULL, 1), (NULL, 2);"
    )
    path = manager.database
    assert path is not None
    execute(path, "DELETE FROM t WHERE b = 2")
    assert manager.restore_rows("latest", "t").inserted == 1
    assert rows(path, "SELECT b FROM t ORDER BY b") == [(1,), (2,)]
    assert manager.restore_rows("latest", "t", replace=True).plan.writes == 0


ODD_VALUES = [
    "9223372036854775807",
    "-9223372036854775808",
    "1e999",
    "0.1",
    "x''",
    "''",
    "'a' || char(0) || 'b'",
    "CAST(x'fffe41' AS TEXT)",
    "char(0x1F600)",
    "zeroblob(100000)",
]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_no_value_is_changed_on_the_way(
    plain: Callable[[str], BackupManager], encoding: str
) -> None:
    """Large numbers, infinity, NUL characters, text that is none: bytes and types are the same."""
    values = ", ".join(f"({number}, {one})" for number, one in enumerate(ODD_VALUES))
    manager = plain(
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (id PRIMARY KEY, v);"
        f"INSERT INTO t VALUES {values};"
    )
    path = manager.database
    assert path is not None
    everything = "SELECT id, typeof(v), CAST(v AS BLOB) FROM t ORDER BY id"
    before = rows(path, everything)
    execute(path, "DELETE FROM t WHERE id % 2", "UPDATE t SET v = 'other'")
    plan = manager.preview_rows("latest", "t", replace=True, samples=99)
    assert all(value.isprintable() for one in plan.samples for _, value in one.values)
    report = manager.restore_rows("latest", "t", replace=True, expected=plan)
    assert report.plan.writes == len(ODD_VALUES)
    assert rows(path, everything) == before


def test_a_number_of_another_type_is_another_value(plain: Callable[[str], BackupManager]) -> None:
    """1 and 1.0 are equal to Python and to SQLite, and are not stored the same."""
    manager = plain("CREATE TABLE t (id PRIMARY KEY, v); INSERT INTO t VALUES (1, 1), (2, '2');")
    path = manager.database
    assert path is not None
    execute(path, "UPDATE t SET v = 1.0 WHERE id = 1", "UPDATE t SET v = 2 WHERE id = 2")
    assert manager.restore_rows("latest", "t", replace=True).replaced == 2
    assert rows(path, "SELECT typeof(v) FROM t ORDER BY id") == [("integer",), ("text",)]


@pytest.mark.parametrize("key", ["", " PRIMARY KEY"])
def test_rows_that_nothing_tells_apart_are_refused(
    plain: Callable[[str], BackupManager], key: str
) -> None:
    """A table whose columns have all the names of the rowid, and no key or NULL in it."""
    manager = plain(
        f"CREATE TABLE t (rowid TEXT, _rowid_ TEXT, oid TEXT, k TEXT{key});"
        "INSERT INTO t VALUES ('1', '2', '3', NULL), ('1', '2', '3', 'a');"
    )
    with pytest.raises(RowsRefusedError, match="cannot be told apart"):
        manager.preview_rows("latest", "t")


def test_odd_names_are_names(plain: Callable[[str], BackupManager]) -> None:
    """Whatever is in the name of a table, a column or a trigger, it is only that."""
    table = 'x"; DROP TABLE t; --'
    name = '"x""; DROP TABLE t; --"'
    manager = plain(
        f'CREATE TABLE t (a); CREATE TABLE {name} ("select" PRIMARY KEY, "a\'b""[c]", [d`e] TEXT);'
        f'INSERT INTO {name} VALUES (1, 2, 3); CREATE TRIGGER "tr""i g" AFTER INSERT ON {name}'
        " BEGIN INSERT INTO t VALUES (1); END;"
    )
    path = manager.database
    assert path is not None
    execute(path, f"DELETE FROM {name}")
    where = """"select" = 1 AND "a'b""[c]" = 2 AND [d`e] = '3' AND '"no" it''s' <> '' -- "x"""
    assert manager.restore_rows("latest", table, where).inserted == 1
    assert rows(path, f"SELECT * FROM {name}") == [(1, 2, "3")]
    assert rows(path, "SELECT * FROM t") == []


# What is in the way


def test_a_unique_value_that_another_row_has_now_is_told(app: BackupManager, journal: Path) -> None:
    """The row that would clash is named, by its key; no row is deleted to make room."""
    delete(journal, "users WHERE id = 2")
    execute(journal, "INSERT INTO users VALUES (5, 'bob@x', 'Another Bob')")
    before = digest(journal)
    with pytest.raises(RowsRefusedError, match="email of id 2 is that of id 5") as caught:
        app.restore_rows("latest", "users")
    assert "bob@x" not in str(caught.value)
    with pytest.raises(RowsRefusedError, match="must be unique"):
        app.preview_rows("latest", "entries", with_parents=True)
    assert digest(journal) == before


def test_a_conflict_clause_of_the_table_deletes_nothing(
    plain: Callable[[str], BackupManager],
) -> None:
    """ON CONFLICT REPLACE in the schema is an error here: neither of two equal rows goes."""
    manager = plain(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 1), (2, 1);"
    )
    path = manager.database
    assert path is not None
    execute(path, "DROP TABLE t")
    execute(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT REPLACE)")
    with pytest.raises(RowsRefusedError, match=r"UNIQUE constraint failed: t\.a"):
        manager.restore_rows("latest", "t")
    assert rows(path, "SELECT id FROM t") == []


def test_a_check_of_the_table_is_told(app: BackupManager, journal: Path) -> None:
    """A constraint that is newer than the row refuses it, and its name is the reason."""
    execute(
        journal,
        "CREATE TABLE new (id INTEGER PRIMARY KEY, entry_id, text TEXT CHECK (text <> 'yes'))",
        "DROP TABLE answers",
        "ALTER TABLE new RENAME TO answers",
    )
    with pytest.raises(RowsRefusedError, match=r"id 1 of answers .*CHECK"):
        app.restore_rows("latest", "answers")
    assert rows(journal, "SELECT * FROM answers") == []
    assert app.restore_rows("latest", "answers", "text <> 'yes'").inserted == 2


# What has changed in the tables since


def test_new_columns_get_their_default(app: BackupManager, journal: Path) -> None:
    """An inserted row has it, a replaced one keeps its value; the plan says so."""
    delete(journal, "entries WHERE id = 17")
    execute(
        journal,
        "ALTER TABLE entries ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'",
        "ALTER TABLE entries ADD COLUMN size INTEGER AS (length(body))",
        "UPDATE entries SET mood = 'glad', body = 'x'",
    )
    plan = app.preview_rows("latest", "entries", "id < 18", replace=True)
    assert any("mood is new" in note for note in plan.notes)
    app.restore_rows("latest", "entries", "id < 18", replace=True, expected=plan)
    assert rows(journal, "SELECT id, body, mood, size FROM entries WHERE id < 18") == [
        (16, "warm", "glad", 4),
        (17, "rain", "calm", 4),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["ALTER TABLE entries RENAME TO notes"], "no table entries any more"),
        (["ALTER TABLE entries RENAME COLUMN body TO content"], "no column body any more"),
        (["DROP TRIGGER entries_edited", "ALTER TABLE entries DROP COLUMN body"], "no column body"),
        (
            [
                "DROP TRIGGER entries_edited",
                "ALTER TABLE entries DROP COLUMN body",
                "ALTER TABLE entries ADD COLUMN body TEXT AS ('of user ' || user_id)",
            ],
            "computes its column body now",
        ),
        (
            ["DROP TABLE entries", "CREATE TABLE entries (id TEXT, x PRIMARY KEY)"],
            "primary key of entries has changed",
        ),
        (
            [
                "DROP TABLE entries",
                "CREATE TABLE entries (id INTEGER PRIMARY KEY, user_id, body, mood NOT NULL)",
            ],
            "no value for mood",
        ),
        (
            ["DROP TABLE entries", "CREATE VIEW entries AS SELECT 1"],
            "entries is a view",
        ),
    ],
)
def test_what_would_not_be_whole_is_refused(
    app: BackupManager, journal: Path, changes: list[str], message: str
) -> None:
    """The message names the column or table; neither a preview nor a restore guesses."""
    delete(journal, "entries WHERE id = 17")
    execute(journal, *changes)
    before = digest(journal)
    for call in (app.preview_rows, app.restore_rows):
        with pytest.raises(RowsRefusedError, match=message):
            call("latest", "entries", "id = 17")
    assert (digest(journal), app.safety_backup()) == (before, None)


def test_rows_that_are_not_written_lose_nothing(app: BackupManager, journal: Path) -> None:
    """A value in a column that is gone matters for rows that come back, not for those there."""
    execute(journal, "DROP TRIGGER entries_edited", "ALTER TABLE entries DROP COLUMN body")
    execute(journal, "ALTER TABLE answers DROP COLUMN text", "DELETE FROM answers")
    assert app.restore_rows("latest", "entries").plan.tables[0].same == 3
    delete(journal, "entries WHERE id = 17")
    plan = app.preview_rows("latest", "entries", "id = 17", without_columns=["body"])
    assert plan.missing_children[0].rows == 2
    with pytest.raises(RowsRefusedError, match="no column text any more"):
        app.preview_rows(
            "latest", "entries", "id = 17", without_columns=["body"], with_children=True
        )


def test_without_the_key_there_are_no_rows(
    tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """The error of an encrypted backup that nothing at hand opens; with the key it works."""
    path = make_journal(tmp_path / "app.db")
    sealing = BackupManager(make_engine(path), recipients=key.recipients)
    sealing.create()
    delete(path, "entries WHERE id = 17")
    for call in (sealing.preview_rows, sealing.restore_rows):
        with pytest.raises(IdentityError):
            call("latest", "entries")
    opening = sealing.with_identities(key.path)
    assert opening.restore_rows("latest", "entries").inserted == 1
    assert leftovers(tmp_path) == []


def test_a_column_may_be_left_out(app: BackupManager, journal: Path) -> None:
    """What was dropped on purpose is no obstacle, once a person says so; NULL in it never is."""
    execute(journal, FOREIGN_KEYS, "DELETE FROM entries", "DROP TRIGGER entries_edited")
    execute(journal, "ALTER TABLE entries DROP COLUMN body")
    plan = app.preview_rows("latest", "entries", without_columns=["BODY"])
    assert plan.notes == ("entries: body of the backup is left out.",)
    assert app.restore_rows("latest", "entries", without_columns=["BODY"]).inserted == 3
    for wrong in ("id", "nosuch"):
        with pytest.raises(OptionError, match=wrong):
            app.restore_rows("latest", "entries", without_columns=[wrong])


@pytest.mark.parametrize(
    ("before", "value", "now", "kept"),
    [
        ("TEXT", "'7'", "INTEGER", 7),
        ("TEXT", "'007'", "INTEGER", None),
        ("INTEGER", "7", "TEXT", "7"),
        ("REAL", "1.5", "INTEGER", 1.5),
        ("", "'1e3'", "REAL", None),
        ("TEXT", "'seven'", "INTEGER", "seven"),
        ("VARCHAR(9)", "'x'", "VARCHAR(99)", "x"),
    ],
)
def test_a_column_of_another_type_keeps_the_value_or_refuses_it(
    plain: Callable[[str], BackupManager], before: str, value: str, now: str, kept: object
) -> None:
    """What the new type would change for good is refused; what reads the same again is written."""
    manager = plain(
        f"CREATE TABLE t (id PRIMARY KEY, v {before}); INSERT INTO t VALUES (1, {value});"
    )
    path = manager.database
    assert path is not None
    execute(path, "DROP TABLE t", f"CREATE TABLE t (id PRIMARY KEY, v {now})")
    if kept is None:
        with pytest.raises(RowsRefusedError, match=r"type of t\.v has changed"):
            manager.restore_rows("latest", "t")
        return
    manager.restore_rows("latest", "t")
    assert rows(path, "SELECT v FROM t") == [(kept,)]
    assert manager.restore_rows("latest", "t").plan.tables[0].same == 1


def test_a_null_where_a_value_must_be_now_is_refused(plain: Callable[[str], BackupManager]) -> None:
    """The row is named; others can be chosen."""
    manager = plain("CREATE TABLE t (id PRIMARY KEY, v); INSERT INTO t VALUES (1, NULL), (2, 3);")
    path = manager.database
    assert path is not None
    execute(path, "DROP TABLE t", "CREATE TABLE t (id PRIMARY KEY, v NOT NULL)")
    with pytest.raises(RowsRefusedError, match="v is NULL in the backup's row id 1"):
        manager.restore_rows("latest", "t")
    assert manager.restore_rows("latest", "t", "v IS NOT NULL").inserted == 1


def test_a_strict_table_takes_what_fits(plain: Callable[[str], BackupManager]) -> None:
    """A value of a type that the table does not take any more is refused by name."""
    manager = plain(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 'x'), (2, 3);"
    )
    path = manager.database
    assert path is not None
    execute(path, "DROP TABLE t", "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT) STRICT")
    with pytest.raises(RowsRefusedError, match="id 1"):
        manager.preview_rows("latest", "t")
    assert manager.restore_rows("latest", "t", "id = 2").inserted == 1


# Which tables


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("entrys", "no table entrys"),
        ("v", "is a view"),
        ("search", "is a virtual table"),
        ("search_data", "belongs to a virtual table"),
        ("sqlite_sequence", "is a table of the database itself"),
        ("alembic_version", "at which Alembic revision"),
        ("backups", "the table of the backups"),
        ("sqlite_master", "no table sqlite_master"),
        ("", "no table "),
    ],
)
def test_what_is_no_table_of_rows_is_refused(
    tmp_path: Path, make_engine: EngineMaker, table: str, message: str
) -> None:
    """Each says why, and what to do instead."""
    path = make_journal(
        tmp_path / "app.db",
        more="CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE search USING fts5 (body);"
        "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY);"
        "INSERT INTO alembic_version VALUES ('abc');",
    )
    manager = BackupManager(make_engine(path))
    manager.create()
    manager.create()  # the row of the first is in it
    with pytest.raises(RowsRefusedError, match=message):
        manager.preview_rows("latest", table)
    with pytest.raises(RowsRefusedError, match=message):
        manager.restore_rows("latest", table)
    if table == "entrys":
        with pytest.raises(RowsRefusedError, match=r"Did you mean entries\?"):
            manager.restore_rows("latest", table)


def test_a_full_text_index_that_triggers_keep_follows_when_they_run(
    plain: Callable[[str], BackupManager],
) -> None:
    """The row has its old rowid, by which the index knows it."""
    manager = plain(
        "CREATE TABLE notes (code TEXT PRIMARY KEY, body TEXT);"
        "CREATE VIRTUAL TABLE search USING fts5 (body, content=notes);"
        "CREATE TRIGGER ai AFTER INSERT ON notes BEGIN"
        " INSERT INTO search (rowid, body) VALUES (new.rowid, new.body); END;"
        "CREATE TRIGGER ad AFTER DELETE ON notes BEGIN"
        " INSERT INTO search (search, rowid, body) VALUES ('delete', old.rowid, old.body); END;"
        "INSERT INTO notes VALUES ('a', 'one'), ('b', 'two'), ('c', 'three');"
    )
    path = manager.database
    assert path is not None
    execute(path, "DELETE FROM notes WHERE code = 'b'")
    manager.restore_rows("latest", "notes", triggers="run")
    found = "SELECT notes.code FROM search JOIN notes ON notes.rowid = search.rowid"
    assert rows(path, f"{found} WHERE search MATCH 'two'") == [("b",)]
    execute(path, "INSERT INTO search (search) VALUES ('integrity-check')")


# The condition


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("id = 17; DROP TABLE users", "not one SQL expression"),
        ("id = 17;", "not one SQL expression"),
        ("1) OR (1", "not one SQL expression"),
        ("1) UNION SELECT id FROM users WHERE (1", "not one SQL expression"),
        ("1 THEN 1 END OR CASE WHEN 1", "not one SQL expression"),
        ("id = 17 ORDER BY id", "not one SQL expression"),
        ("id = 17 /*", "not one SQL expression"),
        ("-- nothing", "not one SQL expression"),
        ("", "not one SQL expression"),
        ("id = 'x", "not one SQL expression"),
        ("SELECT 1", "not one SQL expression"),
        ("id, title", "not one SQL expression"),
        ("id = ?", "not one SQL expression"),
        ("id = :id", "not one SQL expression"),
        ("id = '\0'", "not one SQL expression"),
        ("id = '\ud800'", "not one SQL expression"),
        ("(DELETE FROM users)", "not one SQL expression"),
        ("nosuch = 1", "no such column: nosuch"),
        ('"titel" <> 1', "no such column: titel"),
        ("id = (SELECT x FROM nosuch)", "no such table: nosuch"),
        ("count(*) > 1", "misuse of aggregate"),
        ("myfunction(id)", "no such function"),
        ("load_extension('evil')", "may only read"),
        ("random() > 0", "may only read"),
        ("id IN (SELECT 1 FROM pragma_table_info('users'))", "may only read"),
        ("title = 'x' COLLATE mine", "no such collation"),
    ],
)
def test_a_condition_that_is_none_is_refused_before_anything(
    app: BackupManager, journal: Path, where: str, message: str
) -> None:
    """One expression that only reads, or a clear error; the database and the backup stay."""
    backup = Path(app.get("latest").path)
    before = digest(journal), backup.read_bytes()
    for call in (app.preview_rows, app.restore_rows):
        with pytest.raises(OptionError) as caught:
            call("latest", "entries", where)
        assert message in str(caught.value)
    assert (digest(journal), backup.read_bytes()) == before
    assert app.safety_backup() is None


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("id = 17 -- the one", [17]),
        ("id = 17 /* the one */", [17]),
        ("title = 'Mon'", [17]),
        ("title LIKE '%;%' OR title = 'Mon'", [17]),
        ("id IN (SELECT entry_id FROM answers)", [17, 18]),
        ("EXISTS (SELECT 1 FROM users u WHERE u.id = entries.user_id AND u.name = 'Bob')", [18]),
        ("id BETWEEN 16 AND 17 AND NOT (title = 'Sun')", [17]),
        ("main.entries.rowid = 16", [16]),
        ("(id = 16) OR (id = 18)", [16, 18]),
    ],
)
def test_a_condition_reads_the_backup(
    app: BackupManager, journal: Path, where: str, found: list[int]
) -> None:
    """Any expression over the tables of the backup, as they were there."""
    execute(journal, "DELETE FROM answers", "DELETE FROM entries")
    app.restore_rows("latest", "entries", where)
    assert [id_ for (id_,) in rows(journal, "SELECT id FROM entries ORDER BY id")] == found


NEVER_ENDS = "id IN (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 0 FROM n) SELECT i FROM n)"


def test_a_condition_that_never_ends_is_given_up(
    app: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After far longer than it takes to read the backup, with an error that says so."""
    monkeypatch.setattr(row_selection, "_LEAST_SECONDS", 0.3)
    with pytest.raises(OptionError, match="given up"):
        app.preview_rows("latest", "entries", NEVER_ENDS)


def test_a_progress_cancels_a_condition_that_takes_long(app: BackupManager) -> None:
    """What it raises ends the search at once."""

    class CancelledError(Exception):
        pass

    def cancel(_done: int, _total: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        app.restore_rows("latest", "entries", NEVER_ENDS, progress=cancel)
    assert app.safety_backup() is None


def test_no_row_is_an_error(app: BackupManager) -> None:
    """A typing error in a number must not look like a success."""
    with pytest.raises(RowsRefusedError, match="No row of entries"):
        app.restore_rows("latest", "entries", "id = 71")
    with pytest.raises(RowsRefusedError, match="log is empty"):
        app.preview_rows("latest", "log")


# The backup, and the database


@pytest.mark.parametrize("form", [{"compression": "zstd"}, {"differential": True}])
def test_rows_come_back_from_every_form(
    tmp_path: Path, make_engine: EngineMaker, form: dict[str, Any]
) -> None:
    """Compressed backups and differentials are decoded; no copy of them stays."""
    path = make_journal(tmp_path / "app.db")
    manager = BackupManager(make_engine(path), **form)
    manager.create()
    manager.create()
    delete(path, "entries WHERE id = 17")
    assert manager.preview_rows("latest", "entries").inserted == 1
    manager.restore_rows("latest", "entries")
    assert scalar(path, "SELECT body FROM entries WHERE id = 17") == "rain"
    assert leftovers(tmp_path) == []


def test_a_damaged_backup_gives_no_rows(app: BackupManager, journal: Path) -> None:
    """It is verified in full first, as for a restore."""
    backup = Path(app.get("latest").path)
    data = bytearray(backup.read_bytes())
    data[-100] ^= 0xFF
    backup.write_bytes(data)
    delete(journal, "entries WHERE id = 17")
    before = digest(journal)
    with pytest.raises(InvalidBackupError):
        app.restore_rows("latest", "entries", "id = 17")
    assert (digest(journal), app.safety_backup()) == (before, None)
    backup.write_bytes(b"")
    with pytest.raises(InvalidBackupError):
        app.preview_rows("latest", "entries")


def test_a_backup_of_another_database_is_refused(
    app: BackupManager, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """As a restore refuses it; and so is one from a directory that others can write to."""
    other = make_journal(tmp_path / "other.db")
    foreign = BackupManager(make_engine(other), app.directory)
    info = foreign.create()
    for call in (app.preview_rows, app.restore_rows):
        with pytest.raises(WrongDatabaseError):
            call(Path(info.path), "entries")


@pytest.mark.skipif(os.getuid() != 0, reason="giving files away takes root")
def test_a_directory_of_another_user_is_not_trusted(app: BackupManager, journal: Path) -> None:
    """Unless that is asked for."""
    delete(journal, "entries WHERE id = 17")
    os.chown(app.directory, NOBODY, -1)
    with pytest.raises(UntrustedDirectoryError):
        app.restore_rows("latest", "entries")
    assert app.restore_rows("latest", "entries", trust_directory=True).inserted == 1


def test_a_missing_database_is_told(app: BackupManager, journal: Path) -> None:
    """Rows have nowhere to go; the whole backup has."""
    for path in journal.parent.glob("app.db*"):
        path.unlink()
    for call in (app.preview_rows, app.restore_rows):
        with pytest.raises(DatabaseFileNotFoundError):
            call("latest", "entries")


def test_a_half_run_migration_comes_first(app: BackupManager, journal: Path) -> None:
    """The way back from it would take the rows away again."""
    delete(journal, "entries WHERE id = 17")
    write_marker(journal, backup="x", alembic_heads=("a",), target_revision="b")
    with pytest.raises(InterruptedMigrationError):
        app.restore_rows("latest", "entries", "id = 17")


def test_a_writer_that_never_ends_is_told(
    journal: Path, make_engine: EngineMaker, mode: Mode
) -> None:
    """After the lock timeout, with nothing changed; a preview does not need that lock."""
    manager = BackupManager(make_engine(journal), lock_timeout=0.3)
    manager.create()
    delete(journal, "entries WHERE id = 17")
    with held_by_another_process(journal, "BEGIN IMMEDIATE", "DELETE FROM log"):
        assert manager.preview_rows("latest", "entries").inserted == 1
        with pytest.raises(DatabaseLockedError):
            manager.restore_rows("latest", "entries", "id = 17")
    assert manager.safety_backup() is None
    assert manager.restore_rows("latest", "entries", "id = 17").inserted == 1
    assert leftovers(journal.parent) == []


def test_a_reader_is_waited_for(journal: Path, make_engine: EngineMaker, mode: Mode) -> None:
    """In WAL mode it keeps nobody out; otherwise the commit waits for it, then gives up whole."""
    manager = BackupManager(make_engine(journal), lock_timeout=0.3)
    manager.create()
    delete(journal, "entries WHERE id = 17")
    before = digest(journal)
    with held_by_another_process(journal, "BEGIN", "SELECT * FROM users"):
        if mode == "wal":
            assert manager.restore_rows("latest", "entries", "id = 17").inserted == 1
            return
        with pytest.raises(DatabaseLockedError):
            manager.restore_rows("latest", "entries", "id = 17")
    assert (digest(journal), manager.safety_backup()) == (before, None)
    assert leftovers(journal.parent) == []


def test_a_read_only_database_is_told(journal: Path, make_engine: EngineMaker) -> None:
    """By its URL, or by a setting of the application."""
    BackupManager(make_engine(journal)).create()
    delete(journal, "entries WHERE id = 17")
    before = digest(journal)
    read_only = make_engine(f"sqlite:///file:{journal}?mode=ro&uri=true")
    query_only = make_engine(journal)

    @sa.event.listens_for(query_only, "connect")
    def only_read(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    for engine in (read_only, query_only):
        manager = BackupManager(engine, catalog=False)
        with pytest.raises(PermissionDeniedError):
            manager.restore_rows("latest", "entries", "id = 17")
    assert digest(journal) == before
    assert BackupManager(make_engine(journal)).safety_backup() is None


def test_a_disk_without_room_for_the_safety_backup_is_told(
    app: BackupManager, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    delete(journal, "entries WHERE id = 17")
    before = digest(journal)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (1, 1, 0))
    monkeypatch.setattr(space, "free_space", lambda _: 0)
    with pytest.raises(NotEnoughSpaceError):
        app.restore_rows("latest", "entries", "id = 17")
    assert digest(journal) == before
    assert leftovers(journal.parent) == []


# What happens meanwhile


def test_what_was_shown_is_what_is_done(app: BackupManager, journal: Path) -> None:
    """A row that changes between the question and the answer is not overwritten unseen."""
    execute(journal, "DROP TRIGGER entries_edited", "UPDATE entries SET body = 'one' WHERE id = 16")
    plan = app.preview_rows("latest", "entries", "id = 16", replace=True)
    execute(journal, "UPDATE entries SET body = 'two' WHERE id = 16")
    with pytest.raises(RowsRefusedError, match="changed since"):
        app.restore_rows("latest", "entries", "id = 16", replace=True, expected=plan)
    assert scalar(journal, "SELECT body FROM entries WHERE id = 16") == "two"
    again = app.preview_rows("latest", "entries", "id = 16", replace=True)
    assert isinstance(again, RowsPlan) and again.fingerprint != plan.fingerprint
    app.restore_rows("latest", "entries", "id = 16", replace=True, expected=again)
    assert scalar(journal, "SELECT body FROM entries WHERE id = 16") == "warm"


def _after_the_first_copy(
    monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]
) -> Callable[[], int]:
    """Have ``do`` done when the safety backup was copied, once; return what counts the copies."""
    from soulsense_db.operations.row_restore import _RowRestorer

    take = _RowRestorer.take
    copies = 0

    def take_and_do(self: Any) -> None:
        nonlocal copies
        take(self)
        copies += 1
        if copies == 1:
            do()

    monkeypatch.setattr(_RowRestorer, "take", take_and_do)
    return lambda: copies


def test_a_commit_after_the_copy_is_in_the_safety_backup(
    app: BackupManager, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody wrote after the copy was made: it is made again, and an undo loses nothing."""
    delete(journal, "entries WHERE id = 17")
    copies = _after_the_first_copy(
        monkeypatch, lambda: execute(journal, "INSERT INTO users VALUES (7, 'eve@x', 'Eve')")
    )
    app.restore_rows("latest", "entries", "id = 17")
    assert copies() == 2
    app.undo_restore()
    assert scalar(journal, "SELECT name FROM users WHERE id = 7") == "Eve"
    assert rows(journal, "SELECT * FROM entries WHERE id = 17") == []


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO entries VALUES (17, 2, 'another', 'row')",
        "DELETE FROM users WHERE id = 1",
        "ALTER TABLE entries ADD COLUMN mood TEXT",
    ],
)
def test_what_changes_under_its_hands_is_refused(
    app: BackupManager, journal: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The rows are looked at again under the lock: other rows, lost parents, other tables."""
    delete(journal, "entries WHERE id = 17")
    _after_the_first_copy(monkeypatch, lambda: execute(journal, change))
    with pytest.raises(RowsRefusedError):
        app.restore_rows("latest", "entries", "id = 17")
    assert rows(journal, "SELECT * FROM entries WHERE id = 17 AND title = 'Mon'") == []
    assert app.safety_backup() is None
    assert leftovers(journal.parent) == []


def test_a_parent_that_goes_meanwhile_is_noticed_where_nobody_enforces_it(
    journal: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The references are looked at under the lock as well: SQLite would not complain."""
    manager = BackupManager(make_engine(journal))
    manager.create()
    execute(journal, "DELETE FROM entries WHERE id = 17")
    _after_the_first_copy(monkeypatch, lambda: execute(journal, "DELETE FROM users WHERE id = 1"))
    with pytest.raises(RowsRefusedError, match="users id 1"):
        manager.restore_rows("latest", "entries", "id = 17")
    assert rows(journal, "SELECT * FROM entries WHERE id = 17") == []


def test_a_failure_leaves_the_earlier_safety_backup(
    app: BackupManager, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised right before the commit, the way back is the one that was there."""
    delete(journal, "entries WHERE id = 17")
    app.restore_rows("latest", "entries", "id = 17")
    earlier = app.safety_backup()
    assert earlier is not None
    before = digest(journal), digest(Path(earlier.path))
    delete(journal, "entries WHERE id = 18")
    after_delete = digest(journal)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(row_loading, "_commit", fail)
    with pytest.raises(ZeroDivisionError):
        app.restore_rows("latest", "entries", "id = 18")
    assert digest(journal) == after_delete
    found = app.safety_backup()
    assert found is not None and found.id == earlier.id
    assert digest(Path(found.path)) == before[1]
    assert leftovers(journal.parent) == []


def test_it_can_be_cancelled_until_it_is_saved(app: BackupManager, journal: Path) -> None:
    """The last call of the progress is before the commit: what it raises leaves nothing."""
    delete(journal, "entries WHERE id = 17")
    before = digest(journal)
    calls: list[tuple[int, int]] = []

    def cancel(done: int, total: int) -> None:
        calls.append((done, total))
        if done:
            raise KeyError("cancelled")

    with pytest.raises(KeyError):
        app.restore_rows("latest", "entries", "id = 17", progress=cancel)
    assert calls[-1] == (1, 1)
    assert (digest(journal), app.safety_backup()) == (before, None)
    assert leftovers(journal.parent) == []


def test_an_interrupt_after_the_commit_says_that_it_is_done(
    app: BackupManager, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes too late: the rows are there, the safety backup too, and a note says so."""
    delete(journal, "entries WHERE id = 17")
    commit = row_loading._commit

    def commit_and_interrupt(*arguments: Any) -> None:
        commit(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(row_loading, "_commit", commit_and_interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        app.restore_rows("latest", "entries", "id = 17")
    assert any("brought back" in note for note in caught.value.__notes__)
    assert scalar(journal, "SELECT body FROM entries WHERE id = 17") == "rain"
    monkeypatch.undo()
    app.undo_restore()
    assert rows(journal, "SELECT * FROM entries WHERE id = 17") == []


def test_an_error_after_the_commit_is_a_warning(
    app: BackupManager, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done is done, and said as done."""
    delete(journal, "entries WHERE id = 17")
    commit = row_loading._commit

    def commit_and_fail(*arguments: Any) -> None:
        commit(*arguments)
        raise OSError("something else")

    monkeypatch.setattr(row_loading, "_commit", commit_and_fail)
    report = app.restore_rows("latest", "entries", "id = 17")
    assert report.inserted == 1
    assert "something else" in report.warnings[0]


def test_two_at_once_do_each_its_part(journal: Path, make_engine: EngineMaker) -> None:
    """Two threads bring the same rows back: one writes, the other finds them there."""
    BackupManager(make_engine(journal)).create()
    delete(journal, "entries WHERE id < 18")
    reports: list[Any] = []

    def bring() -> None:
        manager = BackupManager(make_engine(journal), lock_timeout=20)
        reports.append(manager.restore_rows("latest", "entries"))

    threads = [threading.Thread(target=bring) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.inserted for report in reports) == [0, 2]
    assert rows(journal, "SELECT count(*) FROM entries") == [(3,)]


# Ways to reach the database


def test_a_database_in_memory_gets_its_rows_back(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Through the only connection there is."""
    engine = make_engine("sqlite://", poolclass=StaticPool)
    raw = engine.raw_connection()
    raw.executescript(JOURNAL)
    raw.close()
    manager = BackupManager(engine, tmp_path / "backups")
    manager.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM entries WHERE id = 17")
    assert manager.restore_rows("latest", "entries").inserted == 1
    with engine.begin() as connection:
        found = connection.exec_driver_sql("SELECT body FROM entries WHERE id = 17").scalar()
    assert found == "rain"
    manager.undo_restore()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entries").scalar() == 2


def test_a_shared_database_in_memory_gets_its_rows_back(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """With a cache that all connections share."""
    url = "sqlite:///file:rows?mode=memory&cache=shared&uri=true"
    engine = make_engine(url, poolclass=QueuePool)
    keep = engine.raw_connection()
    keep.executescript(JOURNAL)
    manager = BackupManager(engine, tmp_path / "backups")
    manager.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM entries WHERE id = 17")
    assert manager.restore_rows("latest", "entries").inserted == 1
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entries").scalar() == 3
    keep.close()


def test_converters_and_row_factories_of_the_application_change_nothing(
    journal: Path, make_engine: EngineMaker
) -> None:
    """It may read its rows as it likes; ours are compared and written as they are stored."""
    sqlite3.register_converter("shout", lambda data: data.decode().upper())
    execute(
        journal, "CREATE TABLE t (id INTEGER PRIMARY KEY, v shout)", "INSERT INTO t VALUES (1, 'a')"
    )
    engine = make_engine(journal, connect_args={"detect_types": sqlite3.PARSE_DECLTYPES})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("CREATE TEMP TABLE t (x)")

    manager = BackupManager(engine)
    manager.create()
    execute(journal, "DELETE FROM t")
    assert manager.restore_rows("latest", "t").inserted == 1
    assert manager.restore_rows("latest", "t").plan.tables[0].same == 1
    assert rows(journal, "SELECT v FROM t") == [("a",)]


def test_listeners_are_told(app: BackupManager, journal: Path) -> None:
    """Of rows that came back, and of a failure; not where there was nothing to do."""
    events: list[Any] = []
    app.events.rows_restored(events.append)
    app.events.failed(events.append)
    app.restore_rows("latest", "entries")
    assert events == []
    delete(journal, "entries WHERE id = 17")
    app.restore_rows("latest", "entries")
    with pytest.raises(BackupError):
        app.restore_rows("latest", "nosuch")
    done, failed = events
    assert isinstance(done, RowsRestored) and isinstance(failed, Failed)
    assert (done.table, done.inserted, done.database) == ("entries", 1, journal)
    assert str(done).endswith("1 inserted, 0 replaced.")
    assert failed.operation == "restore_rows"


@pytest.mark.usefixtures("no_umask")
def test_the_safety_backup_is_private(app: BackupManager, journal: Path) -> None:
    """As that of a restore, with a meta file."""
    delete(journal, "entries WHERE id = 17")
    report = app.restore_rows("latest", "entries")
    safety = report.safety_backup
    assert safety is not None
    assert stat.S_IMODE(os.stat(safety).st_mode) == 0o600
    meta = json.loads(Path(f"{safety}.meta").read_text(encoding="utf-8"))
    assert meta["kind"] == "pre_restore"

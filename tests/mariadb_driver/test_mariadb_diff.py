"""What differs between two backups of MariaDB: schema, rows and values."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers import DiffReport, TableChange

_SHOP = """
CREATE SEQUENCE lone;
CREATE TABLE users (
    id INT AUTO_INCREMENT PRIMARY KEY COMMENT 'it''s, (so', name VARCHAR(20) NOT NULL DEFAULT 'a,b',
    mail VARCHAR(50) CHARACTER SET latin1 COLLATE latin1_bin, mood ENUM('sad', 'o,k') DEFAULT 'o,k',
    price DECIMAL(10, 2) UNSIGNED, changed DATETIME DEFAULT NOW() ON UPDATE NOW(), doc JSON,
    size INT GENERATED ALWAYS AS (CHAR_LENGTH(name)) STORED, hidden INT INVISIBLE DEFAULT 4,
    CONSTRAINT dear CHECK (price > 0), UNIQUE KEY by_mail (mail), KEY by_name (name(5)),
    FULLTEXT KEY words (name)) COMMENT = 'c)';
CREATE TABLE child (a INT, b VARCHAR(5), u INT, PRIMARY KEY (b, a),
    CONSTRAINT fk FOREIGN KEY (u) REFERENCES users (id) ON DELETE CASCADE);
CREATE TABLE plain (a INT);
CREATE VIEW v AS SELECT id FROM users;
CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x + 1;
CREATE TRIGGER second BEFORE INSERT ON users FOR EACH ROW SET NEW.price = 1;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM plain;
"""
_CHANGED = """
ALTER TABLE users ADD COLUMN nick TEXT NOT NULL, MODIFY name VARCHAR(20) NULL DEFAULT 'x',
    MODIFY price DECIMAL(10, 1), DROP CONSTRAINT dear, ADD CONSTRAINT cheap CHECK (price < 9),
    DROP INDEX by_mail, DROP INDEX words, MODIFY hidden INT DEFAULT 4, DROP COLUMN size,
    MODIFY mail VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, COMMENT = 'd';
DROP INDEX by_name ON users;
CREATE INDEX by_name ON users (name, price);
ALTER TABLE child DROP FOREIGN KEY fk, DROP PRIMARY KEY, ADD PRIMARY KEY (a);
ALTER TABLE child ADD CONSTRAINT fk FOREIGN KEY (u) REFERENCES users (id) ON DELETE SET NULL;
ALTER TABLE plain ENGINE = Aria;
DROP VIEW v;
DROP FUNCTION f;
CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x + 2;
CREATE TRIGGER first BEFORE INSERT ON users FOR EACH ROW PRECEDES second SET NEW.price = 2;
DROP EVENT e;
CREATE SEQUENCE more;
CREATE TABLE brand_new (id INT PRIMARY KEY, KEY again (id));
"""
_SENTENCES = {
    "Table brand_new was added.",
    "Table plain is declared in another way.",
    "Column users.name: it may be NULL now; its default was 'a,b', and is 'x' now.",
    "Column users.mail: its collation was latin1_bin, and is utf8mb4_bin now.",
    "Column users.price: its type was decimal(10,2) unsigned, and is decimal(10,1) now.",
    "Column users.size was removed (int(11) GENERATED ALWAYS AS (char_length(`name`)) STORED).",
    "Column users.hidden: it is no longer INVISIBLE.",
    "Column users.nick was added (text NOT NULL).",
    "CHECK (`price` > 0) of users was removed.",
    "CHECK (`price` < 9) of users was added.",
    "Unique (mail) of users was removed.",
    "Index words on users was removed: fulltext (name).",
    "Index by_name on users was (name(5)), and is (name, price) now.",
    "The primary key of child was (b, a), and is (a) now.",
    "Foreign key (u) -> users (id) ON DELETE CASCADE of child was removed.",
    "Foreign key (u) -> users (id) ON DELETE SET NULL of child was added.",
    "View v was removed.",
    "Function f was changed.",
    "Trigger first on users was added.",
    "Event e was removed.",
    "Sequence more was added.",
}


class Two:
    """Two dumps of one database, which is changed in between."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def change(self, before: str, after: str) -> None:
        """Dump what a script makes, and then what another one makes of it."""
        self.database.run(before)
        self.first = self.database.snapshot("first")
        self.database.run(after)
        self.second = self.database.snapshot("second")

    def diff(self, **options: Any) -> DiffReport:
        """Tell what differs from the first to the second."""
        return self.database.driver.diff(self.first, self.second, **options)

    def table(self, **options: Any) -> TableChange:
        """Return the one table that differs."""
        (table,) = self.diff(**options).changed_tables
        return table


@pytest.fixture
def two(server: Server, tmp_path: Path) -> Iterator[Two]:
    """Return an empty database."""
    with new_database(server, tmp_path) as database:
        yield Two(database)


def test_each_difference_of_the_schemas_is_a_sentence(two: Two) -> None:
    """What came with a new table is told with it; of chosen tables only what is theirs is told."""
    two.change(_SHOP, _CHANGED)
    assert {change.sentence for change in two.diff().schema} == _SENTENCES
    chosen = two.diff(only=["users"])
    assert {change.table for change in chosen.schema} == {"users"}
    assert [table.table for table in chosen.tables] == ["users"]
    left_out = two.diff(ignore=["users", "child"]).schema
    assert {change.table for change in left_out} == {None, "plain", "brand_new"}


def test_values_are_of_their_kinds(two: Two) -> None:
    """Numbers, texts with each escape, bytes and bits; generated columns are not compared."""
    two.change(
        r"""CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, s TEXT, n DECIMAL(40, 20), f DOUBLE,
            raw BLOB, bits BIT(9), doc JSON, day DATE, mood ENUM('a', 'abc'),
            twice INT AS (CHAR_LENGTH(s) * 2) STORED);
        INSERT INTO t (id, s, n, f, raw, bits, doc, day, mood) VALUES
            (18446744073709551615, 'it''s "\0\n\r\\\Z, (', 12345678901234567890.5, 1e300, 0x00ff27,
                b'101', '{"a": 1}', '2026-01-01', 'abc'),
            (2, 'é', 1, 1, '', NULL, NULL, NULL, 'a');""",
        """UPDATE t SET s = '', n = 1, f = 2, raw = 0x00, bits = 1, doc = '[]', day = '2026-01-02',
            mood = 'a' WHERE id > 2;
        UPDATE t SET s = NULL WHERE id = 2;""",
    )
    table = two.table(rows=2)
    assert (table.key, table.changed) == (("id",), 2)
    assert "twice" not in table.compared
    columns = {
        one.column: (one.differing, one.became_null, one.became_shorter) for one in table.columns
    }
    assert columns == {
        "s": (2, 1, 1),
        "n": (1, 0, 0),
        "f": (1, 0, 0),
        "raw": (1, 0, 1),
        "bits": (1, 0, 0),
        "doc": (1, 0, 1),
        "day": (1, 0, 0),
        "mood": (1, 0, 0),
    }
    small, large = table.samples
    assert small.key == (2,)
    assert large.key == (18446744073709551615,)
    assert large.before == (
        *(18446744073709551615, "it's \"\0\n\r\\\x1a, (", Decimal("12345678901234567890.5"), 1e300),
        *(b"\x00\xff'", b"\x00\x05", '{"a": 1}', "2026-01-01", "abc"),
    )


def test_a_computed_column_before_the_key_is_none_of_it(two: Two) -> None:
    """A row is found by its key wherever that is in the row, in a comparison as well."""
    two.change(
        "CREATE TABLE t (twice INT AS (v * 2) STORED, id INT PRIMARY KEY, v INT);"
        "INSERT INTO t (id, v) VALUES (1, 10), (2, 20), (3, 30)",
        "UPDATE t SET v = 11 WHERE id = 1; UPDATE t SET v = 20 WHERE id = 3",
    )
    table = two.table(rows=1)
    assert (table.added, table.removed, table.changed) == (0, 0, 2)
    assert (table.samples[0].before, table.samples[0].after) == ((1, 10), (1, 11))
    (compared,) = two.database.driver.compare_copy(two.second, two.first, ignore=()).tables
    assert (compared.gained, compared.lost, compared.changed) == (0, 0, 2)


@pytest.mark.parametrize(
    "column", ["g INT AS (v * 2) STORED FIRST", "h INT INVISIBLE", "w INT FIRST"]
)
def test_rows_are_the_same_whatever_columns_a_dump_lists(two: Two, column: str) -> None:
    """A column that was added, also one that is computed or hidden, changes no row."""
    two.change(
        "CREATE TABLE t (a INT, id INT, v INT, PRIMARY KEY (id, a)); CREATE TABLE u (v INT);"
        "INSERT INTO t VALUES (1, 1, 10), (2, 2, 20); INSERT INTO u VALUES (1), (1)",
        f"ALTER TABLE t ADD {column}; ALTER TABLE u ADD {column}; INSERT INTO u (v) VALUES (2)",
    )
    t, u = two.diff().tables
    assert (t.added, t.removed, t.changed) == (0, 0, 0)
    assert (u.added, u.removed, u.changed) == (1, 0, 0)


def test_columns_that_changed_their_type_are_compared_by_value(two: Two) -> None:
    """A number that is the same is no difference; one that says less now is told."""
    two.change(
        "CREATE TABLE t (id INT PRIMARY KEY, n DECIMAL(9, 3), s VARCHAR(9));"
        "INSERT INTO t VALUES (1, 1.5, '7'), (2, 1.555, '007'), (3, 2, '3')",
        "ALTER TABLE t MODIFY n DECIMAL(9, 2), MODIFY s INT, ADD more TEXT",
    )
    table = two.table()
    assert (table.changed, table.columns_added) == (1, ("more",))
    assert [(one.column, one.differing, one.became_inexact) for one in table.columns] == [
        ("n", 1, 1),
        ("s", 1, 1),
    ]


@pytest.mark.parametrize("period", ["", ", s TIMESTAMP(6) GENERATED ALWAYS AS ROW START"], ids=len)
def test_a_row_that_is_history_now_is_a_difference(two: Two, period: str) -> None:
    """A deleted row of a versioned table is still there, with an end."""
    if period:
        period += ", e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)"
    two.change(
        f"CREATE TABLE t (id INT PRIMARY KEY{period}, v TEXT) WITH SYSTEM VERSIONING;"
        "INSERT INTO t (id, v) VALUES (1, 'one'), (2, 'two')",
        "DELETE FROM t WHERE id = 1",
    )
    table = two.table(rows=1)
    assert (table.added, table.removed, table.changed) == (1, 1, 0)
    assert table.note is not None
    assert "history" in table.note
    (added, removed) = table.samples
    assert added.after is not None
    assert added.after[0] == 1
    assert removed.before is not None
    assert removed.before[0] == 1


def test_tables_that_one_side_lacks(two: Two) -> None:
    """All rows of a table that is gone are removed; the first are shown, by their values."""
    two.change(
        "CREATE TABLE gone (b TEXT); INSERT INTO gone VALUES (''), ('z'), (NULL);"
        "CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1)",
        "DROP TABLE gone, a; CREATE TABLE z (id INT PRIMARY KEY); INSERT INTO z VALUES (2), (1)",
    )
    first, gone, new = two.diff(rows=2).changed_tables
    assert (first.table, first.removed) == ("a", 1)
    assert (gone.rows_before, gone.rows_after, gone.removed) == (3, None, 3)
    assert [one.before for one in gone.samples] == [(None,), ("",)]
    assert (new.added, [one.key for one in new.samples]) == (2, [(1,), (2,)])


def test_a_user_who_may_only_read_compares(two: Two, tmp_path: Path) -> None:
    """Nothing is restored anywhere: the rights for backups are enough, and nothing is left."""
    two.database.run("CREATE TABLE t (id INT PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1, 'old')")
    name = two.database.name
    left = two.database.left()
    two.database.run(
        f"CREATE USER {name}@localhost; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE,"
        f" LOCK TABLES ON {name}.* TO {name}@localhost;"
    )
    try:
        engine = sa.create_engine(two.database.server.url(name, user=name))
        manager = BackupManager(engine, tmp_path / "backups")
        made = manager.create()
        assert manager.diff(made).identical
        two.database.run("UPDATE t SET s = 'new'")
        (table,) = manager.diff(made).changed_tables
        engine.dispose()
        assert table.changed == 1
        assert two.database.left() == left
    finally:
        two.database.run(f"DROP USER {name}@localhost")

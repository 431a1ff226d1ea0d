"""Chosen rows of a backup come back into a PostgreSQL database, and all else stays as it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from postgresql.conftest import Servers
from postgresql.database import Database
from soulsense_db import BackupManager
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import RowSelection, RowsPlan
from soulsense_db.drivers.postgresql.row_access import rows_of
from soulsense_db.drivers.server_rows.loading import RowLoader
from soulsense_db.errors import (
    BackupError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    MissingRightError,
    OptionError,
    Outcome,
    RowsRefusedError,
)
from soulsense_db.operations import RowsReport

# Versions differ in no statement that is used here: the suite runs with each of them.
_VERSION = 18
DIARY = """
    CREATE TABLE users (id serial PRIMARY KEY, name text, email varchar(40) UNIQUE);
    CREATE TABLE entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id int NOT NULL REFERENCES users,
        content text,
        loud text GENERATED ALWAYS AS (upper(content)) STORED
    );
    CREATE TABLE answers (
        id int PRIMARY KEY,
        entry_id bigint NOT NULL REFERENCES entries ON DELETE CASCADE,
        parent int REFERENCES answers,
        text text
    );
    INSERT INTO users (name, email) SELECT 'Person ' || i, 'p' || i FROM generate_series(1, 5) i;
    INSERT INTO entries (user_id, content) SELECT i, 'Day ' || i FROM generate_series(1, 5) i;
    INSERT INTO answers VALUES (1, 3, 2, 'yes'), (2, 3, NULL, 'no');
"""


class Diary:
    """A database with users, entries and answers, and its backups."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.manager = BackupManager(database.engine, folder)

    def run(self, *statements: str) -> None:
        """Commit what statements do; no percent sign in them is a parameter."""
        engine = self.database.engine.execution_options(no_parameters=True)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def backup(self, *statements: str) -> BackupInfo:
        """Make a backup, and then execute statements."""
        made = self.manager.create()
        self.run(*statements)
        return made

    def restore(
        self, backup: BackupInfo, table: str, where: str | None = None, **options: Any
    ) -> RowsReport:
        """Bring rows back."""
        return self.manager.restore_rows(backup, table, where, **options)

    @contextmanager
    def planning(self, backup: BackupInfo) -> Iterator[Callable[..., RowsPlan]]:
        """Yield what plans rows of one backup, which is restored to a scratch database once."""
        with rows_of(self.manager._repository.driver, Path(backup.path), None) as server:  # type: ignore[arg-type]

            def plan(table: str, where: str | None = None, **options: Any) -> RowsPlan:
                options["keys"] = RowSelection.keys_of(options.pop("keys", None))
                selection = RowSelection(table=table, where=where, **options)
                return RowLoader(server, selection, progress=None).plan(samples=9)

            yield plan

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return rows, as others see them."""
        engine = sa.create_engine(self.database.url, poolclass=NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]


@pytest.fixture
def diary(servers: Servers, tmp_path: Path) -> Iterator[Diary]:
    """Return a diary on a server of one version."""
    with Database(servers.of(_VERSION)) as made:
        diary = Diary(made, tmp_path)
        diary.run(DIARY)
        yield diary


def test_a_row_and_what_refers_to_it_come_back(diary: Diary) -> None:
    """Generated values, numbers of identity columns and rows that refer to each other, too."""
    before = diary.rows("SELECT e.*, a.* FROM entries e JOIN answers a ON a.entry_id = e.id")
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    report = diary.restore(made, "entries", "id = 3", with_children=True)
    assert (report.inserted, report.replaced) == (3, 0)
    assert [one.role for one in report.plan.tables] == ["chosen", "child"]
    after = "SELECT e.*, a.* FROM entries e JOIN answers a ON a.entry_id = e.id"
    assert sorted(diary.rows(after), key=str) == sorted(before, key=str)
    # The constraint that was put off for answers to answers is what it was.
    deferrable = "SELECT bool_or(condeferrable) FROM pg_constraint WHERE contype = 'f'"
    assert diary.rows(deferrable) == [(False,)]
    diary.manager.undo_restore()
    assert diary.rows("SELECT count(*) FROM entries WHERE id = 3") == [(0,)]


def test_a_database_that_is_read_only_by_default(diary: Diary) -> None:
    """Rows come back, as all of it does, and the catalog is written: that is only a default."""
    setting = "ALTER DATABASE {} SET default_transaction_read_only = "
    diary.database.maintain(f"{setting}on")
    diary.database.engine.dispose()
    try:
        made = diary.manager.create()
        diary.run("SET TRANSACTION READ WRITE", "DELETE FROM answers")
        assert diary.restore(made, "answers").inserted == 2
    finally:
        diary.database.maintain(f"{setting}off")
    assert diary.rows("SELECT count(*) FROM answers") == [(2,)]
    assert diary.rows("SELECT id FROM backups") == [(made.id,)]


def test_without_children_they_are_told_of(diary: Diary) -> None:
    """What stays in the backup alone is counted, and rows that are there are left alone."""
    made = diary.backup("DELETE FROM entries WHERE id = 3", "UPDATE entries SET content = ''")
    plan = diary.manager.preview_rows(made, "entries", samples=9)
    (table,) = plan.tables
    assert (table.inserted, table.kept, table.same) == (1, 4, 0)
    (children,) = plan.missing_children
    assert (children.table, children.rows) == ("answers", 2)
    (sample,) = plan.samples
    assert sample.key == (("id", "3"),)
    assert ("content", "'Day 3'") in sample.values


def test_rows_that_differ_are_replaced_on_demand(diary: Diary) -> None:
    """They are as in the backup then, and what was shown is what is done."""
    made = diary.backup("UPDATE entries SET content = 'new' WHERE id > 3")
    assert diary.restore(made, "entries", "id > 3").inserted == 0
    assert diary.rows("SELECT DISTINCT content FROM entries WHERE id > 3") == [("new",)]
    report = diary.restore(made, "entries", "id > 3", replace=True)
    assert (report.inserted, report.replaced) == (0, 2)
    assert diary.rows("SELECT loud FROM entries WHERE id > 3 ORDER BY id") == [
        ("DAY 4",),
        ("DAY 5",),
    ]


def test_rows_that_are_referred_to_come_along_or_nothing_does(diary: Diary) -> None:
    """They are named, with what they are referred to by."""
    made = diary.backup("TRUNCATE users, entries, answers")
    with pytest.raises(RowsRefusedError, match=r"users id 2 \(for 1 row of entries\)") as caught:
        diary.restore(made, "entries", "id = 2")
    assert caught.value.outcome is Outcome.UNCHANGED
    assert "--with-parents" in caught.value.hint
    report = diary.restore(made, "answers", with_parents=True)
    assert [(one.table, one.inserted) for one in report.plan.tables] == [
        ("answers", 2),
        ("entries", 1),
        ("users", 1),
    ]
    assert diary.rows("SELECT count(*) FROM users") == [(1,)]


def test_a_parent_with_other_values_now_is_told_apart(diary: Diary) -> None:
    """It is referred to by what is not its key: the hint says what it takes."""
    diary.run(
        "CREATE TABLE letters (id int PRIMARY KEY, to_email varchar(40) REFERENCES users (email))",
        "INSERT INTO letters VALUES (1, 'p1'), (2, 'p2')",
    )
    made = diary.backup("DELETE FROM letters", "UPDATE users SET email = 'other' WHERE id = 1")
    with pytest.raises(RowsRefusedError, match="users email 'p1'") as caught:
        diary.restore(made, "letters", "id = 1")
    assert "--with-parents --replace" in caught.value.hint
    report = diary.restore(made, "letters", "id = 1", with_parents=True, replace=True)
    assert (report.inserted, report.replaced) == (1, 1)
    # A value that rows refer to is not taken from them.
    diary.run(
        "UPDATE users SET email = 'new' WHERE id = 5", "INSERT INTO letters VALUES (5, 'new')"
    )
    with pytest.raises(RowsRefusedError, match="Rows of letters refer to the row id 5 of users"):
        diary.restore(made, "users", "id = 5", replace=True)


def test_a_reference_that_the_backup_cannot_fulfil_is_refused(diary: Diary) -> None:
    """Neither has the row."""
    diary.run("CREATE TABLE loose (id int PRIMARY KEY, user_id int)")
    diary.run("INSERT INTO loose VALUES (1, 77)")
    made = diary.backup(
        "TRUNCATE loose", "ALTER TABLE loose ADD FOREIGN KEY (user_id) REFERENCES users"
    )
    with pytest.raises(RowsRefusedError, match="users id 77") as caught:
        diary.restore(made, "loose")
    assert "earlier backup" in caught.value.hint


def test_new_numbers_are_given_behind_those_that_came_back(diary: Diary) -> None:
    """A sequence that was reset would give them a second time."""
    diary.run("CREATE SEQUENCE down INCREMENT -1", "CREATE SEQUENCE up")
    columns = "a int DEFAULT nextval('up') PRIMARY KEY, b int DEFAULT nextval('down')"
    diary.run(f"CREATE TABLE n ({columns})")
    diary.run("INSERT INTO n SELECT FROM generate_series(1, 3)")
    made = diary.backup("TRUNCATE users, entries, answers RESTART IDENTITY")
    diary.run("TRUNCATE n", "ALTER SEQUENCE up RESTART", "ALTER SEQUENCE down RESTART")
    diary.restore(made, "users")
    diary.restore(made, "n")
    diary.run("INSERT INTO users DEFAULT VALUES", "INSERT INTO n DEFAULT VALUES")
    assert diary.rows("SELECT max(id) FROM users") == [(6,)]
    assert diary.rows("SELECT max(a), min(b) FROM n") == [(4, -4)]


def test_triggers_run_only_on_demand(diary: Diary) -> None:
    """A row is what it was; the trigger is then as it was, one that is always on as well."""
    diary.run(
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN new.content = 'changed'; RETURN new; END $$",
        "CREATE TRIGGER one BEFORE INSERT OR UPDATE ON entries"
        " FOR EACH ROW EXECUTE FUNCTION stamp()",
        "CREATE TRIGGER two BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION stamp()",
        "ALTER TABLE entries ENABLE ALWAYS TRIGGER two",
    )
    states = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    before = diary.rows(states)
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    report = diary.restore(made, "entries", "id = 3")
    assert report.plan.tables[0].triggers == ("one", "two")
    assert diary.rows("SELECT content FROM entries WHERE id = 3") == [("Day 3",)]
    assert diary.rows(states) == before
    diary.run("DELETE FROM entries WHERE id = 3")
    diary.restore(made, "entries", "id = 3", triggers="run")
    assert diary.rows("SELECT content FROM entries WHERE id = 3") == [("changed",)]


def test_triggers_find_their_tables_as_in_the_application(diary: Diary) -> None:
    """A function that names a table without its schema does so, deferred triggers as well."""
    diary.run(
        "CREATE TABLE audit (what text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO audit VALUES (TG_NAME); RETURN new; END $$",
        "CREATE TRIGGER at_once AFTER INSERT ON entries FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION note()",
    )
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    diary.restore(made, "entries", "id = 3", triggers="run")
    assert diary.rows("SELECT what FROM audit ORDER BY 1") == [("at_once",), ("later",)]


def test_what_the_database_refuses_is_told_without_values(diary: Diary) -> None:
    """A constraint by its name, a trigger, a rule that does something else: nothing is written."""
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    diary.run("ALTER TABLE entries ADD CONSTRAINT short CHECK (length(content) < 2) NOT VALID")
    with pytest.raises(RowsRefusedError, match=r"row id 3 of entries \(constraint short\)"):
        diary.restore(made, "entries", "id = 3")
    diary.run(
        "ALTER TABLE entries DROP CONSTRAINT short",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'secret %', new.content; END $$",
        "CREATE TRIGGER no BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION no()",
    )
    with pytest.raises(RowsRefusedError, match=r"id 3 of entries \(a trigger") as caught:
        diary.restore(made, "entries", "id = 3", triggers="run")
    assert "secret" not in str(caught.value)
    diary.run("DROP TRIGGER no ON entries")
    diary.run("CREATE RULE no AS ON INSERT TO entries DO INSTEAD NOTHING")
    with pytest.raises(RowsRefusedError, match=r"id 3 of entries \(a trigger, a rule"):
        diary.restore(made, "entries", "id = 3")
    assert diary.rows("SELECT count(*) FROM entries") == [(4,)]
    with pytest.raises(BackupError):  # no safety backup stands for what was not done
        diary.manager.undo_restore()


def test_unique_values_of_other_rows_are_in_the_way(diary: Diary) -> None:
    """Both rows are named."""
    made = diary.backup(
        "DELETE FROM entries WHERE user_id = 4",
        "DELETE FROM users WHERE id = 4",
        "UPDATE users SET email = 'p4' WHERE id = 1",
    )
    with pytest.raises(RowsRefusedError, match="email of id 4 is that of id 1"):
        diary.restore(made, "users", "id = 4")


def test_columns_are_paired_by_name(diary: Diary) -> None:
    """What is new gets its default, what would be lost is refused, unless it is left out."""
    made = diary.backup(
        "DELETE FROM entries",
        "DELETE FROM users",
        "ALTER TABLE users DROP COLUMN name, ADD COLUMN age int NOT NULL DEFAULT 7",
    )
    with pytest.raises(RowsRefusedError, match="has no column name any more"):
        diary.restore(made, "users", "id = 5")
    report = diary.restore(made, "users", "id = 5", without_columns=["name"])
    assert any("age is new" in note for note in report.plan.notes)
    assert any("name of the backup is left out" in note for note in report.plan.notes)
    assert diary.rows("SELECT id, email, age FROM users") == [(5, "p5", 7)]
    with pytest.raises(OptionError, match="nothing cannot be left out"):
        diary.restore(made, "users", "id = 5", without_columns=["nothing"])
    diary.run("ALTER TABLE users ADD COLUMN must int NOT NULL DEFAULT 1")
    diary.run("ALTER TABLE users ALTER must DROP DEFAULT")
    with pytest.raises(RowsRefusedError, match="no value for must"):
        diary.restore(made, "users", "id = 4", without_columns=["name"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ALTER TABLE t ALTER v TYPE varchar(2)", "would not keep the value of the row id 1"),
        ("ALTER TABLE t ALTER v TYPE int USING NULL", "would not keep the value of the row id 1"),
        (
            "ALTER TABLE t DROP v, ADD v text GENERATED ALWAYS AS ('x') STORED",
            "computes its column v",
        ),
        ("ALTER TABLE t ALTER n SET NOT NULL", "n is NULL in the backup's row id 1"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "primary key of t has changed"),
        ("DROP TABLE t", "no table t any more"),
        ("DROP TABLE t; CREATE VIEW t AS SELECT 1 AS id", "t is a view"),
    ],
)
def test_what_a_changed_table_would_lose_is_refused(
    diary: Diary, change: str, message: str
) -> None:
    """Before anything is written."""
    diary.run("CREATE TABLE t (id int PRIMARY KEY, v text, n int)")
    diary.run("INSERT INTO t VALUES (1, 'abc')")
    made = diary.backup("DELETE FROM t", change)
    with pytest.raises(RowsRefusedError, match=message):
        diary.restore(made, "t")


def test_a_wider_type_takes_the_value(diary: Diary) -> None:
    """It is as that type writes it."""
    diary.run("CREATE TABLE t (id int PRIMARY KEY, v int, e text)")
    diary.run("INSERT INTO t VALUES (1, 5, 'a')")
    made = diary.backup("DELETE FROM t", "ALTER TABLE t ALTER v TYPE numeric(10, 2)")
    report = diary.restore(made, "t")
    assert report.inserted == 1
    assert diary.rows("SELECT v::text FROM t") == [("5.00",)]
    found = diary.manager.find_rows(made, "t", differing=True)
    assert found.rows == ()


def test_values_come_back_bit_for_bit(diary: Diary) -> None:
    """Whatever the application's connection and the database have set."""
    diary.run(
        "CREATE TYPE mood AS ENUM ('so so', 'fine')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE TABLE types (id uuid PRIMARY KEY, a float8, b float4, c numeric, d bytea, e jsonb,"
        " f timestamptz, g interval, h text[], i mood, j positive, k pair, l char(5), m money,"
        " n bool, o inet, p bit(3), q int4range, r xml, s date, t time, u json)",
        "INSERT INTO types VALUES ('00000000-0000-0000-0000-000000000001', 0.1::float8 + 0.2,"
        r" 1e-7, 1234567890123456789.000100, '\x00ff25', '{"
        '"a": [1, null, "%s"]}'
        "', '2026-03-29 01:30+00', '1 mon -3 days 04:05:06.7',"
        " ARRAY['a\"b', NULL, '{}', 'c\\d'], 'so so', 3, ROW(NULL, 'x,y'), 'ab', '1.50', true,"
        " '10.0.0.1', B'101', '[1,5)', NULL, 'infinity', '24:00', '{\"b\":1,  \"a\":2}')",
        "INSERT INTO types (id) VALUES ('00000000-0000-0000-0000-000000000002')",
        "INSERT INTO types (id, a, k, h) VALUES ('00000000-0000-0000-0000-000000000003', 'NaN',"
        " ROW(NULL, NULL), '{}')",
    )
    for setting in ("DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "bytea_output = 'escape'"):
        diary.database.maintain(f"ALTER DATABASE {{}} SET {setting}")
    diary.database.engine.dispose()
    same = (
        "SELECT md5(string_agg(t::text || coalesce(encode(float8send(a), 'hex'), ''), ';'"
        " ORDER BY id)) FROM types t"
    )
    before = diary.rows(same)
    made = diary.backup("TRUNCATE types")
    assert diary.restore(made, "types").inserted == 3
    assert diary.rows(same) == before
    assert diary.restore(made, "types").plan.tables[0].same == 3


def test_names_are_those_of_statements(diary: Diary) -> None:
    """Schemas, capital letters, quotation marks, percent signs; in the search path as well."""
    diary.run(
        'CREATE SCHEMA "My %s"',
        'CREATE TABLE "My %s"."A ""b"" c" ("Key %" int PRIMARY KEY, "v.w" text UNIQUE)',
        """INSERT INTO "My %s"."A ""b"" c" VALUES (1, '%s %(x)s :y')""",
    )
    made = diary.backup('DELETE FROM "My %s"."A ""b"" c"')
    shown = 'My %s."A ""b"" c"'
    with diary.planning(made) as plan:
        assert plan(shown).inserted == 1
        assert plan('"My %s"."A ""b"" c"', '"Key %" = 1').inserted == 1
    diary.run(f'ALTER DATABASE {diary.database.name} SET search_path = "My %s", public')
    diary.database.engine.dispose()
    assert diary.restore(made, '"A ""b"" c"', '"A ""b"" c"."Key %" = 1').inserted == 1


def test_a_table_without_a_key_is_told_apart_by_values(diary: Diary) -> None:
    """Of equal rows, as many come back as are missing."""
    diary.run("CREATE TABLE log (a int, b text)")
    diary.run("INSERT INTO log VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL)")
    made = diary.backup("DELETE FROM log", "INSERT INTO log VALUES (1, 'x')")
    found = diary.manager.find_rows(made, "log")
    assert [row.values for row in found.rows] == [(1, "x"), (1, "x"), (2, None)]
    assert diary.restore(made, "log", keys=[found.rows[2].key]).inserted == 1
    assert diary.restore(made, "log").inserted == 2
    assert diary.rows("SELECT a, count(*) FROM log GROUP BY a ORDER BY a") == [(1, 3), (2, 1)]
    assert diary.manager.find_rows(made, "log", limit=1).rows == ()


def test_partitions_and_inherited_tables(diary: Diary) -> None:
    """A row goes where it belongs; a child's rows are not its parent's; triggers of partitions."""
    diary.run(
        "CREATE TABLE m (id int, p int, v text, PRIMARY KEY (id, p)) PARTITION BY LIST (p)",
        "CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)",
        "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER no BEFORE INSERT ON m FOR EACH ROW EXECUTE FUNCTION no()",
        "ALTER TABLE m DISABLE TRIGGER ALL",
        "INSERT INTO m VALUES (1, 1, 'a'), (2, 2, 'b')",
        "ALTER TABLE m ENABLE TRIGGER no",
        "CREATE TRIGGER two BEFORE INSERT ON m2 FOR EACH ROW EXECUTE FUNCTION no()",
        "CREATE TABLE bag (p int) PARTITION BY LIST (p)",
        "CREATE TABLE bag1 PARTITION OF bag FOR VALUES IN (1)",
        "INSERT INTO bag VALUES (1), (1)",
        "CREATE TABLE base (id int PRIMARY KEY)",
        "CREATE TABLE derived (more int) INHERITS (base)",
        "INSERT INTO base VALUES (1)",
        "INSERT INTO derived VALUES (2, 2)",
    )
    made = diary.backup("DELETE FROM m", "DELETE FROM base", "DELETE FROM bag")
    assert diary.restore(made, "m").inserted == 2
    assert diary.rows("SELECT tableoid::regclass::text, v FROM m ORDER BY id") == [
        ("m1", "a"),
        ("m2", "b"),
    ]
    assert diary.restore(made, "base").inserted == 1
    assert diary.restore(made, "bag").inserted == 2
    diary.run("DELETE FROM m2")
    assert diary.restore(made, "m2").inserted == 1


def test_circles_of_references(diary: Diary) -> None:
    """Rows of two tables that refer to each other come back together."""
    diary.run(
        "CREATE TABLE a (id int PRIMARY KEY, b int)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a DEFERRABLE)",
        "INSERT INTO a VALUES (1, 1)",
        "INSERT INTO b VALUES (1, 1)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b",
    )
    made = diary.backup("TRUNCATE a, b")
    assert diary.restore(made, "a", with_parents=True).inserted == 2


_CONDITIONS = {
    "1=1) OR (1=1": "not one SQL expression",
    "true; DROP TABLE users": "not one SQL expression",
    "true); DROP TABLE users; SELECT (true": "cannot be used on users",
    "id = 1 /*": "not one SQL expression",
    "id = \0": "NUL",
    "nme = 'x'": 'column "nme" does not exist',
    "id = 'secret'": r"invalid input syntax for type integer\)",
    "setval('users_id_seq', 1) > 0": "may only read",
    "set_config('transaction_read_only', 'off', true) <> ''": "cannot be used",
}


def test_a_condition_is_one_expression_that_reads(diary: Diary) -> None:
    """Whatever else it is, nothing comes of it; it may ask other tables of the backup."""
    diary.run("CREATE TABLE nothing (id int)")
    made = diary.backup("TRUNCATE users, entries, answers")
    with diary.planning(made) as plan:
        for where, message in _CONDITIONS.items():
            with pytest.raises(OptionError, match=message):
                plan("users", where)
        where = "id IN (SELECT user_id FROM entries WHERE content LIKE '%;%' OR id = 2) -- so"
        assert plan("users", where).inserted == 1
        assert plan("users").inserted == 5
        with pytest.raises(RowsRefusedError, match="No row of users"):
            plan("users", "false")
        with pytest.raises(RowsRefusedError, match="is empty"):
            plan("nothing")


def test_keys(diary: Diary) -> None:
    """Rows are named by keys of their type."""
    diary.run("CREATE TABLE u (id uuid PRIMARY KEY)")
    made = diary.backup("TRUNCATE users, entries, answers")
    with diary.planning(made) as plan:
        assert plan("users", keys=[2, (3,)]).inserted == 2
        for key in (["x"], [(1, 2)], [None], [True], [b"x"], []):
            with pytest.raises(OptionError, match="no key of users"):
                plan("users", keys=key)
        with pytest.raises(RowsRefusedError, match="no row of users with id 99"):
            plan("users", keys=[99])
        with pytest.raises(OptionError, match="no key of u"):
            plan("u", keys=["abc"])


def test_rows_are_found(diary: Diary) -> None:
    """Those that are gone, and on demand those that differ; values are Python's."""
    diary.run("CREATE TABLE f (id int PRIMARY KEY, v text, d bytea, n float8, m numeric)")
    diary.run(
        r"INSERT INTO f VALUES (1, 'Grüße ' || repeat('x', 9000), '\x0102', 1.5, 1.50)",
        "INSERT INTO f VALUES (2, 'two', NULL, 'NaN', 2), (3, 'three', NULL, NULL, NULL)",
    )
    made = diary.backup("DELETE FROM f WHERE id = 1", "UPDATE f SET v = 'other' WHERE id = 2")
    ((row,), told) = (diary.manager.find_rows(made, "f").rows, list[int]())
    assert row.key == (1,)
    assert row.values[2:] == (b"\x01\x02", 1.5, "1.50")
    assert getattr(row.values[1], "length", 0) == 9006
    found = diary.manager.find_rows(
        made, "f", text="TWO", differing=True, progress=lambda done, _: told.append(done)
    )
    assert [(one.key, one.now and one.now[1]) for one in found.rows] == [((2,), "other")]
    assert told
    assert not diary.manager.find_rows(made, "f", differing=True, limit=1).is_complete
    assert diary.restore(made, "f", keys=[row.key]).inserted == 1


def test_followed_tables_are_not_touched(diary: Diary) -> None:
    """The table of revisions, also where it is only referred to."""
    diary.run("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    diary.run("INSERT INTO alembic_version VALUES ('1')", "CREATE VIEW v AS SELECT 1 AS id")
    made = diary.backup()
    with diary.planning(made) as plan:
        for table, message in (
            ("alembic_version", "Alembic revision"),
            ("users", "for a reason"),
            ("v", "is a view"),
            ("user", "Did you mean users"),
        ):
            with pytest.raises(RowsRefusedError, match=message):
                plan(table, protected={"users": "for a reason"})
        assert plan("PUBLIC.Users").tables[0].same == 5


def test_somebody_who_writes_in_between_loses_nothing(diary: Diary) -> None:
    """What was committed while the safety copy was taken is in it, and so in an undo."""
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    driver = diary.manager._repository.driver
    snapshot: Callable[..., Any] = driver.snapshot
    taken: list[int] = []

    def slow(target: Path, **options: Any) -> Any:
        info = snapshot(target, **options)
        if not taken:
            diary.run("INSERT INTO users (name) VALUES ('meanwhile')")
        taken.append(1)
        return info

    driver.snapshot = slow  # type: ignore[method-assign]
    report = diary.restore(made, "entries", "id = 3")
    assert (report.inserted, len(taken)) == (1, 2)
    diary.manager.undo_restore()
    assert diary.rows("SELECT count(*) FROM users WHERE name = 'meanwhile'") == [(1,)]
    assert diary.rows("SELECT count(*) FROM entries") == [(4,)]


def test_what_is_not_as_shown_is_not_done(diary: Diary) -> None:
    """Somebody changes a row between question and answer, or between copy and lock."""
    made = diary.backup("UPDATE entries SET content = 'a' WHERE id = 3")
    plan = diary.manager.preview_rows(made, "entries", "id = 3", replace=True)
    diary.run("UPDATE entries SET content = 'b' WHERE id = 3")
    with pytest.raises(RowsRefusedError, match="has changed since these rows were looked at"):
        diary.manager.restore_rows(made, "entries", "id = 3", replace=True, expected=plan)
    assert diary.rows("SELECT content FROM entries WHERE id = 3") == [("b",)]


def test_a_writer_that_does_not_end_is_waited_for_and_then_told_of(
    diary: Diary, tmp_path: Path
) -> None:
    """Nothing was changed, and nobody is kept waiting."""
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    manager = BackupManager(diary.database.engine, tmp_path, lock_timeout=0.4)
    with diary.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE users SET name = 'x'")
        with pytest.raises(DatabaseLockedError):
            manager.restore_rows(made, "entries", "id = 3")
    assert diary.rows("SELECT count(*) FROM entries") == [(4,)]


class _CancelledError(Exception):
    pass


@pytest.mark.parametrize("when", [1, -1])
def test_a_cancelled_one_leaves_nothing(diary: Diary, when: int) -> None:
    """Neither rows nor databases nor a safety backup: from the first question to the last."""
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    asked: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        asked.append((done, total))
        if len(asked) == when or (when < 0 and done == total == 1):
            raise _CancelledError

    with pytest.raises(_CancelledError):
        diary.manager.restore_rows(made, "entries", "id = 3", progress=progress)
    assert diary.rows("SELECT count(*) FROM entries") == [(4,)]
    assert not [name for name in diary.database.names() if name.startswith("soulsense_")]
    assert diary.restore(made, "entries", "id = 3").inserted == 1


def test_a_long_condition_is_cancelled(diary: Diary) -> None:
    """The server ends the statement."""
    made = diary.backup()
    stop = threading.Event()

    def progress(_done: int, _total: int) -> None:
        with diary.database._postgres().connect() as connection:
            found = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            if connection.exec_driver_sql(found).scalar():
                stop.set()
                raise _CancelledError

    with pytest.raises(_CancelledError):
        diary.manager.preview_rows(made, "users", "pg_sleep(50) IS NOT NULL", progress=progress)
    assert stop.is_set()


def test_rights_that_are_missing(
    diary: Diary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make databases, none; who may not set triggers aside is told what it takes."""
    programs = diary.database.server.bin  # to be told where they are takes a right
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    name, role = diary.database.name, f"guest_{diary.database.name}"
    diary.run(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$",
        "CREATE TRIGGER t BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION f()",
        f"CREATE ROLE {role} LOGIN",
        f"GRANT pg_read_all_data, pg_write_all_data TO {role}",
        f"ALTER DATABASE {name} OWNER TO {role}",
        *(f"ALTER TABLE {table} OWNER TO {role}" for table in ("users", "entries", "answers")),
        f"ALTER FUNCTION f OWNER TO {role}",
    )
    made = diary.backup("DELETE FROM entries WHERE id = 3", "ALTER TABLE entries OWNER TO postgres")
    engine = sa.create_engine(diary.database.server.url(name, user=role), poolclass=NullPool)
    manager = BackupManager(engine, tmp_path)
    try:
        assert manager.preview_rows(made, "entries", "id = 3").inserted == 1
        diary.run(f"ALTER ROLE {role} CREATEDB")
        with pytest.raises(MissingRightError, match="the owner of the table alone") as caught:
            manager.restore_rows(made, "entries", "id = 3")
        assert caught.value.outcome is Outcome.UNCHANGED
        assert manager.restore_rows(made, "entries", "id = 3", triggers="run").inserted == 1
    finally:
        diary.run(f"REASSIGN OWNED BY {role} TO postgres", f"DROP OWNED BY {role}")
        diary.run(f"DROP ROLE {role}")


@pytest.mark.parametrize("library", ["psycopg2", "asyncpg"])
def test_engines_of_other_libraries(diary: Diary, tmp_path: Path, library: str) -> None:
    """They bring the same rows back."""
    before = diary.rows("SELECT * FROM entries ORDER BY id")
    made = diary.backup("DELETE FROM entries WHERE id = 3")
    url = diary.database.server.url(diary.database.name, driver=library)
    make = create_async_engine if library == "asyncpg" else sa.create_engine
    manager = BackupManager(make(url, poolclass=NullPool), tmp_path)
    report = manager.restore_rows(made, "entries", "id = 3 OR content = '%s'", with_children=True)
    assert report.inserted == 3
    assert diary.rows("SELECT * FROM entries ORDER BY id") == before


def test_a_commit_whose_answer_is_lost(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked what became of it; where it cannot be, nobody claims to know."""
    made = diary.backup("DELETE FROM entries WHERE id > 2")
    driver: Any = diary.manager._repository.driver
    transaction = driver.transaction

    def broken(work: Any, *, lock_timeout: float, write: bool = True) -> Any:
        result = transaction(work, lock_timeout=lock_timeout, write=write)
        if write:
            raise DatabaseUnreachableError("gone", hint="", reason="gone")
        return result

    monkeypatch.setattr(driver, "transaction", broken)
    assert diary.restore(made, "entries", "id = 3").inserted == 1
    assert diary.rows("SELECT count(*) FROM entries") == [(3,)]
    monkeypatch.setattr("soulsense_db.drivers.postgresql.row_access._STATUS_SECONDS", 0)
    with pytest.raises(DatabaseUnreachableError) as caught:
        diary.restore(made, "entries", "id = 4")
    assert caught.value.outcome is Outcome.UNSURE
    assert caught.value.backup is not None
    diary.manager.undo_restore()
    assert diary.rows("SELECT count(*) FROM entries") == [(3,)]

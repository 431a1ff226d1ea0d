"""Chosen rows of a backup come back into a MariaDB database, and all else stays as it is."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import RowSelection, RowsPlan
from soulsense_db.drivers.mariadb.row_access import rows_of
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

DIARY = """
    CREATE TABLE users (id int AUTO_INCREMENT PRIMARY KEY, name text, email varchar(40) UNIQUE);
    CREATE TABLE entries (
        id bigint AUTO_INCREMENT PRIMARY KEY,
        user_id int NOT NULL,
        content text,
        loud text GENERATED ALWAYS AS (upper(content)) STORED,
        FOREIGN KEY (user_id) REFERENCES users (id)
    );
    CREATE TABLE answers (
        id int PRIMARY KEY,
        entry_id bigint NOT NULL,
        parent int,
        text text,
        FOREIGN KEY (entry_id) REFERENCES entries (id) ON DELETE CASCADE,
        FOREIGN KEY (parent) REFERENCES answers (id)
    );
    INSERT INTO users (name, email) SELECT concat('Person ', seq), concat('p', seq) FROM seq_1_to_5;
    INSERT INTO entries (user_id, content) SELECT seq, concat('Day ', seq) FROM seq_1_to_5;
    INSERT INTO answers VALUES (2, 3, NULL, 'no'), (1, 3, 2, 'yes');
"""
GONE = "DELETE FROM answers WHERE id = 1; DELETE FROM entries WHERE id = 3;"
EMPTY = "SET foreign_key_checks = 0; TRUNCATE users; TRUNCATE entries; TRUNCATE answers;"


class Diary:
    """A database with users, entries and answers, and its backups."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.manager = BackupManager(database.engine, folder)
        self.run = database.run

    def backup(self, script: str = "") -> BackupInfo:
        """Make a backup, and then execute statements."""
        made = self.manager.create()
        self.run(script)
        return made

    def dump(self) -> str:
        """Return all rows of the application."""
        return self.database.dump(f"--ignore-table={self.database.name}.backups")

    def restore(
        self, backup: BackupInfo, table: str, where: str | None = None, **options: Any
    ) -> RowsReport:
        """Bring rows back."""
        return self.manager.restore_rows(backup, table, where, **options)

    @contextmanager
    def planning(self, backup: BackupInfo) -> Iterator[Callable[..., RowsPlan]]:
        """Yield what plans rows of one backup, which is restored to a schema beside it once."""
        with rows_of(self.manager._repository.driver, Path(backup.path), None) as server:  # type: ignore[arg-type]

            def plan(table: str, where: str | None = None, **options: Any) -> RowsPlan:
                options["keys"] = RowSelection.keys_of(options.pop("keys", None))
                selection = RowSelection(table=table, where=where, **options)
                return RowLoader(server, selection, progress=None).plan(samples=9)

            yield plan


@pytest.fixture
def diary(server: Server, tmp_path: Path) -> Iterator[Diary]:
    """Return a diary; no schema of ours is left at the end."""
    with new_database(server, tmp_path) as database:
        database.run(DIARY)
        yield Diary(database, tmp_path)
        assert database.left() == set()


def test_a_row_and_what_refers_to_it_come_back(diary: Diary) -> None:
    """Generated values, and rows that refer to each other, too; undo takes them back."""
    before = diary.dump()
    made = diary.backup(GONE)
    plan = diary.manager.preview_rows(made, "entries", "id = 3", with_children=True, samples=9)
    report = diary.restore(made, "entries", "id = 3", with_children=True, expected=plan)
    assert (report.inserted, report.replaced) == (3, 0)
    assert [(one.table, one.role) for one in report.plan.tables] == [
        ("entries", "chosen"),
        ("answers", "child"),
    ]
    assert plan.samples[0].key == (("id", "3"),)
    assert diary.dump() == before
    diary.manager.undo_restore()
    assert diary.run("SELECT count(*) FROM entries WHERE id = 3") == "0\n"


def test_without_children_they_are_told_of(diary: Diary) -> None:
    """What stays in the backup alone is counted; what differs is replaced on demand."""
    made = diary.backup(f"{GONE} UPDATE entries SET content = ''")
    with diary.planning(made) as plan:
        found = plan("entries")
        assert (found.tables[0].inserted, found.tables[0].kept) == (1, 4)
        assert [(one.table, one.rows) for one in found.missing_children] == [("answers", 2)]
    report = diary.restore(made, "entries", replace=True)
    assert (report.inserted, report.replaced) == (1, 4)
    assert diary.run("SELECT loud FROM entries WHERE id = 5") == "DAY 5\n"


def test_rows_that_are_referred_to_come_along_or_nothing_does(diary: Diary) -> None:
    """They are named, and what they refer to comes first."""
    made = diary.backup(EMPTY)
    with pytest.raises(RowsRefusedError, match=r"users id 2 \(for 1 row of entries\)") as caught:
        diary.restore(made, "entries", "id = 2")
    assert caught.value.outcome is Outcome.UNCHANGED
    report = diary.restore(made, "answers", with_parents=True)
    assert [(one.table, one.inserted) for one in report.plan.tables] == [
        ("answers", 2),
        ("entries", 1),
        ("users", 1),
    ]


def test_a_table_with_triggers_is_written_with_them_or_not_at_all(diary: Diary) -> None:
    """They cannot be set aside in a transaction: that is said before; others do no harm."""
    diary.run(
        "CREATE TRIGGER one BEFORE INSERT ON entries FOR EACH ROW SET new.content = 'changed';"
        "CREATE TRIGGER two BEFORE DELETE ON users FOR EACH ROW SET @x = 1;"
    )
    made = diary.backup(f"{GONE} UPDATE users SET name = ''; UPDATE entries SET content = ''")
    with diary.planning(made) as plan, pytest.raises(RowsRefusedError, match="triggers one"):
        plan("entries", "id = 3")
    assert diary.restore(made, "users", replace=True).replaced == 5
    assert diary.restore(made, "entries", "id = 4", replace=True).replaced == 1
    report = diary.restore(made, "entries", "id = 3", triggers="run")
    assert report.plan.tables[0].triggers == ("one",)
    assert diary.run("SELECT content FROM entries WHERE id = 3") == "changed\n"


def test_what_the_database_refuses_is_told_without_values(diary: Diary) -> None:
    """A constraint by its name, a trigger, a value that does not fit: nothing is written."""
    made = diary.backup(GONE)
    diary.run("ALTER TABLE entries ADD CONSTRAINT few CHECK (content <> 'Day 3')")
    with pytest.raises(RowsRefusedError, match=r"row id 3 of entries \(constraint few\)") as caught:
        diary.restore(made, "entries", "id = 3")
    assert caught.value.outcome is Outcome.UNCHANGED
    diary.run(
        "ALTER TABLE entries DROP CONSTRAINT few; CREATE TRIGGER no BEFORE INSERT ON entries"
        " FOR EACH ROW SIGNAL SQLSTATE '45000' SET message_text = 'secret'"
    )
    with pytest.raises(RowsRefusedError, match=r"id 3 of entries \(a trigger") as caught:
        diary.restore(made, "entries", "id = 3", triggers="run")
    assert "secret" not in str(caught.value)
    with pytest.raises(BackupError):  # no safety backup stands for what was not done
        diary.manager.undo_restore()


def test_a_value_that_does_not_fit_is_refused(diary: Diary) -> None:
    """And one that another type writes otherwise; a wider type takes what is the same."""
    diary.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), n decimal(5, 1), w int)")
    diary.run("INSERT INTO t VALUES (1, 'abcdef', 1.5, 3)")
    made = diary.backup("DELETE FROM t; ALTER TABLE t MODIFY v varchar(2)")
    with pytest.raises(RowsRefusedError, match="does not fit into its column"):
        diary.restore(made, "t")
    diary.run("ALTER TABLE t MODIFY v varchar(50), MODIFY n decimal(7, 3)")
    with pytest.raises(RowsRefusedError, match="not kept as it is in the backup"):
        diary.restore(made, "t")
    diary.run("ALTER TABLE t MODIFY n decimal(9, 1), MODIFY w bigint")
    assert diary.restore(made, "t").inserted == 1


def test_columns_are_paired_by_name(diary: Diary) -> None:
    """What is new gets its default, what would be lost is refused, unless it is left out."""
    made = diary.backup(f"{EMPTY} ALTER TABLE users DROP name, ADD age int NOT NULL DEFAULT 7")
    with diary.planning(made) as plan:
        with pytest.raises(RowsRefusedError, match="has no column name any more"):
            plan("users", "id = 5")
        with pytest.raises(OptionError, match="nothing cannot be left out"):
            plan("users", without_columns=("nothing",))
        diary.run("ALTER TABLE answers DROP FOREIGN KEY answers_ibfk_2, DROP PRIMARY KEY")
        with pytest.raises(RowsRefusedError, match="primary key of answers has changed"):
            plan("answers")
        diary.run("ALTER TABLE answers ADD PRIMARY KEY (id), MODIFY parent int NOT NULL")
        with pytest.raises(RowsRefusedError, match="parent is NULL in the backup's row id 2"):
            plan("answers")
        diary.run("ALTER TABLE answers ADD must int NOT NULL")
        with pytest.raises(RowsRefusedError, match="no value for must"):
            plan("answers")
        diary.run("DROP TABLE answers")
        with pytest.raises(RowsRefusedError, match="no table answers any more"):
            plan("answers")
    report = diary.restore(made, "users", "id = 5", without_columns=["name"])
    assert any("age is new" in note for note in report.plan.notes)
    assert diary.run("SELECT id, email, age FROM users") == "5\tp5\t7\n"


def test_values_come_back_bit_for_bit(diary: Diary) -> None:
    """Whatever the application's connection has set; a zero, an empty text, a megabyte."""
    columns = (
        "id varchar(20) CHARACTER SET latin1 COLLATE latin1_german1_ci PRIMARY KEY, a double,"
        " b float, c decimal(30, 10), d longblob, e json, f timestamp(6) NULL, g datetime(3), h set"
        " ('a', 'b'), i enum ('x', 'y'), j bit(11), k point, l char(5), m year, n bool, o inet6,"
        " p binary(3), q bigint unsigned, r time(6), s date, t longtext, u text CHARACTER SET utf16"
    )
    diary.run(
        f"CREATE TABLE types ({columns});"
        "INSERT INTO types VALUES ('Grüße', 0.1e0 + 0.2e0, 0.1, 12345678901234567890.0123456789,"
        " repeat(x'00ff2725', 100000), '{\"a\": [1, \"%s\"]}', '2026-03-29 01:30:00.123456',"
        " '2026-03-29 02:30:00.5', 'a,b', 'y', b'10100000101', point(1.5, -2), 'ab', 2026, 1,"
        r" '::1', x'00ff', 18446744073709551615, '-838:59:59.000001', '0000-00-00', 'a\\b\'%s\0\n',"
        " 'ж😀');"
        "INSERT INTO types (id) VALUES (''), ('null');"
        "SET sql_mode = '';"
        "INSERT INTO types (id, i, t) VALUES ('odd', 'wrong', repeat('ж', 70000))"
    )
    before = diary.dump()
    made = diary.backup("DELETE FROM types")
    engine = sa.create_engine(diary.database.engine.url, poolclass=NullPool)

    @sa.event.listens_for(engine, "connect")
    def _set(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        modes = "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'"
        cursor.execute(f"SET SESSION sql_mode = {modes}, time_zone = '+09:00'")
        cursor.execute("SET NAMES latin1")

    manager = BackupManager(engine, diary.folder)
    assert manager.restore_rows(made, "types").inserted == 4
    assert diary.dump() == before
    with diary.planning(made) as plan:
        assert plan("types").tables[0].same == 4
    diary.run("UPDATE types SET d = concat(d, 'x'), t = concat('x', t), k = point(0, 0)")
    plan_of_all = manager.preview_rows(made, "types", replace=True, samples=9)
    shown = {name: text for one in plan_of_all.samples for name, text in one.values}
    assert shown["d"].endswith("(400,000 bytes)")
    assert shown["t"].endswith("(70,000 characters)")
    assert manager.restore_rows(made, "types", replace=True, expected=plan_of_all).replaced == 4
    assert diary.dump() == before


def test_a_table_without_a_key_is_told_apart_by_values(diary: Diary) -> None:
    """Of equal rows, as many come back as are missing."""
    diary.run(
        "CREATE TABLE log (a int, b text, t timestamp DEFAULT '2020-01-01' ON UPDATE"
        " current_timestamp);"
        "INSERT INTO log (a, b) VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL);"
        "CREATE TABLE counted (n int AUTO_INCREMENT, KEY (n)); INSERT INTO counted VALUES (1)"
    )
    made = diary.backup("DELETE FROM log; INSERT INTO log (a, b) VALUES (1, 'x')")
    found = diary.manager.find_rows(made, "log")
    assert [row.values[:2] for row in found.rows] == [(1, "x"), (1, "x"), (2, None)]
    assert found.key == ()
    assert diary.restore(made, "log", keys=[found.rows[2].key]).inserted == 1
    assert diary.restore(made, "log").inserted == 2
    assert diary.run("SELECT a, count(*), min(t) FROM log GROUP BY a") == (
        "1\t3\t2020-01-01 00:00:00\n2\t1\t2020-01-01 00:00:00\n"
    )
    with diary.planning(made) as plan, pytest.raises(RowsRefusedError, match="told apart"):
        plan("counted")


def test_only_tables_with_transactions_are_written_to(diary: Diary) -> None:
    """Others are locked meanwhile, and dumped."""
    diary.run("CREATE TABLE old (id int PRIMARY KEY) ENGINE=MyISAM; INSERT INTO old VALUES (1)")
    made = diary.backup(f"{GONE} DELETE FROM old")
    with diary.planning(made) as plan, pytest.raises(RowsRefusedError, match="engine MyISAM"):
        plan("old")
    assert diary.restore(made, "entries", "id = 3").inserted == 1


def test_names_numbers_and_circles(diary: Diary) -> None:
    """Names with all that names may have; sequences; tables that refer to each other."""
    diary.run(
        "CREATE TABLE `v` (`k %s` int PRIMARY KEY, `a``b c` text); INSERT INTO v VALUES (1, 'x');"
        "CREATE TABLE `We ird``%s` (`%(x)s` varchar(9) PRIMARY KEY);"
        "INSERT INTO `We ird``%s` VALUES ('a%s:b');"
        "CREATE SEQUENCE num; CREATE TABLE n (a int DEFAULT nextval(num) PRIMARY KEY);"
        "INSERT INTO n VALUES (5), (6);"
        "CREATE TABLE c (id int PRIMARY KEY, d int);"
        "CREATE TABLE d (id int PRIMARY KEY, c int, FOREIGN KEY (c) REFERENCES c (id));"
        "INSERT INTO c VALUES (1, 1); INSERT INTO d VALUES (1, 1);"
        "ALTER TABLE c ADD FOREIGN KEY (d) REFERENCES d (id)"
    )
    made = diary.backup(
        "SET foreign_key_checks = 0; DELETE FROM v; DELETE FROM `We ird``%s`; DELETE FROM n;"
        "DELETE FROM c; DELETE FROM d"
    )
    assert diary.restore(made, "`V`").inserted == 1
    assert diary.restore(made, "We ird`%s", "`We ird``%s`.`%(x)s` = 'a%s:b'").inserted == 1
    assert diary.restore(made, "n").inserted == 2
    diary.run("INSERT INTO n VALUES ()")
    assert diary.run("SELECT max(a) > 6 FROM n") == "1\n"
    assert diary.restore(made, "c", with_parents=True).inserted == 2


_CONDITIONS = {
    "1=1) OR (1=1": "not one SQL expression",
    "true; DROP TABLE users": "not one SQL expression",
    "true); DROP TABLE users; SELECT (true": "not one SQL expression",
    "id = 1 /*": "not one SQL expression",
    "id = ?": "not one SQL expression",
    "id = \0": "NUL",
    "nme = 'x'": "Unknown column .nme.",
    "nextval(num) > 0": "may only read|cannot be used",
}


def test_a_condition_is_one_expression_that_reads(diary: Diary) -> None:
    """Whatever else it is, nothing comes of it; it may ask other tables of the backup."""
    diary.run(
        "CREATE TABLE nothing (id int PRIMARY KEY); CREATE SEQUENCE num; CREATE VIEW w AS SELECT 1"
    )
    made = diary.backup(EMPTY)
    with diary.planning(made) as plan:
        for where, message in _CONDITIONS.items():
            with pytest.raises(OptionError, match=message):
                plan("users", where)
        where = "id IN (SELECT user_id FROM entries WHERE content LIKE '%;%' OR id = 2) -- so"
        assert plan("users", where).inserted == 1
        assert plan("users").inserted == 5
        for table, condition, message in (
            ("users", "false", "No row of users"),
            ("nothing", None, "is empty"),
            ("w", None, "is a view"),
            ("num", None, "no rows to bring back"),
            ("user", None, "Did you mean users"),
        ):
            with pytest.raises(RowsRefusedError, match=message):
                plan(table, condition)


def test_keys_and_what_is_found(diary: Diary) -> None:
    """Rows are named by keys of their type; values are Python's."""
    diary.run(
        "CREATE TABLE f (id int PRIMARY KEY, v text, d blob, n double, m decimal(5, 2));"
        "INSERT INTO f VALUES (1, repeat('ß', 9000), x'0102', 1.5, 1.50), (2, 'two', NULL, 2, 2),"
        " (3, 'three', NULL, NULL, NULL)"
    )
    made = diary.backup(f"{EMPTY} DELETE FROM f WHERE id = 1; UPDATE f SET v = 'o' WHERE id = 2")
    with diary.planning(made) as plan:
        assert plan("users", keys=[2, (3,)]).inserted == 2
        for key in (["x"], [(1, 2)], [None], [True], [b"x"], []):
            with pytest.raises(OptionError, match="no key of users"):
                plan("users", keys=key)
        with pytest.raises(RowsRefusedError, match="no row of users with id 99"):
            plan("users", keys=[99])
    (row,) = diary.manager.find_rows(made, "f").rows
    assert (row.key, row.values[2:]) == ((1,), (b"\x01\x02", 1.5, "1.50"))
    assert getattr(row.values[1], "length", 0) == 9000
    found = diary.manager.find_rows(made, "f", text="TWO", differing=True)
    assert [(one.key, one.now and one.now[1]) for one in found.rows] == [((2,), "o")]
    assert not diary.manager.find_rows(made, "f", differing=True, limit=1).is_complete


def test_unique_values_and_values_that_are_referred_to(diary: Diary) -> None:
    """Rows that are in the way are named; no row loses what others refer to."""
    diary.run(
        "CREATE TABLE letters (id int PRIMARY KEY, to_email varchar(40), UNIQUE (to_email(3)),"
        " FOREIGN KEY (to_email) REFERENCES users (email)); INSERT INTO letters VALUES (1, 'p1')"
    )
    made = diary.backup(
        "DELETE FROM entries WHERE user_id = 4; DELETE FROM users WHERE id = 4;"
        "UPDATE users SET email = 'P4' WHERE id = 2;"
        "SET foreign_key_checks = 0; UPDATE users SET email = 'new' WHERE id = 1;"
        "UPDATE letters SET to_email = 'new'"
    )
    with diary.planning(made) as plan:
        with pytest.raises(RowsRefusedError, match="email of id 4 is that of id 2"):
            plan("users", "id = 4")
        with pytest.raises(RowsRefusedError, match="Rows of letters refer to the row id 1"):
            plan("users", "id = 1", replace=True)


def test_nobody_writes_while_the_copy_is_taken_and_all_may_read(diary: Diary) -> None:
    """So what undo goes back to lacks nothing."""
    made = diary.backup(GONE)
    driver = diary.manager._repository.driver
    snapshot: Callable[..., Any] = driver.snapshot
    seen: list[str] = []

    def watched(target: Path, **options: Any) -> Any:
        seen.append(diary.run("SELECT count(*) FROM entries"))
        for statement in ("INSERT INTO users VALUES ()", "UPDATE entries SET content = ''"):
            with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
                _write(diary, statement)
        return snapshot(target, **options)

    driver.snapshot = watched  # type: ignore[method-assign]
    assert diary.restore(made, "entries", "id = 3").inserted == 1
    assert seen == ["4\n"]
    _write(diary, "INSERT INTO users VALUES ()")


def _write(diary: Diary, statement: str) -> None:
    connection = pymysql.connect(
        unix_socket=str(diary.database.server.socket), user="root", database=diary.database.name
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 0")
            cursor.execute(statement)
        connection.commit()
    finally:
        connection.close()


def test_a_writer_that_does_not_end_is_waited_for_and_then_told_of(diary: Diary) -> None:
    """Nothing was changed."""
    made = diary.backup(GONE)
    manager = BackupManager(diary.database.engine, diary.folder, lock_timeout=1)
    with diary.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE users SET name = 'x'")
        with pytest.raises(DatabaseLockedError):
            manager.restore_rows(made, "entries", "id = 3")
    assert diary.run("SELECT count(*) FROM entries") == "4\n"


def test_what_is_not_as_shown_is_not_done(diary: Diary) -> None:
    """Somebody changes a row between question and answer."""
    made = diary.backup("UPDATE entries SET content = 'a' WHERE id = 3")
    plan = diary.manager.preview_rows(made, "entries", "id = 3", replace=True)
    diary.run("UPDATE entries SET content = 'b' WHERE id = 3")
    with pytest.raises(RowsRefusedError, match="has changed since these rows were looked at"):
        diary.restore(made, "entries", "id = 3", replace=True, expected=plan)
    assert diary.run("SELECT content FROM entries WHERE id = 3") == "b\n"


class _CancelledError(Exception):
    pass


@pytest.mark.parametrize("when", [1, -1])
def test_a_cancelled_one_leaves_nothing(diary: Diary, when: int) -> None:
    """Neither rows nor schemas nor a safety backup: from the first question to the last."""
    made = diary.backup(GONE)
    asked: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        asked.append((done, total))
        if len(asked) == when or (when < 0 and done == total == 1):
            raise _CancelledError

    with pytest.raises(_CancelledError):
        diary.restore(made, "entries", "id = 3", progress=progress)
    assert diary.run("SELECT count(*) FROM entries") == "4\n"
    assert diary.restore(made, "entries", "id = 3").inserted == 1


def test_a_long_condition_is_cancelled(diary: Diary) -> None:
    """The server ends the statement."""
    made = diary.backup()
    stop = threading.Event()

    def progress(_done: int, _total: int) -> None:
        if "User sleep" in diary.run("SHOW PROCESSLIST"):
            stop.set()
            raise _CancelledError

    with pytest.raises(_CancelledError):
        diary.manager.preview_rows(made, "users", "sleep(50) = 0", progress=progress)
    assert stop.is_set()


def test_the_rights_of_a_restore_are_enough(diary: Diary) -> None:
    """Those that the guide names; without them the error says which one is missing."""
    made = diary.backup(GONE)
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "mariadb.md").read_text()
    for user in ("backup", "restore"):
        said = re.findall(rf"^GRANT .* TO `{user}`@`localhost`;$", guide, re.MULTILINE)
        assert said
        diary.run(f"DROP USER IF EXISTS {user}@localhost; CREATE USER {user}@localhost")
        diary.run("".join(said).replace("`shop`", f"`{diary.database.name}`"))
        url = diary.database.server.url(diary.database.name, user=user)
        manager = BackupManager(sa.create_engine(url, poolclass=NullPool), diary.folder)
        if user == "backup":
            with pytest.raises(MissingRightError):
                manager.preview_rows(made, "entries")
        else:
            assert manager.restore_rows(made, "entries", with_children=True).inserted == 3
        diary.run(f"DROP USER {user}@localhost")


@pytest.mark.parametrize("library", ["mysqlconnector", "asyncmy"])
def test_engines_of_other_libraries(diary: Diary, library: str) -> None:
    """They copy the same rows."""
    made = diary.backup(GONE)
    url = diary.database.server.url(diary.database.name, driver=library)
    make = create_async_engine if library == "asyncmy" else sa.create_engine
    manager = BackupManager(make(url, poolclass=NullPool), diary.folder)
    report = manager.restore_rows(made, "entries", "id = 3", with_children=True)
    assert report.inserted == 3


def test_a_commit_whose_answer_is_lost(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody claims to know what became of it, and the way back stays."""
    made = diary.backup(GONE)
    driver: Any = diary.manager._repository.driver
    transaction = driver.transaction

    def broken(work: Any, *, lock_timeout: float, write: bool = True) -> Any:
        result = transaction(work, lock_timeout=lock_timeout, write=write)
        if write:
            raise DatabaseUnreachableError("gone", hint="", reason="gone")
        return result

    monkeypatch.setattr(driver, "transaction", broken)
    with pytest.raises(DatabaseUnreachableError) as caught:
        diary.restore(made, "entries", "id = 3")
    assert caught.value.outcome is Outcome.UNSURE
    assert caught.value.backup is not None

"""What triggers, routines and views say is kept to the letter: backslashes, comments, bytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb.tools import Tools, _without_sandbox


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new and empty database; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        yield made
        assert made.left() == set()


def _manager(database: Database, driver: str = "pymysql") -> BackupManager:
    url = database.server.url(database.name, driver=driver)
    engine = sa.create_engine(url, poolclass=NullPool)
    return BackupManager(engine, database.folder / "backups", catalog=False, lock_timeout=8)


def _execute(database: Database, *statements: str | bytes) -> None:
    """Execute statements as they are, without a program that reads them."""
    with database.engine.connect() as connection:
        cursor = connection.connection.cursor()
        for one in statements:
            cursor.execute(one)
        cursor.close()


def _shown(database: Database, *things: str) -> list[Any]:
    """Return the statements of things, in their kind's ``SHOW CREATE``, as bytes."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET character_set_results = binary")
        found = []
        for one in things:
            row = connection.exec_driver_sql(f"SHOW CREATE {one}").one()
            found.append(next(text for text in row if b"CREATE " in text))
    return found


def test_the_line_that_ends_commands_is_left_out() -> None:
    """Some versions of the program know not even that one in binary mode: they load the rest."""
    for line in (b"/*M!999999", b"/*!999999"):
        first = line + b"\\- enable the sandbox mode */ \n"
        rest = b"SELECT 1;\n" + first
        assert list(_without_sandbox([first + rest, first])) == [rest, first]
    assert list(_without_sandbox([b"-- MariaDB dump\n"])) == [b"-- MariaDB dump\n"]
    assert b"".join(_without_sandbox([])) == b""


_BODIES = {
    "slash": r"SET NEW.s = 'C:\\new'",
    "intro": "SET NEW.s = CONCAT(_latin1 X'E9', _utf8mb4'é')",
    "regex": r"SET NEW.s = REGEXP_REPLACE(NEW.s, '\\d', '\'n')",
    "noted": "-- why\n/* it's */ SET NEW.s = 'x' # so",
}


def test_triggers_come_back_to_the_letter(database: Database) -> None:
    """Backslashes, introducers and comments of a trigger are the same after restore and undo."""
    _execute(
        database,
        "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(50))",
        *(
            f"CREATE TRIGGER {name} BEFORE UPDATE ON t FOR EACH ROW {body}"
            for name, body in _BODIES.items()
        ),
        "SET sql_mode = 'ANSI_QUOTES'",
        f'CREATE TRIGGER "a ""b" /* c */ AFTER INSERT ON "{database.name}" . "t"\n'
        r"FOR EACH ROW FOLLOWS_T: BEGIN SET @x = '\\'; END",
    )
    things = [f"TRIGGER {one}" for one in _BODIES] + ['TRIGGER `a "b`']
    before = _shown(database, *things)
    manager = _manager(database)
    backup = manager.create("one")
    manager.verify(backup, level="drill")
    database.run("DROP TRIGGER slash; CREATE TABLE other (x INT)")
    replaced = _shown(database, *things[1:])
    manager.restore(backup)
    assert _ignoring_quotes(_shown(database, *things)) == _ignoring_quotes(before)
    manager.undo_restore()
    assert _ignoring_quotes(_shown(database, *things[1:])) == _ignoring_quotes(replaced)


def _ignoring_quotes(texts: list[Any]) -> list[bytes]:
    """Return what comes after the header, which gets quotation marks."""
    return [bytes(one).partition(b"FOR EACH ROW")[2].strip() for one in texts]


def test_a_trigger_of_a_role_stays_its(database: Database) -> None:
    """A definer that is a role is the definer after a restore, and not who restored."""
    role = f"r_{database.name}"
    database.run(
        f"CREATE ROLE {role}; CREATE TABLE t (id INT PRIMARY KEY, s INT);"
        f"CREATE DEFINER = {role} TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.s = 1"
    )
    try:
        [before] = _shown(database, "TRIGGER tr")
        assert f"DEFINER=`{role}` TRIGGER".encode() in bytes(before)
        manager = _manager(database)
        backup = manager.create("one")
        database.run("DROP TRIGGER tr")
        manager.restore(backup)
        [after] = _shown(database, "TRIGGER tr")
        assert f"DEFINER=`{role}` TRIGGER".encode() in bytes(after)
    finally:
        database.run(f"DROP ROLE {role}")


_COMMENTED = (
    "BEGIN\r\n-- it's a comment;; \r\n# another 'one\n/* block ;; 'x */\r\n"
    "SELECT '\r\n', 1; /*! SELECT 2 */;\n/*M! SELECT 3 */; -- last\nEND"
)


def test_comments_and_line_ends_of_programs_come_back(database: Database) -> None:
    """A routine and an event are the same byte by byte after a restore, and after its undo."""
    _execute(
        database,
        "CREATE TABLE t (id INT PRIMARY KEY)",
        f"CREATE PROCEDURE p()\r\n{_COMMENTED}",
        "CREATE FUNCTION f() RETURNS INT\r\n-- hello ' world\nRETURN 1",
        f"CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DISABLE DO {_COMMENTED.replace(';;', ';')}",
    )
    things = ("PROCEDURE p", "FUNCTION f", "EVENT e")
    before = _shown(database, *things)
    assert b"\r\n-- it's" in bytes(before[0])
    manager = _manager(database)
    backup = manager.create("one")
    manager.verify(backup, level="drill")
    database.run("DROP EVENT e")
    manager.restore(backup)
    assert _shown(database, *things) == before
    manager.undo_restore()
    assert _shown(database, *things[:2]) == before[:2]


def test_what_looks_like_rows_in_a_program_is_none(database: Database) -> None:
    """The text of a routine that inserts is counted nowhere: the backup is whole, and loaded."""
    inserts = "INSERT INTO `t` VALUES\n(5,'x'),\n(6,'y');\n"
    _execute(
        database,
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, 'precious')",
        f"CREATE PROCEDURE p()\nBEGIN\n{inserts}END",
        f"CREATE TRIGGER tr AFTER DELETE ON t FOR EACH ROW BEGIN\n{inserts}END",
        f"CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DISABLE DO BEGIN\n{inserts}END",
    )
    before = database.dump()
    manager = _manager(database)
    backup = manager.create("one")
    assert backup.row_counts == {"t": 1}
    database.run("DROP PROCEDURE p")
    manager.restore(backup)
    assert database.dump() == before


@pytest.mark.parametrize(
    ("driver", "names"),
    [("pymysql", "utf8mb4"), ("mysqlconnector", "utf8mb4"), ("pymysql", "utf8")],
)
def test_what_is_no_text_is_kept(database: Database, driver: str, names: str) -> None:
    """Bytes in a default and in a view come back; each library tells the same of them."""
    _execute(
        database,
        "CREATE TABLE t (x VARBINARY(9) DEFAULT X'FF00', y INT)",
        "CREATE VIEW v AS SELECT _latin1 X'E9' AS `ü`",
        b"CREATE TABLE u (s VARCHAR(9) CHARACTER SET latin1)",
        f"SET NAMES {names}",
        b"CREATE TRIGGER tr BEFORE INSERT ON u FOR EACH ROW SET NEW.s = _latin1'\xe9'",
        b"INSERT INTO u VALUES (NULL)",
        "INSERT INTO t (y) VALUES (1)",
        "SET NAMES latin1",
        b"CREATE PROCEDURE p() SELECT '\xe9'",
    )
    things = ("TABLE t", "VIEW v", "PROCEDURE p")
    before = _shown(database, *things)
    manager = _manager(database, driver)
    backup = manager.create("one")
    manager.verify(backup, level="drill")
    database.run("DROP TABLE t; DROP VIEW v; DROP TRIGGER tr")
    _manager(database).restore(backup)
    assert _shown(database, *things) == before
    database.run("DELETE FROM u; INSERT INTO u VALUES (NULL)")
    assert database.run("SELECT HEX(x), HEX(s) FROM t, u") == "FF00\tE9\n"
    database.run("DROP VIEW v")
    manager.restore(backup)
    assert _shown(database, *things) == before


_ANY_TEXT = """
CREATE TABLE `zażółć` (`ключ` VARCHAR(20) PRIMARY KEY, v INT);
CREATE TABLE holes (k VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY, u TEXT, b BLOB);
CREATE TRIGGER tr BEFORE UPDATE ON holes FOR EACH ROW SET NEW.u = 'ł😀';
CREATE PROCEDURE p() SELECT 'ł😀';
INSERT INTO `zażółć` VALUES ('😀', 1), ('ł', 2);
INSERT INTO holes VALUES (_latin1 X'818D8F909D80E9', 'ł😀', X'818D8F909D'), ('x', '\u0081', X'FF');
"""


@pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
def test_a_url_with_another_character_set_changes_no_text(
    database: Database, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With ``charset=latin1`` all of Unicode comes back, and bytes that Windows-1252 has not."""
    database.run(_ANY_TEXT)
    leaves_out = ("--ignore-table", f"{database.name}.backups")
    before = database.dump(*leaves_out)
    url = f"{database.server.url(database.name, driver=driver)}&charset=latin1"
    engine = sa.create_engine(url, poolclass=NullPool)
    manager = BackupManager(engine, database.folder / "backups", lock_timeout=8)
    backup = manager.create("😀 ł")
    assert database.run("SELECT description FROM backups") == "😀 ł\n"
    assert manager.diff(backup).identical
    database.run("DELETE FROM holes; DELETE FROM `zażółć` WHERE v = 1")
    assert [one.removed for one in manager.diff(backup).tables] == [2, 1]
    found = manager.find_rows(backup, "zażółć", "😀")
    assert len(found.rows) == 1
    manager.restore_rows(backup, "holes", "k LIKE '%€é'")
    manager.restore_rows(backup, "holes")
    manager.restore_rows(backup, "zażółć", "`ключ` = '😀'")
    assert database.dump(*leaves_out) == before
    database.run("DELETE FROM holes; DROP TABLE `zażółć`; DROP PROCEDURE p")
    replaced = database.dump(*leaves_out)
    manager.restore(backup)
    assert database.dump(*leaves_out) == before
    manager.undo_restore()
    assert database.dump(*leaves_out) == replaced
    assert not caplog.records


_DEFAULT = """SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, SCHEMA_COMMENT
    FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{}'"""
_MADE_WITH = """SELECT ROUTINE_NAME, DATABASE_COLLATION FROM information_schema.ROUTINES
    WHERE ROUTINE_SCHEMA = '{}' ORDER BY 1"""


def test_a_load_leaves_the_default_of_a_database(server: Server, database: Database) -> None:
    """Drill, restore and undo leave its character set, and that of the one that was dumped."""
    one = database.name
    database.run(
        f"ALTER DATABASE `{one}` CHARACTER SET latin1; CREATE TABLE t (id INT PRIMARY KEY);"
        "CREATE PROCEDURE p(x VARCHAR(10)) SELECT x;"
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DISABLE DO DO 1;"
        f"ALTER DATABASE `{one}` CHARACTER SET utf8mb4; CREATE PROCEDURE q() SELECT 1;"
    )
    manager = _manager(database)
    backup = manager.create("one")
    made_with = database.run(_MADE_WITH.format(one))
    assert "latin1" in made_with
    database.run(f"ALTER DATABASE `{one}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    default = database.run(_DEFAULT.format(one))
    manager.verify(backup, level="drill")
    assert database.run(_DEFAULT.format(one)) == default
    database.run("DROP PROCEDURE p")
    manager.restore(backup)
    assert database.run(_DEFAULT.format(one)) == default
    assert database.run(_MADE_WITH.format(one)) == made_with
    with new_database(server, database.folder, f"other_{one}", "latin2") as other:
        folder = database.folder / "others"
        second = BackupManager(other.engine, folder, catalog=False, lock_timeout=8)
        there = database.run(_DEFAULT.format(other.name))
        second.restore(second.import_file(backup.path, "imported"))
        assert database.run(_DEFAULT.format(one)) == default
        assert database.run(_DEFAULT.format(other.name)) == there
        assert other.run(_MADE_WITH.format(other.name)) == made_with
    manager.undo_restore()
    assert database.run(_DEFAULT.format(one)) == default


_KILLED = """
import os, sys
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb.tools import Tools

url, directory, live, what = sys.argv[1:]
load = Tools.load

def killed(tools, login, schema, chunks, **rest):
    load(tools, login, schema, chunks, **rest)
    if schema == live:
        os._exit(9)

Tools.load = killed
manager = BackupManager(sa.create_engine(url), directory, catalog=False)
manager.undo_restore() if what == "undo" else manager.restore(what)
"""


@pytest.fixture
def changed(database: Database) -> BackupManager:
    """Return a manager of a database with other defaults: for each program a dump sets its own."""
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY);"
        f"ALTER DATABASE `{database.name}` CHARACTER SET latin1; CREATE PROCEDURE p() SELECT 1;"
        f"ALTER DATABASE `{database.name}` CHARACTER SET utf8mb4"
    )
    manager = _manager(database)
    manager.create("one")
    database.run(
        "DROP PROCEDURE p; CREATE PROCEDURE q() SELECT 1;"
        f"ALTER DATABASE `{database.name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
    return manager


def test_a_load_that_fails_leaves_the_default_of_a_database(
    database: Database, changed: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dump has set that of its time; after an error it is what it was, at once."""
    default = database.run(_DEFAULT.format(database.name))
    load = Tools.load

    def failing(tools: Tools, login: Any, schema: str, *rest: Any, **named: Any) -> None:
        load(tools, login, schema, *rest, **named)
        if schema == database.name:
            assert database.run(_DEFAULT.format(database.name)) != default
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Tools, "load", failing)
        with pytest.raises(KeyboardInterrupt):
            changed.restore("latest")
    assert database.run(_DEFAULT.format(database.name)) == default
    changed.undo_restore()
    assert database.run(_DEFAULT.format(database.name)) == default


def test_a_kill_of_a_load_leaves_the_default_of_a_database(
    database: Database, changed: BackupManager
) -> None:
    """Killed as the dump has set that of its time: whatever is done next puts it back."""
    default = database.run(_DEFAULT.format(database.name))
    url, directory = database.server.url(database.name), str(database.folder / "backups")
    later = f"ALTER DATABASE `{database.name}` COLLATE utf8mb4_swedish_ci"
    for what, number in (("latest", 1), ("undo", 2)):
        arguments = [sys.executable, "-c", _KILLED, url, directory, database.name, what]
        done = subprocess.run(arguments, check=False, capture_output=True)
        assert done.returncode == 9, done.stderr
        assert database.run(_DEFAULT.format(database.name)) != default
        changed.create(f"finishes {number}")
        assert database.run(_DEFAULT.format(database.name)) == default
        database.run(later)
        default = database.run(_DEFAULT.format(database.name))

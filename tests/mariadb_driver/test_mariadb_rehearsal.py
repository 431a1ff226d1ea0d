"""Migrations are rehearsed on a private server, and the live database is never touched."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic_project import Project
from rehearsals import kinds, one

from mariadb_driver.databases import Database, new_database
from mariadb_driver.projects import project_on
from mariadb_driver.server import Server
from mariadb_driver.test_mariadb_content import _ALL as EVERYTHING
from soulsense_db import BackupManager, fs
from soulsense_db.alembic import RehearsalReport, rehearse
from soulsense_db.drivers import Led
from soulsense_db.drivers.mariadb import archive, server_tools
from soulsense_db.drivers.mariadb.driver import MariaDBDriver
from soulsense_db.drivers.mariadb.inventory import Item
from soulsense_db.drivers.mariadb.leading import _Leading
from soulsense_db.drivers.mariadb.private import PrivateDriver, _require_here
from soulsense_db.drivers.mariadb.private_server import PrivateMariaDB
from soulsense_db.drivers.mariadb.server_tools import find_server
from soulsense_db.errors import DataLossError, ServerToolError, UnsupportedDatabaseError

TABLES = """op.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(50))")
op.execute("CREATE TABLE entry (id INT PRIMARY KEY AUTO_INCREMENT, person_id INT, text TEXT,"
    " FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE CASCADE)")
op.execute("INSERT INTO person VALUES (1, 'Ada'), (2, 'Bob')")
op.execute("INSERT INTO entry (person_id, text) VALUES (1, 'one'), (1, 'two'), (2, 'three')")"""


@pytest.fixture(autouse=True)
def folder_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give private servers a folder of the test's own, in which nothing is left."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert not list(Path(folder).iterdir())


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new database; at its end nothing of ours is left beside it."""
    with new_database(server, tmp_path) as made:
        yield made
        assert made.left() == set()


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on it, at revision ``first``."""
    made = project_on(database, tmp_path / "project")
    made.revision("first", None, TABLES, 'op.drop_table("entry"); op.drop_table("person")')
    made.upgrade("first")
    return made


def rehearsed(
    project: Project, database: Database, *arguments: Any, **options: Any
) -> RehearsalReport:
    """Rehearse; the live database is the same, and its server has no other."""
    before = database.dump(), database.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project.folder)
            options.setdefault(
                "manager", BackupManager(database.engine, project.folder.parent / "backups")
            )
            return rehearse(project.config(), *arguments, **options)
    finally:
        after = database.dump(), database.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
        assert after == before


def test_a_good_migration_gives_no_finding(project: Project, database: Database) -> None:
    """A migration that adds and changes without loss: its step, its time, and nothing else."""
    project.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("note", sa.Text))\n'
        "op.execute(\"UPDATE entry SET note = CONCAT(text, '!')\")",
    )
    report = rehearsed(project, database)
    assert (report.findings, report.error) == ((), "")
    (step,) = report.steps
    assert (step.revision, step.direction) == ("second", "upgrade")
    assert step.seconds is not None
    assert step.locked_seconds is not None
    assert 0 < step.locked_seconds <= step.seconds
    (copied,) = report.databases
    assert (copied.heads_before, copied.alembic_heads) == (("first",), ("second",))
    assert [(t.table, t.before, t.after) for t in copied.tables] == [
        ("entry", 3, 3),
        ("person", 2, 2),
    ]
    assert (report.ok, report.live_unchanged, report.space_free) == (True, True, None)


# A table for each, so that one rehearsal finds all of them.
CHANGES = {
    "t_delete": (
        'op.execute("DELETE FROM t_delete WHERE id = 1")',
        ["Table t_delete loses 1 row of 3."],
    ),
    "t_truncate": ('op.execute("TRUNCATE t_truncate")', ["Table t_truncate loses all its 3 rows."]),
    "t_drop": ('op.drop_table("t_drop")', ["Table t_drop is dropped, with its 3 rows."]),
    "t_column": (
        'op.drop_column("t_column", "n")',
        ["Column t_column.n is dropped, with its 2 values."],
    ),
    "t_null": (
        'op.execute("UPDATE t_null SET n = NULL WHERE id = 1")',
        ["Column t_null.n loses 1 value of 2: they are NULL now."],
    ),
    "t_short": (
        "op.execute(\"SET sql_mode = ''\")\n"
        'op.execute("ALTER TABLE t_short MODIFY text VARCHAR(3)")',
        ["2 values of t_short.text became shorter (where id is 2: from a length of 4 to 3)."],
    ),
    "t_rounded": (
        'op.execute("ALTER TABLE t_rounded MODIFY x INT")',
        ["3 values of t_rounded.x became less exact: numbers were rounded."],
    ),
    "t_number": (
        'op.execute("ALTER TABLE t_number MODIFY code INT")',
        [
            "2 values of t_number.code became less exact: text became a number, and had more in it,"
            " such as leading zeros or words behind the number."
        ],
    ),
    "t_date": (
        'op.execute("ALTER TABLE t_date MODIFY at DATE")',
        ["3 values of t_date.at became shorter (where id is 1: from a length of 19 to 10)."],
    ),
    "t_bytes": (
        "op.execute(\"UPDATE t_bytes SET data = x'00' WHERE id = 1\")",
        ["1 value of t_bytes.data became shorter (where id is 1: from a length of 2 to 1)."],
    ),
    "t_other": ('op.execute("UPDATE t_other SET n = 8 - n")', ["2 values of t_other.n changed."]),
    "t_renamed": (
        'op.rename_table("t_renamed", "t_new")',
        ["Table t_renamed is renamed to t_new."],
    ),
    "t_of": (
        'op.execute("ALTER TABLE t_of RENAME COLUMN n TO m")',
        ["Column t_of.n is renamed to m."],
    ),
    "t_wider": ('op.execute("ALTER TABLE t_wider MODIFY n DECIMAL(10, 2)")', []),
    "t_flag": ('op.execute("ALTER TABLE t_flag MODIFY flag TINYINT")', []),
    "t_no_key": (
        'op.execute("UPDATE t_no_key SET n = 4 WHERE n = 3")',
        [
            "In table t_no_key, 1 row of 3 are not there any more as they were. Whether they"
            " changed or are lost cannot be told: nothing matches its rows."
        ],
    ),
    "t_history": (
        'op.execute("DELETE FROM t_history WHERE id < 3")',
        [
            "In table t_history, 2 rows of 3 are not there any more as they were. Whether they"
            " changed or are lost cannot be told: nothing matches its rows."
        ],
    ),
    "person": (
        'op.execute("DELETE FROM person WHERE id = 1")',
        [
            "Table person loses 1 row of 2.",
            "Table entry loses 2 rows of 3. No statement of the migration deletes from it: its rows"
            " refer to rows of person with ON DELETE CASCADE, and went with those.",
        ],
    ),
}
COLUMNS = (
    "(id INT {key}, text TEXT, n INT, x DECIMAL(10, 3), code VARCHAR(9), at DATETIME, flag BIT(1),"
    " data VARBINARY(9))"
)
ROWS = (
    "(1, 'one', 3, 1.5, '007', '2026-01-02 03:04:05', 1, x'0001'),"
    " (2, 'a\\tb\\\\', NULL, 2.25, '08', '2026-01-02 03:04:06', 0, x''),"
    " (3, 'it''s\\nso', 5, 0.125, '1', '2026-01-02 03:04:07', NULL, NULL)"
)


def test_each_loss_is_found(project: Project, database: Database) -> None:
    """What becomes of rows and values is told as for a file; what is no loss is none."""
    for table in CHANGES.keys() - {"person"}:
        key = "" if table == "t_no_key" else "PRIMARY KEY"
        database.run(f"CREATE TABLE {table} {COLUMNS.format(key=key)};")
        database.run(f"INSERT INTO {table} VALUES {ROWS};")
    database.run("ALTER TABLE t_history ADD SYSTEM VERSIONING")
    database.run("UPDATE t_history SET n = 5 WHERE id = 2")
    project.revision("second", "first", "\n".join(step for step, _ in CHANGES.values()))
    report = rehearsed(project, database)
    assert report.error == ""
    found = sorted(finding.sentence for finding in report.findings)
    assert found == sorted(sentence for _, sentences in CHANGES.values() for sentence in sentences)
    assert report.loses_data


def test_a_half_way_state_is_told(project: Project, database: Database) -> None:
    """What a step that fails leaves is named, as its statements are committed one by one."""
    project.revision(
        "second",
        "first",
        'op.create_table("mood", sa.Column("id", sa.Integer, primary_key=True))\n'
        'op.create_index("entry_text", "entry", ["person_id", "id"])\n'
        'op.execute("SELECT no_such_thing")',
    )
    report = rehearsed(project, database)
    assert report.failure is not None
    assert (report.failure.revision, report.failure.exception) == ("second", "OperationalError")
    assert "no_such_thing" in report.error
    state = one(report, "state")
    assert state.severity == "warning"
    assert "half-way, with the database at first" in state.sentence
    assert "table mood" in state.sentence
    assert "index entry.entry_text" in state.sentence


def test_broken_references_are_an_error(project: Project, database: Database) -> None:
    """With the check of foreign keys off the server lets them in; those of before are not told."""
    database.run("SET foreign_key_checks = 0; INSERT INTO entry VALUES (7, 77, 'before')")
    database.run("CREATE TABLE up (id INT PRIMARY KEY); INSERT INTO up VALUES (1), (2)")
    database.run("CREATE TABLE down (up INT REFERENCES up (id)); INSERT INTO down VALUES (1), (2)")
    project.revision(
        "second",
        "first",
        'op.execute("SET foreign_key_checks = 0")\n'
        "op.execute(\"INSERT INTO entry VALUES (8, 88, 'a'), (9, 2, 'b'), (10, NULL, 'c')\")\n"
        'op.drop_table("up")',
    )
    report = rehearsed(project, database)
    assert [each.sentence for each in report.findings if each.severity == "error"] == [
        "After the migration, 2 row(s) of table down refer to rows of up that do not exist.",
        "After the migration, 1 row(s) of table entry refer to rows of person that do not exist.",
    ]


def by_hand(database: Database) -> str:
    """Return a migration that connects in each way there is, and writes through each."""
    return textwrap.dedent(f"""
        import asyncio, importlib.util, asyncmy, mysql.connector, mysql.connector.aio, pymysql
        from mysql.connector.connection import MySQLConnection
        from sqlalchemy.ext.asyncio import create_async_engine
        name, place = {database.name!r}, {str(database.server.socket)!r}
        write = f"UPDATE {{name}}.entry SET text = CONCAT(text, '.') WHERE id = 1"
        told = dict(user="root", unix_socket=place)
        op.get_bind().commit()
        class Own(pymysql.connections.Connection):
            pass
        for connection in (
            pymysql.connect(**told, database=name),
            pymysql.connect(host="127.0.0.1", port=3306, user="root", password="x", db=name,
                            ssl={{"check_hostname": False}}),
            Own(**told),
            mysql.connector.connect(**told, database=name),
            mysql.connector.connect(host="127.0.0.1", port=1, user="root", use_pure=True),
            MySQLConnection(**told),
        ):
            connection.cursor().execute(write)
            connection.commit()
            connection.close()
        for library in ("MySQLdb", "mariadb"):  # in C, where they are installed
            if importlib.util.find_spec(library):
                module = importlib.import_module(library)
                for more in (told, dict(host="192.0.2.1", port=1, user="x", passwd="y")):
                    connection = module.connect(**more)
                    connection.cursor().execute(write)
                    connection.commit()
                    connection.close()
        async def later():
            if importlib.util.find_spec("aiomysql"):
                import aiomysql
                connection = await aiomysql.connect(**told, db=name)
                cursor = await connection.cursor()
                await cursor.execute(write)
                await connection.commit()
                connection.close()
            connection = await asyncmy.connect(**told, database=name)
            async with connection.cursor() as cursor:
                await cursor.execute(write)
            await connection.commit()
            connection.close()
            connection = await mysql.connector.aio.connect(**told, database=name)
            cursor = await connection.cursor()
            await cursor.execute(write)
            await connection.commit()
            await connection.close()
            engine = create_async_engine(f"mysql+asyncmy://root@192.0.2.1:1/{{name}}")
            async with engine.begin() as connection:
                await connection.exec_driver_sql(write)
            await engine.dispose()
        asyncio.run(later())
        for library, module in (
            ("pymysql", "pymysql"), ("mysqlconnector", "mysql.connector"),
            ("mysqldb", "MySQLdb"), ("mariadbconnector", "mariadb"),
        ):
            if not importlib.util.find_spec(module):
                continue
            url = f"mariadb+{{library}}://root@/{{name}}?unix_socket={{place}}"
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql(write)
        made = lambda: pymysql.connect(**told)
        with sa.create_engine("mysql+pymysql://", creator=made).begin() as connection:
            connection.exec_driver_sql(write)
            connection.exec_driver_sql(f"USE {{name}}")
            connection.exec_driver_sql("CREATE DATABASE beside")
            connection.exec_driver_sql("CREATE TABLE beside.t (id INT)")
    """)


def test_each_connection_is_led_to_the_copy(project: Project, database: Database) -> None:
    """Whatever connects, by its library, by an engine, by another host: it is told, and led."""
    project.revision("second", "first", by_hand(database))
    report = rehearsed(project, database)
    assert report.failure is None, report.failure.traceback
    assert ("notice", "bypass") in kinds(report)
    assert "It was led to the copy." in one(report, "bypass").sentence
    (changed,) = [each for each in report.findings if each.kind == "values_changed"]
    assert changed.sentence == "1 value of entry.text changed."


@pytest.mark.parametrize("library", ["asyncmy", "aiomysql"])
def test_an_async_engine_is_an_engine(database: Database, tmp_path: Path, library: str) -> None:
    """Its connection is Alembic's own: no finding; and a step that fails is told by its line."""
    url = database.server.url(database.name, dialect="mysql", driver=library)
    project = project_on(database, tmp_path / "project", template="async", url=url)
    project.revision("first", None, TABLES)
    project.upgrade("first")
    project.revision("second", "first", 'op.add_column("entry", sa.Column("note", sa.Text))')
    assert rehearsed(project, database).findings == ()
    project.revision("third", "second", "\nop.execute('SELECT 1 FROM none')")
    failure = rehearsed(project, database).failure
    assert failure is not None
    script = next(project.folder.glob("mig/versions/*third*.py")).name
    assert re.search(rf"\({re.escape(script)}, line \d+\)", failure.what)


def runs(number: int) -> bool:
    """Whether there is a process of this number; what is dead has no arguments any more."""
    path = Path(f"/proc/{number}/cmdline")
    return path.exists() and bool(path.read_bytes())


REFUSED = {
    "a statement": (
        'op.execute("DELETE FROM somewhere.entry")',
        "uses a table of another database, somewhere.entry",
    ),
    "a program": ("os.system('mariadb {name} -e \"DROP TABLE entry\"')", "starts a program"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_led_is_refused(project: Project, database: Database, name: str) -> None:
    """What is of another database, or beyond the server, is not done, even if nobody minds."""
    step, said = REFUSED[name]
    indented = textwrap.indent(step.format(name=database.name), "    ")
    project.revision("second", "first", f"try:\n{indented}\nexcept Exception:\n    pass")
    with pytest.raises(UnsupportedDatabaseError, match="Step second") as caught:
        rehearsed(project, database)
    assert said in caught.value.what


def test_what_a_copy_does_not_have_is_told_from_other_errors() -> None:
    """By the errors of the server: another database, a user, a file of its machine."""
    led = Led(live="app", scratch="app", copy="copy", server={"pid_file": "/no/pid"})
    refused: list[str] = []

    def refuse(what: str) -> BaseException:
        refused.append(what)
        return PermissionError(what)

    leading = _Leading(led, passed_by=lambda: refused.append("passed by"), refuse=refuse)
    for code, message, said in (
        (1049, "Unknown database 'other'", "uses another database, other"),
        (1146, "Table 'other.t' doesn't exist", "uses a table of another database, other.t"),
        (1146, "Table 'App.t' doesn't exist", ""),
        (1133, "Can't find any matching row in the user table", "names a user"),
        (1290, "running with the --secure-file-priv option", "reads or writes a file"),
        (1064, "You have an error in your SQL syntax near 'x'", ""),
    ):
        found = leading._missing_here(code, message)
        assert found.startswith(said), message
        assert bool(found) == bool(said), message
    leading._note(b"App")
    with pytest.raises(PermissionError, match="connects to another database, mysql"):
        leading._note("mysql")
    with pytest.raises(PermissionError, match="another dialect, sqlite"):
        leading.check_arguments(sa.create_engine("sqlite://").dialect)
    assert refused[0] == "passed by"


def test_a_connection_to_the_live_server_is_closed(database: Database) -> None:
    """Whatever has made it: a pool asks where it has come to."""
    led = Led(live="app", scratch="app", copy="copy", server={"pid_file": "/no/pid"})
    leading = _Leading(led, passed_by=lambda: None, refuse=PermissionError)
    raw = database.engine.raw_connection()
    assert raw.driver_connection is not None
    with pytest.raises(PermissionError, match="in a way that cannot be led"):
        leading.check_connection(raw.driver_connection, None)
    assert not raw.driver_connection.open
    raw.invalidate()


def test_a_table_that_cannot_be_held_is_refused(project: Project, database: Database) -> None:
    """A private server has no plugins: it would give the table another engine."""
    database.run("INSTALL SONAME 'ha_archive'")
    try:
        database.run("CREATE TABLE old_ones (id INT) ENGINE=ARCHIVE")
        with pytest.raises(UnsupportedDatabaseError, match="as the live one does: table old_ones"):
            rehearsed(project, database)
        described = archive.read(database.snapshot())
        items = (
            Item(kind="BASE TABLE", name=one, statement=f"CREATE TABLE `t` () ENGINE={one} X=1")
            for one in ("InnoDB", "FEDERATED")
        )
        elsewhere = msgspec.structs.replace(described, items=tuple(items))
        with pytest.raises(UnsupportedDatabaseError, match=r"does: table FEDERATED\."):
            _require_here(elsewhere, "app")
    finally:
        database.run("DROP TABLE IF EXISTS old_ones; UNINSTALL SONAME 'ha_archive'")


def test_settings_and_programs_are_those_of_the_live_server(
    project: Project, database: Database
) -> None:
    """An event, a view of another definer, and what a session finds: as in the real run."""
    database.run("""
        CREATE USER reporter@'10.%';
        CREATE DEFINER = reporter@'10.%' VIEW names AS SELECT name FROM person;
        CREATE EVENT later ON SCHEDULE EVERY 1 SECOND DO DELETE FROM entry;
        ALTER EVENT later DISABLE;
        SET @mode = @@GLOBAL.sql_mode;
        SET GLOBAL sql_mode = 'ANSI_QUOTES', GLOBAL group_concat_max_len = 77;
        SET GLOBAL time_zone = '+05:30', GLOBAL div_precision_increment = 9;
    """)
    try:
        project.revision(
            "second",
            "first",
            "found = op.get_bind().exec_driver_sql(\"SELECT CONCAT_WS(' ', @@sql_mode,"
            " @@group_concat_max_len, @@time_zone, @@div_precision_increment, CURRENT_USER(),"
            ' @@hostname <> @@socket, (SELECT COUNT(*) FROM names), @@event_scheduler)").scalar()\n'
            "op.execute(f\"UPDATE entry SET text = '{found}' WHERE id = 1\")\n"
            "raise ValueError(found)",
        )
        report = rehearsed(project, database)
    finally:
        database.run("""
            SET GLOBAL sql_mode = DEFAULT, GLOBAL group_concat_max_len = DEFAULT;
            SET GLOBAL time_zone = DEFAULT, GLOBAL div_precision_increment = DEFAULT;
            DROP USER reporter@'10.%';
        """)
    assert "ANSI_QUOTES 77 +05:30 9 root@localhost 1 2 OFF" in report.error


def test_all_that_there_is_survives_a_private_server(
    database: Database, folder_of_servers: Path
) -> None:
    """What is restored with migrations has been there: each type, program, name and history.

    Where the copy is in a folder of root's, root runs the server.
    """
    for script in EVERYTHING.values():
        database.run(script)
    database.run("DELETE FROM versioned WHERE id = 1")
    assert isinstance(database.driver, MariaDBDriver)
    work = folder_of_servers / "w"
    work.mkdir(mode=0o700)
    before = database.snapshot().rename(work / "before.sql")
    tools = find_server(database.driver.tools(), dialect="mariadb", is_named=False)
    private = PrivateDriver(database.driver, tools, before)
    try:
        private.rebuild(before, facts={}, stamp="")
        after = database.snapshot("after")  # which is overwritten
        private.snapshot(after)
    finally:
        private.discard()
    one, other = archive.read(before), archive.read(after)
    assert (one.items, one.triggers, one.tables) == (other.items, other.triggers, other.tables)
    report = database.driver.diff(before, after)
    shutil.rmtree(work)
    assert report.schema == ()
    assert not [one for one in report.tables if one.added or one.removed or one.changed]


def test_rows_that_clash(project: Project, database: Database) -> None:
    """Of a unique index that cannot be made, the key is named, and no value is shown."""
    project.revision(
        "second",
        "first",
        "op.execute(\"INSERT INTO entry (text) VALUES ('Zq7'), ('Zq7')\")\n"
        'op.create_index("uq_text", "entry", ["text"], unique=True)',
    )
    error = rehearsed(project, database).error
    assert "Duplicate entry '…' for key 'uq_text'" in error
    assert "Zq7" not in error


def test_an_upgrade_is_rehearsed_first(
    project: Project, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """With soulsense_rehearse, an upgrade that loses data is refused, and accepted if told so."""
    project.set_option("soulsense_backup", "true")
    project.set_option("soulsense_rehearse", "true")
    project.set_option("soulsense_backup_directory", str(project.folder.parent / "backups"))
    project.revision("second", "first", 'op.execute("DELETE FROM entry WHERE id = 1")')
    with pytest.raises(DataLossError, match="Table entry loses 1 row of 3"):
        project.upgrade("second")
    name = BackupManager(database.engine, catalog=False).live.name
    assert f"Rehearsing the upgrade on a copy of {name}\n" in capfd.readouterr().err
    assert database.run("SELECT COUNT(*) FROM entry").strip() == "3"
    config = project.config()
    config.cmd_opts = Namespace(x=["soulsense_accept_loss=1"])
    project.upgrade("second", config)
    assert database.run("SELECT COUNT(*) FROM entry").strip() == "2"


def test_a_killed_rehearsal_leaves_nothing(
    project: Project, database: Database, folder_of_servers: Path
) -> None:
    """Killed in a step: its server is gone a moment later, with all its files.

    The copy that it was made of is removed by the next one that needs such a file.
    """
    began = project.folder.parent / "began"
    project.revision(
        "second", "first", f"Path({str(began)!r}).touch()\nop.execute('SELECT SLEEP(600)')"
    )
    before = database.dump()
    url = database.server.url(database.name)
    program = [sys.executable, "-m", "soulsense_db", "--url", url, "--directory", "../b"]
    process = subprocess.Popen([*program, "rehearse"], cwd=project.folder)
    while not began.exists():
        assert process.poll() is None
    (folder,) = folder_of_servers.glob("soulsense_db-mariadb-*")
    number = int((folder / "run" / "pid").read_text())
    process.kill()
    process.wait()
    while folder.exists() or runs(number):
        pass
    assert list(folder_of_servers.glob("soulsense_db-*/*/*"))  # the copy, a temporary file
    with fs.temporary_folder():
        pass
    assert not list(folder_of_servers.glob("soulsense_db-*"))
    assert database.dump() == before


def test_what_nobody_uses_is_removed_and_nothing_else(folder_of_servers: Path) -> None:
    """A server that still runs is ended; what is being made, or is no folder of ours, stays."""
    new, old, link, left = (folder_of_servers / f"soulsense_db-mariadb-{one}" for one in "abcd")
    for folder in (new, old, left / "run"):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    link.symlink_to(new)
    (left / "in-use").touch()
    runner = "import sys, time; print(flush=True); time.sleep(600)"
    program = [sys.executable, "-c", runner, f"--defaults-file={left}/server.cnf"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (left / "run" / "pid").write_text(str(process.pid))
        PrivateMariaDB.tidy_up(folder_of_servers)
        assert process.wait() == -signal.SIGKILL
    assert sorted(folder_of_servers.iterdir()) == [new, link]
    link.unlink()
    new.rmdir()


def test_what_a_killed_watcher_leaves_is_tidied_up(
    database: Database, folder_of_servers: Path
) -> None:
    """Where all is killed but the server, it is ended by the system, or by the next one."""
    assert isinstance(database.driver, MariaDBDriver)
    tools = find_server(database.driver.tools(), dialect="mariadb", is_named=False)
    left = PrivateMariaDB(tools, place=Path(tempfile.gettempdir()), size_bytes=0)
    left.start({}, {})
    (folder,) = folder_of_servers.iterdir()
    PrivateMariaDB.tidy_up(folder_of_servers)
    assert folder.exists()  # it is in use
    number = int(left.pid_file.read_text())
    watcher = left._watcher
    assert watcher is not None
    watcher.kill()
    watcher.communicate()
    os.close(left._lock)
    PrivateMariaDB.tidy_up(folder_of_servers)
    assert not folder.exists()
    assert not runs(number)


def test_without_the_server_program_it_is_refused(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install; a program of another version is none."""
    monkeypatch.setattr(server_tools, "_SERVERS", ("no-such-program",))
    with pytest.raises(UnsupportedDatabaseError, match="'mariadb' cannot run on a copy") as caught:
        rehearsed(project, database)
    assert "mariadb-server-core" in caught.value.hint


def test_a_server_of_another_version_is_none(database: Database, tmp_path: Path) -> None:
    """It is told which there is; where an option names a directory, no other is looked at."""
    assert isinstance(database.driver, MariaDBDriver)
    tools = replace(database.driver.tools(), version="10.6.1")
    with pytest.raises(UnsupportedDatabaseError, match=r"mariadbd is of version 10\.11"):
        find_server(tools, dialect="mariadb", is_named=False)
    with pytest.raises(UnsupportedDatabaseError) as caught:
        find_server(replace(tools, folder=tmp_path), dialect="mariadb", is_named=True)
    assert "Found" not in caught.value.what


def test_a_server_that_does_not_start_says_why(database: Database) -> None:
    """The reason is in its log; nothing is left."""
    assert isinstance(database.driver, MariaDBDriver)
    tools = find_server(database.driver.tools(), dialect="mariadb", is_named=False)
    made = PrivateMariaDB(tools, place=Path(tempfile.gettempdir()), size_bytes=0)
    try:
        with pytest.raises(ServerToolError, match="unknown variable 'no-such-option"):
            made.start({"no-such-option": "1"}, {})
    finally:
        made.stop()

"""Migrations are rehearsed on a private server, and the live database is never touched."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project
from rehearsals import kinds, one

from mariadb_driver.databases import Database, new_database
from mariadb_driver.projects import project_on
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic import RehearsalReport, rehearse

TABLES = """op.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(50))")
op.execute("CREATE TABLE entry (id INT PRIMARY KEY AUTO_INCREMENT, person_id INT, text TEXT,"
    " FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE CASCADE)")
op.execute("INSERT INTO person VALUES (1, 'Ada'), (2, 'Bob')")
op.execute("INSERT INTO entry (person_id, text) VALUES (1, 'one'), (1, 'two'), (2, 'three')")"""


@pytest.fixture(autouse=True)
def folder_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give private servers a folder of the test's own, in which nothing is left."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        os.chmod(folder, 0o755)
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
    "t_child": ("pass", []),
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


def by_hand(database: Database) -> str:
    """Return a migration that connects in each way there is, and writes through each."""
    return textwrap.dedent(f"""
        import asyncio, asyncmy, mysql.connector, mysql.connector.aio, pymysql
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
        async def later():
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
        for library in ("pymysql", "mysqlconnector"):
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
    assert database.left() == set()

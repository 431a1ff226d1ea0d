"""Migrations are rehearsed on a scratch database, and the live one is never touched."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic_project import Project
from rehearsals import TABLES, kinds, one

from postgresql.conftest import VERSIONS, Servers
from postgresql.database import Database
from postgresql.projects import project_on
from soulsense_db import BackupManager
from soulsense_db.alembic import RehearsalReport, rehearse
from soulsense_db.errors import UnsupportedDatabaseError


@pytest.fixture
def database(servers: Servers) -> Iterator[Database]:
    """Return a new database on the newest server; at its end nothing of ours is left there."""
    with Database(servers.of(VERSIONS[-1])) as made:
        yield made


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on it, at revision ``first``."""
    made = project_on(database, tmp_path / "project")
    made.revision("first", None, TABLES, 'op.drop_table("entry"); op.drop_table("person")')
    made.upgrade("first")
    return made


def contents(database: Database) -> list[Any]:
    """Return all that is in the live database, with what wrote each row and when."""
    engine = sa.create_engine(database.url, poolclass=sa.pool.NullPool)
    found: list[Any] = []
    with engine.connect() as connection:
        tables = connection.exec_driver_sql(
            "SELECT c.oid, c.relname, c.relfilenode, c.xmin::text FROM pg_class c WHERE"
            " relnamespace = 'public'::regnamespace ORDER BY 1"
        ).all()
        for _, name, *_ in tables:
            kind = connection.exec_driver_sql(
                f"SELECT relkind FROM pg_class WHERE oid = 'public.{name}'::regclass"
            ).scalar()
            if kind in ("r", b"r"):
                rows = connection.exec_driver_sql(
                    f"SELECT xmin::text, xmax::text, ctid::text, * FROM {name} ORDER BY ctid"
                ).all()
                found.append((name, rows))
        shared = connection.exec_driver_sql(
            "SELECT datname::text, xmin::text, datacl::text FROM pg_database WHERE datname"
            " = current_database() UNION ALL SELECT rolname::text, oid::text, '' FROM pg_roles"
            " ORDER BY 1"
        ).all()
    return [tables, found, shared]


def rehearsed(
    project: Project, database: Database, *arguments: Any, **options: Any
) -> RehearsalReport:
    """Rehearse; the live database is the same to the transaction of each row."""
    before = contents(database)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project.folder)
            options.setdefault("manager", manager_of(project, database))
            return rehearse(project.config(), *arguments, **options)
    finally:
        assert contents(database) == before
        assert not [name for name in database.names() if name.startswith("soulsense_")]


def manager_of(project: Project, database: Database) -> BackupManager:
    """Return a manager of the project's database."""
    return BackupManager(database.engine, project.folder.parent / "backups")


def test_a_good_migration_gives_no_finding(project: Project, database: Database) -> None:
    """A migration that adds and changes without loss: its step, its time, and nothing else."""
    project.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("note", sa.Text))\n'
        "op.execute(\"UPDATE entry SET note = text || '!'\")",
    )
    report = rehearsed(project, database)
    assert report.findings == ()
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
    "t_again": (
        'op.execute("DELETE FROM public.t_again WHERE id = 1")\n'
        "op.execute(\"INSERT INTO t_again (id, text, n) VALUES (9, 'one', 3)\")",
        ["Table t_again loses 1 row of 3, and gets 1 that it did not have."],
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
        'op.alter_column("t_short", "text", type_=sa.String(3), postgresql_using="left(text, 3)")',
        ["2 values of t_short.text became shorter (where id is 2: from a length of 4 to 3)."],
    ),
    "t_rounded": (
        'op.alter_column("t_rounded", "x", type_=sa.Integer)',
        ["3 values of t_rounded.x became less exact: numbers were rounded."],
    ),
    "t_number": (
        'op.execute("ALTER TABLE t_number ALTER code TYPE int USING code::int")',
        [
            "2 values of t_number.code became less exact: text became a number, and had more in it,"
            " such as leading zeros or words behind the number."
        ],
    ),
    "t_date": (
        'op.execute("ALTER TABLE t_date ALTER at TYPE date")',
        ["3 values of t_date.at became shorter (where id is 1: from a length of 19 to 10)."],
    ),
    "t_other": (
        'op.execute("UPDATE t_other SET n = 8 - n")',
        ["2 values of t_other.n changed."],
    ),
    "t_renamed": (
        'op.rename_table("t_renamed", "t_new")',
        ["Table t_renamed is renamed to t_new."],
    ),
    "t_of": (
        'op.alter_column("t_of", "n", new_column_name="m")',
        ["Column t_of.n is renamed to m."],
    ),
    "t_both": (
        'op.alter_column("t_both", "n", new_column_name="m")\n'
        'op.rename_table("t_both", "t_both_new")\n'
        'op.execute("UPDATE t_both_new SET m = NULL WHERE id = 1")',
        [
            "Column t_both.n loses 1 value of 2: they are NULL now.",
            "Table t_both is renamed to t_both_new.",
            "Column t_both.n is renamed to m.",
        ],
    ),
    "t_wider": ('op.alter_column("t_wider", "n", type_=sa.Numeric(10, 2))', []),
    "t_wider_key": ('op.alter_column("t_wider_key", "id", type_=sa.Numeric(10, 2))', []),
    "t_padded": ('op.alter_column("t_padded", "fixed", type_=sa.Text)', []),
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
    "(id int {key}, text text, n int, x numeric, code varchar(9), at timestamp, fixed char(9))"
)
ROWS = (
    "(1, 'one', 3, 1.5, '007', '2026-01-02 03:04:05', 'a'),"
    " (2, E'a\\tb\\\\', NULL, 2.25, '08', '2026-01-02 03:04:06', 'b'),"
    " (3, 'a longer', 5, 0.125, '1', '2026-01-02 03:04:07', '')"
)


def test_each_loss_is_found(project: Project, database: Database) -> None:
    """What becomes of rows and values is told as for a file; what is no loss is none."""
    for table in CHANGES.keys() - {"person"}:
        key = "" if table == "t_no_key" else "PRIMARY KEY"
        database.execute(
            f"CREATE TABLE {table} {COLUMNS.format(key=key)}", f"INSERT INTO {table} VALUES {ROWS}"
        )
    project.revision("second", "first", "\n".join(step for step, _ in CHANGES.values()))
    report = rehearsed(project, database)
    assert report.failure is None
    found = sorted(finding.sentence for finding in report.findings)
    assert found == sorted(sentence for _, sentences in CHANGES.values() for sentence in sentences)
    assert report.loses_data
    harmless = ("changed", "renamed")
    assert all(
        finding.severity == ("notice" if any(word in finding.kind for word in harmless) else "loss")
        for finding in report.findings
    )


def test_a_failing_step_is_named_and_leaves_nothing(project: Project, database: Database) -> None:
    """A step that fails in the one transaction: its error, and that nothing would be left."""
    project.revision(
        "second", "first", 'op.drop_table("entry")\nop.execute("SELECT no_such_thing")'
    )
    report = rehearsed(project, database)
    assert report.failure is not None
    assert report.failure.revision == "second"
    assert report.failure.exception == "ProgrammingError"
    assert 'column "no_such_thing" does not exist' in report.error
    assert "second.py, line " in report.error
    assert kinds(report) == [("error", "failed"), ("notice", "state")]
    assert "changed nothing" in one(report, "state").sentence


def test_a_half_way_state_is_told(project: Project, database: Database) -> None:
    """What an autocommit block leaves is named, also an invalid index, and met by a second try."""
    project.revision(
        "second",
        "first",
        'op.create_table("mood", sa.Column("id", sa.Integer, primary_key=True))\n'
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"INSERT INTO entry (person_id, text) VALUES (1, 'one')\")\n"
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY entry_text ON entry (text)")',
    )
    report = rehearsed(project, database)
    state = one(report, "state")
    assert state.severity == "warning"
    assert "half-way, with the database at first" in state.sentence
    assert "index entry_text" in state.sentence
    assert "may fail because of what it made before: index entry_text" in state.sentence
    assert "Key (text)" not in report.error  # no values of rows


def by_hand(database: Database) -> str:
    """Return a migration that connects in each way there is, and writes through each."""
    socket = database.server.socket
    return textwrap.dedent(f"""
        import asyncio, asyncpg, psycopg, psycopg2, psycopg2.extensions
        from sqlalchemy.ext.asyncio import create_async_engine
        name, host = {database.name!r}, {str(socket)!r}
        write = "UPDATE entry SET text = text || '.' WHERE id = 1"
        dsn = f"dbname={{name}} host={{host}} user=postgres"
        op.get_bind().commit()
        with psycopg.connect(dsn) as connection:
            connection.execute(write)
        with psycopg.Connection.connect(dbname=name, host=host, user="postgres") as connection:
            connection.execute(write)
        async def later():
            async with await psycopg.AsyncConnection.connect(dsn) as connection:
                await connection.execute(write)
            connection = await asyncpg.connect(database=name, host=host, user="postgres")
            await connection.execute(write)
            await connection.close()
            url = f"postgresql+asyncpg://postgres@/{{name}}?host={{host}}"
            engine = create_async_engine(url)
            async with engine.begin() as connection:
                await connection.exec_driver_sql(write)
            await engine.dispose()
        asyncio.run(later())
        for connect in (psycopg2.connect, psycopg2.extensions.connection):
            connection = connect(dsn)
            connection.cursor().execute(write)
            connection.commit()
            assert isinstance(connection, psycopg2.extensions.connection)
            connection.close()
        for driver in ("psycopg", "psycopg2"):
            url = f"postgresql+{{driver}}://postgres@/{{name}}?host={{host}}"
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql(write)
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
        with engine.begin() as connection:
            connection.exec_driver_sql(write)
        os.environ.update(PGHOST=host, PGUSER="postgres", PGDATABASE=name)
        for connect in (psycopg.connect, lambda: psycopg2.connect("")):
            with connect() as connection:
                connection.cursor().execute(write)
    """)


def test_each_connection_is_led_to_the_copy(project: Project, database: Database) -> None:
    """Whatever connects to the live database comes to the scratch database, and is told."""
    project.revision("second", "first", by_hand(database))
    report = rehearsed(project, database)
    assert report.failure is None, report.failure.traceback
    assert ("notice", "bypass") in kinds(report)
    assert "It was led to the copy." in one(report, "bypass").sentence
    (changed,) = [each for each in report.findings if each.kind == "values_changed"]
    assert changed.sentence == "1 value of entry.text changed."


REFUSED = {
    "another database": (
        "import psycopg\npsycopg.connect(dbname='postgres', host={host!r}, user='postgres')",
        "connects to another database, postgres",
    ),
    "another dialect": (
        "sa.create_engine('sqlite://').connect()",
        "opens a database of another dialect, sqlite",
    ),
    "a role": ('op.execute("CREATE ROLE somebody")', "'CREATE ROLE ...'"),
    "a role, in a block": (
        'op.execute("DO $$ BEGIN IF true THEN CREATE USER somebody; END IF; END $$")',
        "'CREATE USER ...'",
    ),
    "a right on the database": (
        'op.execute("GRANT CONNECT ON DATABASE {name} TO PUBLIC")',
        "'GRANT CONNECT ON DATABASE ...'",
    ),
    "a setting of the database": (
        "op.execute(\"SELECT 1; ALTER DATABASE {name} SET work_mem = '8MB'\")",
        "'ALTER DATABASE ...'",
    ),
    "a program": (
        "import subprocess\nsubprocess.run(['psql', '-c', 'DROP TABLE entry'])",
        "starts psql",
    ),
    "a program in a shell": (
        "os.system('cd / && psql {name} -c \"DROP TABLE entry\"')",
        "starts psql",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_led_is_refused(project: Project, database: Database, name: str) -> None:
    """What is of another database, or of the whole server, is not done, even if nobody minds."""
    step, said = REFUSED[name]
    step = step.format(host=str(database.server.socket), name=database.name)
    indented = textwrap.indent(step, "    ")
    project.revision("second", "first", f"try:\n{indented}\nexcept Exception:\n    pass")
    with pytest.raises(UnsupportedDatabaseError, match="Step second") as caught:
        rehearsed(project, database)
    assert said in caught.value.what

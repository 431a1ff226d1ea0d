"""Migrations are rehearsed on a scratch database, and the live one is never touched."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from argparse import Namespace
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
from soulsense_db.drivers.postgresql.leading import shared_by
from soulsense_db.errors import DataLossError, RehearsalFailedError, UnsupportedDatabaseError


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


def test_rows_that_a_half_way_state_lacks_are_told(project: Project, database: Database) -> None:
    """Who runs without a backup reads how many rows the real run would cost."""
    project.revision(
        "second",
        "first",
        'op.execute("DELETE FROM entry")\n'
        "with op.get_context().autocommit_block():\n"
        '    op.execute("SELECT 1")\n'
        'op.execute("SELECT no_such_thing")',
    )
    rows = database.scalar("SELECT count(*) FROM entry")
    state = one(rehearsed(project, database), "state")
    assert f"{rows} row(s) of entry would be gone." in state.sentence


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
    "a role": ('op.execute("CREATE ROLE somebody")', "'CREATE ROLE ...'"),
    "a program": ("os.system('psql {name} -c \"DROP TABLE entry\"')", "starts a program, psql"),
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


def test_what_is_done_to_the_server_by_hand_is_told(project: Project, database: Database) -> None:
    """A role that a connection past Alembic makes cannot be stopped; it is told."""
    dsn = f"dbname={database.name} host={database.server.socket} user=postgres"
    project.revision(
        "second",
        "first",
        f"import psycopg\nwith psycopg.connect({dsn!r}) as own:\n"
        "    own.execute('CREATE ROLE byhand')",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        report = rehearse(project.config(), manager=manager_of(project, database))
    database.execute("DROP ROLE byhand")
    assert not report.live_unchanged
    assert ("warning", "live_changed") in kinds(report)


@pytest.mark.slow
def test_another_server_is_not_reached(
    project: Project, database: Database, servers: Servers
) -> None:
    """An env.py that leads to a database of the same name elsewhere makes no connection there."""
    if len(VERSIONS) == 1:
        pytest.skip("there is one server")
    with Database(servers.of(VERSIONS[0]), database.name) as other:
        other.execute("CREATE TABLE entry (id int)")
        project.revision("second", "first", 'op.execute("DROP TABLE entry")')
        ini = project.ini.read_text()
        project.ini.write_text(ini.replace(str(database.server.socket), str(other.server.socket)))
        before = contents(other)
        report = rehearsed(project, database)
        assert re.search(r'database "soulsense_\w+" does not exist', report.error)
        assert contents(other) == before


def test_a_backup_and_the_way_back(project: Project, database: Database) -> None:
    """With a backup, its data is used; the way back is tried, and what it loses is told."""
    project.revision(
        "second",
        "first",
        'op.drop_column("entry", "mood")',
        'op.add_column("entry", sa.Column("mood", sa.Integer))',
    )
    manager = manager_of(project, database)
    backup = manager.create("before")
    database.execute("DELETE FROM entry")
    report = rehearsed(project, database, manager=manager, on="latest", round_trip=True)
    assert report.backup == backup.filename
    assert [(step.revision, step.direction) for step in report.steps] == [
        ("second", "upgrade"),
        ("second", "downgrade"),
    ]
    assert one(report, "round_trip").sentence == (
        "The data does not survive the way back: in entry, 2 rows changed."
    )


def test_an_async_environment(database: Database, tmp_path: Path) -> None:
    """An env.py with an async engine is led to the copy, and found without a manager."""
    made = project_on(database, tmp_path / "project", template="async", driver="asyncpg")
    made.revision("first", None, TABLES)
    made.upgrade("first")
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("second", "first", 'op.execute("DELETE FROM entry WHERE id = 1")')
    report = rehearsed(made, database, manager=None)
    assert kinds(report) == [("loss", "rows_lost")]


def test_to_find_the_database_nothing_is_written(project: Project, database: Database) -> None:
    """An env.py that writes as soon as it connects is stopped by the server."""
    project.edit_env(
        "    with connectable.connect() as connection:\n",
        "    with connectable.connect() as connection:\n"
        '        connection.exec_driver_sql("CREATE TABLE made_by_env ()")\n'
        "        connection.commit()\n",
    )
    with pytest.raises(RehearsalFailedError, match="read-only transaction"):
        rehearsed(project, database, manager=None)


def test_settings_of_the_database_are_those_of_the_copy(
    project: Project, database: Database
) -> None:
    """A search path of the live database, and a table in another schema, as in the real run."""
    database.execute(
        "CREATE SCHEMA app",
        "CREATE TABLE app.note (id int PRIMARY KEY, text text)",
        "INSERT INTO app.note VALUES (1, 'a'), (2, 'b')",
        f"ALTER DATABASE {database.name} SET search_path = app, public",
    )
    project.revision("second", "first", 'op.execute("DELETE FROM note WHERE id = 1")')
    report = rehearsed(project, database)
    assert (kinds(report), report.error) == ([("loss", "rows_lost")], "")
    assert report.findings[0].table == "app.note"


def test_a_database_that_reaches_others_is_refused(project: Project, database: Database) -> None:
    """Foreign servers lead out of a copy: nothing is run."""
    try:
        database.execute("CREATE EXTENSION postgres_fdw")
    except sa.exc.DBAPIError:
        database.execute("CREATE FOREIGN DATA WRAPPER any_fdw")
        wrapper = "any_fdw"
    else:
        wrapper = "postgres_fdw"
    database.execute(f"CREATE SERVER elsewhere FOREIGN DATA WRAPPER {wrapper}")
    with pytest.raises(UnsupportedDatabaseError, match="a foreign server, elsewhere"):
        rehearsed(project, database)


def test_rows_that_clash(project: Project, database: Database) -> None:
    """Of a unique index that cannot be made, the columns are named, and no value is shown."""
    project.revision(
        "second",
        "first",
        "op.execute(\"INSERT INTO entry (text) VALUES ('Zq7'), ('Zq7')\")\n"
        'op.create_index("uq_text", "entry", ["text"], unique=True)',
    )
    error = rehearsed(project, database).error
    assert '"uq_text" (key: text)' in error
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
    assert database.scalar("SELECT count(*) FROM entry") == 3
    config = project.config()
    config.cmd_opts = Namespace(x=["soulsense_accept_loss=1"])
    project.upgrade("second", config)
    assert database.scalar("SELECT count(*) FROM entry") == 2


@pytest.mark.slow
def test_the_time_limit_ends_it(project: Project, database: Database) -> None:
    """What runs for too long is ended, on the server as well, and named."""
    project.revision("second", "first", 'op.execute("SELECT pg_sleep(600)")')
    report = rehearsed(project, database, timeout=5.0)
    assert "The time limit of 5 s was reached" in report.error


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_killed_rehearsal_leaves_nothing(
    project: Project, database: Database, tmp_path: Path, how: signal.Signals
) -> None:
    """Killed in a step: the next rehearsal drops the scratch database; Ctrl-C drops it itself."""
    began = tmp_path / "began"
    project.revision(
        "second", "first", f"Path({str(began)!r}).touch()\nop.execute('SELECT pg_sleep(600)')"
    )
    before = contents(database)
    program = [sys.executable, "-m", "soulsense_db", "--url", database.url, "--directory", "../b"]
    process = subprocess.Popen([*program, "rehearse"], cwd=project.folder)
    while not began.exists():
        assert process.poll() is None
    scratch = [name for name in database.names() if name.startswith("soulsense_")]
    assert len(scratch) == 1
    process.send_signal(how)
    process.wait()
    assert contents(database) == before
    left = [name for name in database.names() if name.startswith("soulsense_")]
    assert left == (scratch if how == signal.SIGKILL else [])
    project.revision("second", "first", "pass")
    assert rehearsed(project, database).ok


def test_what_is_of_the_whole_server_is_known() -> None:
    """Statements that would change more than the copy are told from those that only look so."""
    for statement in (
        "create role x",
        "SELECT 1; ALTER  DATABASE app SET work_mem = '8MB'",
        "/* so */ GRANT admin TO bob",
        "GRANT CONNECT ON DATABASE app TO bob",
        "DO $$ BEGIN EXECUTE 'CREATE USER ' || 'x'; END $$",
        "COMMENT ON DATABASE app IS 'x'",
        "DROP OWNED BY x",
        "COPY t TO PROGRAM 'mail'",
        "SELECT * FROM dblink('dbname=app', 'DELETE FROM t') AS t(a int)",
        "CREATE EXTENSION IF NOT EXISTS dblink",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
        "ALTER SYSTEM SET work_mem = '8MB'",
    ):
        assert shared_by(statement), statement
    for statement in (
        "GRANT SELECT ON entry TO bob",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM bob",
        "INSERT INTO t VALUES ('CREATE ROLE x; DROP DATABASE y', 'GRANT admin TO bob')",
        "CREATE FUNCTION f() RETURNS void AS $$ BEGIN CREATE ROLE x; END $$ LANGUAGE plpgsql",
        "-- CREATE ROLE x\nSELECT 1",
        "CREATE TABLE role (id int)",
        "CREATE EXTENSION citext",
        "COMMENT ON TABLE entry IS 'of a database'",
        "ALTER TABLE entry OWNER TO bob",
    ):
        assert not shared_by(statement), statement

"""Triggers of a database that act on who connects to it, or on statements, whoever gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import DatabaseUnreachableError

# As PostgreSQL's documentation has it: a row for each login.
LOGINS = (
    "CREATE TABLE login (who text, at timestamptz DEFAULT now())",
    "CREATE FUNCTION logs() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS"
    " $$ BEGIN INSERT INTO public.login (who) VALUES (session_user); END $$",
    "CREATE EVENT TRIGGER logs ON login EXECUTE FUNCTION logs()",
    "ALTER EVENT TRIGGER logs ENABLE ALWAYS",
)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """Make a database that writes a row whenever somebody connects."""
    with Database(server) as made:
        made.execute("CREATE TABLE note (id int PRIMARY KEY)", "INSERT INTO note VALUES (1)")
        made.execute(*LOGINS)
        yield made


@on_newest
def test_a_trigger_on_login_does_not_change_what_is_restored(
    database: Database, tmp_path: Path
) -> None:
    """Our own logins write no rows to the new database, in which they would be too many."""
    manager = BackupManager(database.engine, tmp_path)
    backup = manager.create()
    manager.verify(backup, level="drill")
    database.execute("INSERT INTO note VALUES (2)")
    manager.restore(backup)
    assert database.scalar("SELECT count(*) FROM note") == 1
    assert database.scalar("SHOW event_triggers") == "on"
    manager.undo_restore()
    assert database.scalar("SELECT count(*) FROM note") == 2
    before = database.scalar("SELECT count(*) FROM login")
    database.engine.dispose()
    assert database.scalar("SELECT count(*) FROM login") > before


@on_newest
def test_a_trigger_that_refuses_a_login(server: Server, tmp_path: Path) -> None:
    """What it says is shown: the server does answer."""
    with Owned(server) as shop:
        shop.administer(
            "CREATE FUNCTION refuses() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF session_user = '{shop.user}' THEN RAISE 'not today'; END IF; END $$",
            "CREATE EVENT TRIGGER refuses ON login EXECUTE FUNCTION refuses()",
        )
        manager = BackupManager(shop.engine, tmp_path)
        with pytest.raises(DatabaseUnreachableError, match=r"refused the login .*\(not today\)"):
            manager.create()
        assert manager.list() == []


WRITES = (
    "CREATE FUNCTION writes() RETURNS event_trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO public.ddl VALUES (tg_tag); END $$",
    "CREATE EVENT TRIGGER writes ON ddl_command_end EXECUTE FUNCTION writes()",
    "ALTER EVENT TRIGGER writes ENABLE ALWAYS",
    "COMMENT ON EVENT TRIGGER writes IS 'EVENT TRIGGER'",
)
REFUSES = (
    "CREATE FUNCTION refuses() RETURNS event_trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'no %%', tg_tag; END $$",
    "CREATE EVENT TRIGGER refuses ON ddl_command_start EXECUTE FUNCTION refuses()",
)


TABLES = (
    "CREATE TABLE note (id int PRIMARY KEY)",
    "INSERT INTO note VALUES (1)",
    "CREATE TABLE ddl (tag text)",
    "CREATE MATERIALIZED VIEW notes AS SELECT count(*) FROM note",
)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("made", [WRITES, REFUSES], ids=["writes", "refuses"])
def test_a_trigger_on_statements_does_not_change_what_is_restored(
    server: Server, made: tuple[str, ...], jobs: int, tmp_path: Path
) -> None:
    """Not by that which fills a materialised view, as one of the last in the archive."""
    with Database(server) as database:
        database.execute(*TABLES, *made)
        manager = BackupManager(
            database.engine, tmp_path / "backups", tools=server.bin, jobs=jobs, catalog=False
        )
        backup = manager.create()
        manager.verify(backup, level="drill")
        database.execute("UPDATE note SET id = 2")
        assert manager.restore(backup).verified
        assert database.scalar("SELECT id FROM note") == 1
        assert manager.compare(backup).identical


@on_newest
def test_a_missing_database_is_made_with_its_trigger_on_login(
    database: Database, tmp_path: Path
) -> None:
    """It is off only while the database is filled."""
    manager = BackupManager(database.engine, tmp_path)
    manager.create()
    database.engine.dispose()
    database.maintain("DROP DATABASE {} WITH (FORCE)")
    manager.restore("latest")
    assert database.scalar("SHOW event_triggers") == "on"
    assert database.scalar("SELECT count(*) FROM note") == 1

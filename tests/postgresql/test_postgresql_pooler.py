"""pgbouncer between the application and its server: what works, and what is refused in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.conftest import VERSIONS, Servers
from postgresql.pooler import Pooler
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse
from soulsense_db.errors import DatabaseLockedError, DatabaseUnreachableError

LIBRARIES = ("psycopg", "psycopg2")
TABLE = "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')"


@pytest.fixture
def server(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the newest server: what a pooler does is not a matter of its version."""
    newest = servers.of(VERSIONS[-1])
    monkeypatch.setenv("PATH", str(newest.bin), prepend=":")
    return newest


@pytest.fixture
def app(server: Server) -> Iterator[str]:
    """Make a database."""
    with content.database(server, "app", content=TABLE) as name:
        yield name


def value(server: Server) -> str:
    """Return what is in the table."""
    return content.psql(server, "app", "SELECT v FROM t").strip()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pool_of_sessions(server: Server, app: str, library: str, tmp_path: Path) -> None:
    """All works through it: sessions that it keeps are in nobody's way."""
    with Pooler(server, "session") as pooler:
        engine = sa.create_engine(pooler.url(app, driver=library), poolclass=NullPool)
        manager = BackupManager(engine, tmp_path)
        made = manager.create("through a pool")
        manager.verify(made, level="full")
        manager.verify(made, level="drill")
        content.psql(server, app, "UPDATE t SET v = 'new'")
        assert manager.can_restore(made).ok
        assert manager.restore(made).verified
        assert value(server) == "old"
        manager.undo_restore()
        assert value(server) == "new"
        manager.restore_rows(made, "t", replace=True)
        assert value(server) == "old"
        # After a login that failed, pgbouncer lets the next one wait for 15 seconds.
        assert "login failed" not in pooler.log()


def test_amounts_of_money_need_the_servers_own_address(
    server: Server, app: str, tmp_path: Path
) -> None:
    """They are written with a setting of the session, which pgbouncer does not pass on."""
    content.psql(server, app, "CREATE TABLE m AS SELECT 1::money AS amount")
    with Pooler(server, "session") as pooler:
        manager = BackupManager(
            sa.create_engine(pooler.url(app), poolclass=NullPool), tmp_path / "backups"
        )
        with pytest.raises(DatabaseUnreachableError, match="own host and port"):
            manager.create("with money")
        assert manager.list() == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pool_of_transactions_is_refused(
    server: Server, app: str, library: str, tmp_path: Path
) -> None:
    """Before anything is set that the application would find in its own sessions; lists work."""
    direct = BackupManager(content.engine_on(server, app), tmp_path)
    direct.create("by the server's own address")
    with Pooler(server, "transaction") as pooler:
        engine = sa.create_engine(pooler.url(app, driver=library), poolclass=NullPool)
        of_application = sa.create_engine(pooler.url(app, driver=library), poolclass=NullPool)
        with of_application.connect() as connection:  # a session that the pool lends next
            connection.scalar(sa.text("SELECT 1"))
        manager = BackupManager(engine, tmp_path / "pooled")
        manager.import_file(Path(direct.list()[0].path))
        assert len(manager.list()) == 1
        manager.verify("latest", level="full")
        assert not manager.can_restore("latest").ok
        for call in (
            lambda: manager.create("x"),
            lambda: manager.restore("latest"),
            lambda: manager.compare("latest"),
            lambda: manager.verify("latest", level="drill"),
        ):
            with pytest.raises(DatabaseUnreachableError, match="pool_mode = transaction"):
                call()
        assert value(server) == "old"
        for _ in range(4):
            with of_application.connect() as connection:
                assert connection.scalar(sa.text("SELECT v FROM t")) == "old"
                assert connection.scalar(sa.text("SHOW search_path")) == '"$user", public'
                assert connection.scalar(sa.text("SHOW row_security")) == "on"


def test_the_lock_holds_through_a_pool_of_transactions(
    server: Server, app: str, tmp_path: Path
) -> None:
    """Who comes through the pool, and who does not, are kept apart, however long both wait."""
    with Pooler(server, "transaction", size=3) as pooler:
        pooled = BackupManager(
            sa.create_engine(pooler.url(app), poolclass=NullPool), tmp_path / "a"
        )
        direct = BackupManager(content.engine_on(server, app), tmp_path / "b")
        for one, other in ((pooled, direct), (direct, pooled), (pooled, pooled)):
            with one.exclusive(), pytest.raises(DatabaseLockedError):
                other.exclusive(timeout=1).release()  # it asks again and again
            with other.exclusive(timeout=1):
                pass
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert content.psql(server, "postgres", locks) == "0\n"
        left = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        assert content.psql(server, "postgres", left) == "0\n"


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_hook_of_alembic(server: Server, app: str, mode: str, tmp_path: Path) -> None:
    """It protects a migration through a pool of sessions, and refuses one of transactions."""
    project = Project(tmp_path / "project", DOORS[-1])
    with Pooler(server, mode) as pooler:
        lines = project.ini.read_text().splitlines()
        url = pooler.url(app).replace("%", "%%")
        lines = [
            f"sqlalchemy.url = {url}" if one.startswith("sqlalchemy.url") else one for one in lines
        ]
        project.ini.write_text("\n".join(lines) + "\n")
        project.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
        project.revision("first", None, FIRST)
        project.revision("second", "first", 'op.execute("UPDATE entry SET text = upper(text)")')
        project.revision(
            "broken",
            "second",
            "with op.get_context().autocommit_block():\n"
            "    op.execute(\"UPDATE entry SET text = 'gone'\")\n"
            'op.execute("SELECT no_such_thing")',
        )
        if mode == "transaction":
            with pytest.raises(Exception, match="pool_mode = transaction"):
                project.upgrade("first")
            assert content.psql(server, app, "SELECT to_regclass('entry')") == "\n"
            return
        project.upgrade("first")
        manager = BackupManager.from_url(pooler.url(app), directory=tmp_path / "backups")
        assert rehearse(project.config(), "second", manager=manager).ok
        assert "login failed" not in pooler.log()
        project.upgrade("second")
        with pytest.raises(sa.exc.DBAPIError):
            project.upgrade("broken")
        text = "SELECT text FROM entry WHERE id = 1"
        assert content.psql(server, app, text) == "ONE\n"


def test_a_restore_beside_a_paused_pool(server: Server, app: str, tmp_path: Path) -> None:
    """As the guide says: the application's statements wait, and none of them fails."""
    manager = BackupManager(content.engine_on(server, app), tmp_path)
    made = manager.create("before")
    content.psql(server, app, "UPDATE t SET v = 'new'")
    seen: list[str] = []
    failed: list[Exception] = []
    stop = threading.Event()
    with Pooler(server, "transaction") as pooler:
        url = pooler.url(app).replace("+psycopg", "")

        def ask() -> None:
            with psycopg.connect(url, prepare_threshold=None, autocommit=True) as connection:
                while not stop.is_set():
                    try:
                        found = connection.execute("SELECT v FROM t").fetchone()
                    except psycopg.Error as error:
                        failed.append(error)
                        return
                    seen.append(str(found and found[0]))

        asking = threading.Thread(target=ask)
        asking.start()
        _until(lambda: bool(seen))
        pooler.command(f"PAUSE {app}")
        try:
            assert manager.restore(made).verified
        finally:
            pooler.command(f"RESUME {app}")
        _until(lambda: bool(failed) or seen[-1] == "old")
        stop.set()
        asking.join()
    assert failed == []
    assert seen[0] == "new"


def _until(condition: object) -> None:
    deadline = time.monotonic() + 20
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

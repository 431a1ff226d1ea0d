"""An autovacuum is the server's own: it is ended, and nobody is told to end it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql.autovacuum import end_autovacuum
from soulsense_db.drivers.postgresql.holders import SHARING, naming_holders
from soulsense_db.drivers.postgresql.login import login_of
from soulsense_db.drivers.server_errors import locked
from soulsense_db.errors import DatabaseLockedError

pytestmark = on_newest
SLOW = (
    "{0}autovacuum_vacuum_cost_delay = 100, {0}autovacuum_vacuum_cost_limit = 1,"
    " {0}autovacuum_vacuum_threshold = 1, {0}autovacuum_vacuum_scale_factor = 0"
)
LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND granted AND"
    " relation = 'big'::regclass"
)


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owned]:
    """Return a database of a user who may make no others."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as made:
        yield made


@contextmanager
def vacuumed(shop: Owned, update: str, *, what: str) -> Iterator[None]:
    """Execute ``update``, and have the autovacuum run for the block that follows: of ``what``."""
    shop.maintain("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    shop.maintain("SELECT pg_reload_conf()")
    try:
        shop.execute(update)
        running = (
            f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum%{what}%'"
            f" AND datname = '{shop.name}' AND xact_start < now() - interval '0.5 s'"
        )
        assert eventually(
            lambda: content.psql(shop.server, shop.name, running).strip() == "1", seconds=60
        )
        yield
    finally:
        shop.maintain("ALTER SYSTEM RESET autovacuum_naptime")
        shop.maintain("SELECT pg_reload_conf()")


def test_it_is_named_to_nobody_and_its_lock_is_not_kept(shop: Owned) -> None:
    """It has no user, and ends when a lock is waited for; others may vacuum the table then."""
    shop.execute(
        "CREATE TABLE big AS SELECT n, repeat('x', 400) AS t FROM generate_series(1, 20000) AS n",
        f"ALTER TABLE big SET ({SLOW.format('')})",
    )
    with vacuumed(shop, "UPDATE big SET t = t || 'y'", what="big"):
        assert shop.scalar(LOCKS) == 1
        with (
            pytest.raises(DatabaseLockedError, match="as it was"),
            naming_holders(login_of(shop.engine, name="shop"), SHARING, name="shop"),
        ):
            raise locked("shop", "as it was")
        with sa.create_engine(shop.url, poolclass=NullPool).connect() as connection:
            end_autovacuum(connection)
            process = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            assert shop.scalar(f"{LOCKS} AND pid = {process}") == 0


def test_one_of_what_belongs_to_a_table_is_ended(shop: Owned, tmp_path: Path) -> None:
    """Of its large values, which are dropped with it, as the name of a schema needs quotes."""
    shop.execute(
        'CREATE SCHEMA "Other"',
        "CREATE TABLE big (n int, t text)",
        "ALTER TABLE big ALTER t SET STORAGE EXTERNAL,"
        f" SET (autovacuum_enabled = off, {SLOW.format('toast.')})",
        "INSERT INTO big SELECT n, repeat('x', 5000) FROM generate_series(1, 2000) AS n",
    )
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=8)
    manager.create()
    with vacuumed(shop, "UPDATE big SET t = repeat('y', 5000)", what="pg_toast"):
        manager.restore("latest")
    assert shop.scalar("SELECT count(*) FROM big WHERE left(t, 1) = 'y'") == 0

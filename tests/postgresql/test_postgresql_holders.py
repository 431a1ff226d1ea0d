"""Who waits for a lock in vain is told which sessions hold it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import DatabaseLockedError

pytestmark = on_newest


@pytest.fixture(params=[Database, Owned], ids=["may make databases", "may not"])
def shop(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """Return a database with a table, of a user who may make others, or may not."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with request.param(server) as made:
        made.execute("CREATE TABLE note (id int)", "CREATE TABLE other (id int)")
        yield made


@pytest.mark.parametrize(
    ("statement", "does", "words"),
    [
        ("INSERT INTO note VALUES (1)", "restore", "somebody is writing to it"),
        ("LOCK TABLE note IN ACCESS EXCLUSIVE MODE", "create", "somebody changes its tables"),
    ],
)
def test_the_session_is_named(
    shop: Database, tmp_path: Path, statement: str, does: str, words: str
) -> None:
    """With its process, its user and its program, and how to end it; a reader is not named."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=0.5)
    manager.create()
    engines = [
        sa.create_engine(
            shop.url, poolclass=NullPool, connect_args={"application_name": application}
        )
        for application in ("the shop", "a reader")
    ]
    with engines[0].connect() as holder, engines[1].connect() as reader:
        reader.exec_driver_sql("SELECT * FROM other")
        holder.exec_driver_sql(statement)
        backend, user = holder.execute(sa.text("SELECT pg_backend_pid(), current_user")).one()
        call: Callable[[], object] = (
            manager.create if does == "create" else lambda: manager.restore("latest")
        )
        with pytest.raises(DatabaseLockedError) as raised:
            call()
        assert raised.value.reason == f"{words}: process {backend} of {user}, the shop"
        assert f"SELECT pg_terminate_backend({backend});" in raised.value.hint
    call()

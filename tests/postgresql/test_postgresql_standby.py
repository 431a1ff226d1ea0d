"""Backups can be made where only reading is possible: on a hot standby."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgresql.database import Database
from postgresql.server import Server
from postgresql.standby import Standby
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import standby as standby_driver
from soulsense_db.errors import BackupError


def test_a_standby_makes_backups_that_the_primary_restores(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup of the standby is one of the data there; its row in the catalog comes later."""
    with Database(server, "shop") as shop, Standby(server) as standby:
        shop.execute("CREATE TABLE note (body text)", "INSERT INTO note VALUES ('one')")
        standby.waits_for("shop", "SELECT count(*) FROM note", 1)
        there = BackupManager(sa.create_engine(standby.url("shop")), tmp_path)
        made = there.create("of the standby")
        assert there.verify(made, level="full").backup.row_counts == {"note": 1}
        with pytest.raises(BackupError) as caught:
            there.restore(made)
        assert "standby" in str(caught.value) or "recovery" in str(caught.value)
        # The primary has another address: to it, the backup is one of another database.
        here = BackupManager(shop.engine, tmp_path / "here")
        own = here.import_file(made.path, "from the standby")
        shop.execute("DELETE FROM note")
        here.restore(own)
        assert shop.scalar("SELECT body FROM note") == "one"
        assert shop.scalar("SELECT count(*) FROM backups") == 1
        there._repository.driver.engine.dispose()


def test_what_a_standby_lacks_is_said(
    server: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backup of a standby that is behind tells so, and up to when it has what was committed."""
    monkeypatch.setattr(standby_driver, "_IDLE_SECONDS", 0.0)
    with Database(server, "shop") as shop, Standby(server) as standby:
        shop.execute("CREATE TABLE note (body text)", "INSERT INTO note VALUES ('one')")
        standby.waits_for("shop", "SELECT count(*) FROM note", 1)
        engine = sa.create_engine(standby.url("shop"), poolclass=NullPool)
        manager = BackupManager(engine, tmp_path, catalog=False)
        manager.create("in step")
        assert not _warnings(caplog)
        standby.execute("SELECT pg_wal_replay_pause()")
        shop.execute("INSERT INTO note VALUES ('two')")
        standby.waits_for(
            "shop", "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()", True
        )
        assert manager.create("paused").row_counts == {"note": 1}
        assert "its replay is paused. The backup holds what had been committed by 2" in _warnings(
            caplog
        )
        standby.execute("SELECT pg_wal_replay_resume()")
        standby.waits_for("shop", "SELECT count(*) FROM note", 2)
        standby.execute("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        standby.waits_for("shop", "SELECT count(*) FROM pg_stat_wal_receiver", 0)
        caplog.clear()
        manager.create("alone")
        assert "it is not connected to its primary" in _warnings(caplog)


def _warnings(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(one.getMessage() for one in caplog.records if one.levelname == "WARNING")

"""Backups can be made where only reading is possible: on a hot standby."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from postgresql.database import Database
from postgresql.server import Server
from postgresql.standby import Standby
from soulsense_db import BackupManager
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

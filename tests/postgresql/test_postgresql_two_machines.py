"""Two machines that restore one database: what each replaced is somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from postgresql.test_postgresql_kept import killed
from soulsense_db import BackupManager

pytestmark = on_newest


@pytest.mark.parametrize("path", ["another", "the same"])
def test_what_a_kill_elsewhere_left_gets_a_file_of_its_own(
    server: Server, tmp_path: Path, path: str
) -> None:
    """The next restore here writes its own safety backup, and keeps the one that was here."""
    here, there = tmp_path / "here", tmp_path / "there"
    with Database(server) as shop:
        shop.execute("CREATE TABLE note (v text)", "INSERT INTO note VALUES ('v0')")
        manager = BackupManager(shop.engine, here)
        manager.create()
        manager.restore("latest")
        shop.execute("UPDATE note SET v = 'here'")
        manager.restore("latest")  # its safety backup has "here"
        shop.execute("UPDATE note SET v = 'there'")
        elsewhere = here if path == "the same" else there
        if path == "the same":  # of another machine: its files are none of this one's
            here.rename(tmp_path / "mine")
        BackupManager(shop.engine, elsewhere).create()
        killed(shop, elsewhere, where="snapshot_replaced")
        elsewhere.rename(tmp_path / "of_that_machine")
        if path == "the same":
            (tmp_path / "mine").rename(here)
        shop.engine.dispose()
        shop.execute("UPDATE note SET v = 'v3'")
        backups = {one.name for one in here.iterdir()}
        manager = BackupManager(shop.engine, here)
        manager.create()
        with manager.exclusive():
            pass
        aside = {one for one in here.iterdir() if one.name not in backups}
        (found,) = (one for one in aside if ".safety_backup." in one.name and one.suffix != ".meta")
        safety = manager.safety_backup()
        assert safety is not None
        shop.engine.dispose()
        manager.undo_restore()  # of the last restore here
        assert shop.scalar("SELECT v FROM note") == "here"
        found.rename(here / "look.pgdump")
        imported = manager.import_file(here / "look.pgdump")
        manager.restore(imported)
        assert shop.scalar("SELECT v FROM note") == "there"

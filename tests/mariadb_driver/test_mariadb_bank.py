"""Money moves while backups are made and restored: not a cent is anywhere but where it belongs."""

from __future__ import annotations

from pathlib import Path

from mariadb_driver.bank import Bank
from mariadb_driver.databases import new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager


def test_the_sums_of_a_bank_agree(server: Server, tmp_path: Path) -> None:
    """In each backup made meanwhile, in what a restore leaves, and in its safety backup.

    And what was committed is in what was replaced, or in what is there now; no client is told of
    an error.
    """
    with new_database(server, tmp_path) as database:
        bank = Bank(database, scale=0.2)
        manager = BackupManager(database.engine, tmp_path / "backups")
        with bank.in_use():
            backups = [manager.create(f"number {number}") for number in range(2)]
            report = manager.restore(backups[0])
            last = manager.create("after the restore")
            assert bank.balance().agrees
        assert report.verified and report.safety_backup is not None
        now = bank.balance()
        seen = [bank.balance_of(Path(one.path)) for one in (*backups, last)]
        replaced = bank.balance_of(report.safety_backup)
        assert all(one.agrees for one in (*seen, replaced, now))
        assert seen[0].moves < seen[1].moves < replaced.moves
        assert seen[2].moves <= now.moves
        assert bank.errors == []
        assert set(bank.committed) <= replaced.moves | now.moves
        assert now.moves & replaced.moves == seen[0].moves
        manager.restore(backups[1])
        assert bank.balance().sums == seen[1].sums
        manager.undo_restore()
        assert bank.balance().sums == now.sums

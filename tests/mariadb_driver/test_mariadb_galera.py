"""A cluster of Galera: backups from any node, and the guide's steps for what it cannot restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from mariadb_driver.bank import Bank
from mariadb_driver.databases import Database, new_database
from mariadb_driver.galera import Cluster
from soulsense_db import BackupManager
from soulsense_db.errors import UnsupportedDatabaseError


@pytest.mark.slow
def test_a_cluster_of_three(cluster: Cluster, tmp_path: Path) -> None:
    """A backup from one node, while another one is written to and a third is killed.

    Then the restore, as the guide has its steps for what a running cluster does not take:
    afterwards all three have what the backup has.
    """
    with new_database(cluster.nodes[0], tmp_path, name="app") as database:
        nodes = [Database(one, "app", tmp_path) for one in cluster.nodes]
        bank = Bank(database, scale=0.05)
        written = Bank.of(nodes[1], scale=0.05)
        manager = BackupManager(database.engine, tmp_path / "backups")
        with written.in_use(clients=2):
            backups = [manager.create(f"number {number}") for number in range(2)]
            cluster.nodes[2].stop(kill=True)
            backups.append(manager.create("without the third"))
        seen = [bank.balance_of(Path(one.path)) for one in backups]
        assert all(one.agrees for one in seen)
        assert len(seen[0].moves) < len(seen[2].moves)
        cluster.start(2)
        now = Bank.of(nodes[1], scale=0.05).balance()
        assert set(written.committed) <= now.moves
        assert all(Bank.of(one, scale=0.05).balance().moves == now.moves for one in nodes)
        database.run("CREATE TABLE of_one_node (id INT) ENGINE=MyISAM")
        with pytest.raises(UnsupportedDatabaseError, match="Galera"):
            manager.restore(backups[0])
        assert not manager.can_restore(backups[0]).ok
        assert bank.balance().moves == now.moves
        for one in cluster.nodes:
            one.stop()
        cluster.nodes[0].start("--wsrep-on=OFF")
        manager.restore(backups[0])
        cluster.nodes[0].stop()
        cluster.start_anew()
        for node in nodes:
            assert Bank.of(node, scale=0.05).balance().moves == seen[0].moves

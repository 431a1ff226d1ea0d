"""Money moves while backups are made and restored: not a cent is anywhere but where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql import content
from postgresql.bank import NAME, Bank
from postgresql.conftest import VERSIONS, Servers
from soulsense_db import BackupManager


@pytest.fixture
def bank(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    """Return a small bank on the newest server."""
    server = servers.of(VERSIONS[-1])
    monkeypatch.setenv("PATH", str(server.bin), prepend=":")
    content.psql(server, "postgres", f"CREATE DATABASE {NAME}")
    try:
        yield Bank(server, scale=1)
    finally:
        content.psql(server, "postgres", f"DROP DATABASE {NAME} WITH (FORCE)")


def test_the_sums_of_pgbench_agree(bank: Bank, servers: Servers, tmp_path: Path) -> None:
    """In each backup made meanwhile, in what a restore leaves, and in its safety backup.

    What was there in the moment of a restore is in the safety backup, all of it.
    """
    engine = content.engine_on(servers.of(VERSIONS[-1]), NAME)
    manager = BackupManager(engine, tmp_path)
    with bank.in_use():
        backups = [manager.create(f"number {number}") for number in range(2)]
        report = manager.restore(backups[0])
        last = manager.create("after the restore")
        assert bank.balance().agrees
    assert report.verified and report.safety_backup is not None
    seen = [bank.balance_of(Path(one.path)) for one in (*backups, last)]
    replaced = bank.balance_of(report.safety_backup)
    assert all(one.agrees for one in (*seen, replaced, bank.balance()))
    assert 0 < seen[0].moves < seen[1].moves < replaced.moves
    assert seen[0].moves <= seen[2].moves <= bank.balance().moves
    manager.restore(backups[1])
    assert bank.balance() == seen[1]
    manager.undo_restore()
    engine.dispose()

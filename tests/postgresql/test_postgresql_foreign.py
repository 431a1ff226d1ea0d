"""What pg_dump alone has written becomes a backup when it is imported, and only if it is whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import InvalidBackupError

pytestmark = on_newest


@pytest.fixture
def shop(server: Server) -> Iterator[Database]:
    """Return a database with two tables and a revision."""
    with Database(server) as made:
        made.execute(
            "CREATE TABLE note (id int PRIMARY KEY, body text)",
            "INSERT INTO note SELECT n, repeat('x', 100) FROM generate_series(1, 2000) AS n",
            "CREATE TABLE alembic_version (version_num text)",
            "INSERT INTO alembic_version VALUES ('0001')",
        )
        yield made


def _dumped(shop: Database, path: Path, *options: str, is_stream: bool = False) -> Path:
    target = () if is_stream else ("-f", str(path))
    done = subprocess.run(
        [
            *(str(shop.server.bin / "pg_dump"), "-Fc", "-h", str(shop.server.socket), "-U"),
            *("postgres", *options, *target, shop.name),
        ],
        check=True,
        capture_output=True,
    )
    if is_stream:
        path.write_bytes(done.stdout)
    return path


def test_it_is_imported_and_restored(shop: Database, tmp_path: Path) -> None:
    """It has all that a backup of ours has: counts, revisions, and a restore brings it back."""
    dump = _dumped(shop, tmp_path / "nightly.dump")
    manager = BackupManager(shop.engine, tmp_path / "backups")
    before = shop.names()
    made = manager.import_file(dump, "of the old script")
    assert shop.names() == before
    assert made.kind == "imported"
    assert made.alembic_heads == ("0001",)
    assert made.row_counts == {"alembic_version": 1, "note": 2000}
    shop.execute("DELETE FROM note")
    manager.verify(made, level="full")
    manager.restore(made)
    assert shop.scalar("SELECT count(*) FROM note") == 2000


def test_a_null_in_an_array_stays_one(shop: Database, tmp_path: Path) -> None:
    """Whatever the role has set: a NULL would be the text that it is written as."""
    shop.execute("ALTER TABLE note ADD COLUMN tags text[]", "UPDATE note SET tags = '{NULL,\"x\"}'")
    dump = _dumped(shop, tmp_path / "nightly.dump")
    manager = BackupManager(shop.engine, tmp_path / "backups")
    shop.maintain("ALTER ROLE postgres SET array_nulls = off")
    try:
        manager.import_file(dump)
        shop.engine.dispose()
        manager.restore("latest")
    finally:
        shop.maintain("ALTER ROLE postgres RESET array_nulls")
    assert shop.scalar("SELECT count(*) FROM note WHERE tags[1] IS NULL") == 2000


def test_it_is_as_old_as_it_says(shop: Database, tmp_path: Path) -> None:
    """The archive has the date of its making: neither that of the import nor that of the file."""
    manager = BackupManager(shop.engine, tmp_path / "backups")
    dump = _dumped(shop, tmp_path / "nightly.dump")
    manager.create("later")
    os.utime(dump, (0, 0))
    listed = subprocess.run(
        [str(shop.server.bin / "pg_restore"), "--list", str(dump)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    imported = manager.import_file(dump)
    assert f"Archive created at {imported.timestamp_display}" in listed
    assert manager.get("latest").description == "later"


@pytest.mark.parametrize("is_stream", [False, True], ids=["file", "stream"])
def test_half_of_it_is_refused(shop: Database, tmp_path: Path, is_stream: bool) -> None:
    """Wherever it was cut off: pg_restore lists such a file without a word.

    One that was written to a stream does not tell where in it each table is.
    """
    whole = _dumped(shop, tmp_path / "whole.dump", "-Z0", is_stream=is_stream).read_bytes()
    manager = BackupManager(shop.engine, tmp_path / "backups")
    half = tmp_path / "half.dump"
    before = shop.names()
    for part in (1, 3, 5, 7, 9):
        half.write_bytes(whole[: len(whole) * part // 10])
        with pytest.raises(InvalidBackupError, match=r"half\.dump cannot be restored") as caught:
            manager.import_file(half)
        assert "xxx" not in str(caught.value)
    half.write_bytes(whole[:-1])
    with pytest.raises(InvalidBackupError):
        manager.import_file(half)
    assert manager.list() == []
    assert shop.names() == before


def test_amounts_of_money_are_not_guessed(shop: Database, tmp_path: Path) -> None:
    """What they are depends on a setting that the file does not tell."""
    shop.execute("CREATE TABLE price (amount money)", "INSERT INTO price VALUES (1)")
    dump = _dumped(shop, tmp_path / "prices.dump")
    manager = BackupManager(shop.engine, tmp_path / "backups")
    with pytest.raises(InvalidBackupError, match="lc_monetary"):
        manager.import_file(dump)
    assert manager.list() == []

"""What is told of a file that is no backup: what it is, and what to do with it."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from helpers import make_database

from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import archive as mariadb
from soulsense_db.drivers.postgresql import archive as postgresql
from soulsense_db.errors import NotADatabaseError

SCRIPT = b"--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n"


def test_a_script_of_pg_dump_is_told_from_an_archive(tmp_path: Path) -> None:
    """Who dumped without -Fc, or with -Ft, is told to use it."""
    script, tar = tmp_path / "own.sql", tmp_path / "own.tar"
    script.write_bytes(SCRIPT)
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as made:
        made.add(script, "toc.dat")
    for path, what in ((script, "a script of SQL"), (tar, "a tar archive")):
        with pytest.raises(NotADatabaseError, match=f"{path.name} is {what}, and not a") as caught:
            postgresql.read(path)
        assert "pg_dump -Fc" in caught.value.hint


def test_a_compressed_file_is_to_be_decompressed(manager: BackupManager, tmp_path: Path) -> None:
    """With each kind of database; the hint has the command, which can be copied."""
    packed = tmp_path / "my app.sql.gz"
    packed.write_bytes(gzip.compress(b"-- MariaDB dump" + bytes(2000), 0))
    for read in (postgresql.read, mariadb.read, manager.import_file):
        with pytest.raises(NotADatabaseError, match="is compressed with gzip, and not a") as caught:
            read(packed)
        assert f"gunzip -k '{packed}'" in caught.value.hint


def test_a_backup_of_another_kind_of_database_is_named(
    manager: BackupManager, tmp_path: Path
) -> None:
    """What it is comes first: the URL may be the wrong one."""
    database = make_database(tmp_path / "some.db")
    dump = tmp_path / "own.sql"
    dump.write_bytes(SCRIPT + bytes(2000))
    for read, path, what in (
        (postgresql.read, database, "an SQLite database, and not a backup of a PostgreSQL"),
        (mariadb.read, dump, "a script of PostgreSQL's pg_dump, and not a backup of a MariaDB"),
        (manager.import_file, dump, "a script of PostgreSQL's pg_dump, and not an SQLite"),
    ):
        with pytest.raises(NotADatabaseError, match=what):
            read(path)

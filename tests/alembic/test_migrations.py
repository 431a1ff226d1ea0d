"""This repository's own migrations, run as a newcomer runs them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import clean_environment

from soulsense_db import BackupManager
from soulsense_db.catalog.table import Catalog, TableState

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a fresh copy of what `alembic` needs of a checkout."""
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    return tmp_path


def _alembic(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=checkout,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.mark.slow
def test_upgrade_head_makes_the_table(checkout: Path) -> None:
    """`alembic upgrade head` makes data/soulsense.db with `backups`, and `check` is clean."""
    _alembic(checkout, "upgrade", "head")
    _alembic(checkout, "check")
    engine = sa.create_engine(f"sqlite:///{checkout / 'data' / 'soulsense.db'}")
    with engine.connect() as connection:
        assert Catalog().state(connection) is TableState.CURRENT
    assert BackupManager(engine).create().alembic_heads == ("0002",)
    engine.dispose()


def test_the_model_and_the_migration_agree(checkout: Path, tmp_path: Path) -> None:
    """The table that a backup makes and the one that the migration makes are the same."""
    _alembic(checkout, "upgrade", "head")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("VACUUM")
    engine = sa.create_engine(f"sqlite:///{other}")
    BackupManager(engine).create()
    engine.dispose()
    described = []
    for path in (checkout / "data" / "soulsense.db", other):
        with closing(sqlite3.connect(path)) as connection:
            described.append(connection.execute("PRAGMA table_info(backups)").fetchall())
    assert described[0] == described[1] != []


def test_a_backup_before_the_first_upgrade_is_no_obstacle(checkout: Path) -> None:
    """Where a backup has made the table already, the migration goes on with it."""
    database = checkout / "data" / "soulsense.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")
    engine = sa.create_engine(f"sqlite:///{database}")
    BackupManager(engine).create("first")
    engine.dispose()
    _alembic(checkout, "upgrade", "head")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM backups").fetchone() == (2,)


@pytest.mark.slow
def test_down_and_up_again(checkout: Path) -> None:
    """The table can be dropped and made again; its rows come back from the meta files."""
    _alembic(checkout, "upgrade", "head")
    _alembic(checkout, "downgrade", "base")
    _alembic(checkout, "upgrade", "head")
    with closing(sqlite3.connect(checkout / "data" / "soulsense.db")) as connection:
        assert connection.execute("SELECT count(*) FROM backups").fetchone() == (3,)


def test_offline_mode_prints_the_table(checkout: Path) -> None:
    """`upgrade --sql` prints SQL and touches nothing."""
    assert "CREATE TABLE" in _alembic(checkout, "upgrade", "head", "--sql").stdout
    assert not (checkout / "data").exists()

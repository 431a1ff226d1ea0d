"""Migrations run on a copy of a MariaDB database only where a server of its version is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config

from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse
from soulsense_db.errors import DatabaseUnreachableError


@pytest.mark.parametrize("dialect", ["mariadb", "mysql"])
def test_a_server_that_does_not_answer_has_no_version(dialect: str, tmp_path: Path) -> None:
    """It is said before anything runs."""
    engine = sa.create_engine(f"{dialect}+pymysql://nobody@127.0.0.1:1/app")
    manager = BackupManager(engine, tmp_path)
    with pytest.raises(DatabaseUnreachableError, match="does not answer"):
        rehearse(Config(), manager=manager)

"""Migrations do not run on a copy of a MariaDB database: nothing would keep them on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config

from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse
from soulsense_db.errors import UnsupportedDatabaseError


@pytest.mark.parametrize("dialect", ["mariadb", "mysql"])
def test_a_rehearsal_is_refused(dialect: str, tmp_path: Path) -> None:
    """It is refused before anything connects, and the error says what to do instead."""
    engine = sa.create_engine(f"{dialect}+pymysql://nobody@127.0.0.1:1/app")
    manager = BackupManager(engine, tmp_path)
    with pytest.raises(
        UnsupportedDatabaseError, match=f"'{dialect}' cannot run on a copy"
    ) as caught:
        rehearse(Config(), manager=manager)
    assert "server for tests" in caught.value.hint

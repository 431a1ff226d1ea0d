"""MariaDB's driver keeps what every driver promises, by both names that a URL may have."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from mariadb_driver.server import Server
from soulsense_db.testing import DriverSuite

_OWN = {"information_schema", "mysql", "performance_schema", "sys"}


class TestMariaDB(DriverSuite):
    """Through PyMySQL."""

    has_file = False
    dialect: ClassVar[str] = "mariadb"
    python_driver: ClassVar[str] = "pymysql"

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> None:
        self._server = server

    def make_engine(self, folder: Path) -> Engine:
        """Make a new database."""
        del folder
        self._database = f"app_{secrets.token_hex(4)}"
        with _maintained(self._server) as connection:
            connection.execute(sa.text(f"CREATE DATABASE {self._database} CHARSET utf8mb4"))
        return sa.create_engine(self._url())

    def remove(self, engine: object) -> None:
        """Drop it, and see that nothing else is left."""
        del engine
        with _maintained(self._server) as connection:
            connection.execute(sa.text(f"DROP DATABASE {self._database}"))
            left = set(connection.scalars(sa.text("SHOW DATABASES")))
        assert left - _OWN == set()

    def url(self, engine: object) -> str:
        """Return a URL by which a writer that is locked out gives up soon."""
        del engine
        return f"{self._url()}&init_command=SET+lock_wait_timeout%3D1"

    def _url(self) -> str:
        return self._server.url(self._database, dialect=self.dialect, driver=self.python_driver)


class TestMySQLByName(TestMariaDB):
    """With a URL of the dialect that SQLAlchemy calls ``mysql``."""

    dialect = "mysql"


def _maintained(server: Server) -> sa.Connection:
    engine = sa.create_engine(server.url("mysql"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    return engine.connect()

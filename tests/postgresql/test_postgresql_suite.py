"""PostgreSQL's driver keeps what every driver promises, with each version of the server."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from postgresql.server import Server
from soulsense_db.testing import DriverSuite


class TestPostgreSQL(DriverSuite):
    """Through psycopg."""

    has_file = False
    keeps_sessions = False

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> None:
        self._server = server

    def make_engine(self, folder: Path) -> Engine:
        """Make a new database."""
        del folder
        self._database = f"app_{secrets.token_hex(4)}"
        with _maintained(self._server) as connection:
            connection.execute(sa.text(f"CREATE DATABASE {self._database}"))
        return sa.create_engine(self._server.url(self._database))

    def remove(self, engine: object) -> None:
        """Drop it, and see that nothing else is left."""
        del engine
        with _maintained(self._server) as connection:
            connection.execute(sa.text(f"DROP DATABASE {self._database} WITH (FORCE)"))
            left = connection.scalars(sa.text("SELECT datname FROM pg_database ORDER BY 1")).all()
        assert left == ["postgres", "template0", "template1"]

    def url(self, engine: object) -> str:
        """Return a URL by which a writer that is locked out gives up soon."""
        del engine
        return f"{self._server.url(self._database)}&options=-clock_timeout%3D300ms"


def _maintained(server: Server) -> sa.Connection:
    engine = sa.create_engine(
        server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    return engine.connect()

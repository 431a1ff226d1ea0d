"""PostgreSQL's driver keeps what every driver promises, with each version of the server.

And with one that ``SOULSENSE_TEST_POSTGRESQL_URL`` names, as an administrator of it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from named_server import NamedServer
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from postgresql.server import Server
from soulsense_db.testing import DriverSuite, Live


class TestPostgreSQL(DriverSuite):
    """Through psycopg."""

    has_file = False
    keeps_sessions = False
    is_alone = True
    """Whether nobody else makes databases on the server meanwhile."""

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> None:
        self._server: Server | NamedServer = server

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
        if self.is_alone:
            assert left == ["postgres", "template0", "template1"]

    def url(self, engine: object) -> str:
        """Return a URL by which a writer that is locked out gives up soon."""
        del engine
        url = sa.make_url(self._server.url(self._database))
        url = url.update_query_dict({"options": "-clock_timeout=300ms"})
        return url.render_as_string(hide_password=False)


if _NAMED := os.environ.get("SOULSENSE_TEST_POSTGRESQL_URL"):

    class TestNamedPostgreSQL(TestPostgreSQL):
        """On a server that is not the tests' own."""

        is_alone = False

        @pytest.fixture(autouse=True)
        def _on(self) -> Iterator[None]:
            self._server = NamedServer(str(_NAMED))
            with self._server.in_turn():
                yield

        def test_its_address_leads_to_it(self, live: Live) -> None:
            """It has no password in it, on purpose."""
            if sa.make_url(str(_NAMED)).password is not None:
                pytest.skip("the URL has a password, which no address has")
            super().test_its_address_leads_to_it(live)


def _maintained(server: Server | NamedServer) -> sa.Connection:
    engine = sa.create_engine(
        server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    return engine.connect()

"""MariaDB's driver keeps what every driver promises, by both names that a URL may have.

And on a server that ``SOULSENSE_TEST_MARIADB_URL`` names, as an administrator of it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from named_server import NamedServer
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from mariadb_driver.server import Server
from soulsense_db.testing import DriverSuite, Live

_OWN = {"information_schema", "mysql", "performance_schema", "sys"}


class TestMariaDB(DriverSuite):
    """Through PyMySQL."""

    has_file = False
    dialect: ClassVar[str] = "mariadb"
    python_driver: ClassVar[str] = "pymysql"
    is_alone: ClassVar[bool] = True
    """Whether nobody else makes databases on the server meanwhile."""

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> None:
        self._server: Server | NamedServer = server

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
        if self.is_alone:
            assert left - _OWN == set()

    def url(self, engine: object) -> str:
        """Return a URL by which a writer that is locked out gives up soon."""
        del engine
        url = sa.make_url(self._url())
        url = url.update_query_dict({"init_command": "SET lock_wait_timeout=1"})
        return url.render_as_string(hide_password=False)

    def _url(self) -> str:
        return self._server.url(self._database, dialect=self.dialect, driver=self.python_driver)


@pytest.mark.slow
class TestMySQLByName(TestMariaDB):
    """With a URL of the dialect that SQLAlchemy calls ``mysql``."""

    dialect = "mysql"


if _NAMED := os.environ.get("SOULSENSE_TEST_MARIADB_URL"):

    class TestNamedMariaDB(TestMariaDB):
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
    engine = sa.create_engine(server.url("mysql"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    return engine.connect()

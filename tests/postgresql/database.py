"""A database of a test's own, which is gone at its end with all that was made beside it."""

from __future__ import annotations

import secrets
from typing import Any, Self

import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.server import Server
from soulsense_db.drivers.postgresql.databases import name_of, new_token


class Database:
    """A new database on ``server``."""

    def __init__(self, server: Server, name: str = "") -> None:
        self.server = server
        self.name = name or f"app_{secrets.token_hex(4)}"
        self.url = server.url(self.name)
        self.engine = sa.create_engine(self.url)

    def __enter__(self) -> Self:
        self.maintain("CREATE DATABASE {}")
        return self

    def __exit__(self, *exception: object) -> None:
        """Drop it, and what a restore keeps for an undo; nothing else may be left."""
        self.engine.dispose()
        self.maintain("DROP DATABASE {} WITH (FORCE)")
        content.drop_kept(self.server, of=self.name)
        ours = name_of(new_token(self.name))[:-8]  # the rest is by chance
        assert not [one for one in content.databases(self.server) if one.startswith(ours)]

    def maintain(self, statement: str) -> None:
        """Execute a statement on another database; ``{}`` is the name of this one."""
        with self._postgres().connect() as connection:
            quoted = connection.dialect.identifier_preparer.quote_identifier(self.name)
            connection.exec_driver_sql(statement.replace("{}", quoted))

    def names(self) -> list[str]:
        """Return the names of all databases of the server."""
        with self._postgres().connect() as connection:
            return list(connection.scalars(sa.text("SELECT datname FROM pg_database ORDER BY 1")))

    def kept(self) -> str:
        """Return the name of the one database that is kept for an undo, or nothing."""
        said = f'"live":"{self.name}"'
        asked = (
            f"SELECT datname FROM pg_database WHERE {content.KEPT}"
            f" AND shobj_description(oid, 'pg_database') LIKE '%{said}%'"
        )
        found = content.psql(self.server, "postgres", asked).split()
        assert len(found) <= 1
        return found[0] if found else ""

    def oid(self) -> int:
        """Return what tells the live database from any other that has its name."""
        return int(self.scalar("SELECT oid FROM pg_database WHERE datname = current_database()"))

    def wait_for_killed(self) -> None:
        """Wait until the server has ended the sessions of a program that was killed.

        One of them may still commit, which another program that looks meanwhile takes ill.
        """
        others = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND (datname = :name OR application_name = 'soulsense_db')"
        )
        with self._postgres().connect() as connection:
            assert eventually(lambda: connection.scalar(others, {"name": self.name}) == 0)

    def _postgres(self) -> sa.Engine:
        url = self.server.url("postgres")
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def execute(self, *statements: str) -> None:
        """Commit what statements do."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def scalar(self, statement: str) -> Any:
        """Return one value, as others see it."""
        engine = sa.create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            return connection.exec_driver_sql(statement).scalar()

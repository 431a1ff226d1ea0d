"""A database of a user who may make no others, which a restore replaces within it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgresql.database import Database
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql.statements import KEPT

OF_KEPT = f"SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, '{KEPT}')"


class Owned(Database):
    """A database of a user of its own, who may not make others."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, f"owned_{secrets.token_hex(4)}")
        self.user = f"user_{self.name}"
        self._administrator = sa.create_engine(self.url, poolclass=NullPool)
        self.url = server.url(self.name, user=self.user)
        self.engine = sa.create_engine(self.url)
        self.second = ""

    def __enter__(self) -> Owned:
        super().__enter__()
        self.maintain(f"CREATE ROLE {self.user} LOGIN")
        self.maintain(f"ALTER DATABASE {{}} OWNER TO {self.user}")
        return self

    def __exit__(self, *exception: object) -> None:
        """Drop the user as well."""
        super().__exit__(*exception)
        self.maintain(f"DROP ROLE {self.user}")

    def administer(self, *statements: str) -> None:
        """Commit what statements of an administrator do in it."""
        with self._administrator.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


@contextmanager
def with_notes(
    server: Server, monkeypatch: pytest.MonkeyPatch, *statements: str, second: str = ""
) -> Iterator[Owned]:
    """Yield a database with two notes, after ``statements``; ``second``: its second schema."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as made:
        made.second = second
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('one'), ('two')",
            *statements,
        )
        yield made


def backed_up(shop: Owned, folder: Path, **options: Any) -> BackupManager:
    """Return a manager of a database that has a third note since its backup."""
    made = BackupManager(shop.engine, folder / "backups", **options)
    made.create()
    shop.execute("INSERT INTO note (body) VALUES ('three')")
    return made


def rows(shop: Owned) -> int:
    """Return how many notes there are, as others see it."""
    return int(shop.scalar("SELECT count(*) FROM note"))


def dumped(shop: Owned, *options: str) -> str:
    """Return all of the database but the catalog, as pg_dump writes it."""
    done = subprocess.run(
        [
            str(shop.server.bin / "pg_dump"),
            "--restrict-key=a",
            "--exclude-table=backups*",
            *options,
        ],
        env={
            **os.environ,
            "PGHOST": str(shop.server.socket),
            "PGUSER": "postgres",
            "PGDATABASE": shop.name,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

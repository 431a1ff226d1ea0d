"""A hot standby of a server: it replays what the primary does, and can be read."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgresql.server import NOBODY, SETTINGS, Server

_SECONDS = 20.0


class Standby:
    """A running standby of ``primary``, which is stopped and removed at the end of its block."""

    def __init__(self, primary: Server) -> None:
        self._primary = primary
        self._folder = Path(tempfile.mkdtemp(prefix="standby-"))
        self._folder.chmod(0o755)
        self._data, self._socket = self._folder / "data", self._folder / "socket"
        for folder in (self._data, self._socket):
            folder.mkdir(mode=0o700 if folder == self._data else 0o755)
            if os.geteuid() == 0:
                os.chown(folder, NOBODY, NOBODY)

    def __enter__(self) -> Self:
        """Copy the primary and start the copy."""
        login = ("-h", str(self._primary.socket), "-U", "postgres", "-w")
        self._primary.run("pg_basebackup", *login, "-D", str(self._data), "-R", "-c", "fast")
        self._pg_ctl("-o", f"-h '' -k {self._socket} {SETTINGS}", "start")
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop and remove it."""
        self._pg_ctl("-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """Return the URL of a database there."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._socket}"

    def waits_for(self, database: str, statement: str, value: object) -> None:
        """Wait until ``statement`` has the result ``value`` there: all before it is replayed."""
        engine = sa.create_engine(self.url(database), poolclass=NullPool)
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            try:
                with engine.connect() as connection:
                    if connection.exec_driver_sql(statement).scalar() == value:
                        return
            except sa.exc.DBAPIError:  # the database is not there yet
                pass
            time.sleep(0.05)
        raise AssertionError(f"the standby never came to {statement}")

    def execute(self, *statements: str) -> None:
        """Run statements there, each by itself, as its superuser."""
        engine = sa.create_engine(self.url("postgres"), poolclass=NullPool)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _pg_ctl(self, *arguments: str) -> None:
        log = f"{self._data}/log"
        self._primary.run("pg_ctl", "-w", "-D", str(self._data), "-l", log, *arguments)

"""Databases for tests: a new one each, and what is in it, as the server's own program writes it."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from mariadb_driver.server import Server
from soulsense_db.drivers import Driver, driver_for
from soulsense_db.drivers.mariadb.migration_note import schema_of

OWN = {"information_schema", "mysql", "performance_schema", "sys"}
_WORK = re.compile("~soulsense_[0-9a-f]{16}")


class Database:
    """A database ``name`` on ``server``, with an ``engine`` and a ``driver`` as its root."""

    def __init__(self, server: Server, name: str, folder: Path) -> None:
        self.server, self.name, self.folder = server, name, folder
        self.engine = sa.create_engine(server.url(name), poolclass=NullPool)
        self.driver = self.driver_for(self.engine)
        self.others: frozenset[str] = frozenset()
        """What earlier tests have left: a statement may outlive the process that was killed."""

    def driver_for(self, engine: Engine, *, lock_timeout: float = 5) -> Driver:
        """Return a driver for another engine."""
        return driver_for(engine, lock_timeout=lock_timeout)

    def run(self, script: str, *, database: str | None = None) -> str:
        """Have the program mariadb execute a script; return what it prints."""
        return subprocess.run(
            [
                *("mariadb", "--no-defaults", f"--socket={self.server.socket}", "--user=root"),
                *("--default-character-set=utf8mb4", "--skip-column-names"),
                f"--database={self.name if database is None else database}",
            ],
            input=script,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def snapshot(self, name: str = "backup") -> Path:
        """Take a snapshot."""
        path = self.folder / f"{name}.sql"
        path.touch()
        self.driver.snapshot(path)
        return path

    def dump(self, *options: str) -> str:
        """Return all that is in it, in words that do not depend on when it was made."""
        said = subprocess.run(
            [
                *("mariadb-dump", "--no-defaults", f"--socket={self.server.socket}", "-uroot"),
                *("--routines", "--triggers", "--events", "--hex-blob", "--skip-dump-date"),
                *("--order-by-primary", "--skip-extended-insert", "--dump-history", *options),
                *("--", self.name),
            ],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=True,
        ).stdout
        said = re.sub(r"(?m)^-- (Host|Server).*$", "", said)
        # The server keeps what was typed; these names need no quotation marks.
        said = re.sub(r"FOR EACH ROW\s+", "FOR EACH ROW ", said)
        return re.sub(r"TRIGGER `(\w+)` (\w+ \w+) ON `(\w+)`", r"TRIGGER \1 \2 ON \3", said)

    def left(self) -> set[str]:
        """Return the databases beside this one, the server's own and what undo keeps."""
        found = set(self.run("SHOW DATABASES").split("\n")) - OWN - self.others
        return found - self.kept() - {self.name, ""}

    def kept(self) -> set[str]:
        """Return the two schemas of what a restore keeps for an undo: notes, and tables."""
        asked = """SELECT TABLE_SCHEMA FROM information_schema.TABLES
            WHERE TABLE_NAME = 'soulsense_kept' AND TABLE_SCHEMA LIKE '%soulsense\\_%'"""
        found = self.run(asked).split("\n")
        return {f"{one}{ending}" for one in found for ending in ("", "_old") if one}


@contextmanager
def new_database(
    server: Server, folder: Path, name: str = "", charset: str = "utf8mb4"
) -> Iterator[Database]:
    """Make a database, and drop it at the end."""
    name = name or f"app_{secrets.token_hex(4)}"
    quoted = f"`{name.replace('`', '``')}`"
    admin = Database(server, "mysql", folder)
    admin.run(f"CREATE DATABASE {quoted} CHARACTER SET {charset}")
    try:
        made = Database(server, name, folder)
        made.others = frozenset(one for one in made.left() if _WORK.match(one))
        yield made
        made.engine.dispose()
    finally:
        admin.run(f"DROP DATABASE IF EXISTS {quoted}")
        admin.run(f"DROP DATABASE IF EXISTS `{schema_of(name).replace('`', '``')}`")
        drop_kept(admin, name)


def drop_kept(admin: Database, live: str) -> None:
    """Drop what a restore of a database has kept for an undo."""
    said = f"soulsense_db: {json.dumps({'live': live}, separators=(',', ':'), ensure_ascii=False)}"
    quoted = said.replace("\\", "\\\\").replace("'", "''")
    asked = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_COMMENT = '{quoted}'"
    for schema in admin.run(asked).splitlines():
        admin.run(f"DROP DATABASE `{schema}`")

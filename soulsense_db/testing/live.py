"""One live database with a driver on it, as the suite sees it, and other programs that use it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Engine

from soulsense_db.drivers import Driver, SnapshotInfo
from soulsense_db.errors import BackupError
from soulsense_db.testing import _program

metadata = sa.MetaData()
notes = sa.Table(
    "soulsense_notes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # A usual text of these two ends after 64 KB.
    sa.Column(
        "body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False
    ),
)
"""The table whose rows tell what is in a database."""
accounts = sa.Table(
    "soulsense_accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("amount", sa.Integer, nullable=False),
)
"""Two accounts: what one loses the other gains, so that the sum is 0 at each moment."""
versions = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)
"""Alembic's own table, which is there once a test makes it."""
FIRST_NOTES = ["one", "Dear diary"]
"""The notes that a live database has at the beginning; no error may quote the second one."""


class CancelledError(Exception):
    """The person pressed "Cancel"."""


def cancel(_done: int, _total: int) -> None:
    """Cancel at the first report."""
    raise CancelledError


class Reports(list[tuple[int, int]]):
    """All that a progress was told."""

    def __call__(self, done: int, total: int) -> None:
        """Keep a report."""
        self.append((done, total))


def contents_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time of change and bytes of every file in ``folder``, by its name."""
    return {
        path.name: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.iterdir())
    }


@dataclass
class Live:
    """A live database: ``driver``, the application's ``engine``, a ``folder`` for backups.

    ``url``: by which another program reaches it, None where none can.
    """

    driver: Driver
    engine: Engine
    folder: Path
    url: str | None

    def bodies(self) -> list[str]:
        """Return the texts of all notes, as the application sees them."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(notes.c.body).order_by(notes.c.id)))

    def is_balanced(self) -> bool:
        """Whether both accounts are of one moment."""
        with self.engine.connect() as connection:
            return bool(connection.scalar(sa.select(sa.func.sum(accounts.c.amount))) == 0)

    def add(self, *bodies: str) -> None:
        """Commit notes."""
        with self.engine.begin() as connection:
            connection.execute(sa.insert(notes), [{"body": body} for body in bodies])

    def execute(self, *statements: sa.Executable) -> None:
        """Commit what the statements do."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def new_file(self, name: str = "backup") -> Path:
        """Make the empty file that a snapshot is written to."""
        path = self.folder / f"{name}{self.driver.suffix}"
        path.touch()
        return path

    def snapshot(self, name: str = "backup") -> tuple[Path, SnapshotInfo]:
        """Take a snapshot."""
        path = self.new_file(name)
        return path, self.driver.snapshot(path)

    def refused(self, expected: type[BackupError], call: Callable[[], object]) -> BackupError:
        """Have ``call`` raise an error of the tree, which tells no password and no row."""
        with pytest.raises(expected) as caught:
            call()
        error = caught.value
        text = f"{error} {error.hint}"
        assert FIRST_NOTES[1] not in text
        password = self.engine.url.password
        assert not password or password not in text
        return error

    @contextmanager
    def other_program(self) -> Iterator[OtherProgram]:
        """Start another program that is connected to the database."""
        assert self.url is not None
        program = OtherProgram(self.url)
        try:
            yield program
        finally:
            program.kill()


class OtherProgram:
    """A process of its own that is connected to the database of ``url``."""

    def __init__(self, url: str) -> None:
        # Not as a module of the package: that would import pytest first.
        command = [sys.executable, "-P", str(Path(_program.__file__))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._send(url)  # not in its arguments, which everybody can see

    def do(self, command: str, *arguments: object) -> Any:
        """Have it do what a method of its ``Program`` does, and return what that returned."""
        self._send([command, *arguments])
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the other program ended in {command}"
        return json.loads(line)

    def die(self, command: str, *arguments: object) -> None:
        """Have it do what it does not survive, and wait for its end."""
        self._send([command, *arguments])
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "", f"it outlived {command}"
        assert self._process.wait() == _program.KILLED

    def kill(self) -> None:
        """End it, where it still runs."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

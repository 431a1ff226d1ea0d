"""SQLite's driver keeps what every driver promises, on each kind of database and engine."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from helpers import Mode
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from soulsense_db.testing import DriverSuite

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_WAIT = "timeout=0.2"


class InFile(DriverSuite):
    """A database file, in one of the journal modes."""

    mode: Mode = "delete"

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return an engine on a new file in the journal mode."""
        path = self.make_file(folder)
        return sa.create_engine(f"sqlite:///{path}")

    def make_file(self, folder: Path) -> Path:
        """Make an empty database file in the journal mode."""
        path = folder / "live.db"
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA journal_mode = {self.mode}").fetchall()
        connection.close()
        return path

    def url(self, engine: Engine | AsyncEngine) -> str:
        """Let the other program wait for a lock for a moment only."""
        return f"{super().url(engine)}?{_WAIT}"


class TestRollbackJournal(InFile):
    """The mode that a new database is in."""


class TestWriteAheadLog(InFile):
    """The mode with a log beside the file."""

    mode = "wal"


class TestAsyncEngine(InFile):
    """The engine of an asyncio application."""

    mode = "wal"

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return an engine that uses aiosqlite."""
        return create_async_engine(f"sqlite+aiosqlite:///{self.make_file(folder)}")


class TestCreator(InFile):
    """An engine with a creator of the application's, whose URL tells nothing."""

    mode = "wal"

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return an engine with a creator."""
        self.path = self.make_file(folder)
        return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(self.path))

    def url(self, engine: Engine | AsyncEngine) -> str:
        """Return a URL of the file that the creator opens."""
        return f"sqlite:///{self.path}?{_WAIT}"


class TestMemory(DriverSuite):
    """A database in the memory of its only connection."""

    has_file = False
    reachable_by_others = False

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return an engine with one connection."""
        return sa.create_engine("sqlite://", poolclass=StaticPool)


class TestMemoryOfOneThread(TestMemory):
    """A database in memory as SQLAlchemy makes it by default, with a connection per thread."""

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return an engine with the pool that it has by default."""
        return sa.create_engine("sqlite://")

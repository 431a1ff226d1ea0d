"""What the author of a driver tells the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from soulsense_db.drivers import Driver, driver_for
from soulsense_db.testing.live import FIRST_NOTES, Live, accounts, metadata

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

GARBAGE = b"\xee"


class DriverHooks:
    """What is to be implemented, and what may be: :meth:`make_engine` is enough for many."""

    has_file: ClassVar[bool] = True
    """Whether the live database is a file, which can be missing, damaged, and rebuilt."""

    reachable_by_others: ClassVar[bool] = True
    """Whether other programs can be connected to it; False for one in a process's memory."""

    keeps_sessions: ClassVar[bool] = True
    """Whether others stay connected while a backup is loaded.

    False where their connections are ended: they connect again, and open transactions are lost.
    """

    finds_each_commit: ClassVar[bool] = True
    """Whether a load finds every commit between the release of the write lock and its own lock.

    False where that gap is there, however short, and nothing tells of what happened in it.
    """

    lock_timeout: ClassVar[float] = 5.0
    """Seconds that the driver waits for a lock."""

    def make_engine(self, folder: Path) -> Engine | AsyncEngine:
        """Return the application's engine on a new and empty database.

        ``folder`` is an empty directory for its files, if it has any.
        """
        raise NotImplementedError

    def remove(self, engine: Engine | AsyncEngine) -> None:
        """Remove the database of ``engine`` at the end of a test, where it is not in ``folder``."""

    def url(self, engine: Engine | AsyncEngine) -> str:
        """Return a URL by which another program reaches the database of ``engine``.

        With a synchronous Python driver, for :func:`sqlalchemy.create_engine` and for
        :func:`soulsense_db.drivers.engine_for`. It should wait for a lock a second at most. Not
        asked where it is not ``reachable_by_others``.
        """
        url = engine.url
        return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)

    def damage(self, path: Path) -> None:
        """Damage a backup file, or the file of a live database, in a way that a check must find.

        By default the second half of its bytes. Its beginning and its size stay.
        """
        size = path.stat().st_size
        with path.open("r+b") as stream:
            stream.seek(size // 2)
            stream.write(GARBAGE * (size - size // 2))

    def make_driver(self, engine: Engine | AsyncEngine, *, lock_timeout: float) -> Driver:
        """Return the driver for ``engine``, by default the one that the registry finds."""
        return driver_for(engine, lock_timeout=lock_timeout)

    # Fixtures

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine | AsyncEngine]:
        """Return the application's engine on a new and empty database."""
        folder = tmp_path / "live"
        folder.mkdir()
        made = self.make_engine(folder)
        yield made
        _dispose(made)
        self.remove(made)

    @pytest.fixture
    def live(self, engine: Engine | AsyncEngine, tmp_path: Path) -> Iterator[Live]:
        """Return a driver on a live database with two notes."""
        url = self.url(engine) if self.reachable_by_others else None
        # What an async application does is done by a plain engine here.
        is_plain = isinstance(engine, Engine)
        plain = engine if isinstance(engine, Engine) else sa.create_engine(url or "")
        folder = tmp_path / "copies"
        folder.mkdir()
        metadata.create_all(plain)
        driver = self.make_driver(engine, lock_timeout=self.lock_timeout)
        made = Live(driver=driver, engine=plain, folder=folder, url=url)
        made.add(*FIRST_NOTES)
        first, second = ({"id": number, "amount": 0} for number in (1, 2))
        made.execute(sa.insert(accounts).values([first, second]))
        yield made
        if not is_plain:
            plain.dispose()

    def needs_file(self) -> None:
        """Skip a test that is about the file of a database, where there is none."""
        if not self.has_file:
            pytest.skip(f"{type(self).__name__}.has_file is False")

    def needs_others(self) -> None:
        """Skip a test that is about other programs, where there can be none."""
        if not self.reachable_by_others:
            pytest.skip(f"{type(self).__name__}.reachable_by_others is False")


def _dispose(engine: Engine | AsyncEngine) -> None:
    getattr(engine, "sync_engine", engine).dispose()

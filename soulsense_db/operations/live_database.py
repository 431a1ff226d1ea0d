"""What is asked of the live database itself."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Connection

from soulsense_db.drivers import Driver


class LiveDatabase:
    """The database that the application uses, of ``manager.live``."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def path(self) -> Path | None:
        """Its file, absolute; None when it has none."""
        return self._driver.location

    @property
    def address(self) -> str:
        """What ``--url`` takes to reach it as the engine does; empty in memory."""
        return self._driver.address

    def require(self) -> None:
        """Raise :class:`~soulsense_db.errors.DatabaseFileNotFoundError` when it does not exist."""
        self._driver.require_database()

    def write_stamp(self) -> object:
        """Return what is another value once somebody has written to it.

        It takes no lock; always the same where that cannot be told so, as on a server.
        """
        return self._driver.write_stamp()

    def size(self) -> int:
        """Return about how many bytes a backup takes."""
        return self._driver.size()

    def alembic_heads(self, version_table: str = "alembic_version") -> tuple[str, ...]:
        """Return the sorted revisions that it is at, as another process sees it."""
        return self._driver.alembic_heads(version_table) or ()

    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return the other database files that ``connection`` of the engine has, by schema name."""
        return self._driver.attached_files(connection)

"""What is asked of the live database itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy.engine import Connection

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver, RehearsalSupport
from soulsense_db.operations.servers import require_server_of


class LiveDatabase:
    """The database that the application uses: what ``manager.live`` is.

    Example:
        >>> manager.live.address
        '...app.db'
    """

    def __init__(self, driver: Driver, place: Path | None = None) -> None:
        self._driver = driver
        self._place = place

    @property
    def path(self) -> Path | None:
        """Its file, absolute; None when it has none."""
        return self._driver.location

    @property
    def name(self) -> str:
        """What people call it: the path of its file, or host and name on a server."""
        return str(self._driver.location or self._driver.database)

    @property
    def short_name(self) -> str:
        """The same without directories: the name of its file, or host and name on a server."""
        file = self._driver.location
        return self.name if file is None else file.name

    @property
    def marker_place(self) -> Path | None:
        """What its sidecars are named after: its file, where it has one; None in memory."""
        return self._place

    @property
    def dialect(self) -> str:
        """What SQLAlchemy calls its dialect, such as ``sqlite``."""
        return self._driver.dialect

    @property
    def address(self) -> str:
        """What ``--url`` takes to reach it as the engine does; empty in memory."""
        return self._driver.address

    @property
    def rolls_back_schema(self) -> bool:
        """Whether a transaction that is rolled back takes back what it did to tables as well."""
        return self._driver.rolls_back_schema

    @property
    def has_schemas(self) -> bool:
        """Whether schemas are parts of it; else the name of one is that of another database."""
        return self._driver.has_schemas

    def require(self) -> None:
        """Make sure that it is there.

        Raises:
            DatabaseFileNotFoundError: It does not exist.

        Example:
            >>> manager.live.require()
        """
        self._driver.require_database()

    def way_of_restore(self) -> str:
        """Return what is unusual about how a restore would be made here, and why; mostly nothing.

        Raises:
            MissingRightError: The user may not restore here in any way.

        Example:
            >>> manager.live.way_of_restore()
            ''
        """
        return self._driver.way_of_restore()

    def require_server_of(self, backup: BackupInfo) -> None:
        """Make sure that no other server than that of ``backup`` answers at the address now.

        Nothing is raised where nothing tells, as for a file, or on MariaDB.

        Args:
            backup: The backup.

        Raises:
            WrongDatabaseError: ``backup`` was made on another server.

        Example:
            >>> manager.live.require_server_of(manager.get("latest"))
        """
        require_server_of(self._driver, backup)

    def explained(self) -> AbstractContextManager[None]:
        """Turn what the database's own library raises in the block into errors of the tree.

        Example:
            >>> with manager.live.explained(), engine.connect() as connection:
            ...     heads = connection.exec_driver_sql("SELECT 1").all()
        """
        return self._driver.explained()

    def write_stamp(self) -> object:
        """Return a value that is another one once somebody has written to the database.

        It takes no lock.

        Returns:
            A value to compare with a later one. Where that is not possible, as on a server, it is
            always the same.

        Example:
            >>> before = manager.live.write_stamp()
            >>> before == manager.live.write_stamp()
            True
        """
        return self._driver.write_stamp()

    def watched(self) -> AbstractContextManager[Callable[[], bool]]:
        """Watch whether somebody writes to the database.

        Returns:
            A context manager. In its block, what it yields tells, when it is called, whether
            somebody has written since the block began, or has replaced the file.

        Raises:
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.

        Example:
            >>> with manager.live.watched() as has_changed:
            ...     has_changed()
            False
        """
        return self._driver.watched()

    def rehearsal_support(self) -> RehearsalSupport | None:
        """Return what runs migrations on copies of the database.

        Returns:
            What its driver knows of that; None where it knows nothing.

        Example:
            >>> manager.live.rehearsal_support() is None
            False
        """
        return self._driver.rehearsal_here()

    def unfinished(self) -> str:
        """Return what a restore that was cut off, or is running, has left to do.

        Returns:
            A part of a sentence; empty where there is nothing. Nothing is changed.

        Raises:
            DatabaseUnreachableError: The server did not answer.

        Example:
            >>> manager.live.unfinished()
            ''
        """
        return self._driver.unfinished()

    def size(self) -> int:
        """Return about how many bytes a backup takes.

        Returns:
            A number of bytes.

        Raises:
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read.

        Example:
            >>> manager.live.size()
            20480
        """
        return self._driver.size()

    def alembic_heads(
        self, version_table: str = "alembic_version", schema: str | None = None
    ) -> tuple[str, ...]:
        """Return the Alembic revisions that the database is at, as another process sees it.

        Args:
            version_table: The name of Alembic's version table.
            schema: The schema that it is in, where :attr:`has_schemas` is true; None for where a
                statement of the application finds it.

        Returns:
            The revisions, sorted; none without that table.

        Raises:
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read.

        Example:
            >>> manager.live.alembic_heads()
            ('1975ea83b712',)
        """
        if schema is None or not self._driver.has_schemas:
            return self._driver.alembic_heads(version_table) or ()
        return self._driver.alembic_heads(version_table, schema) or ()

    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return the other database files that are attached to a connection.

        Args:
            connection: A connection of the manager's engine.

        Returns:
            The paths, by the name of their schema.

        Example:
            >>> with engine.connect() as connection:
            ...     manager.live.attached_files(connection)
            {}
        """
        return self._driver.attached_files(connection)

"""What each driver has to do: the methods without a default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, TypeVar

from sqlalchemy.engine import Connection, Engine

from soulsense_db.drivers.results import (
    CheckLevel,
    DatabaseDiff,
    Findings,
    RowCounts,
    SnapshotInfo,
    WriteLock,
)
from soulsense_db.progress import Progress

T = TypeVar("T")


class RequiredMethods(ABC):
    """What each driver has to do.

    All methods raise only errors of the tree.
    """

    dialect: ClassVar[str]
    """``engine.dialect.name``."""

    url_drivers: ClassVar[frozenset[str]]
    """Python drivers of URLs for which :func:`engine_for` may take the dialect's own driver."""

    suffix: ClassVar[str]
    """How the name of a backup file ends."""

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        self.engine = engine
        self.lock_timeout = lock_timeout
        self.tools_directory: Path | None = None
        """Where a server's own programs are; None: where the driver finds them."""
        self.jobs = 1
        """How many tables may be dumped or restored at once, where the driver can do that."""

    @property
    @abstractmethod
    def database(self) -> str:
        """Name of the live database, as recorded with each backup."""

    @property
    @abstractmethod
    def location(self) -> Path | None:
        """File of the live database, absolute and without links; None when it has no file."""

    @property
    @abstractmethod
    def address(self) -> str:
        """What ``--url`` takes to reach the live database as the engine does; empty in memory."""

    @abstractmethod
    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return the other database files that ``connection`` of the application has, by name.

        No transaction is begun.
        """

    @abstractmethod
    def require_database(self) -> None:
        """Raise :class:`~soulsense_db.errors.DatabaseFileNotFoundError` when it does not exist."""

    @abstractmethod
    def size(self) -> int:
        """Return about how many bytes a snapshot takes."""

    @abstractmethod
    def connected(self) -> AbstractContextManager[None]:
        """Open the connections that an operation needs, for the methods called in the block.

        Called before the first lock: what the application does when it connects may need one
        itself. Where the database is missing or damaged, none are opened.
        """

    @abstractmethod
    def return_idle_connections(self) -> None:
        """Close the engine's idle pooled connections; one in use MUST stay as it is."""

    @abstractmethod
    def flush(self) -> None:
        """Return when all that is committed outlasts a power cut; it takes no lock."""

    @abstractmethod
    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        """Write all committed data to the existing empty file ``target``, at one point in time.

        Writers MUST NOT be able to delay it for ever, nor the caller's own open transaction to
        leak into it.
        """

    @abstractmethod
    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Like :meth:`snapshot`, from the database file ``source``, which stays as it is.

        The copy is checked in full; raises :class:`~soulsense_db.errors.InvalidBackupError`.
        """

    @abstractmethod
    def require_readable(self, source: Path) -> None:
        """Raise what :meth:`copy_file` would for a file that is plainly no database.

        As :class:`~soulsense_db.errors.InvalidBackupError`; not all of the file is read.
        """

    @abstractmethod
    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        """Check the backup file ``path`` without writing to it or beside it.

        ``level``: ``quick`` looks at its header and size, ``pages`` also at the structure of all
        of it, ``full`` also at every index and reference. ``poll`` is called several times a second
        meanwhile; what it raises, and Ctrl-C, ends the check within half a second. Raises
        :class:`~soulsense_db.errors.InvalidBackupError` for a file that is not whole.
        """

    @abstractmethod
    def compare(
        self, backup: Path, *, ignore: Collection[str], progress: Progress | None = None
    ) -> DatabaseDiff:
        """Compare the backup file ``backup``, which is sound, with all committed live data.

        Tables named in ``ignore`` are left out. Nothing is written, and memory stays flat. Of
        ``progress`` the numbers are rows here, not bytes: those of both; what it raises cancels.
        """

    @abstractmethod
    def compare_copy(
        self,
        copy: Path,
        backup: Path,
        *,
        ignore: Collection[str],
        progress: Progress | None = None,
    ) -> DatabaseDiff:
        """Like :meth:`compare`, with what :meth:`snapshot` wrote to ``copy`` as the live data.

        Nothing of the application's is locked or asked meanwhile.
        """

    @abstractmethod
    def row_counts(self, backup: Path, *, ignore: Collection[str]) -> tuple[RowCounts, ...]:
        """Count the rows of all tables of the backup file ``backup`` and of the live database.

        Tables named in ``ignore`` are left out. A live database that is missing or cannot be read
        is no error. Raises :class:`~soulsense_db.errors.InvalidBackupError`.
        """

    @abstractmethod
    def write_locked(self) -> AbstractContextManager[WriteLock]:
        """Keep writers out, readers not, until the hold is released.

        Raises :class:`~soulsense_db.errors.DatabaseLockedError` after ``lock_timeout``.
        """

    @abstractmethod
    def require_restorable(self) -> None:
        """Raise what would keep each and every backup of this database from being restored.

        As far as a look at the database tells: nothing is copied or locked.
        """

    @abstractmethod
    def rehearse(self, source: Path) -> None:
        """Do all that :meth:`load` does with the backup file ``source`` before its first write.

        Raises what that would raise; nothing is left beside the live database.
        """

    @abstractmethod
    def schema_of(self, source: Path) -> object:
        """Return the schema that :meth:`check_loaded` compares, of the backup file ``source``."""

    @abstractmethod
    def heads_in(self, source: Path) -> tuple[str, ...]:
        """Return the sorted Alembic revisions in the backup file ``source``."""

    @abstractmethod
    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        """Put the backup file ``source`` in place of all live data, in one transaction.

        ``write_lock`` is released at the last moment, when this transaction is next in line. When
        somebody was found to be faster, raises :class:`~soulsense_db.drivers.ConcurrentCommitError`
        with nothing changed.

        Other processes may be connected. On any error, and after a kill at any moment, the live
        data MUST be what it was before, or all of ``source``. ``progress`` is not called any more
        once the data is replaced.
        """

    @abstractmethod
    def rebuild(
        self,
        source: Path,
        *,
        facts: Mapping[str, str],
        stamp: str,
    ) -> tuple[Path, ...]:
        """Like :meth:`load`, for a live database that is missing or cannot be read.

        Moves what is there aside under names that end in ``stamp``, never deletes it, and returns
        the new names. ``facts`` are those of the snapshot ``source`` came from.
        """

    @abstractmethod
    def check_loaded(self, schema: object) -> None:
        """Check the live database through a new connection, and compare it with ``schema``.

        Raises :class:`~soulsense_db.errors.DatabaseDamagedError` when it is not what was loaded.
        """

    @abstractmethod
    def alembic_heads(
        self, version_table: str, schema: str | None = None
    ) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None without that table.

        ``schema``: where it is; never given where :attr:`~.base.Driver.has_schemas` is false.
        """

    @abstractmethod
    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        """Run ``work`` in a transaction of a private connection and return what it returns.

        With ``write`` it holds the write lock from the beginning.

        The connection comes from the engine's own creator, never from its pool: nobody's open
        transaction is joined.
        """

"""What a driver has to do.

A driver knows one database dialect and nothing of backup directories, meta files or catalogs: it
gets an engine and paths. To add a dialect, write a :class:`Driver`, name it in an entry point
(:mod:`~soulsense_db.drivers.registry`), and run the shared suite over it:
:class:`soulsense_db.testing.DriverSuite`.
"""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sqlalchemy.engine import URL, Connection, Engine

from soulsense_db import fs
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.errors import no_diff, no_single_rows
from soulsense_db.drivers.results import (
    CheckLevel,
    DatabaseDiff,
    Examination,
    Findings,
    RowCounts,
    SnapshotInfo,
    WriteLock,
)
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy
from soulsense_db.drivers.row_search import FoundRows
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.rehearsal import RehearsalSupport

T = TypeVar("T")


class Driver(ABC):
    """One database reached through one engine.

    ``lock_timeout``: seconds to wait for a lock on the live database before
    :class:`~soulsense_db.errors.DatabaseLockedError`. All methods raise only errors of the tree.
    """

    dialect: ClassVar[str]
    """``engine.dialect.name``."""

    url_drivers: ClassVar[frozenset[str]]
    """Python drivers of URLs for which :func:`engine_for` may take the dialect's own driver."""

    url_has_host: ClassVar[bool] = True
    """Whether a URL may name a server; a database that is a file has none."""

    suffix: ClassVar[str]
    """How the name of a backup file ends."""

    companions: ClassVar[fs.Companions] = fs.NO_COMPANIONS
    """What the database's library keeps beside a file while it is open, a backup included."""

    working_copies: ClassVar[tuple[str, ...]] = ()
    """How the names of the copies end that :meth:`load` may make, hidden beside the database."""

    longest_path: ClassVar[int | None] = None
    """Bytes of the longest path of a file that the driver opens; None: as the system allows."""

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        self.engine = engine
        self.lock_timeout = lock_timeout

    @classmethod
    def rehearsal(cls) -> RehearsalSupport | None:
        """Return what a rehearsal of migrations needs to know; None: there can be none."""
        return None

    @classmethod
    def plain_url(cls, url: URL) -> URL:
        """Return ``url`` with a Python driver that needs no event loop: by default SQLAlchemy's."""
        return url.set(drivername=url.get_backend_name())

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

    def size_now(self) -> int:
        """Like :meth:`size`, as far as it can be told without waiting for a lock."""
        return self.size()

    def can_open(self, path: Path) -> bool:
        """Whether ``path`` is no longer than :attr:`longest_path`."""
        return self.longest_path is None or len(os.fsencode(path)) <= self.longest_path

    def explained(self) -> AbstractContextManager[None]:
        """Turn errors of the dialect's library, in the block, into errors of the tree.

        For code that uses a connection of the application's; by default they stay what they are.
        """
        return nullcontext()

    def write_stamp(self) -> object:
        """Return what is another value once somebody has written to the live database.

        It takes no lock and opens nothing; always the same where that cannot be told so.
        """
        return None

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Yield a function that tells whether somebody has written since the block began.

        By default it goes by :meth:`write_stamp`.
        """
        before = self.write_stamp()
        yield lambda: self.write_stamp() != before

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

    def diff(
        self,
        first: Path,
        second: Path,
        *,
        ignore: Collection[str] = (),
        only: Collection[str] = (),
        rows: int = 0,
        of_live: Collection[Path] = (),
        progress: Progress | None = None,
    ) -> DiffReport:
        """Find what differs between two database files that nobody writes to.

        Tables named in ``ignore`` are left out, and with ``only`` all others than these; ``rows``:
        how many samples of each kind and table are kept. ``of_live``: the files that are copies of
        the live database, so that what is wrong with one is said of that. Nothing is written, and
        memory stays flat. Of ``progress`` the numbers are rows, those of both; it is called several
        times a second, and what it raises cancels.

        Raises :class:`~soulsense_db.errors.OptionError` for a table of ``only`` that neither has,
        :class:`~soulsense_db.errors.InvalidBackupError` for a file that is not whole. By default
        :class:`~soulsense_db.errors.UnsupportedDatabaseError`.
        """
        raise no_diff(self.dialect)

    @abstractmethod
    def row_counts(self, backup: Path, *, ignore: Collection[str]) -> tuple[RowCounts, ...]:
        """Count the rows of all tables of the backup file ``backup`` and of the live database.

        Tables named in ``ignore`` are left out. A live database that is missing or cannot be read
        is no error. Raises :class:`~soulsense_db.errors.InvalidBackupError`.
        """

    def count_rows(
        self, source: Path, *, poll: Callable[[], object] | None = None
    ) -> Mapping[str, int] | None:
        """Return how many rows each table of the backup file ``source`` has.

        None where that cannot be told, as by default. ``poll`` as for :meth:`check`. Raises
        :class:`~soulsense_db.errors.InvalidBackupError`.
        """
        del source, poll
        return None

    def scratch(self, path: Path) -> Driver | None:
        """Return the driver of a new database that a backup is restored to, to try that.

        ``path``: a name that nothing has, in an empty directory of its own, which is removed
        afterwards with all that is in it. The database does not exist before
        :meth:`rebuild`, and not after :meth:`discard`, which is called in any case. None, as by
        default: backups of this dialect cannot be drilled.
        """
        del path
        return None

    def discard(self) -> None:
        """Remove the database, which is one of :meth:`scratch`, where it is not in its folder."""
        return

    def examine(self, *, poll: Callable[[], object] | None = None) -> Examination:
        """Look at all of the database, which is one of :meth:`scratch` that nobody else uses.

        ``poll`` and errors as of :meth:`check`; by default the database's file is checked.
        """
        path = self.location
        if path is None:
            raise NotImplementedError(f"{type(self).__name__}.examine")
        return Examination(
            findings=self.check(path, level="full", poll=poll),
            row_counts=self.count_rows(path, poll=poll),
            alembic_heads=self.heads_in(path),
        )

    def query(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Return the rows of one ``SELECT`` of somebody else's, the first few of them.

        It MUST NOT be able to write anywhere. Raises :class:`~soulsense_db.drivers.QueryError` for
        what is none, or fails, and :class:`NotImplementedError` where :meth:`scratch` returns None.
        """
        raise NotImplementedError(statement)

    def plan_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        samples: int = 0,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Return what :meth:`load_rows` would do; no lock is held for long, nothing is written.

        ``samples``: how many rows to show. By default it is refused, as :meth:`load_rows` is.
        """
        raise no_single_rows(self.dialect)

    def find_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        text: str = "",
        differing: bool = False,
        limit: int = 100,
        progress: Progress | None = None,
    ) -> FoundRows:
        """Return rows of ``source`` that the live database has not, ``limit`` of them at most.

        ``selection``: its table, and what is protected. ``text``: words that a row must have;
        ``differing``: also rows that the live database has with other values. By default it is
        refused, as :meth:`load_rows` is. Of ``progress`` the numbers are rows.
        """
        raise no_single_rows(self.dialect)

    def load_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        safety: SafetyCopy,
        expected: RowsPlan | None = None,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Write chosen rows of the backup file ``source`` to the live database: all or none.

        All is one transaction. ``safety`` has a copy of all that was committed before it, and is
        told right before and after the commit; where nothing is to be written, it is not asked.
        Raises :class:`~soulsense_db.errors.RowsRefusedError`, also where something else would be
        done than ``expected``. Of ``progress`` the numbers are rows.
        """
        raise no_single_rows(self.dialect)

    @abstractmethod
    def write_locked(self) -> AbstractContextManager[WriteLock]:
        """Keep writers out, readers not, until the hold is released.

        Raises :class:`~soulsense_db.errors.DatabaseLockedError` after ``lock_timeout``.
        """

    def exclusive(self, *, timeout: float) -> AbstractContextManager[None]:
        """Keep restores and migrations of other machines away until the block ends.

        For a database that several machines reach; those of this one have a lock file. By default
        nothing is done. Raises :class:`~soulsense_db.errors.DatabaseLockedError` after ``timeout``
        seconds.
        """
        del timeout
        return nullcontext()

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

    def kept_state(self, folder: Path) -> Callable[[], None]:
        """Keep all committed data as it is now; return what puts it back, as often as called.

        For tests of applications: it need not be durable, and should be quick. ``folder`` has room
        for a file that stays as long as it is needed. By default what it returns is :meth:`load`.
        """
        kept = folder / f"kept{self.suffix}"
        kept.touch(mode=0o600)
        self.snapshot(kept)
        return functools.partial(self.load, kept)

    def make_read_only(self, connection: Any) -> None:
        """Let ``connection``, one of the engine's, only read, if the database can do that.

        Code of the application gets it, which is to say which database it uses and no more. By
        default nothing is done.
        """
        del connection

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
    def alembic_heads(self, version_table: str) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None without that table."""

    @abstractmethod
    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        """Run ``work`` in a transaction of a private connection and return what it returns.

        With ``write`` it holds the write lock from the beginning.

        The connection comes from the engine's own creator, never from its pool: nobody's open
        transaction is joined.
        """

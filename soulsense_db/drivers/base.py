"""What a driver is: what it has to do, and what it may do besides.

A driver knows one database dialect and nothing of backup directories, meta files or catalogs: it
gets an engine and paths. To add a dialect, write a :class:`Driver`, name it in an entry point
(:mod:`~soulsense_db.drivers.registry`), and run the shared suite over it:
:class:`soulsense_db.testing.DriverSuite`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Connection, Engine

from soulsense_db import fs
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.errors import no_diff, no_single_rows
from soulsense_db.drivers.required import RequiredMethods
from soulsense_db.drivers.results import Examination, SnapshotInfo, WriteLock
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy
from soulsense_db.drivers.row_search import FoundRows
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.rehearsal import RehearsalSupport


class Driver(RequiredMethods):
    """One database reached through one engine.

    ``lock_timeout``: seconds to wait for a lock on the live database before
    :class:`~soulsense_db.errors.DatabaseLockedError`. All methods raise only errors of the tree.
    """

    url_has_host: ClassVar[bool] = True
    """Whether a URL may name a server; a database that is a file has none."""

    rolls_back_schema: ClassVar[bool] = False
    """Whether a rollback takes back all that was done to tables, whatever it was.

    Then a migration that failed may be left to it, once :meth:`has_schema_of` says that it was.
    """
    has_schemas: ClassVar[bool] = False
    """Whether schemas, as Alembic's ``version_table_schema`` names one, are parts of the database.

    Where they are not, such a name is that of another database.
    """

    companions: ClassVar[fs.Companions] = fs.NO_COMPANIONS
    """What the database's library keeps beside a file while it is open, a backup included."""

    working_copies: ClassVar[tuple[str, ...]] = ()
    """How the names of the copies end that :meth:`load` may make, hidden beside the database."""

    longest_path: ClassVar[int | None] = None
    """Bytes of the longest path of a file that the driver opens; None: as the system allows."""

    @classmethod
    def engine_for_commands(cls, url: URL) -> Engine:
        """Return an engine on ``url``, with a Python driver that needs no event loop.

        By default with the one that SQLAlchemy takes where none is named.
        """
        return create_engine(url.set(drivername=cls.dialect))

    @classmethod
    def rehearsal(cls) -> RehearsalSupport | None:
        """Return what a rehearsal of migrations needs to know; None: there can be none."""
        return None

    def rehearsal_here(self) -> RehearsalSupport | None:
        """Like :meth:`rehearsal`, for copies of this very database."""
        return self.rehearsal()

    @property
    def keeps_replaced(self) -> bool:
        """Whether a restore calls :meth:`exchange`, and makes the safety backup of what that kept.

        Else the safety backup is made first, with writers locked out, as by default.
        """
        return False

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

    def dumped_at(self, source: Path) -> datetime | None:
        """Return when the data of a file was taken, if the file itself tells; aware, UTC.

        By default it does not tell.
        """
        del source
        return None

    def require_comparable(self, backup: Path) -> None:
        """Raise where ``backup`` has no rows to compare: no snapshot is taken for that then.

        By default all can be compared.
        """
        del backup

    def has_schema_of(self, backup: Path, *, ignore: Collection[str]) -> bool:
        """Whether the live database has the tables of ``backup``, and all else but the rows.

        By default as :meth:`compare` finds it.
        """
        return self.compare(backup, ignore=ignore).same_schema

    def mark_transaction(self, connection: Connection) -> str:
        """Return what tells the transaction that has just begun on ``connection`` from others.

        ``connection``: an application's; nothing is begun or ended on it. By default nothing does.
        """
        del connection
        return ""

    def has_committed(self, marks: Sequence[str]) -> bool:
        """Whether one of the transactions with these ``marks`` was committed."""
        del marks
        return False

    def share_table(self, connection: Connection, table: str) -> None:
        """Let those to whom the other tables belong use a ``table`` that was made just now.

        ``connection``: of the transaction that has made it. By default nothing needs to be done.
        """
        del connection, table

    def migration_note(self) -> str:
        """Return what :meth:`set_migration_note` has left, empty where nothing is there."""
        return ""

    def set_migration_note(
        self, text: str, *, tables: Collection[tuple[str | None, str]] = ()
    ) -> None:
        """Keep a text where every machine that reaches the database sees it; empty: remove it.

        ``tables``: schema and name of the version tables that it is about. By default nothing is
        kept.
        """
        del text, tables

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

    @property
    def is_on_private_server(self) -> bool:
        """Whether the database, which is one of :meth:`scratch`, is on a server of our own."""
        return False

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

    def exclusive(self, *, timeout: float) -> AbstractContextManager[None]:
        """Keep restores and migrations of other machines away until the block ends.

        For a database that several machines reach; those of this one have a lock file. By default
        nothing is done. Raises :class:`~soulsense_db.errors.DatabaseLockedError` after ``timeout``
        seconds.
        """
        del timeout
        return nullcontext()

    def require_way_back(self) -> None:
        """Raise what would keep a :meth:`load` from writing now, by taking its locks for a moment.

        Where a load takes no lock of writers, it need not. By default it takes the write lock.
        """
        with self.connected(), self.write_locked():
            pass

    def require_loadable(self, facts: Mapping[str, str]) -> None:
        """Raise where the server would not take a backup with these facts of its snapshot.

        By default nothing is asked.
        """
        del facts

    def require_rights(self) -> None:
        """Raise where the database's user must not do what a restore does.

        A backup may be made without these rights. By default nothing is asked.
        """
        return

    def server_id(self) -> str:
        """Return what tells the database's server from all others, whatever address it has.

        Empty where there is no server, or nothing tells, as by default. A copy of the server, such
        as a standby, has the same.
        """
        return ""

    def way_of_restore(self) -> str:
        """Return what is unusual about how a restore would be made here, and why: a sentence.

        Empty where it is made as the dialect's restores are, as by default.
        """
        return ""

    def prepared(
        self, source: Path, *, progress: Progress | None = None
    ) -> AbstractContextManager[None]:
        """Do what a :meth:`load` of ``source`` in the block can do without the write lock.

        So that writers wait for the rest alone. By default nothing is done. Errors and ``progress``
        as of :meth:`load`.
        """
        del source, progress
        return nullcontext()

    def exchange(
        self,
        source: Path,
        *,
        purpose: str,
        write_lock: WriteLock | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Like :meth:`load`, where ``keeps_replaced``: the replaced data stays beside the new.

        ``purpose``: what its copy will be for, a word for :meth:`replaced_without_copy`.

        What is committed once ``write_lock`` is released is in the replaced data.
        A load of the copy that :meth:`keep_replaced` was told of may then put it back as it is.
        """
        raise NotImplementedError(f"{type(self).__name__}.exchange")

    def replaced_without_copy(self) -> str | None:
        """Return the purpose of replaced data that :meth:`keep_replaced` was not called for.

        That is what an :meth:`exchange` leaves, also where the process was killed after it. None
        without any, and where not ``keeps_replaced``.
        """
        return None

    def unfinished(self) -> str:
        """Return what a restore that was cut off has left to do, or one that runs is to do.

        As a part of a sentence; empty where there is nothing, as by default. Nothing is changed.
        """
        return ""

    def holding_replaced(self) -> AbstractContextManager[None]:
        """Keep others from writing to that data, from before its snapshot until it is noted.

        For the block, in which :meth:`snapshot_replaced` and then :meth:`keep_replaced` are called.
        By default nobody is kept from anything.
        """
        return nullcontext()

    def snapshot_replaced(self, target: Path) -> SnapshotInfo:
        """Write that data to the existing empty file ``target``, as :meth:`snapshot` does."""
        raise NotImplementedError(f"{type(self).__name__}.snapshot_replaced")

    def keep_replaced(self, copy: Path | None) -> None:
        """Keep that data as what the backup file ``copy`` has; drop what was kept before.

        With None that data is dropped, and what was kept before stays.
        """
        raise NotImplementedError(f"{type(self).__name__}.keep_replaced")

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

"""What a rehearsal of migrations has to know of a dialect.

A rehearsal runs the application's own code in a process of its own, on copies of its databases.
There each connection is led from the file that it names to the copy of it; before and after, the
copies are surveyed. :meth:`soulsense_db.drivers.Driver.rehearsal` returns that of a dialect; a
dialect without one cannot be rehearsed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from sqlalchemy.engine import Connection

from soulsense_db import fs
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.results import Findings, SnapshotInfo

Place = Callable[[Path], Path]
"""Returns the copy to be opened in the place of a database file; the file itself for a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSurvey:
    """What the values of one column add up to.

    ``values``: how many are not NULL; ``texts``: how many of those are text or blobs; ``length``:
    of all texts and blobs, in characters and bytes; ``total``: the sum of all numbers.
    """

    column: str
    values: int
    texts: int
    length: int
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSurvey:
    """What one table holds; ``parents``: tables whose deleted rows take rows of this one along.

    ``part_of``: tables of which this one is a part, so that their rows are its own.
    """

    table: str
    rows: int
    columns: tuple[ColumnSurvey, ...]
    parents: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSurvey:
    """What a database holds.

    ``alembic_heads``: by version table; ``schema``: the definition of each thing in it, by its
    name; ``columns``: those of all tables, as ``table.column``; ``unreadable``: tables that could
    not be surveyed.
    """

    size_bytes: int
    tables: tuple[TableSurvey, ...]
    alembic_heads: Mapping[str, tuple[str, ...]]
    schema: Mapping[str, str]
    columns: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """Tables that are the same in two databases, known without reading their rows.

    ``rows``: their rows are the same, with the values of all columns that the first has;
    ``checks``: so are their indexes and constraints: a check says the same of them.
    """

    rows: frozenset[str] = frozenset()
    checks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKeys:
    """Rows of a table that have other primary keys, and the same values in all other columns.

    ``rows``: how many; ``column``: the key, where it is one column; ``example``: the old and the
    new key of one of them, where these are numbers and it can be told; ``is_number``: whether the
    key is a number that means nothing but the row; ``has_changed``: whether a key may be the old
    one of another row, so that rows seem to have other values.
    """

    rows: int
    column: str
    example: tuple[int, int] | None
    is_number: bool
    has_changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """Where connections of migrations are led on a server.

    ``live`` and ``scratch``: the names of the databases there; ``copy``: the file whose data the
    scratch database has; ``server``: how the server of that is reached, where it is another one.
    """

    live: str
    scratch: str
    copy: str
    server: Mapping[str, str] = field(default_factory=dict)


class RehearsalSupport(ABC):
    """What a rehearsal does with databases of one dialect.

    They are files, or each has its place in a file: a dump, whose data is in a scratch database of
    the server while migrations run. Errors are those of the tree, unless it is said otherwise.
    """

    is_file: ClassVar[bool] = True
    """Whether a database is a file; else :meth:`led` and :meth:`lead` say where it is."""

    companions: ClassVar[fs.Companions] = fs.NO_COMPANIONS
    """As of the driver."""

    keeps_children: ClassVar[str] = ""
    """Lines for env.py that keep rows which refer, with ON DELETE CASCADE, to a table that is
    dropped to be created anew; empty where nothing removes them."""

    @abstractmethod
    def redirect(self, arguments: list[Any], keywords: dict[str, Any], place: Place) -> None:
        """Change what an engine gives its library so that it opens ``place(file)``.

        Source: SQLAlchemy's ``do_connect`` event. What is in memory stays as it is.
        """

    @abstractmethod
    def watch(
        self,
        place: Place,
        *,
        is_copy: Callable[[Path], bool],
        refuse: Callable[[Path, str], object],
    ) -> None:
        """Watch, for the rest of the process, what goes past the engines to the library itself.

        Connections made by a file's name are led to ``place(file)``. What cannot be led there is
        told to ``refuse`` (file, what was tried), which raises an :class:`OSError`.
        """

    def led(self, copy: Path) -> Led | None:
        """Return where connections are led whose data is that of ``copy``; None for a file."""
        del copy
        return None

    def lead(
        self,
        led: Led,
        *,
        passed_by: Callable[[], object],
        refuse: Callable[[str], BaseException],
    ) -> None:
        """Lead all connections of the process to a scratch database, for the rest of it.

        Whatever makes them. ``passed_by`` is told of one that no engine makes; ``refuse`` returns
        what is raised where one cannot be led there, or a statement changes more than a database:
        its argument says what that is, as the end of a sentence.
        """
        del led, passed_by, refuse

    def make_read_only(self, connection: Connection) -> None:
        """Have the server refuse what writes through ``connection``; nothing of a file's."""
        del connection

    def discard(self) -> None:
        """Drop what :meth:`prepare` has made on a server."""
        return

    @abstractmethod
    def unwatched(self) -> AbstractContextManager[None]:
        """Let this thread open, in the block, the files themselves."""

    @abstractmethod
    def file_of(self, connection: Connection) -> Path | None:
        """Return the file that ``connection`` has open, None in memory. No transaction is begun."""

    def names_in(self, connection: Connection) -> Collection[str] | None:
        """Return what there is in the database, such as ``table t`` and ``column t.c``.

        The kinds are those of :attr:`DatabaseSurvey.schema`, and columns. None where it cannot be
        told: this fails no migration. No transaction is begun.
        """
        del connection
        return None

    def already_there(self, message: str) -> str:
        """Return what an error says that is there already, as ``table t`` or ``column c``.

        ``message``: that of the library; empty where it says no such thing.
        """
        del message
        return ""

    @abstractmethod
    def writes(self, statement: str) -> bool:
        """Whether ``statement`` takes the lock of writers."""

    @abstractmethod
    def is_in_transaction(self, connection: Any) -> bool:
        """Whether a connection of the library itself, or of its async face, is in a transaction."""

    def without_effect(self, statement: str, connection: Connection) -> str:
        """Return why a statement that was just run did nothing; empty where it did something.

        What is returned follows "Step 1a2b ..." in a sentence.
        """
        del statement, connection
        return ""

    def given_up(self, seconds: float) -> str:
        """Return what becomes of others who wait to write for ``seconds``, in a sentence.

        Empty where they just wait.
        """
        del seconds
        return ""

    @abstractmethod
    def copy(self, source: Path, target: Path, *, lock_timeout: float) -> SnapshotInfo:
        """Copy the database file ``source``, which may be in use, to the empty ``target``."""

    @abstractmethod
    def prepare(self, copy: Path, facts: Mapping[str, str]) -> None:
        """Make ``copy`` behave as its source did; ``facts`` are those of its snapshot."""

    @abstractmethod
    def settle(self, copy: Path) -> None:
        """Undo in ``copy`` what was never committed, and bring all the rest into the one file."""

    def rename_back(
        self,
        copy: Path,
        *,
        tables: Mapping[str, str],
        columns: Mapping[tuple[str, str], str],
    ) -> bool:
        """Give tables and columns of a settled ``copy`` their old names back.

        ``tables``: new names by old ones; ``columns``: new names by table (old name) and old one.
        Of the rest only rows matter from now on. Returns whether all of it could be done; by
        default nothing is.
        """
        del copy, tables, columns
        return False

    def unchanged(self, first: Path, second: Path) -> Unchanged:
        """Return what is known to be the same in two settled files; in doubt, nothing."""
        return Unchanged()

    @abstractmethod
    def survey(
        self,
        copy: Path,
        *,
        ignore: Collection[str],
        version_tables: Collection[str],
        counted: Collection[str] = (),
        known: Mapping[str, TableSurvey] = MappingProxyType({}),
    ) -> DatabaseSurvey:
        """Return what is in ``copy``, a settled file; tables named in ``ignore`` are left out.

        ``version_tables``: of Alembic, which are left out as well; ``counted``: tables of which
        only the rows are counted; ``known``: what is known already of tables.
        """

    @abstractmethod
    def diff(self, first: Path, second: Path, *, ignore: Collection[str]) -> DiffReport:
        """Return what differs from ``first`` to ``second``, row by row; both are settled files."""

    def new_keys(self, first: Path, second: Path, *, table: str) -> NewKeys | None:
        """Return which rows of a table have other primary keys in ``second``, and nothing else.

        None where that is not so, or cannot be shown; both are settled files.
        """
        del first, second, table
        return None

    @abstractmethod
    def check(
        self,
        copy: Path,
        *,
        without: Collection[str] = (),
        poll: Callable[[], object] | None = None,
    ) -> Findings:
        """Return what is wrong with rows and references in ``copy``, a settled file.

        ``without``: tables of which it is known already; what refers to others is looked at.
        ``poll`` is called now and then; what it raises cancels.
        """

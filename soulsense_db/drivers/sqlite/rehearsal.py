"""SQLite in a rehearsal: connections are led to copies, and what goes past that is stopped.

An engine's arguments are changed when it connects. What calls ``sqlite3.connect`` itself, by a
file's name or as the ``creator`` of an engine, is led to the copy as well, by a function of ours in
the place of that one. It gives each connection an authorizer that lets it ATTACH no file that
exists. A connection that is made in still another way is seen by an audit hook, and refused.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import sqlite3
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy.engine import Connection

from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.rehearsal import (
    DatabaseSurvey,
    NewKeys,
    Place,
    RehearsalSupport,
    TableSurvey,
    Unchanged,
)
from soulsense_db.drivers.results import Findings, SnapshotInfo
from soulsense_db.drivers.sqlite import check
from soulsense_db.drivers.sqlite.arguments import ConnectArguments
from soulsense_db.drivers.sqlite.attach_guard import authorize, guarded
from soulsense_db.drivers.sqlite.cancel import interruptible
from soulsense_db.drivers.sqlite.changed_pages import unchanged_tables
from soulsense_db.drivers.sqlite.diff import Opened, diff
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.files import COMPANIONS, connect_new
from soulsense_db.drivers.sqlite.identity import path_of
from soulsense_db.drivers.sqlite.new_keys import new_keys
from soulsense_db.drivers.sqlite.pages import write_snapshot
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.drivers.sqlite.survey import survey
from soulsense_db.notices import log_ignored

# The first word of what takes no lock of writers; "BEGIN IMMEDIATE" does.
_READS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:SELECT|PRAGMA|EXPLAIN|VALUES|SAVEPOINT|RELEASE|ATTACH|DETACH|COMMIT|END|ROLLBACK"
    r"|BEGIN(?!\s+(?:IMMEDIATE|EXCLUSIVE))|WITH\b(?!.*\b(?:INSERT|UPDATE|DELETE|REPLACE)\b))\b",
    re.IGNORECASE | re.DOTALL,
)
# Ignored inside a transaction: https://www.sqlite.org/pragma.html#pragma_foreign_keys
_FOREIGN_KEYS = re.compile(
    r"\s*PRAGMA\s+(?:\w+\.)?foreign_keys\s*[=(]\s*['\"]?(\w+)", re.IGNORECASE
)
# As SQLite writes them, in alter.c and build.c
_DUPLICATE_COLUMN = re.compile(r"duplicate column name: (.+?)\s*$")
_EXISTS = re.compile(r"\b(table|index|view|trigger) [\"'`\[]?(.+?)[\"'`\]]? already exists")
_NAMES = (
    "SELECT type, name FROM main.sqlite_master UNION ALL SELECT 'column', m.name || '.' || c.name "
    "FROM main.sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
)
_ON = {"1", "on", "yes", "true"}
# https://docs.python.org/3/library/sqlite3.html#sqlite3.connect
_DEFAULT_TIMEOUT = 5.0
_CONNECT = "sqlite3.connect"
# When it connects, for Alembic may be in a transaction at each place later, and this one holds for
# all of its modes. A connection with autocommit=False is in one from its beginning:
# https://docs.python.org/3/library/sqlite3.html#sqlite3.Connection.autocommit
_KEEPS_CHILDREN = """\
# In env.py, below the line that makes the engine, connectable
# (of an async engine, listen to connectable.sync_engine)
from sqlalchemy import event

@event.listens_for(connectable, "connect")
def leave_foreign_keys_off(dbapi_connection, connection_record):
    # With autocommit=False: dbapi_connection.autocommit = True here,
    # and False again at the end.
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    cursor.close()
"""
# The place of the factory among the arguments of sqlite3.connect.
_FACTORY_AT = 5


class SQLiteRehearsalSupport(RehearsalSupport):
    """SQLite through ``sqlite3`` or ``aiosqlite``."""

    companions = COMPANIONS
    keeps_children = _KEEPS_CHILDREN

    def __init__(self) -> None:
        self._own = threading.local()

    def redirect(self, arguments: list[Any], keywords: dict[str, Any], place: Place) -> None:
        """Put the copy's name in the place of the file's, with all options of a URI."""
        if not arguments:
            return
        name = os.fsdecode(os.fspath(arguments[0]))
        given = ConnectArguments.given([name, *arguments[1:]], keywords)
        path = path_of(given.file)
        if path is not None:
            arguments[0] = given.renamed(place(path))

    def watch(
        self,
        place: Place,
        *,
        is_copy: Callable[[Path], bool],
        refuse: Callable[[Path, str], object],
    ) -> None:
        """Put a function in the place of ``sqlite3.connect``, and an audit hook behind it."""
        connect = sqlite3.connect

        @functools.wraps(connect)
        def connect_to_copy(*arguments: Any, **keywords: Any) -> Any:
            given = list(arguments)
            if not given and "database" in keywords:
                given.append(keywords.pop("database"))
            if self._is_own:
                return connect(*given, **keywords)
            self.redirect(given, keywords, place)
            guard = functools.partial(authorize, refuse)
            if len(given) > _FACTORY_AT:
                given[_FACTORY_AT] = guarded(given[_FACTORY_AT], guard)
            else:
                keywords["factory"] = guarded(keywords.get("factory", sqlite3.Connection), guard)
            return connect(*given, **keywords)

        sqlite3.connect = sqlite3.dbapi2.connect = connect_to_copy

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == _CONNECT and not self._is_own:
                _require_copy(arguments[0], is_copy, refuse)

        sys.addaudithook(hook)

    @property
    def _is_own(self) -> bool:
        return getattr(self._own, "depth", 0) > 0

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Let this thread alone open the files themselves."""
        self._own.depth = getattr(self._own, "depth", 0) + 1
        try:
            yield
        finally:
            self._own.depth -= 1

    def file_of(self, connection: Connection) -> Path | None:
        """Ask SQLite, whatever the URL looks like."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute("SELECT file FROM pragma_database_list WHERE name = 'main'")
            row = cursor.fetchone()
        finally:
            cursor.close()
        return path_of(str(row[0])) if row and row[0] else None

    def names_in(self, connection: Connection) -> list[str] | None:
        """Ask SQLite's own table, and for the columns of each table."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(_NAMES)
            return [f"{kind} {name}" for kind, name in cursor.fetchall()]
        except sqlite3.Error as error:  # a name that is no text, a module that is not there
            log_ignored("What a step finds is not known", error)
            return None
        finally:
            cursor.close()

    def already_there(self, message: str) -> str:
        """Know what SQLite says of columns, and of all else."""
        if found := _DUPLICATE_COLUMN.search(message):
            return f"column {found[1]}"
        found = _EXISTS.search(message)
        return f"{found[1]} {found[2]}" if found else ""

    def writes(self, statement: str) -> bool:
        """Tell by the first word; what is not known writes."""
        return _READS.match(statement) is None

    def is_in_transaction(self, connection: Any) -> bool:
        """Ask the connection, which knows without a statement."""
        return bool(getattr(connection, "in_transaction", False))

    def without_effect(self, statement: str, connection: Connection) -> str:
        """See whether foreign keys are switched as the statement asks for."""
        asks = _FOREIGN_KEYS.match(statement)
        if asks is None or not self.is_in_transaction(connection.connection.driver_connection):
            return ""
        cursor = connection.connection.cursor()
        try:
            cursor.execute("PRAGMA foreign_keys")
            row = cursor.fetchone()
        finally:
            cursor.close()
        if row is None or bool(row[0]) == (asks[1].lower() in _ON):
            return ""
        is_on = "on" if row[0] else "off"
        return (
            f"runs '{' '.join(statement.split())}' inside a transaction, where SQLite ignores it: "
            f"foreign keys stay {is_on}"
        )

    def given_up(self, seconds: float) -> str:
        """Know for how long a connection of Python waits, unless it says otherwise."""
        if seconds < _DEFAULT_TIMEOUT:
            return ""
        return (
            f"a connection of Python gives up after {_DEFAULT_TIMEOUT:g} s with 'database is "
            "locked', unless it has another timeout"
        )

    def copy(self, source: Path, target: Path, *, lock_timeout: float) -> SnapshotInfo:
        """Copy at one point in time, with what a log adds."""
        check.require_contents(source)
        opened = check.opened_in_use(source, lock_timeout=lock_timeout)
        with self.unwatched(), backup_errors(source), opened as connection:
            connection.execute("BEGIN")
            return write_snapshot(connection, target, lock_timeout=lock_timeout, progress=None)

    def prepare(self, copy: Path, facts: Mapping[str, str]) -> None:
        """Give the copy the journal mode of its source: locks behave differently in WAL mode."""
        if facts.get("journal_mode") == "wal":
            with self.unwatched(), closing(connect_new(copy)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")

    def settle(self, copy: Path) -> None:
        """Open it once, which rolls back, and take it out of WAL mode."""
        with (
            self.unwatched(),
            backup_errors(copy),
            closing(sqlite3.connect(copy, isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()

    def rename_back(
        self,
        copy: Path,
        *,
        tables: Mapping[str, str],
        columns: Mapping[tuple[str, str], str],
    ) -> bool:
        """Drop views and triggers, which could be in the way, and let SQLite rename."""
        kinds = "SELECT type, name FROM main.sqlite_master WHERE type IN ('view', 'trigger')"
        try:
            with self.unwatched(), closing(connect_new(copy)) as connection:
                connection.execute("PRAGMA foreign_keys = OFF")
                connection.execute("PRAGMA legacy_alter_table = ON")  # what refers to it may stay
                for kind, name in connection.execute(kinds).fetchall():
                    connection.execute(f"DROP {kind} main.{quoted(name)}")
                for old, new in tables.items():
                    # By way of another name: SQLite refuses one that differs by its case alone.
                    between = f"{old}_{secrets.token_hex(4)}"
                    for one, other in ((new, between), (between, old)):
                        connection.execute(
                            f"ALTER TABLE main.{quoted(one)} RENAME TO {quoted(other)}"
                        )
                for (table, old), new in columns.items():
                    connection.execute(
                        f"ALTER TABLE main.{quoted(table)} "
                        f"RENAME COLUMN {quoted(new)} TO {quoted(old)}"
                    )
        except (sqlite3.Error, UnicodeError) as error:
            log_ignored("What was renamed is not compared row by row", error)
            return False
        return True

    def unchanged(self, first: Path, second: Path) -> Unchanged:
        """Compare the pages."""
        with self.unwatched():
            return unchanged_tables(first, second)

    def survey(
        self,
        copy: Path,
        *,
        ignore: Collection[str],
        version_tables: Collection[str],
        counted: Collection[str] = (),
        known: Mapping[str, TableSurvey] = MappingProxyType({}),
    ) -> DatabaseSurvey:
        """Count and add up, in one pass over each table."""
        with self.unwatched(), backup_errors(copy):
            return survey(
                copy, ignore=ignore, version_tables=version_tables, counted=counted, known=known
            )

    def diff(self, first: Path, second: Path, *, ignore: Collection[str]) -> DiffReport:
        """Compare row by row."""
        with self.unwatched(), check.opened(first) as before, check.opened(second) as after:
            sides = Opened(before, first), Opened(after, second)
            return interruptible(lambda: diff(*sides, ignore=ignore), before, after)

    def new_keys(self, first: Path, second: Path, *, table: str) -> NewKeys | None:
        """Compare all values but those of the key."""
        with self.unwatched(), check.opened(first) as before, check.opened(second) as after:
            sides = Opened(before, first), Opened(after, second)
            return interruptible(lambda: new_keys(*sides, table), before, after)

    def check(
        self,
        copy: Path,
        *,
        without: Collection[str] = (),
        poll: Callable[[], object] | None = None,
    ) -> Findings:
        """Run ``integrity_check`` and ``foreign_key_check``."""
        with self.unwatched():
            return check.check_own(copy, without=without, poll=poll)


def _require_copy(
    name: Any, is_copy: Callable[[Path], bool], refuse: Callable[[Path, str], object]
) -> None:
    text = os.fsdecode(os.fspath(name))
    path = path_of(ConnectArguments.given([text], {"uri": text.startswith("file:")}).file)
    if path is not None and not is_copy(path):
        refuse(path, "open")

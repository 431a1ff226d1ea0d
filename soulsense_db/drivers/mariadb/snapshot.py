"""Take a snapshot: one transaction of ``mariadb-dump``, with no table changing its shape meanwhile.

A column that is added while the program runs makes its dump inconsistent, and it ends well
(measured). Where the user may, the server keeps such statements waiting; else all of the schema is
compared before and after, and a dump of two schemas is made once more.

Rows are counted in what the program writes: so they are of its own moment.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db import fs
from soulsense_db.drivers.mariadb import archive, inventory, obstacles
from soulsense_db.drivers.mariadb.contents import RowCounter
from soulsense_db.drivers.mariadb.errors import (
    code_of,
    column_not_dumped,
    ended_early,
    event_not_dumped,
    name_not_dumped,
    view_broken,
)
from soulsense_db.drivers.mariadb.inventory import Inventory
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.notes import Kept
from soulsense_db.drivers.mariadb.replica import warn_if_behind
from soulsense_db.drivers.mariadb.restore_errors import LONGEST_ROWS
from soulsense_db.drivers.mariadb.statements import execute, quoted
from soulsense_db.drivers.mariadb.tools import Tools, series
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import locked
from soulsense_db.errors import BackupError
from soulsense_db.notices import warn
from soulsense_db.progress import Progress

_ATTEMPTS = 5
_ALWAYS = (
    "--single-transaction",
    "--quick",
    "--hex-blob",
    "--skip-dump-date",
    # A table whose default is a sequence's next value cannot be loaded with them.
    "--skip-add-locks",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)
LONGEST_ROW = "longest_row"
"""The fact that says how many bytes the longest row has, as it is written."""
_WITH_HISTORY = (10, 11)
_UNREADABLE = (1356, 1449, 1054, 1142, 1146, 1305, 1370)
_NO_DEFINER = (1449,)
# No right, no such statement, or another backup of the server has it.
_NO_STAGE = (1227, 1064, 1205, 4145, 4146)


def write(
    login: Login,
    tools: Tools,
    target: Path,
    *,
    name: str,
    lock_timeout: float,
    without: Collection[str] = (),
    progress: Progress | None,
) -> SnapshotInfo:
    """Write all that is committed to the existing empty file ``target``.

    ``without``: sequences of ours in the live schema.
    """
    for _ in range(_ATTEMPTS):
        writing = _Writing(
            login,
            tools,
            name=name,
            lock_timeout=lock_timeout,
            without=without,
            progress=progress,
        )
        with fs.storage_errors("write", target), target.open("r+b") as stream:
            stream.truncate()
            described = writing.to(stream)
            if described is None:
                continue
            info = writing.end(stream, described)
        if progress is not None:
            progress(info.size_bytes, info.size_bytes)
        return info
    raise locked(name, "its tables are created or changed all the time")


def write_kept(
    login: Login, tools: Tools, target: Path, schema: str, kept: Kept, *, name: str
) -> SnapshotInfo:
    """Write to the existing empty file ``target`` what was live, whose tables are in ``schema``."""
    writing = _Writing(login, tools, name=name, lock_timeout=0, without=(), progress=None)
    with fs.storage_errors("write", target), target.open("r+b") as stream:
        stream.truncate()
        described = writing.kept_to(stream, schema, kept)
        return writing.end(stream, described)


def programs_of(
    login: Login, tools: Tools, before: Inventory, *, name: str, without: Collection[str]
) -> dict[str, bytes]:
    """Return the sections of a backup but for its tables, as they are now.

    ``without``: sequences and views in the live schema that are left out.
    """
    require_dumpable(before, name)
    stream = io.BytesIO()
    writing = _Writing(login, tools, name=name, lock_timeout=0, without=without, progress=None)
    sections = writing.programs(stream, before)
    data = stream.getvalue()
    return {what: data[section.begin : section.end] for what, section in sections.items()}


def require_dumpable(found: Inventory, name: str) -> None:
    """Raise for what ``mariadb-dump`` cannot write, or not so that it can be counted.

    Source: ``create_delimiter`` in its ``mysqldump.c`` looks for a delimiter of an event, and looks
    for the same one again and again.
    """
    for one in found.tables:
        if "\n" in one.name:
            raise name_not_dumped(name, one.name)
        for column in one.columns:
            if "\n" in column:
                raise column_not_dumped(name, one.name, column)
    for item in found.items:
        if item.kind == "EVENT" and ";;" in item.statement:
            raise event_not_dumped(name, item.name)


class _Writing:
    """One attempt to dump a database."""

    def __init__(
        self,
        login: Login,
        tools: Tools,
        *,
        name: str,
        lock_timeout: float,
        without: Collection[str],
        progress: Progress | None,
    ) -> None:
        self._login, self._tools, self._name = login, tools, name
        self._lock_timeout, self._progress = lock_timeout, progress
        self._without = without
        self._digest, self._done, self._estimate = hashlib.sha256(), 0, 0
        self._counter = RowCounter()

    def to(self, stream: BinaryIO) -> archive.Description | None:
        """Write all sections; None where something changed its shape meanwhile."""
        schema = self._login.database
        with ExitStack() as stack:
            connect = self._login.connected(name=self._name, lock_timeout=self._lock_timeout)
            connection = stack.enter_context(connect)
            stack.enter_context(self._no_changes_of_tables())
            before = self._taken(connection)
            warn_if_behind(connection, self._name)
            if broken := broken_views(connection, schema, before):
                raise view_broken(self._name, broken)
            require_dumpable(before, self._name)
            stack.enter_context(self._tables_without_transactions(connection, before))
            if self._progress is not None:
                self._estimate = inventory.size(connection, schema)
            self._write(stream, archive.MAGIC)
            try:
                sections = self._sections(stream, before)
            except BackupError:
                # On a cluster the other nodes end what is in the way of a change of tables.
                if self._taken(connection) == before:
                    raise
                return None
            version = inventory.version(connection)
            written = inventory.as_written(connection, schema)
            needed = obstacles.packet_needed(connection, self._counter.longest)
            if needed is not None:
                helps = f"Before one, let an administrator execute {needed}"
                warn(
                    f"A row of {self._name} is longer than its server takes in a restore. "
                    f"{helps if needed else LONGEST_ROWS}"
                )
            # A proxy may have led the program to a node that had not heard of all tables yet.
            if self._taken(connection) != before or self._lacks(before):
                return None
        return self._described(before, version, sections, written)

    def kept_to(self, stream: BinaryIO, schema: str, kept: Kept) -> archive.Description:
        """Write all sections: tables that are in ``schema`` now, and what was kept of the rest."""
        with self._login.connected(name=self._name) as connection:
            version = inventory.version(connection)
            live = inventory.as_written(connection, self._login.database)
            # The swap took what was there then, which may be more than was noted before it.
            before = inventory.with_programs_of(
                inventory.take(connection, schema, name=self._name),
                kept.inventory,
                live=live,
            )
        self._write(stream, archive.MAGIC)
        sections = {"tables": self._rows(stream, before, schema)}
        if self._lacks(before):
            raise locked(self._name, "its node does not have what others have")
        for what, text in kept.sections.items():
            begin = self._done
            self._write(stream, text)
            sections[what] = archive.Section(begin=begin, end=self._done)
        return self._described(before, version, sections, live)

    def _lacks(self, before: Inventory) -> bool:
        return not {one.name for one in before.tables} <= self._counter.tables

    def _taken(self, connection: Connection) -> Inventory:
        found = inventory.take(connection, self._login.database, name=self._name)
        return inventory.without(found, self._without)

    def _described(
        self,
        before: Inventory,
        version: str,
        sections: Mapping[str, archive.Section],
        schema: str,
    ) -> archive.Description:
        return archive.Description(
            size_bytes=self._done,
            sha256=self._digest.hexdigest(),
            version=version,
            schema=schema,
            sections=dict(sections),
            tables=tuple(
                archive.Table(
                    name=one.name,
                    columns=one.columns,
                    key=() if one.is_versioned else one.key,
                    rows=self._counter.counts[one.name],
                )
                for one in before.tables
            ),
            items=tuple(sorted(before.items)),
            triggers=before.triggers,
            heads=self._counter.heads,
            longest_row=self._counter.longest,
        )

    @contextmanager
    def _no_changes_of_tables(self) -> Iterator[None]:
        """Keep statements that change tables waiting, in all of the server, where the user may.

        Not on a cluster: its node would keep all writers waiting, and locks that are rows as well.
        """
        with self._login.connected(name=self._name, lock_timeout=1) as connection:
            if inventory.is_in_a_cluster(connection):
                yield
                return
            try:
                execute(connection, "BACKUP STAGE START")
                execute(connection, "BACKUP STAGE BLOCK_DDL")
            except DBAPIError as error:
                if code_of(error) not in _NO_STAGE:
                    raise
            yield

    @contextmanager
    def _tables_without_transactions(
        self, connection: Connection, before: Inventory
    ) -> Iterator[None]:
        """Lock the tables whose rows would not be of one moment."""
        without = inventory.engines_without_transactions(connection)
        names = [one.name for one in before.tables if one.engine in without]
        with self._login.connected(name=self._name, lock_timeout=self._lock_timeout) as private:
            if names:
                listed = ", ".join(f"{quoted(self._login.database, one)} READ" for one in names)
                execute(private, f"LOCK TABLES {listed}")
            yield

    def _sections(self, stream: BinaryIO, before: Inventory) -> Mapping[str, archive.Section]:
        schema = self._login.database
        tables = self._rows(stream, before, schema)
        return {"tables": tables, **self.programs(stream, before)}

    def _rows(self, stream: BinaryIO, before: Inventory, schema: str) -> archive.Section:
        """Write the section of the tables, and count their rows."""
        ignored = _ignored(schema, [*before.names("VIEW"), *self._without])
        history = ("--dump-history",) if self._keeps_history(before) else ()
        return self._section(stream, ("--skip-triggers", *history, *ignored), schema, self._counter)

    def programs(self, stream: BinaryIO, before: Inventory) -> dict[str, archive.Section]:
        """Write the sections of all but tables, as far as there is something for each."""
        schema = self._login.database
        no_rows = ("--no-data", "--skip-triggers")
        no_tables = ("--no-data", "--no-create-info")
        views, tables = before.names("VIEW"), [one.name for one in before.tables]
        sequences = before.names("SEQUENCE")
        wanted: list[tuple[str, tuple[str, ...]]] = []
        if before.names(*inventory.ROUTINES):
            wanted.append(("routines", (*no_tables, "--skip-triggers", "--routines")))
        if views:
            wanted.append(("views", (*no_rows, *_ignored(schema, [*tables, *sequences]))))
        if before.triggers:
            wanted.append(("triggers", (*no_tables, "--triggers")))
        if before.names("EVENT"):
            wanted.append(("events", (*no_tables, "--skip-triggers", "--events")))
        left_out = tuple(_ignored(schema, self._without))
        return {
            what: self._section(stream, (*arguments, *left_out), schema)
            for what, arguments in wanted
        }

    def _keeps_history(self, before: Inventory) -> bool:
        has_history = any(one.is_versioned for one in before.tables)
        return has_history and series(self._tools.version) >= _WITH_HISTORY

    def _section(
        self,
        stream: BinaryIO,
        arguments: tuple[str, ...],
        schema: str,
        counter: RowCounter | None = None,
    ) -> archive.Section:
        """Write what the program does; ``counter`` counts the rows, where what it writes has any.

        What looks like a row elsewhere is a part of a program's text.
        """
        begin, counter = self._done, counter or RowCounter()
        with self._tools.dumping(self._login, *_ALWAYS, *arguments, "--", schema) as output:
            while chunk := output.read(archive.CHUNK):
                counter.feed(chunk)
                self._write(stream, chunk)
        counter.finish()
        if not counter.is_completed:
            raise ended_early(self._name)
        self._write(stream, b"\n")
        return archive.Section(begin=begin, end=self._done)

    def end(self, stream: BinaryIO, described: archive.Description) -> SnapshotInfo:
        """Write what is known of the backup behind it."""
        ending = archive.ending(described)
        stream.write(ending)
        self._digest.update(ending)
        return info_of(described, self._done + len(ending), sha256=self._digest.hexdigest())

    def _write(self, stream: BinaryIO, chunk: bytes) -> None:
        stream.write(chunk)
        self._digest.update(chunk)
        self._done += len(chunk)
        if self._progress is not None:
            self._progress(self._done, max(self._done + 1, self._estimate))


def broken_views(connection: Connection, schema: str, found: Inventory) -> list[str]:
    """Return the views that cannot be dumped: ``mariadb-dump`` stops at the first of them.

    One whose definer is gone is written with the name of its database.
    """

    def is_refused(statement: str, codes: Collection[int]) -> bool:
        try:
            execute(connection, statement)
        except DBAPIError as error:
            return code_of(error) in codes
        return False

    return [
        view
        for view in found.names("VIEW")
        if is_refused(f"SHOW FIELDS FROM {quoted(schema, view)}", _UNREADABLE)
        or is_refused(f"SELECT 1 FROM {quoted(schema, view)} LIMIT 0", _NO_DEFINER)
    ]


def _ignored(schema: str, names: Iterable[str]) -> Iterator[str]:
    return (f"--ignore-table={schema}.{one}" for one in names)


def info_of(
    description: archive.Description, size_bytes: int, *, sha256: str | None = None
) -> SnapshotInfo:
    """Return what a driver tells of a backup file of this size; ``sha256``: as it was written."""
    facts = {"server_version": description.version}
    if description.longest_row:
        facts[LONGEST_ROW] = str(description.longest_row)
    return SnapshotInfo(
        size_bytes=size_bytes, alembic_heads=description.heads, facts=facts, sha256=sha256
    )

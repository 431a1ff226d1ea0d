"""The catalog: the ``backups`` table, all backups of a database as rows.

It lies inside the database it describes, so a restore rewinds it; the meta files are the truth, and
the table can be rebuilt from them at any time. A table of the same name that is not ours is never
touched: ours is known by its ``catalog_format`` column.

Several managers of one database may have each its own directory or prefix. Every row says whose it
is, in ``directory`` and ``prefix``, and a manager reads and writes its own rows only.

``filename`` is the primary key, as it always was, so that the application can hang rows of its own
on ours by a foreign key. Where two directories have a backup of the same name, the row that comes
second has the directory before its name: ``directory/name``. What an older version wrote has no
owner (both columns NULL) until the manager that has its file claims it; until then it stays as it
is. Columns that the application added stay, and so do rows: what has changed is updated, what is
missing inserted, and only what is gone deleted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import CatalogError
from soulsense_db.notices import ignoring

TABLE_NAME = "backups"
CATALOG_FORMAT = 2
_LARGEST = 2**63 - 1

metadata = sa.MetaData()
"""Add this to ``target_metadata`` to have the application's own migrations make the table."""


def _define(name: str, in_metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        name,
        in_metadata,
        sa.Column("filename", sa.String(255), primary_key=True),
        sa.Column("catalog_format", sa.Integer, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),  # UTC
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("alembic_heads", sa.Text, nullable=False),  # separated by commas
        sa.Column("target_revision", sa.String(255)),
        sa.Column("duration_seconds", sa.Float),
        # As seen from the database's own directory, so that both can be moved together.
        sa.Column("directory", sa.Text),
        sa.Column("prefix", sa.String(60)),
    )


backups = _define(TABLE_NAME, metadata)


@dataclass(frozen=True, slots=True)
class Owner:
    """The manager whose rows they are: its ``directory``, as rows have it, and its ``prefix``."""

    directory: str = ""
    prefix: str = ""

    @classmethod
    def of(cls, directory: Path, prefix: str, *, database: Path | None) -> Self:
        """Return the owner for an absolute ``directory`` and the file of the ``database``."""
        relative = fs.relative_path(directory, database.parent) if database else None
        return cls(_text(relative or str(directory), errors="backslashreplace"), prefix)

    def is_of(self, directory: str | None, prefix: str | None) -> bool:
        """Whether a row with these is its own."""
        return (directory, prefix) == (self.directory, self.prefix)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the table has, as far as one owner is concerned."""

    own: Mapping[str, bytes]  # keys by file name
    extra: Sequence[bytes]  # keys of rows of its own with a name that another row has
    unclaimed: frozenset[str]
    taken: frozenset[bytes]
    odd: frozenset[bytes]  # keys that are no text

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.own)


def catalog_option(text: str | None) -> str | bool:
    """Return what ``text`` of an option means: a name, ``none`` for no table, nothing for ours."""
    return False if text == "none" else text or True


class TableState(Enum):
    """What stands under the catalog's name in a database."""

    ABSENT = "absent"
    CURRENT = "current"
    OUTDATED = "outdated"
    FOREIGN = "foreign"


class Catalog:
    """The rows of ``owner`` in the catalog table under ``name``.

    Every method works in the caller's transaction.
    """

    def __init__(self, name: str = TABLE_NAME, owner: Owner | None = None) -> None:
        self.name = name
        self._owner = owner or Owner()
        self._table = backups if name == TABLE_NAME else _define(name, sa.MetaData())

    def state(self, connection: Connection) -> TableState:
        """Return what stands under the catalog's name."""
        inspector = sa.inspect(connection)
        tables = inspector.get_table_names()
        if self.name not in tables:
            # To SQL, a table "Backups" has our name as well.
            taken = {name.lower() for name in tables + inspector.get_view_names()}
            return TableState.FOREIGN if self.name.lower() in taken else TableState.ABSENT
        columns = self._columns(connection)
        if columns >= set(self._table.c.keys()):
            return TableState.CURRENT
        ours = {"catalog_format", "filename"} <= columns
        return TableState.OUTDATED if ours else TableState.FOREIGN

    def require_free(self, connection: Connection) -> None:
        """Raise :class:`CatalogError` when the name belongs to the application."""
        if self.state(connection) is TableState.FOREIGN:
            raise self.foreign()

    def foreign(self) -> CatalogError:
        """Return the error for a table that belongs to the application."""
        return CatalogError(
            f"The database has a table '{self.name}' that is not soulsense_db's.",
            hint="Choose another name: soulsense_catalog_table = soulsense_backups in alembic.ini, "
            "which migrations obey, too; --catalog-table soulsense_backups; or in Python "
            "BackupManager(engine, catalog='soulsense_backups'). To have no such table: none in "
            "the place of the name, or catalog=False.",
        )

    def prepare(
        self, connection: Connection, made: Callable[[Connection, str], None] | None = None
    ) -> None:
        """Make the table where it is absent, and bring an older layout up to date.

        ``made`` is called with the name of a table that was absent.
        """
        state = self.state(connection)
        if state is TableState.ABSENT:
            self._table.create(connection)
            if made is not None:
                made(connection, self.name)
        elif state is TableState.OUTDATED:
            there = self._columns(connection)
            for column in self._table.c:
                if column.name not in there:
                    connection.execute(_AddColumn(self._table, column))

    def record(self, connection: Connection, info: BackupInfo) -> frozenset[str] | None:
        """Write the row of one backup, and no other; return the file names of all own rows then.

        None when there is no current table (see :meth:`prepare`), or the name is taken.
        """
        if self.state(connection) is not TableState.CURRENT:
            return None
        found = self._read(connection)
        self._write(connection, found, [info])
        return found.names | {row_name(info.filename)}

    def forget(self, connection: Connection, filename: str) -> None:
        """Remove the row of one backup, if there is one."""
        state = self.state(connection)
        if state is TableState.OUTDATED:  # it has no owners
            name = self._table.c.filename
            connection.execute(sa.delete(self._table).where(name == row_name(filename)))
        elif state is TableState.CURRENT:
            found = self._read(connection)
            if (key := found.own.get(row_name(filename))) is not None:
                self._delete(connection, [key], found.odd)

    def names(self, connection: Connection) -> frozenset[str] | None:
        """Return the file names of all own rows, None when there is no current table."""
        if self.state(connection) is not TableState.CURRENT:
            return None
        return self._read(connection).names

    def rebuild(
        self,
        connection: Connection,
        infos: Iterable[BackupInfo],
        *,
        delete: bool = True,
    ) -> int | None:
        """Make the own rows those of ``infos``; return how many, None as :meth:`record` does.

        ``delete=False``: rows of backups that are gone stay. They do in any case where the
        application holds them by a foreign key.
        """
        if self.state(connection) is not TableState.CURRENT:
            return None
        wanted = list(infos)
        found = self._read(connection)
        if delete:
            there = {row_name(info.filename) for info in wanted}
            gone = [key for name, key in found.own.items() if name not in there]
            self._delete(connection, [*gone, *found.extra], found.odd)
        self._write(connection, found, wanted)
        return len(self._read(connection).own)

    def _columns(self, connection: Connection) -> set[str]:
        return {column["name"] for column in sa.inspect(connection).get_columns(self.name)}

    # The rows

    def _read(self, connection: Connection) -> _Rows:
        filename = self._table.c.filename
        # As bytes: a damaged one that is no text must not keep the others from being read.
        columns = [
            sa.cast(column, sa.LargeBinary)
            for column in (filename, self._table.c.directory, self._table.c.prefix)
        ]
        own: dict[str, bytes] = {}
        extra: list[bytes] = []
        unclaimed: set[str] = set()
        taken: set[bytes] = set()
        odd: set[bytes] = set()
        is_text = filename == sa.cast(filename, sa.Text)
        # The bytes are those of the database's own encoding.
        probe: bytes | None = connection.scalar(sa.select(sa.cast(sa.literal("a"), sa.LargeBinary)))
        codec = {b"a\0": "utf-16-le", b"\0a": "utf-16-be"}.get(probe or b"", "utf-8")
        for row in connection.execute(sa.select(*columns, is_text)):
            directory, prefix = row[1:3]
            raw: bytes = row[0] or b""  # a primary key of SQLite may be NULL
            name = _decoded(raw, codec)
            text = bool(row[3]) and name.encode(codec) == raw
            key = name.encode() if text else raw
            (taken if text else odd).add(key)
            if directory is None and prefix is None:
                unclaimed.add(name)
            elif self._owner.is_of(_decoded(directory, codec), _decoded(prefix, codec)):
                name = name.rpartition("/")[2]
                if name in own or not text:
                    extra.append(key)
                else:
                    own[name] = key
        return _Rows(own, extra, frozenset(unclaimed), frozenset(taken), frozenset(odd))

    def _write(self, connection: Connection, found: _Rows, infos: Iterable[BackupInfo]) -> None:
        """Insert the rows that are missing, update the values that differ, and nothing else."""
        missing: list[dict[str, Any]] = []
        present: list[dict[str, Any]] = []
        for info in infos:
            name = row_name(info.filename)
            row = _row(info, self._owner)
            if name in found.own:
                present.append(row | {"filename": _decoded(found.own[name])})
            elif name in found.unclaimed:
                present.append(row)
            elif name.encode() in found.taken:  # by a backup of that name in another directory
                missing.append(row | {"filename": f"{self._owner.directory}/{name}"})
            else:
                missing.append(row)
        if present:
            values = [{f"new_{name}": value for name, value in row.items()} for row in present]
            connection.execute(self._update_of_what_differs(), values)
        if missing:
            connection.execute(sa.insert(self._table), missing)

    def _update_of_what_differs(self) -> sa.Update:
        new = {
            column: sa.bindparam(f"new_{column.name}", type_=column.type)
            for column in self._table.c
        }
        key = self._table.c.filename
        others = {column: value for column, value in new.items() if column is not key}
        differs = sa.or_(*(column.is_distinct_from(value) for column, value in others.items()))
        return sa.update(self._table).where(key == new[key], differs).values(others)

    def _delete(self, connection: Connection, keys: Iterable[bytes], odd: frozenset[bytes]) -> None:
        column = self._table.c.filename
        for key in keys:
            found = (
                sa.cast(column, sa.LargeBinary) == key if key in odd else column == _decoded(key)
            )
            # The application's own row may need this one.
            with ignoring(sa.exc.IntegrityError, what="A row of the catalog could not be removed"):
                connection.execute(sa.delete(self._table).where(found))


class _AddColumn(ExecutableDDLElement):
    """``ALTER TABLE ... ADD COLUMN``: what was there has NULL in it."""

    def __init__(self, table: sa.Table, column: sa.Column[Any]) -> None:
        self.table = table
        self.column = column


@compiles(_AddColumn)
def _add_column(element: _AddColumn, compiler: DDLCompiler, **_: Any) -> str:
    table = compiler.preparer.format_table(element.table)
    column = compiler.preparer.format_column(element.column)
    of_type = compiler.dialect.type_compiler_instance.process(element.column.type)
    return f"ALTER TABLE {table} ADD COLUMN {column} {of_type}"


def row_name(name: str) -> str:
    """Return the file name in the row of a backup; a name that is no text is still a file's."""
    return _text(name)


def _row(info: BackupInfo, owner: Owner) -> dict[str, Any]:
    """Return the row of ``info``; every value is one that the column can hold."""
    return {
        "filename": row_name(info.filename),
        "catalog_format": CATALOG_FORMAT,
        "id": _text(info.id),
        "created_at": info.created_at.replace(tzinfo=None),
        "kind": _text(info.kind),
        "description": _text(info.description),
        "size_bytes": _whole(info.size_bytes) or 0,
        "sha256": _text_or_none(info.sha256),
        "alembic_heads": ",".join(map(_text, info.alembic_heads)),
        "target_revision": _text_or_none(info.target_revision),
        "duration_seconds": _real(info.duration_seconds),
        "directory": owner.directory,
        "prefix": owner.prefix,
    }


def _text(value: object, *, errors: str = "replace") -> str:
    """Return ``value`` as text that is valid Unicode; ``errors`` is for bytes that are none."""
    text = value if isinstance(value, str) else str(value)
    try:
        data = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        data = text.encode(errors="backslashreplace")
    return data.decode(errors=errors)


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _whole(value: object) -> int | None:
    fits = isinstance(value, int) and -_LARGEST <= value <= _LARGEST
    return int(value) if fits and isinstance(value, int) else None


def _real(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _decoded(data: bytes | None, codec: str = "utf-8") -> str:
    return (data or b"").decode(codec, errors="replace")

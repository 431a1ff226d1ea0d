"""The catalog: the ``backups`` table, all backups of a database as rows.

It lies inside the database it describes, so a restore rewinds it; the meta files are the truth, and
the table can be rebuilt from them at any time. A table of the same name that is not ours is never
touched: ours is known by its ``catalog_format`` column.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import CatalogError

TABLE_NAME = "backups"
CATALOG_FORMAT = 1

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
    )


backups = _define(TABLE_NAME, metadata)


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
    """The catalog table under ``name``. Every method works in the caller's transaction."""

    def __init__(self, name: str = TABLE_NAME) -> None:
        self.name = name
        self._table = backups if name == TABLE_NAME else _define(name, sa.MetaData())

    def state(self, connection: Connection) -> TableState:
        """Return what stands under the catalog's name."""
        inspector = sa.inspect(connection)
        tables = inspector.get_table_names()
        if self.name not in tables:
            # To SQL, a table "Backups" has our name as well.
            taken = {name.lower() for name in tables + inspector.get_view_names()}
            return TableState.FOREIGN if self.name.lower() in taken else TableState.ABSENT
        columns = {column["name"] for column in inspector.get_columns(self.name)}
        if columns == set(self._table.c.keys()):
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
            f"The database has a table '{self.name}' that is not soulsense_db's. It was left "
            "alone and nothing was changed.",
            hint="Give ours another name: BackupManager(engine, catalog='soulsense_backups') or "
            "--catalog-table soulsense_backups; or none: catalog=False.",
        )

    def record(
        self, connection: Connection, info: BackupInfo, *, make_table: bool
    ) -> frozenset[str] | None:
        """Add the row of one backup; return the file names of all rows then.

        None when there is no current table and ``make_table`` is false, or the name is taken.
        """
        if not self._ready(connection, make_table=make_table):
            return None
        connection.execute(
            sa.delete(self._table).where(self._table.c.filename == row_name(info.filename))
        )
        connection.execute(sa.insert(self._table), _row(info))
        return self._names(connection)

    def forget(self, connection: Connection, filename: str) -> None:
        """Remove the row of one backup, if there is one."""
        if self._ready(connection, make_table=False):
            connection.execute(
                sa.delete(self._table).where(self._table.c.filename == row_name(filename))
            )

    def names(self, connection: Connection) -> frozenset[str] | None:
        """Return the file names of all rows, None when there is no current table."""
        if self.state(connection) is not TableState.CURRENT:
            return None
        return self._names(connection)

    def rebuild(
        self, connection: Connection, infos: Iterable[BackupInfo], *, make_table: bool
    ) -> int | None:
        """Replace all rows by ``infos``; return how many, None as :meth:`record` does."""
        if not self._ready(connection, make_table=make_table):
            return None
        connection.execute(sa.delete(self._table))
        if found := [_row(info) for info in infos]:
            connection.execute(sa.insert(self._table), found)
        return self._count(connection)

    def _ready(self, connection: Connection, *, make_table: bool) -> bool:
        state = self.state(connection)
        if state is TableState.OUTDATED:
            self._table.drop(connection)
            make_table = True
            state = TableState.ABSENT
        if state is TableState.ABSENT and make_table:
            self._table.create(connection)
            state = TableState.CURRENT
        return state is TableState.CURRENT

    def _names(self, connection: Connection) -> frozenset[str]:
        # As bytes: a damaged one that is no text must not keep the others from being read.
        column = sa.cast(self._table.c.filename, sa.LargeBinary)
        found = connection.scalars(sa.select(column))
        return frozenset((name or b"").decode(errors="replace") for name in found)

    def _count(self, connection: Connection) -> int:
        counted = connection.scalar(sa.select(sa.func.count()).select_from(self._table))
        return int(counted or 0)


def row_name(name: str) -> str:
    """Return the ``filename`` in the row of a backup; a name that is no text is still a file's."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _row(info: BackupInfo) -> dict[str, Any]:
    return {
        "filename": row_name(info.filename),
        "catalog_format": CATALOG_FORMAT,
        "id": info.id,
        "created_at": info.created_at.replace(tzinfo=None),
        "kind": info.kind,
        "description": info.description,
        "size_bytes": info.size_bytes,
        "sha256": info.sha256,
        "alembic_heads": ",".join(info.alembic_heads),
        "target_revision": info.target_revision,
        "duration_seconds": info.duration_seconds,
    }

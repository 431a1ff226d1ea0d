"""Backup files: what ``pg_dump`` wrote, and after it what we know of it.

``pg_restore`` reads an archive from its beginning and knows what belongs to it: what follows is
nothing to it, so that a backup can be loaded with ``pg_restore`` alone. (Measured with 15, 16 and
18, with parallel jobs and from a pipe.) It also says yes to half an archive and to one with other
bytes in its rows. So what follows is what tells a whole backup: its length, its checksum, and how
many rows each table has. The last 32 bytes of a file are a checksum of that, its length, and a
mark.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from soulsense_db import fs
from soulsense_db.drivers.other_files import refuse
from soulsense_db.drivers.postgresql.errors import cut_off
from soulsense_db.drivers.server_errors import damaged_backup, empty

MAGIC = b"PGDMP"
_MARK = b"SOULSEND"
_LENGTH_BYTES = 8
_LONGEST = 256 * 1024 * 1024  # more is no description of a database
_CHECK_BYTES = 16
_ENDING = _CHECK_BYTES + _LENGTH_BYTES + len(_MARK)
CHUNK = 1024 * 1024
_FIRST_BYTES = 128  # of which the date takes less than half
_SHORT_COMPRESSION = (1, 15)  # from this version of the format on, it is one byte

LARGE_OBJECTS = ("pg_catalog", "pg_largeobject")
"""Schema and name under which large objects are counted and compared, as if they were rows."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table: ``copied`` is how the archive calls it; ``key``: columns of its primary key."""

    schema: str
    name: str
    copied: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: int

    @property
    def shown(self) -> str:
        """Its name, with the schema where that is not the usual one."""
        return shown_name(self.schema, self.name)


class Locale(msgspec.Struct, frozen=True, kw_only=True):
    """How a database was made: ``provider`` is ``c``, ``i`` or ``b``, as in ``pg_database``."""

    encoding: str
    collate: str
    ctype: str
    provider: str | None
    locale: str | None
    rules: str | None


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an archive; ``version``: the server's major one, ``heads``: Alembic's.

    ``version_table``: Alembic's, as a statement calls it; ``has_money``: amounts were written with
    ``lc_monetary`` being C, and can only be read so.
    """

    format: int = 1
    size_bytes: int
    sha256: str
    version: int
    locale: Locale
    schemas: tuple[str, ...]
    tables: tuple[Table, ...]
    heads: tuple[str, ...]
    version_table: str | None
    has_money: bool

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows each table has, by the name that is shown."""
        return {table.shown: table.rows for table in self.tables}


def shown_name(schema: str, name: str) -> str:
    """Return a table's name, with the schema where that is not the usual one.

    No two tables have the same: what has a dot in it is quoted.
    """
    parts = (name,) if schema == "public" else (schema, name)
    return ".".join(
        '"' + part.replace('"', '""') + '"' if {".", '"'} & set(part) else part for part in parts
    )


def ending(description: Description) -> bytes:
    """Return what is written behind the archive."""
    data = msgspec.json.encode(description)
    return data + _check_of(data) + len(data).to_bytes(_LENGTH_BYTES, "big") + _MARK


def _check_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK_BYTES]


def created_at(path: Path) -> datetime | None:
    """Return when ``pg_dump`` began an archive; None where that cannot be read.

    It is local time without a zone, as ``pg_restore --list`` shows it: that of this machine, here.
    """
    with fs.storage_errors("read", path), path.open("rb") as stream:
        head = stream.read(_FIRST_BYTES)
    at = len(MAGIC) + 6
    if not head.startswith(MAGIC) or len(head) < _FIRST_BYTES:
        return None
    version, integer = (head[5], head[6]), head[8]
    at += 1 if version >= _SHORT_COMPRESSION else 1 + integer
    numbers = []
    for _ in range(6):  # each is a byte for the sign, and the number
        numbers.append(int.from_bytes(head[at + 1 : at + 1 + integer], "little"))
        at += 1 + integer
    second, minute, hour, day, month, year = numbers
    try:
        return datetime(year + 1900, month + 1, day, hour, minute, second).astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # no date at all
        return None


def read(path: Path, *, called: str = "") -> Description:
    """Return what is known of the archive in ``path``, which need not be whole but has its end.

    ``called``: its name in errors. Raises :class:`~soulsense_db.errors.InvalidBackupError`.
    """
    name = called or path.name
    with fs.storage_errors("read", path), path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        if size == 0:
            raise empty(name)
        if stream.read(len(MAGIC)) != MAGIC:
            refuse("a backup of a PostgreSQL database", path, name=name)
        if size < _ENDING:
            raise cut_off(name)
        stream.seek(size - _ENDING)
        check = stream.read(_CHECK_BYTES)
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
        if stream.read() != _MARK or not 0 < length <= min(size - _ENDING, _LONGEST):
            raise cut_off(name)
        stream.seek(size - _ENDING - length)
        data = stream.read(length)
    if _check_of(data) != check:
        raise damaged_backup(name, "what is written at its end is not what it was")
    try:
        found = msgspec.json.decode(data, type=Description)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise damaged_backup(name, "what is written at its end cannot be read") from None
    if found.size_bytes != size - _ENDING - length:
        raise damaged_backup(name, "its length is not what is written at its end")
    return found


def require_whole(path: Path, *, poll: Callable[[], object] = lambda: None) -> Description:
    """Read all of an archive and compare its checksum; return what is known of it."""
    found = read(path)
    digest = hashlib.sha256()
    left = found.size_bytes
    with fs.storage_errors("read", path), path.open("rb") as stream:
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise cut_off(path.name)
            digest.update(chunk)
            left -= len(chunk)
            poll()
    if digest.hexdigest() != found.sha256:
        raise damaged_backup(path.name, "its checksum is not what is written at its end")
    return found

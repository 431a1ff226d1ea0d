"""Backup files: what ``mariadb-dump`` wrote, in sections, and after it what we know of it.

All that is ours are comments of SQL, so that the program ``mariadb`` loads a backup as it is. Half
a dump is a good file to it, and a lost section too: so what follows the sections is what tells a
whole backup: length, checksum, and the rows of each table. The last line has the length and the
checksum of that.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from soulsense_db import fs
from soulsense_db.drivers.mariadb.errors import cut_off
from soulsense_db.drivers.mariadb.inventory import Item, Trigger
from soulsense_db.drivers.other_files import refuse
from soulsense_db.drivers.server_errors import damaged_backup, empty

MAGIC = b"-- soulsense_db: a backup of a MariaDB database; the program mariadb loads it\n"
_DESCRIBED = b"-- soulsense_db: "
_LAST = re.compile(rb"-- soulsense_db: end ([0-9a-f]{16}) ([0-9a-f]{64})\n")
_LAST_BYTES = len(b"-- soulsense_db: end \n") + 16 + 1 + 64
_LONGEST = 256 * 1024 * 1024  # more is no description of a database
_IMPORTABLE = (
    "Use another backup. What mariadb-dump alone wrote becomes one when it is imported; not what "
    "it wrote with --skip-comments or --compact, which lacks its beginning and end."
)
CHUNK = 256 * 1024


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table: ``key`` are the columns of its primary key, none where rows are kept as history."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: int

    @property
    def shown(self) -> str:
        """Its name."""
        return self.name


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the file that one run of ``mariadb-dump`` wrote."""

    begin: int
    end: int


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a backup; ``schema``: the name of the database that was dumped.

    ``sections``: ``tables``, and as far as there are any ``routines``, ``views``, ``triggers`` and
    ``events``. ``longest_row``: its bytes as it is written, 0 where none is long or none was noted.
    """

    format: int = 1
    size_bytes: int
    sha256: str
    version: str
    schema: str
    sections: dict[str, Section]
    tables: tuple[Table, ...]
    items: tuple[Item, ...]
    triggers: tuple[Trigger, ...]
    heads: tuple[str, ...]
    longest_row: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows each table has."""
        return {table.name: table.rows for table in self.tables}


def ending(description: Description) -> bytes:
    """Return what is written behind the sections."""
    line = _DESCRIBED + msgspec.json.encode(description) + b"\n"
    digest = hashlib.sha256(line).hexdigest()
    return line + f"-- soulsense_db: end {len(line):016x} {digest}\n".encode()


def read(path: Path) -> Description:
    """Return what is known of the backup in ``path``, which need not be whole but has its end.

    Raises :class:`~soulsense_db.errors.InvalidBackupError`.
    """
    name = path.name
    with fs.storage_errors("read", path), path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        if size == 0:
            raise empty(name)
        if stream.read(len(MAGIC)) != MAGIC:
            refuse("a backup of a MariaDB database", path, hint=_IMPORTABLE)
        if size < len(MAGIC) + _LAST_BYTES:
            raise cut_off(name)
        stream.seek(size - _LAST_BYTES)
        match = _LAST.fullmatch(stream.read())
        length = int(match[1], 16) if match else 0
        if match is None or not 0 < length <= min(size - _LAST_BYTES, _LONGEST):
            raise cut_off(name)
        stream.seek(size - _LAST_BYTES - length)
        line = stream.read(length)
    if hashlib.sha256(line).hexdigest() != match[2].decode():
        raise damaged_backup(name, "what is written at its end is not what was written")
    try:
        found = msgspec.json.decode(line.removeprefix(_DESCRIBED), type=Description)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise damaged_backup(name, "what is written at its end cannot be read") from None
    if found.size_bytes != size - _LAST_BYTES - length:
        raise damaged_backup(name, "its length is not what is written at its end")
    return found


def require_whole(path: Path, *, poll: Callable[[], object] = lambda: None) -> Description:
    """Read all of a backup and compare its checksum; return what is known of it."""
    found = read(path)
    digest = hashlib.sha256()
    for chunk in chunks(path, Section(begin=0, end=found.size_bytes)):
        digest.update(chunk)
        poll()
    if digest.hexdigest() != found.sha256:
        raise damaged_backup(path.name, "its checksum is not what is written at its end")
    return found


def chunks(path: Path, section: Section) -> Iterator[bytes]:
    """Yield the bytes of a section."""
    left = section.end - section.begin
    with fs.storage_errors("read", path), path.open("rb") as stream:
        stream.seek(section.begin)
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise cut_off(path.name)
            left -= len(chunk)
            yield chunk


def lines(path: Path, section: Section) -> Iterator[bytes]:
    """Yield the lines of a section, each with its line feed."""
    left = section.end - section.begin
    with fs.storage_errors("read", path), path.open("rb") as stream:
        stream.seek(section.begin)
        while left > 0 and (line := stream.readline(left)):
            left -= len(line)
            yield line

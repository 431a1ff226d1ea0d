"""Make one archive of the folder that several jobs of ``pg_dump`` have written.

Its table of contents is the same in both forms, but for what tells where the data of an entry is:
in a folder the name of a file, in an archive of the custom format a position. So the archive is
what one job would have written, and everything that reads the one reads the other. The positions
are known before the first byte is written, as ``pg_dump`` itself knows them in a file, but not in a
stream: several jobs of ``pg_restore`` find their tables at once.

What is read is written again and compared, so that an archive of a kind that is not known here is
an error, and no other archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from soulsense_db import fs
from soulsense_db.drivers.postgresql.archive import MAGIC
from soulsense_db.drivers.postgresql.tool_errors import unknown_archive

CONTENTS = "toc.dat"
_CHUNK = 256 * 1024
# Of PostgreSQL 12 to 15, 16, and 17 on.
_KNOWN = ((1, 14), (1, 15), (1, 16))
_INT_BYTES, _POSITION_BYTES = 4, 8
_CUSTOM = b"\x01"
# pg_dump says so of a folder, too: as a tar of it could be read.
_IN_A_FOLDER = b"\x03"
_TABLE, _LARGE_OBJECTS = b"\x01", b"\x03"
_IS_AT, _HAS_NO_DATA = b"\x02", b"\x03"
_TABLE_FILE = re.compile(r"\d+\.dat")
_LIST_FILE = re.compile(r"blobs(?:_\d+)?\.toc")
_OBJECT = re.compile(r"(\d+) (blob_\d+\.dat)\n")


class _Entry(NamedTuple):
    """An entry: its number, what is written of it, and the file with its data, if it has any."""

    number: int
    text: bytes
    file: str


class _Contents(NamedTuple):
    """A table of contents: what is before the byte of the format, after it, and the entries."""

    before: bytes
    after: bytes
    entries: list[_Entry]


class _Reader:
    """Reads what ``pg_dump`` writes: numbers with their sign, and texts with their length."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    @property
    def is_at_end(self) -> bool:
        return self.at == len(self._data)

    def since(self, begin: int) -> bytes:
        return self._data[begin : self.at]

    def take(self, length: int) -> bytes:
        begin, self.at = self.at, self.at + length
        if not 0 <= length <= len(self._data) - begin:
            raise ValueError("it ends too early")
        return self._data[begin : self.at]

    def number(self) -> int:
        sign, value = self.take(1), int.from_bytes(self.take(_INT_BYTES), "little")
        return -value if sign != b"\0" else value

    def text(self) -> bytes | None:
        length = self.number()
        return None if length < 0 else self.take(length)

    def texts(self, count: int) -> None:
        for _ in range(count):
            self.text()


def _read(data: bytes) -> _Contents:
    """Read a table of contents; raises :class:`ValueError` for one of an unknown kind."""
    reader = _Reader(data)
    magic = reader.take(len(MAGIC))
    version = tuple(reader.take(3))[:2]
    sizes = tuple(reader.take(2))
    if magic != MAGIC or version not in _KNOWN or sizes != (_INT_BYTES, _POSITION_BYTES):
        raise ValueError(f"its version is {version[0]}.{version[1]}")
    before = reader.since(0)
    reader.take(len(_IN_A_FOLDER))
    begin = reader.at
    compression = reader.take(1)[0] if version >= (1, 15) else reader.number()
    if compression:
        raise ValueError("it is compressed")
    for _ in range(7):  # the time
        reader.number()
    reader.texts(3)  # the database, and the versions of server and program
    count = reader.number()
    after = reader.since(begin)
    entries = [_entry(reader, has_kind=version >= (1, 16)) for _ in range(count)]
    if not reader.is_at_end:
        raise ValueError("it goes on after its end")
    return _Contents(before, after, entries)


def _entry(reader: _Reader, *, has_kind: bool) -> _Entry:
    begin = reader.at
    number = reader.number()
    has_data = reader.number()
    reader.texts(4)  # two numbers of the catalog, name and kind
    reader.number()  # the section
    reader.texts(6)  # statements; schema, tablespace and access method
    if has_kind:
        reader.number()
    reader.texts(2)  # the owner, and a word
    while reader.text() is not None:  # what it depends on
        pass
    text = reader.since(begin)
    file = (reader.text() or b"").decode("ascii")
    if bool(has_data) != bool(file):
        raise ValueError("an entry has data and no file, or a file and no data")
    return _Entry(number, text, file)


def _number(value: int) -> bytes:
    return (b"\1" if value < 0 else b"\0") + abs(value).to_bytes(_INT_BYTES, "little")


def _in_folder(contents: _Contents) -> bytes:
    """Return a table of contents as ``pg_dump`` writes it to a folder."""
    entries = (
        entry.text + _number(len(entry.file)) + entry.file.encode() for entry in contents.entries
    )
    return contents.before + _IN_A_FOLDER + contents.after + b"".join(entries)


def _in_archive(contents: _Contents, positions: dict[int, int]) -> bytes:
    """Return it as it is in an archive."""
    entries = (
        entry.text
        + (_IS_AT if entry.number in positions else _HAS_NO_DATA)
        + positions.get(entry.number, 0).to_bytes(_POSITION_BYTES, "little")
        for entry in contents.entries
    )
    return contents.before + _CUSTOM + contents.after + b"".join(entries)


def packed(folder: Path, *, name: str) -> Iterator[bytes]:
    """Yield the archive of all that is in ``folder``, where each file is removed once it was read.

    ``name``: of the database, for errors. Raises :class:`~soulsense_db.errors.BackupError` for what
    is not known here.
    """
    path = folder / CONTENTS
    try:
        with fs.storage_errors("read", path):
            data = path.read_bytes()
        contents = _read(data)
        if _in_folder(contents) != data:
            raise ValueError("it is not what was read")
        parts = [_part(folder, entry) for entry in contents.entries if entry.file]
    except ValueError as error:
        raise unknown_archive(name, str(error)) from None
    positions, at = {}, len(_in_archive(contents, {}))
    for part in parts:
        positions[part.number] = at
        at += part.size
    yield _in_archive(contents, positions)
    for part in parts:
        yield from part.chunks(name)


class _Part(NamedTuple):
    """The data of an entry: files with the number of each large object, of a table one file."""

    number: int
    files: list[tuple[int | None, Path, int]]
    """The number of a large object, the file, and its size."""

    @property
    def size(self) -> int:
        numbers = 1 + (1 + len(self.files) if self._has_objects else 0)
        data = sum(_size(size) for _, _, size in self.files)
        return len(_TABLE) + numbers * len(_number(0)) + data

    @property
    def _has_objects(self) -> bool:
        return not self.files or self.files[0][0] is not None

    def chunks(self, name: str) -> Iterator[bytes]:
        yield (_LARGE_OBJECTS if self._has_objects else _TABLE) + _number(self.number)
        for of, path, size in self.files:
            if of is not None:
                # As the program does: a number that is larger than a signed one is written as that.
                yield _number(of - (1 << 32) if of >= 1 << 31 else of)
            yield from _in_chunks(path, size, name)
            yield _number(0)
            fs.remove(path)
        if self._has_objects:
            yield _number(0)


def _part(folder: Path, entry: _Entry) -> _Part:
    if _TABLE_FILE.fullmatch(entry.file):
        path = folder / entry.file
        return _Part(entry.number, [(None, path, _size_of(path))])
    if not _LIST_FILE.fullmatch(entry.file):
        raise ValueError("data is in a file of an unknown name")
    files: list[tuple[int | None, Path, int]] = []
    listed = folder / entry.file
    with fs.storage_errors("read", listed), listed.open(encoding="ascii") as lines:
        for line in lines:
            match = _OBJECT.fullmatch(line)
            if match is None:
                raise ValueError("the list of large objects has an unknown line")
            path = folder / match[2]
            files.append((int(match[1]), path, _size_of(path)))
    return _Part(entry.number, files)


def _size_of(path: Path) -> int:
    with fs.storage_errors("read", path):
        return path.stat().st_size


def _size(length: int) -> int:
    """Return how many bytes a file of ``length`` takes, with the lengths of its chunks."""
    chunks = -(-length // _CHUNK)
    return length + (chunks + 1) * len(_number(0))


def _in_chunks(path: Path, size: int, name: str) -> Iterator[bytes]:
    """Yield a file, each chunk with its length before it; the end is one without."""
    left = size
    with fs.storage_errors("read", path), path.open("rb") as stream:
        while left:
            wanted = min(_CHUNK, left)
            chunk = stream.read(wanted)
            if len(chunk) != wanted:
                raise unknown_archive(name, "a file became shorter")
            yield _number(wanted) + chunk
            left -= wanted

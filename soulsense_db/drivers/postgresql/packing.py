"""Make one archive of the folder that several jobs of ``pg_dump`` have written.

Its table of contents says where the data of an entry is: in a folder by the name of a file, in an
archive of the custom format by a position. All else is the same (:mod:`.toc`). So the archive is
what one job would have written, and everything that reads the one reads the other. The positions
are known before the first byte is written, as ``pg_dump`` itself knows them in a file, but not in a
stream: several jobs of ``pg_restore`` find their tables at once.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from soulsense_db import fs
from soulsense_db.drivers.postgresql import toc
from soulsense_db.drivers.postgresql.toc import Entry, Reader
from soulsense_db.drivers.postgresql.tool_errors import unknown_archive

CONTENTS = "toc.dat"
_CHUNK = 256 * 1024
_TABLE, _LARGE_OBJECTS = b"\x01", b"\x03"
_IS_AT, _HAS_NO_DATA = b"\x02", b"\x03"
_TABLE_FILE = re.compile(r"\d+\.dat")
_LIST_FILE = re.compile(r"blobs(?:_\d+)?\.toc")
_OBJECT = re.compile(r"(\d+) (blob_\d+\.dat)\n")


def _place_in_archive(positions: dict[int, int]) -> Callable[[Entry], bytes]:
    """Return the function that says where the data of an entry is in an archive."""
    return lambda entry: (
        (_IS_AT if entry.number in positions else _HAS_NO_DATA)
        + positions.get(entry.number, 0).to_bytes(toc.POSITION_BYTES, "little")
    )


def _file_of(reader: Reader) -> bytes:
    return reader.text() or b""


def packed(folder: Path, *, name: str) -> Iterator[bytes]:
    """Yield the archive of all that is in ``folder``, where each file is removed once it was read.

    ``name``: of the database, for errors. Raises :class:`~soulsense_db.errors.BackupError` for what
    is not known here.
    """
    path = folder / CONTENTS
    try:
        with fs.storage_errors("read", path):
            data = path.read_bytes()
        stream = io.BytesIO(data)
        contents = toc.read_contents(Reader(stream.read), _file_of)
        if stream.read(1):
            raise ValueError("it goes on after its end")
        if contents.written(toc.FOLDER, lambda entry: toc.text(entry.place)) != data:
            raise ValueError("it is not what was read")
        if any(entry.has_data != bool(entry.place) for entry in contents.entries):
            raise ValueError("an entry has data and no file, or a file and no data")
        parts = [_part(folder, entry) for entry in contents.entries if entry.place]
    except ValueError as error:
        raise unknown_archive(name, str(error)) from None
    positions, at = {}, len(contents.written(toc.CUSTOM, _place_in_archive({})))
    for part in parts:
        positions[part.number] = at
        at += part.size
    yield contents.written(toc.CUSTOM, _place_in_archive(positions))
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
        return len(_TABLE) + numbers * len(toc.number(0)) + data

    @property
    def _has_objects(self) -> bool:
        return not self.files or self.files[0][0] is not None

    def chunks(self, name: str) -> Iterator[bytes]:
        yield (_LARGE_OBJECTS if self._has_objects else _TABLE) + toc.number(self.number)
        for of, path, size in self.files:
            if of is not None:
                # As the program does: a number that is larger than a signed one is written as that.
                yield toc.number(of - (1 << 32) if of >= 1 << 31 else of)
            yield from _in_chunks(path, size, name)
            yield toc.number(0)
            fs.remove(path)
        if self._has_objects:
            yield toc.number(0)


def _part(folder: Path, entry: Entry) -> _Part:
    file = entry.place.decode("ascii")
    if _TABLE_FILE.fullmatch(file):
        path = folder / file
        return _Part(entry.number, [(None, path, _size_of(path))])
    if not _LIST_FILE.fullmatch(file):
        raise ValueError("data is in a file of an unknown name")
    files: list[tuple[int | None, Path, int]] = []
    listed = folder / file
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
    return length + (chunks + 1) * len(toc.number(0))


def _in_chunks(path: Path, size: int, name: str) -> Iterator[bytes]:
    """Yield a file, each chunk with its length before it; the end is one without."""
    left = size
    with fs.storage_errors("read", path), path.open("rb") as stream:
        while left:
            wanted = min(_CHUNK, left)
            chunk = stream.read(wanted)
            if len(chunk) != wanted:
                raise unknown_archive(name, "a file became shorter")
            yield toc.number(wanted) + chunk
            left -= wanted

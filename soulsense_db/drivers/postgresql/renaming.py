"""Give the schemas of an archive their own names again, while ``pg_dump`` writes it.

What a restore within the database has replaced is in schemas of other names, and its backup must
not be. Only such are kept whose names need no quotes (:mod:`.kept_schemas`). So what stands for one
in a statement, in the name of an entry, or in a value (one of the type ``regclass``) is the same
text, and can be replaced by the other name wherever it is. No text of an application has it by
chance: it is made at random for each restore.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import BufferedIOBase

from soulsense_db.drivers.postgresql import toc
from soulsense_db.drivers.postgresql.toc import Entry, Field, Reader
from soulsense_db.drivers.postgresql.tool_errors import unknown_archive

_ROWS = b"\x01"
_BLOCK = 256 * 1024
_DIGITS = 4
_LENGTH = len(toc.number(0))
_LINE_FEED = ord("\n")
_PUBLIC = b"public"
# As pg_dump writes them of the schema that each new database has: no statement makes it, and of
# what is usual of it there is nothing (selectDumpableNamespace and dumpNamespace in pg_dump.c).
_NOT_MADE = b"-- *not* creating schema, since initdb creates it\n"
_USUAL_OWNER = b"pg_database_owner"
_USUAL_COMMENT = b"COMMENT ON SCHEMA public IS 'standard public schema';\n"


class Names:
    """The names that schemas have now, of one beginning and length, each with its own one."""

    def __init__(self, own: Mapping[str, str]) -> None:
        self._own = {now.encode(): name.encode() for now, name in own.items()}
        first = min(self._own)
        self._beginning = first[:-_DIGITS]
        self._any = re.compile(re.escape(self._beginning) + rb"\d{%d}" % _DIGITS)
        self._length = len(first)

    def in_text(self, text: str) -> str:
        """Return ``text`` with their own names."""
        return self.in_bytes(text.encode()).decode()

    def in_bytes(self, data: bytes) -> bytes:
        """Return ``data`` with their own names."""
        return self._any.sub(lambda found: self._own.get(found[0], found[0]), data)

    def are_in(self, data: bytes) -> bool:
        """Whether one of them may be."""
        return self._beginning in data

    def may_begin_at(self, data: bytes) -> int:
        """Return where one begins of which the end may be missing; the length where none does."""
        ends = range(max(0, len(data) - self._length + 1), len(data))
        return next((at for at in ends if self._may_begin(data[at:])), len(data))

    def _may_begin(self, data: bytes) -> bool:
        return self._beginning.startswith(data) or data.startswith(self._beginning)


class Renamed:
    """The archive that ``output`` is, with the schemas' own names.

    ``name``: of the database, for errors.
    """

    def __init__(self, names: Names, *, name: str) -> None:
        self._names, self._name = names, name
        self._is_whole = False

    def chunks(self, output: BufferedIOBase) -> Iterator[bytes]:
        """Yield it, chunk by chunk, as far as it goes.

        Raises :class:`~soulsense_db.errors.BackupError` for what is not known here.
        """
        self._is_whole = False  # it may be another attempt
        try:
            yield from self._renamed(output)
            self._is_whole = True
        except _EndedError:
            return  # the program that writes it says why
        except ValueError as error:
            raise unknown_archive(self._name, str(error)) from None

    def require_whole(self) -> None:
        """Raise where it ended too early, and the program that wrote it has not failed."""
        if not self._is_whole:
            raise unknown_archive(self._name, "it ends too early")

    def _renamed(self, output: BufferedIOBase) -> Iterator[bytes]:
        reader = Reader(lambda length: _read(output, length))
        contents = toc.read_contents(reader, _place_of)
        if contents.written(toc.CUSTOM, _same_place) != reader.taken:
            raise ValueError("it is not what was read")
        entries = (_own(_renamed(one, self._names)) for one in contents.entries)
        left = [one for one in entries if one is not None]
        yield contents._replace(entries=left).written(toc.CUSTOM, _same_place)
        source = _Input(output, self._names)
        for _ in filter(lambda entry: entry.has_data, left):
            if (kind := source.take(1)) != _ROWS:
                raise ValueError("it has data of an unknown kind")
            yield kind + source.take(_LENGTH)
            yield from _chunks(source, self._names)
        if source.is_there():
            raise ValueError("it goes on after its end")


class _EndedError(Exception):
    """What is read is at its end, too early."""


def _read(output: BufferedIOBase, length: int) -> bytes:
    found = output.read(length)
    if len(found) < length:
        raise _EndedError
    return found


def _place_of(reader: Reader) -> bytes:
    return reader.take(1 + toc.POSITION_BYTES)


def _same_place(entry: Entry) -> bytes:
    return entry.place


def _renamed(entry: Entry, names: Names) -> Entry:
    def own(field: Field) -> Field:
        return names.in_bytes(field) if isinstance(field, bytes) else field

    return entry._replace(fields=tuple(map(own, entry.fields)))


def _own(entry: Entry) -> Entry | None:
    """Return what ``pg_dump`` would have written in its place of the live schemas, if anything."""
    if entry.kind == b"SCHEMA" and entry.tag == _PUBLIC:
        return None if _USUAL_OWNER in entry.fields else entry.made_by(_NOT_MADE)
    if entry.tag == b"SCHEMA public":
        is_usual = entry.kind == b"ACL" or entry.statement == _USUAL_COMMENT
        return None if is_usual else entry
    return entry


class _Input:
    """What ``output`` has behind its contents, of which some is in memory: ``data`` from ``at``."""

    def __init__(self, output: BufferedIOBase, names: Names) -> None:
        self._output, self._names = output, names
        self.data, self.at = b"", 0
        self.has_names = False

    def has(self, length: int) -> bool:
        """Whether that many bytes are in memory."""
        return len(self.data) - self.at >= length

    def read(self, length: int) -> None:
        """Have that many bytes in memory; what is before ``at`` is forgotten."""
        self._fill(length)
        if not self.has(length):
            raise _EndedError

    def _fill(self, length: int) -> None:
        left = self.data[self.at :]
        self.data, self.at = left + self._output.read(max(_BLOCK, length - len(left))), 0
        self.has_names = self._names.are_in(self.data)

    def is_there(self) -> bool:
        """Whether there is anything left."""
        if not self.has(1):
            self._fill(1)
        return self.has(1)

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        if not self.has(length):
            self.read(length)
        begin, self.at = self.at, self.at + length
        return self.data[begin : self.at]


def _chunks(source: _Input, names: Names) -> Iterator[bytes]:
    """Yield the data of a table: chunks with their length before each, and a length of 0.

    Mostly a chunk is a row, and there are millions: those without a name go out as they are, many
    at once.
    """
    begin, pending = source.at, b""
    while True:
        size = _size_of_next(source)
        if not source.has(size):
            yield source.data[begin : source.at]
            source.read(size)
            begin = source.at
            continue
        end = source.at + size
        is_last = size == _LENGTH
        # A name may begin in one chunk and end in the next, but never in another row.
        ends_here = is_last or source.data[end - 1] == _LINE_FEED
        if pending or source.has_names or not ends_here:
            yield source.data[begin : source.at]
            data = pending + source.data[source.at + _LENGTH : end]
            whole = len(data) if ends_here else names.may_begin_at(data)
            pending = data[whole:]
            if own := names.in_bytes(data[:whole]):
                yield toc.text(own)
            begin = source.at if is_last else end
        source.at = end
        if is_last:
            yield source.data[begin:end]
            return


def _size_of_next(source: _Input) -> int:
    """Return how many bytes the next chunk takes with its length, as far as that is known yet."""
    at, data = source.at, source.data
    if not source.has(_LENGTH):
        return _LENGTH
    if data[at]:
        raise ValueError("it has a chunk of a negative length")
    return _LENGTH + int.from_bytes(data[at + 1 : at + _LENGTH], "little")

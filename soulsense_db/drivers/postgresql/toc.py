"""The table of contents of an archive: what ``pg_dump`` writes before the rows.

It is the same in an archive of the custom format and in a folder, but for what tells where the data
of an entry is. What is read is written again and compared, so that an archive of a kind that is not
known here is an error, and no other archive. (``pg_backup_archiver.c`` in PostgreSQL's sources.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from soulsense_db.drivers.postgresql.archive import MAGIC

INT_BYTES, POSITION_BYTES = 4, 8
CUSTOM = b"\x01"
FOLDER = b"\x03"
"""The byte of the form. ``pg_dump`` writes this one for a folder: as a tar of it could be read."""
# Of PostgreSQL 12 to 15, 16, and 17 on.
_KNOWN = ((1, 14), (1, 15), (1, 16))
_NUMBERS_OF_TIME = 7
_TEXTS_BEFORE = 3  # the database, and the versions of server and program
_WITH_KIND = (1, 16)
_SHORT_COMPRESSION = (1, 15)
_NUMBER, _HAS_DATA, _TAG, _DESCRIPTION, _STATEMENT, _SCHEMA = 0, 1, 4, 5, 7, 10

Field = int | bytes | None


class Reader:
    """Reads what ``pg_dump`` writes, numbers with their sign and texts with their length.

    ``read`` returns the next bytes, fewer than are asked for only at the end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read, self.taken = read, bytearray()

    def take(self, length: int) -> bytes:
        """Return the next bytes; raises :class:`ValueError` where there are not as many."""
        found = self._read(length)
        if len(found) != length:
            raise ValueError("it ends too early")
        self.taken += found
        return found

    def number(self) -> int:
        """Return the next number."""
        sign, value = self.take(1), int.from_bytes(self.take(INT_BYTES), "little")
        return -value if sign != b"\0" else value

    def text(self) -> bytes | None:
        """Return the next text, which may be missing."""
        length = self.number()
        return None if length < 0 else self.take(length)


class Entry(NamedTuple):
    """An entry: what is written of it, and of where its data is."""

    fields: tuple[Field, ...]
    place: bytes

    @property
    def number(self) -> int:
        """What its data is found by."""
        found = self.fields[_NUMBER]
        assert isinstance(found, int)
        return found

    @property
    def has_data(self) -> bool:
        """Whether it has any."""
        return bool(self.fields[_HAS_DATA])

    @property
    def tag(self) -> Field:
        """Its name."""
        return self.fields[_TAG]

    @property
    def kind(self) -> Field:
        """What it is, such as ``TABLE``."""
        return self.fields[_DESCRIPTION]

    @property
    def statement(self) -> Field:
        """What makes it."""
        return self.fields[_STATEMENT]

    def made_by(self, statement: bytes) -> Entry:
        """Return it with another statement."""
        fields = (*self.fields[:_STATEMENT], statement, *self.fields[_STATEMENT + 1 :])
        return self._replace(fields=fields)


class Contents(NamedTuple):
    """A table of contents: what is before the byte of the form, what after it, and the entries."""

    before: bytes
    after: bytes
    entries: list[Entry]

    def written(self, form: bytes, place: Callable[[Entry], bytes]) -> bytes:
        """Return it as it is in an archive of a form; ``place``: where the data of an entry is."""
        entries = (_written(entry.fields) + place(entry) for entry in self.entries)
        count = number(len(self.entries))
        return self.before + form + self.after + count + b"".join(entries)


def read_contents(reader: Reader, place: Callable[[Reader], bytes]) -> Contents:
    """Read it; ``place`` reads where the data of an entry is.

    Raises :class:`ValueError` for one of an unknown kind.
    """
    magic = reader.take(len(MAGIC))
    version = tuple(reader.take(3))[:2]
    sizes = tuple(reader.take(2))
    if magic != MAGIC or version not in _KNOWN or sizes != (INT_BYTES, POSITION_BYTES):
        raise ValueError(f"its version is {version[0]}.{version[1]}")
    before = bytes(reader.taken)
    reader.take(len(CUSTOM))
    begin = len(reader.taken)
    compression = reader.take(1)[0] if version >= _SHORT_COMPRESSION else reader.number()
    if compression:
        raise ValueError("it is compressed")
    for _ in range(_NUMBERS_OF_TIME):
        reader.number()
    for _ in range(_TEXTS_BEFORE):
        reader.text()
    after = bytes(reader.taken[begin:])
    count = reader.number()
    has_kind = version >= _WITH_KIND
    entries = [Entry(_fields(reader, has_kind=has_kind), place(reader)) for _ in range(count)]
    return Contents(before, after, entries)


def _fields(reader: Reader, *, has_kind: bool) -> tuple[Field, ...]:
    found: list[Field] = [reader.number(), reader.number()]
    found += (reader.text() for _ in range(4))  # two numbers of the catalog, name and kind
    found.append(reader.number())  # the section
    found += (reader.text() for _ in range(6))  # statements; schema, tablespace and access method
    if has_kind:
        found.append(reader.number())
    found += (reader.text() for _ in range(2))  # the owner, and a word
    while (needed := reader.text()) is not None:
        found.append(needed)
    return (*found, None)


def number(value: int) -> bytes:
    """Return a number as ``pg_dump`` writes it."""
    return (b"\1" if value < 0 else b"\0") + abs(value).to_bytes(INT_BYTES, "little")


def _written(fields: Iterable[Field]) -> bytes:
    return b"".join(
        number(-1) if one is None else number(one) if isinstance(one, int) else text(one)
        for one in fields
    )


def text(value: bytes) -> bytes:
    """Return a text as ``pg_dump`` writes it."""
    return number(len(value)) + value

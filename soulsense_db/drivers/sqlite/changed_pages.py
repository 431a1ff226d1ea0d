"""Which tables two files have in common, page for page: told without reading a row.

For a copy of a database, and what a program made of it. Where a page of the first file is another
one in the second, and it belongs to a known tree, only the tables of such trees have to be compared
row by row. Source: https://www.sqlite.org/fileformat.html
"""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from soulsense_db.drivers.rehearsal import Unchanged
from soulsense_db.drivers.sqlite import check
from soulsense_db.drivers.sqlite.pragmas import folded, quoted

_HEADER = 100  # bytes at the beginning of the first page
_BLOCK = 1024 * 1024
_SCHEMA_ROOT = 1
_INTERIOR = {2, 5}
_LEAVES = {10, 13}
_TABLE_LEAF, _TABLE_INTERIOR = 13, 5
_INTERIOR_HEADER = 12
# What must be the same for pages to mean the same: page size, reserved space, schema format,
# auto_vacuum (which moves pages), text encoding.
_SETTINGS = (slice(16, 18), slice(20, 21), slice(44, 48), slice(52, 56), slice(56, 60))
_AUTO_VACUUM = slice(52, 56)


class _OddPageError(Exception):
    """A page is not what it should be: then nothing is known of any table."""


def unchanged_tables(first: Path, second: Path) -> Unchanged:
    """Compare two settled files that nobody writes to; where in doubt, a table is not named.

    A row lies in the leaves of its table's tree and in the overflow pages that they lead to. Those
    are not looked for: a changed page that is of no tree, and was not free, may be an overflow page
    of any table, and then none is named.
    """
    try:
        with _mapped(first) as old, _mapped(second) as new:
            if any(old[part] != new[part] for part in _SETTINGS) or any(old[_AUTO_VACUUM]):
                return Unchanged()
            file = _File(old)
            changed = _changed_pages(first, second, file.page_size)
            with check.opened(first) as before, check.opened(second) as after:
                return _compared(file, changed, before, after)
    except (_OddPageError, sqlite3.Error, UnicodeDecodeError, ValueError):
        return Unchanged()


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with (
        path.open("rb") as file,
        closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content,
    ):
        yield content


def _compared(
    file: _File, changed: set[int], before: sqlite3.Connection, after: sqlite3.Connection
) -> Unchanged:
    unknown = changed - file.free_pages()
    changed_roots = set()
    schemas = [_schema(connection) for connection in (before, after)]
    for root in {_SCHEMA_ROOT, *(found.root for found in schemas[0].values())}:
        pages = file.pages_of(root)
        if not pages.isdisjoint(unknown):
            changed_roots.add(root)
            unknown -= pages
    if unknown:
        return Unchanged()
    rows, checks = set(), set()
    for (kind, name), entry in schemas[0].items():
        other = schemas[1].get((kind, name))
        if kind != "table" or other is None or entry.root in changed_roots:
            continue
        if other.root != entry.root:
            continue
        if entry.sql == other.sql:
            rows.add(name)
            if _indexes(schemas[0], name) == _indexes(schemas[1], name) and not any(
                index.root in changed_roots for index in _indexes(schemas[0], name).values()
            ):
                checks.add(name)
        elif file.is_rowid_table(entry.root) and _has_the_same_columns(before, after, name):
            rows.add(name)
    return Unchanged(rows=frozenset(rows), checks=frozenset(checks))


@dataclass(frozen=True, slots=True)
class _Entry:
    root: int
    sql: str
    table: str


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], _Entry]:
    """Return all that has a tree."""
    found = connection.execute(
        "SELECT type, name, rootpage, sql, tbl_name FROM main.sqlite_master WHERE rootpage > 0"
    )
    return {
        (str(kind), str(name)): _Entry(int(root), str(sql), str(table))
        for kind, name, root, sql, table in found
    }


def _indexes(schema: dict[tuple[str, str], _Entry], table: str) -> dict[str, _Entry]:
    return {
        name: entry
        for (kind, name), entry in schema.items()
        if kind == "index" and folded(entry.table) == folded(table)
    }


def _has_the_same_columns(before: sqlite3.Connection, after: sqlite3.Connection, name: str) -> bool:
    """Whether the second has all columns of the first, in their places, and others behind them."""
    asked = f"PRAGMA main.table_xinfo({quoted(name)})"
    old, new = (one.execute(asked).fetchall() for one in (before, after))
    is_computed = any(column[6] for column in old)
    return bool(old) and not is_computed and new[: len(old)] == old


def _changed_pages(first: Path, second: Path, page_size: int) -> set[int]:
    """Return the numbers of the pages of the first that the second has not, or has otherwise."""
    size = first.stat().st_size
    middle = size // 2 // page_size * page_size
    parts = range(middle), range(middle, size)
    with ThreadPoolExecutor(len(parts)) as sides:  # to read takes longer than to compare
        found = sides.map(lambda part: _changed_in(first, second, part, page_size), parts)
        return set().union(*found)


def _changed_in(first: Path, second: Path, part: range, page_size: int) -> set[int]:
    """Return those of the pages that begin in this part of the files."""
    changed: set[int] = set()
    step, start = max(page_size, _BLOCK), part.start
    blocks = bytearray(step), bytearray(step)
    with first.open("rb", buffering=0) as old, second.open("rb", buffering=0) as new:
        old.seek(start)
        new.seek(start)
        while start < part.stop and (length := old.readinto(blocks[0])):
            there = new.readinto(blocks[1])
            if there != length or blocks[0] != blocks[1]:
                changed.update(
                    (start + at) // page_size + 1
                    for at in range(0, length, page_size)
                    if at + page_size > there
                    or blocks[0][at : at + page_size] != blocks[1][at : at + page_size]
                )
            start += length
    return changed


class _File:
    """The pages of an SQLite file."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        size = int.from_bytes(content[16:18], "big")
        self.page_size = 65536 if size == 1 else size
        self._count = len(content) // self.page_size

    def free_pages(self) -> set[int]:
        """Return the pages of the list of free ones."""
        found: set[int] = set()
        trunk = self._number(32)
        while trunk:
            page = self._page(trunk)
            if trunk in found:
                raise _OddPageError
            found.add(trunk)
            leaves = int.from_bytes(page[4:8], "big")
            if 8 + 4 * leaves > self.page_size:
                raise _OddPageError
            found.update(
                int.from_bytes(page[at : at + 4], "big") for at in range(8, 8 + 4 * leaves, 4)
            )
            trunk = int.from_bytes(page[:4], "big")
        return found

    def pages_of(self, root: int) -> set[int]:
        """Return the pages of a tree, without those that its rows overflow to."""
        found = {root}
        level = [root]
        while level:
            below: list[int] = []
            for number in level:
                below += self._children(number)
            if not found.isdisjoint(below):
                raise _OddPageError
            found.update(below)
            # All leaves are equally far from the root: those of one level are not opened each.
            level = below if below and self._kind(below[0]) in _INTERIOR else []
        return found

    def is_rowid_table(self, root: int) -> bool:
        """Whether its rows lie under their rowids."""
        return self._kind(root) in {_TABLE_LEAF, _TABLE_INTERIOR}

    def _kind(self, number: int) -> int:
        return self._page(number)[_HEADER if number == 1 else 0]

    def _children(self, number: int) -> list[int]:
        page = self._page(number)
        start = _HEADER if number == 1 else 0
        kind = page[start]
        if kind in _LEAVES:
            return []
        if kind not in _INTERIOR:
            raise _OddPageError
        cells = int.from_bytes(page[start + 3 : start + 5], "big")
        first = start + _INTERIOR_HEADER
        if first + 2 * cells > self.page_size:
            raise _OddPageError
        children = []
        for at in range(first, first + 2 * cells, 2):
            cell = int.from_bytes(page[at : at + 2], "big")
            children.append(int.from_bytes(page[cell : cell + 4], "big"))
        children.append(int.from_bytes(page[start + 8 : start + 12], "big"))
        return children

    def _number(self, at: int) -> int:
        return int.from_bytes(self._content[at : at + 4], "big")

    def _page(self, number: int) -> bytes:
        if not 1 <= number <= self._count:
            raise _OddPageError
        start = (number - 1) * self.page_size
        return self._content[start : start + self.page_size]

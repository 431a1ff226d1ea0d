"""Tell damage of an SQLite database from all else that a check of it can complain of.

Damaged is what SQLite cannot read at its core: pages, trees, the list of free pages, the records of
a table. That is decided by asking SQLite again, table by table and without virtual tables, for what
``quick_check`` and ``integrity_check`` say differs from version to version: a newer one also asks
every full-text and R-Tree index whether it is consistent.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.errors import (
    damaged,
    is_damage,
    is_unreadable_schema,
    not_understood,
    primary_code,
    reason_of,
)
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.notices import ignoring

_MOST_LINES = 100
# How the report of the layer below the tables begins, in every version; all other lines are about
# the rows of a table, or come from a virtual table.
_OF_THE_PAGES = "*** in database "
# What of that is about space alone, in all versions up to 3.51: a sentence that is not known is
# damage, and so is a known one where a row cannot be read.
_WASTE = re.compile(
    r"(Page \d+( is|:) never used|(Main f|F)reelist: size is \d+ but should be \d+)$"
)
# SQLite's text for SQLITE_CORRUPT, which a check gives as a line and not as an error.
_CORRUPT = "database disk image is malformed"
_MOST_STAND_INS = 100
_MOST_COLUMNS = 1000  # of one statement; a table has 2,000 at most, and a row is read as a whole
# What a virtual table says of its own content has an extended code, but not the plain one.
_OF_THE_STATEMENT = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT}
_COLLATION = "collation sequence"
_NAME_MISSING = re.compile(
    r"(?:no such (?P<what>collation sequence|function)|unknown (?P<function>function)): "
    r"(?P<name>.*?)(?:\(\))?",
    re.DOTALL,
)


class DamageError(Exception):
    """What SQLite cannot read; ``args``: the reason, in its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is wrong and no damage, a line each; ``schema_problem``: why SQLite cannot parse it.

    That is one of the ``row_errors`` too, which a faithful copy has of its source.
    ``broken_references``: how many there are, which the ``warnings`` tell by table; None where they
    were not looked for, or could not be.
    """

    row_errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    broken_references: int | None = None
    schema_problem: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    """One of ``sqlite_master``, with its row there."""

    rowid: int
    name: str
    is_virtual: bool


def examine(
    connection: sqlite3.Connection,
    *,
    full: bool,
    is_borrowed: bool = False,
    without: Collection[str] = (),
) -> Examination:
    """Look through the database ``main`` of ``connection``.

    ``full``: every index and reference as well, which only ``integrity_check`` looks at;
    ``is_borrowed``: the connection is the application's, and must stay as it is: what needs a
    function that it does not have is not checked in full; ``without``: tables that are passed by,
    and then only tables are looked at, one by one. Raises :class:`DamageError`; other errors of
    SQLite, as for a lock, come through.
    """
    with pragmas.text_as(connection, _any_text), _damage_told(), understood(connection) as problem:
        if problem:
            return _examine_partly(connection, problem)
        if without:
            return _examine_others(connection, set(map(folded, without)))
        return _examine_whole(connection, full=full, is_borrowed=is_borrowed)


@contextmanager
def understood(connection: sqlite3.Connection) -> Iterator[str]:
    """Let the block read pages and schema whatever SQL is in it; yield what SQLite says, or "".

    A view that is newer than this SQLite, or a schema that somebody edited, keeps SQLite from every
    statement, the copy of the pages and a look at what is there included.
    """
    try:
        connection.execute("SELECT 1 FROM main.sqlite_master LIMIT 1").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if not is_unreadable_schema(error):
            raise
        problem = reason_of(error)
    else:
        yield ""
        return
    with passing_over_schema(connection):
        # What cannot be read for another reason is damage after all.
        connection.execute("SELECT count(sql) FROM main.sqlite_master").fetchall()
        yield problem


@contextmanager
def passing_over_schema(connection: sqlite3.Connection) -> Iterator[None]:
    """Let SQLite pass over SQL in the schema that it cannot parse, in the block."""
    with pragmas.settings(connection, writable_schema=1):
        yield


def require_understood(connection: sqlite3.Connection, name: str) -> None:
    """Raise :class:`~soulsense_db.errors.UnsupportedDatabaseError` for a schema SQLite rejects."""
    with pragmas.text_as(connection, _any_text), understood(connection) as problem:
        if problem:
            try:
                _by_table(connection, "quick_check")
            except sqlite3.DatabaseError as error:
                if is_damage(error):
                    raise damaged(name, str(error)) from error
                raise
            except DamageError as error:
                raise damaged(name, str(error)) from error
            raise not_understood(name, problem)


def _examine_whole(connection: sqlite3.Connection, *, full: bool, is_borrowed: bool) -> Examination:
    pragma = "integrity_check" if full else "quick_check"
    lines, error = _lines(connection, f"PRAGMA main.{pragma}({_MOST_LINES})")
    pages = _about_pages(connection, lines)
    row_errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if lines or error is not None:
        row_errors, warnings = _by_table(connection, pragma)
    references, broken = _broken_references(connection) if full else ((), None)
    if error is not None:
        # It ended before SQLite came to all pages, or even to the first.
        more, missing = _lines_with_stand_ins(connection, is_borrowed=is_borrowed)
        pages = pages or _about_pages(connection, more)
        warnings = warnings or tuple(f"not checked in full: {reason}" for reason in missing)
    return Examination(
        row_errors=(*pages, *row_errors)[:_MOST_LINES],
        warnings=warnings + references,
        broken_references=broken,
    )


def _examine_partly(connection: sqlite3.Connection, problem: str) -> Examination:
    """Check what this SQLite understands of a schema; pages of the rest would look unused to it."""
    row_errors, warnings = _by_table(connection, "quick_check")
    line = f"SQLite {sqlite3.sqlite_version} does not understand the schema: {problem}"
    return Examination(row_errors=(line, *row_errors), warnings=warnings, schema_problem=problem)


def _examine_others(connection: sqlite3.Connection, without: set[str]) -> Examination:
    """Check all tables but those ``without``, and what refers from one of these to one of those."""
    row_errors, warnings = _by_table(connection, "integrity_check", without)
    names = [table.name for table in _tables(connection) if not table.is_virtual]
    asked = []
    for name in names:
        if _can_be_sent(name) and folded(name) in without:
            keys = _rows(connection, f"PRAGMA main.foreign_key_list({quoted(name)})")
            if {folded(str(row[2])) for row in keys} <= without:
                continue
        asked.append(name)
    references, broken = _broken_references(
        connection, asked if all(map(_can_be_sent, asked)) else None
    )
    return Examination(
        row_errors=row_errors, warnings=warnings + references, broken_references=broken
    )


def _broken_references(
    connection: sqlite3.Connection, tables: Collection[str] | None = None
) -> tuple[tuple[str, ...], int | None]:
    """Return a line per reference, and their number: SQLite enforces no reference unless asked.

    ``tables``: those to be looked at, None for all.
    """
    broken = Counter[tuple[str, str, int]]()
    checks = [f"PRAGMA main.foreign_key_check({quoted(name)})" for name in tables or ()]
    try:
        for asked in ["PRAGMA main.foreign_key_check"] if tables is None else checks:
            rows = _each(connection, asked)
            broken.update((table, parent, key) for table, _, parent, key in rows)
    except (sqlite3.OperationalError, UnicodeDecodeError) as error:
        if primary_code(error) != sqlite3.SQLITE_ERROR:
            raise
        return (f"references not checked: {reason_of(error)}",), None
    lines = tuple(
        f"{count} row(s) of table {table} refer to rows of {parent} that do not exist"
        f"{_by_columns(connection, table, key)}"
        for (table, parent, key), count in sorted(broken.items())
    )
    return lines, broken.total()


def _by_columns(connection: sqlite3.Connection, table: str, key: int) -> str:
    """Return the columns of a foreign key, as a part of a sentence; nothing where none is known."""
    if not _can_be_sent(table):
        return ""
    keys = _each(connection, f"PRAGMA main.foreign_key_list({quoted(table)})")
    columns = [str(row[3]) for row in keys if row[0] == key]
    return f", by {', '.join(columns)}" if columns else ""


def _by_table(
    connection: sqlite3.Connection, pragma: str, without: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return faulty rows and, as warnings, what virtual tables say of themselves.

    ``without``: tables that are passed by, folded.
    """
    row_errors: list[str] = []
    warnings: list[str] = []
    for table in _tables(connection):
        if folded(table.name) in without:
            continue
        lines, error = _lines(
            # Not by its name: Python sends none to SQLite that is not UTF-8.
            connection,
            f"SELECT said.* FROM main.sqlite_master AS what, "  # noqa: S608 - one of two
            f"pragma_{pragma}(what.name, 'main') AS said WHERE what.rowid = {table.rowid}",
        )
        if table.is_virtual:
            said = lines or ([reason_of(error)] if error else [])
            warnings.extend(f"index {table.name} should be rebuilt: {line}" for line in said)
            continue
        if _CORRUPT in lines:
            raise DamageError(_CORRUPT)
        _require_sound_pages(lines)
        if lines or error is not None:
            _require_readable(connection, table, indexes=pragma == "integrity_check")
        # Those about pages are told once, of the whole.
        row_errors.extend(line for line in lines if not line.startswith(_OF_THE_PAGES))
        if error is not None:
            if _compiles(connection, pragma, table):
                raise error  # of a function of the application's that failed just now
            warnings.append(f"table {table.name} not checked in full: {reason_of(error)}")
    return tuple(row_errors[:_MOST_LINES]), tuple(warnings[:_MOST_LINES])


def _compiles(connection: sqlite3.Connection, pragma: str, table: _Table) -> bool:
    """Whether this connection has all collations and functions that a check of ``table`` takes."""
    if not _can_be_sent(table.name):
        return False
    try:
        connection.execute(f"EXPLAIN PRAGMA main.{pragma}({quoted(table.name)})").fetchall()
    except (sqlite3.OperationalError, UnicodeDecodeError):
        return False
    return True


def _tables(connection: sqlite3.Connection) -> list[_Table]:
    statement = (
        "SELECT rowid, name, upper(ltrim(sql, char(9, 10, 13, 32))) "
        "FROM main.sqlite_master WHERE type = 'table'"
    )
    return [
        _Table(int(rowid), str(name), str(sql).startswith("CREATE VIRTUAL"))
        for rowid, name, sql in _rows(connection, statement)
    ]


def _require_readable(connection: sqlite3.Connection, table: _Table, *, indexes: bool) -> None:
    """Read all rows of ``table``, and every index; raises an error that is damage."""
    if not _can_be_sent(table.name):
        return
    columns = _rows(connection, f"PRAGMA main.table_xinfo({quoted(table.name)})")
    stored = [quoted(row[1]) for row in columns if row[6] == 0 and _can_be_sent(row[1])] or ["1"]
    # length() makes SQLite read the value to its end, and hands none of it to Python.
    longest = ", ".join(f"max(length({column}))" for column in stored[:_MOST_COLUMNS])
    of_table = f"FROM main.{quoted(table.name)}"
    statements = [f"SELECT {longest} {of_table} NOT INDEXED"]
    if indexes:
        listed = _rows(connection, f"PRAGMA main.index_list({quoted(table.name)})")
        names = [row[1] for row in listed if not row[4] and _can_be_sent(row[1])]
        statements += [f"SELECT count(*) {of_table} INDEXED BY {quoted(name)}" for name in names]
    for statement in statements:
        try:
            connection.execute(statement).fetchall()
        except (sqlite3.OperationalError, UnicodeDecodeError) as error:
            # Else it needs what only the application has: it was said that it is not checked.
            if is_damage(error) or primary_code(error) != sqlite3.SQLITE_ERROR:
                raise


def _about_pages(connection: sqlite3.Connection, lines: list[str]) -> tuple[str, ...]:
    """Return what the check says about pages that costs nobody a row; raises for all else."""
    _require_sound_pages(lines)
    found = [line for line in lines if line.startswith(_OF_THE_PAGES)]
    if found:
        with _damage_told(found[0]):
            for table in _tables(connection):
                if not table.is_virtual:
                    _require_readable(connection, table, indexes=True)
    return tuple(line.removeprefix(f"{_OF_THE_PAGES}main ***").strip() for line in found)


def _require_sound_pages(lines: list[str]) -> None:
    for line in lines:
        if line.startswith(_OF_THE_PAGES) and not _WASTE.search(line):
            raise DamageError(line)


def _lines(connection: sqlite3.Connection, check: str) -> tuple[list[str], Exception | None]:
    """Return what the check says but "ok", and the error that ended it, unless that is a lock."""
    lines: list[str] = []
    try:
        for (line,) in _each(connection, check):
            if line != "ok":
                lines.extend(_single(line))
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # a name that is no text
        if not is_damage(error) and primary_code(error) not in _OF_THE_STATEMENT:
            raise
        return lines, error
    return lines, None


def _single(line: str) -> list[str]:
    """Return a line for each complaint: those about pages come as one, under a heading."""
    if not line.startswith(_OF_THE_PAGES):
        return [" ".join(line.split())]
    heading, *complaints = line.split("\n")
    return [f"{heading} {' '.join(complaint.split())}" for complaint in complaints] or [heading]


def _lines_with_stand_ins(
    connection: sqlite3.Connection, *, is_borrowed: bool
) -> tuple[list[str], list[str]]:
    """Return what ``quick_check`` says about pages, and what was missing to check more.

    With a stand-in for each collation and function that only the application has: to judge a page
    it asks none of them.
    """
    missing: list[str] = []
    lines: list[str] = []
    with ExitStack() as stand_ins:
        for _ in range(_MOST_STAND_INS):
            lines, error = _lines(connection, f"PRAGMA main.quick_check({_MOST_LINES})")
            if error is None:
                break
            missing.append(reason_of(error))
            wanted = _NAME_MISSING.fullmatch(missing[-1])
            if wanted is None or (is_borrowed and wanted["what"] != _COLLATION):
                break
            stand_ins.enter_context(_stand_in(connection, wanted))
    return [line for line in lines if line.startswith(_OF_THE_PAGES)], missing


@contextmanager
def _stand_in(connection: sqlite3.Connection, wanted: re.Match[str]) -> Iterator[None]:
    name = wanted["name"]
    if wanted["what"] != _COLLATION:
        # Not every Python can take a function back: it goes with the connection.
        connection.create_function(name, -1, lambda *_: None, deterministic=True)
        yield
        return
    connection.create_collation(name, lambda a, b: (a > b) - (a < b))
    try:
        yield
    finally:
        # A statement of the application's is running.
        with ignoring(sqlite3.Error, what=f"The stand-in {name} stays on the connection"):
            connection.create_collation(name, None)


def _any_text(data: bytes) -> str:
    """Return text whatever its bytes are."""
    return data.decode(errors="replace")


@contextmanager
def _damage_told(reason: str = "") -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise DamageError(reason or str(error)) from error
        raise


def _rows(connection: sqlite3.Connection, statement: str) -> list[tuple[Any, ...]]:
    return list(_each(connection, statement))


def _each(connection: sqlite3.Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    yield from cursor.execute(statement)


def _can_be_sent(name: str) -> bool:
    """Whether Python can send the name to SQLite; what was read in its place tells that."""
    return "\ufffd" not in name and "\0" not in name

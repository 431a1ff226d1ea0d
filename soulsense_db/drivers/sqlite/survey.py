"""What a database file holds, added up: one pass over each table."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from soulsense_db.drivers.rehearsal import ColumnSurvey, DatabaseSurvey, TableSurvey
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.as_stored import all_collations, any_text
from soulsense_db.drivers.sqlite.errors import reason_of
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.rows import Side

_SEQUENCE = "sqlite_sequence"
# A column has values of any type, whatever it is declared as; to ask for the type of each takes
# three times as long. Of a column that is declared for numbers, the greatest value tells whether it
# has others; of one for text, the least: SQLite orders numbers, then text, then blobs.
_NUMBERS = ("count({0})", "total({0})", "max({0} COLLATE BINARY) >= ''")
_TEXTS = ("count({0})", "coalesce(sum(length({0})), 0)", "min({0} COLLATE BINARY) < ''")
_ANY = (
    "count({0})",
    "count(CASE WHEN {0} >= '' THEN 1 END)",
    "coalesce(sum(CASE WHEN {0} >= '' THEN length({0}) END), 0)",
    "total(CASE WHEN {0} < '' THEN {0} END)",
)
# A result has 2,000 columns at most.
_COLUMNS_IN_ONE = 400


def survey(
    path: Path,
    *,
    ignore: Collection[str],
    version_tables: Collection[str],
    counted: Collection[str],
    known: Mapping[str, TableSurvey],
) -> DatabaseSurvey:
    """Survey the file ``path``, which nobody else has open; as ``RehearsalSupport.survey``."""
    with (
        closing(_opened(path)) as connection,
        any_text(connection),
        all_collations(connection),
    ):
        side = Side(connection)
        left_out = set(map(folded, (*ignore, *version_tables, _SEQUENCE)))
        tables, unreadable = [], list(side.unreadable)
        for name, table in sorted(side.tables.items()):
            if folded(name) in left_out:
                continue
            if name in known:
                tables.append(known[name])
                continue
            columns = () if name in counted else table.columns
            try:
                tables.append(_survey_table(connection, name, columns))
            except sqlite3.Error as error:  # a function that only the application has
                unreadable.append(f"{name} ({reason_of(error)})")
        heads = {
            name: found
            for name in version_tables
            if (found := pragmas.version_heads(connection, name)) is not None
        }
        return DatabaseSurvey(
            size_bytes=path.stat().st_size,
            tables=tuple(tables),
            alembic_heads=heads,
            schema=_schema(connection, left_out),
            columns=tuple(
                f"{name}.{column}"
                for name, table in sorted(side.tables.items())
                for column in table.columns
                if folded(name) not in left_out
            ),
            unreadable=tuple(sorted(unreadable)),
        )


def _opened(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _survey_table(
    connection: sqlite3.Connection, name: str, columns: tuple[str, ...]
) -> TableSurvey:
    listed = pragmas.rows(connection, f"PRAGMA main.table_info({quoted(name)})")
    declared = {row[1]: str(row[2] or "").upper() for row in listed}
    rows, found = 0, []
    for start in range(0, max(len(columns), 1), _COLUMNS_IN_ONE):
        some = columns[start : start + _COLUMNS_IN_ONE]
        sums = [_sums_for(declared.get(column, "")) for column in some]
        rows, values = _sums(connection, name, list(zip(some, sums, strict=True)))
        for column, of, asked in zip(some, values, sums, strict=True):
            if asked is not _ANY and of[-1]:  # it has others than it is declared for
                _, (exact,) = _sums(connection, name, [(column, _ANY)])
                found.append(_column(column, exact, _ANY))
            else:
                found.append(_column(column, of, asked))
    return TableSurvey(
        table=name, rows=rows, columns=tuple(found), parents=_parents(connection, name)
    )


def _sums_for(declared: str) -> tuple[str, ...]:
    """Return what to ask of a column by its affinity.

    Source: https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    """
    if "INT" in declared:
        return _NUMBERS
    if any(part in declared for part in ("CHAR", "CLOB", "TEXT")):
        return _TEXTS
    if any(part in declared for part in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL", "BOOL")):
        return _NUMBERS
    return _ANY


def _sums(
    connection: sqlite3.Connection, name: str, wanted: list[tuple[str, tuple[str, ...]]]
) -> tuple[int, list[list[Any]]]:
    """Return the number of rows, and what was asked of each column."""
    asked = [one.replace("{0}", quoted(column)) for column, sums in wanted for one in sums]
    statement = f"SELECT {', '.join(['count(*)', *asked])} FROM main.{quoted(name)}"  # noqa: S608 - quoted
    rows, *values = connection.execute(statement).fetchone()
    found = []
    for _, sums in wanted:
        found.append(values[: len(sums)])
        values = values[len(sums) :]
    return rows, found


def _column(column: str, of: list[Any], sums: tuple[str, ...]) -> ColumnSurvey:
    if sums is _NUMBERS:
        count, total, _ = of
        return ColumnSurvey(column=column, values=count, texts=0, length=0, total=total)
    if sums is _TEXTS:
        count, length, _ = of
        return ColumnSurvey(column=column, values=count, texts=count, length=length, total=0.0)
    count, texts, length, total = of
    return ColumnSurvey(column=column, values=count, texts=texts, length=length, total=total)


def _parents(connection: sqlite3.Connection, name: str) -> tuple[str, ...]:
    """Return the tables whose deleted rows take rows of ``name`` along."""
    listed = pragmas.rows(connection, f"PRAGMA main.foreign_key_list({quoted(name)})")
    return tuple(sorted({str(row[2]) for row in listed if str(row[6]).upper() == "CASCADE"}))


def _schema(connection: sqlite3.Connection, left_out: Collection[str]) -> dict[str, str]:
    """Return the SQL of all there is, by kind and name."""
    found = pragmas.rows(
        connection,
        "SELECT type, name, coalesce(sql, ''), tbl_name FROM main.sqlite_master "
        "WHERE name NOT GLOB 'sqlite_*'",
    )
    return {
        f"{row[0]} {row[1]}": str(row[2]) for row in found if folded(str(row[3])) not in left_out
    }

"""What a database file holds, added up: one pass over each table."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from soulsense_db.drivers.rehearsal import ColumnSurvey, DatabaseSurvey, TableSurvey
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.errors import reason_of
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.drivers.sqlite.rows import Side, all_collations, any_text

_SEQUENCE = "sqlite_sequence"
# Of one column in one statement, whose result has 2,000 columns at most.
_SUMS = (
    "count({0})",
    "count(CASE WHEN typeof({0}) IN ('text', 'blob') THEN 1 END)",
    "coalesce(sum(CASE WHEN typeof({0}) IN ('text', 'blob') THEN length({0}) END), 0)",
    "total(CASE WHEN typeof({0}) IN ('integer', 'real') THEN {0} END)",
)
_COLUMNS_IN_ONE = 400


def survey(
    path: Path, *, ignore: Collection[str], version_tables: Collection[str]
) -> DatabaseSurvey:
    """Survey the file ``path``, which nobody else has open."""
    with (
        closing(_opened(path)) as connection,
        any_text(connection),
        all_collations(connection),
    ):
        side = Side(connection)
        left_out = {name.lower() for name in (*ignore, *version_tables, _SEQUENCE)}
        tables, unreadable = [], list(side.unreadable)
        for name, table in sorted(side.tables.items()):
            if name.lower() in left_out:
                continue
            try:
                tables.append(_survey_table(connection, name, table.columns))
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
            unreadable=tuple(sorted(unreadable)),
        )


def _opened(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _survey_table(
    connection: sqlite3.Connection, name: str, columns: tuple[str, ...]
) -> TableSurvey:
    rows, found = 0, []
    for start in range(0, max(len(columns), 1), _COLUMNS_IN_ONE):
        some = columns[start : start + _COLUMNS_IN_ONE]
        sums = [one.format(quoted(column)) for column in some for one in _SUMS]
        statement = f"SELECT {', '.join(['count(*)', *sums])} FROM main.{quoted(name)}"  # noqa: S608 - quoted
        rows, *values = connection.execute(statement).fetchone()
        for at, column in enumerate(some):
            count, texts, length, total = values[at * len(_SUMS) : (at + 1) * len(_SUMS)]
            found.append(
                ColumnSurvey(column=column, values=count, texts=texts, length=length, total=total)
            )
    return TableSurvey(
        table=name, rows=rows, columns=tuple(found), parents=_parents(connection, name)
    )


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
        f"{row[0]} {row[1]}": str(row[2]) for row in found if str(row[3]).lower() not in left_out
    }

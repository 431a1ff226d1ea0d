"""What a survey adds up, whatever types the values have."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from soulsense_db.drivers import DatabaseSurvey, rehearsal_for

VALUES: dict[str, list[Any]] = {
    "text": ["one", "zwölf", ""],
    "numbers": [1, -2.5, 2**60],
    "blobs": [b"\0\1\2", b""],
    "nulls": [None, None],
    "all": ["one", 2, 2.5, b"\xff", None, ""],
    "nothing": [],
}
DECLARED = ["INTEGER", "VARCHAR(20)", "TEXT", "REAL", "NUMERIC(10, 2)", "BLOB", "", "DATETIME"]


def survey(path: Path) -> DatabaseSurvey:
    """Survey a file."""
    return rehearsal_for("sqlite").survey(path, ignore=(), version_tables=("alembic_version",))


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_sums_are_right_for_each_type(tmp_path: Path, declared: str, values: list[Any]) -> None:
    """The sums of a column are those of the values that SQLite stored, whatever it is declared."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'CREATE TABLE "od""d {{0}}" ("a ""{{0}}" {declared})')
        connection.executemany('INSERT INTO "od""d {0}" VALUES (?)', [(one,) for one in values])
        connection.commit()
        stored = [row[0] for row in connection.execute('SELECT * FROM "od""d {0}"')]
    (table,) = survey(path).tables
    (column,) = table.columns
    texts = [one for one in stored if isinstance(one, str | bytes)]
    numbers = [one for one in stored if isinstance(one, int | float)]
    assert (table.table, column.column, table.rows) == ('od"d {0}', 'a "{0}', len(values))
    assert column.values == len(texts) + len(numbers)
    assert (column.texts, column.length) == (len(texts), sum(map(len, texts)))
    assert column.total == pytest.approx(float(sum(numbers)))


def test_wide_tables_are_read_in_parts(tmp_path: Path) -> None:
    """A table may have as many columns as SQLite allows."""
    path = tmp_path / "a.db"
    names = [f"c{number}" for number in range(1999)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE wide ({', '.join(names)})")
        connection.execute("INSERT INTO wide (c0, c1998) VALUES ('one', 2)")
        connection.commit()
    (table,) = survey(path).tables
    assert len(table.columns) == len(names)
    assert (table.columns[0].length, table.columns[-1].total) == (3, 2.0)


def test_what_is_not_the_applications_is_left_out(tmp_path: Path) -> None:
    """Alembic's own table and SQLite's are no data."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num);"
            "INSERT INTO alembic_version VALUES ('one');"
            "CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT);"
            "INSERT INTO note DEFAULT VALUES;"
        )
    found = survey(path)
    assert [table.table for table in found.tables] == ["note"]
    assert found.alembic_heads == {"alembic_version": ("one",)}

"""Random rows are deleted and changed, and brought back: the database is what it was."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soulsense_db import BackupManager

pytestmark = pytest.mark.slow

SCHEMAS = [
    "id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t (id), v",
    "id TEXT PRIMARY KEY, parent TEXT REFERENCES t (id), v TEXT",
    "id PRIMARY KEY, parent REFERENCES t (id), v NUMERIC",
    "id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t (id) ON DELETE SET NULL, v UNIQUE",
    "id NOT NULL, parent, v BLOB, PRIMARY KEY (id, v)",
    "id TEXT PRIMARY KEY, parent REFERENCES t (id) ON DELETE CASCADE, v) WITHOUT ROWID, (",
]
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.binary(max_size=6),
)


def create(schema: str) -> str:
    """Return the statement that makes the table."""
    body, _, options = schema.partition(") WITHOUT")
    return f"CREATE TABLE t ({body})" + (" WITHOUT ROWID" if options else "")


def content(path: Path) -> list[str]:
    """Return all rows, with the types of their values, sorted."""
    with closing(sqlite3.connect(path)) as connection:
        columns = "id, typeof(id), parent, typeof(parent), v, typeof(v)"
        return sorted(map(repr, connection.execute(f"SELECT {columns} FROM t")))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), schema=st.sampled_from(SCHEMAS), enforced=st.booleans())
def test_what_is_brought_back_is_what_was_there(
    data: st.DataObject, schema: str, enforced: bool
) -> None:
    """Whatever was deleted or changed, the rows of the backup are all there again, and no more."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(create(schema))
            _insert(connection, data, 8)
        engine = sa.create_engine(f"sqlite:///{path}")

        @sa.event.listens_for(engine, "connect")
        def enforce(raw: Any, _record: object) -> None:
            raw.execute(f"PRAGMA foreign_keys = {int(enforced)}")

        manager = BackupManager(engine, catalog=False)
        manager.create()
        before = content(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            for (id_,) in connection.execute("SELECT DISTINCT id FROM t").fetchall():
                _harm(connection, data, id_, can_change="(id, v)" not in schema)
        if before:
            plan = manager.preview_rows("latest", "t", replace=True, with_parents=True)
            report = manager.restore_rows(
                "latest", "t", replace=True, with_parents=True, expected=plan
            )
            assert report.plan.tables == plan.tables
        after = content(path)
        engine.dispose()
    assert after == before


def _insert(connection: sqlite3.Connection, data: st.DataObject, most: int) -> None:
    for number in range(data.draw(st.integers(0, most))):
        parent = f"(SELECT id FROM t LIMIT 1 OFFSET {number // 2})"
        value = data.draw(VALUES)
        statement = f"INSERT OR IGNORE INTO t VALUES (?, {parent}, ?)"
        connection.execute(statement, (number, value))


def _harm(
    connection: sqlite3.Connection, data: st.DataObject, id_: object, *, can_change: bool
) -> None:
    """Delete or change a row; a change of its key would make it another one."""
    what = data.draw(st.sampled_from(["delete", "nothing", *(["change"] if can_change else [])]))
    statement = "DELETE FROM t WHERE id = ?"
    if what == "change":
        value = f"x'{data.draw(st.binary(min_size=7, max_size=7)).hex()}'"
        statement = f"UPDATE OR IGNORE t SET v = {value}, parent = NULL WHERE id = ?"
    if what != "nothing":
        try:
            connection.execute(statement, (id_,))
        except sqlite3.IntegrityError:  # others refer to it
            return

"""The ``backups`` table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.catalog.table import Catalog, Owner, TableState, metadata
from soulsense_db.errors import CatalogError

INFO = BackupInfo(
    id="0123456789ab",
    path="/backups/soulsense_backup_20260115_103000.db",
    created_at=datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
    size_bytes=8192,
    kind="pre_migration",
    description="Weekly",
    sha256="ab" * 32,
    alembic_heads=("a1", "b2"),
    target_revision="c3",
    duration_seconds=0.5,
)
OTHER = replace(INFO, id="ba9876543210", path="/backups/soulsense_backup_20260116_103000.db")
NAMES = ["backups", "soulsense_backups", 'odd "name"']


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """Return a connection to a real database file."""
    with engine.connect() as opened:
        yield opened


def rows(connection: Connection, name: str = "backups") -> list[dict[str, object]]:
    """Return the rows of the catalog table by column."""
    quoted = '"' + name.replace('"', '""') + '"'
    found = connection.exec_driver_sql(f"SELECT * FROM {quoted} ORDER BY filename").mappings()
    return [dict(row) for row in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_backup_becomes_a_row(connection: Connection, name: str) -> None:
    """Every fact that the table has a column for is in the row, under any table name."""
    catalog = Catalog(name, Owner("backups", "soulsense_backup"))
    catalog.prepare(connection)
    assert catalog.record(connection, INFO) == frozenset({INFO.filename})
    (row,) = rows(connection, name)
    assert row == {
        "filename": "soulsense_backup_20260115_103000.db",
        "catalog_format": 2,
        "id": "0123456789ab",
        "created_at": "2026-01-15 10:30:00.000000",
        "kind": "pre_migration",
        "description": "Weekly",
        "size_bytes": 8192,
        "sha256": "ab" * 32,
        "alembic_heads": "a1,b2",
        "target_revision": "c3",
        "duration_seconds": 0.5,
        "directory": "backups",
        "prefix": "soulsense_backup",
    }
    assert catalog.state(connection) is TableState.CURRENT


def test_recording_again_replaces_the_row(connection: Connection) -> None:
    """One backup has one row, however often it is recorded; the names of all are told."""
    catalog = Catalog()
    catalog.prepare(connection)
    assert catalog.record(connection, INFO) == frozenset({INFO.filename})
    assert catalog.record(connection, replace(INFO, description="x"))
    both = frozenset({INFO.filename, OTHER.filename})
    assert catalog.record(connection, OTHER) == both
    assert [row["description"] for row in rows(connection)] == ["x", "Weekly"]


def test_an_absent_table_stays_absent_when_asked(connection: Connection) -> None:
    """Before a first migration the table is the migration's to make."""
    catalog = Catalog()
    assert catalog.state(connection) is TableState.ABSENT
    assert catalog.record(connection, INFO) is None
    assert catalog.rebuild(connection, [INFO]) is None
    catalog.forget(connection, INFO.filename)
    assert catalog.state(connection) is TableState.ABSENT


def test_forgetting_removes_one_row(connection: Connection) -> None:
    """Only the row of the deleted backup goes; one that is not there is no error."""
    catalog = Catalog()
    catalog.prepare(connection)
    catalog.rebuild(connection, [INFO, OTHER])
    catalog.forget(connection, INFO.filename)
    catalog.forget(connection, INFO.filename)
    assert [row["id"] for row in rows(connection)] == [OTHER.id]


def test_rebuilding_leaves_exactly_what_is_given(connection: Connection) -> None:
    """After a rebuild the table is an index of the meta files and of nothing else."""
    catalog = Catalog()
    catalog.prepare(connection)
    catalog.record(connection, INFO)
    assert catalog.rebuild(connection, [OTHER]) == 1
    assert [row["id"] for row in rows(connection)] == [OTHER.id]
    assert catalog.rebuild(connection, []) == 0
    assert rows(connection) == []


FOREIGN = {
    "table": "CREATE TABLE backups (id INTEGER PRIMARY KEY, taken_on TEXT)",
    "view": "CREATE VIEW backups AS SELECT 1 AS filename, 2 AS catalog_format",
    "half alike": "CREATE TABLE backups (filename TEXT PRIMARY KEY, size INTEGER)",
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN.keys())
def test_somebody_elses_table_is_never_touched(connection: Connection, statement: str) -> None:
    """A table or view that is not ours is left alone, and the error names the way round it."""
    connection.exec_driver_sql(statement)
    catalog = Catalog()
    assert catalog.state(connection) is TableState.FOREIGN
    before = connection.exec_driver_sql("SELECT sql FROM sqlite_master").all()
    with pytest.raises(CatalogError) as caught:
        catalog.require_free(connection)
    assert "catalog='soulsense_backups'" in caught.value.hint
    catalog.prepare(connection)
    assert catalog.record(connection, INFO) is None
    assert catalog.rebuild(connection, [INFO]) is None
    catalog.forget(connection, INFO.filename)
    assert connection.exec_driver_sql("SELECT sql FROM sqlite_master").all() == before


def test_an_older_layout_is_brought_up_to_date(connection: Connection) -> None:
    """A table of ours with other columns gets those it lacks; its rows and columns stay."""
    connection.exec_driver_sql(
        "CREATE TABLE backups (filename TEXT PRIMARY KEY, catalog_format INTEGER, old TEXT)"
    )
    connection.exec_driver_sql("INSERT INTO backups VALUES ('elsewhere.db', 0, 'x')")
    catalog = Catalog()
    assert catalog.state(connection) is TableState.OUTDATED
    catalog.require_free(connection)
    catalog.prepare(connection)
    assert catalog.rebuild(connection, [INFO]) == 1
    assert catalog.state(connection) is TableState.CURRENT
    assert catalog.names(connection) == frozenset({INFO.filename})
    assert [(row["filename"], row["old"]) for row in rows(connection)] == [
        ("elsewhere.db", "x"),
        (INFO.filename, None),
    ]


def test_an_older_layout_can_be_left_to_the_hosts_migrations(connection: Connection) -> None:
    """Where no table may be made, none is altered: the host's revision adds them."""
    connection.exec_driver_sql("CREATE TABLE backups (filename TEXT PRIMARY KEY, catalog_format)")
    before = connection.exec_driver_sql("SELECT sql FROM sqlite_master").all()
    assert Catalog().rebuild(connection, [INFO]) is None
    assert connection.exec_driver_sql("SELECT sql FROM sqlite_master").all() == before


def test_the_applications_own_migrations_can_make_the_table(
    tmp_path: Path, connection: Connection
) -> None:
    """The published metadata makes a table that the catalog takes for its own."""
    metadata.create_all(connection)
    assert sa.inspect(connection).has_table("backups")
    assert Catalog().state(connection) is TableState.CURRENT

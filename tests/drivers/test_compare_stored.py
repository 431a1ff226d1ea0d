"""Comparing reads what is stored, however the application's own connections would show it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import PROGRAMS, Mode, execute, make_database
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from soulsense_db import BackupManager
from soulsense_db.drivers import DatabaseDiff, driver_for
from soulsense_db.drivers.sqlite import compare as sqlite_compare
from soulsense_db.errors import DatabaseDamagedError, InvalidBackupError
from soulsense_db.scheduled import run_auto

_DETECT = sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES

EVENTS: dict[str, Callable[[Any], object]] = {
    "TEMP view": lambda raw: raw.execute(
        "CREATE TEMP VIEW child AS SELECT * FROM main.child WHERE id = 1"
    ),
    "TEMP table": lambda raw: raw.execute("CREATE TEMP TABLE parent (x)"),
    "TEMP sqlite_sequence": lambda raw: raw.execute("CREATE TEMP TABLE alembic_version (x)"),
    "row factory": lambda raw: setattr(raw, "row_factory", lambda *_: None),
    "text factory": lambda raw: setattr(raw, "text_factory", len),
    "trace": lambda raw: raw.set_trace_callback(lambda _: 1 / 0),
    "function": lambda raw: raw.create_function("typeof", 1, lambda _: "odd"),
    "collation": lambda raw: raw.create_collation("BINARY", lambda a, b: (a < b) - (a > b)),
}


@pytest.mark.parametrize("with_live", [False, True], ids=["copy", "live"])
@pytest.mark.parametrize("name", EVENTS)
def test_what_a_connect_event_does_changes_nothing(
    database: Path, make_engine: EngineMaker, name: str, with_live: bool
) -> None:
    """Equal is equal, and one more row is one more, whatever the application set up."""
    engine = make_engine(database)
    if name == "collation" and with_live:
        pytest.skip("SQLite itself orders by it then")
    event.listen(engine, "connect", lambda raw, _: EVENTS[name](raw))
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    driver = driver_for(engine, lock_timeout=1)

    def compare() -> dict[str, tuple[int, int, int | None]]:
        found = driver.compare(Path(info.path), ignore=()) if with_live else manager.compare(info)
        return {t.table: (t.gained, t.lost, t.changed) for t in found.tables}

    assert compare() == {}
    execute(database, "DELETE FROM child WHERE id = 7", "UPDATE parent SET name = 'x' WHERE id = 2")
    assert compare() == {"child": (1, 0, 0), "parent": (0, 0, 1)}


@pytest.mark.parametrize("with_live", [False, True], ids=["copy", "live"])
@pytest.mark.parametrize(
    ("declared", "value"),
    [("TIMESTAMP", "2026-01-15 10:30:00"), ("DATE", "2026-01-15"), ("TIMESTAMP", "no time")],
)
def test_converters_are_not_asked(
    tmp_path: Path, make_engine: EngineMaker, declared: str, value: str, with_live: bool
) -> None:
    """With detect_types values are compared as they are stored, also what no converter takes."""
    database = tmp_path / "app.db"
    execute(
        database,
        f'CREATE TABLE t (k {declared} PRIMARY KEY, "v [timestamp]", w {declared})',
        f"INSERT INTO t VALUES ('{value}', '{value}', '{value}')",
    )
    engine = make_engine(database, connect_args={"detect_types": _DETECT}, native_datetime=True)
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    driver = driver_for(engine, lock_timeout=1)

    def compare() -> int:
        found = driver.compare(Path(info.path), ignore=()) if with_live else manager.compare(info)
        return sum(t.lost for t in found.tables)

    assert compare() == 0
    report = run_auto(manager)
    assert report is not None
    assert report.created is None
    execute(database, f"INSERT INTO t VALUES ('{value}!', 1, 2)")
    assert compare() == 1


TABLES = {
    "rowid": "t (id INTEGER PRIMARY KEY, v)",
    "text key": "t (id TEXT PRIMARY KEY, v)",
    "no key": "t (id, v)",
    "WITHOUT ROWID": "t (id TEXT PRIMARY KEY, v) WITHOUT ROWID",
    "another rowid": "t (rowid TEXT, id INTEGER, v, oid)",
    "folded key": "t (id TEXT PRIMARY KEY COLLATE NOCASE, v)",
}


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("as_text", [False, True], ids=["blob", "text"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_large_values_are_compared_to_the_last_byte(
    tmp_path: Path, make_engine: EngineMaker, table: str, as_text: bool, encoding: str
) -> None:
    """One byte in the middle of megabytes is a change; a row with them is found by its key."""
    database = tmp_path / "app.db"
    value = "CAST(? AS TEXT)" if as_text else "?"
    size = 2_500_000
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(f"CREATE TABLE {table}")
        for key, data in (("1", b"small"), ("2", b"a" * size), ("3", b"b" * size), ("4", b"c")):
            connection.execute(f"INSERT INTO t (id, v) VALUES (?, {value})", (key, data))
        connection.commit()
    manager = BackupManager(make_engine(database), catalog=False)
    manager.create()
    assert manager.compare("latest").identical
    changed = b"b" * 1_700_000 + b"x" + b"b" * (size - 1_700_001)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"UPDATE t SET v = {value} WHERE id = '3'", (changed,))
        connection.commit()
    (found,) = manager.compare("latest").tables
    assert (found.gained, found.lost, found.changed) == (0, 0, 1)
    execute(database, "DELETE FROM t WHERE id = '2'")
    (found,) = manager.compare("latest").tables
    assert (found.gained, found.lost, found.changed) == (1, 0, 1)


def test_without_a_name_for_the_rowid_large_values_are_compared(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Where columns have taken all names of the rowid, nothing is overlooked either."""
    database = tmp_path / "app.db"
    execute(
        database,
        "CREATE TABLE t (rowid, oid, _rowid_, v)",
        "INSERT INTO t VALUES (1, 2, 3, hex(zeroblob(1000000))), (2, 2, 3, 'small')",
    )
    manager = BackupManager(make_engine(database), catalog=False)
    manager.create()
    assert manager.compare("latest").identical
    execute(database, "UPDATE t SET v = substr(v, 2) || '1' WHERE rowid = 1")
    (found,) = manager.compare("latest").tables
    assert (found.gained, found.lost, found.changed) == (0, 0, 1)


def test_a_large_blob_is_not_the_text_of_the_same_bytes(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Of large values too the kind is compared."""
    database = tmp_path / "app.db"
    execute(database, "CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES (zeroblob(2000000))")
    manager = BackupManager(make_engine(database), catalog=False)
    manager.create()
    execute(database, "UPDATE t SET v = CAST(v AS TEXT)")
    assert not manager.compare("latest").identical


_SIZE = 64_000_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("table", ["t (id INTEGER PRIMARY KEY, v)", "t (id TEXT PRIMARY KEY, v)"])
@pytest.mark.parametrize("value", [f"zeroblob({_SIZE})", f"printf('%.*c', {_SIZE}, 'x')"])
def test_memory_stays_flat_with_large_rows(tmp_path: Path, table: str, value: str) -> None:
    """Nothing needs as much memory as a row has bytes."""
    database = tmp_path / "app.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"CREATE TABLE {table}")
        connection.execute(f"INSERT INTO t VALUES (1, {value}), (2, {value})")
        connection.commit()
    command = [sys.executable, str(PROGRAMS / "peak_memory.py"), f"sqlite:///{database}"]
    command.append(f"sqlite:///{make_database(tmp_path / 'warm.db')}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    grown = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert set(grown) == {"create", "verify", "compare", "auto", "restore"}
    assert max(grown.values()) < 30, grown


@pytest.mark.parametrize("call", ["compare", "auto"])
def test_the_application_writes_while_rows_are_compared(
    tmp_path: Path,
    make_engine: EngineMaker,
    mode: Mode,
    call: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once the copy is taken nobody waits, in either journal mode, for as long as it takes."""
    database = make_database(tmp_path / "app.db", mode=mode, rows=5000)
    engine = make_engine(database)
    manager = BackupManager(engine, catalog=False)
    manager.create()
    written = 0

    def write(_done: int, _total: int) -> None:
        nonlocal written
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            connection.execute("INSERT INTO child VALUES (NULL, 1, 0, 'meanwhile')")
            connection.commit()
        written += 1

    real = sqlite_compare.compare

    def compare(*arguments: Any, **options: Any) -> DatabaseDiff:
        return real(*arguments, **options | {"progress": write})

    monkeypatch.setattr("soulsense_db.drivers.sqlite.reading.compare", compare)
    if call == "compare":
        assert manager.compare("latest").identical
    else:
        report = run_auto(manager)
        assert report is not None
        assert report.created is None
    monkeypatch.undo()
    assert written
    assert not manager.compare("latest").identical


def test_auto_keeps_the_copy_that_it_compared(manager: BackupManager, database: Path) -> None:
    """Where it differs it is the backup; where not there is no trace of it."""
    first = run_auto(manager)
    assert first is not None
    assert first.created is not None
    names = manager._repository.directory.names()
    again = run_auto(manager)
    assert again is not None
    assert again.created is None
    assert manager._repository.directory.names() == names
    assert not [path for path in manager.directory.iterdir() if "staging" in path.name]
    execute(database, "UPDATE parent SET name = 'changed' WHERE id = 1")
    third = run_auto(manager)
    assert third is not None
    assert third.created is not None
    assert manager.compare(third.created).identical


def test_compare_where_nothing_may_be_written(manager: BackupManager, database: Path) -> None:
    """Without the backup directory the copy is made elsewhere, and nothing is left of it."""
    manager.restore(manager.create())
    safety = manager.safety_backup()
    assert safety is not None
    for path in manager.directory.iterdir():
        path.unlink()
    manager.directory.rmdir()
    assert {t.table for t in manager.compare(safety).tables} <= {"backups"}
    assert not manager.directory.exists()


def test_an_in_memory_database_is_compared_and_kept(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """It has only the application's own connection, which stays as it was."""
    engine = make_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (a)"))
    manager = BackupManager(engine, tmp_path / "backups", catalog=False)
    assert run_auto(manager) is not None
    report = run_auto(manager)
    assert report is not None
    assert report.created is None


@pytest.mark.parametrize("damaged", ["backup", "live"])
def test_an_index_that_names_a_row_that_is_gone_is_damage(
    tmp_path: Path, make_engine: EngineMaker, damaged: str
) -> None:
    """Also where large rows are found one by one, damage is an error of the tree."""
    files = {name: tmp_path / f"{name}.db" for name in ("live", "backup")}
    for path in files.values():
        execute(
            path,
            "CREATE TABLE t (id TEXT PRIMARY KEY, v)",
            "INSERT INTO t VALUES ('1', 'a'), ('2', zeroblob(1000000)), ('3', 'c')",
        )
    with closing(sqlite3.connect(files[damaged])) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'index'"
        ).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        # Without its index a table loses rows that the index keeps.
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE t (id TEXT, v)' WHERE type = 'table'"
        )
        connection.execute("DELETE FROM sqlite_master WHERE type = 'index'")
        connection.commit()
    with closing(sqlite3.connect(files[damaged])) as connection:
        connection.execute("DELETE FROM t WHERE id = '3'")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE t (id TEXT PRIMARY KEY, v)'"
        )
        connection.execute(
            "INSERT INTO sqlite_master VALUES ('index', 'sqlite_autoindex_t_1', 't', ?, NULL)",
            (root,),
        )
        connection.commit()
    driver = driver_for(make_engine(files["live"]), lock_timeout=1)
    error = {"backup": InvalidBackupError, "live": DatabaseDamagedError}[damaged]
    with pytest.raises(error, match="damaged"):
        driver.compare(files["backup"], ignore=())


def test_a_value_longer_than_its_file_is_damage(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A length that no file of that size can hold is damage, and not a limit of SQLite's."""
    size, value = 4096, 500
    files = {name: tmp_path / f"{name}.db" for name in ("live", "backup")}
    for path in files.values():
        execute(
            path,
            "CREATE TABLE t (k INTEGER PRIMARY KEY, v) WITHOUT ROWID",
            f"INSERT INTO t VALUES (1, zeroblob({value}))",
        )
    data = bytearray(files["backup"].read_bytes())
    cell = size + int.from_bytes(data[size + 8 : size + 10], "big")
    # Length of the record, of its header, the types of both values: as in SQLite's file format.
    told = bytes((*_varint(4 + value), 4, 9, *_varint(2 * value + 12)))
    assert data[cell : cell + len(told)] == told
    longest = 489 + (size - 4) * 300_000
    told = bytes((*_varint(longest), 7, 9, *_varint(2 * (longest - 7) + 12)))
    cell -= 3  # the length of the record has three bytes more now
    data[cell : cell + len(told)] = told
    data[size + 8 : size + 10] = data[size + 5 : size + 7] = (cell - size).to_bytes(2, "big")
    files["backup"].write_bytes(data)
    with pytest.raises(InvalidBackupError, match="too big"):
        driver_for(make_engine(files["live"]), lock_timeout=1).compare(files["backup"], ignore=())


def _varint(number: int) -> bytes:
    """Return ``number`` as SQLite's file format writes it, seven bits a byte."""
    parts = [number & 127]
    while number := number >> 7:
        parts.insert(0, number & 127 | 128)
    return bytes(parts)

"""What is damage of an SQLite file, and what is not, on each SQLite library that is installed."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import PROGRAMS, add_child, digest, make_database, run_unprivileged, scalar
from sqlalchemy.pool import StaticPool

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite import structure as sqlite_structure
from soulsense_db.drivers.sqlite.check import check
from soulsense_db.errors import (
    DatabaseDamagedError,
    InvalidBackupError,
    PermissionDeniedError,
    UnsupportedDatabaseError,
)
from soulsense_db.health import State, check_health

LIBRARIES = [
    "sqlite3",
    pytest.param(
        "pysqlite3",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("pysqlite3") is None, reason="no second SQLite is installed"
        ),
    ),
]
STALE_INDEXES = {
    "fts5": (
        "CREATE VIRTUAL TABLE f USING fts5(b)",
        "INSERT INTO f VALUES ('apple')",
        "UPDATE f_content SET c0 = 'pear'",
    ),
    "fts5 without its segments": (
        "CREATE VIRTUAL TABLE f USING fts5(b)",
        "INSERT INTO f VALUES ('apple')",
        "UPDATE f_data SET block = x'ffffffffffffffffffff'",
    ),
    "fts4": (
        "CREATE VIRTUAL TABLE f USING fts4(b)",
        "INSERT INTO f VALUES ('apple')",
        "UPDATE f_content SET c0b = 'pear'",
    ),
    "r-tree": (
        "CREATE VIRTUAL TABLE f USING rtree(id, low, high)",
        "INSERT INTO f VALUES (1, 1, 2)",
        "DELETE FROM f_rowid",
    ),
    "fts5 without a shadow table": (
        "CREATE VIRTUAL TABLE f USING fts5(b)",
        "INSERT INTO f VALUES ('apple')",
        "DROP TABLE f_docsize",
    ),
}


def _on(library: str, folder: Path, *calls: str) -> dict[str, Any]:
    """Make ``calls`` of a manager in ``folder`` on an SQLite library; return what each gave."""
    done = subprocess.run(
        [sys.executable, PROGRAMS / "on_a_library.py", library, *calls],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("index", STALE_INDEXES)
def test_a_stale_index_of_a_virtual_table_is_a_warning(
    tmp_path: Path, library: str, index: str
) -> None:
    """Newer versions of SQLite ask full-text and R-Tree indexes too: the data is none the worse."""
    live = make_database(tmp_path / "app.db")
    _edit(live, *STALE_INDEXES[index])
    expected = digest_of_rows(live)
    calls = "create", "verify", "restore", "undo", "again", "can restore"
    told = _on(library, tmp_path, *calls)
    assert told["create"].endswith(".db")
    assert told["again"].endswith(".db")
    assert told["restore"] == told["undo"] == told["can restore"] == []
    assert isinstance(told["verify"], list)
    if library == "pysqlite3" and index != "fts5 without a shadow table":
        assert any("index f should be rebuilt" in warning for warning in told["verify"])
    assert digest_of_rows(live) == expected


def digest_of_rows(path: Path) -> str:
    """Return all rows of the two plain tables."""
    with closing(sqlite3.connect(path)) as connection:
        return repr(
            [connection.execute(f"SELECT * FROM {t}").fetchall() for t in ("parent", "child")]
        )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("page", [4, 5, 6])
def test_a_damaged_page_is_damage_beside_a_stale_index(
    tmp_path: Path, library: str, page: int
) -> None:
    """What SQLite cannot read is found also where it stumbles over a virtual table first."""
    live = make_database(tmp_path / "app.db", rows=2000)
    _edit(live, *STALE_INDEXES["fts5"], *(s.replace(" f", " g") for s in STALE_INDEXES["r-tree"]))
    data = bytearray(live.read_bytes())
    data[4096 * page : 4096 * (page + 1)] = b"\xee" * 4096
    live.write_bytes(bytes(data))
    told = _on(library, tmp_path, "create")
    assert told["create"].startswith("DatabaseDamagedError")


APPLICATION_S = {
    "collation": "CREATE TABLE own (a TEXT COLLATE german PRIMARY KEY) WITHOUT ROWID",
    "function in a check": "CREATE TABLE own (a CHECK (valid(a)))",
    "function in an index": "CREATE TABLE own (a); CREATE INDEX i ON own (valid(a))",
    "function in a generated column": "CREATE TABLE own (a, b NOT NULL AS (valid(a)))",
}


def _application_s(path: Path, what: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("german", lambda a, b: (a > b) - (a < b))
        connection.create_function("valid", 1, lambda value: value, deterministic=True)
        connection.executescript(APPLICATION_S[what])
        connection.execute("INSERT INTO own (a) VALUES (1)")
        connection.commit()


@pytest.mark.parametrize("what", APPLICATION_S)
def test_pages_are_checked_without_what_the_application_has(tmp_path: Path, what: str) -> None:
    """A collation or function that is missing keeps a check from rows, never from the pages."""
    backup = make_database(tmp_path / "backup.db", rows=2000)
    _application_s(backup, what)
    assert check(backup, level="full").row_errors == ()
    assert check(backup, level="pages").row_errors == ()
    data = bytearray(backup.read_bytes())
    data[4096 * 6 : 4096 * 7] = b"\xee" * 4096
    backup.write_bytes(bytes(data))
    for level in ("pages", "full"):
        with pytest.raises(InvalidBackupError, match="is damaged"):
            check(backup, level=level)


MISSING = {"function": "SELECT valid(1)", "collation": "SELECT 1 WHERE 'a' < 'b' COLLATE german"}


@pytest.mark.parametrize("what", APPLICATION_S)
def test_a_connection_of_the_application_gets_no_stand_ins(
    tmp_path: Path, make_engine: EngineMaker, what: str
) -> None:
    """What is missing on an in-memory connection is missing after a restore too, and not NULL."""
    backup = make_database(tmp_path / "backup.db")
    _application_s(backup, what)
    engine = make_engine("sqlite://", poolclass=StaticPool)
    manager = BackupManager(engine, tmp_path / "backups", catalog=False)
    manager.restore(manager.import_file(backup))
    connection = engine.pool.connect().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    assert connection.execute("SELECT count(*) FROM child").fetchone()[0] > 0
    for statement in MISSING.values():
        with pytest.raises(sqlite3.OperationalError, match="no such"):
            connection.execute(statement)


def test_stand_ins_are_taken_back_on_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a check leaves the application's connection as it was."""
    lines = sqlite_structure._lines
    told: list[str] = []

    def interrupted(connection: sqlite3.Connection, check: str) -> object:
        told.append(check)
        if "german" in str(lines(connection, "PRAGMA quick_check")[1]):
            return lines(connection, check)
        raise KeyboardInterrupt  # the stand-in is there

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_collation("german", lambda a, b: (a > b) - (a < b))
        connection.executescript(APPLICATION_S["collation"])
        connection.create_collation("german", None)
        monkeypatch.setattr(sqlite_structure, "_lines", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sqlite_structure.examine(connection, full=False, is_borrowed=True)
        assert len(told) > 2
        with pytest.raises(sqlite3.OperationalError, match="no such collation"):
            connection.execute(MISSING["collation"])


@pytest.mark.parametrize("what", ["collation", "function in a check"])
def test_the_list_of_free_pages_is_checked_as_well(tmp_path: Path, what: str) -> None:
    """It belongs to no table: only a look at the whole file finds that it is wrong."""
    backup = make_database(tmp_path / "backup.db", rows=2000)
    _application_s(backup, what)
    _edit(backup, "DELETE FROM child")
    assert check(backup, level="pages").row_errors == ()
    data = bytearray(backup.read_bytes())
    sound = bytes(data)
    data[36:40] = b"\0\0\0\1"  # how many free pages there are: a fault that costs nobody a row
    backup.write_bytes(bytes(data))
    assert "size is" in check(backup, level="pages").row_errors[0]
    data = bytearray(sound)
    data[32:36] = b"\0\1\0\0"  # where the first of them is
    backup.write_bytes(bytes(data))
    with pytest.raises(InvalidBackupError, match="is damaged"):
        check(backup, level="pages")


TOO_NEW = {
    "view": "INSERT INTO sqlite_master VALUES ('view','v','v',0,"
    "'CREATE VIEW v AS SELECT a FRM OF')",
    "table": "UPDATE sqlite_master SET sql = replace(sql, 'child (', 'child ODD (') "
    "WHERE name = 'child'",
    "trigger": "INSERT INTO sqlite_master VALUES ('trigger','r','child',0,"
    "'CREATE TRIGGER r AFTER MERGE ON child BEGIN SELECT 1; END')",
    "index": "UPDATE sqlite_master SET sql = sql || ' USING hash' WHERE name = 'child_parent'",
}


@pytest.mark.parametrize("what", TOO_NEW)
def test_a_schema_that_is_too_new_is_called_that(
    tmp_path: Path, make_engine: EngineMaker, what: str
) -> None:
    """It is an error of its own with its own hint, not damage, and no file is moved aside."""
    live = make_database(tmp_path / "app.db")
    expected = digest(live)
    engine = make_engine(live)
    manager = BackupManager(engine, catalog=False)
    sound = manager.create("sound")
    engine.dispose()
    _edit(live, TOO_NEW[what])
    with pytest.raises(UnsupportedDatabaseError, match="does not understand the schema") as caught:
        manager.create()
    assert str(live) in caught.value.message
    assert "newer" in caught.value.hint
    copy = tmp_path / "copy.db"
    copy.write_bytes(live.read_bytes())
    with pytest.raises(InvalidBackupError, match="does not understand the schema") as refused:
        manager.import_file(copy)
    assert "not damaged" in refused.value.message
    edited = live.read_bytes()
    assert manager.restore(sound).moved_aside == ()
    assert digest(live) == expected
    assert manager.undo_restore().moved_aside == ()
    assert live.read_bytes()[100:] == edited[100:]


@pytest.mark.parametrize(
    "name", ["fts5 with an unknown tokenizer", "an unknown module", "a missing function"]
)
def test_what_an_extension_brings_is_no_damage(
    tmp_path: Path, make_engine: EngineMaker, name: str
) -> None:
    """A table, tokenizer or function of an extension that is not loaded keeps nobody from rows."""
    live = make_database(tmp_path / "app.db")
    expected = digest_of_rows(live)
    statements = {
        "fts5 with an unknown tokenizer": (
            "CREATE VIRTUAL TABLE f USING fts5(b)",
            "UPDATE sqlite_master SET sql = 'CREATE VIRTUAL TABLE f USING fts5(b, tokenize = odd)' "
            "WHERE name = 'f'",
        ),
        "an unknown module": (
            "INSERT INTO sqlite_master VALUES "
            "('table','f','f',0,'CREATE VIRTUAL TABLE f USING vec0(a)')",
        ),
        "a missing function": ("CREATE VIEW v AS SELECT json_odd(body) FROM child",),
    }
    _edit(live, *statements[name])
    manager = BackupManager(make_engine(live), catalog=False)
    info = manager.create()
    manager.verify(info)
    assert manager.can_restore(info).ok
    assert manager.restore(info).moved_aside == ()
    assert digest_of_rows(live) == expected


def test_an_index_that_disagrees_is_a_fault_and_one_that_cannot_be_read_is_damage(
    tmp_path: Path,
) -> None:
    """Told apart by reading it: REINDEX mends the one, the other is a damaged page."""
    backup = make_database(tmp_path / "backup.db")
    _edit(
        backup,
        "UPDATE sqlite_master SET sql = 'CREATE INDEX child_parent ON child (amount)' "
        "WHERE name = 'child_parent'",
    )
    assert any("child_parent" in fault for fault in check(backup, level="full").row_errors)
    data = backup.read_bytes()  # another page over the root of the index
    backup.write_bytes(data[: 4096 * 3] + data[4096 * 4 : 4096 * 5] + data[4096 * 4 :])
    with pytest.raises(InvalidBackupError, match="is damaged"):
        check(backup, level="full")


@pytest.mark.parametrize("index", ["(body)", "(body) WHERE amount > 0", "(amount DESC, body)"])
def test_an_index_of_any_kind_that_cannot_be_read_is_damage(tmp_path: Path, index: str) -> None:
    """Also one that no plain statement can be made to read, such as a partial one."""
    backup = make_database(tmp_path / "backup.db", rows=2000)
    _edit(backup, f"CREATE INDEX own ON child {index}")
    (root,) = _column(backup, "SELECT rootpage FROM sqlite_master WHERE name = 'own'")
    data = bytearray(backup.read_bytes())
    data[4096 * (root - 1) : 4096 * root] = data[4096 * 3 : 4096 * 4]
    backup.write_bytes(bytes(data))
    with pytest.raises(InvalidBackupError, match="is damaged"):
        check(backup, level="full")


def _column(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(statement)]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_constraints_that_came_later_are_faults(tmp_path: Path, encoding: str) -> None:
    """Rows that break one are no damage, in whatever encoding the table's name is."""
    backup = tmp_path / "backup.db"
    _edit(
        backup,
        f"PRAGMA encoding = '{encoding}'",
        "CREATE TABLE größe (a)",
        "INSERT INTO größe VALUES (NULL)",
        "UPDATE sqlite_master SET sql = 'CREATE TABLE größe (a NOT NULL)'",
    )
    (fault,) = check(backup, level="pages").row_errors
    assert "größe" in fault


SCHEMAS = {
    "default value": "CREATE TABLE own (a, town DEFAULT 'MX-nchen')",
    "comment": "CREATE TABLE own (a /* gX-ltig */)",
    "column": 'CREATE TABLE own (a, "X-ber")',
    "table": 'CREATE TABLE own (a); CREATE TABLE "X-ber" (a NOT NULL);'
    'INSERT INTO "X-ber" VALUES (1)',
    "view": "CREATE TABLE own (a); CREATE VIEW v AS SELECT 'X-ber'",
    "trigger": "CREATE TABLE own (a); CREATE TRIGGER t AFTER DELETE ON own BEGIN "
    "SELECT 'X-ber'; END",
    "index": 'CREATE TABLE own (a); CREATE INDEX "X-ber" ON own (a)',
}


def test_a_table_is_passed_by_and_not_the_one_with_the_other_letter(tmp_path: Path) -> None:
    """For SQLite "Ä" and "ä" are two tables, "A" and "a" are one."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript('CREATE TABLE "Ä" (n); CREATE TABLE "ä" (n CHECK (n > 0));')
        connection.executescript('PRAGMA ignore_check_constraints = 1; INSERT INTO "ä" VALUES (0);')
        connection.execute("PRAGMA ignore_check_constraints = 0")
        found = sqlite_structure.examine(connection, full=True, without=("Ä",))
        assert found.row_errors
        connection.execute('ALTER TABLE "ä" RENAME TO "a"')
        assert not sqlite_structure.examine(connection, full=True, without=("A",)).row_errors


def latin_1_database(path: Path, what: str) -> Path:
    """Make a database whose schema has bytes in it that are no UTF-8."""
    make_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMAS[what] + "; INSERT INTO own (a) VALUES (1)")
    data = path.read_bytes()
    assert b"X-" in data
    path.write_bytes(data.replace(b"X-", b"\xfc\xe4"))
    return path


@pytest.mark.parametrize("what", SCHEMAS)
def test_a_schema_in_another_encoding_is_restored(
    tmp_path: Path, make_engine: EngineMaker, what: str
) -> None:
    """What an old program wrote in Latin-1 is created, verified, restored and undone like any."""
    live = latin_1_database(tmp_path / "app.db", what)
    manager = BackupManager(make_engine(live), catalog=False)
    info = manager.create()
    assert manager.verify(info).warnings == ()
    assert manager.can_restore(info).ok
    before = live.read_bytes()
    report = manager.restore(info)
    assert report.moved_aside == ()
    assert report.verified
    assert live.read_bytes()[100:] == before[100:]
    manager.undo_restore()
    assert check_health(manager).state is State.OK


@pytest.mark.parametrize("what", SCHEMAS)
def test_a_schema_in_another_encoding_is_compared(
    tmp_path: Path, make_engine: EngineMaker, what: str
) -> None:
    """A table that Python cannot name to SQLite may differ: nothing says that all is the same."""
    live = latin_1_database(tmp_path / "app.db", what)
    manager = BackupManager(make_engine(live), catalog=False)
    info = manager.create()
    comparison = manager.compare(info)
    assert comparison.same_schema
    unknown = [(table.table, table.changed) for table in comparison.tables]
    expected = {"table": [("\ufffd\ufffdber", None)], "column": [("own", None)]}
    assert unknown == expected.get(what, [])
    assert comparison.identical is (not unknown)
    assert "child" in {rows.table for rows in manager.row_counts(info)}


def test_a_file_one_may_not_read_is_not_moved_aside(open_path: Path) -> None:
    """A database or backup of another user is neither damaged nor replaced."""
    (open_path / "data").mkdir()
    live = make_database(open_path / "data" / "app.db")
    manager = BackupManager.from_url(str(live), open_path / "backups")
    info = manager.create()
    for path in (open_path / "backups", Path(info.path), Path(info.meta_path)):
        path.chmod(0o755)
    (open_path / "data").chmod(0o777)
    live.chmod(0)
    answer = run_unprivileged("restore_latest", live, open_path / "backups")
    assert answer["error"] == PermissionDeniedError.__name__
    assert not list((open_path / "data").glob("*damaged*"))
    assert live.exists()


def test_damage_is_still_damage(tmp_path: Path, make_engine: EngineMaker) -> None:
    """The root of a table outside the file is what SQLite cannot read, whatever its SQL says."""
    live = make_database(tmp_path / "app.db")
    engine = make_engine(live)
    manager = BackupManager(engine)
    info = manager.create()
    engine.dispose()
    _edit(live, "UPDATE sqlite_master SET rootpage = 9000 WHERE name = 'child'")
    with pytest.raises(DatabaseDamagedError):
        manager.create()
    assert manager.restore(info).moved_aside


@pytest.mark.parametrize("fault", ["an unused page", "a wrong count of free pages"])
def test_pages_that_cost_nobody_a_row_are_no_damage(
    tmp_path: Path, make_engine: EngineMaker, fault: str
) -> None:
    """All rows can be read: it is backed up, restored through SQLite, and the fault is told."""
    live = make_database(tmp_path / "app.db", mode="delete")
    header = bytearray(live.read_bytes())
    page_size = int.from_bytes(header[16:18], "big")
    if fault == "an unused page":
        header[28:32] = (int.from_bytes(header[28:32], "big") + 1).to_bytes(4, "big")
        header += bytes(page_size)
    else:
        header[36:40] = (7).to_bytes(4, "big")
    live.write_bytes(header)
    assert scalar(live, "PRAGMA integrity_check") != "ok"
    manager = BackupManager(make_engine(live))
    info = manager.create()
    assert manager.verify(info).warnings
    before = digest(live)
    add_child(live)
    assert not manager.restore(info).moved_aside
    assert digest(live) == before

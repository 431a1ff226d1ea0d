"""The rows of the catalog: whose they are, and that nothing is written but what has changed."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import add_child, digest, execute, make_database, scalar
from sqlalchemy.engine import Engine
from test_catalog import INFO

from soulsense_db import BackupManager
from soulsense_db.backup_info.fields import digest_of
from soulsense_db.catalog.table import Catalog, Owner, TableState
from soulsense_db.health import State, check_health
from soulsense_db.retention import RetentionPolicy
from soulsense_db.scheduled import run_auto

OLD_LAYOUT = """
    CREATE TABLE backups (
        filename VARCHAR(255) NOT NULL, catalog_format INTEGER NOT NULL, id VARCHAR(32) NOT NULL,
        created_at DATETIME NOT NULL, kind VARCHAR(20) NOT NULL, description TEXT NOT NULL,
        size_bytes BIGINT NOT NULL, sha256 VARCHAR(64), alembic_heads TEXT NOT NULL,
        target_revision VARCHAR(255), duration_seconds FLOAT, PRIMARY KEY (filename)
    )
"""
OLD_ROW = "INSERT INTO {} VALUES (?, 1, ?, '2026-01-01 00:00:00', 'manual', '', 1, '', '', '', 1)"
NOTES = "CREATE TABLE note (backup REFERENCES backups (filename) {}, text)"


@pytest.fixture
def strict(database: Path, make_engine: EngineMaker) -> Engine:
    """Return an engine of an application that has foreign keys enforced."""
    engine = make_engine(database)

    @sa.event.listens_for(engine, "connect")
    def enforce(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def problems(manager: BackupManager) -> list[str]:
    """Return what `status` finds wrong."""
    return [check.message for check in check_health(manager).checks if check.state is not State.OK]


def table(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return every row of the catalog by its key, with its rowid."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT filename, rowid, * FROM backups").fetchall()
    return {row[0]: row[1:] for row in found}


def old_layout(path: Path, *rows: tuple[str, str]) -> None:
    """Make the table as version 1 of the catalog had it, with rows of a name and an id."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE IF EXISTS backups")
        connection.execute(OLD_LAYOUT)
        connection.executemany(OLD_ROW.format("backups"), rows)
        connection.commit()


# Several managers of one database


@pytest.fixture
def managers(engine: Engine, tmp_path: Path) -> dict[str, BackupManager]:
    """Return managers of one database with other directories and prefixes."""
    return {
        "default": BackupManager(engine),
        "elsewhere": BackupManager(engine, tmp_path / "elsewhere"),
        "deep": BackupManager(engine, tmp_path / "backups" / "deep"),
        "nightly": BackupManager(engine, prefix="nightly"),
        "alike": BackupManager(engine, prefix="soulsense"),
    }


@pytest.mark.slow
def test_each_speaks_of_its_own_rows(managers: dict[str, BackupManager], database: Path) -> None:
    """Whoever creates, deletes, restores or syncs, the others' rows and their status stay well."""
    for _ in range(2):
        for manager in managers.values():
            manager.create("same")
    assert scalar(database, "SELECT count(*) FROM backups") == 10

    def all_is_well() -> None:
        for name, manager in managers.items():
            assert problems(manager) == [], name
            there = frozenset(info.filename for info in manager.list())
            assert manager.catalog.names() == there, name

    all_is_well()
    for manager in managers.values():
        manager.delete("latest")
        all_is_well()
        assert manager.catalog.sync()
        all_is_well()
        assert manager.catalog.rebuild() == 1
        all_is_well()
    assert scalar(database, "SELECT count(*) FROM backups") == 5


def test_a_restore_brings_back_no_others_rows_of_before(
    managers: dict[str, BackupManager],
) -> None:
    """A restore rewinds the table: the next backup of each brings its own rows in step."""
    one, two = managers["default"], managers["elsewhere"]
    first = one.create("first")
    for manager in (one, two, one):
        manager.create("more")
    one.restore(first)
    assert problems(one) == []
    two.create("after")
    assert problems(one) == problems(two) == []


def test_the_same_name_in_two_directories(
    managers: dict[str, BackupManager], database: Path, tmp_path: Path
) -> None:
    """Two files of one name are two rows, whichever of them is deleted first."""
    one, two = managers["default"], managers["elsewhere"]
    info = one.create("same")
    two.directory.mkdir()
    for path in (info.path, info.meta_path):
        shutil.copy(path, two.directory)
    (twin,) = two.list()
    assert two.catalog.rebuild() == 1
    assert scalar(database, "SELECT count(*) FROM backups") == 2
    both = frozenset({info.filename})
    assert one.catalog.names() == two.catalog.names() == both
    one.delete(info)
    assert one.catalog.names() == frozenset()
    assert two.catalog.names() == both
    two.delete(twin)
    assert table(database) == {}


def test_moved_together_they_keep_their_rows(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Directory and database moved to another place: the rows are those of the directory still."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    engine = make_engine(make_database(here / "app.db"))
    BackupManager(engine).create("one")
    before = table(here / "app.db")
    engine.dispose()
    here.rename(there)
    manager = BackupManager(make_engine(there / "app.db"))
    assert problems(manager) == []
    assert manager.catalog.sync()
    assert table(there / "app.db") == before


def test_odd_directory_names_are_told_apart(engine: Engine, tmp_path: Path) -> None:
    """Names that are no text, have a quote, a percent sign or a brace, are names as others."""
    names = [b"caf\xe9", b"caf\xea", b"o'hara", b"100%s", b"{x}", b'"quoted"', "né".encode()]
    managers = []
    for number, name in enumerate(names):
        directory = tmp_path / name.decode(errors="surrogateescape")
        managers.append(BackupManager(engine, directory))
        managers[-1].create(f"number {number}")
    for manager in managers:
        assert problems(manager) == []
        assert len(manager.catalog.names() or ()) == 1


# What the application hung on our table


@pytest.mark.parametrize("action", ["", "ON DELETE CASCADE", "ON DELETE SET NULL"])
def test_rows_of_the_application_stay(strict: Engine, database: Path, action: str) -> None:
    """A row that refers to one of ours stays through create, sync, verify, pin and rebuild."""
    manager = BackupManager(strict)
    info = manager.create("one")
    execute(database, NOTES.format(action), f"INSERT INTO note VALUES ('{info.filename}', 'mine')")
    before = table(database)[info.filename]
    manager.create("two")
    manager.pin(info)
    manager.verify(info)
    execute(database, "UPDATE backups SET description = 'garbled'")
    assert manager.catalog.sync()
    assert manager.catalog.rebuild() == 2
    assert table(database)[info.filename] == before
    other = BackupManager(strict, database.parent / "elsewhere")
    other.create("three")
    assert scalar(database, "SELECT backup || text FROM note") == f"{info.filename}mine"
    manager.restore("latest")
    assert scalar(database, "SELECT backup || text FROM note") == f"{info.filename}mine"


@pytest.mark.parametrize("action", ["", "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_row_that_the_application_needs_stays(
    strict: Engine, database: Path, action: str
) -> None:
    """Where a foreign key holds the row of a deleted backup, new ones get their rows."""
    manager = BackupManager(strict)
    info = manager.create("one")
    execute(database, NOTES.format(action), f"INSERT INTO note VALUES ('{info.filename}', 'mine')")
    manager.delete(info)
    assert manager.list() == []
    second = manager.create("two")
    assert set(table(database)) == {info.filename, second.filename}
    assert scalar(database, "SELECT count(*) FROM note") == 1


def test_columns_of_the_application_stay(manager: BackupManager, database: Path) -> None:
    """A table with more columns is ours: they keep their values and their defaults."""
    info = manager.create("one")
    execute(
        database,
        "ALTER TABLE backups ADD COLUMN owner TEXT DEFAULT 'nobody'",
        "ALTER TABLE backups ADD COLUMN stars INTEGER",
        "UPDATE backups SET owner = 'ann', stars = 5",
        "CREATE INDEX by_owner ON backups (owner)",
    )
    second = manager.create("two")
    assert manager.catalog.rebuild() == 2
    manager.restore(second)
    seen = table(database)
    assert seen[info.filename][-2:] == ("ann", 5)
    assert seen[second.filename][-2:] == ("nobody", None)
    assert scalar(database, "SELECT count(*) FROM sqlite_master WHERE name = 'by_owner'") == 1


TRIGGERS = {
    "a trigger": "CREATE TRIGGER no BEFORE INSERT ON backups BEGIN SELECT RAISE(ABORT, 'no'); END",
    "a column": "ALTER TABLE backups ADD COLUMN owner TEXT NOT NULL DEFAULT (NULL)",
    "a unique index": "CREATE UNIQUE INDEX one_of_a_kind ON backups (kind)",
}


@pytest.mark.parametrize("statement", TRIGGERS.values(), ids=TRIGGERS)
def test_what_refuses_a_row_refuses_no_backup(
    manager: BackupManager,
    database: Path,
    statement: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The application's own rules for the table are told in the log; the backup is made."""
    first = manager.create("first")
    if "ALTER" in statement:  # SQLite wants an empty table for it
        execute(database, "DELETE FROM backups")
    try:
        execute(database, statement)
    except sqlite3.OperationalError:
        pytest.skip("this SQLite adds no such column")
    with caplog.at_level(logging.WARNING, "soulsense_db"):
        second = manager.create("second")
        assert manager.restore(first).verified
        report = run_auto(manager)
    assert report is not None
    assert second.id in {info.id for info in manager.list()}
    assert any(
        "the backups themselves are safe" in record.getMessage() for record in caplog.records
    )


def test_only_what_changed_is_touched(manager: BackupManager, database: Path) -> None:
    """An audit trigger of the application sees one insert for a backup, and no other change."""
    info = manager.create("one")
    manager.create("two")
    execute(database, "CREATE TABLE audit (what, name)")
    for what, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old")):
        execute(
            database,
            f"CREATE TRIGGER on_{what} AFTER {what} ON backups BEGIN "
            f"INSERT INTO audit VALUES ('{what}', {row}.filename); END",
        )

    def changes() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(database)) as connection:
            found = connection.execute("SELECT what, name FROM audit ORDER BY rowid").fetchall()
            connection.execute("DELETE FROM audit")
            connection.commit()
        return found

    assert manager.catalog.sync()
    assert manager.catalog.rebuild() == 2
    assert changes() == []
    execute(database, f"UPDATE backups SET kind = 'x' WHERE filename = '{info.filename}'")
    assert changes() == [("UPDATE", info.filename)]
    assert manager.catalog.rebuild() == 2
    assert changes() == [("UPDATE", info.filename)]
    third = manager.create("three")
    manager.delete(info)
    assert changes() == [("INSERT", third.filename), ("DELETE", info.filename)]


# An older layout


def test_an_older_layout_is_migrated_in_place(strict: Engine, database: Path) -> None:
    """Rows, rowids, extra columns, indexes and what hangs on them stay as they are."""
    manager = BackupManager(strict)
    infos = [manager.create(f"number {n}") for n in range(3)]
    old_layout(database, *((info.filename, info.id) for info in infos))
    execute(
        database,
        "ALTER TABLE backups ADD COLUMN owner TEXT",
        "UPDATE backups SET owner = 'ann ' || id",
        "CREATE INDEX by_owner ON backups (owner)",
        NOTES.format("ON DELETE CASCADE"),
        "INSERT INTO note SELECT filename, id FROM backups",
    )
    rowids = {key: row[0] for key, row in table(database).items()}
    new = manager.create("new")
    with strict.connect() as connection:
        assert Catalog().state(connection) is TableState.CURRENT
    after = table(database)
    assert {key: row[0] for key, row in after.items() if key in rowids} == rowids
    assert set(after) == {*rowids, new.filename}
    query = "SELECT group_concat(owner, ',') FROM (SELECT owner FROM backups ORDER BY rowid)"
    assert scalar(database, query) == ",".join(f"ann {info.id}" for info in infos)
    assert scalar(database, "SELECT count(*) FROM note") == 3
    assert problems(manager) == []
    descriptions = "SELECT count(*) FROM backups WHERE description LIKE 'number _'"
    assert scalar(database, descriptions) == 3


def test_rows_that_nobody_claims_are_left_alone(
    manager: BackupManager, engine: Engine, database: Path, tmp_path: Path
) -> None:
    """A row of an older version is claimed by who has its file; until then it stays as it is."""
    mine = manager.create("mine")
    other = BackupManager(engine, tmp_path / "elsewhere")
    theirs = other.create("theirs")
    gone = "soulsense_backup_20200101_000000_gone.db"
    old_layout(database, (mine.filename, mine.id), (theirs.filename, theirs.id), (gone, "0"))
    manager.create("more")
    seen = table(database)
    assert seen[theirs.filename][3] == theirs.id
    assert seen[theirs.filename][-2:] == seen[gone][-2:] == (None, None)
    assert problems(manager) == []
    other.create("more of theirs")
    assert problems(other) == problems(manager) == []
    assert set(other.catalog.names() or ()) == {info.filename for info in other.list()}
    assert gone in table(database)


@pytest.mark.parametrize("call", ["delete", "prune", "sync", "restore"])
def test_the_first_call_on_an_older_layout(
    manager: BackupManager, database: Path, call: str
) -> None:
    """Whatever is called first on an older layout, `status` is well after the next backup."""
    infos = [manager.create(f"number {n}") for n in range(3)]
    old_layout(database, *((info.filename, info.id) for info in infos))
    if call == "delete":
        manager.delete(infos[0])
        assert infos[0].filename not in table(database)
    elif call == "prune":
        assert len(manager.prune(RetentionPolicy(keep_last=2)).removed) == 1
    elif call == "sync":
        assert manager.catalog.sync(make_table=False) is False
        assert manager.catalog.sync()
    elif call == "restore":
        assert manager.restore(infos[2]).catalog_rebuilt
    manager.create("more")
    assert problems(manager) == []


# Values


ODD: dict[str, Callable[[dict[str, Any]], object]] = {
    "a number where text belongs": lambda f: f.update(target_revision=10**30),
    "a list where text belongs": lambda f: f.update(sha256=None, target_revision=["x"]),
    "a huge duration": lambda f: f.update(duration_seconds=10**400),
    "a duration in words": lambda f: f.update(duration_seconds="long"),
    "half a character": lambda f: f.update(description="\ud800 lone"),
    "an object as description": lambda f: f.update(description={"a": 1}),
    "a size beyond 64 bits": lambda f: f.update(size_bytes=2**70),
    "heads that are numbers": lambda f: f.update(alembic_heads=[10**40, None]),
}


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
def test_an_odd_meta_file_breaks_nothing_that_is_done(
    manager: BackupManager, database: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    """A sealed meta file with facts of the wrong kind costs no backup, restore or schedule."""
    good = manager.create("good")
    odd = manager.create("odd")
    facts = json.loads(Path(odd.meta_path).read_text())
    del facts["meta_sha256"]
    spoil(facts)
    facts["meta_sha256"] = digest_of(facts)
    Path(odd.meta_path).write_text(json.dumps(facts))
    execute(database, "DELETE FROM backups")  # so that all rows are written again
    before = digest(database)
    made = manager.create("made")
    assert made.id in {info.id for info in manager.list()}
    add_child(database)
    manager.restore(good)
    assert digest(database) == before
    assert run_auto(manager) is not None


def test_a_value_of_the_wrong_kind_is_never_bound(engine: Engine) -> None:
    """Whatever the facts of a backup are, a row of them can be written."""
    changes: list[dict[str, Any]] = [
        {"target_revision": 10**30},
        {"size_bytes": 2**80},
        {"duration_seconds": float("nan")},
        {"duration_seconds": 10**400},
        {"description": "\udcff\ud800"},
        {"kind": 7},
        {"alembic_heads": (1, None)},
        {"sha256": b"ff"},
        {"id": 5},
    ]
    with engine.connect() as connection:
        for change in changes:
            catalog = Catalog(owner=Owner("backups", "soulsense_backup"))
            catalog.prepare(connection)
            assert catalog.record(connection, replace(INFO, **change))
            assert catalog.rebuild(connection, [replace(INFO, **change)]) == 1


def test_an_error_in_the_applications_connect_event_is_a_warning(
    manager: BackupManager, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """What the application raises while the row is written leaves the backup made."""

    @sa.event.listens_for(engine, "connect")
    def fail(_connection: object, _record: object) -> None:
        if list(manager.directory.glob("*.db")):
            raise ArithmeticError("of the application")

    with caplog.at_level(logging.WARNING, "soulsense_db"):
        info = manager.create("made")
    assert [one.id for one in manager.list()] == [info.id]


# How much is written


@pytest.fixture
def waiting(tmp_path: Path, make_engine: EngineMaker) -> Iterator[tuple[Path, BackupManager]]:
    """Return a database in WAL mode whose log nobody empties, and a manager of it."""
    path = make_database(tmp_path / "app.db", mode="wal", rows=3)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM parent").fetchall()  # keeps the log from a restart
        engine = make_engine(path)

        @sa.event.listens_for(engine, "connect")
        def keep(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA wal_autocheckpoint = 0")

        yield path, BackupManager(engine)


def written_by(path: Path, manager: BackupManager) -> int:
    """Return how many bytes one more backup appends to the log."""
    log = Path(f"{path}-wal")
    before = log.stat().st_size
    manager.create("one more")
    return log.stat().st_size - before


def fill(path: Path, manager: BackupManager, count: int) -> None:
    """Have ``count`` backups in the directory, with their rows."""
    template = manager.create("template")
    meta = json.loads(Path(template.meta_path).read_text())
    del meta["meta_sha256"]
    for n in range(count):
        name = f"soulsense_backup_20250101_{n // 3600:02}{n // 60 % 60:02}{n % 60:02}_filled.db"
        facts = meta | {"filename": name, "id": f"{n:012x}", "description": f"Filled {n}"}
        facts["created_at"] = f"2025-01-01T00:00:00.{n:06}+00:00"
        facts["meta_sha256"] = digest_of(facts)
        (manager.directory / name).hardlink_to(template.path)
        (manager.directory / f"{name}.meta").write_text(json.dumps(facts))
    manager.catalog.rebuild()


@pytest.mark.slow
@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside other directories"])
def test_a_backup_writes_one_row(
    waiting: tuple[Path, BackupManager], tmp_path: Path, others: bool
) -> None:
    """The bytes that a backup adds to the log do not grow with the number of backups."""
    path, manager = waiting
    if others:
        fill(path, BackupManager(manager._repository.driver.engine, tmp_path / "elsewhere"), 500)
    fill(path, manager, 10)
    few = max(written_by(path, manager) for _ in range(3))
    fill_more = 700
    template = manager.list()[0]
    for n in range(fill_more):
        shutil.copy(template.meta_path, tmp_path / "meta")
        facts = json.loads((tmp_path / "meta").read_text())
        del facts["meta_sha256"]
        name = f"soulsense_backup_20250202_{n // 3600:02}{n // 60 % 60:02}{n % 60:02}_more.db"
        facts |= {"filename": name, "id": f"a{n:011x}"}
        facts["created_at"] = f"2025-02-02T00:00:00.{n:06}+00:00"
        facts["meta_sha256"] = digest_of(facts)
        (manager.directory / name).hardlink_to(template.path)
        (manager.directory / f"{name}.meta").write_text(json.dumps(facts))
    manager.catalog.rebuild()
    many = max(written_by(path, manager) for _ in range(3))
    assert many <= few + 3 * 4120  # a page more for each level that the trees have grown
    assert manager.catalog.names() == frozenset(info.filename for info in manager.list())


def test_a_sync_that_changes_nothing_writes_nothing(waiting: tuple[Path, BackupManager]) -> None:
    """Where all rows are right, not one byte is written."""
    path, manager = waiting
    fill(path, manager, 20)
    log = Path(f"{path}-wal")
    before = log.stat().st_size
    assert manager.catalog.sync()
    assert manager.catalog.rebuild() == 21
    assert log.stat().st_size == before


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_rows_of_a_database_in_another_encoding(
    tmp_path: Path, make_engine: EngineMaker, encoding: str
) -> None:
    """Names are compared as text: after a restore the catalog is in step in UTF-16 as well."""
    path = tmp_path / "app.db"
    execute(path, f"PRAGMA encoding = '{encoding}'", "CREATE TABLE t (a)")
    manager = BackupManager(make_engine(path))
    made = [manager.create(name) for name in ("one", "zwei \u00fc")]
    report = manager.restore(made[0])
    assert report.catalog_rebuilt
    assert set(manager.catalog.names() or ()) == {info.filename for info in made}
    manager.delete(made[1])
    assert set(manager.catalog.names() or ()) == {made[0].filename}

"""A drill: the backup is restored elsewhere, and what comes back is what was recorded."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from age_keys import Key
from alembic_project import Project
from conftest import EngineMaker
from forms import (
    EVERY,
    MARKER,
    all_identities,
    files_with,
    guess_quickly,
    make_backup,
    require_private,
)
from helpers import (
    Child,
    add_child,
    disk_of,
    execute,
    flip,
    leftovers,
    snapshot_of,
    within,
)
from sqlalchemy.engine import Engine

from soulsense_db import BackupInfo, BackupManager
from soulsense_db.backup_info import to_meta
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import (
    ChecksumMismatchError,
    DrillError,
    IdentityError,
    NotEnoughSpaceError,
    OptionError,
    UnsupportedDatabaseError,
)

CHILDREN = "SELECT count(*) FROM child"


def repaired(info: BackupInfo, *statements: str, **facts: Any) -> None:
    """Change rows of a plain backup, and have its meta file agree with what is there now."""
    path = Path(info.path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    data = path.read_bytes()
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), **facts}
    Path(info.meta_path).write_bytes(to_meta(replace(info, **facts)))


def meta_of(info: BackupInfo) -> dict[str, Any]:
    """Return what the meta file says now."""
    facts: dict[str, Any] = json.loads(Path(info.meta_path).read_text(encoding="utf-8"))
    return facts


def failing(manager: BackupManager, *checks: Any) -> DrillError:
    """Drill the newest backup, which must fail."""
    with pytest.raises(DrillError) as caught:
        manager.verify("latest", level="drill", checks=checks)
    return caught.value


# Every form


@pytest.mark.parametrize(("stored", "seal"), EVERY)
def test_a_backup_of_every_form_is_restored_and_recorded(
    database: Path,
    make_engine: EngineMaker,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stored: str,
    seal: str,
) -> None:
    """The rows come back, the outcome is in the meta file, and the live database is as it was."""
    guess_quickly(monkeypatch)
    made = make_backup(database, make_engine, stored=stored, seal=seal, key=key)
    manager = made.manager.with_identities(all_identities(key))
    rows: list[int] = []

    def look(engine: Engine) -> None:
        with engine.connect() as connection:
            found = connection.execute(
                sa.text("SELECT count(*) FROM child WHERE body = :body"), {"body": MARKER}
            )
            rows.append(found.scalar_one())

    before = snapshot_of(database.parent)
    report = manager.verify(made.info, level="drill", checks=[look])
    assert rows == [1]
    assert (report.level, report.checksum, report.recorded) == ("drill", True, True)
    drill = report.drill
    assert drill is not None
    assert drill.rows_compared is (seal != "passphrase"), "with one it would take half a second"
    assert drill.tables is not None
    assert drill.tables > 2
    info = manager.get(made.info)
    assert info.drill_result == "passed"
    assert info.drilled_at == info.verified_at == manager.last_drill()
    after = snapshot_of(database.parent)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith("backups/.")} == {
        f"backups/{info.filename}.meta"
    }
    assert leftovers(database.parent) == []
    if seal != "open":
        require_private(database.parent)


def test_rows_per_table_are_recorded(manager: BackupManager, database: Path) -> None:
    """Of every table, our own and Alembic's included, as they are in the backup."""
    execute(database, 'CREATE TABLE "an odd ""name""" (id INTEGER)')
    manager.create("first")
    info = manager.create()
    counts = info.row_counts
    assert counts is not None
    assert counts == {"parent": 10, "child": counts["child"], 'an odd "name"': 0, "backups": 1}
    assert meta_of(info)["row_counts"] == counts


def test_an_encrypted_backup_names_no_table_openly(
    database: Path, make_engine: EngineMaker, key: Key
) -> None:
    """The names of tables, and how many rows they have, are for those who have the key."""
    made = make_backup(database, make_engine, stored="plain", seal="key", key=key)
    assert made.info.row_counts is None
    assert made.info.sealed_row_counts is not None
    assert files_with(made.manager.directory, "parent") == []
    plain = made.manager.export(made.info, database.parent / "out.db", plain=True)
    facts = json.loads(Path(f"{plain}.meta").read_text(encoding="utf-8"))
    assert facts["row_counts"]["parent"] == 10
    assert "sealed_row_counts" not in facts


def test_more_tables_than_a_meta_file_should_list_are_not_recorded(
    manager: BackupManager, database: Path
) -> None:
    """The meta file stays small, and the drill says that the rows were not compared."""
    execute(database, *(f"CREATE TABLE t{number} (id INTEGER)" for number in range(1001)))
    info = manager.create()
    assert info.row_counts is None
    assert Path(info.meta_path).stat().st_size < 3000
    report = manager.verify(info, level="drill")
    assert report.drill is not None
    assert not report.drill.rows_compared
    assert any("was not recorded" in line for line in report.warnings)


def test_a_backup_of_an_earlier_version_is_drilled(manager: BackupManager) -> None:
    """It has no record of its rows: that is said, and all else is compared."""
    info = manager.create()
    facts = meta_of(info)
    repaired(replace(info, row_counts=None))
    assert facts["row_counts"]
    report = manager.verify("latest", level="drill")
    assert report.drill is not None
    assert not report.drill.rows_compared
    assert manager.get(info).drill_result == "passed"


# What it finds


def test_lost_rows_are_found_though_the_checksum_is_right(manager: BackupManager) -> None:
    """Whoever changed the data and wrote a new checksum has not thought of the rows."""
    info = manager.create()
    repaired(info, "DELETE FROM child WHERE id <= 5", "DROP INDEX child_parent")
    assert manager.verify(info).level == "full", "as a file it is whole"
    error = failing(manager)
    assert error.exit_code == 37
    assert "the table" not in error.what
    assert "child had" in error.what
    now = manager.get(info)
    assert (now.verified_at, now.drill_result) == (None, "failed")
    assert now.drilled_at is not None
    assert manager.last_drill() is None


@pytest.mark.parametrize(
    ("statement", "words"),
    [("DROP TABLE child", "the table child is gone"), ("CREATE TABLE n (a)", "no table n")],
)
def test_tables_that_came_or_went_are_named(
    manager: BackupManager, statement: str, words: str
) -> None:
    """A table too many is as wrong as one too few."""
    repaired(manager.create(), statement)
    assert words in failing(manager).what


def test_references_that_broke_since_the_first_full_check_are_found(
    manager: BackupManager,
) -> None:
    """Those of the source are warnings, as ever; more of them are a failure."""
    info = manager.create()
    manager.verify(info)
    info = manager.get(info)
    assert info.broken_references == 0
    repaired(info, "UPDATE child SET parent_id = 99 WHERE id = 3")
    assert "1 row(s) refer to rows that do not exist, and 0 did" in failing(manager).what


def test_references_that_were_broken_before_are_warnings(
    manager: BackupManager, database: Path
) -> None:
    """A faithful backup may have them."""
    execute(database, "UPDATE child SET parent_id = 99 WHERE id = 3")
    manager.create()
    for _ in range(2):
        report = manager.verify("latest", level="drill")
        assert any("1 row(s) of table child refer" in line for line in report.warnings)
    assert manager.get("latest").broken_references == 1


def test_another_revision_than_recorded_is_found(manager: BackupManager, database: Path) -> None:
    """The data is at the revision that its meta file says, or it is another backup's."""
    execute(database, "CREATE TABLE alembic_version (version_num TEXT)")
    execute(database, "INSERT INTO alembic_version VALUES ('abc')")
    info = manager.create()
    assert manager.verify(info, level="drill").drill is not None
    repaired(info, "UPDATE alembic_version SET version_num = 'def'")
    assert "def instead of abc" in failing(manager).what


def test_revisions_of_another_version_table_are_no_failure(
    manager: BackupManager, database: Path
) -> None:
    """Who says which revisions a database is at has them from elsewhere than the usual table."""
    info = manager.create(alembic_heads=["from_elsewhere"])
    assert info.driver_facts["heads_given"] == "true"
    report = manager.verify(info, level="drill")
    assert report.drill is not None
    assert report.drill.alembic_heads == ()


def test_the_backup_of_a_migration_is_drilled(tmp_path: Path, make_engine: EngineMaker) -> None:
    """The Alembic hook's own backups, too, come back as they were."""
    project = Project(tmp_path, "env.py")
    project.standard()
    manager = BackupManager(make_engine(project.database))
    (newest, *_) = manager.list()
    assert newest.kind == "pre_migration"
    report = manager.verify(newest, level="drill")
    assert report.drill is not None
    assert report.drill.rows_compared
    assert report.drill.alembic_heads == newest.alembic_heads


def test_a_damaged_backup_fails_its_drill(manager: BackupManager) -> None:
    """What is found by reading it is found first, and is recorded as a failed drill."""
    info = manager.create()
    flip(Path(info.path), info.size_bytes // 2)
    with pytest.raises(ChecksumMismatchError):
        manager.verify(info, level="drill")
    assert manager.get(info).drill_result == "failed"


def test_damaged_pages_with_a_right_checksum_fail_it(manager: BackupManager) -> None:
    """A backup that cannot be restored is said to be that, by its own name."""
    info = manager.create()
    data = bytearray(Path(info.path).read_bytes())
    data[4096 * 3 : 4096 * 3 + 200] = b"\xff" * 200
    Path(info.path).write_bytes(data)
    repaired(info)
    with pytest.raises(Exception, match=info.filename) as caught:
        manager.verify(info, level="drill")
    assert getattr(caught.value, "exit_code", 0) in {21, 37}
    assert manager.get(info).drill_result == "failed"
    assert leftovers(Path(info.path).parent.parent) == []


def test_without_the_key_nothing_is_said_of_the_backup(
    database: Path, make_engine: EngineMaker, key: Key
) -> None:
    """That nothing here decrypts it is an error, and no failed drill."""
    made = make_backup(database, make_engine, stored="zstd", seal="key", key=key)
    with pytest.raises(IdentityError):
        made.manager.with_identities(None).verify("latest", level="drill")
    info = made.manager.get("latest")
    assert (info.drilled_at, info.drill_result) == (None, None)
    assert info.verified_at is not None


# Checks of the user's own


@pytest.mark.parametrize(
    "check",
    [
        CHILDREN,
        {"sql": f"{CHILDREN} -- of all parents", "at-least": 5},
        {"sql": CHILDREN, "at_most": 100_000},
        {"sql": "SELECT name FROM parent WHERE id = 3", "is": "parent 3"},
        {"sql": "SELECT max(name) FROM parent", "at-least": "parent 2"},
        {"sql": "WITH few AS (SELECT 1 AS n) SELECT n FROM few", "is": 1, "name": "one"},
        {"sql": "SELECT count(*) > 100000 FROM child", "is": False},
        {"sql": "SELECT 0.5", "is": 0.5},
    ],
)
def test_a_check_that_is_met(manager: BackupManager, check: str | Mapping[str, Any]) -> None:
    """Each way to say what must come back is met by the rows that are there."""
    manager.create()
    report = manager.verify("latest", level="drill", checks=[check])
    assert report.drill is not None
    assert len(report.drill.checks) == 1


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (f"{CHILDREN} WHERE id < 0", "returned 0, not true"),
        ({"sql": CHILDREN, "at-least": 10**6}, "which is less than 1000000"),
        ({"sql": CHILDREN, "at-most": 2}, "which is more than 2"),
        ({"sql": "SELECT 'x'", "is": "y"}, "returned 'x', not 'y'"),
        ({"sql": "SELECT '7'", "is": 7}, "returned '7', not 7"),
        ({"sql": "SELECT NULL", "is": False}, "returned NULL, not false"),
        ("SELECT id FROM child WHERE id < 0", "returned no row"),
        ("SELECT count(*) FROM gone", "no such table: gone"),
        ({"sql": f"SELECT '{'long ' * 50}'", "is": "short"}, "…"),
        ({"sql": "SELECT 0", "name": "There are users"}, "'There are users' failed"),
    ],
)
def test_a_check_that_is_not_met(
    manager: BackupManager, check: str | Mapping[str, Any], words: str
) -> None:
    """The error says which one it was, and what came back instead, shortened."""
    info = manager.create()
    error = failing(manager, check)
    assert words in error.what
    assert len(error.what) < 400
    assert error.candidates
    assert manager.get(info).drill_result == "failed"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("DELETE FROM child", "no SELECT"),
        ("PRAGMA user_version = 3", "no SELECT"),
        ("WITH a AS (SELECT 1) DELETE FROM child", "only reading is allowed"),
        ("SELECT 1; DELETE FROM child", "one statement at a time"),
        ("SELEC 1", "no SELECT"),
        ("SELECT FROM WHERE", "syntax error"),
        ("SELECT cout(*) FROM child", "no such function: cout"),
        ("SELECT id FROM child", "returns several rows"),
        ("SELECT 1, 2", "returns 2 columns"),
        ({"sql": "SELECT 1", "equals": 1}, "no key 'equals'"),
        ({"sql": "SELECT 1", "is": 1, "at-least": 1}, "both 'is' and 'at-least'"),
        ({"sql": "SELECT 1", "is": [1]}, "neither a text"),
        ({"sql": "SELECT 1", "at-least": True}, "no number or text"),
        ({"is": 1}, "no SELECT"),
        (5, "neither a query nor a function"),
    ],
)
def test_a_check_that_says_nothing_is_no_fault_of_the_backup(
    manager: BackupManager, check: Any, words: str
) -> None:
    """A check that cannot be made is to be corrected; the backup is what it was."""
    info = manager.create()
    with pytest.raises(OptionError, match=words) as caught:
        manager.verify("latest", level="drill", checks=["SELECT 1", check])
    assert "Check 2 of the drill" in caught.value.what
    now = manager.get(info)
    assert now.drill_result is None
    assert now.verified_at is not None


def test_a_query_of_no_end_is_interrupted(manager: BackupManager) -> None:
    """Ctrl-C ends it, and nothing is left."""
    manager.create()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            manager.verify("latest", level="drill", checks=[endless])
    finally:
        signal.signal(signal.SIGALRM, before)
    database = manager.database
    assert database is not None
    assert leftovers(database.parent) == []
    assert manager.get("latest").drill_result is None


def _raising(_: Engine) -> None:
    raise LookupError("no user of that name\nand more lines")


def _asserting(engine: Engine) -> None:
    assert not engine, "there is one"


def _denying(_: Engine) -> bool:
    return False


def _leaving(_: Engine) -> None:
    sys.exit(0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_raising, "LookupError: no user of that name (test_drill.py, line "),
        (_asserting, "AssertionError: there is one"),
        (_denying, "it returned False"),
        (_leaving, "SystemExit: 0"),
    ],
)
def test_a_function_that_is_not_content(
    manager: BackupManager, function: Callable[[Engine], object], words: str
) -> None:
    """Whatever it raises fails the drill, in one line that says where; so does False."""
    manager.create()
    error = failing(manager, function)
    assert words in error.what
    assert function.__name__ in error.what


def test_a_function_may_write_to_the_copy(manager: BackupManager, database: Path) -> None:
    """It has the restored database to itself: backup and live database are not touched by it."""
    info = manager.create()
    stored, live = Path(info.path).read_bytes(), database.read_bytes()
    there: list[Path] = []

    def write(engine: Engine) -> None:
        there.append(Path(str(engine.url.database)))
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM child"))

    manager.verify(info, level="drill", checks=[write, CHILDREN])
    assert Path(info.path).read_bytes() == stored
    assert database.read_bytes() == live
    assert there[0] != database
    assert not there[0].parent.exists()


# The scratch folder


def test_the_restored_rows_are_private(manager: BackupManager, database: Path) -> None:
    """Nobody else can read what is restored, wherever it is."""
    info = manager.create()
    modes: list[int] = []

    def look(engine: Engine) -> None:
        path = Path(str(engine.url.database))
        modes.extend(one.stat().st_mode & 0o077 for one in (path.parent, path))
        assert path.parent.parent == database.parent

    manager.verify(info, level="drill", checks=[look])
    assert modes == [0, 0]


@pytest.mark.parametrize("seal", ["open", "key"])
def test_what_a_killed_drill_left_is_removed_by_the_next_command(
    database: Path, make_engine: EngineMaker, key: Key, seal: str
) -> None:
    """Restored rows do not stay because a process died."""
    made = make_backup(database, make_engine, stored="zstd", seal=seal, key=key)
    folder = database.parent
    with Child("killed_in_a_drill.py", database, key.path) as child:
        child.expect("restored")
        (left,) = (path for path in folder.glob(".app.db.work-*") if path.is_dir())
        assert left.stat().st_mode & 0o077 == 0
        made.manager.verify("latest")
        assert left.is_dir(), "of a process that lives, it stays"
        child.kill()
    assert left.is_dir()
    made.manager.verify("latest")
    assert list(folder.glob(".app.db.work-*")) == []


def test_a_folder_of_somebody_else_stays(manager: BackupManager, database: Path) -> None:
    """What has such a name, and no lock of ours, is not removed."""
    manager.create()
    other = database.with_name(".app.db.work-0123abcd")
    other.mkdir()
    (other / "mine").write_text("mine")
    manager.verify("latest", level="drill")
    assert (other / "mine").read_text() == "mine"


def test_a_disk_without_room_is_said_before_anything_is_written(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """It says nothing of the backup: it keeps its last good check."""
    place = tmp_path / "small"
    place.mkdir()
    with disk_of(320 * 1024, place):
        manager = BackupManager(make_engine(database), work_directory=place)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE large AS SELECT randomblob(400000) AS data")
            connection.commit()
        info = manager.create()
        with pytest.raises(NotEnoughSpaceError):
            manager.verify(info, level="drill")
        assert list(place.iterdir()) == []
    now = manager.get(info)
    assert now.drill_result is None
    assert now.verified_at is not None


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """A function that writes until the disk is full fails, and its rows are gone with the copy."""
    place = tmp_path / "small"
    place.mkdir()
    with disk_of(3 * 1024 * 1024, place), within(60):
        manager = BackupManager(make_engine(database), work_directory=place)
        manager.create()

        def fill(engine: Engine) -> None:
            with engine.begin() as connection:
                connection.execute(sa.text("CREATE TABLE f AS SELECT randomblob(9000000) AS data"))

        assert "full" in failing(manager, fill).what
        assert list(place.iterdir()) == []


def test_a_database_in_memory_is_drilled(make_engine: EngineMaker, tmp_path: Path) -> None:
    """Its backups come back in a file, where the system has temporary ones."""
    engine = make_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE child (id INTEGER)"))
        connection.execute(sa.text("INSERT INTO child VALUES (1)"))
    manager = BackupManager(engine, tmp_path / "backups")
    manager.create()
    report = manager.verify("latest", level="drill", checks=[CHILDREN])
    assert report.drill is not None
    assert report.drill.rows_compared


def test_a_driver_without_a_scratch_database_says_so(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver of somebody else's that cannot do that yet is no reason to call a backup bad."""
    manager.create()
    monkeypatch.setattr(SQLiteDriver, "scratch", lambda _self, _path: None)
    with pytest.raises(UnsupportedDatabaseError, match="cannot be drilled"):
        manager.verify("latest", level="drill")
    assert manager.get("latest").drill_result is None


def test_a_drill_does_not_wait_for_the_live_database(
    manager: BackupManager, database: Path
) -> None:
    """Somebody else's lock on it, and its absence, are no matter."""
    add_child(database)
    manager.create()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection, within(4):
        connection.execute("BEGIN EXCLUSIVE")
        assert manager.verify("latest", level="drill").recorded
    database.unlink()
    assert manager.verify("latest", level="drill").recorded
    assert not database.exists()


def test_functions_of_the_application_are_not_needed(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """What is registered when the application connects is not on a new machine: it is a note."""
    engine = make_engine(tmp_path / "own.db")

    @sa.event.listens_for(engine, "connect")
    def register(connection: Any, _record: object) -> None:
        connection.create_function("shout", 1, lambda text: text.upper(), deterministic=True)
        connection.create_collation("backwards", lambda a, b: (a < b) - (a > b))

    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE word (text TEXT COLLATE backwards PRIMARY KEY)"))
        connection.execute(sa.text("CREATE INDEX loud ON word (shout(text))"))
        connection.execute(sa.text("INSERT INTO word VALUES ('a'), ('b')"))
    manager = BackupManager(engine)
    info = manager.create()
    assert info.row_counts is not None
    assert info.row_counts["word"] == 2
    report = manager.verify(info, level="drill")
    assert report.drill is not None
    assert report.drill.rows_compared
    assert any("not checked in full" in line for line in report.warnings)


def test_a_drill_can_be_cancelled(manager: BackupManager, database: Path) -> None:
    """What progress raises comes out as it is; nothing is recorded, and nothing is left."""
    info = manager.create()

    def progress(_done: int, _total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        manager.verify(info, level="drill", progress=progress)
    assert manager.get(info).drilled_at is None
    assert leftovers(database.parent) == []

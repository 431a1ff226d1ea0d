"""What lies beside the backups, damaged: the marker of a migration, the catalog, lock files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from alembic_project import Project
from alembic_project import digest as project_digest
from helpers import digest, execute, read_marker, write_marker

from faults.damage import Outcomes, Place, Record, cases, cut, drawn, place_in_memory
from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.errors import InterruptedMigrationError, ProtectedBackupError
from soulsense_db.health import check_health
from soulsense_db.scheduled import run_auto
from soulsense_db.sidecars.migration_marker import marker_path

COLUMNS = ("filename", "catalog_format", "id", "created_at", "description", "size_bytes", "sha256")


@pytest.fixture
def place() -> Iterator[Place]:
    """Return a database with a backup, and rows that came after it."""
    with place_in_memory() as made:
        yield made


def test_a_damaged_marker_misleads_nobody(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """It tells what it told, or that it cannot be read, and with both what the ways out are.

    While it is there, no backup from before a migration is removed.
    """
    random, outcomes = Random(f"{seed} marker"), Outcomes(place)
    manager, marker = place.manager, marker_path(place.live)
    before = [manager.create(kind="pre_migration") for _ in range(3)]
    write_marker(place.live, backup=before[0].path, alembic_heads=("r1",), target_revision="r3")
    place.keep()
    true = read_marker(place.live)
    lengths = range(0, len(place.before[marker]), 1 if full else 20)
    drawn_ones = (drawn(place.before[marker], random) for _ in range(cases(full)))
    for damage in (*(cut(place.before[marker], length) for length in lengths), *drawn_ones):
        with outcomes.case(f"marker {damage.text}"):
            marker.write_bytes(damage.data)
            told = read_marker(place.live)
            assert told is not None
            assert told == true or told.backup is None
            assert "restore --accept" in told.error(place.live).hint
            if random.random() < 0.05:
                manager.prune(RetentionPolicy(keep_last=1))
                assert before[0].filename in {info.filename for info in manager.list()}
                with pytest.raises(ProtectedBackupError, match="has not finished"):
                    manager.delete(before[0])
                assert check_health(manager).state.name == "CRITICAL"
            outcomes.count("upgrade", "refused: InterruptedMigrationError")
    outcomes.record(record)


def test_an_upgrade_refuses_with_a_damaged_marker(tmp_path: Path, seed: int) -> None:
    """Whatever is left of the marker: no step is run, and the error names both ways out."""
    random = Random(f"{seed} upgrade")
    project = Project(tmp_path, "env.py").standard()
    project.upgrade("second")
    manager = BackupManager.from_url(str(project.database))
    # Its target is one bit away from the revision that the database is at.
    write_marker(
        project.database,
        backup=manager.list()[0].path,
        alembic_heads=("first",),
        target_revision="secone",
    )
    whole = project.marker.read_bytes()
    lucky = whole.replace(b"secone", b"second")
    before = project_digest(project.database)
    for data in (lucky, b"", whole[:50], *(drawn(whole, random).data for _ in range(5))):
        project.marker.write_bytes(data)
        with pytest.raises(MigrationRefusedError, match="was interrupted") as caught:
            project.upgrade("head")
        assert isinstance(caught.value.__cause__, InterruptedMigrationError)
        assert "restore" in caught.value.hint
        assert "restore --accept" in caught.value.hint
        assert project.marker.read_bytes() == data
        assert project_digest(project.database) == before
    manager.restore("latest~1")  # what the first of them said
    assert not project.marker.exists()


def _garbled(random: Random) -> str:
    """Return a statement that does to the rows of the catalog what no program does."""
    column = random.choice(COLUMNS)
    value = random.choice(
        ["x'ff00fe'", "CAST(x'fffe' AS TEXT)", "'x'", "''", "-1", "9e999", "randomblob(3000)"]
    )
    return random.choice(
        [
            f"UPDATE OR REPLACE backups SET {column} = {value}",
            f"UPDATE OR REPLACE backups SET {column} = {value} WHERE rowid = 1",
            f"INSERT OR REPLACE INTO backups SELECT {value}, 1, id, created_at, kind, description,"
            " size_bytes, sha256, alembic_heads, target_revision, 1.0, directory, prefix"
            " FROM backups LIMIT 1",
            "DELETE FROM backups WHERE rowid = 1",
            "DELETE FROM backups",
        ]
    )


def _rows(database: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT * FROM backups ORDER BY filename").fetchall()


def test_a_catalog_of_garbage_is_rebuilt(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """Rows are an index: whatever they say, backups are listed, and the next one mends the names.

    What else is in the rows comes with a rebuild.
    """
    random, outcomes = Random(f"{seed} catalog"), Outcomes(place)
    manager = place.manager
    manager.create("One more")
    place.keep()
    listed, rows = manager.list(), _rows(place.live)
    for _ in range(cases(full) // 5):
        statements = [_garbled(random) for _ in range(random.choice([1, 2, 3]))]
        with outcomes.case(f"catalog {statements}"):
            execute(place.live, *statements)
            assert manager.list() == listed
            assert check_health(manager).state.name in {"OK", "WARNING"}
            outcomes.of("status", lambda: check_health(manager))
            assert digest(place.live) == place.content
            if random.random() < 0.5:
                assert manager.catalog.rebuild() == 2
                assert _rows(place.live) == rows
                outcomes.count("rebuild", "done")
            else:
                made = manager.create("New")
                there = frozenset(info.filename for info in [made, *listed])
                assert manager.catalog.names() == there
                outcomes.count("create", "done: catalog mended")
    outcomes.record(record)


def test_lock_files_hold_nothing(place: Place, seed: int, record: Record) -> None:
    """What is in a lock file is of no meaning; a directory in its place is passed by."""
    random, outcomes = Random(f"{seed} locks"), Outcomes(place)
    manager = place.manager
    assert run_auto(manager) is not None
    manager.restore(place.info)
    place.keep()
    locks = [path for path in place.folder.rglob(".*.lock") if path.is_file()]
    assert len(locks) == 3
    uses = {
        "create": lambda: manager.create("New"),
        "restore": lambda: manager.restore(place.info),
        "auto": lambda: run_auto(manager),
    }
    for lock in locks:
        for data in (b"", b"4711\n", random.randbytes(5000)):
            with outcomes.case(f"{lock.name} holds {data[:20]!r}"):
                lock.write_bytes(data)
                for operation, use in uses.items():
                    assert outcomes.of(operation, use) is None
        with outcomes.case(f"{lock.name} is a directory"):
            lock.unlink()
            lock.mkdir()
            for operation, use in uses.items():
                assert outcomes.of(operation, use) is None
            lock.rmdir()
    outcomes.record(record)

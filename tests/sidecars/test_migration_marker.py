"""The migration marker."""

from __future__ import annotations

import json
import os
import shlex
import stat
from pathlib import Path

import pytest
from helpers import read_marker, run_unprivileged, within, write_marker

from soulsense_db.errors import StorageError
from soulsense_db.sidecars.migration_marker import clear_marker, marker_path

BACKUP = "/data/my backups/soulsense_backup_20260115_103000.db"


def write(database: Path, target_revision: str | None = "a2") -> None:
    """Write a marker such as a migration writes."""
    write_marker(
        database, backup=BACKUP, alembic_heads=("a1", "b1"), target_revision=target_revision
    )


@pytest.mark.usefixtures("no_umask")
def test_a_marker_comes_back_as_written(tmp_path: Path) -> None:
    """The marker beside the database tells which backup puts it back, and who was migrating."""
    database = tmp_path / "app.db"
    assert read_marker(database) is None
    write(database)
    assert marker_path(database) == tmp_path / "app.db.migrating"
    marker = read_marker(database)
    assert marker is not None
    assert marker.backup == BACKUP
    assert marker.alembic_heads == ("a1", "b1")
    assert marker.target_revision == "a2"
    assert marker.started_at.endswith("+00:00")
    assert stat.S_IMODE(marker_path(database).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["app.db.migrating"]


def test_clearing_tells_whether_there_was_one(tmp_path: Path) -> None:
    """Clearing removes the marker, and says False when there is none to remove."""
    database = tmp_path / "app.db"
    write(database)
    assert clear_marker(database)
    assert not clear_marker(database)
    assert read_marker(database) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"7", b"[" * 100_000]
    + [
        json.dumps(facts).encode()
        for facts in (
            {"backup": "b", "alembic_heads": 3, "target_revision": "x"},
            {
                "backup": "b",
                "alembic_heads": [],
                "target_revision": "x",
            },
        )
    ],
)
def test_a_marker_that_cannot_be_read_still_counts(tmp_path: Path, data: bytes) -> None:
    """A damaged marker is no reason to migrate a half-migrated database."""
    database = tmp_path / "app.db"
    marker_path(database).write_bytes(data)
    marker = read_marker(database)
    assert marker is not None
    assert marker.backup is None
    assert "soulsense-db list" in marker.error(database).hint
    assert clear_marker(database)


@pytest.mark.slow
def test_no_bit_of_a_marker_can_flip_unseen(tmp_path: Path) -> None:
    """Not even one that turns the target into the revision that the database is at."""
    database = tmp_path / "app.db"
    write(database, "r3")
    true, data = read_marker(database), marker_path(database).read_bytes()
    for offset in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << bit
            marker_path(database).write_bytes(flipped)
            read = read_marker(database)
            assert read is not None
            assert read == true or read.backup is None
    marker_path(database).write_bytes(data.replace(b'"r3"', b'"r2"'))
    read = read_marker(database)
    assert read is not None
    assert read.backup is None


@pytest.mark.parametrize("heads", [[["nested"]], [1], "abc"])
def test_odd_revisions_in_a_marker_still_make_an_error(tmp_path: Path, heads: object) -> None:
    """Whatever stands in a marker, the error that tells of it can be made."""
    facts = {
        "backup": "b",
        "alembic_heads": heads,
        "target_revision": 5,
        "started_at": "t",
    }
    database = tmp_path / "app.db"
    marker_path(database).write_text(json.dumps(facts))
    marker = read_marker(database)
    assert marker is not None
    assert str(marker.error(database))


def test_a_marker_that_is_a_directory_is_an_error(tmp_path: Path) -> None:
    """What cannot be read for a reason of the file system is said, not passed over."""
    database = tmp_path / "app.db"
    marker_path(database).mkdir()
    with pytest.raises(StorageError, match="migrating"):
        read_marker(database)


@pytest.mark.parametrize("kind", ["pipe", "link", "huge"])
def test_a_marker_that_is_no_file_of_ours_is_an_error(tmp_path: Path, kind: str) -> None:
    """A pipe under a marker's name makes nobody wait, a link is not followed, and 5 GB not read."""
    database = tmp_path / "app.db"
    path = marker_path(database)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "other").write_text("{}")
        path.symlink_to(tmp_path / "other")
    else:
        path.touch()
        os.truncate(path, 5 * 1024**3)  # a sparse file: it takes no room
    with within(10), pytest.raises(StorageError, match="move it away"):
        read_marker(database)


def test_a_marker_nested_too_deep_tells_of_a_migration_all_the_same(tmp_path: Path) -> None:
    """What cannot be parsed is a marker whose facts are unknown, however it was made."""
    database = tmp_path / "app.db"
    marker_path(database).write_text("[" * 100_000)
    marker = read_marker(database)
    assert marker is not None
    assert marker.backup is None


def test_a_marker_without_permission_is_an_error(open_path: Path) -> None:
    """A user who may not read the marker is not told that there is none."""
    database = open_path / "app.db"
    write(database)
    marker_path(database).chmod(0)
    answer = run_unprivileged("read_the_marker", database)
    assert answer["error"] == "PermissionDeniedError"


@pytest.mark.parametrize(("target", "shown"), [("a2", "to a2"), (None, "to base")])
def test_the_error_names_both_ways_out(tmp_path: Path, target: str | None, shown: str) -> None:
    """The error says what happened and gives two commands that a shell takes as they are."""
    database = tmp_path / "my app.db"
    write(database, target)
    marker = read_marker(database)
    assert marker is not None
    error = marker.error(database)
    assert shown in error.message
    assert "from a1, b1" in error.message
    assert BACKUP in error.message
    back, keep = error.hint.removeprefix("To put it back: ").split("   Or leave ")
    assert shlex.split(back) == [
        "soulsense-db",
        "restore",
        Path(BACKUP).name,
        "--url",
        str(database),
        "--directory",
        "/data/my backups",
    ]
    assert "--accept" in keep


def test_a_marker_of_an_empty_database_says_so(tmp_path: Path) -> None:
    """Before the first revision there are no heads to name."""
    database = tmp_path / "app.db"
    write_marker(database, backup=BACKUP, alembic_heads=(), target_revision="a1")
    marker = read_marker(database)
    assert marker is not None
    assert "from an empty database" in marker.error(database).message

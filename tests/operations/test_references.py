"""References to backups: what a person may write, and what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import execute, make_database

from soulsense_db import BackupManager
from soulsense_db.errors import AmbiguousReferenceError, BackupNotFoundError, OutsideDirectoryError


def _at_revision(manager: BackupManager, database: Path, *heads: str) -> str:
    """Make a backup whose database is at ``heads``; return its id."""
    execute(
        database,
        "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)",
        "DELETE FROM alembic_version",
        *(f"INSERT INTO alembic_version VALUES ('{head}')" for head in heads),
    )
    return manager.create().id


def test_every_way_to_write_it_finds_the_same(manager: BackupManager) -> None:
    """An id, its beginning, a file name, a path, latest and latest~0 are one backup."""
    older, info = manager.create("older"), manager.create("wanted")
    begins = next(
        info.id[:length] for length in range(1, 13) if not older.id.startswith(info.id[:length])
    )
    for ref in (info.id, begins, info.filename, info.path, Path(info.path), "latest", "latest~0"):
        assert manager.get(ref) == info
    assert manager.get("latest~1") == older


def test_latest_counts_back_no_further_than_there_are(manager: BackupManager) -> None:
    """`latest~2` of two backups is an error that says how many there are."""
    manager.create()
    manager.create()
    with pytest.raises(BackupNotFoundError, match=r"only 2 backup\(s\)"):
        manager.get("latest~2")
    for nonsense in ("latest~", "latest~-1", "latest~x", "latest~9999999999", "LATEST"):
        with pytest.raises(BackupNotFoundError):
            manager.get(nonsense)


def test_an_ambiguous_beginning_lists_the_candidates(manager: BackupManager) -> None:
    """A beginning that several ids share finds none of them, and names them all."""
    seen: dict[str, str] = {}
    while True:
        found = manager.create().id
        if found[0] in seen:
            break
        seen[found[0]] = found
    with pytest.raises(AmbiguousReferenceError) as raised:
        manager.get(found[0])
    listed = [candidate.split()[0] for candidate in raised.value.candidates]
    assert set(listed) == {found, seen[found[0]]}
    assert all(one in raised.value.what for one in listed)


def test_nothing_finds_nothing(manager: BackupManager) -> None:
    """An empty reference is not the beginning of every id."""
    manager.create()
    for ref in ("", " ", "zz", "revision:"):
        with pytest.raises((BackupNotFoundError, OutsideDirectoryError)):
            manager.get(ref)


def test_a_revision_finds_the_newest_at_it(manager: BackupManager, database: Path) -> None:
    """`revision:` finds the newest backup at that revision, written whole or in its beginning."""
    _at_revision(manager, database, "abc123")
    second = _at_revision(manager, database, "abc123")
    other = _at_revision(manager, database, "def456", "0aa")
    assert manager.get("revision:abc123").id == second
    assert manager.get("revision:abc").id == second
    assert manager.get("revision:0aa").id == other
    with pytest.raises(BackupNotFoundError, match="'fff'") as raised:
        manager.get("revision:fff")
    assert "0aa, abc123, def456" in raised.value.hint


def test_an_ambiguous_revision_lists_the_revisions(manager: BackupManager, database: Path) -> None:
    """A beginning of two revisions is no revision; the whole of one is, also if another goes on."""
    exact = _at_revision(manager, database, "abc")
    _at_revision(manager, database, "abcdef")
    assert manager.get("revision:abc").id == exact
    with pytest.raises(AmbiguousReferenceError) as raised:
        manager.get("revision:ab")
    assert raised.value.candidates == ("abc", "abcdef")


def test_a_beginning_finds_only_own_backups(tmp_path: Path, make_engine: EngineMaker) -> None:
    """In a directory of two databases the beginning of an id means one's own."""
    managers = [
        BackupManager(make_engine(make_database(tmp_path / name)), tmp_path / "shared")
        for name in ("one.db", "two.db")
    ]
    mine, others = (manager.create() for manager in managers)
    assert managers[0].get(others.id) == others  # the whole id leaves no doubt
    length = next(n for n in range(1, 13) if mine.id[:n] != others.id[:n])
    with pytest.raises(BackupNotFoundError):
        managers[0].get(others.id[:length])


def test_links_to_one_directory_share_no_backups(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Two databases whose ``backups`` leads to the same place have each their own."""
    shared = tmp_path / "shared"
    shared.mkdir()
    managers = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "backups").symlink_to(shared)
        database = make_database(tmp_path / name / "app.db")
        managers.append(BackupManager(make_engine(database), tmp_path / name / "backups"))
    mine, others = (manager.create() for manager in managers)
    assert [[info.id for info in manager.list()] for manager in managers] == [
        [mine.id],
        [others.id],
    ]

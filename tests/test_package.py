"""The package as it is imported."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from helpers import Child
from sqlalchemy.engine import Engine

import soulsense_db
from soulsense_db import BackupManager

PACKAGE = Path(soulsense_db.__file__).parent
# What only somebody writes who knows SQLite: its module, its SQL, the files that it keeps.
OF_SQLITE = re.compile(
    r"\bsqlite3\b|pragma\b(?!: no)|\bsqlite_|-wal\b|-shm\b|-journal\b", re.IGNORECASE
)
HEAVY = ["tkinter", "alembic", "typer", "rich", "aiosqlite", "pytest"]


def test_importing_loads_nothing_heavy() -> None:
    """``import soulsense_db`` costs an application no user interface, migrations or event loop."""
    with Child("modules_of_the_library.py") as child:
        loaded = set(json.loads(child.finish()))
    assert "soulsense_db.manager" in loaded
    assert not loaded & set(HEAVY)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """Names are loaded when first asked for; others are errors as in every module."""
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = soulsense_db.nothing_such
    assert dir(soulsense_db) == soulsense_db.__all__


PUBLIC = json.loads((Path(__file__).parent / "golden" / "public_names.json").read_text())


@pytest.mark.parametrize("module", PUBLIC)
def test_the_names_of_public_modules_are_these(module: str) -> None:
    """Nobody's import breaks by accident, and nothing becomes public by accident."""
    public = importlib.import_module(module)
    assert sorted(public.__all__) == PUBLIC[module]
    assert all(hasattr(public, name) for name in public.__all__)


def test_the_public_modules_are_those_of_the_compatibility_page() -> None:
    """What the page calls public is what the test above holds."""
    page = (PACKAGE.parent / "docs" / "compatibility.md").read_text()
    listed = page.partition("The names that ")[2].partition("list in")[0]
    assert sorted(PUBLIC) == sorted(re.findall(r"`([\w.]+)`", listed))


def test_the_public_names_are_these() -> None:
    """Those of the package itself are few."""
    assert sorted(soulsense_db.__all__) == [
        "AsyncBackupManager",
        "BackupError",
        "BackupInfo",
        "BackupKind",
        "BackupManager",
        "Compression",
        "DatabaseError",
        "MirrorTarget",
        "Period",
        "PruneReport",
        "RestoreReport",
        "RetentionPolicy",
        "RowsReport",
        "VerificationReport",
    ]


@pytest.mark.parametrize("name", soulsense_db.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """All that ``__all__`` promises can be imported."""
    assert getattr(soulsense_db, name)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("soulsense_db.errors", "HalfRunMigrationError", "InterruptedMigrationError"),
        ("soulsense_db.drivers", "Comparison", "DatabaseDiff"),
        ("soulsense_db.drivers", "TableComparison", "TableDiff"),
        ("soulsense_db.drivers", "TableRows", "RowCounts"),
        ("soulsense_db.auto", "run_auto", "run_auto"),
    ],
)
def test_an_old_name_works_for_a_release(module: str, old: str, new: str) -> None:
    """What has another name can still be imported under the old one, with a warning."""
    sys.modules.pop("soulsense_db.auto", None)
    with pytest.warns(DeprecationWarning, match="called"):
        found = getattr(importlib.import_module(module), old)
    assert found.__name__ == new


def test_what_is_of_sqlite_stands_in_its_driver_alone() -> None:
    """A new dialect is one folder: no other module knows SQLite's module, its SQL or its files."""
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE / "drivers" / "sqlite"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OF_SQLITE.search(line.replace("*.sqlite3", ""))  # a name that people give their files
    ]
    assert found == []


@pytest.mark.parametrize(
    "old",
    [
        "sync_catalog",
        "catalog_names",
        "half_run_migration",
        "half_run_marker",
        "accept_half_run_migration",
        "database_size",
        "alembic_heads",
    ],
)
def test_an_old_member_of_a_manager_still_works(manager: BackupManager, old: str) -> None:
    """What is grouped now can still be called under the name that the documentation showed."""
    getattr(manager, old)()


def test_the_old_name_of_a_rebuild_stays(manager: BackupManager) -> None:
    """What the documentation showed for long is an alias without a warning."""
    manager.create()
    assert manager.rebuild_catalog() == manager.catalog.rebuild() == 1


def test_what_reaches_the_database_has_its_old_names(
    manager: BackupManager, engine: Engine
) -> None:
    """The address and the attached files are those of the group ``live``."""
    assert manager.address == manager.live.address
    with engine.connect() as connection:
        assert manager.attached_files(connection) == {}


def test_the_old_names_in_reports_work_for_a_release(manager: BackupManager) -> None:
    """``remarks`` are ``warnings`` now, and ``read_back`` is ``verified``."""
    verified = manager.verify(manager.create())
    check = manager.can_restore("latest")
    restored = manager.restore("latest")
    for report in (verified, check, restored):
        with pytest.warns(DeprecationWarning, match="is called warnings"):
            assert report.remarks == report.warnings == ()
    with pytest.warns(DeprecationWarning, match="is called verified"):
        assert restored.read_back is restored.verified is True

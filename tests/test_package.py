"""The package as it is imported."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from helpers import Child

import soulsense_db

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


def test_the_public_names_are_these() -> None:
    """Nobody's import breaks by accident, and nothing becomes public by accident."""
    assert sorted(soulsense_db.__all__) == [
        "BackupError",
        "BackupInfo",
        "BackupKind",
        "BackupManager",
        "DatabaseError",
        "Period",
        "PruneReport",
        "RestoreReport",
        "RetentionPolicy",
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

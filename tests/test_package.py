"""The package as it is imported."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from helpers import Child
from sqlalchemy.engine import Engine

import soulsense_db
from soulsense_db import BackupManager

HEAVY = ["tkinter", "alembic", "typer", "rich", "aiosqlite", "pytest"]


def test_importing_loads_nothing_heavy() -> None:
    """``import soulsense_db`` costs an application no user interface, migrations or event loop."""
    script = """
        import json, sys
        from soulsense_db import BackupManager
        print(json.dumps(sorted(sys.modules)))
    """
    with Child(script) as child:
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
def test_an_old_member_of_a_manager_works_for_a_release(manager: BackupManager, old: str) -> None:
    """What is grouped now can still be called under the old name, with a warning."""
    with pytest.warns(DeprecationWarning, match="is called"):
        getattr(manager, old)()


def test_the_old_name_of_a_rebuild_stays(manager: BackupManager) -> None:
    """What the documentation showed for long is an alias without a warning."""
    manager.create()
    assert manager.rebuild_catalog() == manager.catalog.rebuild() == 1


def test_what_reaches_the_database_has_its_old_names(
    manager: BackupManager, engine: Engine
) -> None:
    """The address and the attached files are those of the group ``live``."""
    with pytest.warns(DeprecationWarning, match="live.address"):
        assert manager.address == manager.live.address
    with engine.connect() as connection, pytest.warns(DeprecationWarning, match="live.attached"):
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

"""The package as it is imported."""

from __future__ import annotations

import json

import pytest
from helpers import Child

import soulsense_db

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

"""Databases that the application attaches are in no backup, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import execute, make_database
from sqlalchemy import event

from soulsense_db import BackupManager

ATTACHED = {
    "a file": ("ATTACH '{folder}/other.db' AS other", "other ({folder}/other.db)"),
    "memory": ("ATTACH ':memory:' AS scratch", "scratch (in memory)"),
    "two": (
        "ATTACH '{folder}/other.db' AS other; ATTACH '{folder}/it''s.db' AS third",
        "other ({folder}/other.db), third ({folder}/it's.db)",
    ),
    "none": ("CREATE TEMP TABLE t (x)", ""),
}


@pytest.mark.parametrize("name", ATTACHED)
def test_attached_databases_are_named(
    database: Path, make_engine: EngineMaker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup says what it does not contain: in the log, once, and among its facts."""
    folder = database.parent
    for other in ("other.db", "it's.db"):
        make_database(folder / other)
    statements, named = (text.format(folder=folder) for text in ATTACHED[name])
    engine = make_engine(database)

    def attach(raw: object, _: object) -> None:
        for statement in statements.split("; "):
            raw.execute(statement)  # type: ignore[attr-defined]

    event.listen(engine, "connect", attach)
    manager = BackupManager(engine)
    info = manager.create()
    assert info.driver_facts.get("attached", "") == named
    assert manager.get(info).driver_facts == info.driver_facts
    manager.create()
    told = [record.getMessage() for record in caplog.records]
    expected = f"Not in this backup: attached database {named}. Back it up separately."
    assert told == ([expected] if named else [])
    execute(database, "DELETE FROM child")
    manager.restore(info)

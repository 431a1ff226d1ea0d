"""Rows of a backup, as a driver finds and writes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import execute, make_database, scalar

from soulsense_db.drivers import Driver, RowSelection, RowsPlan, SQLiteDriver
from soulsense_db.errors import RowsRefusedError, UnsupportedDatabaseError


class Safety:
    """Notes what a driver tells of its steps."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.steps: list[str] = []

    def _note(self, step: str) -> None:
        there = scalar(self.database, "SELECT count(*) FROM child WHERE id = 1")
        self.steps.append(f"{step} {there}")

    def take(self) -> None:
        """Nothing is written yet."""
        self._note("take")

    def place(self) -> None:
        """Nor can others see it now."""
        self.steps.append("place")

    def committed(self, plan: RowsPlan) -> None:
        """Now they can."""
        self._note(f"committed {plan.inserted}")


def pair_of(folder: Path) -> tuple[Path, Path]:
    """Return a live database that lacks a row of the other."""
    live, backup = make_database(folder / "app.db"), make_database(folder / "backup.db")
    execute(live, "DELETE FROM child WHERE id = 1")
    return live, backup


def test_a_driver_tells_each_step(tmp_path: Path, make_engine: EngineMaker) -> None:
    """First the copy, then its name, then the commit; in this order, and each once."""
    live, backup = pair_of(tmp_path)
    driver = SQLiteDriver(make_engine(live), lock_timeout=2)
    safety = Safety(live)
    selection = RowSelection(table="child", where="id < 3")
    plan = driver.load_rows(backup, selection, safety=safety)
    assert (plan.inserted, plan.tables[0].same) == (1, 1)
    assert safety.steps == ["take 0", "place", "committed 1 1"]
    assert driver.load_rows(backup, selection, safety=safety).writes == 0
    assert safety.steps[3:] == []


def test_a_driver_that_knows_only_whole_databases_says_so(tmp_path: Path) -> None:
    """Drivers of other packages need not be able to do it."""
    driver = SQLiteDriver(sa.create_engine("sqlite://"), lock_timeout=1)
    with pytest.raises(UnsupportedDatabaseError, match="Single rows"):
        Driver.plan_rows(driver, tmp_path, RowSelection(table="t"))
    with pytest.raises(UnsupportedDatabaseError, match="Single rows"):
        Driver.find_rows(driver, tmp_path, RowSelection(table="t"))
    with pytest.raises(UnsupportedDatabaseError, match="Single rows"):
        Driver.load_rows(driver, tmp_path, RowSelection(table="t"), safety=Safety(tmp_path))


def test_names_that_are_no_text_keep_nobody_from_the_other_tables(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Python can name no such column: its table is refused, and the others are not."""
    live, backup = pair_of(tmp_path)
    for path in (live, backup):
        execute(path, "CREATE TABLE odd (abc REFERENCES child (id))")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = 1")
            sql = b"CREATE TABLE odd (a\xffc REFERENCES child (id))".hex()
            connection.execute(
                f"UPDATE sqlite_master SET sql = CAST(x'{sql}' AS TEXT) WHERE name = 'odd'"
            )
    driver = SQLiteDriver(make_engine(live), lock_timeout=2)
    with pytest.raises(RowsRefusedError, match="no text"):
        driver.plan_rows(backup, RowSelection(table="odd"))
    selection = RowSelection(table="child", where="id = 1", with_children=True)
    assert driver.plan_rows(backup, selection, samples=1).inserted == 1

"""What a drill says of a backup stays said, and what looks at nothing is no check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helpers import snapshot_of
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.errors import DrillError, OptionError


@pytest.fixture
def manager(database: Path) -> BackupManager:
    """Return a manager with one backup."""
    manager = BackupManager.from_url(f"sqlite:///{database}")
    manager.create("Before the import")
    return manager


def test_a_failed_drill_stays_one_until_a_drill_passes(manager: BackupManager) -> None:
    """To read the backup is to look at less: that takes nothing back, and says so."""
    with pytest.raises(DrillError) as caught:
        manager.verify("latest", level="drill", checks=["SELECT 0"])
    assert "If it is for today's tables only, drill with --upgrade." in caught.value.hint
    for level in ("quick", "full"):
        report = manager.verify("latest", level=level)
        assert not report.recorded
        assert "it failed its last drill, on " in report.warnings[-1]
    info = manager.get("latest")
    assert (info.verified_at, info.drill_result) == (None, "failed")
    assert "it failed its last drill" in manager.can_restore("latest").warnings[-1]
    manager.restore("latest")
    assert manager.get("latest").verified_at is None
    manager.verify("latest", level="drill", checks=["SELECT 1"])
    info = manager.get("latest")
    assert info.verified_at is not None
    assert info.drill_result == "passed"
    assert manager.verify("latest").recorded


def writes(engine: Engine, live: Path, name: str) -> None:
    """Write to the live database through the engine of a check."""
    with engine.connect() as connection:
        connection.exec_driver_sql(name, (str(live),) if "?" in name else ())
        connection.exec_driver_sql("DELETE FROM live.child")
        connection.commit()


@pytest.mark.parametrize(
    "statement", ["ATTACH '{live}' AS live", "ATTACH ? AS live", "ATTACH '{uri}' AS live"]
)
def test_a_check_cannot_attach_the_live_database(
    database: Path, manager: BackupManager, statement: str
) -> None:
    """Not under any name; nor by asking for it to be allowed. The check fails."""
    statement = statement.format(live=database, uri=database.as_uri())
    before = snapshot_of(database.parent)

    def check(engine: Engine) -> None:
        @sa.event.listens_for(engine, "connect")
        def allow(connection: Any, _record: object) -> None:
            connection.set_authorizer(None)

        writes(engine, database, statement)

    with pytest.raises(DrillError, match="not authorized"):
        manager.verify("latest", level="drill", checks=[check])
    after = snapshot_of(database.parent)
    assert {name: after[name] for name in before if "meta" not in name} == {
        name: before[name] for name in before if "meta" not in name
    }


def test_a_check_may_attach_what_is_its_own(manager: BackupManager) -> None:
    """A new file, in memory or beside the copy, is nobody's data."""

    def check(engine: Engine) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("ATTACH ':memory:' AS other")
            connection.exec_driver_sql("CREATE TABLE other.t AS SELECT * FROM child")
            connection.exec_driver_sql("VACUUM")

    manager.verify("latest", level="drill", checks=[check])


def yields(engine: Engine) -> Iterator[None]:
    """Look at nothing until somebody asks for the next."""
    raise AssertionError
    yield


async def awaits(engine: Engine) -> None:
    """Look at nothing until somebody awaits it."""
    raise AssertionError


async def yields_later(engine: Engine) -> AsyncIterator[None]:
    """Look at nothing, twice."""
    raise AssertionError
    yield


@pytest.mark.parametrize("check", [yields, awaits, yields_later])
def test_a_function_whose_body_never_runs_is_no_check(
    manager: BackupManager, check: Callable[[Engine], object]
) -> None:
    """It would pass for every backup; nothing is drilled for it."""
    before = manager.get("latest")
    with pytest.raises(OptionError) as caught:
        manager.verify("latest", level="drill", checks=[check])
    assert "calling it runs nothing" in caught.value.what
    assert check.__name__ in caught.value.what
    assert manager.get("latest") == before


@pytest.mark.parametrize("value", [0, 1, "", "fine", [], iter(())])
def test_what_is_neither_true_nor_false_is_no_answer(manager: BackupManager, value: object) -> None:
    """A number may be of what is there, or of what is wrong: nobody can tell."""
    before = manager.get("latest")
    with pytest.raises(OptionError) as caught:
        manager.verify("latest", level="drill", checks=[lambda _: value])
    assert f"it returned something else ({type(value).__name__})" in caught.value.what
    assert manager.get("latest") == before


@pytest.mark.parametrize("value", [None, True])
def test_nothing_and_true_are_answers(manager: BackupManager, value: object) -> None:
    """Both pass."""
    manager.verify("latest", level="drill", checks=[lambda _: value])


def test_an_error_that_cannot_say_what_happened(manager: BackupManager) -> None:
    """It fails the drill like any other."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def check(engine: Engine) -> None:
        raise MuteError

    with pytest.raises(DrillError, match="MuteError, which cannot say what happened"):
        manager.verify("latest", level="drill", checks=[check])

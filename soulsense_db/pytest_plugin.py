"""Fixtures for tests of applications: each test begins with the same database.

pytest imports this module in every run of the environment (entry point ``pytest11``), therefore it
imports nothing of this package before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["soulsense_database", "soulsense_engine"]

_LOCK_TIMEOUT = 5.0


@pytest.fixture(scope="session")
def soulsense_engine() -> Engine | AsyncEngine:
    """Override it in conftest.py: return the engine of the tests' database, with all tables."""
    raise pytest.UsageError(
        "soulsense_database needs to know the database. Define in conftest.py a fixture "
        '"soulsense_engine" with scope="session" that makes the tables and returns the engine.'
    )


@pytest.fixture(scope="session")
def _soulsense_put_back(
    soulsense_engine: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], None]:
    """Keep the database as it is before the first test; return what puts it back."""
    from soulsense_db.drivers import driver_for

    folder: Path = tmp_path_factory.mktemp("soulsense_db")
    return driver_for(soulsense_engine, lock_timeout=_LOCK_TIMEOUT).kept_state(folder)


@pytest.fixture
def soulsense_database(soulsense_engine: Any, _soulsense_put_back: Callable[[], None]) -> Any:
    """Put the database back to what it was before the first test; return its engine."""
    _soulsense_put_back()
    return soulsense_engine

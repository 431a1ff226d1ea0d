"""Which driver is the one for an engine or a URL.

Others bring a driver for their dialect in a package with an entry point::

    [project.entry-points."soulsense_db.drivers"]
    oracle = "their_package:TheirDriver"

One for a dialect of ours takes the place of ours.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from soulsense_db import fs
from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.engines import engine_of
from soulsense_db.drivers.errors import (
    host_in_url,
    no_driver,
    no_engine,
    no_rehearsal,
    no_url,
    not_loaded,
    not_one_of_ours,
    nul_in_url,
    other_library,
)

if TYPE_CHECKING:
    from soulsense_db.drivers.engines import EngineSource
    from soulsense_db.drivers.rehearsal import RehearsalSupport

GROUP = "soulsense_db.drivers"
"""The group of entry points that name drivers: the dialect, and where its class is."""

# Also without metadata of an installation, as in a program frozen into one file.
_OURS = {
    "sqlite": ("soulsense_db.drivers.sqlite", "SQLiteDriver"),
    "postgresql": ("soulsense_db.drivers.postgresql", "PostgreSQLDriver"),
    "mariadb": ("soulsense_db.drivers.mariadb", "MariaDBDriver"),
    "mysql": ("soulsense_db.drivers.mariadb", "MySQLDriver"),
}
# What comes of a URL whose beginning is missing or misspelt.
_LIKE_A_LOGIN = re.compile(r"(?!file:).*[^/\\:]:[^/\\].*@")


def driver_for(engine: EngineSource, *, lock_timeout: float) -> Driver:
    """Return the driver for ``engine``, or for what is bound to one.

    Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError` naming the supported dialects.
    """
    found = engine_of(engine)
    sync_engine: Any = getattr(found, "sync_engine", found)
    return _driver_class(sync_engine.dialect.name)(sync_engine, lock_timeout=lock_timeout)


def rehearsal_for(dialect: str) -> RehearsalSupport:
    """Return what a rehearsal has to know of ``dialect``.

    Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError` where nothing is known of it.
    """
    support = _driver_class(dialect).rehearsal()
    if support is None:
        raise no_rehearsal(dialect)
    return support


def engine_for(url: str) -> Engine:
    """Return a new engine for ``url``: a database URL, or the path of an SQLite file.

    Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError` when it is neither, or when the
    database's own Python driver is missing.
    """
    if "\0" in url:
        raise nul_in_url()
    if "://" not in url:
        parsed = sa.URL.create("sqlite", database=url)
    else:
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            raise no_url() from None
    if _LIKE_A_LOGIN.match(parsed.database or "") and not Path(parsed.database or "").exists():
        raise no_url()
    if "@" in (parsed.host or ""):  # a password in which nothing is escaped
        raise no_url()
    dialect = parsed.get_backend_name()
    driver_class = _driver_class(dialect)
    if parsed.host and not driver_class.url_has_host:
        raise host_in_url(dialect)
    supported = driver_class.url_drivers
    name = parsed.drivername.partition("+")[2]
    if name and name not in supported:
        raise other_library(parsed.drivername, dialect, supported)
    return _make_engine(driver_class, parsed)


def _make_engine(driver_class: type[Driver], url: sa.URL) -> Engine:
    try:
        return driver_class.engine_for_commands(url)
    # Also what its options cannot be, and an OSError without a current directory.
    except (ImportError, OSError, TypeError, ValueError, sa.exc.ArgumentError) as error:
        # A traceback would tell what reason_of does not.
        raise no_engine(reason_of(error)) from None


def reason_of(error: BaseException) -> str:
    """Return what an error about a URL says, unless it quotes a value: that may be a password."""
    if isinstance(error, (ValueError, sa.exc.ArgumentError)):
        return "a part of it is not what is allowed there"
    return str(error)


def _driver_class(dialect: str) -> type[Driver]:
    with fs.storage_errors("look for drivers in", Path(sys.prefix)):
        packaged = _packaged(tuple(sys.path))
    for entry in packaged.select(name=dialect):
        return _loaded(entry)
    if dialect in _OURS:
        module, name = _OURS[dialect]
        found: type[Driver] = getattr(import_module(module), name)
        return found
    raise no_driver(dialect, sorted({*_OURS, *packaged.names}))


# A file of every installed package is opened for it.
@cache
def _packaged(_path: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=GROUP)


def _loaded(entry: EntryPoint) -> type[Driver]:
    try:
        found = entry.load()
    except Exception as error:
        raise not_loaded(entry.value, entry.name, str(error)) from error
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise not_one_of_ours(entry.value, entry.name)
    return found

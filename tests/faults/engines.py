"""The kinds of engines through which the operations reach their database.

Each process of the matrix uses one of them: :func:`choose` says which.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

PLAIN = "plain"
_TIMEOUT = 5.0  # seconds that its connections wait for a lock, as Python's own do


def _plain(path: Path, timeout: float) -> Engine:
    return _engine(f"sqlite:///{path}", timeout)


def _aiosqlite_with_uri(path: Path, timeout: float) -> AsyncEngine:
    # unix-excl: whoever opens the bare path beside it, in another process, is locked out.
    uri = f"file:{path}?mode=rw&cache=private&vfs=unix-excl&uri=true"
    url = f"sqlite+aiosqlite:///{uri}"
    return create_async_engine(url, connect_args={"timeout": timeout}, poolclass=sa.NullPool)


def _static_pool(path: Path, timeout: float) -> Engine:
    options = {"timeout": timeout, "check_same_thread": False}
    return sa.create_engine(f"sqlite:///{path}", connect_args=options, poolclass=sa.StaticPool)


def _writing_event(path: Path, timeout: float) -> Engine:
    return _with_event(_plain(path, timeout), "PRAGMA user_version = 3")


def _shared_cache(path: Path, timeout: float) -> Engine:
    return _engine(f"sqlite:///file:{path}?cache=shared&uri=true", timeout)


def _exclusive_locking(path: Path, timeout: float) -> Engine:
    return _with_event(_plain(path, timeout), "PRAGMA locking_mode = EXCLUSIVE")


def _engine(url: str, timeout: float) -> Engine:
    return sa.create_engine(url, connect_args={"timeout": timeout}, poolclass=sa.NullPool)


def _with_event(engine: Engine, statement: str) -> Engine:
    @sa.event.listens_for(engine, "connect")
    def execute(connection: Any, _record: object) -> None:
        connection.execute(statement)

    return engine


ENGINES: dict[str, Callable[[Path, float], Engine | AsyncEngine]] = {
    PLAIN: _plain,
    "aiosqlite, URI options": _aiosqlite_with_uri,
    "StaticPool": _static_pool,
    "connect event that writes": _writing_event,
    "cache=shared": _shared_cache,
    "exclusive locking": _exclusive_locking,
}
OTHERS = [name for name in ENGINES if name != PLAIN]

_chosen = PLAIN
# A StaticPool keeps its connection open: as in an application there is one engine of it.
_static: dict[Path, Engine] = {}


def choose(name: str) -> None:
    """Make every engine of this process one of the kind ``name``."""
    global _chosen  # noqa: PLW0603 - a process of its own for each case
    _chosen = name


def make(path: Path, *, timeout: float = _TIMEOUT) -> Engine | AsyncEngine:
    """Return an engine of the chosen kind on the database file ``path``."""
    if _chosen != "StaticPool":
        return ENGINES[_chosen](path, timeout)
    if path not in _static:
        _static[path] = _static_pool(path, timeout)
    return _static[path]


def open_idle(path: Path) -> None:
    """Open the connection that an application with a StaticPool has open all the time."""
    engine = make(path)
    if isinstance(engine, Engine) and isinstance(engine.pool, sa.StaticPool):
        with suppress(sa.exc.DatabaseError), engine.connect() as connection:  # damaged
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")


def close_idle() -> None:
    """Close what :func:`open_idle`, or a migration since then, has left open."""
    for engine in _static.values():
        engine.dispose()

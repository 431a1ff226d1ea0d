"""The engine of what applications hand round: a session, what makes sessions, or the engine."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection, Engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import (
        AsyncEngine,
        AsyncSession,
        async_scoped_session,
        async_sessionmaker,
    )
    from sqlalchemy.orm import Session, scoped_session, sessionmaker

    EngineSource = (
        Engine
        | AsyncEngine
        | Session
        | sessionmaker[Any]
        | scoped_session[Any]
        | AsyncSession
        | async_sessionmaker[Any]
        | async_scoped_session[Any]
    )

CONNECT_SECONDS = 30
"""How long a server may take to let somebody in, where the application says nothing of that.

One that is stuck, or a firewall, may take a connection and then say nothing. So does pgbouncer for
15 seconds (``server_login_retry``) after its own login failed, as it may in the moment of a swap.
"""
_EXPECTED = "engine must be an Engine, an AsyncEngine, or a session or sessionmaker bound to one"


def engine_of(source: object) -> Engine | AsyncEngine:
    """Return the engine that an object is, or is bound to.

    Args:
        source: An engine, a ``Session``, ``sessionmaker`` or ``scoped_session``, or the same of
            asyncio.

    Returns:
        The engine itself, not a new one.

    Raises:
        TypeError: It is bound to no engine; the message says what to pass.

    Example:
        >>> from sqlalchemy.orm import sessionmaker
        >>> engine_of(sessionmaker(engine)) is engine
        True
    """
    if isinstance(source, Engine):
        return source
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
        async_scoped_session,
        async_sessionmaker,
    )
    from sqlalchemy.orm import Session, scoped_session, sessionmaker

    if isinstance(source, AsyncEngine):
        return source
    if isinstance(source, (scoped_session, async_scoped_session)):
        # Its own session is one for each thread or task: none is begun here.
        return engine_of(source.session_factory)
    if isinstance(source, (sessionmaker, async_sessionmaker)):
        bind = source.kw.get("bind")
    elif isinstance(source, (Session, AsyncSession)):
        bind = source.bind
    else:
        raise TypeError(f"{_EXPECTED}, not {_kind_of(source)}{_advice(source)}")
    if isinstance(bind, (Connection, AsyncConnection)):
        return bind.engine
    if not isinstance(bind, (Engine, AsyncEngine)):
        raise TypeError(
            f"The {_kind_of(source)} is bound to no engine: pass the engine that its models use."
        )
    return bind


def given_to_library(engine: Engine) -> tuple[list[Any], dict[str, Any]] | None:
    """Return what the creator of :func:`sqlalchemy.create_engine` passes on when it connects.

    It has them as variables of its own, with ``connect_args``, and with a relative path as it was
    when the engine was made. None for a creator of the application's.
    """
    creator = engine.pool._creator
    if not inspect.isfunction(creator) or creator.__module__ != "sqlalchemy.engine.create":
        return None
    found = inspect.getclosurevars(creator).nonlocals
    positional, keywords = found.get("cargs_tup", found.get("cargs")), found.get("cparams")
    if positional is None or keywords is None:
        return None
    return list(positional), dict(keywords)


def private_engine(engine: Engine) -> Engine:
    """Return an engine that connects as ``engine`` does, with its events, in a pool of its own."""
    return Engine(engine.pool.recreate(), engine.dialect, engine.url)


def _kind_of(source: object) -> str:
    # Not what it is: it may be a URL with a password.
    return type(source).__name__


def _advice(source: Any) -> str:
    if isinstance(source, (str, bytes)) or hasattr(source, "render_as_string"):
        return ": pass create_engine(...) of it, or use BackupManager.from_url()"
    if isinstance(source, (Connection,)):
        return ": pass its .engine"
    module = type(source).__module__.partition(".")[0]
    if module == "flask_sqlalchemy":
        return ": pass its .engine, inside of app.app_context()"
    if module == "flask":
        return ": pass db.engine, inside of app.app_context()"
    return ""

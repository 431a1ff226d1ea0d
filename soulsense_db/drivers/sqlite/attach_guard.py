"""Connections that attach no other database file: what is attached can be written."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soulsense_db.drivers.sqlite.arguments import ConnectArguments
from soulsense_db.drivers.sqlite.identity import path_of

_UNKNOWN = Path("a database whose name is a parameter")


def factory_for(folder: Path) -> type[sqlite3.Connection]:
    """Return a class of connections that attach nothing but what is in ``folder``, or is new."""

    def refuse(path: Path, _what: str) -> None:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PermissionError(path)

    factory: type[sqlite3.Connection] = guarded(
        sqlite3.Connection, functools.partial(authorize, refuse)
    )
    return factory


def guarded(factory: Any, guard: Callable[..., int]) -> Any:
    """Return a class of connections that ask ``guard``, whatever authorizer they are given.

    ``factory``: the class that they would have, or a function that makes them.
    """
    if not isinstance(factory, type):  # a function makes them: they ask until they are given one
        return lambda *given, **keywords: _asking(factory(*given, **keywords), guard)

    class Guarded(factory):  # type: ignore[misc]
        def __init__(self, *given: Any, **keywords: Any) -> None:
            super().__init__(*given, **keywords)
            self.set_authorizer(None)

        def set_authorizer(self, authorizer_callback: Callable[..., int] | None) -> None:
            def both(*action: Any) -> int:
                verdict = guard(*action)
                if verdict != sqlite3.SQLITE_OK or authorizer_callback is None:
                    return verdict
                return authorizer_callback(*action)

            super().set_authorizer(both)

    return Guarded


def _asking(connection: Any, guard: Callable[..., int]) -> Any:
    connection.set_authorizer(guard)
    return connection


def authorize(
    refuse: Callable[[Path, str], object], action: int, name: str | None, *_: str | None
) -> int:
    """Let a connection attach no file that exists; VACUUM attaches one without a name.

    ``refuse`` (file, what was tried) raises an :class:`OSError`, or lets it pass.
    """
    if action != sqlite3.SQLITE_ATTACH or name in {"", ":memory:"}:
        return sqlite3.SQLITE_OK
    path: Path | None = _UNKNOWN  # SQLite tells no name that is a parameter
    if name is not None:
        path = path_of(ConnectArguments.given([name], {"uri": name.startswith("file:")}).file)
    if path is not None and (path is _UNKNOWN or path.exists()):
        try:
            refuse(path, "attach")
        except OSError:
            return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK

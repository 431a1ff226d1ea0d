"""What an engine gives ``sqlite3.connect``, found without connecting."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError

from soulsense_db.drivers.engines import given_to_library
from soulsense_db.drivers.registry import reason_of
from soulsense_db.drivers.sqlite.refusals import no_option, without_locks

# With these nothing keeps two processes from writing at the same time.
_NO_LOCKS = {"unix-none", "win32-none"}


class ConnectArguments:
    """What the engine gives ``sqlite3.connect``.

    ``name``: its first argument, a path or URI, empty where the engine has a creator of its own
    that ``engine.url`` tells nothing of; ``options``: those of a URI, by name; ``is_standard``:
    whether they are what the engine really gives, for it has no creator of its own.
    """

    def __init__(self, engine: Engine) -> None:
        found = given_to_library(engine)
        self._take(*(found or _of_url(engine)), is_standard=found is not None)

    @classmethod
    def given(cls, positional: list[Any], keywords: dict[str, Any]) -> Self:
        """Return what these arguments of ``sqlite3.connect`` mean."""
        made = cls.__new__(cls)
        made._take(positional, keywords, is_standard=True)
        return made

    def _take(self, positional: list[Any], keywords: dict[str, Any], *, is_standard: bool) -> None:
        self.is_standard = is_standard
        self._positional, self._keywords = list(positional), keywords
        self.name = str(positional[0]) if positional else ""
        self.is_uri = bool(self._keywords.get("uri")) and self.name.startswith("file:")
        self._resource, _, self._query = self.name.partition("#")[0].partition("?")
        self.options = dict(parse_qsl(self._query if self.is_uri else "", keep_blank_values=True))

    @property
    def file(self) -> str:
        """The name of the file, empty in memory."""
        if self.is_uri:
            in_memory = self.options.get("mode") == "memory"
            # file:path, file:/path, file:///path or file://localhost/path
            found = re.fullmatch(
                r"file:(//(localhost)?(?=/|$))?(?!//)(.*)", self._resource, re.DOTALL
            )
            if found is None:
                raise no_option("another host")
            name = "" if in_memory else unquote(found[3])
        else:
            name = self.name
        return "" if name == ":memory:" else name

    @property
    def is_shared_memory(self) -> bool:
        """Whether another connection reaches the same in-memory database."""
        return self.is_uri and self.options.get("cache") == "shared"

    def renamed(self, path: Path) -> str:
        """Return the first argument for the file ``path``, with the same options."""
        if not self.is_uri:
            return str(path)
        return f"{path.absolute().as_uri()}?{self._query}" if self._query else path.as_uri()

    def address(self, path: Path) -> str:
        """Return what ``--url`` takes to reach the file ``path`` in the way of these arguments.

        By its plain path another VFS would be used, whose locks those of this one do not see.
        """
        if not (self.is_standard and self.options.get("vfs")):
            return str(path)
        options = urlencode({**self.options, "uri": "true"})
        return f"sqlite:///file:{quote(str(path))}?{options}"

    @property
    def is_read_only(self) -> bool:
        """Whether the engine's connections cannot write."""
        return self.options.get("mode") == "ro" or self.is_immutable

    def require_locks(self) -> None:
        """Raise :class:`UnsupportedDatabaseError` where SQLite is told to lock nothing."""
        if _is_true(self.options.get("nolock")):
            raise without_locks("nolock=1")
        if self.options.get("vfs") in _NO_LOCKS:
            raise without_locks(f"vfs={self.options['vfs']}")

    @property
    def is_immutable(self) -> bool:
        """Whether SQLite is told that nobody changes the file: it looks for no log then."""
        return _is_true(self.options.get("immutable"))

    def with_private_cache(self, engine: Engine) -> Callable[..., Any]:
        """Return a creator like the standard one of ``engine``, without ``cache=shared``.

        In a shared cache a connection that holds the write lock keeps all others of the process
        from reading. Locks between caches are those of the file.
        """
        parts = [part for part in self._query.split("&") if not part.startswith("cache=")]
        name = f"{self._resource}?{'&'.join([*parts, 'cache=private'])}"
        return _standard_creator(engine, [name, *self._positional[1:]], self._keywords)


def _is_true(value: str | None) -> bool:
    """Whether SQLite takes the value of an option of a URI for yes."""
    value = (value or "").lower()
    is_number = value.isascii() and value.isdecimal()
    return value in {"on", "yes", "true"} or (is_number and value.strip("0") != "")


def _of_url(engine: Engine) -> tuple[list[Any], dict[str, Any]]:
    try:
        positional, keywords = engine.dialect.create_connect_args(engine.url)
    except (ArgumentError, OverflowError, TypeError, ValueError) as error:
        raise no_option(reason_of(error)) from None
    return list(positional), dict(keywords)


def _standard_creator(
    engine: Engine, positional: list[Any], keywords: dict[str, Any]
) -> Callable[..., Any]:
    """Return a creator that does what SQLAlchemy's own does with these arguments."""
    dialect: Any = engine.dialect

    def connect(record: Any = None) -> Any:
        arguments, options = list(positional), dict(keywords)
        for listener in dialect.dispatch.do_connect if dialect._has_events else ():
            connection = listener(dialect, record, arguments, options)
            if connection is not None:
                return connection
        return dialect.connect(*arguments, **options)

    return connect

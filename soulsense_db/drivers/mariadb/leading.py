"""Lead the connections of a process to a private server, whatever makes them.

Each library has one place that every connection goes through once it is known where it goes to:
there the server and the login are changed, and the database stays. What asks for another database
than the live one is refused; so is what names one in a statement, or a user that is not there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from soulsense_db.drivers.leading import Leading
from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.rehearsal import Led

_DIALECTS = ("mariadb", "mysql")
_SSL = 1 << 11  # of the flags of a client
_ELSEWHERE = ("host", "port", "sock", "read_default_file", "read_default_group")
# What MySQLdb and MariaDB's connector take without a name.
_POSITIONAL = ("host", "user", "password", "database", "port", "unix_socket")
_OTHER_NAMES = {"db": "database", "passwd": "password", "username": "user"}
_NO_DATABASE, _NO_TABLE = 1049, 1146
_NO_USER = {1133, 1396, 1410}
_NO_FILE = 1290  # where an option says so
_QUOTED = re.compile(r"'([^']*)'")


def lead(
    led: Led,
    *,
    passed_by: Callable[[], object],
    refuse: Callable[[str], BaseException],
) -> None:
    """Do what ``RehearsalSupport.lead`` does."""
    leading = _Leading(led, passed_by=passed_by, refuse=refuse)
    leading.change_libraries(
        {
            "pymysql.connections": leading.change_pymysql,
            "asyncmy.connection": leading.change_asyncmy,
            "aiomysql.connection": leading.change_aiomysql,
            "MySQLdb.connections": leading.change_of_c,
            "mariadb.connections": leading.change_of_c,
            "mysql.connector": leading.change_connector,
        }
    )
    event.listen(Engine, "do_connect", leading.check_arguments)
    event.listen(Engine, "handle_error", leading.check_error)
    event.listen(Pool, "connect", leading.check_connection)


class _Leading(Leading):
    # What libraries are told

    def change_pymysql(self, library: ModuleType) -> None:
        """Change what a connection has been told, before it connects."""
        kind: Any = library.Connection
        connect = kind.connect

        @functools.wraps(connect)
        def connect_there(own: Any, sock: object = None) -> Any:
            del sock
            self._note(own.db)
            own.unix_socket, own.user = self._led.server["socket"], self._led.server["user"]
            own.password = self._led.server["password"].encode()
            own.ssl = own._ssl_required = False
            own.client_flag &= ~_SSL
            return connect(own)

        kind.connect = connect_there

    def change_aiomysql(self, library: ModuleType) -> None:
        """Change what a connection has been told, before it connects."""
        kind: Any = library.Connection
        connect = kind._connect

        @functools.wraps(connect)
        async def connect_there(own: Any) -> Any:
            self._note(own._db)
            own._unix_socket, own._user = self._led.server["socket"], self._led.server["user"]
            own._password, own._ssl_context = self._led.server["password"], None
            own.client_flag &= ~_SSL
            return await connect(own)

        kind._connect = connect_there

    def change_asyncmy(self, library: ModuleType) -> None:
        """Change what a connection is told."""
        kind: Any = library.Connection
        begin = kind.__init__

        def begin_there(own: Any, *arguments: Any, **keywords: Any) -> None:
            given = self._given(arguments, keywords)
            self._note(given.get("database"))
            given.pop("password_creator", None)
            begin(own, **given)

        kind.__init__ = begin_there

    def change_of_c(self, library: ModuleType) -> None:
        """Change what a connection of a library in C is told."""
        kind: Any = library.Connection
        begin = kind.__init__

        def begin_there(own: Any, *arguments: Any, **keywords: Any) -> None:
            given = self._given(arguments, keywords)
            self._note(given.get("database"))
            begin(own, **given)

        kind.__init__ = begin_there

    def change_connector(self, library: ModuleType) -> None:
        """Change what its three kinds of connections have been told, before they connect."""
        del library

        def told(own: Any) -> None:
            self._note(own._database)
            own._host, own._unix_socket = "localhost", self._led.server["socket"]
            own._user, own._password = self._led.server["user"], self._led.server["password"]
            own._ssl_disabled = True
            own._client_flags &= ~_SSL

        for module, name, method in (
            ("connection", "MySQLConnection", "_open_connection"),
            ("connection_cext", "CMySQLConnection", "_open_connection"),
            ("aio.connection", "MySQLConnection", "connect"),
        ):
            try:
                kind: Any = getattr(import_module(f"mysql.connector.{module}"), name)
            except ImportError:
                continue
            setattr(kind, method, _after(told, getattr(kind, method)))

    def _given(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a library is told instead."""
        given = dict(zip(_POSITIONAL, arguments, strict=False)) | dict(keywords)
        named = {_OTHER_NAMES.get(key, key): value for key, value in given.items()}
        kept = {
            key: value
            for key, value in named.items()
            if key not in _ELSEWHERE and key != "ssl" and not key.startswith("ssl_")
        }
        kept |= {key: self._led.server[key] for key in ("user", "password")}
        return kept | {"unix_socket": self._led.server["socket"]}

    def _note(self, database: object) -> None:
        """Look at the database that a connection asks for, and at who makes it."""
        named = database.decode() if isinstance(database, bytes) else database
        if named and str(named).lower() != self._led.live.lower():
            raise self._refuse(f"connects to another database, {named}")
        self.note_maker()

    # What engines do

    def check_arguments(self, dialect: Any, *_: Any) -> None:
        """Refuse databases of other dialects."""
        if dialect.name not in _DIALECTS:
            raise self._refuse(f"opens a database of another dialect, {dialect.name}")

    def check_connection(self, connection: Any, _record: Any) -> None:
        """Ask where a connection of a pool has come to, whatever has made it."""
        if asked(connection, "SELECT @@pid_file") != self._led.server["pid_file"]:
            connection.close()
            raise self._refuse("makes a connection in a way that cannot be led to a copy")

    def check_error(self, context: Any) -> None:
        """Refuse what fails here alone: there is no other database, and not every user."""
        error = context.original_exception
        if what := self._missing_here(code_of(error), str(error)):
            raise self._refuse(what) from error

    def _missing_here(self, code: int, message: str) -> str:
        found = _QUOTED.search(message)
        named = found[1] if found else ""
        if code == _NO_DATABASE and named:
            return f"uses another database, {named}"
        place = named.rpartition(".")[0].lower()
        if code == _NO_TABLE and place not in ("", self._led.live.lower()):
            return f"uses a table of another database, {named}"
        if code == _NO_FILE and "secure" in message:
            return "reads or writes a file of the server's machine"
        return "names a user whom a copy does not have" if code in _NO_USER else ""


def _after(told: Callable[[Any], None], connect: Any) -> Any:
    @functools.wraps(connect)
    def connect_there(own: Any, *arguments: Any, **keywords: Any) -> Any:
        told(own)
        return connect(own, *arguments, **keywords)

    return connect_there


def asked(connection: Any, statement: str) -> str:
    """Return the one text that a query returns, by a connection of whichever library."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        row = cursor.fetchone()
    finally:
        cursor.close()
    found = row[0] if row else ""
    return found.decode() if isinstance(found, (bytes, bytearray)) else str(found or "")


def is_in_transaction(connection: Any) -> bool:
    """Whether a connection of a library is in a transaction, as that knows without a statement."""
    if (status := getattr(connection, "server_status", None)) is not None:
        return bool(int(status) & 1)
    with suppress(Exception):
        if callable(known := getattr(connection, "get_transaction_status", None)):
            return bool(known())
        return bool(connection.in_transaction)
    return False

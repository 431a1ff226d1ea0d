"""How the application's engine reaches its server, and the same way for us and for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from configparser import Error as ConfigError
from configparser import RawConfigParser
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from ssl import SSLContext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

from soulsense_db import fs
from soulsense_db.drivers import tls
from soulsense_db.drivers.engines import CONNECT_SECONDS, given_to_library, private_engine
from soulsense_db.drivers.event_loop import EventLoop
from soulsense_db.drivers.lost_sessions import closed_quietly
from soulsense_db.drivers.mariadb.errors import (
    code_of,
    live_errors,
    no_library,
    no_socket,
    reason_of,
    unknown_login,
)
from soulsense_db.drivers.mariadb.statements import execute
from soulsense_db.drivers.server_errors import unreachable

# What SQLAlchemy calls the libraries that need no event loop, and their modules.
_LIBRARIES = {"pymysql": "pymysql", "mysqldb": "MySQLdb", "mysqlconnector": "mysql.connector"}
_KEPT = frozenset(
    {"host", "port", "unix_socket", "user", "password", "read_default_file", "connect_timeout"}
)
_RENAMED = {
    "passwd": "password",
    "username": "user",
    "db": "database",
    "socket": "unix_socket",
    "connection_timeout": "connect_timeout",  # of MySQL's connector, which knows both
}
# What a connection of the application may have set otherwise, or the server for everybody.
# Backslashes are escapes and quotation marks are texts: as the statements here are written.
_SESSION = (
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', autocommit = 1, time_zone = '+00:00',"
    " foreign_key_checks = 0, max_statement_time = 0, idle_transaction_timeout = 0,"
    " wait_timeout = 604800, net_read_timeout = 3600, net_write_timeout = 3600,"
    " lc_messages = 'en_US', sql_quote_show_create = 1, lock_wait_timeout = {0},"
    " innodb_lock_wait_timeout = {0}, tx_read_only = 0, completion_type = 0,"
    " sql_select_limit = DEFAULT"
)
_NOT_THERE = (2002, 2003)  # nobody answers at a socket, or at an address
_UNKNOWN_VARIABLE = 1193  # a server that was built without Galera


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection of the application is made with; a password, too.

    ``python_driver``: SQLAlchemy's name of one that needs no event loop.
    """

    keywords: Mapping[str, Any]
    database: str
    python_driver: str

    def engine(self, database: str | None) -> Engine:
        """Return an engine on ``database`` of the same server, on none with None; without pool."""
        dbapi: Any = import_module(_LIBRARIES[self.python_driver])
        given = _limits_of(self.python_driver, self.keywords) | {"charset": "utf8mb4"}
        if database is not None:
            given["database"] = database
        engine = sa.create_engine(
            f"mysql+{self.python_driver}://",
            creator=lambda: dbapi.connect(**given),
            poolclass=NullPool,
            pool_reset_on_return=None,  # it is closed; where that fails, SQLAlchemy logs all of it
            isolation_level="AUTOCOMMIT",
            execution_options={"no_parameters": True},
        )
        _without_limit_when_connected(engine)
        return engine

    @contextmanager
    def connected(
        self, database: str | None = None, *, name: str, lock_timeout: float = 30.0
    ) -> Iterator[Connection]:
        """Connect to the server, by default to no database; errors of the tree, about ``name``."""
        with (
            live_errors(name),
            closed_quietly(self._connect(database, name=name)) as connection,
        ):
            execute(connection, _SESSION.format(seconds(lock_timeout)))
            _see_other_nodes(connection)
            yield connection

    def _connect(self, database: str | None, *, name: str) -> Connection:
        """Connect; where a socket is missing, its path is what somebody has to look at."""
        try:
            return connect(self.engine(database), name=name)
        except DBAPIError as error:
            socket = _plain(self.keywords.get("unix_socket"))
            if socket and code_of(error) in _NOT_THERE:
                raise no_socket(name, str(socket), reason_of(error)) from error
            raise

    @contextmanager
    def options_file(self) -> Iterator[Path]:
        """Yield a file by which the server's programs log in: arguments everybody can read."""
        with fs.temporary_file("login.cnf") as path:
            path.write_text("\n".join(self._options()) + "\n", encoding="utf-8")
            yield path

    def _options(self) -> Iterator[str]:
        given = self.keywords
        yield "[client]"
        if included := given.get("read_default_file"):
            yield f"!include {Path(str(included)).expanduser()}"
            yield "[client]"
        for key, option in (("user", "user"), ("password", "password"), ("host", "host")):
            if given.get(key):
                yield f"{option}={_option(str(_plain(given[key])))}"
        if given.get("port"):
            yield f"port={int(given['port'])}"
        if given.get("unix_socket"):
            yield f"socket={_option(str(given['unix_socket']))}"
        elif given.get("host") and self.python_driver != "mysqldb" and not _names_socket(included):
            yield "protocol=tcp"  # where the host is localhost, the program takes a socket
        yield from self._ssl_options()

    def _ssl_options(self) -> Iterator[str]:
        given = self.keywords
        if given.get("ssl_disabled"):
            yield "skip-ssl"
            return
        inner = given.get("ssl")
        ssl = dict(inner) if isinstance(inner, Mapping) else {}
        ssl |= {
            key.removeprefix("ssl_"): value for key, value in given.items() if key[:4] == "ssl_"
        }
        if isinstance(inner, SSLContext) and (known := tls.authorities(inner)):
            ssl["ca"] = known
        for key in ("ca", "capath", "cert", "key", "cipher"):
            if ssl.get(key):
                yield f"ssl-{key}={_option(str(ssl[key]))}"
        if ssl or not given.get("read_default_file"):  # what stands in that file counts else
            yield f"ssl-verify-server-cert={int(self._is_verified(inner, ssl))}"

    def _is_verified(self, inner: object, ssl: Mapping[str, Any]) -> bool:
        """Whether the library looks at the server's certificate.

        The programs know no check of the authority alone: they check its name as well.
        """
        if isinstance(inner, SSLContext):
            return tls.checks_authority(inner)
        if "verify_mode" in ssl:
            return _is_on(ssl["verify_mode"])
        asked = (ssl.get(key) for key in ("check_hostname", "verify_identity", "verify_cert"))
        if any(map(_is_on, asked)) or str(self.keywords.get("ssl_mode", "")).startswith("VERIFY"):
            return True
        # PyMySQL and those that are made after it check what they have an authority for.
        return isinstance(inner, Mapping) and _is_of_pymysql(self.python_driver, ssl)


def _names_socket(options: object) -> bool:
    """Whether an option file names a socket, which the libraries prefer to a host."""
    if not options:
        return False
    parser = RawConfigParser(allow_no_value=True, strict=False)
    with suppress(ConfigError, OSError, UnicodeDecodeError):  # the program says what is wrong
        parser.read(Path(str(options)).expanduser(), encoding="utf-8")
    return parser.has_option("client", "socket")


def _is_of_pymysql(python_driver: str, ssl: Mapping[str, Any]) -> bool:
    return python_driver == "pymysql" and bool(ssl.get("ca") or ssl.get("capath"))


def _is_on(value: object) -> bool:
    """Whether an option is on; in a URL it is a text, and one of Python's a number."""
    return str(value).lower() not in ("", "0", "false", "no", "none", "off", "verifymode.cert_none")


def _see_other_nodes(connection: Connection) -> None:
    """On a node of Galera, have each statement see what was committed on others before it."""
    try:
        execute(connection, "SET SESSION wsrep_sync_wait = 15")
    except DBAPIError as error:
        if code_of(error) != _UNKNOWN_VARIABLE:
            raise


def connect(engine: Engine, *, name: str) -> Connection:
    """Connect; a certificate that cannot be read is an error of the tree, too."""
    try:
        return engine.connect()
    except OSError as error:  # not of the database's library
        reason = f"a certificate, or its key: {error.strerror or error}"
        raise unreachable(name, reason) from error


def engine_that_gives_up(url: sa.URL, library: str) -> Engine:
    """Return an engine that gives up on a server which lets nobody in."""
    own = {_RENAMED.get(name, name): value for name, value in url.query.items()}
    limits = _limits_of(library, own)
    given = {name: value for name, value in limits.items() if name not in own}
    engine = sa.create_engine(url, connect_args=given)
    if "read_timeout" in given:
        _without_limit_when_connected(engine)
    return engine


def _limits_of(library: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a library is told to give up, and ``keywords``, which may say so themselves.

    The limit of PyMySQL ends with the connection: the greeting is an answer that it reads like
    others.
    """
    seconds = keywords.get("connect_timeout", CONNECT_SECONDS)
    limits = {
        "pymysql": {"connect_timeout": seconds, "read_timeout": int(seconds)},
        "mysqldb": {"connect_timeout": seconds},
        "mysqlconnector": {"connect_timeout": seconds},
    }
    return {**limits.get(library, {}), **keywords}


def _without_limit_when_connected(engine: Engine) -> None:
    """Have connections of PyMySQL wait for answers as long as it takes, once they are in."""

    def wait_on(connection: Any, _record: object) -> None:
        if hasattr(connection, "_read_timeout"):
            connection._read_timeout = None

    sa.event.listen(engine, "connect", wait_on)


def use_utf8mb4(connection: Connection) -> None:
    """Have server and library take texts of ``connection`` as they are, whatever its URL says.

    Each library has a method for that: it has to know, too, what it encodes a statement with.
    """
    raw = connection.connection.driver_connection
    for name in ("set_character_set", "set_charset_collation", "set_charset"):
        change = getattr(raw, name, None)
        if callable(change):
            change("utf8mb4")
            return


def seconds(timeout: float) -> int:
    """Return a time in the whole seconds that the server counts in, at least one."""
    return max(1, int(timeout + 0.999))


def login_of(engine: Engine, *, name: str) -> Login:
    """Return what ``engine`` connects with; it connects only where it has a creator of its own."""
    given = given_to_library(engine)
    if given is not None:
        keywords = _with_listeners(engine, *given)
        return _login(engine, keywords)
    private = private_engine(engine)

    def connect() -> dict[str, Any]:
        raw = private.raw_connection()
        try:
            return _of_connection(raw.driver_connection)
        finally:
            raw.close()
            private.dispose()

    with live_errors(name):
        if not engine.dialect.is_async:
            return _login(engine, connect())
        with EventLoop() as loop:
            return _login(engine, loop.call(greenlet_spawn(connect)))


def _login(engine: Engine, found: Mapping[str, Any]) -> Login:
    keywords = {_RENAMED.get(key, key): value for key, value in found.items()}
    database = str(keywords.get("database") or engine.url.database or "")
    kept = {
        key: value
        for key, value in keywords.items()
        if value is not None and (key in _KEPT or key == "ssl" or key.startswith("ssl_"))
    }
    return Login(
        kept, database, library_for("" if engine.dialect.is_async else engine.dialect.driver)
    )


def _with_listeners(
    engine: Engine, positional: list[Any], keywords: dict[str, Any]
) -> dict[str, Any]:
    """Return these arguments, once the application's listeners have changed them.

    A listener may bring a password that is good for minutes only.
    """
    dialect: Any = engine.dialect
    for listener in dialect.dispatch.do_connect if dialect._has_events else ():
        made = listener(dialect, None, positional, keywords)
        if made is not None:
            try:
                return _of_connection(made)
            finally:
                made.close()
    return keywords


def _of_connection(connection: Any) -> dict[str, Any]:
    """Return what a connection of PyMySQL, asyncmy or aiomysql was made with."""
    names = ("host", "port", "user", "password", "db", "unix_socket")
    known = {
        name: _plain(getattr(connection, name, None) or getattr(connection, f"_{name}", None))
        for name in names
    }
    if not known["user"]:
        raise unknown_login(type(connection).__module__.partition(".")[0])
    if known["unix_socket"]:
        known["port"] = None
    context = getattr(connection, "ctx", None) or getattr(connection, "_ssl_context", None)
    # PyMySQL has one for what it only prefers, too.
    is_asked_for = getattr(connection, "_ssl_required", False)
    if isinstance(context, SSLContext) and (is_asked_for or tls.checks_authority(context)):
        known["ssl"] = context
    return known


def library_for(named: str) -> str:
    """Return a library that needs no event loop and is installed, if possible that ``named``.

    Both as SQLAlchemy calls them. Raises :class:`~soulsense_db.errors.MissingExtraError` where
    there is none.
    """
    for name, module in sorted(_LIBRARIES.items(), key=lambda one: one[0] != named):
        try:
            import_module(module)
        except ImportError:
            continue
        return name
    raise no_library()


def _plain(value: Any) -> Any:
    # PyMySQL keeps texts as the bytes that it sends.
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray)) else value


def _option(value: str) -> str:
    """Return a value as an option file has it: in quotation marks, with its escapes.

    Source: https://mariadb.com/kb/en/configuring-mariadb-with-option-files/
    """
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    for character, escape in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\b", "\\b")):
        escaped = escaped.replace(character, escape)
    return f'"{escaped}"'


def environment() -> dict[str, str]:
    """Return the variables that a program gets: messages in English, no password of another."""
    hidden = {"MYSQL_PWD", "MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_UNIX_PORT"}
    return {key: value for key, value in os.environ.items() if key not in hidden} | {"LC_ALL": "C"}

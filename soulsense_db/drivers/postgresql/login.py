"""How the application's engine reaches its server, and the same way for us and for programs."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from ssl import SSLContext, create_default_context
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

from soulsense_db.drivers import tls
from soulsense_db.drivers.engines import CONNECT_SECONDS, given_to_library, private_engine
from soulsense_db.drivers.event_loop import EventLoop
from soulsense_db.drivers.lost_sessions import closed_quietly
from soulsense_db.drivers.postgresql.errors import (
    NO_DATABASE,
    code_or_guess,
    live_errors,
    no_encoding,
    no_library,
    no_maintenance,
)
from soulsense_db.drivers.postgresql.missing_rights import naming_user
from soulsense_db.drivers.postgresql.pooler import require_session
from soulsense_db.drivers.postgresql.statements import quoted_if_needed
from soulsense_db.drivers.postgresql.system_user import system_user
from soulsense_db.errors import BackupError

# Those of https://www.postgresql.org/docs/current/libpq-envars.html: a program gets no password in
# its arguments, which everybody on the machine can read.
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "sslcertmode": "PGSSLCERTMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "gsslib": "PGGSSLIB",
    "gssdelegation": "PGGSSDELEGATION",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "options": "PGOPTIONS",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
_NAME = "soulsense_db"
_MOST_ENGINES = 16
ON_A_SOCKET = {
    "hostaddr": "",
    "gssencmode": "disable",
    "target_session_attrs": "any",
    "requirepeer": "",
    "channel_binding": "prefer",
}
"""Parameters without which a connection to a socket fails, where variables say otherwise."""
LIBRARIES = ("psycopg", "psycopg2")
"""Those that wait, as SQLAlchemy's URLs and Python call them; the better one first."""
# What a role, a database or the URL may have set, and we cannot work with: limits to connections
# that do nothing for a while; read-only, also where databases are made; policies by which rows are
# hidden, where an error is right; names that pg_dump writes otherwise. And operators of a schema in
# which anybody may make some (CVE-2018-1058): no schema but the server's own is searched.
_SETTINGS = {
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "row_security": "off",
    "quote_all_identifiers": "off",
    "search_path": "",
}
_SET = sa.text(
    "SELECT pg_catalog.set_config(name, value, false)"
    " FROM pg_catalog.jsonb_each_text(CAST(:settings AS pg_catalog.jsonb)) AS n (name, value)"
    " WHERE pg_catalog.current_setting(name, true) IS NOT NULL"
)
# What changes the statements or rows that a program of the server writes.
_NOT_OF_TOOLS = ("PGCLIENTENCODING", "PGSERVICE", "PGSERVICEFILE", "PGDATESTYLE")


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection of the application was made with, by libpq's names; a password, too."""

    parameters: Mapping[str, str]
    python_driver: str

    @property
    def names_database(self) -> bool:
        """Whether a database is named: else libpq takes one with the name of the user."""
        return bool(self.parameters.get("dbname") or os.environ.get("PGDATABASE"))

    @property
    def database(self) -> str:
        """The name of the live database."""
        known = self.parameters.get("dbname") or os.environ.get("PGDATABASE")
        return known or self.parameters.get("user") or os.environ.get("PGUSER") or system_user()

    @property
    def user(self) -> str:
        """The name of the user, as a statement has it."""
        known = self.parameters.get("user") or os.environ.get("PGUSER") or system_user()
        return quoted_if_needed(known)

    def environment(
        self, database: str | None = None, *, settings: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the variables by which a program of the server reaches ``database``.

        ``settings``: what its session has, whatever else says.
        """
        own = {
            _VARIABLES[key]: value for key, value in self.parameters.items() if key in _VARIABLES
        }
        own["PGDATABASE"] = database or self.database
        inherited = {key: value for key, value in os.environ.items() if key not in _NOT_OF_TOOLS}
        # In English: what went wrong is told by what they say. In UTC: so are times in rows.
        fixed = {"PGAPPNAME": _NAME, "LC_ALL": "C", "PGTZ": "UTC"}
        found = {**inherited, **own, **fixed}
        if settings:
            words = [found.get("PGOPTIONS", "")]
            words += [f"-c {key}={value}" for key, value in settings.items()]
            found["PGOPTIONS"] = " ".join(words).strip()
        return found

    def engine(self, database: str | None = None) -> Engine:
        """Return an engine on ``database`` of the same server, without a pool."""
        given = {key: value for key, value in self.parameters.items() if key in _VARIABLES}
        given["dbname"] = database or self.database
        return _engine(self.python_driver, tuple(sorted(given.items())))

    @contextmanager
    def connected(
        self,
        database: str | None = None,
        *,
        name: str,
        autocommit: bool = True,
        own_session: bool = True,
    ) -> Iterator[Connection]:
        """Connect to ``database``; errors are those of the tree, about ``name``.

        With ``own_session`` False, nothing may be done that is not over with its transaction: a
        pooler may lend the session to somebody else then.
        """
        engine = self.engine(database)
        if autocommit:
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        with (
            naming_user(lambda: self.user),
            live_errors(name),
            closed_quietly(connect(engine)) as connection,
        ):
            if own_session:
                require_session(connection, engine, name=name)
                connection.execute(_SET, {"settings": json.dumps(_SETTINGS)})
                if not autocommit:
                    connection.commit()
            yield connection

    @contextmanager
    def maintenance(
        self, *, name: str, autocommit: bool = True, own_session: bool = True
    ) -> Iterator[Connection]:
        """Connect to the database in which others are made, renamed and dropped.

        Source: ``createdb`` does it in ``postgres``, and else in ``template1``.
        """
        # Nobody can rename the database that he is connected to.
        candidates = [one for one in ("postgres", "template1") if one != self.database]
        refused: dict[str, BackupError] = {}
        for database in candidates:
            with ExitStack() as stack:
                try:
                    connected = self.connected(
                        database, name=name, autocommit=autocommit, own_session=own_session
                    )
                    connection = stack.enter_context(connected)
                    with live_errors(name):
                        connection.exec_driver_sql("SELECT 1")  # a pooler connects only now
                        connection.rollback()
                except BackupError as error:
                    refused[database] = error
                    continue
                yield connection
                return
        raise no_maintenance(name, refused)


def has_own_limit(given: Mapping[str, Any]) -> bool:
    """Whether these parameters, or the environment, limit how long it takes to connect."""
    return "connect_timeout" in given or "PGCONNECT_TIMEOUT" in os.environ


@functools.lru_cache(maxsize=_MOST_ENGINES)
def _engine(library: str, parameters: tuple[tuple[str, str], ...]) -> Engine:
    """Return the engine that connects with ``library``: a new one would ask each server anew."""
    dbapi: Any = import_module(library)
    given: dict[str, Any] = {
        **dict(parameters),
        "application_name": _NAME,
        "client_encoding": "UTF8",
    }
    if not has_own_limit(given):
        given["connect_timeout"] = CONNECT_SECONDS
    if library == "psycopg":
        given["prepare_threshold"] = None  # behind a pooler, the next one may not know them
    return sa.create_engine(
        f"postgresql+{library}://",
        creator=lambda: dbapi.connect(**given),
        poolclass=NullPool,
        pool_reset_on_return=None,  # it is closed; where that fails, SQLAlchemy logs all of it
    )


def connect(engine: Engine) -> Connection:
    """Connect; once more where the database is missing, as it is for whom a restore kept waiting.

    It waited for a database that had got another name by then.
    """
    try:
        return engine.connect()
    except DBAPIError as error:
        if code_or_guess(error) != NO_DATABASE:
            raise
    except TypeError as error:  # psycopg returns bytes there, which SQLAlchemy does not understand
        if "bytes-like" not in str(error):
            raise
        raise no_encoding(str(engine.url.database)) from error
    return engine.connect()


def login_of(engine: Engine, *, name: str) -> Login:
    """Return what ``engine`` connects with; it connects only where it has a creator of its own."""
    given = given_to_library(engine)
    if given is not None:
        found = _of_arguments(engine, *given)
        # A service of pg_service.conf may name user and database: only a connection tells.
        if "service" not in found and "PGSERVICE" not in os.environ:
            return Login(found, _library_of(engine))
    private = private_engine(engine)

    def look() -> Mapping[str, str]:
        raw = private.raw_connection()
        try:
            driver: Any = raw.driver_connection
            return _of_libpq(driver) if hasattr(driver, "info") else _of_asyncpg(driver)
        finally:
            raw.close()
            private.dispose()

    with live_errors(name):
        if not engine.dialect.is_async:
            return Login(look(), _library_of(engine))
        with EventLoop() as loop:
            return Login(loop.call(greenlet_spawn(look)), _library_of(engine))


def _of_arguments(
    engine: Engine, positional: list[Any], keywords: dict[str, Any]
) -> dict[str, str]:
    """Return what these arguments say, once the application's listeners have changed them.

    A listener may bring a password that is good for minutes only.
    """
    dialect: Any = engine.dialect
    for listener in dialect.dispatch.do_connect if dialect._has_events else ():
        made = listener(dialect, None, positional, keywords)
        if made is not None:
            found = _of_libpq(made) if hasattr(made, "info") else {}
            made.close()
            return found
    renamed = {"database": "dbname", "passwd": "password"}
    found = {renamed.get(key, key): value for key, value in keywords.items()}
    settings: Any = found.pop("server_settings", None)
    if settings:  # asyncpg
        found["options"] = " ".join(f"-c {key}={_escaped(str(settings[key]))}" for key in settings)
    if "ssl" in found:  # asyncpg: True, a context, or the name of a mode
        found |= _of_ssl(found.pop("ssl"))
    return {key: str(value) for key, value in found.items() if key in _VARIABLES and value}


def _of_ssl(value: object) -> dict[str, str]:
    """Return what asyncpg calls ``ssl``, as libpq calls it."""
    if isinstance(value, str):
        return {"sslmode": value}
    if not isinstance(value, SSLContext):
        # True makes asyncpg check the certificate as Python does by default.
        return {"sslmode": "disable"} if not value else _of_ssl(create_default_context())
    if not tls.checks_authority(value):
        return {"sslmode": "require"}
    known = tls.authorities(value)
    mode = "verify-full" if tls.checks_name(value) else "verify-ca"
    return {"sslmode": mode} | ({} if known is None else {"sslrootcert": str(known)})


def _escaped(value: str) -> str:
    """Return a value as it stands in PGOPTIONS."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def _of_libpq(connection: Any) -> dict[str, str]:
    info = connection.info
    known = getattr(info, "dsn_parameters", None) or info.get_parameters()
    given = {key: str(value) for key, value in known.items() if key in _VARIABLES and value}
    given.pop("service", None)  # all that it says is in the others
    given |= {"dbname": str(info.dbname), "user": str(info.user)}
    if info.password:
        given["password"] = str(info.password)
    return given


def _of_asyncpg(connection: Any) -> dict[str, str]:
    address, params = connection._addr, connection._params
    given = {"dbname": str(params.database), "user": str(params.user)}
    if params.password:
        given["password"] = str(params.password)
    if isinstance(address, str):  # the path of a socket: .../.s.PGSQL.5432
        folder, _, port = address.rpartition("/.s.PGSQL.")
        return given | {"host": folder, "port": port}
    given |= {"host": str(address[0]), "port": str(address[1])}
    mode, context = getattr(params, "sslmode", None), getattr(params, "ssl", None)
    if isinstance(context, SSLContext):
        given |= _of_ssl(context)
    return given if mode is None else given | {"sslmode": str(mode.name).replace("_", "-")}


def _library_of(engine: Engine) -> str:
    """Return the name of the library that the engine uses, or of one that does not need a loop."""
    if not engine.dialect.is_async and engine.dialect.driver in LIBRARIES:
        return engine.dialect.driver
    return installed_library()


def installed_library(named: str = "") -> str:
    """Return the name of a library that waits and is installed, if possible that ``named``.

    Raises :class:`~soulsense_db.errors.MissingExtraError` where there is none.
    """
    for library in sorted(LIBRARIES, key=lambda one: one != named):
        try:
            import_module(library)
        except ImportError:
            continue
        return library
    raise no_library()

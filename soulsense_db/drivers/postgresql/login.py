"""How the application's engine reaches its server, and the same way for us and for programs."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

from soulsense_db.drivers.engines import given_to_library
from soulsense_db.drivers.event_loop import EventLoop
from soulsense_db.drivers.postgresql.errors import live_errors, no_library
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
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
_NAME = "soulsense_db"
LIBRARIES = ("psycopg", "psycopg2")
"""Those that wait, as SQLAlchemy's URLs and Python call them; the better one first."""
# Settings of a server under which a connection that does nothing for a while, or a long statement,
# is ended.
_WITHOUT_LIMITS = (
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "statement_timeout",
    "transaction_timeout",
)


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection of the application was made with, by libpq's names; a password, too."""

    parameters: Mapping[str, str]
    library: str

    @property
    def database(self) -> str:
        """The name of the live database."""
        known = self.parameters.get("dbname") or os.environ.get("PGDATABASE")
        return known or self.parameters.get("user") or os.environ.get("PGUSER") or getpass.getuser()

    def environment(self, database: str | None = None) -> dict[str, str]:
        """Return the variables by which a program of the server reaches ``database``."""
        own = {
            _VARIABLES[key]: value for key, value in self.parameters.items() if key in _VARIABLES
        }
        own["PGDATABASE"] = database or self.database
        # In English: what went wrong is told by what they say.
        return {**os.environ, **own, "PGAPPNAME": _NAME, "LC_ALL": "C"}

    def engine(self, database: str | None = None) -> Engine:
        """Return an engine on ``database`` of the same server, without a pool."""
        dbapi: Any = import_module(self.library)
        given = {key: value for key, value in self.parameters.items() if key in _VARIABLES}
        given |= {"dbname": database or self.database, "application_name": _NAME}
        return sa.create_engine(
            f"postgresql+{self.library}://",
            creator=lambda: dbapi.connect(**given),
            poolclass=NullPool,
        )

    @contextmanager
    def connected(
        self, database: str | None = None, *, name: str, autocommit: bool = True
    ) -> Iterator[Connection]:
        """Connect to ``database``; errors are those of the tree, about ``name``."""
        engine = self.engine(database)
        if autocommit:
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        with live_errors(name), engine.connect() as connection:
            known = sa.text(
                "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY(:n)"
            )
            connection.execute(known, {"n": list(_WITHOUT_LIMITS)})
            if not autocommit:
                connection.commit()
            yield connection

    @contextmanager
    def maintenance(self, *, name: str, autocommit: bool = True) -> Iterator[Connection]:
        """Connect to the database in which others are made, renamed and dropped.

        Source: ``createdb`` does it in ``postgres``, and else in ``template1``.
        """
        for database in ("postgres", "template1"):
            try:
                with self.connected(database, name=name) as connection:
                    connection.exec_driver_sql("SELECT 1")
            except BackupError:
                if database == "template1":
                    raise
                continue
            with self.connected(database, name=name, autocommit=autocommit) as connection:
                yield connection
            return


def login_of(engine: Engine, *, name: str) -> Login:
    """Return what ``engine`` connects with; it connects only where it has a creator of its own."""
    given = given_to_library(engine)
    if given is not None:
        return Login(_of_arguments(engine, *given), _library_of(engine))
    private = private_engine(engine)

    def connect() -> Mapping[str, str]:
        raw = private.raw_connection()
        try:
            driver: Any = raw.driver_connection
            return _of_libpq(driver) if hasattr(driver, "info") else _of_asyncpg(driver)
        finally:
            raw.close()
            private.dispose()

    with live_errors(name):
        if not engine.dialect.is_async:
            return Login(connect(), _library_of(engine))
        with EventLoop() as loop:
            return Login(loop.call(greenlet_spawn(connect)), _library_of(engine))


def private_engine(engine: Engine) -> Engine:
    """Return an engine that connects as ``engine`` does, with its events, in a pool of its own."""
    return Engine(engine.pool.recreate(), engine.dialect, engine.url)


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
    if "ssl" in found:  # asyncpg: True, a context, or the name of a mode
        ssl = found.pop("ssl")
        found["sslmode"] = ssl if isinstance(ssl, str) else "require" if ssl else "disable"
    return {key: str(value) for key, value in found.items() if key in _VARIABLES and value}


def _of_libpq(connection: Any) -> dict[str, str]:
    info = connection.info
    known = getattr(info, "dsn_parameters", None) or info.get_parameters()
    given = {key: str(value) for key, value in known.items() if key in _VARIABLES and value}
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
    mode = getattr(params, "sslmode", None)
    return given if mode is None else given | {"sslmode": str(mode.name).replace("_", "-")}


def _library_of(engine: Engine) -> str:
    """Return the name of the library that the engine uses, or of one that does not need a loop."""
    if not engine.dialect.is_async and engine.dialect.driver in LIBRARIES:
        return engine.dialect.driver
    return installed_library()


def installed_library() -> str:
    """Return the name of a library that waits and is installed; raises where there is none."""
    for library in LIBRARIES:
        try:
            import_module(library)
        except ImportError:
            continue
        return library
    raise no_library()

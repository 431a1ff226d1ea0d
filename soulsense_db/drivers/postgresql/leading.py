"""Lead the connections of a process to a scratch database, whatever makes them.

Each library has one place that every connection goes through, once it is known where it goes to:
there the name of the database is changed, and nothing else. The scratch database has a name that
no other server has: where a connection goes to another server, none is made. What asks for any
other database than the live one is refused.

Where the scratch database is on a private server, it has the name of the live one. Then server and
login are changed, and each connection of a pool is asked where it has come to.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from soulsense_db.drivers.leading import Leading
from soulsense_db.drivers.postgresql.login import ON_A_SOCKET
from soulsense_db.drivers.postgresql.system_user import system_user
from soulsense_db.drivers.rehearsal import Led

# What a statement of a database changes that is of the whole server, or of another database.
_STATEMENT = (
    r"(?:"
    r"(?:CREATE|ALTER|DROP)\s+(?:ROLE|GROUP|DATABASE|TABLESPACE|SUBSCRIPTION|SERVER|SYSTEM|USER"
    r"|FOREIGN\s+DATA)\b"
    r"|(?:GRANT|REVOKE)\s[^;]*?\bON\s+(?:DATABASE|TABLESPACE|PARAMETER)\b"
    r"|(?:GRANT|REVOKE)\s+(?:(?!\bON\b)[^;])+?\s(?:TO|FROM)\s"
    r"|(?:COMMENT|SECURITY\s+LABEL[^;]*?)\s+ON\s+(?:DATABASE|ROLE|TABLESPACE|SUBSCRIPTION)\b"
    r"|(?:REASSIGN|DROP)\s+OWNED\b"
    r"|PREPARE\s+TRANSACTION\b"  # which nobody could drop with its database
    r"|COPY\b[^;]*?\b(?:TO|FROM)\s+PROGRAM\b"
    r"|CREATE\s+EXTENSION\b[^;]*?(?:dblink|_fdw\b|pg_cron|plpython|plperlu)"
    r")"
)
_FUNCTION = (
    r"\b(?:dblink(?:_\w+)?|pg_create_\w+_replication_slot|pg_drop_replication_slot"
    r"|pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_file_\w+|lo_export"
    r"|pg_replication_origin_\w+)\s*\("
)
_STARTS_SO = re.compile(rf"\s*{_STATEMENT}", re.IGNORECASE)
_HAS_FUNCTION = re.compile(_FUNCTION, re.IGNORECASE)
_ANYWHERE = re.compile(rf"\b{_STATEMENT}|{_FUNCTION}", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_DO = re.compile(r"\s*DO\b", re.IGNORECASE)
# A text, or the body of a function: nothing in it is run as it stands there.
_TEXT = re.compile(r"'(?:[^']|'')*'|(\$(?:[A-Za-z_]\w*)?\$).*?\1", re.DOTALL)
_WORDS = 4
# What is of the live server alone.
_OF_SERVER = ("passfile", "require_auth", "load_balance_hosts")


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
            "psycopg": leading.change_psycopg,
            "psycopg2": leading.change_psycopg2,
            "asyncpg": leading.change_asyncpg,
        }
    )
    event.listen(Engine, "do_connect", leading.check_arguments)
    event.listen(Engine, "before_cursor_execute", leading.check_statement)
    event.listen(Pool, "connect", leading.check_connection)


class _Leading(Leading):
    # What libraries are told

    def change_psycopg(self, library: ModuleType) -> None:
        """Change what both of its kinds of connections call."""
        generators = import_module("psycopg.generators")
        conninfo: Any = import_module("psycopg.conninfo")
        connect = generators.connect

        @functools.wraps(connect)
        def connect_to_scratch(text: str, *arguments: Any, **keywords: Any) -> Any:
            given = self._there(conninfo.conninfo_to_dict(text))
            return connect(conninfo.make_conninfo(**given), *arguments, **keywords)

        generators.connect = connect_to_scratch  # type: ignore[attr-defined]

    def change_psycopg2(self, library: ModuleType) -> None:
        """Change the class of its connections, which anybody may call."""
        extensions: Any = import_module("psycopg2.extensions")
        inner: Any = import_module("psycopg2._psycopg")
        original, connect = inner.connection, library._connect

        def led(dsn: str) -> str:
            return str(extensions.make_dsn(**self._there(extensions.parse_dsn(dsn))))

        class LedConnection(original):  # type: ignore[misc,valid-type]
            """A connection to the scratch database."""

            def __init__(self, dsn: str, *arguments: Any, **keywords: Any) -> None:
                super().__init__(led(dsn), *arguments, **keywords)

        @functools.wraps(connect)
        def connect_to_scratch(
            dsn: str, connection_factory: Any = None, *arguments: Any, **keywords: Any
        ) -> Any:
            return connect(led(dsn), connection_factory or LedConnection, *arguments, **keywords)

        library._connect = inner._connect = connect_to_scratch  # type: ignore[attr-defined]
        inner.connection = extensions.connection = LedConnection

    def change_asyncpg(self, library: ModuleType) -> None:
        """Change what reads the arguments of a connection."""
        inner: Any = import_module("asyncpg.connect_utils")
        parse = inner._parse_connect_arguments

        @functools.wraps(parse)
        def parse_for_scratch(*arguments: Any, **keywords: Any) -> Any:
            addresses, parameters, *rest = parse(*arguments, **keywords)
            given = self._there(
                {
                    "dbname": parameters.database,
                    "user": parameters.user,
                    "password": parameters.password,
                    "host": _folder_of(addresses[0]),
                }
            )
            changed = parameters._replace(
                database=given["dbname"], user=given["user"], password=given["password"]
            )
            if self._led.server:
                addresses = [f"{given['host']}/.s.PGSQL.{given['port']}"]
                anybody = type(parameters.target_session_attrs)("any")
                changed = changed._replace(target_session_attrs=anybody)
            return (addresses, changed, *rest)

        inner._parse_connect_arguments = parse_for_scratch

    def _there(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of a connection to the scratch database, in the place of others."""
        there = {"dbname": self._name(given)}
        if not self._led.server:
            return given | there
        kept = {key: value for key, value in given.items() if key not in _OF_SERVER}
        return {**kept, **ON_A_SOCKET, **self._led.server, **there}

    def _name(self, given: dict[str, Any]) -> str:
        """Return the name of the scratch database, in the place of the one that is asked for."""
        server = self._led.server
        is_led = not server or given.get("host") == server["host"]
        if is_led and given.get("dbname") == self._led.scratch:
            return self._led.scratch
        has_service = "service" in given or "PGSERVICE" in os.environ
        if given.get("dbname") or not has_service:  # what a service names is led in any case
            self._require_live(given)
        self.note_maker()
        return self._led.scratch

    def _require_live(self, given: dict[str, Any]) -> None:
        named = given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user")
        named = named or os.environ.get("PGUSER") or system_user()
        if named not in (self._led.live, self._led.scratch):
            raise self._refuse(f"connects to another database, {named}")

    # What engines do

    def check_arguments(
        self, dialect: Any, _record: Any, _arguments: Any, keywords: dict[str, Any]
    ) -> None:
        """Put the name where an engine has it: then it is known that an engine makes it."""
        if dialect.name != "postgresql":
            raise self._refuse(f"opens a database of another dialect, {dialect.name}")
        for key in ("dbname", "database"):
            if keywords.get(key) == self._led.live:
                keywords |= {**self._led.server, key: self._led.scratch}

    def check_connection(self, connection: Any, _record: Any) -> None:
        """Look at where a connection of a pool has come to, whatever has made it."""
        if not is_there(connection, self._led):
            connection.close()
            raise self._refuse("makes a connection in a way that cannot be led to a copy")

    def check_statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """Refuse what would change the server, and not the database."""
        if what := shared_by(statement):
            raise self._refuse(f"runs '{what} ...', which is not about this database alone")


def shared_by(statement: str) -> str:
    """Return how a statement begins that changes more than its database; empty for all others."""
    text = _COMMENT.sub(" ", statement)
    if _DO.match(text):  # what stands in it is run, texts as well
        found = _ANYWHERE.search(text)
    else:
        text = _TEXT.sub("''", text)
        starts = map(_STARTS_SO.match, text.split(";"))
        found = next(filter(None, starts), None) or _HAS_FUNCTION.search(text)
    return " ".join(found[0].split()[:_WORDS]) if found else ""


def is_there(connection: Any, led: Led) -> bool:
    """Whether a connection is to the scratch database, as its library knows without a statement."""
    raw = getattr(connection, "driver_connection", connection)
    info = getattr(raw, "info", None)
    if info is not None:
        name, host = str(info.dbname), str(info.host)
    else:  # asyncpg
        name = str(getattr(getattr(raw, "_params", None), "database", ""))
        host = _folder_of(getattr(raw, "_addr", None))
    return name == led.scratch and (not led.server or host == led.server["host"])


def _folder_of(address: object) -> str:
    """Return the folder of a socket, as asyncpg has it; empty for another address."""
    return address.rpartition("/")[0] if isinstance(address, str) else ""

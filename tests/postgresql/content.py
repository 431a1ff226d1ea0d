"""A database with a bit of everything, and what is compared before and after."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgresql.server import Server
from soulsense_db.drivers.postgresql import PostgreSQLDriver

ROLES = ("app_owner", "app_reader", "Mixed Role%")

EVERYTHING = Path(__file__).with_name("everything.sql").read_text(encoding="utf-8")

SETTINGS = r"""
ALTER DATABASE {0} SET search_path = other, "$user", 'Odd.Schema %s:x', public;
ALTER DATABASE {0} SET work_mem = '7MB';
ALTER DATABASE {0} SET "my.setting" = 'it''s "x", %s :y';
ALTER DATABASE {0} SET default_transaction_read_only = on;
ALTER DATABASE {0} SET statement_timeout = '90s';
ALTER DATABASE {0} SET temp_tablespaces = '';
ALTER DATABASE {0} SET quote_all_identifiers = on;
ALTER ROLE "Mixed Role%" IN DATABASE {0} SET search_path = '';
ALTER ROLE app_reader IN DATABASE {0} SET default_transaction_isolation = 'repeatable read';
COMMENT ON DATABASE {0} IS E'what''s
this: %s "x"';
ALTER DATABASE {0} WITH CONNECTION LIMIT 27;
REVOKE ALL ON DATABASE {0} FROM PUBLIC;
GRANT CONNECT ON DATABASE {0} TO app_reader WITH GRANT OPTION;
GRANT TEMPORARY ON DATABASE {0} TO "Mixed Role%";
"""


def psql(server: Server, database: str, text: str, *, user: str = "postgres") -> str:
    """Have psql run a text; return what it prints."""
    done = subprocess.run(
        [str(server.bin / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1"],
        env={
            **os.environ,
            "PGHOST": str(server.socket),
            "PGDATABASE": database,
            "PGUSER": user,
            "PGCLIENTENCODING": "UTF8",
            "PGOPTIONS": "-crole=none -csearch_path=public -cdefault_transaction_read_only=off",
        },
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_roles(server: Server) -> None:
    """Make the roles of EVERYTHING, once a server."""
    for role in ROLES:
        psql(
            server,
            "postgres",
            f"""SELECT 'CREATE ROLE "{role}" LOGIN' WHERE NOT EXISTS
                (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec""",
        )


def quoted(name: str) -> str:
    """Return a name for a statement."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def database(server: Server, name: str, *, options: str = "", content: str = "") -> Iterator[str]:
    """Make a database, and see in the end that nothing else is left on the server."""
    psql(server, "postgres", f"CREATE DATABASE {quoted(name)} TEMPLATE template0 {options}")
    try:
        if content:
            psql(server, name, content)
        yield name
        assert databases(server) - {name} <= {"postgres", "template0", "template1"}
    finally:
        psql(server, "postgres", f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        drop_kept(server)


KEPT = """coalesce(shobj_description(oid, 'pg_database'), '') LIKE '%"role":"kept"%'"""
"""Whether a database is one that a restore keeps for an undo."""


def databases(server: Server) -> set[str]:
    """Return the names of all databases but those that are kept for an undo."""
    asked = f"SELECT json_agg(datname) FROM pg_database WHERE NOT {KEPT}"
    return set(json.loads(psql(server, "postgres", asked)))


def drop_kept(server: Server, *, of: str = "") -> None:
    """Drop what restores have kept, of all databases or of one."""
    said = f'%"live":"{of}%'
    asked = (
        f"SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE {KEPT}"
        f" AND shobj_description(oid, 'pg_database') LIKE '{said}' \\gexec"
    )
    psql(server, "postgres", asked)


def facts(server: Server, name: str) -> dict[str, str]:
    """Return all that must be the same after a restore: schema, rows, and what is about it."""
    literal = "'" + name.replace("'", "''") + "'"
    of_server = f"""
        SELECT pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datallowconn,
            datistemplate, datacl::text, pg_get_userbyid(datdba), dattablespace,
            to_jsonb(d)->>'datlocprovider',
            coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
            to_jsonb(d)->>'daticurules', shobj_description(oid, 'pg_database')
        FROM pg_database d WHERE datname = {literal};
        SELECT setrole, s FROM pg_db_role_setting, unnest(setconfig) s WHERE setdatabase =
            (SELECT oid FROM pg_database WHERE datname = {literal}) ORDER BY 1, 2;
    """
    rows = r"""
        SET bytea_output = hex;
        SET quote_all_identifiers = off;
        SELECT format('SELECT %L, count(*), md5(coalesce(string_agg(md5(t::text), '',''
                ORDER BY md5(t::text)), '''')) FROM %s%s t',
            c.oid::regclass, CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END, c.oid::regclass)
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND
            (relkind IN ('r', 'p') OR relkind = 'm' AND relispopulated)
            AND c.relname NOT LIKE 'by_mood\__' ORDER BY nspname, relname \gexec
        SELECT format('SELECT %L, last_value, is_called FROM %s', c.oid::regclass, c.oid::regclass)
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind = 'S' AND nspname !~ '^pg_' ORDER BY 1 \gexec
        SELECT loid, pageno, md5(data) FROM pg_largeobject ORDER BY 1, 2;
    """
    return {
        "server": psql(server, "postgres", of_server),
        "rows": psql(server, name, rows),
        "schema": dumped(server, name),
    }


def dumped(server: Server, name: str) -> str:
    """Return the schema as pg_dump writes it; what is only written in other words made equal."""
    done = subprocess.run(
        [str(server.bin / "pg_dump"), "-s", "-h", str(server.socket), "-U", "postgres"],
        env={**os.environ, "PGDATABASE": name, "PGOPTIONS": "-crole=none"},
        capture_output=True,
        check=True,
    )
    text = done.stdout.decode("utf-8", errors="surrogateescape")
    text = re.sub(r"(?m)^\\(un)?restrict .*$", "", text)
    # A list of varchar is cast as a whole at first, and each of it once it has been restored.
    return "\n".join(
        re.sub(r"::[a-z ]+(\[\])?|[()]", "", line)
        if "ARRAY['" in line or "ARRAY[('" in line
        else line
        for line in text.splitlines()
    )


def driver_on(server: Server, name: str, **options: Any) -> PostgreSQLDriver:
    """Return a driver of a database, whatever its name is."""
    return PostgreSQLDriver(engine_on(server, name, **options), lock_timeout=5)


def backup(server: Server, name: str, folder: Path) -> Path:
    """Make a backup file of a database, through a driver."""
    path = folder / f"{secrets.token_hex(4)}.pgdump"
    path.touch()
    driver_on(server, name).snapshot(path)
    return path


def engine_on(server: Server, name: str, *, user: str = "postgres", **options: Any) -> sa.Engine:
    """Return an engine on a database, whatever its name is."""
    url = sa.URL.create(
        "postgresql+psycopg", user, database=name, query={"host": str(server.socket)}
    )
    return sa.create_engine(url, poolclass=NullPool, **options)

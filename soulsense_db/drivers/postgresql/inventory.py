"""What is in a database, as its catalogs say: tables with their columns and keys, and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

# What a dump leaves out: the server's own, and what is of a session.
OF_USERS = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    " AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass"
    " AND e.objid = c.oid AND e.deptype = 'e')"
)
# A partitioned table has its rows in its partitions; a foreign one has them elsewhere.
_TABLES = sa.text(f"""
    SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), c.relkind,
        ARRAY(SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attgenerated = '' ORDER BY a.attnum),
        ARRAY(SELECT a.attname::text FROM pg_index i
            CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
            WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {OF_USERS}
    ORDER BY n.nspname, c.relname
""")  # noqa: S608 - a constant
_SCHEMAS = sa.text(
    "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    " ORDER BY 1"
)
# The rows are what a dump has; of indexes it has the definition.
_SIZE = sa.text(f"""
    SELECT coalesce(sum(pg_table_size(c.oid)), 0) + (SELECT count(*) * 2048 FROM pg_largeobject)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND {OF_USERS}
""")  # noqa: S608 - a constant
_SIZE_WITHOUT_OBJECTS = sa.text(
    str(_SIZE).replace("(SELECT count(*) * 2048 FROM pg_largeobject)", "0")
)
_VERSION = "SELECT current_setting('server_version_num')::int / 10000"


@dataclass(frozen=True, slots=True)
class Found:
    """A table: ``copied`` is its name in a statement; one that ``is_partitioned`` has no rows."""

    schema: str
    name: str
    copied: str
    is_partitioned: bool
    columns: tuple[str, ...]
    key: tuple[str, ...]


def tables(connection: Connection) -> list[Found]:
    """Return the tables of all schemas of users."""
    return [
        Found(schema, name, copied, _text(kind) == "p", tuple(columns), tuple(key))
        for schema, name, copied, kind, columns, key in connection.execute(_TABLES)
    ]


def schemas(connection: Connection) -> tuple[str, ...]:
    """Return the names of the schemas of users."""
    return tuple(connection.scalars(_SCHEMAS))


def size(connection: Connection) -> int:
    """Return about how many bytes the rows of all tables take."""
    may = connection.scalar(sa.text("SELECT has_table_privilege('pg_largeobject', 'SELECT')"))
    return int(connection.scalar(_SIZE if may else _SIZE_WITHOUT_OBJECTS) or 0)


def version(connection: Connection) -> int:
    """Return the server's major version."""
    return int(connection.scalar(sa.text(_VERSION)) or 0)


def encoding(connection: Connection) -> str:
    """Return the name of the database's encoding."""
    return str(connection.scalar(sa.text("SHOW server_encoding")))


def counts(connection: Connection, found: Sequence[Found]) -> list[int]:
    """Return how many rows each of the tables has that are not partitioned."""
    return [
        0
        if one.is_partitioned
        else int(
            connection.scalar(sa.text(f"SELECT count(*) FROM ONLY {escaped(one.copied)}")) or 0  # noqa: S608
        )
        for one in found
    ]


def escaped(sql: str) -> str:
    """Return a name for :func:`sqlalchemy.text`, to which a colon means a parameter."""
    return sql.replace(":", r"\:")


def heads(connection: Connection, version_table: str) -> tuple[str, ...] | None:
    """Return the sorted revisions in ``version_table``, None without that table.

    It is looked for as a statement of the application does: in the search path.
    """
    quoted = connection.scalar(
        sa.text("SELECT to_regclass(quote_ident(:name))::text"), {"name": version_table}
    )
    if quoted is None:
        return None
    rows = connection.scalars(sa.text(f"SELECT version_num FROM {escaped(str(quoted))}"))  # noqa: S608
    return tuple(sorted(str(one) for one in rows))


def _text(value: object) -> str:
    # psycopg returns the type "char" as bytes.
    return value.decode() if isinstance(value, bytes) else str(value)


def folder_of_programs(connection: Connection) -> Path | None:
    """Return where the server's own programs are, if the user may know and it is this machine."""
    with suppress(DBAPIError):
        found = connection.scalar(sa.text("SELECT setting FROM pg_config WHERE name = 'BINDIR'"))
        return Path(str(found)) if found else None
    return None

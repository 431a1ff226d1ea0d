"""What is in a database, as its catalogs say: tables with their columns and keys, and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql.archive import LARGE_OBJECTS, shown_name
from soulsense_db.drivers.postgresql.errors import code_of
from soulsense_db.drivers.postgresql.statements import OF_USERS, execute

# What a dump leaves out: the server's own, and what an extension makes again, but for the rows of
# the tables that it names as the user's. (Its condition says which rows these are.)
_OF_NO_EXTENSION = (
    "(NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass"
    " AND e.objid = c.oid AND e.deptype = 'e')"
    " OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY(e.extconfig)))"
)
DUMPED = f"{OF_USERS} AND {_OF_NO_EXTENSION}"
"""The condition for what a dump has the rows of, where ``c`` is ``pg_class``."""
# pg_dump writes the rows of such partitions as those of the outermost table, which puts each where
# it belongs: the hash of an enum's value is another one in another database.
_UNSAFE = (
    "(SELECT o.oid FROM pg_opclass o JOIN pg_am a ON a.oid = o.opcmethod"
    " WHERE o.opcname = 'enum_ops' AND o.opcnamespace = 'pg_catalog'::regnamespace"
    " AND a.amname = 'hash') = ANY(p.partclass::oid[])"
)
# A partitioned table has its rows in its partitions; a foreign one has them elsewhere.
TABLES = f"""
    SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), c.relkind,
        ARRAY(SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attgenerated = '' ORDER BY a.attnum),
        ARRAY(SELECT a.attname::text FROM pg_index i
            CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
            WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
            ORDER BY k.place),
        (SELECT e.extcondition[array_position(e.extconfig, c.oid)] FROM pg_extension e
            WHERE c.oid = ANY(e.extconfig)),
        CASE WHEN c.relispartition AND EXISTS (SELECT FROM pg_partition_ancestors(c.oid) AS x(relid)
            JOIN pg_partitioned_table p ON p.partrelid = x.relid WHERE {_UNSAFE})
        THEN (SELECT format('%I.%I', rn.nspname, rc.relname) FROM pg_class rc
            JOIN pg_namespace rn ON rn.oid = rc.relnamespace
            WHERE rc.oid = pg_partition_root(c.oid))
        END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {DUMPED}
    ORDER BY n.nspname, c.relname
"""  # noqa: S608 - a constant
"""The query whose rows :func:`tables_of` takes; no colon in it is a parameter."""
_PLACE = sa.text("SELECT pg_catalog.to_regclass(CAST(:n AS pg_catalog.text))")
_LARGE_OBJECTS = "pg_catalog.pg_largeobject_metadata"
_HAS_LARGE_OBJECTS = sa.text("SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)")
_SCHEMAS = sa.text(f"SELECT nspname FROM pg_namespace n WHERE {OF_USERS} ORDER BY 1")  # noqa: S608 - ours
# The rows are what a dump has; of indexes it has the definition.
_SIZE = sa.text(f"""
    SELECT coalesce(sum(pg_table_size(c.oid)), 0) + (SELECT count(*) * 2048 FROM pg_largeobject)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND {DUMPED}
""")  # noqa: S608 - a constant
_SIZE_WITHOUT_OBJECTS = sa.text(
    str(_SIZE).replace("(SELECT count(*) * 2048 FROM pg_largeobject)", "0")
)
_LARGEST = sa.text(f"""
    SELECT coalesce(max(pg_table_size(c.oid)), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND {DUMPED}
""")  # noqa: S608 - a constant
# Without opening a table, which waits for whoever wants to change it: what the server last noted.
_NOTED_SIZE = sa.text(f"""
    SELECT coalesce(sum(greatest(c.relpages, 0)::bigint), 0)
        * current_setting('block_size')::bigint
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND {DUMPED}
""")  # noqa: S608 - a constant
_SIZE_WAIT_MS = 500
_LOCK_NOT_AVAILABLE = "55P03"
_SHARED = sa.text("""
    SELECT md5(concat_ws(' ',
        (SELECT to_jsonb(d) - 'datfrozenxid' - 'datminmxid' FROM pg_database d
            WHERE datname = :name),
        (SELECT jsonb_agg(to_jsonb(r) - 'rolpassword' ORDER BY oid) FROM pg_roles r),
        (SELECT jsonb_agg(to_jsonb(m) ORDER BY roleid, member, grantor) FROM pg_auth_members m),
        (SELECT jsonb_agg(to_jsonb(t) ORDER BY oid) FROM pg_tablespace t),
        (SELECT jsonb_agg(to_jsonb(s) ORDER BY setdatabase, setrole) FROM pg_db_role_setting s
            WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = :name)))
    ))
""")
_ENCODING = sa.text("SELECT pg_catalog.getdatabaseencoding()")
_VERSION = "SELECT current_setting('server_version_num')::int / 10000"


@dataclass(frozen=True, slots=True)
class Found:
    """A table: ``copied`` is its name in a statement; ``counted``: of what its rows are the sum.

    One that is partitioned has no rows of its own, and ``counted`` is empty. Large objects are
    counted as the rows of a table of the server's.
    """

    schema: str
    name: str
    copied: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    counted: tuple[str, ...]
    has_shape: bool = True

    @property
    def has_rows(self) -> bool:
        """Whether a dump has rows under its name."""
        return bool(self.counted)


def tables(connection: Connection) -> list[Found]:
    """Return the tables of all schemas of users, and where there are any, large objects."""
    found = tables_of(execute(connection, TABLES).all())
    if connection.scalar(_HAS_LARGE_OBJECTS):
        found.append(
            Found(
                *LARGE_OBJECTS,
                _LARGE_OBJECTS,
                columns=("loid", "data"),
                key=("loid",),
                counted=(_LARGE_OBJECTS,),
                has_shape=False,
            )
        )
    return found


def tables_in(connection: Connection, schemas: Iterable[str]) -> list[Found]:
    """Return the tables of some schemas, whose names need no quotes."""
    names = "', '".join(schemas)
    query = TABLES.replace(OF_USERS, f"n.nspname IN ('{names}')")
    return tables_of(execute(connection, query).all())


def tables_of(rows: Iterable[Any]) -> list[Found]:
    """Return the tables that rows of :data:`TABLES` are about."""
    rows = list(rows)
    through: dict[str, list[str]] = {}
    for _, _, copied, kind, _, _, _, root in rows:
        if root is not None and _text(kind) == "r":
            through.setdefault(root, []).append(f"ONLY {copied}")
    found = []
    for schema, name, copied, kind, columns, key, condition, root in rows:
        is_partitioned = _text(kind) == "p"
        if is_partitioned:
            counted = through.get(copied, [])
        else:
            counted = [] if root is not None else [f"ONLY {copied} {condition or ''}".rstrip()]
        # Of partitions each may have its own order of columns; what is generated no dump has.
        has_key = not is_partitioned and set(key) <= set(columns)
        found.append(
            Found(
                schema,
                name,
                copied,
                tuple(columns),
                tuple(key) if has_key else (),
                tuple(counted),
            )
        )
    return found


def schemas(connection: Connection) -> tuple[str, ...]:
    """Return the names of the schemas of users."""
    return tuple(connection.scalars(_SCHEMAS))


def size(connection: Connection) -> int:
    """Return about how many bytes the rows of all tables take."""
    may = connection.scalar(sa.text("SELECT has_table_privilege('pg_largeobject', 'SELECT')"))
    return int(connection.scalar(_SIZE if may else _SIZE_WITHOUT_OBJECTS) or 0)


def size_at_once(connection: Connection) -> int:
    """Return what :func:`size` does; where a table is being changed, what the server last noted.

    ``connection``: one whose setting for locks is ours to change.
    """
    execute(connection, f"SET lock_timeout = {_SIZE_WAIT_MS}")
    try:
        return size(connection)
    except DBAPIError as error:
        if code_of(error) != _LOCK_NOT_AVAILABLE:
            raise
    return int(connection.scalar(_NOTED_SIZE) or 0)


def largest(connection: Connection) -> int:
    """Return about how many bytes the rows of the largest table take."""
    return int(connection.scalar(_LARGEST) or 0)


def shared(connection: Connection, name: str) -> str:
    """Return what is another value once roles, rights or settings change that concern ``name``."""
    return str(connection.scalar(_SHARED, {"name": name}))


def version(connection: Connection) -> int:
    """Return the server's major version."""
    return int(connection.scalar(sa.text(_VERSION)) or 0)


def encoding(connection: Connection) -> str:
    """Return the encoding of the database, by the server's name."""
    return str(connection.scalar(_ENCODING))


def counts(connection: Connection, found: Sequence[Found]) -> list[int]:
    """Return how many rows each of the tables has."""
    return [
        sum(_number(connection, f"SELECT count(*) FROM {what}") for what in one.counted)  # noqa: S608
        for one in found
    ]


def _number(connection: Connection, statement: str) -> int:
    return int(str(execute(connection, statement).scalar_one()))


def counted(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has that has rows, by the name that is shown."""
    found = [one for one in tables(connection) if one.has_rows]
    names = [shown_name(one.schema, one.name) for one in found]
    return dict(zip(names, counts(connection, found), strict=True))


def has_money(connection: Connection) -> bool:
    """Return whether a table has amounts whose text depends on the session's locale."""
    return bool(
        connection.scalar(
            sa.text(
                "SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT a.attisdropped AND"
                " n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND"
                " a.atttypid IN ('money'::regtype, 'money[]'::regtype))"
            )
        )
    )


_ADVERSE = sa.text("""
    SELECT s.name, w.value FROM pg_settings s
    JOIN jsonb_each_text(CAST(:wanted AS jsonb)) AS w (name, value)
    USING (name) WHERE s.reset_val <> w.value
""")
TO_LOAD = {"default_transaction_read_only": "off", "array_nulls": "on"}
"""What a session has that loads: else nothing is written, and a NULL in an array is a text."""
# What pg_dump leaves as it is for the role or the database, and writes values and statements by:
# the same content would be another text.
_TO_DUMP = {
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
}


def adverse_to_load(connection: Connection) -> dict[str, str]:
    """Return the settings that a session must not have that loads, with what is right.

    Only those that a new session of this user would have: a pooler may take no settings.
    """
    return _adverse(connection, TO_LOAD)


def adverse_to_dump(connection: Connection) -> dict[str, str]:
    """Return those that a session of ``pg_dump`` must not have, in the same way."""
    return _adverse(connection, _TO_DUMP)


def _adverse(connection: Connection, wanted: Mapping[str, str]) -> dict[str, str]:
    found = connection.execute(_ADVERSE, {"wanted": json.dumps(dict(wanted))})
    return {str(name): str(value) for name, value in found}


def lock(found: Sequence[Found], mode: str) -> str | None:
    """Return the statement that locks tables, None where there are none."""
    names = ", ".join(f"ONLY {one.copied}" for one in found if one.has_shape)
    return f"LOCK TABLE {names} IN {mode} MODE" if names else None


def place_of(connection: Connection, table: str, schema: str | None = None) -> str | None:
    """Return a table's name with its schema, as a statement of the application finds it.

    ``schema``: as the statement names one.

    Its connection may search schemas in which others make operators: so there is none here, and all
    names have their schema (CVE-2018-1058).
    """
    found = connection.scalar(
        sa.text(
            "SELECT i.identity FROM pg_catalog.pg_identify_object(1259, CAST("
            "pg_catalog.to_regclass(pg_catalog.concat_ws('.',"
            " pg_catalog.quote_ident(CAST(:schema AS pg_catalog.text)),"
            " pg_catalog.quote_ident(CAST(:name AS pg_catalog.text))))"
            " AS pg_catalog.oid), 0) AS i"
        ),
        {"name": table, "schema": schema},
    )
    return None if found is None else str(found)


def heads_in(connection: Connection, place: str | None) -> tuple[str, ...]:
    """Return the sorted revisions in the version table that has this name; none without one."""
    if place is None or connection.scalar(_PLACE, {"n": place}) is None:
        return ()
    rows = execute(connection, f"SELECT version_num FROM {place}").scalars()  # noqa: S608
    return tuple(sorted(str(one) for one in rows))


def heads(
    connection: Connection, version_table: str, schema: str | None = None
) -> tuple[str, ...] | None:
    """Return the sorted revisions in ``version_table``, None without that table.

    It is looked for as a statement of the application does: in the search path.
    """
    place = place_of(connection, version_table, schema)
    return None if place is None else heads_in(connection, place)


def _text(value: object) -> str:
    # psycopg returns the type "char" as bytes.
    return value.decode() if isinstance(value, bytes) else str(value)


def folder_of_programs(connection: Connection) -> Path | None:
    """Return where the server's own programs are, if the user may know and it is this machine."""
    with suppress(DBAPIError):
        found = connection.scalar(sa.text("SELECT setting FROM pg_config WHERE name = 'BINDIR'"))
        return Path(str(found)) if found else None
    return None

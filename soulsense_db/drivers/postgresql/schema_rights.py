"""What a user needs who may not make databases, to restore within the live one.

All schemas are replaced, so all that is in them has to be the user's. What belongs to no schema
cannot be replaced with them, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.archive import LARGE_OBJECTS, Description
from soulsense_db.drivers.postgresql.missing_rights import cannot_be_replaced, cannot_restore

_MOST_NAMED = 4
_MOST_STATEMENTS = 12
OF_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_MAY_CREATE = sa.text(
    "SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_user),"
    " quote_ident(current_database())"
)
# What belongs to others, of which kind it is, its name, and its owner. What belongs to a table is
# its owner's, and what belongs to an extension is not replaced.
_OF_OTHERS = sa.text(f"""
    SELECT found.kind, found.name, quote_ident(o.rolname), o.rolsuper,
        o.rolname = 'pg_database_owner'
    FROM (
        SELECT 1 AS place, 'schema' AS kind, quote_ident(n.nspname) AS name, n.nspowner AS owner,
            n.oid, 'pg_namespace'::regclass AS catalog
        FROM pg_namespace n WHERE {OF_USERS}
        UNION ALL
        SELECT 2, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
            c.oid::regclass::text, c.relowner, c.oid, 'pg_class'::regclass
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {OF_USERS} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
                AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))
        UNION ALL
        SELECT 3, 'routine', p.oid::regprocedure::text, p.proowner, p.oid, 'pg_proc'::regclass
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OF_USERS}
        UNION ALL
        SELECT 4, 'type', t.oid::regtype::text, t.typowner, t.oid, 'pg_type'::regclass
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
            LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE {OF_USERS} AND t.typelem = 0 AND coalesce(c.relkind, 'c') = 'c'
            AND t.typtype <> 'm'
    ) AS found JOIN pg_roles o ON o.oid = found.owner
    WHERE NOT pg_has_role(found.owner, 'USAGE') AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.classid = found.catalog AND e.objid = found.oid AND e.deptype = 'e'
    )
    ORDER BY found.place, found.name
""")  # noqa: S608 - a constant
# From 16384 on, objects are users' (FirstNormalObjectId, in the server's access/transam.h).
_OUTSIDE = (
    ("extension", "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'"),
    ("large object", "SELECT oid::text FROM pg_largeobject_metadata"),
    ("publication", "SELECT pubname FROM pg_publication"),
    (  # it would go on without the tables that were dropped, and say nothing
        "subscription",
        "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        " WHERE d.datname = current_database()",
    ),
    ("event trigger", "SELECT evtname FROM pg_event_trigger"),
    ("foreign-data wrapper", "SELECT fdwname FROM pg_foreign_data_wrapper"),
    ("language", "SELECT lanname FROM pg_language WHERE oid >= 16384"),
    ("cast", "SELECT castsource::regtype::text FROM pg_cast WHERE oid >= 16384"),
    ("transform", "SELECT trftype::regtype::text FROM pg_transform"),
    (
        "default privileges that are of no schema, of role",
        "SELECT pg_get_userbyid(defaclrole) FROM pg_default_acl WHERE defaclnamespace = 0",
    ),
)


class Lack(NamedTuple):
    """What a user lacks, in words; ``statement``: of an administrator, gives it."""

    what: str
    statement: str


def require_replaceable(connection: Connection, *, name: str, otherwise: Sequence[Lack]) -> None:
    """Raise unless the user may replace all schemas, and there is nothing beside them.

    ``otherwise``: what he lacks to restore without that.
    """
    for kind, query in _OUTSIDE:
        found = connection.scalars(sa.text(f"{query} LIMIT 1")).first()
        if found is not None:
            raise cannot_be_replaced(name, f"{kind} {found}", statements(otherwise))
    if lacks := _to_replace_schemas(connection):
        raise cannot_restore(
            name,
            needs=_in_words(otherwise),
            statements=statements(otherwise),
            needs_within=_in_words(lacks),
            statements_within=statements(lacks),
        )


def _to_replace_schemas(connection: Connection) -> list[Lack]:
    """Return what the user lacks to replace the schemas."""
    may_create, user, database = connection.execute(_MAY_CREATE).one()
    lacks = []
    if not may_create:
        lacks.append(
            Lack(
                "the right to create schemas in it",
                f"GRANT CREATE ON DATABASE {database} TO {user};",
            )
        )
    for kind, shown, owner, is_super, is_of_database in connection.execute(_OF_OTHERS):
        # Never a membership in a role that may do everything.
        statement = (
            f"ALTER {kind.upper()} {shown} OWNER TO {user};"
            if is_super or is_of_database
            else f"GRANT {owner} TO {user};"
        )
        lacks.append(Lack(f"the ownership of {kind} {shown}", statement))
    return lacks


def statements(lacks: Sequence[Lack]) -> str:
    """Return the statements that give all of it; of very many, those that a person can read."""
    found = list(dict.fromkeys(lack.statement for lack in lacks))
    more = len(found) - _MOST_STATEMENTS
    return " ".join(found[:_MOST_STATEMENTS]) + (f" And {more} more like these." * (more > 0))


def _in_words(lacks: Sequence[Lack]) -> str:
    shown = [lack.what for lack in lacks[:_MOST_NAMED]]
    if (more := len(lacks) - len(shown)) > 0:
        shown.append(f"of {more} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def require_within_schemas(description: Description, *, backup: str, statements: str) -> None:
    """Raise for a backup with large objects, which are in no schema.

    ``statements``: those that let the user restore it.
    """
    if any((table.schema, table.name) == LARGE_OBJECTS for table in description.tables):
        raise cannot_be_replaced(backup, "large objects", statements)

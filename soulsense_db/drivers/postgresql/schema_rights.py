"""What a user needs who may not make databases, to restore within the live one.

All schemas are replaced, so all that is in them has to be the user's. What belongs to no schema
cannot be replaced with them, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.archive import LARGE_OBJECTS, read
from soulsense_db.drivers.postgresql.contents import Item, schema_of_archive
from soulsense_db.drivers.postgresql.errors import tied_to
from soulsense_db.drivers.postgresql.missing_rights import cannot_be_replaced, cannot_restore
from soulsense_db.drivers.postgresql.statements import OF_USERS
from soulsense_db.drivers.postgresql.tools import Tools

_MOST_NAMED = 4
_MOST_STATEMENTS = 12
_MAY_CREATE = sa.text(
    "SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_user),"
    " quote_ident(current_database()), quote_ident(o.rolname), o.rolsuper"
    " FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba"
    " WHERE d.datname = current_database()"
)
# By catalog: the kind as statements call it, and the columns of schema and owner. Parsers and
# templates of text searches have no owner.
OWNED = (
    ("collation", "pg_collation", "collnamespace", "collowner"),
    ("conversion", "pg_conversion", "connamespace", "conowner"),
    ("operator", "pg_operator", "oprnamespace", "oprowner"),
    ("operator class", "pg_opclass", "opcnamespace", "opcowner"),
    ("operator family", "pg_opfamily", "opfnamespace", "opfowner"),
    ("statistics", "pg_statistic_ext", "stxnamespace", "stxowner"),
    ("text search configuration", "pg_ts_config", "cfgnamespace", "cfgowner"),
    ("text search dictionary", "pg_ts_dict", "dictnamespace", "dictowner"),
)
_OWNED_TOO = "".join(
    f"UNION ALL SELECT 5, '{kind}',"  # noqa: S608 - of the table above
    f" (pg_identify_object('{catalog}'::regclass, o.oid, 0)).identity,"
    f" o.{owner}, o.oid, '{catalog}'::regclass"
    f" FROM {catalog} o JOIN pg_namespace n ON n.oid = o.{schema} WHERE {OF_USERS}\n        "
    for kind, catalog, schema, owner in OWNED
)
# What belongs to others, of which kind it is, its name, and its owner. What belongs to a table is
# its owner's, what belongs to an extension is not replaced, and what is a part of something else,
# as the functions of a range type are, goes with it.
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
        {_OWNED_TOO}
    ) AS found JOIN pg_roles o ON o.oid = found.owner
    WHERE NOT pg_has_role(found.owner, 'USAGE') AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.classid = found.catalog AND e.objid = found.oid AND e.deptype IN ('e', 'i')
    )
    ORDER BY found.place, found.name
""")  # noqa: S608 - a constant
# By one of these rights one may lock a table against others. (``LOCK`` in PostgreSQL's manual.)
# Who comes to own a table, by a statement above, may do what its owner may.
_CANNOT_LOCK = sa.text(f"""
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {OF_USERS} AND c.relkind IN ('r', 'p')
        AND NOT has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
        AND (pg_has_role(c.relowner, 'USAGE')
            OR NOT has_table_privilege(c.relowner, c.oid, 'UPDATE, DELETE, TRUNCATE')) ORDER BY 1
""")  # noqa: S608 - a constant
# From 16384 on, objects are users' (FirstNormalObjectId, in the server's access/transam.h).
# By kind: the query of names, as statements have them, and what drops one.
_OUTSIDE = (
    (
        "extension",
        "SELECT quote_ident(extname) FROM pg_extension WHERE extname <> 'plpgsql'",
        "DROP EXTENSION {};",
    ),
    ("large object", "SELECT oid::text FROM pg_largeobject_metadata", "SELECT lo_unlink({});"),
    ("publication", "SELECT quote_ident(pubname) FROM pg_publication", "DROP PUBLICATION {};"),
    (  # it would go on without the tables that were dropped, and say nothing
        "subscription",
        "SELECT quote_ident(s.subname) FROM pg_subscription s JOIN pg_database d"
        " ON d.oid = s.subdbid WHERE d.datname = current_database()",
        "DROP SUBSCRIPTION {};",
    ),
    (
        "event trigger",
        "SELECT quote_ident(evtname) FROM pg_event_trigger",
        "DROP EVENT TRIGGER {};",
    ),
    (
        "foreign-data wrapper",
        "SELECT quote_ident(fdwname) FROM pg_foreign_data_wrapper",
        "DROP FOREIGN DATA WRAPPER {};",
    ),
    (
        "language",
        "SELECT quote_ident(lanname) FROM pg_language WHERE oid >= 16384",
        "DROP LANGUAGE {};",
    ),
    (  # that of a range type is a part of it
        "cast",
        "SELECT format('(%s AS %s)', castsource::regtype, casttarget::regtype) FROM pg_cast"
        " WHERE oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d"
        " WHERE d.classid = 'pg_cast'::regclass AND d.objid = pg_cast.oid AND d.deptype = 'i')",
        "DROP CAST {};",
    ),
    (
        "access method",
        "SELECT quote_ident(amname) FROM pg_am WHERE oid >= 16384",
        "DROP ACCESS METHOD {};",
    ),
    (
        "transform",
        "SELECT format('FOR %s LANGUAGE %I', trftype::regtype, lanname) FROM pg_transform"
        " JOIN pg_language l ON l.oid = trflang",
        "DROP TRANSFORM {};",
    ),
    (
        "default privileges that are of no schema, of role",
        "SELECT quote_ident(pg_get_userbyid(defaclrole)) FROM pg_default_acl"
        " WHERE defaclnamespace = 0",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE ...;",
    ),
)

_PREPARED = sa.text("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
# What a dump writes without a schema, and is of one; subscriptions are not restored.
_WITH_SCHEMAS = ("SCHEMA", "ACL", "COMMENT", "SECURITY LABEL", "SUBSCRIPTION")


class Lack(NamedTuple):
    """What a user lacks, in words; ``statement``: of an administrator, gives it."""

    what: str
    statement: str


def require_replaceable(connection: Connection, *, name: str, otherwise: Sequence[Lack]) -> None:
    """Raise unless the user may replace all schemas, and there is nothing beside them.

    ``otherwise``: what he lacks to restore without that.
    """
    require_nothing_outside(connection, name=name, otherwise=statements(otherwise))
    if lacks := _to_replace_schemas(connection):
        raise cannot_restore(
            name,
            needs=_in_words(otherwise),
            statements=statements(otherwise),
            needs_within=_in_words(lacks),
            statements_within=statements(lacks),
        )


def require_nothing_outside(connection: Connection, *, name: str, otherwise: str) -> None:
    """Raise where something is in no schema, and would not be replaced with them.

    ``otherwise``: statements that let the user restore without that.
    """
    for kind, query, drop in _OUTSIDE:
        found = connection.scalars(sa.text(f"{query} LIMIT 1")).first()
        if found is not None:
            raise cannot_be_replaced(name, f"{kind} {found}", otherwise, drop.format(found))


def require_none_prepared(connection: Connection, *, name: str) -> None:
    """Raise for a prepared transaction: what it made would be in no schema once it is committed."""
    found = [str(one) for one in connection.scalars(_PREPARED)]
    if found:
        raise tied_to(name, "a prepared transaction", found, "COMMIT PREPARED or ROLLBACK PREPARED")


def _to_replace_schemas(connection: Connection) -> list[Lack]:
    """Return what the user lacks to replace the schemas."""
    may_create, user, database, lord, lord_is_super = connection.execute(_MAY_CREATE).one()
    lacks = []
    if not may_create:
        lacks.append(
            Lack(
                "the right to create schemas in it",
                f"GRANT CREATE ON DATABASE {database} TO {user};",
            )
        )
    for kind, shown, owner, is_super, is_of_database in connection.execute(_OF_OTHERS):
        # The database's owner owns such a schema through a role of everybody's, and must not lose
        # it. Never a membership in a role that may do everything.
        role, is_mighty = (lord, lord_is_super) if is_of_database else (owner, is_super)
        statement = (
            f"ALTER {kind.upper()} {shown} OWNER TO {user};"
            if is_mighty
            else f"GRANT {role} TO {user};"
        )
        lacks.append(Lack(f"the ownership of {kind} {shown}", statement))
    for table in connection.scalars(_CANNOT_LOCK):
        grant = f"GRANT UPDATE ON {table} TO {user};"
        lacks.append(Lack(f"the right to lock table {table}", grant))
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


def require_within_schemas(source: Path, tools: Tools, *, statements: str) -> None:
    """Raise for a backup of what is in no schema, such as large objects or a publication.

    It would be in the way of the next restore, an undo for one. ``statements``: those that let the
    user restore it.
    """
    description = read(source)
    if any((table.schema, table.name) == LARGE_OBJECTS for table in description.tables):
        raise cannot_be_replaced(source.name, "large objects", statements)
    schema = schema_of_archive(tools, source, description.version, dict(os.environ))
    for item in sorted(schema.items):
        if item.schema == "-" and item.kind not in _WITH_SCHEMAS:
            raise cannot_be_replaced(source.name, _called(item), statements)


def _called(item: Item) -> str:
    if item.kind == "DEFAULT ACL":
        return "default privileges that are of no schema"
    return f"{item.kind.lower()} {item.name.removeprefix('CAST ')}"

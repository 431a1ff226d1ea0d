"""What a user needs who may not make databases, to restore within the live one.

All schemas are replaced, so all that is in them has to be the user's. What belongs to no schema
cannot be replaced with them, and is refused.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.archive import LARGE_OBJECTS, Description
from soulsense_db.drivers.postgresql.errors import cannot_be_replaced
from soulsense_db.errors import MissingRightError

OF_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_MAY_CREATE = sa.text("SELECT has_database_privilege(current_database(), 'CREATE')")
_OF_OTHERS = sa.text(f"""
    SELECT 'schema ' || quote_ident(n.nspname) FROM pg_namespace n
        WHERE {OF_USERS} AND NOT pg_has_role(n.nspowner, 'USAGE')
    UNION ALL
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {OF_USERS} AND NOT pg_has_role(c.relowner, 'USAGE')
    UNION ALL
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE {OF_USERS} AND NOT pg_has_role(p.proowner, 'USAGE')
    UNION ALL
    SELECT t.oid::regtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE {OF_USERS} AND t.typelem = 0 AND NOT pg_has_role(t.typowner, 'USAGE')
    LIMIT 1
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


def require_replaceable(connection: Connection, *, name: str, missing: MissingRightError) -> None:
    """Raise unless the user may replace all schemas, and there is nothing beside them.

    ``missing`` is raised for a user who has not the rights for that either.
    """
    if not connection.scalar(_MAY_CREATE) or connection.scalar(_OF_OTHERS) is not None:
        raise missing
    for kind, query in _OUTSIDE:
        found = connection.scalars(sa.text(f"{query} LIMIT 1")).first()
        if found is not None:
            raise cannot_be_replaced(name, f"{kind} {found}")


def require_within_schemas(description: Description, *, backup: str) -> None:
    """Raise for a backup with large objects, which are in no schema."""
    if any((table.schema, table.name) == LARGE_OBJECTS for table in description.tables):
        raise cannot_be_replaced(backup, "large objects")

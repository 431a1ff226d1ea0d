"""A table that was made for the catalog belongs to whom the tables beside it belong.

An administrator may make the first backup. Were the table theirs, the application's user could make
none any more: ``pg_dump`` reads all tables, and a restore makes each as its owner's.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql.statements import execute, quoted

# Those of extensions belong to whoever installed them.
_OTHER_OWNER = sa.text(
    """
    WITH made AS (SELECT oid, relnamespace, relowner FROM pg_class WHERE oid = to_regclass(:made)),
    beside AS (
        SELECT c.relowner FROM pg_class c JOIN made USING (relnamespace)
        WHERE c.relkind IN ('r', 'p') AND c.oid <> made.oid AND NOT EXISTS (
            SELECT FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        )
        GROUP BY c.relowner ORDER BY count(*) DESC, c.relowner LIMIT 1
    )
    SELECT rolname FROM made, pg_roles WHERE pg_roles.oid <> made.relowner AND pg_roles.oid =
        coalesce(
            (SELECT relowner FROM beside),
            (SELECT datdba FROM pg_database WHERE datname = current_database())
        )
    """
)


def share(connection: Connection, table: str) -> None:
    """Give ``table`` to the owner of those beside it, or every right on it, if only that may be.

    Without tables beside it, the owner is the database's.
    """
    made = quoted(table)
    owner = connection.scalar(_OTHER_OWNER, {"made": made})
    if owner is None:
        return
    try:
        with connection.begin_nested():
            execute(connection, f"ALTER TABLE {made} OWNER TO {quoted(owner)}")
    except DBAPIError:  # of another role's one may not dispose, but of what one has made
        execute(connection, f"GRANT ALL ON TABLE {made} TO {quoted(owner)}")
